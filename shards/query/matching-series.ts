/** Series of a shard that match a condition on tags. */
import type { QueryableShard } from '../queryable.ts';
import type { TagCondition } from '../tag-condition.ts';
import { type RegexCache, type RowFilter, specialise } from './filter.ts';

export interface SeriesCondition {
  readonly condition: TagCondition | null;
  /** Exact, or null when `condition` says it all. */
  readonly filter: RowFilter | null;
}

export function matchingSeries(
  shard: QueryableShard,
  measurement: string,
  { condition, filter }: SeriesCondition,
  regexes: RegexCache,
): Uint32Array {
  const series = shard.series(measurement, condition);
  if (filter === null) return series;
  return series.filter((id) => {
    const tags = new Map(shard.tagsOf(id).map((tag) => [tag.key, tag.value]));
    const special = specialise(filter, (name) => tags.get(name) ?? '', regexes);
    return special.kind === 'constant' && special.value;
  });
}
