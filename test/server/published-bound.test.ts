import { expect, test } from 'vitest';
import { UNLIMITED } from '../../repair/budget.ts';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { OutboxStatus, ShardDescription } from '../../repair/records.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Config } from '../../server/config.ts';
import { measuredBound } from '../../server/published-bound.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { KEY } from '../ring/trio.ts';

const config = { passIntervalMs: 30_000, heartbeatIntervalMs: 500, mailTimeoutMs: 1_000 } as Config;
const snapshot = {
  members: ['a', 'b', 'c'].map((number) => ({ number, name: number, address: '', state: 'up' })),
  databases: [{ retentionPolicies: [{ replication: 2 }], durability: 'fsync' }],
} as unknown as ClusterSnapshot;

const range = { startNs: '0', endNs: '1000' };

function shard(members: number, fileBytes: number, rest: Partial<ShardDescription> = {}): ShardDescription {
  const replicas = Array.from({ length: members }, (_, i) => ({ member: `${i}` }));
  return { replicas, fileBytes, memtableBytes: 0, passMs: null, fillPageMs: null, ...range, ...rest } as never;
}

function bound(shards: readonly ShardDescription[], outboxes: Partial<OutboxStatus>[] = [], rates = UNLIMITED) {
  return measuredBound(config, { snapshot, shards, outboxes: outboxes as OutboxStatus[] }, rates);
}

test('who still holds a shard is in its ring, and a hop is measured by the ring that it was a part of', () => {
  expect(bound([shard(2, 0)]).parts.hops).toBe(2);
  const { parts } = bound([shard(2, 0, { passMs: 1_000 }), shard(3, 0, { passMs: 1_200 })]);
  expect(parts).toMatchObject({ hops: 4, passMs: 4 * 500 + 3_000 });
});

test('a delete shard, which all members own, makes the bound of shards with rows no longer', () => {
  const { startNs, endNs } = deleteShardOf(KEY);
  const ofDeletes = shard(20, 0, { startNs: String(startNs), endNs: String(endNs), passMs: 76_000 });
  const [without, both] = [bound([shard(2, 0)]), bound([shard(2, 0), ofDeletes])];
  expect({ ...both, deletes: null, withCopiesMs: 0, warnings: [] }).toMatchObject({
    boundMs: without.boundMs,
    parts: { hops: 2, passMs: without.parts.passMs },
  });
  expect(without.deletes.parts).toMatchObject({ hops: 4 });
  expect(both.deletes.parts).toMatchObject({ hops: 38, passMs: 38 * 2_000 + 3_000 });
  expect(both.warnings).toEqual([expect.stringMatching(/^a pass of deletes .* 79\.0 s/)]);
});

test('a batch holds cutoffs back until the outbox has sent it, after the longest backoff', () => {
  const outbox = (holdingBytes: number) => ({ bytes: 1 << 30, holdingBytes });
  const idle = bound([shard(2, 0)], [outbox(0)]);
  // Backoff, an offer with its exchange; then a heartbeat, a message, and the detection of a death.
  expect(idle.parts.lagMs).toBe(5_000 + 4 * 100 + 500 + 100 + 3 * 500);
  const { outboxWindowBytes } = DEFAULT_REPLICA_LIMITS;
  // A window a round trip is less than the rate.
  const busy = bound([shard(2, 0)], [outbox(50 * outboxWindowBytes), outbox(10 * outboxWindowBytes)]);
  expect(busy.parts.lagMs! - idle.parts.lagMs!).toBe(50 * 200);
  const limited = { ...UNLIMITED, bytesPerSecond: 2 * outboxWindowBytes };
  const slow = bound([shard(2, 0)], [outbox(50 * outboxWindowBytes), outbox(10 * outboxWindowBytes)], limited);
  expect(slow.parts.lagMs! - idle.parts.lagMs!).toBe(30_000);
});

test('what is acknowledged before its sync holds cutoffs back until the sync', () => {
  const later = { ...snapshot, databases: [{ retentionPolicies: [{ replication: 2 }], durability: 'interval' }] };
  const view = { snapshot: later as unknown as ClusterSnapshot, shards: [shard(2, 0)], outboxes: [] };
  const { syncIntervalMs } = DEFAULT_REPLICA_LIMITS;
  expect(measuredBound(config, view).parts.lagMs! - bound([shard(2, 0)]).parts.lagMs!).toBe(syncIntervalMs);
});

test('a lost disk: what is held here, page by page at the slowest speed that was seen', () => {
  const some = [shard(2, 0), shard(2, 512 << 20), shard(2, 1 << 30)];
  const assumed = bound(some);
  const slow = bound([...some, shard(2, 0, { fillPageMs: 1_000 })]);
  expect(assumed.withCopiesMs).toBe(assumed.parts.fencedMs! + assumed.parts.copyMs! + assumed.boundMs);
  expect(assumed.boundMs).toBe(slow.boundMs);
  // 1.5 GiB four at a time, and the largest of them behind that: 2 x 384 and 2 x 1024 pages, and a few more.
  expect(assumed.parts.copyMs! / 200).toBeGreaterThan(768 + 2_048);
  expect(assumed.parts.copyMs! / 200).toBeLessThan(768 + 2_048 + 50);
  expect(slow.parts.copyMs! / assumed.parts.copyMs!).toBeCloseTo(5, 1);
});
