/** What is levelled for a statement with a consistency: the shards that it reads, and the deletes that they are read with. */
import { expect, test } from 'vitest';
import type { ClusterSnapshot, HeldShard } from '../../repair/cluster.ts';
import type { LevelResult } from '../../repair/levelling.ts';
import { LevelledReads } from '../../server/levelled-reads.ts';
import type { LevellingDesk } from '../../server/levelling-desk.ts';
import type { ShardTarget } from '../../server/query/backend.ts';
import { Ending } from '../../server/query/ending.ts';
import { type BackendPorts, createQueryBackend } from '../../server/query-backend.ts';
import { ShardPlaces } from '../../server/shard-places.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import type { PartialRequest } from '../../shards/query/partial.ts';
import { type ShardKey, shardId, shardKeyToJson } from '../../shards/shard-key.ts';

const [SELF, OTHER] = ['1'.repeat(16), '2'.repeat(16)] as const;
const REQUEST = {} as PartialRequest;

function shard(number: number, startNs = 0n): ShardTarget {
  const policy = { retentionPolicy: 'autogen', retentionPolicyGeneration: 0 };
  const key: ShardKey = { database: 'd', databaseGeneration: 0, ...policy, startNs, endNs: startNs + 10n, number };
  return { id: shardId(key), key };
}

const deletesOf = ({ key }: ShardTarget) => shardId(deleteShardOf(key));

interface Asked {
  readonly hasDeletes: boolean;
  readonly held: readonly ShardTarget[];
  /** Nobody who takes part is enough for these. */
  readonly short?: readonly string[];
}

/** One node whose only other member is not live: what it levels, for statements of quorum. */
async function begin({ hasDeletes, held, short = [] }: Asked): Promise<{ reads: LevelledReads; ordered: string[] }> {
  const policy = { name: 'autogen', generation: 0, durationNs: 0n, shardDurationNs: 10n, replication: 1, hasDeletes };
  const rest = { durability: 'fsync', conflict: 'last-write-wins', defaultRetentionPolicy: 'autogen' } as const;
  const snapshot: ClusterSnapshot = {
    viewHash: 'v',
    self: SELF,
    members: [SELF, OTHER].map((number, i) => ({ number, name: `n${i + 1}`, address: '', state: 'up' as const })),
    live: [SELF],
    databases: [{ name: 'd', generation: 0, ...rest, retentionPolicies: [policy] }],
    droppedThrough: {},
    statements: [],
    heldBy: {},
    heldSequence: {},
  };
  const places = new ShardPlaces({ self: SELF, snapshot: () => snapshot, owners: () => [SELF], nowMs: () => 0 });
  places.setLocal(held.map(({ id, key }): HeldShard => ({ id, key: shardKeyToJson(key), state: 'full' })));
  const ordered: string[] = [];
  const level = async (order: Parameters<LevellingDesk['level']>[0]): Promise<LevelResult> => {
    const id = shardId(order.shard);
    ordered.push(id);
    const missing = short.includes(id) ? [{ member: OTHER, reason: 'not live' }] : [];
    const outcome = missing.length > 0 ? 'short' : 'level';
    const moved = { owners: 1, batches: 1, rows: 2, bytes: 3 };
    return { request: 1, shard: id, outcome, members: [SELF], missing, ...moved };
  };
  const ports = {
    snapshot: () => snapshot,
    places,
    levelling: { level },
    clusterId: () => 'c',
    readRepairTimeoutMs: 1_000,
    pool: {
      callAll: async () => [],
      workerOf: () => 0,
      ask: (_: number, __: string, [ids]: [string[]], answered: (answer: object) => void) =>
        answered({ results: ids, absent: [], damaged: [], losses: [] }),
    },
  } as unknown as BackendPorts;
  const ending = new Ending();
  return { reads: await LevelledReads.begin(ports, createQueryBackend(ports), 'quorum', ending), ordered };
}

test('of a policy with deletes, the delete shard of each shard number is levelled once, with the shards', async () => {
  const targets = [shard(0), shard(0, 10n), shard(1)];
  const { reads, ordered } = await begin({ hasDeletes: true, held: targets });
  await reads.run(targets, REQUEST);
  expect(ordered.toSorted()).toEqual(
    [...targets.map(({ id }) => id), deletesOf(targets[0]!), deletesOf(targets[2]!)].toSorted(),
  );
  expect(reads.report()).toMatchObject({ shards: 3, deleteShards: 2, batches: 5, rows: 10, members: ['n1'] });
  await reads.run(targets, REQUEST);
  expect(ordered).toHaveLength(5);
});

test('deletes that the metadata do not tell of yet are levelled where somebody has them', async () => {
  const target = shard(0);
  const deletes = { id: deletesOf(target), key: deleteShardOf(target.key) };
  const { reads, ordered } = await begin({ hasDeletes: false, held: [target, deletes] });
  await reads.run([target], REQUEST);
  expect(ordered.toSorted()).toEqual([target.id, deletes.id].toSorted());
});

test('without deletes nothing more is asked', async () => {
  const target = shard(0);
  const { reads, ordered } = await begin({ hasDeletes: false, held: [target] });
  await reads.run([target], REQUEST);
  expect(ordered).toEqual([target.id]);
  expect(reads.report()).toMatchObject({ shards: 1, deleteShards: 0 });
});

test('a shard whose deletes cannot be levelled is not read, and the error names who is missing', async () => {
  const target = shard(0);
  const { reads } = await begin({ hasDeletes: true, held: [target], short: [deletesOf(target)] });
  await expect(reads.run([target], REQUEST)).rejects.toThrow(
    `consistency level "quorum" cannot be met for shard ${target.id} of d.autogen: missing n2 (not live)`,
  );
});
