import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot, DatabaseDefinition, HeldShard } from '../../repair/cluster.ts';
import { dropDeadShards, type RetentionPorts } from '../../server/retention.ts';
import { type ShardKey, shardId, shardKeyToJson } from '../../shards/shard-key.ts';

const HOUR_NS = 3_600_000_000_000n;
const DAY_MS = 86_400_000;

function key(changes: Partial<ShardKey>): ShardKey {
  return {
    database: 'd',
    databaseGeneration: 1,
    retentionPolicy: 'short',
    retentionPolicyGeneration: 0,
    startNs: 0n,
    endNs: HOUR_NS,
    number: 0,
    ...changes,
  };
}

const database: DatabaseDefinition = {
  name: 'd',
  generation: 1,
  durability: 'fsync',
  conflict: 'last-write-wins',
  defaultRetentionPolicy: 'short',
  retentionPolicies: [
    {
      name: 'short',
      generation: 0,
      durationNs: 24n * HOUR_NS,
      shardDurationNs: HOUR_NS,
      replication: 3,
      hasDeletes: false,
    },
    { name: 'forever', generation: 2, durationNs: 0n, shardDurationNs: HOUR_NS, replication: 3, hasDeletes: false },
  ],
};

/** The shards of these that a node removes at `nowMs`, and the workers that were told. */
async function removed(
  keys: readonly ShardKey[],
  nowMs: number,
): Promise<{ ids: string[]; told: [number, string[]][] }> {
  const told: [number, string[]][] = [];
  const snapshot: Partial<ClusterSnapshot> = { databases: [database], droppedThrough: { d: 0, 'd\0forever': 1 } };
  const ports = {
    snapshot: () => snapshot as ClusterSnapshot,
    nowMs: () => nowMs,
    places: {
      local: () => keys.map((each): HeldShard => ({ id: shardId(each), key: shardKeyToJson(each), state: 'full' })),
    },
    pool: {
      workerOf: (number: number) => number % 2,
      call: async (worker: number, _method: string, ids: string[]) => void told.push([worker, ids]),
    },
    log: { info: () => {}, error: () => {} },
  } as unknown as RetentionPorts;
  return { ids: await dropDeadShards(ports), told };
}

describe('retention', () => {
  test('a shard goes once its newest point is older than the policy keeps, and not before', async () => {
    const shard = key({});
    const expiresMs = DAY_MS + Number(HOUR_NS / 1_000_000n);
    expect((await removed([shard], expiresMs - 1)).ids).toEqual([]);
    expect((await removed([shard], expiresMs)).ids).toEqual([shardId(shard)]);
  });

  test('a policy without end keeps its shards', async () => {
    const shard = key({ retentionPolicy: 'forever', retentionPolicyGeneration: 2 });
    expect((await removed([shard], 1000 * DAY_MS)).ids).toEqual([]);
  });

  test('shards of a dropped database or policy go, those of the one made again under the same name stay', async () => {
    const ofDroppedDatabase = key({ databaseGeneration: 0 });
    const ofDroppedPolicy = key({ retentionPolicy: 'forever', retentionPolicyGeneration: 1, number: 1 });
    const alive = key({ retentionPolicy: 'forever', retentionPolicyGeneration: 2 });
    const { ids, told } = await removed([ofDroppedDatabase, ofDroppedPolicy, alive], 0);
    expect(ids).toEqual([shardId(ofDroppedDatabase), shardId(ofDroppedPolicy)]);
    expect(told).toEqual([
      [0, [shardId(ofDroppedDatabase)]],
      [1, [shardId(ofDroppedPolicy)]],
    ]);
  });

  test('a shard of a database that is not known yet stays: its metadata is on the way', async () => {
    expect((await removed([key({ database: 'new' }), key({ databaseGeneration: 2 })], 1000 * DAY_MS)).ids).toEqual([]);
  });
});
