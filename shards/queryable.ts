/**
 * What query execution needs of a shard; `shards/shard.ts` provides it.
 *
 * Series are named by ids local to the shard. Every list of series is in ascending order of series hash, which is the
 * same on every replica; scans visit windows in time order and, within a window, series in that order. So whatever is
 * accumulated during a scan does not depend on how the shard happens to be laid out.
 */
import type { Column, FieldType } from './column.ts';
import type { SeriesHash, Tag } from './series-key.ts';
import type { ShardKey } from './shard-key.ts';
import type { Steps } from './steps.ts';
import type { TagCondition } from './tag-condition.ts';

export interface QueryableShard {
  readonly key: ShardKey;
  /** Counted while it is read in steps: its series keep their places in memory, and the numbers of their tags. */
  readonly readings?: { open: number };
  /** Another text whenever measurements(), fields(), tagKeys() or series() may answer otherwise than before. */
  readonly schemaStamp: string;
  /** Names with at least one visible row, sorted. */
  measurements(): string[];
  /** Fields of a measurement with the types stored for them, strongest first (protocol rule 6), sorted by name. */
  fields(measurement: string): { name: string; types: FieldType[] }[];
  /** Keys of the tags of the measurement's series that have a visible row, sorted. */
  tagKeys(measurement: string): string[];
  /** Series of the measurement that match and have at least one visible row (deleted series are left out). */
  series(measurement: string, condition: TagCondition | null): Uint32Array;
  /** What `series()` has to ask of the condition's patterns, in steps: asked beforehand, it holds nothing up. Throws RegexError. */
  judgeSteps(measurement: string, condition: TagCondition): Steps;
  keyOf(series: number): string;
  tagsOf(series: number): readonly Tag[];
  /** The values of a tag for series of the measurement. */
  tagColumn(measurement: string, tagKey: string, series: Uint32Array): TagColumn;
  hashOf(series: number): SeriesHash;
  /** `visit` returns false to stop the scan. The slice and its arrays belong to the visitor. */
  scan(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): void;
  /** The same in steps, between which the shard may change: what is read of a series in a window is of one moment. */
  scanSteps(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): Steps;
  /** Where the first rows of these series lie in the range (with `descending` the last ones); null: there are none. */
  rowsAhead(request: Omit<ScanRequest, 'fields'>): RowsAhead | null;
  /** The same rows, reduced; `query/aggregate-by-scan.ts` is what it means. What `visit` and `readRows` throw ends it. */
  aggregate(request: AggregateRequest, visit: (runs: AggregateRuns) => void): void;
  aggregateSteps(request: AggregateRequest, visit: (runs: AggregateRuns) => void): Steps;
}

export interface TagColumn {
  /** Per series asked for: code of its value; 0 when it does not have the tag. Equal values have equal codes. */
  readonly codes: Uint32Array;
  /** The value of a code; '' for 0. */
  valueOf(code: number): string;
}

export interface ScanRequest {
  readonly measurement: string;
  /** Ids from `series()`, in the order given there. */
  readonly series: Uint32Array;
  /** Fields to read; rows that have none of them are left out. */
  readonly fields: readonly string[];
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
  /** Windows newest first when true (rows inside a slice stay ascending). */
  readonly descending?: boolean;
}

/** Rows of some series that lie in one storage window: none lie before it, or at other times of it. */
export interface RowsAhead {
  readonly minTime: number;
  readonly maxTime: number;
  /** An estimate; more than 0. Deleted ones count. */
  readonly rows: number;
}

/** The visible rows of one series in one window: one row per time, ascending, overwrites and deletes applied. */
export interface SeriesSlice {
  readonly series: number;
  readonly times: Float64Array;
  /** Parallel to the request's `fields`; null when no row of the slice has the field. */
  readonly columns: readonly (Column | null)[];
}

export const AGGREGATE_FUNCTIONS = ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread'] as const;
export type AggregateFunction = (typeof AGGREGATE_FUNCTIONS)[number];

export interface AggregateCall {
  readonly fn: AggregateFunction;
  readonly field: string;
  /** Values are taken as this type (`query/columns.ts` says which convert). */
  readonly type: FieldType;
}

export interface AggregateRequest {
  readonly measurement: string;
  /** Ids from `series()`, in the order given there. */
  readonly series: Uint32Array;
  readonly calls: readonly AggregateCall[];
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
  /** Boundaries of the query's windows, ascending: window w is [offsets[w], offsets[w + 1]). They hold the whole range. */
  readonly offsets: Float64Array;
  /** Told of rows before their values are used; throws when it is too many. Rows known by statistics alone do not count. */
  readRows(rows: number): void;
}

/**
 * Runs of one call: a run is what the values of one series give that lie in one storage window and one window of the
 * query; there is none where there are no values. Runs of a call come in the order (storage window, series, window of
 * the query), in as many pieces as is convenient; where all calls are `last`, or all are `first`, and the query has one
 * window, storage windows may come newest first, and of a series not all but the one run that is picked. The arrays may be longer than `length` and are the shard's own: they
 * hold until `visit` returns.
 *
 * Values: how floats are added (query/float-sum.ts) is part of the result; absent cells are left out. Integer sums wrap
 * at 64 bits. min and max take the earliest of equal values (-0 and 0 are equal), spread keeps both of them.
 */
export interface AggregateRuns {
  /** Index in the request's calls. */
  readonly call: number;
  readonly length: number;
  /** Places in the request's series, not ids. */
  readonly series: Uint32Array;
  readonly windows: Uint32Array;
  /** Values in the run, at least 1. */
  readonly counts: Float64Array;
  /** Floats and booleans (0 or 1): the sum, the picked value, spread's least. */
  readonly numbers: Float64Array | null;
  /** The same of integers; BigUint64Array for unsigned ones. */
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: readonly string[] | null;
  /** min, max, first, last: offset of the picked row. */
  readonly times: Float64Array | null;
  /** spread: the greatest. */
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
}
