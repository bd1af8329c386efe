/**
 * Scans: the visible rows of wanted series, window by window, series in order of hash.
 *
 * In a window each source (blocks, memtable) gives rows of a series sorted by time and version; a series that is in
 * several sources is merged, and then resolved to one row per time. Blocks are decoded when the scan comes to their
 * first series and let go behind their last one, so that the memory in use is about one block per run. Merging is done
 * once for a stretch of series in which the same blocks overlap: series by series it costs 15 microseconds each.
 *
 * A scan is done in steps, one stretch each, and holds nothing of the shard between them. What it reads of a series in a
 * window is as of one moment; of another series, or in another window, it may be a later one. Rows of the memtable are
 * copied when a window begins and the blocks are looked up behind that. When a flush ends or blocks are replaced (a merge,
 * mending), the rest of the window is looked up again: a delete may have been forgotten that hid what was read before.
 */

import { firstAbove, firstAtLeast } from './block.ts';
import type { BlockEntry } from './block-directory.ts';
import type { BlockStore } from './block-store.ts';
import type { MeasurementDeletes } from './measurement-deletes.ts';
import { MemoryRows, type PickedRows } from './memory-rows.ts';
import type { Memtables } from './memtables.ts';
import type { ScanRequest, SeriesSlice } from './queryable.ts';
import { gatherRows } from './row-gather.ts';
import { mergeRowSets } from './row-merge.ts';
import { candidatesOf, resolveSeries } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import type { ConflictRule } from './row-settle.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import type { Steps } from './steps.ts';
import type { Tombstone } from './tombstone.ts';

const NO_DELETES: readonly Tombstone[] = [];

export interface ScanSources {
  readonly table: SeriesTable;
  readonly store: BlockStore;
  readonly memtable: Memtables;
  readonly tombstones: ShardTombstones;
  readonly windowNs: number;
  /** How many are under way: table and directory, which they go on asking, stay in memory until they end. */
  readonly readings: { open: number };
  /** Asked for anew with every scan: the cluster's metadata say it. */
  readonly conflict: ConflictRule;
}

/** A block of the window, decoded when the scan reaches it. */
export interface OpenBlock {
  readonly entry: BlockEntry;
  rows: RowSet | null;
}

/** Rows of the memtable in one stretch, about, unless one series has more. */
const MEMORY_ROWS_MAX = 1 << 16;

/** Series of the request, one behind the other, that lie in the same sources within a window. Its ranks hold for a step. */
export interface Stretch {
  /** Places in the request's series: first .. end - 1, and their ranks. */
  readonly first: number;
  readonly end: number;
  readonly firstRank: number;
  readonly lastRank: number;
  readonly blocks: readonly OpenBlock[];
  /** Rows of the memtable; `memoryCursor` is where the first series would be in it. */
  readonly memory: RowSet | null;
  readonly memoryCursor: number;
  /** Offsets from the shard's start, both inclusive: what is wanted of the window. */
  readonly minTime: number;
  readonly maxTime: number;
  /** null: none may cover any of its rows. */
  readonly deletes: MeasurementDeletes | null;
}

export function* scanSteps(sources: ScanSources, request: ScanRequest, visit: (slice: SeriesSlice) => boolean): Steps {
  sources.readings.open++;
  try {
    for (const window of windowsToRead(sources, request)) {
      for (const stretch of window) {
        if (!scanStretch(sources, request, stretch, visit)) return;
        yield;
      }
    }
  } finally {
    sources.readings.open--;
  }
}

/** The windows with something of the request in them, in its order of time; each as its stretches. */
export function* windowsToRead(sources: ScanSources, request: ScanRequest): Generator<Generator<Stretch>> {
  const { measurement, series, minTime, maxTime } = request;
  if (series.length === 0 || request.fields.length === 0 || minTime > maxTime) return;
  const share = series.length / sources.table.sorted(measurement).length;
  const memory = new MemoryRows(sources.memtable, request, sources.windowNs, share);
  for (const window of windowsOf(sources, request, memory)) {
    const from = Math.max(minTime, window * sources.windowNs);
    const to = Math.min(maxTime, (window + 1) * sources.windowNs - 1);
    yield stretchesOf(sources, request, window, from, to, memory);
  }
}

function windowsOf({ store, windowNs }: ScanSources, request: ScanRequest, memory: MemoryRows): number[] {
  const windows = new Set(memory.windows);
  const first = Math.floor(request.minTime / windowNs);
  const last = Math.floor(request.maxTime / windowNs);
  for (const window of store.directory.windows()) {
    if (window >= first && window <= last && store.directory.of(window, request.measurement).length > 0) {
      windows.add(window);
    }
  }
  return [...windows].sort((a, b) => (request.descending === true ? b - a : a - b));
}

function* stretchesOf(
  sources: ScanSources,
  request: ScanRequest,
  window: number,
  minTime: number,
  maxTime: number,
  memoryRows: MemoryRows,
): Generator<Stretch> {
  const { table, store } = sources;
  const count = request.series.length;
  let picked: PickedRows | null = null;
  let [drops, changes] = [-1, -1];
  let waiting: readonly BlockEntry[] = [];
  let deletes: MeasurementDeletes | null = null;
  let next = 0;
  let open: OpenBlock[] = [];
  let memoryCursor = 0;
  for (let first = 0; first < count; ) {
    if (picked === null || first >= picked.end || drops !== sources.memtable.drops) {
      drops = sources.memtable.drops;
      picked = memoryRows.of(window, first);
      memoryCursor = 0;
      // Blocks behind the memtable: what a flush has moved from there to here is seen here.
      changes = -1;
    }
    if (changes !== store.directory.changes) {
      changes = store.directory.changes;
      deletes = sources.tombstones.over(request.measurement, minTime, maxTime);
      waiting = blocksOf(sources, request, window, minTime, maxTime);
      next = 0;
      open = [];
    }
    const memory = picked.rows;
    const firstRank = table.rankOf(request.series[first]!);
    open = open.filter(({ entry }) => table.rankOf(entry.last) >= firstRank);
    while (next < waiting.length && table.rankOf(waiting[next]!.first) <= firstRank) {
      const entry = waiting[next++]!;
      if (table.rankOf(entry.last) >= firstRank) open.push({ entry, rows: null });
    }
    // Up to this place the sources are the same.
    let lastRank = next < waiting.length ? table.rankOf(waiting[next]!.first) - 1 : Number.POSITIVE_INFINITY;
    for (const { entry } of open) lastRank = Math.min(lastRank, table.rankOf(entry.last));
    if (picked.end < count) lastRank = Math.min(lastRank, table.rankOf(request.series[picked.end]!) - 1);
    if (memory !== null) {
      memoryCursor = firstAtRank(memory.series, memoryCursor, firstRank, table.rankOf);
      lastRank = Math.min(lastRank, lastRankOf(memory, memoryCursor, table.rankOf));
    }
    const end =
      lastRank === Number.POSITIVE_INFINITY ? count : firstAtRank(request.series, first, lastRank + 1, table.rankOf);
    if (end <= first) throw new Error(`a stretch of window ${window} has no series: ranks and blocks do not fit`);
    yield { first, end, firstRank, lastRank, blocks: open, memory, memoryCursor, minTime, maxTime, deletes };
    first = end;
  }
}

function blocksOf(
  { table, store }: ScanSources,
  { measurement }: ScanRequest,
  window: number,
  minTime: number,
  maxTime: number,
): BlockEntry[] {
  return store.directory
    .of(window, measurement)
    .filter((entry) => entry.minTime <= maxTime && entry.maxTime >= minTime)
    .sort((a, b) => table.rankOf(a.first) - table.rankOf(b.first));
}

/** The rank up to which the rows from series `cursor` on are few enough for one stretch. */
function lastRankOf({ series, seriesStart }: RowSet, cursor: number, rankOf: (id: number) => number): number {
  const most = seriesStart[cursor]! + MEMORY_ROWS_MAX;
  if (seriesStart[series.length]! <= most) return Number.POSITIVE_INFINITY;
  let s = cursor + 1;
  while (s < series.length && seriesStart[s + 1]! <= most) s++;
  return s < series.length ? rankOf(series[s]!) - 1 : Number.POSITIVE_INFINITY;
}

/** Whether the memtable has rows of the stretch. */
export function isInMemory({ table }: ScanSources, stretch: Stretch): boolean {
  const { memory, memoryCursor, lastRank, minTime, maxTime } = stretch;
  if (memory === null) return false;
  const { series, seriesStart, times } = memory;
  for (let s = memoryCursor; s < series.length && table.rankOf(series[s]!) <= lastRank; s++) {
    const end = seriesStart[s + 1]!;
    if (firstAtLeast(times, seriesStart[s]!, end, minTime) < firstAbove(times, seriesStart[s]!, end, maxTime))
      return true;
  }
  return false;
}

/** The rows of the stretch that the memtable has; null when there are none. */
export function memoryOf({ table }: ScanSources, stretch: Stretch): RowSet | null {
  const { memory, memoryCursor, lastRank, minTime, maxTime } = stretch;
  return memory === null ? null : timesBetween(memory, memoryCursor, lastRank, minTime, maxTime, table.rankOf);
}

/** Visits the series of one stretch (`left`: only those whose place is marked); false when the visitor had enough. */
export function scanStretch(
  sources: ScanSources,
  request: ScanRequest,
  stretch: Stretch,
  visit: (slice: SeriesSlice) => boolean,
  left: Uint8Array | null = null,
): boolean {
  const { table, conflict } = sources;
  const { first, end, firstRank, lastRank, memory, memoryCursor, minTime, maxTime, deletes } = stretch;
  const parts: RowSet[] = [];
  for (const block of stretch.blocks) {
    block.rows ??= readBlock(sources, request, block.entry, first, minTime, maxTime);
    const part = seriesBetween(block.rows, firstRank, lastRank, table.rankOf);
    if (part !== null) parts.push(part);
  }
  if (memory !== null) {
    const part =
      parts.length === 0 ? memory : timesBetween(memory, memoryCursor, lastRank, minTime, maxTime, table.rankOf);
    if (part !== null) parts.push(part);
  }
  const rows = parts.length > 1 ? mergeRowSets(parts, table.compare) : parts[0];
  if (rows === undefined) return true;
  const { fields } = request;
  const candidates = candidatesOf(rows, fields);
  let cursor = 0;
  for (let place = first; place < end; place++) {
    if (left !== null && left[place] === 0) continue;
    const id = request.series[place]!;
    cursor = firstAtRank(rows.series, cursor, table.rankOf(id), table.rankOf);
    if (rows.series[cursor] !== id) continue;
    const own = deletes?.of(id) ?? NO_DELETES;
    const slice = resolveSeries(rows, cursor, fields, own, minTime, maxTime, candidates, conflict);
    if (slice !== null && slice.times.length > 0 && !visit(slice)) return false;
  }
  return true;
}

/** Series of the request from `from` on that lie in the block. */
function readBlock(
  { table, store }: ScanSources,
  request: ScanRequest,
  entry: BlockEntry,
  from: number,
  minTime: number,
  maxTime: number,
): RowSet {
  const last = table.rankOf(entry.last);
  let end = from;
  while (end < request.series.length && table.rankOf(request.series[end]!) <= last) end++;
  return store.wanted(entry, { series: request.series.subarray(from, end), fields: request.fields, minTime, maxTime });
}

/** The first place at or behind `from` whose series is not before `rank`. */
export function firstAtRank(series: Uint32Array, from: number, rank: number, rankOf: (id: number) => number): number {
  let low = from;
  let step = 1;
  while (low + step < series.length && rankOf(series[low + step]!) < rank) {
    low += step;
    step *= 2;
  }
  let high = Math.min(low + step, series.length);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rankOf(series[middle]!) < rank) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The series from rank `first` to `last`, sharing memory; null when there are none. */
function seriesBetween(rows: RowSet, first: number, last: number, rankOf: (id: number) => number): RowSet | null {
  const start = firstAtRank(rows.series, 0, first, rankOf);
  const end =
    last === Number.POSITIVE_INFINITY ? rows.series.length : firstAtRank(rows.series, start, last + 1, rankOf);
  if (start === end) return null;
  if (start === 0 && end === rows.series.length) return rows;
  return gatherRows(rows, {
    series: rows.series.subarray(start, end),
    from: rows.seriesStart.subarray(start, end),
    to: rows.seriesStart.subarray(start + 1, end + 1),
    count: end - start,
  });
}

/** Rows of the series from index `start` up to rank `last` whose times are in the range; null when there are none. */
function timesBetween(
  rows: RowSet,
  start: number,
  last: number,
  minTime: number,
  maxTime: number,
  rankOf: (id: number) => number,
): RowSet | null {
  const stop =
    last === Number.POSITIVE_INFINITY ? rows.series.length : firstAtRank(rows.series, start, last + 1, rankOf);
  const count = stop - start;
  const ranges = {
    series: new Uint32Array(count),
    from: new Uint32Array(count),
    to: new Uint32Array(count),
    count: 0,
  };
  for (let s = start; s < stop; s++) {
    const end = rows.seriesStart[s + 1]!;
    const from = firstAtLeast(rows.times, rows.seriesStart[s]!, end, minTime);
    const to = firstAbove(rows.times, from, end, maxTime);
    if (from === to) continue;
    ranges.series[ranges.count] = rows.series[s]!;
    ranges.from[ranges.count] = from;
    ranges.to[ranges.count] = to;
    ranges.count++;
  }
  return ranges.count === 0 ? null : gatherRows(rows, ranges);
}
