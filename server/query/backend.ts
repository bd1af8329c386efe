/**
 * What the query service needs of the process: the cluster's metadata, the shards, and a way to run partial requests
 * where the shards are. `server/query-backend.ts` provides it; tests provide one in memory.
 */
import type { ClusterSnapshot, DatabaseDefinition, RetentionPolicyDefinition } from '../../repair/cluster.ts';
import type { ReadLevel } from '../../repair/levelling.ts';
import type { LossDescription } from '../../repair/records.ts';
import type { Grant, Privilege } from '../../repair/users.ts';
import type { DeletePredicate } from '../../shards/batch.ts';
import type { PartialRequest, PartialResult } from '../../shards/query/partial.ts';
import type { ConflictRule } from '../../shards/row-settle.ts';
import type { ShardId, ShardKey } from '../../shards/shard-key.ts';
import type { NodeNumber } from '../../shards/version.ts';
import type { Diagnostic } from '../diagnostics.ts';
import type { RetentionPolicyOptions } from '../influxql/ast.ts';
import type { Statistic } from '../statistics.ts';
import type { Ending } from './ending.ts';
import type { QueryDescription } from './running-queries.ts';

export interface ShardTarget {
  readonly id: ShardId;
  readonly key: ShardKey;
}

export interface PartialAnswers {
  /** One per executing place, in any order. */
  readonly results: readonly PartialResult[];
  /** Targets of which no owner is up. */
  readonly missing: readonly ShardTarget[];
  /** Members that are not up and may have more of a target than the replica that was read, which no other was proven equal to yet. */
  readonly silent?: readonly string[];
  /** Targets that were read from a damaged replica, because no other is up: rows may be missing. */
  readonly damaged: readonly ShardTarget[];
  /** Members that were given up or replaced, with whom writes of the targets may be lost; one may be named several times. */
  readonly losses?: readonly LossDescription[];
  /** Up to here all owners of all targets are proven equal; null when unknown. */
  readonly convergedThroughMs: number | null;
  /** The same for the owners that are live. */
  readonly liveConvergedThroughMs: number | null;
}

/** What was done for a statement that asked for a consistency. */
export interface LevelReport {
  readonly consistency: ReadLevel;
  /** Names of the members whose replicas the answer rests on, sorted. */
  readonly members: readonly string[];
  readonly shards: number;
  /** Those of the policies' deletes that were levelled with them, each place counted. */
  readonly deleteShards: number;
  /** What the replicas that were read had lacked. */
  readonly batches: number;
  readonly rows: number;
}

/** For one statement: what it reads has been levelled with the other owners before (repair/levelling.ts). */
export interface LevelledBackend extends QueryBackend {
  report(): LevelReport;
}

/** Changes of metadata; each throws an Error whose message is InfluxDB's text. */
export interface QueryMetadata {
  createDatabase(
    name: string,
    policy: (RetentionPolicyOptions & { readonly name?: string }) | null,
    conflict?: ConflictRule,
  ): void;
  dropDatabase(name: string): void;
  createRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions): void;
  alterRetentionPolicy(database: string, name: string, options: RetentionPolicyOptions): void;
  dropRetentionPolicy(database: string, name: string): void;
  readonly continuousQueries: {
    /** By database, then as they were made. */
    all(): readonly { readonly database: string; readonly name: string; readonly text: string }[];
    create(database: string, name: string, text: string): void;
    drop(database: string, name: string): void;
  };
  readonly users: UserMetadata;
  readonly subscriptions: {
    /** By database and policy, then as they were made. */
    all(): readonly {
      readonly database: string;
      readonly policy: string;
      readonly name: string;
      readonly mode: 'ALL' | 'ANY';
      readonly destinations: readonly string[];
    }[];
    create(database: string, policy: string, name: string, mode: 'ALL' | 'ANY', destinations: readonly string[]): void;
    drop(database: string, policy: string, name: string): void;
  };
}

/** Changes of users, as those of metadata. */
export interface UserMetadata {
  /** In order of creation. */
  list(): readonly { readonly name: string; readonly admin: boolean }[];
  grants(name: string): readonly Grant[];
  create(name: string, password: string, admin: boolean): Promise<void>;
  drop(name: string): void;
  setPassword(name: string, password: string): Promise<void>;
  setAdmin(name: string, admin: boolean): void;
  grant(name: string, database: string, privilege: Privilege): void;
  revoke(name: string, database: string, privilege: Privilege): void;
}

/** What statements ask about the cluster and this process as such. */
export interface ServerFacts {
  owners(shard: ShardKey): readonly NodeNumber[];
  statistics(): Promise<readonly Statistic[]>;
  diagnostics(): readonly Diagnostic[];
  readonly queries: QueriesOfCluster;
}

export interface ClusterQueryList {
  /** By id. */
  readonly queries: readonly QueryDescription[];
  /** Names of members that did not answer. */
  readonly unasked: readonly string[];
}

/** What runs on all nodes. */
export interface QueriesOfCluster {
  list(): Promise<ClusterQueryList>;
  /** `host`: where it runs; undefined: its id says it. Throws QueryError with InfluxDB's texts. */
  kill(id: bigint, host: string | undefined): Promise<void>;
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
  /**
   * Members that have not said which shards they hold since this node started, if they are so many that they may be all
   * owners of a shard of the policy: there may be shards that `targets` does not know.
   */
  unheard(policy: RetentionPolicyDefinition): readonly string[];
  /** Names of the members that would be asked for these shards now, with how many each; sorted by name. */
  placesOf(targets: readonly ShardTarget[]): readonly { readonly member: string; readonly shards: number }[];
  /** Throws QueryError when too few members can take part. */
  levelled(level: ReadLevel, ending: Ending): Promise<LevelledBackend>;
  /**
   * Runs where the shards are: own workers first, else a live full owner. `wantsProof`: what is proven has to be as of now;
   * else it may be of an earlier answer.
   */
  run(
    targets: readonly ShardTarget[],
    request: PartialRequest,
    ending?: Ending,
    wantsProof?: boolean,
  ): Promise<PartialAnswers>;
  /**
   * The same for shards that are all in this node's workers, without a proof and without a promise; false: they are not, and
   * nothing was asked. Shards that go meanwhile are asked for elsewhere. Neither may throw.
   */
  runHere?(
    targets: readonly ShardTarget[],
    request: PartialRequest,
    answered: (answers: PartialAnswers) => void,
    failed: (error: Error) => void,
    ending: Ending,
  ): boolean;
  /** In all shards of the policy, also in those that come later; `number`: in those with that one alone. Both bounds inclusive. */
  deleteRows(
    database: DatabaseDefinition,
    policy: RetentionPolicyDefinition,
    predicate: Pick<DeletePredicate, 'measurement' | 'condition'>,
    minNs: bigint,
    maxNs: bigint,
    number?: number,
  ): Promise<void>;
  /** Line protocol with times in nanoseconds, as a client's write; throws QueryError with the text that a client would get. */
  writeLines(database: string, policy: string, lines: Uint8Array): Promise<void>;
  readonly metadata: QueryMetadata;
  readonly server: ServerFacts;
}
