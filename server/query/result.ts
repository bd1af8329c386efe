/**
 * What a query answers, independent of its rendering (JSON, CSV, chunks): plain values, times as int64 nanoseconds.
 */
export type Value = number | bigint | string | boolean | null;

export interface ResultSeries {
  readonly name?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly columns: readonly string[];
  /** Index of the column that holds times as bigint nanoseconds (rendered by `epoch`), or -1. */
  readonly timeColumn: number;
  /** tz(): RFC 3339 times are given in this zone (time-zone.ts); absent: UTC. */
  readonly timeZone?: string;
  readonly values: readonly (readonly Value[])[];
  /** More rows of the same series follow in a later result (chunking), or a row limit was hit. */
  readonly partial?: boolean;
}

export interface Completeness {
  readonly complete: boolean;
  readonly missing_shards: readonly string[];
  /** Seconds since 1970 up to which all owners of the touched shards are proven equal; null when no shard was touched. */
  readonly converged_through: number | null;
}

export interface StatementResult {
  readonly statementId: number;
  readonly series?: readonly ResultSeries[];
  readonly error?: string;
  readonly messages?: readonly { readonly level: 'warning'; readonly text: string }[];
  /** More results of this statement follow. */
  readonly partial?: boolean;
  readonly completeness?: Completeness;
}

export interface QueryOptions {
  readonly database?: string;
  readonly retentionPolicy?: string;
  readonly nowNs: bigint;
  /** Bound parameters by name, as parsed from JSON. */
  readonly params?: Readonly<Record<string, unknown>>;
  /** GET: statements that change something run, but with InfluxDB's deprecation message. */
  readonly readOnly: boolean;
  /** Rows per emitted result, or null for one result per statement. */
  readonly chunkSize: number | null;
  readonly completeness: boolean;
  readonly signal?: AbortSignal;
}

/** Thrown before any result: the text could not be parsed (HTTP 400). */
export class QueryParseError extends Error {
  readonly code = 'query-parse';
}

/** Thrown by the service before any result when the node cannot answer at all (HTTP status given). */
export class QueryUnavailableError extends Error {
  readonly code = 'query-unavailable';
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export interface QueryService {
  execute(text: string, options: QueryOptions): AsyncGenerator<StatementResult>;
}
