import type { Column } from './column.ts';
import type { RowSet } from './row-set.ts';
import type { Version } from './version.ts';

/** Rows of one measurement in any order. */
export interface UnsortedRows {
  /** Per row: id of the series, local to the shard. */
  readonly rowSeries: Uint32Array;
  /** Per row: nanoseconds after the shard's start. */
  readonly times: Float64Array;
  /** Per row: index into `versionTable`. */
  readonly versions: Uint32Array;
  /** In any order. */
  readonly versionTable: readonly Version[];
  /** Each (field, type) at most once, in any order. */
  readonly columns: readonly Column[];
}

export function sortRows(unsorted: UnsortedRows, rankOf: (series: number) => number): RowSet {
  throw new Error(`not sorted yet: ${unsorted.times.length} ${rankOf.length}`);
}
