/**
 * The delete shard of a retention policy: where deletes live that are not for one shard alone (protocol rule 25).
 *
 * It has no time range and no rows, every member owns it, and otherwise it is a shard like any other: logged, mailed,
 * compared, proven, copied. A delete in it counts in every shard of the policy that has its number, also in those that
 * come into being later, and those that its coordinator has never heard of. There is one per shard number, because all
 * shards of a number belong to one worker, which so has both without asking another thread.
 */
import type { DeletePredicate } from './batch.ts';
import type { ShardKey } from './shard-key.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from './shard-key.ts';

const START_NS = TIME_MIN_NS;
const END_NS = TIME_MAX_NS + 1n;

/** Of the shards of a policy with this number. */
export function deleteShardOf(key: Omit<ShardKey, 'startNs' | 'endNs'>): ShardKey {
  const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration, number } = key;
  return {
    database,
    databaseGeneration,
    retentionPolicy,
    retentionPolicyGeneration,
    startNs: START_NS,
    endNs: END_NS,
    number,
  };
}

export function isDeleteShard({ startNs, endNs }: Pick<ShardKey, 'startNs' | 'endNs'>): boolean {
  return startNs === START_NS && endNs === END_NS;
}

/** What a delete of the delete shard means within a shard; null when their times do not meet. */
export function predicateIn(predicate: DeletePredicate, { startNs, endNs }: ShardKey): DeletePredicate | null {
  const { measurement, condition, times } = predicate;
  if (times === undefined || times.minNs >= endNs || times.maxNs < startNs) return null;
  const first = times.minNs > startNs ? times.minNs : startNs;
  const last = times.maxNs < endNs ? times.maxNs : endNs - 1n;
  if (first > last) return null;
  return { measurement, condition, minTime: Number(first - startNs), maxTime: Number(last - startNs) };
}
