/** The warm-up against scratch replicas in this thread. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { UNLIMITED } from '../../repair/budget.ts';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { ScratchReplica } from '../../server/scratch-replica.ts';
import type { WorkerSettings, WriteOnTheWay } from '../../server/threads.ts';
import { type WarmUpPool, warmUp } from '../../server/warm-up.ts';

const SELF = '1'.repeat(16);
const LIMITS = { writeInFlightBytesMax: 1 << 28, writeTimeoutMs: 10_000, seriesCacheMax: 10_000 };
const WORKERS = 2;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'starling-warm-up-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Workers in this thread, as far as a warm-up calls them. */
class Workers {
  writes = 0;
  readonly count = WORKERS;
  readonly #replicas: (ScratchReplica | null)[] = [null, null];

  workerOf(shardNumber: number): number {
    return shardNumber % WORKERS;
  }

  async call(worker: number, method: string, ...args: readonly unknown[]): Promise<unknown> {
    await new Promise((resolve) => setImmediate(resolve));
    if (method === 'warmUp') {
      const [snapshot, writes] = args as [ClusterSnapshot, readonly WriteOnTheWay[]];
      this.#replicas[worker] ??= new ScratchReplica(settingsOf(worker), join(directory, `worker-${worker}`), snapshot);
      this.#replicas[worker].submit(writes);
      this.writes += writes.length;
      return undefined;
    }
    return this.#replicas[worker]?.endStep() ?? false;
  }
}

function settingsOf(index: number): WorkerSettings {
  return {
    index,
    workers: WORKERS,
    self: SELF,
    dataDirectory: directory,
    snapshot: null as unknown as ClusterSnapshot,
    changes: new Int32Array(1),
    tickMs: 20,
    passIntervalMs: 30_000,
    mailTimeoutMs: 1_000,
    clockDriftMaxMs: 10_000,
    outboxBytesMax: 1 << 26,
    logBytesMax: 1 << 28,
    memtableBytesMax: 1 << 26,
    flushIdleMs: 600_000,
    mergeIdleMs: 600_000,
    scrubBytesPerSecond: 8 << 20,
    repairRates: UNLIMITED,
  };
}

describe('a warm-up', () => {
  test('writes to every worker, and leaves nothing behind', async () => {
    const workers = new Workers();
    await warmUp(SELF, workers as unknown as WarmUpPool, LIMITS);
    // Rows of a hundred hosts lie in all four shards of a group.
    expect(workers.writes % 4).toBe(0);
    expect(workers.writes).toBeGreaterThan(0);
    expect(readdirSync(directory).filter((name) => existsSync(join(directory, name, 'warm-up')))).toEqual([]);
  });

  test('for which there is no room on disk is given up, and what the other worker made is removed', async () => {
    writeFileSync(join(directory, 'worker-1'), 'a file where a directory should be');
    const workers = new Workers();
    await expect(warmUp(SELF, workers as unknown as WarmUpPool, LIMITS)).rejects.toMatchObject({ code: 'disk-failed' });
    expect(existsSync(join(directory, 'worker-0', 'warm-up'))).toBe(false);
  });
});
