/**
 * What the query service needs of the process: the cluster's metadata, the shards, and a way to run partial requests
 * where the shards are. `server/query-backend.ts` provides it; tests provide one in memory.
 */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../../repair/cluster.ts';
import type { DeletePredicate } from '../../shards/batch.ts';
import type { PartialRequest, PartialResult } from '../../shards/query/partial.ts';
import type { ShardId, ShardKey } from '../../shards/shard-key.ts';
import type { RetentionPolicyOptions } from '../influxql/ast.ts';
import type { Ending } from './ending.ts';

export interface ShardTarget {
  readonly id: ShardId;
  readonly key: ShardKey;
}

export interface PartialAnswers {
  /** One per executing place, in any order. */
  readonly results: readonly PartialResult[];
  /** Targets of which no owner is up. */
  readonly missing: readonly ShardTarget[];
  /** Up to here all owners of all targets are proven equal; null when unknown. */
  readonly convergedThroughMs: number | null;
}

/** Changes of metadata; each throws an Error whose message is InfluxDB's text. */
export interface QueryMetadata {
  createDatabase(name: string, policy: (RetentionPolicyOptions & { readonly name?: string }) | null): void;
  dropDatabase(name: string): void;
  createRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions): void;
  alterRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions): void;
  dropRetentionPolicy(database: string, name: string): void;
}

export interface QueryBackend {
  snapshot(): ClusterSnapshot;
  /** Known existing shards that overlap [minNs, maxNs], sorted by (startNs, number). */
  targets(
    database: DatabaseDefinition,
    policy: RetentionPolicyDefinition,
    minNs: bigint,
    maxNs: bigint,
  ): readonly ShardTarget[];
  /** Runs where the shards are: own workers first, else a live full owner. */
  run(targets: readonly ShardTarget[], request: PartialRequest, ending?: Ending): Promise<PartialAnswers>;
  /** Both bounds inclusive. */
  deleteRows(
    targets: readonly ShardTarget[],
    predicate: Omit<DeletePredicate, 'minTime' | 'maxTime'>,
    minNs: bigint,
    maxNs: bigint,
  ): Promise<void>;
  readonly metadata: QueryMetadata;
}
