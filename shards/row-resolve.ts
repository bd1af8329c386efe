import type { SeriesSlice } from './queryable.ts';
import type { RowSet } from './row-set.ts';
import type { Tombstone } from './tombstone.ts';

export function resolveSeries(
  rows: RowSet,
  seriesIndex: number,
  fields: readonly string[],
  tombstones: readonly Tombstone[],
  minTime: number,
  maxTime: number,
): SeriesSlice | null {
  throw new Error(`not resolved yet: ${[rows, seriesIndex, fields, tombstones, minTime, maxTime].length}`);
}
