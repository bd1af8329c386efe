/**
 * Scans: the visible rows of wanted series, window by window, series in order of hash.
 *
 * In a window each source (blocks, memtable) gives rows of a series sorted by time and version; a series that is in
 * several sources is merged, and then resolved to one row per time. Blocks are decoded when the scan comes to their
 * first series and let go behind their last one, so that the memory in use is about one block per run. Merging is done
 * once for a stretch of series in which the same blocks overlap: series by series it costs 15 microseconds each.
 */

import { firstAbove, firstAtLeast } from './block.ts';
import type { BlockEntry } from './block-directory.ts';
import type { BlockStore } from './block-store.ts';
import type { Memtable } from './memtable.ts';
import type { ScanRequest, SeriesSlice } from './queryable.ts';
import { gatherRows } from './row-gather.ts';
import { mergeRowSets } from './row-merge.ts';
import { resolveSeries } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardTombstones } from './shard-tombstones.ts';

export interface ScanSources {
  readonly table: SeriesTable;
  readonly store: BlockStore;
  memtable: Memtable;
  readonly tombstones: ShardTombstones;
  readonly windowNs: number;
}

/** A block of the window, decoded when the scan reaches it. */
interface OpenBlock {
  readonly entry: BlockEntry;
  rows: RowSet | null;
}

export function scanShard(sources: ScanSources, request: ScanRequest, visit: (slice: SeriesSlice) => boolean): void {
  const { measurement, series, minTime, maxTime } = request;
  if (series.length === 0 || request.fields.length === 0 || minTime > maxTime) return;
  sources.table.sorted(measurement);
  const memory = selectMemory(sources, request);
  for (const window of windowsOf(sources, request, memory)) {
    const from = Math.max(minTime, window * sources.windowNs);
    const to = Math.min(maxTime, (window + 1) * sources.windowNs - 1);
    if (!scanWindow(sources, request, window, from, to, memory, visit)) return;
  }
}

function selectMemory({ memtable }: ScanSources, request: ScanRequest): RowSet | null {
  const { measurement, series, fields, minTime, maxTime } = request;
  return memtable.select(measurement, { series, fields: new Set(fields), minTime, maxTime });
}

function windowsOf({ store, windowNs }: ScanSources, request: ScanRequest, memory: RowSet | null): number[] {
  const windows = new Set<number>();
  const first = Math.floor(request.minTime / windowNs);
  const last = Math.floor(request.maxTime / windowNs);
  for (const window of store.directory.windows()) {
    if (window >= first && window <= last && store.directory.of(window, request.measurement).length > 0) {
      windows.add(window);
    }
  }
  if (memory !== null)
    for (let i = 0; i < memory.times.length; i++) windows.add(Math.floor(memory.times[i]! / windowNs));
  return [...windows].sort((a, b) => (request.descending === true ? b - a : a - b));
}

function scanWindow(
  sources: ScanSources,
  request: ScanRequest,
  window: number,
  from: number,
  to: number,
  memory: RowSet | null,
  visit: (slice: SeriesSlice) => boolean,
): boolean {
  const { table, tombstones } = sources;
  const deletes = tombstones.over(request.measurement, from, to);
  const blocks = sources.store.directory
    .of(window, request.measurement)
    .filter((entry) => entry.minTime <= to && entry.maxTime >= from)
    .sort((a, b) => table.rankOf(a.first) - table.rankOf(b.first));
  let next = 0;
  let open: OpenBlock[] = [];
  let memoryCursor = 0;
  for (let i = 0; i < request.series.length; ) {
    const rank = table.rankOf(request.series[i]!);
    open = open.filter(({ entry }) => table.rankOf(entry.last) >= rank);
    while (next < blocks.length && table.rankOf(blocks[next]!.first) <= rank) {
      const entry = blocks[next++]!;
      if (table.rankOf(entry.last) >= rank) open.push({ entry, rows: null });
    }
    // Up to this place the sources are the same.
    let limit = next < blocks.length ? table.rankOf(blocks[next]!.first) - 1 : Number.POSITIVE_INFINITY;
    for (const { entry } of open) limit = Math.min(limit, table.rankOf(entry.last));
    const parts: RowSet[] = [];
    for (const block of open) {
      block.rows ??= readBlock(sources, request, block.entry, i, from, to);
      const part = seriesBetween(block.rows, rank, limit, table.rankOf);
      if (part !== null) parts.push(part);
    }
    if (memory !== null) {
      memoryCursor = firstAtRank(memory.series, memoryCursor, rank, table.rankOf);
      const part = parts.length === 0 ? memory : timesBetween(memory, memoryCursor, limit, from, to, table.rankOf);
      if (part !== null) parts.push(part);
    }
    const rows = parts.length > 1 ? mergeRowSets(parts, table.compare) : parts[0];
    let cursor = 0;
    for (; i < request.series.length && table.rankOf(request.series[i]!) <= limit; i++) {
      if (rows === undefined) continue;
      const id = request.series[i]!;
      cursor = firstAtRank(rows.series, cursor, table.rankOf(id), table.rankOf);
      if (rows.series[cursor] !== id) continue;
      const slice = resolveSeries(rows, cursor, request.fields, deletes, from, to);
      if (slice !== null && slice.times.length > 0 && !visit(slice)) return false;
    }
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
  return store.rows(entry, { series: request.series.subarray(from, end), fields: request.fields, minTime, maxTime });
}

/** The first place at or behind `from` whose series is not before `rank`. */
function firstAtRank(series: Uint32Array, from: number, rank: number, rankOf: (id: number) => number): number {
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
  const count = rows.series.length - start;
  const ranges = {
    series: new Uint32Array(count),
    from: new Uint32Array(count),
    to: new Uint32Array(count),
    count: 0,
  };
  for (let s = start; s < rows.series.length && rankOf(rows.series[s]!) <= last; s++) {
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
