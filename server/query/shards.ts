/**
 * SHOW SHARDS, SHOW SHARD GROUPS and DROP SHARD, as InfluxDB has them.
 *
 * Its ids are numbers: here the first 52 bits of a shard's name, which are the same on every node and exact in any client.
 * A group, whose shards differ in their number alone, has that of its first one, whether there is one or not.
 */
import type { DatabaseDefinition, RetentionPolicyDefinition } from '../../repair/cluster.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import type { ShardTarget } from './backend.ts';
import { targetsOf } from './plan.ts';
import { QueryError } from './query-error.ts';
import type { ResultSeries, Value } from './result.ts';
import type { StatementContext } from './scatter.ts';

interface ListedShard extends ShardTarget {
  readonly database: DatabaseDefinition;
  readonly policy: RetentionPolicyDefinition;
}

export function numericShardId(id: ShardId): number {
  return Number.parseInt(id.slice(0, 13), 16);
}

export function showShards(context: StatementContext): ResultSeries[] {
  return context.backend.snapshot().databases.map((database) => ({
    name: database.name,
    columns: ['id', 'database', 'retention_policy', 'shard_group', 'start_time', 'end_time', 'expiry_time', 'owners'],
    timeColumn: -1,
    values: shardsOf(database, context).map(({ id, key, policy }): Value[] => [
      numericShardId(id),
      database.name,
      policy.name,
      groupId(key),
      ...rangeTexts(key, policy),
      context.backend.server.owners(key).join(','),
    ]),
  }));
}

export function showShardGroups(context: StatementContext): ResultSeries[] {
  const groups = new Map<number, Value[]>();
  for (const { key, policy } of allShards(context)) {
    const id = groupId(key);
    if (!groups.has(id)) groups.set(id, [id, key.database, policy.name, ...rangeTexts(key, policy)]);
  }
  const columns = ['id', 'database', 'retention_policy', 'start_time', 'end_time', 'expiry_time'];
  return [{ name: 'shard groups', columns, timeColumn: -1, values: [...groups.values()] }];
}

/**
 * Deletes all that the shard holds: a delete for its time range and number, which like any other reaches all replicas, also
 * those that are away. What is written later with such times is kept. Without such a shard it succeeds, as in InfluxDB.
 */
export async function dropShard(id: bigint, context: StatementContext): Promise<void> {
  const found = allShards(context).filter((shard) => BigInt(numericShardId(shard.id)) === id);
  if (found.length > 1) throw new QueryError(`shard ${id} is not unique: delete from its measurements instead`);
  for (const { database, policy, key } of found) {
    const everything = { measurement: null, condition: null };
    await context.backend.deleteRows(database, policy, everything, key.startNs, key.endNs - 1n, key.number);
  }
}

function allShards(context: StatementContext): ListedShard[] {
  return context.backend.snapshot().databases.flatMap((database) => shardsOf(database, context));
}

/** Policy by policy, by time. */
function shardsOf(database: DatabaseDefinition, context: StatementContext): ListedShard[] {
  return database.retentionPolicies.flatMap((policy) =>
    targetsOf(context, database, policy, { minNs: null, maxNs: null }).map((target) => ({
      ...target,
      database,
      policy,
    })),
  );
}

function groupId(key: ShardKey): number {
  return numericShardId(shardId({ ...key, number: 0 }));
}

/** Start, end, and when it expires: with its end, where the policy keeps everything. */
function rangeTexts({ startNs, endNs }: ShardKey, { durationNs }: RetentionPolicyDefinition): string[] {
  return [startNs, endNs, endNs + durationNs].map(
    (ns) => `${new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19)}Z`,
  );
}
