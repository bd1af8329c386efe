/**
 * Groups of a shard: which group (measurement and values of the dimensions) each matching series belongs to.
 */
import type { QueryableShard } from '../queryable.ts';
import type { RegexCache, RowFilter } from './filter.ts';
import { specialise } from './filter.ts';
import type { SelectRequest, ShardGroups } from './partial.ts';

export interface MeasurementScan {
  readonly measurement: string;
  /** In order of series hash; those that no row can pass are left out. */
  readonly series: Uint32Array;
  /** Filter of a series with its tags put in; absent: every row passes. */
  readonly filters: ReadonlyMap<number, RowFilter>;
}

export interface GroupedSeries {
  readonly scans: readonly MeasurementScan[];
  readonly groups: ShardGroups;
  /** Group by series id. */
  readonly groupOf: ReadonlyMap<number, number>;
  readonly seriesMatched: number;
}

/** null: more series than the limit. */
export function groupSeries(shard: QueryableShard, request: SelectRequest, regexes: RegexCache): GroupedSeries | null {
  const measurements: string[] = [];
  const tagValues: string[][] = [];
  const groupOf = new Map<number, number>();
  const scans: MeasurementScan[] = [];
  let seriesMatched = 0;
  for (const measurement of request.measurements) {
    const ids = shard.series(measurement, request.condition);
    seriesMatched += ids.length;
    if (seriesMatched > request.limits.seriesMax) return null;
    const indexOf = new Map<string, number>();
    const filters = new Map<number, RowFilter>();
    const series: number[] = [];
    for (const id of ids) {
      const needsTags = request.filter !== null || request.dimensions.length > 0;
      const tags = new Map<string, string>();
      if (needsTags) for (const tag of shard.tagsOf(id)) tags.set(tag.key, tag.value);
      const values = request.dimensions.map((key) => tags.get(key) ?? '');
      // Values cannot hold a newline-free separator in general, so lengths go in as well.
      const key = values.length === 1 ? values[0]! : values.map((value) => `${value.length}:${value}`).join('');
      let group = indexOf.get(key);
      if (group === undefined) {
        group = measurements.length;
        indexOf.set(key, group);
        measurements.push(measurement);
        tagValues.push(values);
      }
      groupOf.set(id, group);
      if (request.filter !== null) {
        const filter = specialise(request.filter, (name) => tags.get(name) ?? '', regexes);
        if (filter.kind === 'constant') {
          if (!filter.value) continue;
        } else filters.set(id, filter);
      }
      series.push(id);
    }
    if (series.length > 0) scans.push({ measurement, series: Uint32Array.from(series), filters });
  }
  return { scans, groups: { measurements, tagValues }, groupOf, seriesMatched };
}
