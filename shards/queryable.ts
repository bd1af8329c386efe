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
import type { TagCondition } from './tag-condition.ts';

export interface QueryableShard {
  readonly key: ShardKey;
  /** Names with at least one visible row, sorted. */
  measurements(): string[];
  /** Fields of a measurement with the types stored for them, strongest first (protocol rule 6), sorted by name. */
  fields(measurement: string): { name: string; types: FieldType[] }[];
  /** Series of the measurement that match and have at least one visible row (deleted series are left out). */
  series(measurement: string, condition: TagCondition | null): Uint32Array;
  keyOf(series: number): string;
  tagsOf(series: number): readonly Tag[];
  hashOf(series: number): SeriesHash;
  /** `visit` returns false to stop the scan. The slice and its arrays belong to the visitor. */
  scan(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): void;
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

/** The visible rows of one series in one window: one row per time, ascending, overwrites and deletes applied. */
export interface SeriesSlice {
  readonly series: number;
  readonly times: Float64Array;
  /** Parallel to the request's `fields`; null when no row of the slice has the field. */
  readonly columns: readonly (Column | null)[];
}
