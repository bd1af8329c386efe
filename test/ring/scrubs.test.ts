/** Runs over all shards: one after the other, at a bounded rate, and over a restart. */
import { beforeEach, expect, test } from 'vitest';
import { Ledger } from '../../repair/ledger.ts';
import type { RepairRecord } from '../../repair/repair-records.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Replica, ReplicaTable } from '../../repair/replica-table.ts';
import { Scrubs } from '../../repair/scrubs.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { SimFiles } from '../sim/sim-files.ts';

const SHARD_BYTES = 1_000_000;
const RATE = 100_000;
const DIRECTORY = '/scrub';
/** For the history of repairs. */
const told: RepairRecord[] = [];
beforeEach(() => void told.splice(0));

/** Shards of which every read is noted. */
class Shards {
  readonly read: string[] = [];
  readonly ledgers = new Map(['a', 'b', 'c'].map((id) => [id, new Ledger()]));
  bytes = 0;
  blockBytes = 0;

  get table(): ReplicaTable {
    const get = (id: string): Replica => {
      const care = {
        damaged: [],
        read: (begun: () => void) => {
          this.read.push(id);
          begun();
          let bytesRead = 0;
          return {
            bytesTotal: SHARD_BYTES,
            get bytesRead() {
              return bytesRead;
            },
            damaged: [],
            above: new Map(),
            through: 0n,
            step: (bytesMax: number) => {
              // As blocks are: whole.
              const bytes = Math.min(Math.max(bytesMax, this.blockBytes), SHARD_BYTES - bytesRead);
              bytesRead += bytes;
              this.bytes += bytes;
              return bytesRead < SHARD_BYTES;
            },
            adopt: () => {},
            close: () => {},
          };
        },
      };
      return { id, ledger: this.ledgers.get(id)!, stored: { care }, notes: {} } as unknown as Replica;
    };
    return { ids: () => this.ledgers.keys(), get } as unknown as ReplicaTable;
  }
}

function open(shards: Shards, files: SimFiles, clock: { nowMs: number }): Scrubs {
  const limits = { ...DEFAULT_REPLICA_LIMITS, scrubBytesPerSecond: RATE };
  const around = {
    limits,
    self: '1'.repeat(16),
    count: () => {},
    repaired: (record: RepairRecord) => void told.push(record),
    get nowMs() {
      return clock.nowMs;
    },
    get wallMs() {
      return clock.nowMs;
    },
  };
  return new Scrubs({ replicas: shards.table, around: around as unknown as Surroundings, files, directory: DIRECTORY });
}

function pass(scrubs: Scrubs, clock: { nowMs: number }, ms: number): void {
  for (const end = clock.nowMs + ms; clock.nowMs < end; ) {
    clock.nowMs += 50;
    scrubs.tick();
  }
}

test('a run reads every shard at the rate that is allowed, and says how far it is', () => {
  const [shards, clock] = [new Shards(), { nowMs: 1_000_000 }];
  const scrubs = open(shards, new SimFiles(() => {}), clock);
  expect(scrubs.lastRun()).toBeNull();
  scrubs.startAll();
  scrubs.tick();
  pass(scrubs, clock, 5_000);
  expect(shards.bytes).toBeGreaterThan(RATE * 4.9);
  expect(shards.bytes).toBeLessThanOrEqual(RATE * 5.1);
  pass(scrubs, clock, 20_000);
  expect(scrubs.lastRun()).toMatchObject({ shards: 3, shardsDone: 2, finishedMs: null });
  scrubs.startAll();
  pass(scrubs, clock, 7_000);
  expect(shards.read).toEqual(['a', 'b', 'c']);
  expect(scrubs.lastRun()).toMatchObject({ shardsDone: 3, bytesRead: 3 * SHARD_BYTES, damaged: [] });
  expect(scrubs.lastRun()!.finishedMs).not.toBeNull();
  const reason = 'all 3 shards of a worker: 3000000 bytes read again, nothing damaged';
  expect(told).toMatchObject([{ kind: 'scrub', shard: '', outcome: 'done', reason, startedMs: 1_000_000 }]);
});

test('after a restart it goes on with the shards that it has not come to', () => {
  const [shards, clock, files] = [new Shards(), { nowMs: 1_000_000 }, new SimFiles(() => {})];
  const scrubs = open(shards, files, clock);
  scrubs.startAll();
  scrubs.tick();
  pass(scrubs, clock, 15_000);
  expect(shards.read).toEqual(['a', 'b']);
  clock.nowMs += 3_600_000;
  const again = open(shards, files, clock);
  again.tick();
  expect(again.lastRun()).toMatchObject({ startedMs: 1_000_000, shardsDone: 1, finishedMs: null });
  pass(again, clock, 25_000);
  expect(shards.read).toEqual(['a', 'b', 'b', 'c']);
  expect(again.lastRun()!.finishedMs).not.toBeNull();
  const report = again.lastRun();
  told.length = 0;
  expect(open(shards, files, clock).lastRun()).toEqual(report);
  expect(told).toEqual([]);
  for (const text of ['', '{', '[]', 'null', '{"startedMs":"x"}']) {
    const file = files.open(`${DIRECTORY}/last-run.json`);
    file.truncate(0);
    file.append([Buffer.from(text)]);
    file.syncNow();
    file.close();
    expect(open(shards, files, clock).lastRun()).toBeNull();
  }
});

test('what was read by a clock that was ahead is read again', () => {
  const [shards, clock, files] = [new Shards(), { nowMs: 1_000_000 }, new SimFiles(() => {})];
  clock.nowMs += 86_400_000;
  const ahead = open(shards, files, clock);
  ahead.startAll();
  pass(ahead, clock, 31_000);
  expect(shards.read).toEqual(['a', 'b', 'c']);
  clock.nowMs = 2_000_000;
  const scrubs = open(shards, files, clock);
  scrubs.startAll();
  pass(scrubs, clock, 31_000);
  expect(shards.read).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);
  expect(scrubs.lastRun()).toMatchObject({ shardsDone: 3, bytesRead: 3 * SHARD_BYTES });
});

test('what an operator asks for comes before the rest of a run', () => {
  const [shards, clock] = [new Shards(), { nowMs: 1_000_000 }];
  const scrubs = open(shards, new SimFiles(() => {}), clock);
  scrubs.startAll();
  scrubs.tick();
  pass(scrubs, clock, 1_000);
  const ended: (string | null)[] = [];
  scrubs.startOne('c', { progressed: () => {}, ended: (problem) => ended.push(problem) });
  pass(scrubs, clock, 20_000);
  expect(shards.read.slice(0, 2)).toEqual(['a', 'c']);
  expect(ended).toEqual([null]);
});

test('blocks that are larger than what may be read in a tick do not make it faster', () => {
  const [shards, clock] = [new Shards(), { nowMs: 1_000_000 }];
  shards.blockBytes = RATE;
  const scrubs = open(shards, new SimFiles(() => {}), clock);
  scrubs.startAll();
  pass(scrubs, clock, 8_000);
  expect(shards.bytes).toBeGreaterThanOrEqual(7 * RATE);
  expect(shards.bytes).toBeLessThanOrEqual(9 * RATE);
});
