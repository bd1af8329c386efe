/**
 * What a query answers, independent of its rendering (JSON, CSV, chunks): plain values, times as int64 nanoseconds.
 */
import type { ReadLevel } from '../../repair/levelling.ts';
import type { Ending } from './ending.ts';
import { type OutputColumn, type OutputTable, outputValue } from './output.ts';
import type { BegunStatement } from './running.ts';

/** A list: of texts that InfluxDB gives so (destinations of subscriptions). */
export type Value = number | bigint | string | boolean | null | readonly string[];

/** Rows: lists of values, or a stretch of a table of columns. */
export type ResultRows = readonly (readonly Value[])[] | TableRows;

/** Rows from..to-1 of a SELECT's table; the first column are the times. */
export class TableRows {
  readonly times: BigInt64Array;
  readonly columns: readonly OutputColumn[];
  readonly from: number;
  readonly to: number;

  constructor({ times, columns }: Pick<OutputTable, 'times' | 'columns'>, from: number, to: number) {
    this.times = times;
    this.columns = columns;
    this.from = from;
    this.to = to;
  }

  get length(): number {
    return this.to - this.from;
  }

  slice(from: number, to = this.length): TableRows {
    return new TableRows(this, this.from + from, Math.min(this.from + to, this.to));
  }

  *[Symbol.iterator](): Generator<Value[]> {
    for (let row = this.from; row < this.to; row++)
      yield [this.times[row]!, ...this.columns.map((column) => plain(outputValue(column, row)))];
  }
}

/** Integers that float64 holds exactly are numbers in results. */
export function plain(value: Value): Value {
  if (typeof value !== 'bigint') return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export interface ResultSeries {
  readonly name?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly columns: readonly string[];
  /** Index of the column that holds times as bigint nanoseconds (rendered by `epoch`), or -1. */
  readonly timeColumn: number;
  /** tz(): RFC 3339 times are given in this zone (time-zone.ts); absent: UTC. */
  readonly timeZone?: string;
  readonly values: ResultRows;
  /** More rows of the same series follow in a later result (chunking), or a row limit was hit. */
  readonly partial?: boolean;
}

export interface Completeness {
  readonly complete: boolean;
  readonly missing_shards: readonly string[];
  /**
   * Seconds since 1970 up to which all owners of the touched shards are proven equal; null when that is not known of one of
   * them, or when no shard was touched.
   */
  readonly converged_through: number | null;
  /** The same for the owners that are live. */
  readonly live_converged_through: number | null;
  /** Read from a damaged replica, because no other is up: rows may be missing. Absent: none. */
  readonly damaged_shards?: readonly string[];
  /** Not heard since this node started, and enough of them to be all owners of a shard. Absent: none. */
  readonly unheard_members?: readonly string[];
  /**
   * Members that were given up or replaced: of what was read, a write that was accepted after this instant (seconds since
   * 1970; null: at any time) and was only with them is lost, whatever the watermarks say. It is, though an operator has taken
   * note of it (`acknowledged`). Absent: none.
   */
  readonly losses?: readonly {
    readonly member: string;
    readonly after: number | null;
    readonly acknowledged?: boolean;
    readonly went_on?: boolean;
  }[];
  /** Where a consistency was asked for: the level that was reached, */
  readonly consistency?: ReadLevel;
  /** the members whose replicas the answer rests on, */
  readonly members?: readonly string[];
  /** and what was levelled: shards, their policies' deletes where they are read, and what had been lacking. */
  readonly levelled?: {
    readonly shards: number;
    readonly delete_shards: number;
    readonly batches: number;
    readonly rows: number;
  };
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
  readonly database?: string | undefined;
  readonly retentionPolicy?: string | undefined;
  readonly nowNs: bigint;
  /** Bound parameters by name, as parsed from JSON. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
  /** GET: statements that change something run, but with InfluxDB's deprecation message. */
  readonly readOnly: boolean;
  /** Rows per emitted result, or null for one result per statement. */
  readonly chunkSize: number | null;
  readonly completeness: boolean;
  /** What is read is levelled with the other owners first; absent: as it is. */
  readonly consistency?: ReadLevel | undefined;
  /** Told why a statement failed, of which the result has the text alone. */
  readonly failed?: (error: unknown) => void;
  /** Of the request. */
  readonly ending?: Ending;
  /** Where `straight` leaves what it has begun, for `execute` with the same text; absent: that begins anew. */
  readonly begun?: { left: BegunStatement | null };
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
  /**
   * Begins what can be answered straight (straight.ts) and says so. `done` is then called once, with the only result or with
   * null: it has to be executed after all. It may not throw.
   */
  straight?(text: string, options: QueryOptions, done: (result: StatementResult | null) => void): boolean;
}
