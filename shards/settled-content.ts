/**
 * Settled rows by group (care.ts): their sums, and themselves as a frame for another owner.
 */
import type { BlockEntry } from './block-directory.ts';
import type { BlockStore } from './block-store.ts';
import { type CopyQuestion, type GroupName, type GroupQuestion, type GroupSum, SERIES_GROUPS } from './care.ts';
import { contentByVersion } from './checksum.ts';
import { StorageError } from './errors.ts';
import { gatherRows, type RowRanges } from './row-gather.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import { settledVersion, settleRows } from './row-settle.ts';
import { textOf } from './row-text.ts';
import { encodeKeys } from './series-keys.ts';
import { rebuildWrite, rememberedKeys } from './shard-content.ts';
import type { ShardKey } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import { isThrough, type Stamp } from './version.ts';

const ALL_GROUPS = Array.from({ length: SERIES_GROUPS }, (_, group) => group);
/** Groups of one answer: what bounds a message. */
const GROUPS_MAX = 1024;
/** Texts of the rows of a page, about. */
export const PAGE_TEXT = 4 << 20;

export function groupOf({ table }: ScanSources, series: number): number {
  return Number.parseInt(table.ids.hashOf(series)[0]!, 16);
}

/** Series ids in order of hash: the block holds none outside of these groups. */
export function groupsOfBlock(sources: ScanSources, entry: BlockEntry): number[] {
  const [first, last] = [groupOf(sources, entry.first), groupOf(sources, entry.last)];
  return ALL_GROUPS.slice(first, last + 1);
}

export function settledGroups(
  sources: ScanSources,
  question: GroupQuestion,
): { groups: GroupSum[]; next: GroupName | null } {
  const groups: GroupSum[] = [];
  let cells = 0;
  for (const { first, count, cells: expected } of unitsFrom(sources, question)) {
    if (groups.length > 0 && (cells + expected > question.cellsMax || groups.length >= GROUPS_MAX)) {
      return { groups, next: first };
    }
    cells += expected;
    const wanted = ALL_GROUPS.slice(first.group, first.group + count);
    groups.push(...sumsOf(sources, first, wanted, question.through));
  }
  return { groups, next: null };
}

/** What is read at once: all groups of a window and measurement, or one where they are many cells. */
function* unitsFrom(
  { store }: ScanSources,
  { through, window: only, from, cellsMax }: GroupQuestion,
): Generator<{ first: GroupName; count: number; cells: number }> {
  const { directory } = store;
  for (const window of only === null ? directory.windows() : [only]) {
    if (from !== null && window < from.window) continue;
    for (const measurement of directory.measurementsOf(window)) {
      const isFirst = from?.window === window && from.measurement === measurement;
      if (from?.window === window && measurement < from.measurement) continue;
      const entries = directory.of(window, measurement).filter(({ minVersion }) => isThrough(minVersion, through));
      if (entries.length === 0) continue;
      const cells = entries.reduce((sum, { rows }) => sum + rows, 0) * columnsOf(store, entries[0]!);
      const start = isFirst ? from.group : 0;
      if (cells <= cellsMax)
        yield { first: { window, measurement, group: start }, count: SERIES_GROUPS - start, cells };
      else {
        for (let group = start; group < SERIES_GROUPS; group++) {
          yield { first: { window, measurement, group }, count: 1, cells: Math.ceil(cells / SERIES_GROUPS) };
        }
      }
    }
  }
}

/** Of a block that cannot be read: as many as many have. */
function columnsOf(store: BlockStore, entry: BlockEntry): number {
  try {
    return store.head(entry).columns.length;
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
    return 10;
  }
}

function sumsOf(
  sources: ScanSources,
  { window, measurement }: GroupName,
  groups: readonly number[],
  through: Stamp,
): GroupSum[] {
  let settled: RowSet;
  try {
    settled = readSettled(sources, { through, window, measurement, groups, fromTime: 0 });
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
    if (groups.length === 1) return [{ window, measurement, group: groups[0]!, rows: 0, content: null }];
    return groups.flatMap((group) => sumsOf(sources, { window, measurement, group }, [group], through));
  }
  const version = settledVersion(through);
  const sums: GroupSum[] = [];
  for (let s = 0; s < settled.series.length; ) {
    const group = groupOf(sources, settled.series[s]!);
    let end = s + 1;
    while (end < settled.series.length && groupOf(sources, settled.series[end]!) === group) end++;
    const part = gatherRows(settled, {
      series: settled.series.subarray(s, end),
      from: settled.seriesStart.subarray(s, end),
      to: settled.seriesStart.subarray(s + 1, end + 1),
      count: end - s,
    });
    const content = contentByVersion(part, (id) => sources.table.ids.hashOf(id)).get(version)!;
    sums.push({ window, measurement, group, rows: part.times.length, content });
    s = end;
  }
  return sums;
}

export function settledCopy(
  sources: ScanSources,
  key: ShardKey,
  question: CopyQuestion,
): { page: { frame: Uint8Array; keys: Uint8Array } | null; rows: number; next: number | null } {
  const { through, measurement, cellsMax } = question;
  let rows = readSettled(sources, question);
  const cellRows = Math.ceil(cellsMax / Math.max(1, rows.columns.length));
  const textRows = Math.floor((rows.times.length * PAGE_TEXT) / Math.max(1, textOf(rows)));
  const rowsMax = Math.min(cellRows, textRows);
  let next: number | null = null;
  if (rows.times.length > rowsMax) {
    const { times } = rows;
    const sorted = times.slice().sort();
    // Rows of one time stay together: at least the first time is given.
    const cut = sorted.find((time, i) => time > sorted[0]! && i + 1 > rowsMax) ?? null;
    if (cut !== null) {
      next = cut;
      rows = pickRows(rows, (row) => times[row]! < cut);
    }
  }
  const count = rows.times.length;
  if (count === 0) return { page: null, rows: 0, next: null };
  const parts = new Map([[measurement, [rows]]]);
  const batch = rebuildWrite(sources, rememberedKeys(sources), key, settledVersion(through), parts);
  return { page: { frame: batch.frame, keys: encodeKeys(batch.keys) }, rows: count, next };
}

/** The settled rows of the groups, all of the settled version. Throws StorageError `damaged-block`. */
function readSettled(
  sources: ScanSources,
  { through, window, measurement, groups, fromTime }: Omit<CopyQuestion, 'cellsMax'>,
): RowSet {
  const { store, table, tombstones, windowNs, conflict } = sources;
  const isWanted = new Set(groups);
  const series = isWanted.size === SERIES_GROUPS ? null : seriesOf(sources, measurement, groups);
  const want = { series, fields: null, minTime: fromTime, maxTime: Number.MAX_SAFE_INTEGER };
  const parts: RowSet[] = [];
  for (const entry of store.directory.of(window, measurement)) {
    if (!isThrough(entry.minVersion, through) || entry.maxTime < fromTime) continue;
    if (!groupsOfBlock(sources, entry).some((group) => isWanted.has(group))) continue;
    const rows = store.rows(entry, want);
    if (rows.times.length > 0)
      parts.push(pickRows(rows, (row) => isThrough(rows.versionTable[rows.versions[row]!]!, through)));
  }
  const merged = mergeRowSets(
    parts.filter(({ times }) => times.length > 0),
    table.compare,
  );
  const start = window * windowNs;
  const deletes = tombstones.among(merged.series, measurement, start, start + windowNs - 1);
  return settleRows(merged, { through, tombstones: deletes, whole: true, conflict });
}

/** The series of the groups. */
function seriesOf(sources: ScanSources, measurement: string, groups: readonly number[]): Set<number> {
  // A copy: looking at hashes may make the kernel's memory grow.
  const sorted = sources.table.sorted(measurement).slice();
  const firstOf = (group: number): number => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (groupOf(sources, sorted[middle]!) < group) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const found = new Set<number>();
  for (const group of groups) for (const id of sorted.subarray(firstOf(group), firstOf(group + 1))) found.add(id);
  return found;
}

/** The rows that are to be kept, in their order; the version table stays as it is. */
export function pickRows(rows: RowSet, isKept: (row: number) => boolean): RowSet {
  const series: number[] = [];
  const seriesStart: number[] = [];
  const ranges = { series: [] as number[], from: [] as number[], to: [] as number[] };
  let count = 0;
  for (let s = 0; s < rows.series.length; s++) {
    const before = count;
    for (let row = rows.seriesStart[s]!; row < rows.seriesStart[s + 1]!; row++) {
      if (!isKept(row)) continue;
      if (count > before && ranges.to.at(-1) === row) ranges.to[ranges.to.length - 1] = row + 1;
      else {
        ranges.series.push(rows.series[s]!);
        ranges.from.push(row);
        ranges.to.push(row + 1);
      }
      count++;
    }
    if (count === before) continue;
    series.push(rows.series[s]!);
    seriesStart.push(before);
  }
  if (count === rows.times.length) return rows;
  seriesStart.push(count);
  const picked: RowRanges = {
    series: Uint32Array.from(ranges.series),
    from: Uint32Array.from(ranges.from),
    to: Uint32Array.from(ranges.to),
    count: ranges.series.length,
  };
  const { times, versions, columns } = gatherRows(rows, picked);
  return {
    series: Uint32Array.from(series),
    seriesStart: Uint32Array.from(seriesStart),
    times,
    versions,
    versionTable: rows.versionTable,
    columns,
  };
}
