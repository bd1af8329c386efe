/**
 * What lies on the disk of a member that was removed: the batches above its floors, from its shards and logs, and those of its
 * outboxes. A batch at or below a floor was proven on all owners while it was a member.
 *
 * Its engines are opened as at a start of the node: the log is replayed into memory, torn ends are cut off, a shard file that
 * cannot be read is renamed; nothing is flushed on purpose and nothing is sent. What cannot be read is a line in `problems`.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { Ledger } from '../repair/ledger.ts';
import { Outbox } from '../repair/outbox.ts';
import { DEFAULT_REPLICA_LIMITS } from '../repair/replica-limits.ts';
import { rebuildReadable } from '../repair/replica-table.ts';
import type { SeriesKeyRecord } from '../shards/batch.ts';
import { Engine } from '../shards/engine.ts';
import { decodeKeys } from '../shards/series-keys.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { StoredShard } from '../shards/storage.ts';
import { STORAGE_LIMITS } from '../shards/storage-limits.ts';
import type { Version } from '../shards/version.ts';
import { nodeFiles } from './node-files.ts';
import type { NodeFile } from './node-identity.ts';

export interface Leftover {
  readonly shard: ShardKey;
  readonly version: Version;
  readonly source: Source;
}

export interface LeftoverContent {
  readonly version: Version;
  readonly frame: Uint8Array;
  readonly keys: readonly SeriesKeyRecord[];
}

interface Source {
  /** Those that can be read. */
  read(versions: readonly Version[]): LeftoverContent[];
}

const BATCHES_PER_READING = 500;

export interface Leftovers {
  /** Shards in its files and logs. */
  readonly shards: number;
  /** Each once. */
  readonly batches: readonly Leftover[];
  /** Grows while batches are read. */
  readonly problems: readonly string[];
  /** Those of one shard and place one behind the other are read together. */
  read(batches: readonly Leftover[]): Generator<LeftoverContent>;
  close(): void;
}

export function openLeftovers(directory: string, node: NodeFile): Leftovers {
  const files = nodeFiles();
  const problems: string[] = [];
  const engines: Engine[] = [];
  const outboxes: Outbox[] = [];
  const found = new Map<string, Leftover>();
  const attempt = (what: string, action: () => void): void => {
    try {
      action();
    } catch (error) {
      problems.push(`${what}: ${(error as Error).message}`);
    }
  };
  for (let index = 0; index < node.workers; index++) {
    const own = join(directory, `worker-${index}`);
    attempt(own, () => {
      const engine = Engine.open({
        shardsDirectory: join(directory, 'shards'),
        directory: own,
        owns: (key) => key.number % node.workers === index,
        files,
        companion: () => new Ledger(),
        limits: STORAGE_LIMITS,
        openDatabase: (path) => new Database(path),
        nowMs: () => Date.now(),
      });
      engines.push(engine);
      const { unopened, damaged } = engine.recovery;
      problems.push(...unopened.map(({ path, message }) => `${path}: ${message}`));
      problems.push(...damaged.map(({ path, start, end }) => `${path}: ${end - start} bytes of the log are damaged`));
      for (const shard of engine.shards.values()) {
        const source = storedSource(shard, problems);
        attempt(`${own}, shard ${shard.id}`, () => {
          for (const version of (shard.companion as Ledger).versions())
            found.set(shard.id + version, { shard: shard.key, version, source });
        });
      }
    });
  }
  const names = existsSync(directory) ? readdirSync(directory) : [];
  const outboxPaths = [
    ...names.filter((name) => /^worker-\d+$/.test(name)).map((name) => join(directory, name, 'outbox')),
    ...names.filter((name) => name.startsWith('outbox-former-')).map((name) => join(directory, name)),
  ];
  for (const path of outboxPaths.filter((each) => existsSync(each)))
    attempt(path, () => {
      const outbox = new Outbox(files, path, Number.MAX_SAFE_INTEGER, DEFAULT_REPLICA_LIMITS.outboxSegmentBytes);
      outboxes.push(outbox);
      if (outbox.damaged > 0) problems.push(`${path}: ${outbox.damaged} damaged entries`);
      const sources = new Map<ShardId, Source>();
      for (const { name, id, key: shard, version } of outbox.entries.values()) {
        const source = sources.get(id) ?? outboxSource(outbox, id, path, problems);
        sources.set(id, source);
        if (!found.has(name)) found.set(name, { shard, version, source });
      }
    });
  return {
    shards: engines.reduce((sum, { shards }) => sum + shards.size, 0),
    batches: [...found.values()],
    problems,
    read: readInPages,
    close() {
      for (const engine of engines) engine.close();
      for (const outbox of outboxes) outbox.close();
    },
  };
}

function storedSource(stored: StoredShard, problems: string[]): Source {
  return {
    read(versions) {
      const { batches, unreadable } = rebuildReadable(stored, new Set(versions));
      if (unreadable !== null)
        problems.push(`shard ${shardId(stored.key)}, ${versions.length - batches.length} batches: ${unreadable}`);
      return batches;
    },
  };
}

function outboxSource(outbox: Outbox, shard: ShardId, path: string, problems: string[]): Source {
  return {
    read: (versions) =>
      versions.flatMap((version) => {
        const content = outbox.read(outbox.entries.get(shard + version)!);
        if (content !== null) return [{ version, frame: content.frame, keys: decodeKeys(content.keys) }];
        problems.push(`${path}: the entry of batch ${version} is damaged`);
        return [];
      }),
  };
}

function* readInPages(batches: readonly Leftover[]): Generator<LeftoverContent> {
  for (let at = 0; at < batches.length; ) {
    const { source } = batches[at]!;
    let end = at + 1;
    while (end < batches.length && end - at < BATCHES_PER_READING && batches[end]!.source === source) end++;
    yield* source.read(batches.slice(at, end).map(({ version }) => version));
    at = end;
  }
}
