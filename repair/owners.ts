/**
 * Owners of a shard: rendezvous hashing (Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998).
 *
 * Each member in state `up` gets the weight SHA-256(shard id, member's name) and the k greatest own the shard, in that
 * order, which is also the order of its ring. Hashing names, not numbers, gives a node that lost its disk and came back
 * with a new number the same shards again. A join or a leave moves 1/n of the shards.
 */
import { createHash } from 'node:crypto';
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { ClusterSnapshot, RetentionPolicyDefinition } from './cluster.ts';

/**
 * k = min(replication, members up). Empty when this node does not know the retention policy in that generation (or it
 * was dropped): a shard that is known has at least one owner, since a node that answers is itself up.
 */
export function ownersOf(snapshot: ClusterSnapshot, key: ShardKey): NodeNumber[] {
  const policy = policyOf(snapshot, key);
  if (policy === null) return [];
  const up = snapshot.members.filter((member) => member.state === 'up');
  return rendezvousOrder(shardId(key), up)
    .slice(0, policy.replication)
    .map((member) => member.number);
}

/** The members by descending weight for `key`: the same order on every node that knows the same members. */
export function rendezvousOrder<M extends { readonly name: string; readonly number: NodeNumber }>(
  key: string,
  members: readonly M[],
): M[] {
  return members
    .map((member) => ({ member, weight: weightOf(key, member.name) }))
    .sort((a, b) =>
      a.weight === b.weight ? (a.member.number < b.member.number ? -1 : 1) : a.weight < b.weight ? 1 : -1,
    )
    .map(({ member }) => member);
}

function weightOf(key: string, name: string): string {
  return createHash('sha256').update(key).update('\0').update(name).digest('hex');
}

/** The retention policy of a shard in exactly the shard's generations; null when unknown or dropped. */
export function policyOf(
  snapshot: ClusterSnapshot,
  key: Pick<ShardKey, 'database' | 'databaseGeneration' | 'retentionPolicy' | 'retentionPolicyGeneration'>,
): RetentionPolicyDefinition | null {
  const database = snapshot.databases.find((each) => each.name === key.database);
  if (database === undefined || database.generation !== key.databaseGeneration) return null;
  const policy = database.retentionPolicies.find((each) => each.name === key.retentionPolicy);
  return policy !== undefined && policy.generation === key.retentionPolicyGeneration ? policy : null;
}
