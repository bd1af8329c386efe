import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { Ledger } from '../../repair/ledger.ts';
import type { PassRecord } from '../../repair/records.ts';
import { ReplicaHost, type WriteOutcome } from '../../repair/replica-host.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { decodeMessage } from '../../repair/replica-messages.ts';
import type { BatchGroup, WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { FLOAT } from '../../shards/column.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';
import { MemoryDisk, MemoryStorage } from '../support/memory-storage.ts';

const START = 1_700_000_000_000;
const KEY: ShardKey = {
  database: 'd',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 1n << 50n,
  number: 0,
};
const ID = shardId(KEY);
const NUMBERS = ['1', '2', '3'].map((digit) => digit.repeat(16));

/** Three owners, a perfect network, and time that moves when told. */
class Trio {
  now = START;
  private drawn = 1;
  nextRequest = 1;
  cut = new Set<string>();
  /** Members whose newest shard list has not been heard. */
  stale = new Set<string>();
  readonly outcomes = new Map<number, WriteOutcome>();
  readonly passes: PassRecord[] = [];
  readonly sent: string[] = [];
  readonly storages: MemoryStorage[] = [];
  readonly hosts: ReplicaHost[] = [];
  private readonly queue: (() => void)[] = [];

  constructor(replication = 3) {
    for (const number of NUMBERS) this.boot(number);
    this.replication = replication;
    this.hear();
  }
  replication: number;

  boot(number: string): void {
    const later = (run: () => void) => void this.queue.push(run);
    const storage = new MemoryStorage(new MemoryDisk(), later);
    const i = NUMBERS.indexOf(number);
    this.storages[i] = storage;
    this.hosts[i] = new ReplicaHost({
      self: number,
      storage,
      ledgerOf: (id) => storage.ledgers.get(id)!,
      outboxDirectory: 'outbox',
      files: new SimFiles(later),
      random: () => this.draw(),
      limits: { ...DEFAULT_REPLICA_LIMITS, passIntervalMs: 1e9, staggerMs: 1e9 },
      emit: (effect) => {
        if (effect.kind === 'written') this.outcomes.set(effect.request, effect.outcome);
        if (effect.kind === 'pass') this.passes.push(effect.record);
        if (effect.kind !== 'send' || this.cut.has(number) || this.cut.has(effect.to)) return;
        this.sent.push(decodeMessage(effect.message).message.t);
        later(() => this.hosts[NUMBERS.indexOf(effect.to)]!.receive(number, effect.message, this.now));
      },
    });
  }

  /** Everybody hears everybody's statement. */
  hear(): void {
    this.settle();
    const closed = makeStamp(this.now, 0);
    const live = NUMBERS.filter((number) => !this.cut.has(number));
    const statements = NUMBERS.map((member, i) => {
      const open = this.hosts[i]!.openVersions();
      return { member, sequence: this.now, viewHash: 'v', closed, open, shardListSequence: 0 };
    });
    const heldBy = Object.fromEntries(NUMBERS.map((number, i) => [number, this.hosts[i]!.heldShards()]));
    const policy = {
      name: 'autogen',
      generation: 0,
      durationNs: 0n,
      shardDurationNs: 1n << 50n,
      replication: this.replication,
    };
    const database = { name: 'd', generation: 0, durability: 'fsync' as const, defaultRetentionPolicy: 'autogen' };
    for (const [i, self] of NUMBERS.entries()) {
      const snapshot: ClusterSnapshot = {
        viewHash: 'v',
        self,
        members: NUMBERS.map((number, n) => ({ number, name: `n${n + 1}`, address: '', state: 'up' })),
        live,
        databases: [{ ...database, retentionPolicies: [policy] }],
        droppedThrough: {},
        statements,
        heldBy,
        heldSequence: Object.fromEntries(NUMBERS.map((number) => [number, this.stale.has(number) ? -1 : 0])),
      };
      this.hosts[i]!.setCluster(snapshot, this.now);
    }
    this.settle();
  }

  private draw(): number {
    this.drawn = (this.drawn * 48_271) % 2_147_483_647;
    return this.drawn / 2_147_483_647;
  }

  settle(): void {
    for (let run = this.queue.shift(); run !== undefined; run = this.queue.shift()) run();
  }

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += 50;
      for (const host of this.hosts) host.tick(this.now);
      this.settle();
    }
  }

  write(at: number, consistency: 'one' | 'all' = 'one', knownKeys = true): number {
    const version = makeStamp(++this.now, 0) + NUMBERS[at];
    const keys = ['cpu,host=a', 'cpu,host=b'].map((key) => ({ hash: hashSeriesKey('s', key), key }));
    const values = Float64Array.of(this.now, 2);
    const column = { field: 'usage', type: FLOAT, present: null, values } as const;
    const group: BatchGroup = {
      measurement: 'cpu',
      rowSeries: Uint32Array.of(0, 1),
      times: Float64Array.of(1, 2),
      columns: [column],
    };
    const batch: WriteBatch = { kind: 'write', shard: KEY, version, series: keys.map((k) => k.hash), groups: [group] };
    const request = this.nextRequest++;
    const frame = encodeBatch(batch);
    const given = knownKeys ? keys : [];
    const rest = { consistency, durability: 'fsync' as const, timeoutMs: 3_000 };
    this.hosts[at]!.submit(
      [{ request, shard: KEY, version, frame, keys: given, allKeys: () => keys, ...rest }],
      this.now,
    );
    this.settle();
    return request;
  }

  counts(): number[] {
    return this.storages.map((storage) => storage.shards.get(ID)?.batches.size ?? 0);
  }

  repair(at: number, mode: 'ring' | 'preview' | 'scrub') {
    const id = `${mode}-${this.nextRequest++}`;
    this.hosts[at]!.startRepair({ id, shard: ID, mode }, this.now);
    this.settle();
    return this.hosts[at]!.repairs().find((status) => status.id === id)!;
  }
}

describe('a worker among three', () => {
  test('a write with consistency all: on all three when it is acknowledged, and no longer open', () => {
    const trio = new Trio();
    const request = trio.write(0, 'all');
    expect(trio.outcomes.get(request)).toEqual({ ok: true });
    expect(trio.counts()).toEqual([1, 1, 1]);
    expect(trio.hosts[0]!.openVersions()).toEqual([]);
  });

  test('keys that nobody has are asked for once and the write goes through', () => {
    const trio = new Trio();
    const request = trio.write(0, 'all', false);
    expect(trio.outcomes.get(request)).toEqual({ ok: true });
    trio.write(0, 'all', false);
    expect(trio.sent.filter((kind) => kind === 'mail')).toHaveLength(6);
  });

  test('an owner is away: one is acknowledged, all is refused with 503 and numbers, both stay open for the absent one', () => {
    const trio = new Trio();
    trio.cut.add(NUMBERS[2]!);
    trio.hear();
    const [one, all] = [trio.write(0, 'one'), trio.write(0, 'all')];
    trio.pass(3_500);
    expect(trio.outcomes.get(one)).toEqual({ ok: true });
    const message = 'write not acknowledged: 2 of 3 replicas; safe to retry';
    expect(trio.outcomes.get(all)).toEqual({ ok: false, code: 'not-acknowledged', status: 503, message });
    const acknowledgedBy = NUMBERS.slice(0, 2);
    expect(trio.hosts[0]!.openVersions()).toEqual([expect.objectContaining({ shard: ID, acknowledgedBy })]);
    expect(trio.hosts[0]!.outboxStatus()).toEqual([expect.objectContaining({ peer: NUMBERS[2], entries: 2 })]);
    trio.cut.clear();
    trio.hear();
    trio.pass(6_000);
    expect(trio.counts()).toEqual([2, 2, 2]);
    expect(trio.hosts[0]!.outboxStatus()).toEqual([]);
  });

  test('a pass over equal replicas: proven full, watermark on all three, nothing moved, no comparison asked', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.sent.length = 0;
    const status = trio.repair(1, 'ring');
    expect(status).toMatchObject({ state: 'done', percentage: 100, batchesMoved: 0 });
    expect(trio.sent).not.toContain('compare');
    const shards = trio.hosts.map((host) => host.describeShard(ID)!);
    expect(new Set(shards.map((shard) => JSON.stringify(shard.ledgerAtWatermark))).size).toBe(1);
    expect(shards.every((shard) => shard.converged?.root.batches === 1)).toBe(true);
    expect(trio.passes.every((record) => record.kind === 'full' && record.hops.length === 4)).toBe(true);
  });

  test('a batch that one owner lacks: preview counts it and changes nothing, the ring moves it', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    // As if the batch had come while the third was away and its outbox had been lost.
    const lost = trio.storages[2]!;
    lost.drop(ID);
    lost.disk.log.length = 0;
    trio.pass(100);
    trio.hear();
    const preview = trio.repair(0, 'preview');
    expect(preview).toMatchObject({ state: 'done', message: expect.anything() });
    expect(preview.differences.find((d) => d.member === NUMBERS[2])).toMatchObject({ note: 'absent' });
    expect(trio.counts()).toEqual([1, 1, 0]);
    const ring = trio.repair(0, 'ring');
    expect(ring).toMatchObject({ state: 'done', batchesMoved: 1, rowsMoved: 2, hops: 4 });
    expect(trio.counts()).toEqual([1, 1, 1]);
  });

  test('an owner with an empty disk behind a floor: fenced, filled from another, proven again', () => {
    const trio = new Trio();
    for (let i = 0; i < 5; i++) trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    trio.boot(NUMBERS[2]!);
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.storages[2]!.ledgers.get(ID)!.replica).toBe('filling');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', skipped: [{ member: NUMBERS[2], reason: 'filling' }] });
    trio.hear();
    trio.pass(2_000);
    trio.hear();
    expect(trio.counts()).toEqual([5, 5, 5]);
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
  });

  test('equal batches with unequal content: damage is named, the watermark stays', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const ledger = new Ledger();
    const version = trio.storages[1]!.ledgers.get(ID)!.versions()[0]!;
    ledger.add(version, 42n, 2);
    trio.storages[1]!.ledgers.set(ID, ledger);
    trio.pass(100);
    trio.hear();
    const status = trio.repair(0, 'ring');
    expect(status).toMatchObject({ state: 'failed', message: expect.stringContaining('unequal content') });
    expect(trio.hosts.every((host) => host.describeShard(ID)!.converged === null)).toBe(true);
    expect(trio.hosts.some((host) => host.describeShard(ID)!.damage !== null)).toBe(true);
  });

  test('a stored row is gone: scrub says so, the replica is damaged and takes part in no proof', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    expect(trio.repair(1, 'scrub')).toMatchObject({ state: 'done' });
    trio.storages[1]!.shards.get(ID)!.batches.clear();
    expect(trio.repair(1, 'scrub')).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('1 batches missing'),
    });
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', skipped: [{ member: NUMBERS[1], reason: 'damaged' }] });
  });

  test('a paused pass waits, goes on when told, and a cancelled one proves nothing', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.hosts[0]!.startRepair({ id: 'p', shard: ID, mode: 'ring' }, trio.now);
    trio.hosts[0]!.controlRepair('p', 'pause');
    trio.settle();
    trio.pass(5_000);
    expect(trio.hosts[0]!.repairs()[0]).toMatchObject({ state: 'paused' });
    trio.hosts[0]!.controlRepair('p', 'resume');
    trio.pass(500);
    expect(trio.hosts[0]!.repairs()[0]).toMatchObject({ state: 'done' });
    trio.hosts[0]!.startRepair({ id: 'c', shard: ID, mode: 'ring' }, trio.now);
    trio.hosts[0]!.controlRepair('c', 'cancel');
    trio.settle();
    expect(trio.hosts[0]!.repairs()[1]).toMatchObject({ state: 'cancelled' });
  });

  test('bytes that are no message are counted and change nothing', () => {
    const trio = new Trio();
    trio.hosts[0]!.receive(NUMBERS[1]!, Uint8Array.of(1, 2, 3), trio.now);
    expect(trio.hosts[0]!.counters()).toMatchObject({ messages_malformed: 1 });
  });
});
