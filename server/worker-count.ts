/**
 * Another number of workers than last time: what the former workers left is brought into the new arrangement.
 *
 * Shards are assigned by number modulo the count, so a former worker's log may hold rows of shards that are another
 * worker's now. Each former log is replayed and flushed into the shard files, its outbox entries are put into the outbox
 * of their new worker, and only then is the new count written to `node.json`. Every step may be repeated: replay skips
 * what a shard has, and a batch that is sent twice changes nothing. So a crash anywhere just starts over.
 */
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Ledger } from '../repair/ledger.ts';
import { Outbox } from '../repair/outbox.ts';
import { DEFAULT_REPLICA_LIMITS } from '../repair/replica-limits.ts';
import { Engine } from '../shards/engine.ts';
import type { Files } from '../shards/files.ts';
import { STORAGE_LIMITS } from '../shards/storage-limits.ts';
import { nodeFiles } from './node-files.ts';
import { type NodeFile, saveNodeFile } from './node-identity.ts';

/** How soon a sync that failed is tried again. */
const RETRY_MS = 200;
/** Of a disk that does not take what a worker is given; then the start has failed, and the next one goes on with what is left. */
const RETRIES_MAX = 300;

export async function changeWorkerCount(
  directory: string,
  node: NodeFile,
  workers: number,
  files: Files = nodeFiles(),
  retryMs = RETRY_MS,
): Promise<NodeFile> {
  for (let index = 0; index < node.workers; index++) flushFormerLog(directory, files, index, node.workers);
  await moveOutboxes(directory, files, workers, retryMs);
  const changed = { ...node, workers };
  saveNodeFile(directory, changed);
  return changed;
}

function flushFormerLog(directory: string, files: Files, index: number, count: number): void {
  const own = join(directory, `worker-${index}`);
  if (!existsSync(join(own, 'log'))) return;
  const engine = Engine.open({
    shardsDirectory: join(directory, 'shards'),
    directory: own,
    owns: (key) => key.number % count === index,
    files,
    companion: () => new Ledger(),
    limits: STORAGE_LIMITS,
    openDatabase: (path) => new Database(path),
    nowMs: () => Date.now(),
  });
  for (const shard of engine.shards.values()) shard.flush();
  engine.close();
  rmSync(join(own, 'log'), { recursive: true });
}

/** A sync that fails is tried again, and again, but not for ever. */
function retrying(outbox: Outbox, worker: number, everyMs: number): { tooMany: Promise<never>; stop(): void } {
  let retry: NodeJS.Timeout | undefined;
  const tooMany = new Promise<never>((_, reject) => {
    let tries = 0;
    retry = setInterval(() => {
      if (tries++ < RETRIES_MAX) outbox.retrySync();
      else reject(new Error(`the disk does not sync what worker ${worker} is given of a former outbox`));
    }, everyMs);
  });
  return { tooMany, stop: () => clearInterval(retry) };
}

/** The former outboxes are set aside as `outbox-former-<i>` first, so that a second try finds what is left of them. */
async function moveOutboxes(directory: string, files: Files, workers: number, retryMs: number): Promise<void> {
  for (const name of readdirSync(directory)) {
    const outbox = join(directory, name, 'outbox');
    const aside = join(directory, `outbox-former-${name}`);
    if (/^worker-\d+$/.test(name) && existsSync(outbox) && !existsSync(aside)) renameSync(outbox, aside);
  }
  const bytesMax = Number.MAX_SAFE_INTEGER;
  const { outboxSegmentBytes } = DEFAULT_REPLICA_LIMITS;
  for (const name of readdirSync(directory).filter((each) => each.startsWith('outbox-former-'))) {
    const former = new Outbox(files, join(directory, name), bytesMax, outboxSegmentBytes);
    for (let worker = 0; worker < workers; worker++) {
      const entries = [...former.entries.values()].filter((entry) => entry.key.number % workers === worker);
      if (entries.length === 0) continue;
      const target = new Outbox(files, join(directory, `worker-${worker}`, 'outbox'), bytesMax, outboxSegmentBytes);
      const retries = retrying(target, worker, retryMs);
      const puts = Promise.all(
        entries.map((entry) => {
          const content = former.read(entry);
          if (content === null) return null;
          return new Promise<void>((resolve, reject) => {
            const kept = target.put(
              entry.key,
              entry.version,
              content.frame,
              content.keys,
              entry.acks,
              () => [],
              resolve,
              () => reject(new Error(`the disk gave up what worker ${worker} was given of a former outbox`)),
            );
            if (!kept) reject(new Error(`the outbox of worker ${worker} takes nothing: is the disk full?`));
          });
        }),
      );
      await Promise.race([puts, retries.tooMany]).finally(() => retries.stop());
      target.close();
    }
    former.close();
    rmSync(join(directory, name), { recursive: true });
  }
}
