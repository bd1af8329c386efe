/** When a worker removes what is over: the clock jumps and is set back, the node is skewed, the disk refuses. */
import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot, DatabaseDefinition, Member } from '../../repair/cluster.ts';
import { Outbox } from '../../repair/outbox.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { Retention } from '../../repair/retention.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { StorageError } from '../../shards/errors.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import type { Storage } from '../../shards/storage.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';

const HOUR_NS = 3_600_000_000_000n;
const HOUR_MS = 3_600_000;
const SELF = '00000000000000a1';
const OTHER = '00000000000000a2';
/** Two clocks within the drift differ by no more. */
const APART_MS = 2 * DEFAULT_REPLICA_LIMITS.clockDriftMsMax;
const LOOK_MS = DEFAULT_REPLICA_LIMITS.retentionEveryMs;
/** KEY expires then. */
const EXPIRES_MS = 25 * HOUR_MS;

const KEY: ShardKey = {
  database: 'd',
  databaseGeneration: 1,
  retentionPolicy: 'short',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: HOUR_NS,
  number: 0,
};
const FOREVER = { ...KEY, retentionPolicy: 'forever', retentionPolicyGeneration: 2 };

const policy = { shardDurationNs: HOUR_NS, replication: 3, hasDeletes: false };
const database: DatabaseDefinition = {
  name: 'd',
  generation: 1,
  durability: 'fsync',
  conflict: 'last-write-wins',
  defaultRetentionPolicy: 'short',
  retentionPolicies: [
    { ...policy, name: 'short', generation: 0, durationNs: 24n * HOUR_NS },
    { ...policy, name: 'forever', generation: 2, durationNs: 0n },
  ],
};
const member = (number: string, state: Member['state']) => ({ number, name: number, address: '', state });
const snapshot = { databases: [database], droppedThrough: { d: 0, 'd\0forever': 1 } } as Partial<ClusterSnapshot>;

class Worker {
  readonly shards = new Map<ShardId, { key: ShardKey }>();
  readonly removed: ShardId[] = [];
  readonly counted: string[] = [];
  readonly outbox: Outbox;
  wallMs = 0;
  skewed = false;
  members = [member(SELF, 'up'), member(OTHER, 'up')];
  hears = true;
  refuses = false;
  private spanMs = 0;
  private readonly retention: Retention;
  private readonly queue: (() => void)[] = [];

  constructor(keys: readonly ShardKey[], nowMs: number) {
    for (const key of keys) this.shards.set(shardId(key), { key });
    this.wallMs = nowMs;
    this.outbox = new Outbox(new SimFiles((run) => void this.queue.push(run)), 'outbox', 1_000_000, 100_000);
    const worker = this;
    const around = {
      self: SELF,
      limits: DEFAULT_REPLICA_LIMITS,
      get snapshot() {
        return { ...snapshot, members: worker.members };
      },
      isLive: (number: string) => (number === SELF ? !worker.skewed : worker.hears),
      count: (name: string) => void worker.counted.push(name),
      heldChanged: () => {},
      get wallMs() {
        return worker.wallMs;
      },
      get nowMs() {
        return worker.spanMs;
      },
    } as unknown as Surroundings;
    const drop = (id: ShardId) => {
      if (this.refuses) throw new StorageError('disk-failed', 'no');
      this.shards.delete(id);
    };
    const storage = { shards: this.shards, drop } as unknown as Storage;
    const removed = (id: ShardId) => void this.removed.push(id);
    this.retention = new Retention({ storage, outbox: this.outbox, around, removed });
  }

  /** The clock here moves on, and is looked at now and then. */
  pass(ms: number): void {
    for (let left = ms; left > 0; left -= 1_000) {
      this.wallMs += Math.min(left, 1_000);
      this.spanMs += Math.min(left, 1_000);
      this.retention.tick();
    }
  }

  put(key: ShardKey, n = 0): void {
    const version = makeStamp(1_000 + n, 0) + SELF;
    this.outbox.put(
      key,
      version,
      new Uint8Array(10),
      new Uint8Array(2),
      [],
      () => [SELF, OTHER],
      () => {},
    );
    for (let run = this.queue.shift(); run !== undefined; run = this.queue.shift()) run();
  }
}

describe('a shard that has expired', () => {
  test('is removed when no clock within the drift can keep it any more, and not before', () => {
    const worker = new Worker([KEY], EXPIRES_MS - 1);
    worker.pass(APART_MS);
    expect(worker.removed).toEqual([]);
    worker.pass(2 * LOOK_MS);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });

  test('stays while the clock is set back before its end, and the time counts anew', () => {
    const worker = new Worker([KEY], EXPIRES_MS);
    worker.pass(LOOK_MS);
    worker.wallMs = EXPIRES_MS - APART_MS - LOOK_MS;
    worker.pass(LOOK_MS);
    worker.pass(2 * APART_MS);
    expect(worker.removed).toEqual([]);
    worker.pass(2 * LOOK_MS);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });

  test('of a clock that jumps a year ahead: nothing goes before the others were heard, and nothing while it is skewed', () => {
    const worker = new Worker([KEY], 2 * HOUR_MS);
    worker.pass(LOOK_MS);
    worker.wallMs += 365 * 24 * HOUR_MS;
    worker.pass(APART_MS);
    expect(worker.removed).toEqual([]);
    worker.skewed = true;
    worker.pass(HOUR_MS);
    worker.wallMs = 3 * HOUR_MS;
    worker.skewed = false;
    worker.pass(HOUR_MS);
    expect(worker.removed).toEqual([]);
    expect(worker.shards.size).toBe(1);
  });

  test('stays while none of the others is heard, and the time begins when one is', () => {
    const worker = new Worker([KEY], EXPIRES_MS);
    worker.hears = false;
    worker.pass(2 * APART_MS);
    worker.hears = true;
    worker.pass(APART_MS);
    expect(worker.removed).toEqual([]);
    worker.pass(2 * LOOK_MS);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });

  test.each([
    ['of one node', []],
    ['of which all others were removed, or have not come yet', [member(OTHER, 'removed'), member('b', 'joining')]],
  ])('goes by the own clock alone in a cluster %s', (_, others) => {
    const worker = new Worker([KEY], EXPIRES_MS);
    worker.hears = false;
    worker.members = [member(SELF, 'up'), ...others];
    worker.pass(APART_MS + 2 * LOOK_MS);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });

  test('goes from the outbox, with what is owed of it, also when this worker does not hold it', () => {
    const worker = new Worker([], EXPIRES_MS);
    worker.put(KEY);
    worker.put(FOREVER);
    for (const key of [KEY, FOREVER]) worker.outbox.owe(key, makeStamp(2_000, 0) + SELF, [OTHER]);
    worker.pass(APART_MS + 2 * LOOK_MS);
    expect([...worker.outbox.entries.values()].map(({ id }) => id)).toEqual([shardId(FOREVER)]);
    expect([...worker.outbox.debts.keys()]).toEqual([shardId(FOREVER)]);
  });

  test('with many entries in the outbox they go in bounded looks, which come sooner', () => {
    const worker = new Worker([KEY], EXPIRES_MS);
    for (let n = 0; n < 4_500; n++) worker.put(KEY, n);
    worker.put(FOREVER);
    const sizes = new Set<number>();
    for (let looks = 0; worker.outbox.entries.size > 1; looks++) {
      expect(looks).toBeLessThan((APART_MS + 2 * LOOK_MS) / 100 + 10);
      worker.pass(100);
      sizes.add(worker.outbox.entries.size);
    }
    expect([...sizes]).toEqual([4_501, 2_501, 501, 1]);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });

  test('is tried again when the disk refuses', () => {
    const worker = new Worker([KEY], EXPIRES_MS);
    worker.refuses = true;
    worker.pass(APART_MS + 2 * LOOK_MS);
    expect(worker.counted).toContain('shards_over_kept');
    expect(worker.removed).toEqual([]);
    worker.refuses = false;
    worker.pass(2 * LOOK_MS);
    expect(worker.removed).toEqual([shardId(KEY)]);
  });
});

test('a policy without end keeps its shards', () => {
  const worker = new Worker([FOREVER], 1_000 * 24 * HOUR_MS);
  worker.pass(HOUR_MS);
  expect(worker.removed).toEqual([]);
});

test('shards of a dropped database or policy go with the next look, those made again under the same name stay', () => {
  const ofDroppedDatabase = { ...KEY, databaseGeneration: 0 };
  const ofDroppedPolicy = { ...FOREVER, retentionPolicyGeneration: 1, number: 1 };
  const worker = new Worker([ofDroppedDatabase, ofDroppedPolicy, FOREVER], 0);
  worker.skewed = true;
  worker.pass(2 * LOOK_MS);
  expect(worker.removed).toEqual([shardId(ofDroppedDatabase), shardId(ofDroppedPolicy)]);
});

test('a shard of a database that is not known yet stays: its metadata is on the way', () => {
  const worker = new Worker(
    [
      { ...KEY, database: 'new' },
      { ...KEY, databaseGeneration: 2 },
    ],
    1_000 * 24 * HOUR_MS,
  );
  worker.pass(HOUR_MS);
  expect(worker.removed).toEqual([]);
});
