/**
 * A row set: rows of one measurement, sorted by (series, time, version), as columns. The common form of what a memtable
 * gives up at a flush, what a block decodes to, and what merges take and make.
 *
 * Rows are fragments: fields that came with different versions stay in different rows (protocol rule 5), so several
 * rows may have the same series and time. Resolving them to one visible row per time happens on read.
 */
import type { Column } from './column.ts';
import type { Version } from './version.ts';

export interface RowSet {
  /** Distinct series as ids local to the shard, in ascending order of series hash. */
  readonly series: Uint32Array;
  /** Rows of series[i] are seriesStart[i] .. seriesStart[i + 1] - 1; length is series.length + 1. */
  readonly seriesStart: Uint32Array;
  /** Per row: nanoseconds after the shard's start. */
  readonly times: Float64Array;
  /** Per row: index into `versionTable`. */
  readonly versions: Uint32Array;
  /** Ascending, distinct. */
  readonly versionTable: readonly Version[];
  /** Each (field, type) at most once, sorted by field name, then type. */
  readonly columns: readonly Column[];
}

/** The order of columns in a row set. */
export function compareColumns(a: Pick<Column, 'field' | 'type'>, b: Pick<Column, 'field' | 'type'>): number {
  return a.field < b.field ? -1 : a.field > b.field ? 1 : a.type - b.type;
}
