/**
 * Groups of a shard: which group (measurement and values of the dimensions) each matching series belongs to.
 */
import type { QueryableShard } from '../queryable.ts';
import type { RegexCache, RowFilter } from './filter.ts';
import { specialise } from './filter.ts';
import type { SelectRequest, ShardGroups } from './partial.ts';
import { placesByValue } from './value-order.ts';

export interface MeasurementScan {
  readonly measurement: string;
  /** In order of series hash; those that no row can pass are left out. */
  readonly series: Uint32Array;
  /** Parallel to `series`. */
  readonly groups: Uint32Array;
  /** Parallel to `series`: the filter with the series' tags put in, null where every row passes. null: nowhere a filter. */
  readonly filters: readonly (RowFilter | null)[] | null;
}

export interface GroupedSeries {
  readonly scans: readonly MeasurementScan[];
  readonly groups: ShardGroups;
  readonly seriesMatched: number;
}

/** Groups times codes of a tag that stay exact. */
const CODES_MAX = 2 ** 26;
const CODES_PER_SERIES_MAX = 16;

/** InfluxDB's text: it stops counting there, too. */
export function tooManySeries(max: number): string {
  return `max-select-series limit exceeded: (${max + 1}/${max})`;
}

/** null: more series than the limit. */
export function groupSeries(shard: QueryableShard, request: SelectRequest, regexes: RegexCache): GroupedSeries | null {
  const { dimensions, filter } = request;
  const measurements: string[] = [];
  const tagValues: string[][] = dimensions.map(() => []);
  const scans: MeasurementScan[] = [];
  let seriesMatched = 0;
  for (const measurement of request.measurements) {
    const matched = shard.series(measurement, request.condition);
    seriesMatched += matched.length;
    if (seriesMatched > request.limits.seriesMax) return null;
    const { series, filters } =
      filter === null ? { series: matched, filters: null } : pass(shard, matched, filter, regexes);
    if (series.length === 0) continue;
    const groups = groupsOf(shard, measurement, series, dimensions, measurements.length, tagValues);
    while (measurements.length < groups.end) measurements.push(measurement);
    scans.push({ measurement, series, groups: groups.of, filters });
  }
  return { scans, groups: { measurements, tagValues }, seriesMatched };
}

/** The series of some groups; null: there are none. */
export function scanOfGroups(scan: MeasurementScan, isWanted: (group: number) => boolean): MeasurementScan | null {
  const places: number[] = [];
  for (let place = 0; place < scan.groups.length; place++) if (isWanted(scan.groups[place]!)) places.push(place);
  if (places.length === 0) return null;
  if (places.length === scan.groups.length) return scan;
  const { measurement, series, groups, filters } = scan;
  return {
    measurement,
    series: Uint32Array.from(places, (place) => series[place]!),
    groups: Uint32Array.from(places, (place) => groups[place]!),
    filters: filters === null ? null : places.map((place) => filters[place]!),
  };
}

/** Series of which a row can pass, and what is left of the filter for each. */
function pass(
  shard: QueryableShard,
  matched: Uint32Array,
  filter: RowFilter,
  regexes: RegexCache,
): { series: Uint32Array; filters: (RowFilter | null)[] | null } {
  const kept: number[] = [];
  const filters: (RowFilter | null)[] = [];
  let filtered = false;
  for (let i = 0; i < matched.length; i++) {
    const tags = shard.tagsOf(matched[i]!);
    const special = specialise(filter, (name) => tags.find((tag) => tag.key === name)?.value ?? '', regexes);
    if (special.kind === 'constant' && !special.value) continue;
    kept.push(matched[i]!);
    filters.push(special.kind === 'constant' ? null : special);
    filtered ||= special.kind !== 'constant';
  }
  return { series: Uint32Array.from(kept), filters: filtered ? filters : null };
}

/** Numbers different codes as they are met; returns how many, or null when a table of them would be too long. */
function numberCodes(codes: Uint32Array, into: Uint32Array): number | null {
  let greatest = 0;
  for (let i = 0; i < codes.length; i++) if (codes[i]! > greatest) greatest = codes[i]!;
  if (greatest > CODES_PER_SERIES_MAX * codes.length) return null;
  /** By code: its number + 1; 0: not met. */
  const numbers = new Uint32Array(greatest + 1);
  let count = 0;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    if (numbers[code] === 0) numbers[code] = ++count;
    into[i] = numbers[code]! - 1;
  }
  return count;
}

/** The same of pairs. */
function numberPairs(split: Uint32Array, codes: Uint32Array, into: Uint32Array): number {
  const numbers = new Map<number, number>();
  for (let i = 0; i < codes.length; i++) {
    const pair = split[i]! * CODES_MAX + codes[i]!;
    let number = numbers.get(pair);
    if (number === undefined) {
      number = numbers.size;
      numbers.set(pair, number);
    }
    into[i] = number;
  }
  return numbers.size;
}

/**
 * Numbers groups from `first`, those of one dimension in the order of their values, others as they are met; the values go
 * to `tagValues`, one list a dimension.
 */
function groupsOf(
  shard: QueryableShard,
  measurement: string,
  series: Uint32Array,
  dimensions: readonly string[],
  first: number,
  tagValues: readonly string[][],
): { of: Uint32Array; end: number } {
  // Each dimension splits the groups that the ones before it made.
  let split = new Uint32Array(series.length);
  let count = 1;
  const columns = dimensions.map((key) => shard.tagColumn(measurement, key, series));
  for (const { codes } of columns) {
    const next = new Uint32Array(series.length);
    count = (count === 1 ? numberCodes(codes, next) : null) ?? numberPairs(split, codes, next);
    split = next;
  }
  // Per dimension the code of each group's value.
  const codesOf = columns.map(() => new Uint32Array(count));
  for (let i = 0, seen = 0; i < series.length; i++) {
    if (split[i] !== seen) continue;
    // The first series of a new group.
    for (let d = 0; d < columns.length; d++) codesOf[d]![seen] = columns[d]!.codes[i]!;
    seen++;
  }
  if (columns.length === 1 && count > 1) {
    const order = placesByValue(shard, `${measurement}\0${dimensions[0]!}`, columns[0]!, codesOf[0]!);
    const sorted = new Uint32Array(count);
    for (let g = 0; g < count; g++) sorted[order[g]!] = codesOf[0]![g]!;
    codesOf[0] = sorted;
    for (let i = 0; i < series.length; i++) split[i] = order[split[i]!]!;
  }
  for (let d = 0; d < columns.length; d++)
    for (const code of codesOf[d]!) tagValues[d]!.push(columns[d]!.valueOf(code));
  if (first > 0) for (let i = 0; i < series.length; i++) split[i]! += first;
  return { of: split, end: first + count };
}
