/** The warm-up against scratch replicas in this thread. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UNLIMITED } from '../../repair/budget.ts';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { loadConfig } from '../../server/config.ts';
import { usualTierUp } from '../../server/eager-compiler.ts';
import { ScratchReplica } from '../../server/scratch-replica.ts';
import type { PostedWrite, WorkerPool, WriteOnTheWay } from '../../server/threads.ts';
import { TurnResults } from '../../server/turn-results.ts';
import { WarmUp } from '../../server/warm-up.ts';
import { workerSettings } from '../../server/worker-settings.ts';
import type { Files } from '../../shards/files.ts';
import { NO_KEYS_ENCODED } from '../../shards/series-keys.ts';

const SELF = '1'.repeat(16);
const WORKERS = 2;
const STEP_MS = 5;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'starling-warm-up-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Workers in this thread, as far as a warm-up calls them. */
class Workers {
  readonly log: string[] = [];
  readonly count = WORKERS;
  readonly warmUp: WarmUp;
  writes = 0;
  lives = 0;
  areScratch = true;
  stopAfter = Number.POSITIVE_INFINITY;
  clientsAfter = Number.POSITIVE_INFINITY;
  shardsAfter = Number.POSITIVE_INFINITY;
  collections = 0;
  readies = 0;
  readonly #replicas: (ScratchReplica | null)[] = [null, null];
  readonly #settings: ReturnType<typeof workerSettings>;

  constructor() {
    const config = loadConfig({ flags: { data: directory, workers: String(WORKERS) } });
    this.#settings = workerSettings(config, SELF, null as unknown as ClusterSnapshot, UNLIMITED);
    const log = pino({ level: 'warn' }, { write: (line: string) => this.log.push(line) });
    this.warmUp = new WarmUp({
      config,
      self: SELF,
      pool: this as unknown as WorkerPool,
      log,
      requests: this,
      ready: () => this.readies++,
    });
  }

  get writtenBytes(): number {
    return this.writes > this.clientsAfter ? 1 : 0;
  }

  held(): undefined[] {
    return this.writes > this.shardsAfter ? [undefined] : [];
  }

  workerOf(shardNumber: number): number {
    return shardNumber % WORKERS;
  }

  submit(worker: number, writes: readonly PostedWrite[], isScratch: boolean): void {
    this.areScratch &&= isScratch;
    this.writes += writes.length;
    if (this.writes > this.stopAfter) this.warmUp.stop();
    const onTheWay = writes.map(({ request, frame, keys, allKeys, ...terms }): WriteOnTheWay => {
      // As between threads: the bytes that say that there are none are the process's own, and what a worker gets it frees.
      const some = (bytes: Uint8Array | null) =>
        bytes === null || bytes.byteLength <= NO_KEYS_ENCODED.byteLength ? null : bytes;
      return [request, frame, some(keys), some(allKeys), terms];
    });
    setImmediate(() => this.#replicas[worker]!.submit(onTheWay));
  }

  async callAll(method: 'beginScratch' | 'collectYoungGarbage', snapshot: ClusterSnapshot): Promise<void> {
    if (method === 'collectYoungGarbage') {
      this.collections++;
      return;
    }
    this.lives++;
    for (let worker = 0; worker < WORKERS; worker++) {
      const own = join(directory, `worker-${worker}`);
      const around = (files: Files) => files;
      const results = new TurnResults({
        isScratch: true,
        heldShards: () => null,
        heldChanged: () => {},
        sent: () => {},
        isStopped: () => false,
        post: (message) => {
          const { coordinator } = this.warmUp;
          if (message.kind === 'acknowledged') coordinator?.acknowledge(message.requests);
          if (message.kind !== 'turn') return;
          coordinator?.acknowledge(message.acknowledged);
          coordinator?.settle(message.failed);
        },
      });
      this.#replicas[worker] = new ScratchReplica(this.#settings[worker]!, own, snapshot, around, results);
    }
  }

  async call(worker: number, _method: 'endScratch', flushed: boolean): Promise<boolean> {
    await new Promise((resolve) => setImmediate(resolve));
    const hasMore = this.#replicas[worker]?.endStep(flushed, STEP_MS) ?? false;
    if (!hasMore) this.#replicas[worker] = null;
    return hasMore;
  }
}

const scratchLeft = () => readdirSync(directory).filter((name) => existsSync(join(directory, name, 'warm-up')));

describe('a warm-up', () => {
  test('writes to scratch replicas of every worker, several times anew, and leaves nothing behind', async () => {
    const workers = new Workers();
    expect(workers.warmUp.isAwaited).toBe(true);
    await workers.warmUp.ended;
    expect(workers.log).toEqual([]);
    expect(workers.lives).toBeGreaterThan(1);
    expect(workers.writes).toBeGreaterThan(workers.lives * 4);
    expect(workers.areScratch).toBe(true);
    expect([workers.collections, workers.readies]).toEqual([1, 1]);
    expect(workers.warmUp.isAwaited).toBe(false);
    expect(workers.warmUp.coordinator).toBeUndefined();
    expect(scratchLeft()).toEqual([]);
  });

  test('for which there is no room on disk is given up and said, and what the other worker made is removed', async () => {
    mkdirSync(join(directory, 'worker-0'));
    writeFileSync(join(directory, 'worker-1'), 'a file where a directory should be');
    const workers = new Workers();
    await workers.warmUp.ended;
    expect(workers.lives).toBe(1);
    expect(workers.log.join()).toContain('no warm-up');
    expect(workers.warmUp.isAwaited).toBe(false);
    expect(scratchLeft()).toEqual([]);
  });

  test.each([0, 10])('that is stopped after %i writes ends and says nothing', async (writes) => {
    const workers = new Workers();
    workers.stopAfter = writes;
    if (writes === 0) workers.warmUp.stop();
    await workers.warmUp.ended;
    expect(workers.log).toEqual([]);
    expect(workers.lives).toBe(writes === 0 ? 0 : 1);
    expect(workers.warmUp.isAwaited).toBe(false);
  });

  test.each(['a client writes', 'another node writes'])('ends when %s, with nothing left behind', async (who) => {
    const workers = new Workers();
    if (who === 'a client writes') workers.clientsAfter = 10;
    else workers.shardsAfter = 10;
    await workers.warmUp.ended;
    expect(workers.log).toEqual([]);
    expect(workers.lives).toBe(1);
    expect(workers.warmUp.isAwaited).toBe(false);
    expect(scratchLeft()).toEqual([]);
  });

  test('sets V8 back to what it does by itself', () => {
    const { stdout } = spawnSync(process.execPath, ['--v8-options'], { encoding: 'utf8' });
    const byItself = (flag: string) => Number(new RegExp(`default: --${flag}=(\\d+)`).exec(stdout)![1]);
    const usual = usualTierUp() ?? {};
    for (const [flag, value] of Object.entries(usual)) expect([flag, value]).toEqual([flag, byItself(flag)]);
    expect(process.versions.v8.startsWith('11.3.') ? Object.keys(usual).length : 4).toBe(4);
  });
});
