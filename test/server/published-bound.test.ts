import { expect, test } from 'vitest';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { ShardDescription } from '../../repair/records.ts';
import type { Config } from '../../server/config.ts';
import { measuredBound } from '../../server/published-bound.ts';

const config = { passIntervalMs: 30_000, heartbeatIntervalMs: 500, mailTimeoutMs: 1_000 } as Config;
const snapshot = {
  members: ['a', 'b', 'c'].map((number) => ({ number, name: number, address: '', state: 'up' })),
  databases: [{ retentionPolicies: [{ replication: 2 }] }],
} as unknown as ClusterSnapshot;

function shard(members: number, fileBytes: number, rest: Partial<ShardDescription> = {}): ShardDescription {
  const replicas = Array.from({ length: members }, (_, i) => ({ member: `${i}` }));
  return { replicas, fileBytes, memtableBytes: 0, passMs: null, fillPageMs: null, ...rest } as never;
}

test('who still holds a shard is in its ring, and a hop is measured by the ring that it was a part of', () => {
  expect(measuredBound(config, snapshot, [shard(2, 0)]).parts.hops).toBe(2);
  const { parts } = measuredBound(config, snapshot, [shard(2, 0, { passMs: 1_000 }), shard(3, 0, { passMs: 1_200 })]);
  expect(parts).toMatchObject({ hops: 4, passMs: 4 * 500 + 3_000 });
});

test('a lost disk: what is held here, page by page at the slowest speed that was seen', () => {
  const some = [shard(2, 0), shard(2, 512 << 20), shard(2, 1 << 30)];
  const assumed = measuredBound(config, snapshot, some);
  const slow = measuredBound(config, snapshot, [...some, shard(2, 0, { fillPageMs: 1_000 })]);
  expect(assumed.withCopiesMs).toBe(assumed.parts.fencedMs! + assumed.parts.copyMs! + assumed.boundMs);
  expect(assumed.boundMs).toBe(slow.boundMs);
  // 1.5 GiB four at a time, and the largest of them behind that: 2 x 384 and 2 x 1024 pages, and a few more.
  expect(assumed.parts.copyMs! / 200).toBeGreaterThan(768 + 2_048);
  expect(assumed.parts.copyMs! / 200).toBeLessThan(768 + 2_048 + 30);
  expect(slow.parts.copyMs! / assumed.parts.copyMs!).toBeCloseTo(5, 1);
});
