/** What storage has to know of a shard's database and policy, out of the cluster's metadata. */
import type { ShardKey } from '../shards/shard-key.ts';
import type { ShardRules } from '../shards/shard-policy.ts';
import type { ClusterSnapshot } from './cluster.ts';
import { databaseOf } from './mail-receiver.ts';
import { policyOf } from './owners.ts';

export function rulesOf(snapshot: ClusterSnapshot, key: ShardKey): ShardRules | null {
  const database = databaseOf(snapshot, key);
  const policy = policyOf(snapshot, key);
  return database === undefined || policy === null
    ? null
    : { conflict: database.conflict, hasDeletes: policy.hasDeletes };
}
