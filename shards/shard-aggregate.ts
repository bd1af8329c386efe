/**
 * Aggregates of a shard, run by run (AggregateRuns in queryable.ts), without making rows of them.
 *
 * A stretch of series that lies in one block of its window, with nothing in the memtable, no delete over it, one row per
 * time and one type per field, is reduced by the kernel from the block's columns. Counts of whole series in one window
 * of the query need not even that: their rows are in the head. Everything else goes through the scan, with the same
 * results to the bit; which way was taken depends on the layout and cannot be seen.
 */
import type { BlockEntry } from './block-directory.ts';
import type { BlockColumn, BlockHead } from './block-head.ts';
import { isReducible, KernelAggregate, UNWANTED } from './codec/kernel-aggregate.ts';
import { aggregateByScan } from './query/aggregate-by-scan.ts';
import { seekWindow } from './query/windows.ts';
import type { AggregateRequest, AggregateRuns, ScanRequest } from './queryable.ts';
import { firstAtRank, isInMemory, type ScanSources, type Stretch, scanStretch, windowsToRead } from './shard-scan.ts';

export function aggregateShard(
  sources: ScanSources,
  request: AggregateRequest,
  visit: (runs: AggregateRuns) => void,
): void {
  const { measurement, series, calls, minTime, maxTime } = request;
  const fields = [...new Set(calls.map(({ field }) => field))];
  const scan: ScanRequest = { measurement, series, fields, minTime, maxTime };
  const kernel = new KernelAggregate(request, visit);
  try {
    for (const window of windowsToRead(sources, scan)) {
      // Runs of a call come in order: stretches that are scanned wait until the kernel's have been handed over.
      const waiting: Stretch[] = [];
      for (const stretch of window) {
        if (stretch.blocks.length === 0 && !isInMemory(sources, stretch)) continue;
        if (!isPlain(sources, stretch)) {
          waiting.push(stretch);
          continue;
        }
        const { entry } = stretch.blocks[0]!;
        const columns = columnsOf(sources.store.head(entry), request);
        if (columns !== null) scanWaiting(sources, request, scan, waiting, kernel, visit);
        if (columns === null || !reduceBlock(sources, request, stretch, entry, columns, kernel)) waiting.push(stretch);
      }
      scanWaiting(sources, request, scan, waiting, kernel, visit);
    }
    kernel.flush();
  } finally {
    kernel.close();
  }
}

/** One source and nothing over it. */
function isPlain(sources: ScanSources, stretch: Stretch): boolean {
  return stretch.blocks.length === 1 && stretch.deletes.length === 0 && !isInMemory(sources, stretch);
}

function scanWaiting(
  sources: ScanSources,
  request: AggregateRequest,
  scan: ScanRequest,
  waiting: Stretch[],
  kernel: KernelAggregate,
  visit: (runs: AggregateRuns) => void,
): void {
  if (waiting.length === 0) return;
  kernel.flush();
  const scanned = waiting.splice(0);
  aggregateByScan(
    {
      scan: (_, slice) => {
        for (const stretch of scanned) if (!scanStretch(sources, scan, stretch, slice)) return;
      },
    },
    request,
    visit,
  );
}

/** Per column of the block the calls that want it; null when the kernel cannot answer one of them. */
function columnsOf(head: BlockHead, { calls }: AggregateRequest): Map<BlockColumn, number[]> | null {
  const columns = new Map<BlockColumn, number[]>();
  const byField = new Map<string, BlockColumn>();
  for (const column of head.columns) {
    // A field of two types: which cells are visible depends on all of them.
    if (byField.has(column.field) && calls.some(({ field }) => field === column.field)) return null;
    byField.set(column.field, column);
  }
  for (let call = 0; call < calls.length; call++) {
    const column = byField.get(calls[call]!.field);
    if (column === undefined) continue;
    if (!isReducible(calls[call]!, column)) return null;
    const wanted = columns.get(column);
    if (wanted === undefined) columns.set(column, [call]);
    else wanted.push(call);
  }
  return columns;
}

/** False when the block has two rows at one time. Throws BlockError. */
function reduceBlock(
  { table, store }: ScanSources,
  request: AggregateRequest,
  stretch: Stretch,
  entry: BlockEntry,
  columns: ReadonlyMap<BlockColumn, readonly number[]>,
  kernel: KernelAggregate,
): boolean {
  const head = store.head(entry);
  const { first, end } = stretch;
  const places = new Uint32Array(head.series.length).fill(UNWANTED);
  let from = head.series.length;
  let to = 0;
  let wanted = 0;
  let cursor = 0;
  for (let place = first; place < end; place++) {
    const id = request.series[place]!;
    if (head.series[cursor] !== id) cursor = firstAtRank(head.series, cursor, table.rankOf(id), table.rankOf);
    if (head.series[cursor] !== id) continue;
    places[cursor] = place;
    from = Math.min(from, cursor);
    to = ++cursor;
    wanted++;
  }
  if (wanted === 0) return true;
  const range = places.subarray(from, to);
  const whole = stretch.minTime <= head.minTime && stretch.maxTime >= head.maxTime;
  if (head.ascends && whole && countInHead(request, head, from, to, range, columns, kernel)) return true;
  const block = store.placed(entry);
  return store.guard(entry, () => {
    const rows = kernel.findRuns(block, from, to, range, wanted, stretch.minTime, stretch.maxTime);
    if (rows < 0) return false;
    request.readRows(rows);
    for (const [column, calls] of columns) kernel.reduce(block, from, to, column, calls);
    return true;
  });
}

/** When only counts of fields are wanted that each row has, in one window of the query: true when that was answered. */
function countInHead(
  { calls, offsets }: AggregateRequest,
  head: BlockHead,
  from: number,
  to: number,
  places: Uint32Array,
  columns: ReadonlyMap<BlockColumn, readonly number[]>,
  kernel: KernelAggregate,
): boolean {
  if (calls.some(({ fn }) => fn !== 'count')) return false;
  const window = seekWindow(offsets, 0, head.minTime);
  if (window !== seekWindow(offsets, window, head.maxTime)) return false;
  for (const column of columns.keys()) if (column.count < head.rows) return false;
  for (const wanted of columns.values()) {
    for (const call of wanted) kernel.countSeries(head, from, to, places, window, call);
  }
  return true;
}
