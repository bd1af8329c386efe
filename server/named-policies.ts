/** The retention policies that requests name, found once for each snapshot of the cluster: most requests name the same few. */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../repair/cluster.ts';
import type { RoutingPolicy } from '../shards/batch-builder.ts';
import { SHARDS_PER_GROUP } from '../shards/shard-key.ts';
import { oldestKeptNs } from './shard-places.ts';

/** The same object for the same names, as long as the snapshot is the same. */
export interface NamedPolicy {
  readonly database: DatabaseDefinition;
  readonly policy: RetentionPolicyDefinition;
}

interface Unknown {
  readonly status: number;
  readonly error: string;
}

export class NamedPolicies {
  readonly #current: () => ClusterSnapshot;
  #snapshot: ClusterSnapshot | null = null;
  /** By database and retention policy as requests spell them: only those that there are. */
  #known = new Map<string, Map<string, NamedPolicy>>();

  constructor(current: () => ClusterSnapshot) {
    this.#current = current;
  }

  /** `retentionPolicy` '' means the database's default. */
  find(database: string, retentionPolicy: string): NamedPolicy | Unknown {
    const snapshot = this.#current();
    if (snapshot !== this.#snapshot) {
      this.#snapshot = snapshot;
      this.#known = new Map();
    }
    return this.#known.get(database)?.get(retentionPolicy) ?? this.#look(snapshot, database, retentionPolicy);
  }

  #look({ databases }: ClusterSnapshot, databaseName: string, retentionPolicy: string): NamedPolicy | Unknown {
    const database = databases.find(({ name }) => name === databaseName);
    if (database === undefined) return { status: 404, error: `database not found: ${JSON.stringify(databaseName)}` };
    const name = retentionPolicy === '' ? database.defaultRetentionPolicy : retentionPolicy;
    const policy = database.retentionPolicies.find((each) => each.name === name);
    if (policy === undefined) return { status: 500, error: `retention policy not found: ${name}` };
    const named = { database, policy };
    let ofDatabase = this.#known.get(databaseName);
    if (ofDatabase === undefined) {
      ofDatabase = new Map();
      this.#known.set(databaseName, ofDatabase);
    }
    ofDatabase.set(retentionPolicy, named);
    return named;
  }
}

export function routingOf({ database, policy }: NamedPolicy, nowMs: number): RoutingPolicy {
  return {
    database: database.name,
    databaseGeneration: database.generation,
    retentionPolicy: policy.name,
    retentionPolicyGeneration: policy.generation,
    shardDurationNs: policy.shardDurationNs,
    ...(policy.earlierShards !== undefined && { earlierShards: policy.earlierShards }),
    oldestNs: oldestKeptNs(policy, nowMs),
    shardsPerGroup: SHARDS_PER_GROUP,
  };
}
