/**
 * Deletes for all shards of a retention policy, present and future ones (protocol rule 25): one batch for the delete
 * shard of each shard number, logged, mailed, queued, entered in the ledger and repaired like any other.
 *
 * The metadata hear of it before a version is drawn (shards/shard-policy.ts says why), and the clock is lifted above what
 * any live member has stored: rows that a client has seen through another coordinator, whose clock is ahead, are covered.
 * It is acknowledged by every member that is live, so that what is asked for next, anywhere, is without those rows.
 */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../repair/cluster.ts';
import type { DeletePredicate } from '../shards/batch.ts';
import { encodeBatch } from '../shards/batch-codec.ts';
import { deleteShardOf } from '../shards/delete-shard.ts';
import { SHARDS_PER_GROUP } from '../shards/shard-key.ts';
import { STAMP_ZERO, type Stamp, stampOf, type Version } from '../shards/version.ts';
import type { Coordinator } from './coordinator.ts';
import { callNode } from './query-rpc.ts';
import type { PolicyName } from './schema-cache.ts';
import type { WorkerPool } from './threads.ts';

export interface PolicyDeletePorts {
  readonly pool: WorkerPool;
  readonly coordinator: () => Coordinator;
  snapshot(): ClusterSnapshot;
  clusterId(): string;
  noteDeletes(database: string, policy: string): void;
  lift(stamp: Stamp): void;
  /** Of fields, as a coordinator knows them. */
  forgetTypes(policy: PolicyName): void;
}

/** Both bounds inclusive; `only`: in the shards of that number. Rejects when nobody has acknowledged it. */
export async function deleteFromPolicy(
  ports: PolicyDeletePorts,
  database: DatabaseDefinition,
  policy: RetentionPolicyDefinition,
  { measurement, condition }: Pick<DeletePredicate, 'measurement' | 'condition'>,
  times: NonNullable<DeletePredicate['times']>,
  only?: number,
): Promise<void> {
  ports.noteDeletes(database.name, policy.name);
  ports.lift(await newestStamp(ports));
  const predicate: DeletePredicate = { measurement, condition, minTime: 0, maxTime: 0, times };
  const numbers = only === undefined ? Array.from({ length: SHARDS_PER_GROUP }, (_, number) => number) : [only];
  const name = {
    database: database.name,
    databaseGeneration: database.generation,
    retentionPolicy: policy.name,
    retentionPolicyGeneration: policy.generation,
  };
  const keys = numbers.map((number) => deleteShardOf({ ...name, number }));
  await Promise.all(
    keys.map((shard) =>
      ports
        .coordinator()
        .submitFrame(shard, database, (version) => encodeBatch({ kind: 'delete', shard, version, predicate })),
    ),
  ).finally(() => {
    if (condition === null) ports.forgetTypes(name);
  });
}

/** Of what the live members have stored; who does not answer is left out. */
async function newestStamp({ pool, snapshot, clusterId }: PolicyDeletePorts): Promise<Stamp> {
  const { self, live, members } = snapshot();
  const from = members.find((member) => member.number === self)?.name ?? '';
  const others = members.filter(({ number }) => number !== self && live.includes(number));
  const answers = await Promise.all([
    newestVersion(pool),
    ...others.map(({ address }) =>
      callNode({ address, from, clusterId: clusterId() }, 'newestVersion').catch(() => null),
    ),
  ]);
  return answers.reduce<Stamp>((newest, version) => {
    const stamp = isVersion(version) ? stampOf(version) : STAMP_ZERO;
    return stamp > newest ? stamp : newest;
  }, STAMP_ZERO);
}

function isVersion(value: unknown): value is Version {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

/** Of all shards of this node. */
export async function newestVersion(pool: WorkerPool): Promise<Version | null> {
  const newest = (await pool.callAll('newestVersion')).filter((version) => version !== null);
  return newest.sort().at(-1) ?? null;
}
