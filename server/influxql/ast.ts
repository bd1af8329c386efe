/**
 * Syntax tree of InfluxQL, as the specification of InfluxDB 1.8 describes the language.
 *
 * Plain data: the parser makes it, the planner and the printer read it. Durations and times are nanoseconds as bigint.
 */
import type { ConflictRule } from '../../shards/row-settle.ts';

export type CastType = 'float' | 'integer' | 'unsigned' | 'string' | 'boolean' | 'field' | 'tag';

export type BinaryOperator =
  | '+'
  | '-'
  | '*'
  | '/'
  | '%'
  | '&'
  | '|'
  | '^'
  | 'AND'
  | 'OR'
  | '='
  | '!='
  | '<'
  | '<='
  | '>'
  | '>='
  | '=~'
  | '!~';

export type Expression =
  | { readonly kind: 'reference'; readonly name: string; readonly cast?: CastType }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] }
  | { readonly kind: 'binary'; readonly op: BinaryOperator; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'paren'; readonly inner: Expression }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'unsigned'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'duration'; readonly ns: bigint }
  | { readonly kind: 'regex'; readonly pattern: string }
  | { readonly kind: 'wildcard'; readonly of: 'all' | 'field' | 'tag' }
  | { readonly kind: 'distinct'; readonly name: string };

export interface SelectField {
  readonly expression: Expression;
  readonly alias?: string;
}

export interface MeasurementSource {
  readonly kind: 'measurement';
  readonly database?: string;
  readonly retentionPolicy?: string;
  /** Exactly one of name and regex is set. As target of INTO an empty name stands for `:MEASUREMENT`. */
  readonly name?: string;
  readonly regex?: string;
}

export interface SubquerySource {
  readonly kind: 'subquery';
  readonly select: SelectStatement;
}

export type Source = MeasurementSource | SubquerySource;

export type Dimension =
  | { readonly kind: 'time'; readonly intervalNs: bigint; readonly offset?: Expression }
  | { readonly kind: 'tag'; readonly name: string }
  | { readonly kind: 'regex'; readonly pattern: string }
  | { readonly kind: 'wildcard' }
  /** Parses but is no dimension; validateSelect says why. */
  | { readonly kind: 'invalid'; readonly expression: Expression };

export type Fill =
  | { readonly kind: 'null' | 'none' | 'previous' | 'linear' }
  | { readonly kind: 'value'; readonly value: number | bigint };

export interface SelectStatement {
  readonly kind: 'select';
  readonly fields: readonly SelectField[];
  readonly into?: MeasurementSource;
  readonly sources: readonly Source[];
  readonly condition?: Expression;
  readonly dimensions: readonly Dimension[];
  /** Absent: not written (null fill for aggregates). */
  readonly fill?: Fill;
  /** Default ascending by time. */
  readonly descending: boolean;
  /** ORDER BY time ASC is written: a subquery without it takes the direction of the query around it. */
  readonly ascending?: true;
  readonly limit?: number;
  readonly offset?: number;
  readonly seriesLimit?: number;
  readonly seriesOffset?: number;
  readonly timeZone?: string;
}

/** Clauses that several SHOW statements share. */
export interface ShowClauses {
  readonly database?: string;
  readonly sources?: readonly Source[];
  readonly condition?: Expression;
  readonly limit?: number;
  readonly offset?: number;
  readonly seriesLimit?: number;
  readonly seriesOffset?: number;
}

export type WithKey =
  | { readonly op: '=' | '!='; readonly key: string }
  | { readonly op: '=~' | '!~'; readonly regex: string }
  | { readonly op: 'IN'; readonly keys: readonly string[] };

export interface RetentionPolicyOptions {
  readonly durationNs?: bigint;
  readonly replication?: number;
  readonly shardDurationNs?: bigint;
  readonly isDefault?: boolean;
}

/** What a user may do with a database. */
export type Privilege = 'READ' | 'WRITE' | 'ALL';

/** A password is in the tree alone: the printer leaves it out. */
export type UserStatement =
  | { readonly kind: 'create-user'; readonly name: string; readonly password: string; readonly admin: boolean }
  | { readonly kind: 'drop-user'; readonly name: string }
  | { readonly kind: 'set-password'; readonly name: string; readonly password: string }
  | {
      readonly kind: 'grant' | 'revoke';
      readonly privilege: Privilege;
      readonly database: string;
      readonly user: string;
    }
  /** Of all privileges, on everything. */
  | { readonly kind: 'grant-admin' | 'revoke-admin'; readonly user: string }
  | { readonly kind: 'show-users' }
  | { readonly kind: 'show-grants'; readonly user: string };

/** About shards as such, and about the processes. */
export type ServerStatement =
  | { readonly kind: 'show-shards' | 'show-shard-groups' }
  | { readonly kind: 'drop-shard'; readonly id: bigint }
  | { readonly kind: 'show-queries' }
  /** `host`: of the node that runs it. */
  | { readonly kind: 'kill-query'; readonly id: bigint; readonly host?: string }
  | { readonly kind: 'show-stats' | 'show-diagnostics'; readonly module?: string };

export interface ContinuousQueryStatement {
  readonly kind: 'create-continuous-query';
  readonly name: string;
  readonly database: string;
  /** RESAMPLE EVERY and FOR; absent: not written. */
  readonly everyNs?: bigint;
  readonly forNs?: bigint;
  readonly select: SelectStatement & { readonly into: MeasurementSource };
}

export interface SubscriptionName {
  readonly name: string;
  readonly database: string;
  readonly retentionPolicy: string;
}

export type SubscriptionStatement =
  | { readonly kind: 'show-subscriptions' }
  | ({
      readonly kind: 'create-subscription';
      readonly mode: 'ALL' | 'ANY';
      readonly destinations: readonly string[];
    } & SubscriptionName)
  | ({ readonly kind: 'drop-subscription' } & SubscriptionName);

export type Statement =
  | SelectStatement
  | UserStatement
  | ServerStatement
  | SubscriptionStatement
  | { readonly kind: 'explain'; readonly analyze: boolean; readonly select: SelectStatement }
  | { readonly kind: 'show-databases' }
  | ({
      readonly kind: 'show-measurements';
      readonly measurement?: { readonly op: '=' | '=~'; readonly name?: string; readonly regex?: string };
    } & ShowClauses)
  | ({ readonly kind: 'show-tag-keys' } & ShowClauses)
  | ({ readonly kind: 'show-tag-values'; readonly withKey: WithKey } & ShowClauses)
  | ({ readonly kind: 'show-field-keys' } & ShowClauses)
  | ({ readonly kind: 'show-series' } & ShowClauses)
  | ({
      readonly kind: 'show-cardinality';
      readonly of: 'series' | 'measurement' | 'tag-key' | 'tag-values' | 'field-key';
      readonly exact: boolean;
      /** Of tag values. */
      readonly withKey?: WithKey;
      readonly dimensions: readonly Dimension[];
    } & ShowClauses)
  | { readonly kind: 'show-retention-policies'; readonly database?: string }
  | {
      readonly kind: 'create-database';
      readonly name: string;
      /** Present when WITH was written. */
      readonly policy?: RetentionPolicyOptions & { readonly name?: string };
      /** Starling's own: `WITH ... CONFLICT 'first-write-wins'`. */
      readonly conflict?: ConflictRule;
    }
  | { readonly kind: 'drop-database'; readonly name: string }
  | ({
      readonly kind: 'create-retention-policy';
      readonly name: string;
      readonly database: string;
    } & RetentionPolicyOptions)
  | ({
      readonly kind: 'alter-retention-policy';
      readonly name: string;
      readonly database: string;
    } & RetentionPolicyOptions)
  | { readonly kind: 'drop-retention-policy'; readonly name: string; readonly database: string }
  | { readonly kind: 'delete'; readonly sources: readonly Source[]; readonly condition?: Expression }
  | { readonly kind: 'drop-measurement'; readonly name: string }
  | ContinuousQueryStatement
  | { readonly kind: 'drop-continuous-query'; readonly name: string; readonly database: string }
  | { readonly kind: 'show-continuous-queries' }
  | { readonly kind: 'drop-series'; readonly sources: readonly Source[]; readonly condition?: Expression };

export type StatementKind = Statement['kind'];
