/**
 * Owners of a shard: rendezvous hashing (Thaler & Ravishankar, "Using name-based mappings to increase hit rates", 1998).
 *
 * Each member in state `up` gets the weight SHA-256(shard id, member's name) and the k greatest own the shard, in that
 * order, which is also the order of its ring. Hashing names, not numbers, gives a node that lost its disk and came back
 * with a new number the same shards again. A join or a leave moves 1/n of the shards.
 */
import { createHash } from 'node:crypto';
import { isDeleteShard } from '../shards/delete-shard.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { ClusterSnapshot, Member, RetentionPolicyDefinition } from './cluster.ts';

/**
 * k = min(replication, members up); a delete shard is owned by all of them, since any may have a shard of the policy.
 * Empty when this node does not know the retention policy in that generation (or it was dropped): a shard that is known
 * has at least one owner, since a node that answers is itself up.
 */
export function ownersOf(snapshot: ClusterSnapshot, key: ShardKey): NodeNumber[] {
  const policy = policyOf(snapshot, key);
  if (policy === null) return [];
  const up = snapshot.members.filter((member) => member.state === 'up');
  const names = rendezvousOrder([...new Set(up.map((member) => member.name))], shardId(key));
  const owning = isDeleteShard(key) ? names : names.slice(0, policy.replication);
  return owning.map((name) => numberOf(up, name));
}

/** Owners by shard, remembered until the view changes: rendezvous hashing over all members is not free. */
export class OwnerTable {
  private viewHash: string | null = null;
  private readonly byShard = new Map<ShardId, readonly NodeNumber[]>();

  owners(snapshot: ClusterSnapshot | null, key: ShardKey): readonly NodeNumber[] {
    if (snapshot === null) return [];
    if (snapshot.viewHash !== this.viewHash) {
      this.viewHash = snapshot.viewHash;
      this.byShard.clear();
    }
    const id = shardId(key);
    let owners = this.byShard.get(id);
    if (owners === undefined) {
      owners = ownersOf(snapshot, key);
      this.byShard.set(id, owners);
    }
    return owners;
  }
}

/** The names by descending weight for `key`: the same order on every node that knows the same names. */
export function rendezvousOrder(names: readonly string[], key: string): string[] {
  return names
    .map((name) => ({ name, weight: createHash('sha256').update(key).update('\0').update(name).digest('hex') }))
    .sort((a, b) => (a.weight === b.weight ? (a.name < b.name ? -1 : 1) : a.weight < b.weight ? 1 : -1))
    .map(({ name }) => name);
}

/** Two members up with one name are possible only until their states have met; then the smaller number counts. */
function numberOf(up: readonly Member[], name: string): NodeNumber {
  const numbers = up.filter((member) => member.name === name).map((member) => member.number);
  return numbers.sort()[0]!;
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
