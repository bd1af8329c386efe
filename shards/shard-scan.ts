/**
 * Scans: the visible rows of wanted series, window by window, series in order of hash.
 *
 * In a window each source (blocks, memtable) gives rows of a series sorted by time and version; a series that is in
 * several sources is merged, and then resolved to one row per time. Blocks are decoded when the scan comes to their
 * first series and let go behind their last one, so that the memory in use is about one block per run.
 */
import type { BlockEntry } from './block-directory.ts';
import type { BlockStore } from './block-store.ts';
import type { Column } from './column.ts';
import type { Memtable } from './memtable.ts';
import type { ScanRequest, SeriesSlice } from './queryable.ts';
import { mergeRowSets } from './row-merge.ts';
import { resolveSeries } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import type { Tombstone } from './tombstone.ts';

export interface ScanSources {
  readonly table: SeriesTable;
  readonly store: BlockStore;
  readonly memtable: Memtable;
  readonly tombstones: ShardTombstones;
  readonly windowNs: number;
}

/** A block of the window, decoded when the scan reaches it. */
interface OpenBlock {
  readonly entry: BlockEntry;
  rows: RowSet | null;
  /** Series before this index of the row set are behind the scan. */
  cursor: number;
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

function selectMemory({ table, memtable }: ScanSources, request: ScanRequest): RowSet | null {
  let series: Uint8Array | null = null;
  if (request.series.length < table.sorted(request.measurement).length) {
    series = new Uint8Array(table.count);
    for (let i = 0; i < request.series.length; i++) series[request.series[i]!] = 1;
  }
  const { minTime, maxTime } = request;
  return memtable.select(
    request.measurement,
    { series, fields: new Set(request.fields), minTime, maxTime },
    table.rankOf,
  );
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
  for (let i = 0; i < request.series.length; i++) {
    const id = request.series[i]!;
    const rank = table.rankOf(id);
    if (open.some(({ entry }) => table.rankOf(entry.last) < rank)) {
      open = open.filter(({ entry }) => table.rankOf(entry.last) >= rank);
    }
    while (next < blocks.length && table.rankOf(blocks[next]!.first) <= rank) {
      const entry = blocks[next++]!;
      if (table.rankOf(entry.last) >= rank) open.push({ entry, rows: null, cursor: 0 });
    }
    let found = 0;
    let only: OpenBlock | null = null;
    for (const block of open) {
      block.rows ??= readBlock(sources, request, block.entry, i, from, to);
      block.cursor = advance(block.rows.series, block.cursor, rank, table.rankOf);
      if (block.rows.series[block.cursor] !== id) continue;
      only = block;
      found++;
    }
    let inMemory = -1;
    if (memory !== null) {
      memoryCursor = advance(memory.series, memoryCursor, rank, table.rankOf);
      if (memory.series[memoryCursor] === id && hasRows(memory, memoryCursor, from, to)) inMemory = memoryCursor;
    }
    let slice: SeriesSlice | null = null;
    if (found === 1 && inMemory < 0)
      slice = resolveSeries(only!.rows!, only!.cursor, request.fields, deletes, from, to);
    else if (found === 0 && inMemory >= 0) slice = resolveSeries(memory!, inMemory, request.fields, deletes, from, to);
    else if (found > 0) slice = resolveMerged(sources, request, id, open, memory, inMemory, deletes, from, to);
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
  return store.rows(entry, { series: request.series.subarray(from, end), fields: request.fields, minTime, maxTime });
}

function resolveMerged(
  { table }: ScanSources,
  request: ScanRequest,
  id: number,
  open: readonly OpenBlock[],
  memory: RowSet | null,
  inMemory: number,
  deletes: readonly Tombstone[],
  from: number,
  to: number,
): SeriesSlice | null {
  const parts: RowSet[] = [];
  for (const { rows, cursor } of open)
    if (rows !== null && rows.series[cursor] === id) parts.push(onlySeries(rows, cursor));
  if (inMemory >= 0) parts.push(onlySeries(memory!, inMemory));
  return resolveSeries(mergeRowSets(parts, table.compare), 0, request.fields, deletes, from, to);
}

function advance(series: Uint32Array, cursor: number, rank: number, rankOf: (id: number) => number): number {
  let at = cursor;
  while (at < series.length && rankOf(series[at]!) < rank) at++;
  return at;
}

/** Rows of a series are ascending by time. */
function hasRows(rows: RowSet, index: number, from: number, to: number): boolean {
  const end = rows.seriesStart[index + 1]!;
  let low = rows.seriesStart[index]!;
  let high = end;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows.times[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low < end && rows.times[low]! <= to;
}

/** One series of a row set, sharing its memory. */
export function onlySeries(rows: RowSet, index: number): RowSet {
  const start = rows.seriesStart[index]!;
  const end = rows.seriesStart[index + 1]!;
  return {
    series: rows.series.subarray(index, index + 1),
    seriesStart: Uint32Array.of(0, end - start),
    times: rows.times.subarray(start, end),
    versions: rows.versions.subarray(start, end),
    versionTable: rows.versionTable,
    columns: rows.columns.map((column) => partOf(column, start, end)),
  };
}

function partOf(column: Column, start: number, end: number): Column {
  const { values } = column;
  return {
    field: column.field,
    type: column.type,
    present: column.present?.subarray(start, end) ?? null,
    values: Array.isArray(values) ? values.slice(start, end) : values.subarray(start, end),
  };
}
