/**
 * Aggregates of a shard, run by run (AggregateRuns in queryable.ts), without making rows of them.
 *
 * A stretch of series that lies in one block of its window, with nothing in the memtable, one row per time and one type
 * per field, is reduced by the kernel from the block's columns; one that has several sources, each
 * going on where the one before ends, from those one behind the other (appended-rows.ts). Counts of whole series in one window
 * of the query need not even that: their rows are in the head. Everything else goes through the scan, with the same
 * results to the bit; which way was taken depends on the layout and cannot be seen.
 */
import { reduceAppended } from './appended-rows.ts';
import type { BlockEntry } from './block-directory.ts';
import type { BlockHead } from './block-head.ts';
import { KernelAggregate, UNWANTED } from './codec/kernel-aggregate.ts';
import { FLOAT } from './column.ts';
import { aggregateByScan } from './query/aggregate-by-scan.ts';
import { seekWindow } from './query/windows.ts';
import type { AggregateRequest, AggregateRuns, ScanRequest } from './queryable.ts';
import type { PickFunction, Picks } from './remembered-picks.ts';
import { firstAtRank, isInMemory, type ScanSources, type Stretch, scanStretch, windowsToRead } from './shard-scan.ts';
import type { Steps } from './steps.ts';
import { underDeletes } from './stretch-deletes.ts';
import { type WantedColumn, WantedColumns } from './wanted-columns.ts';

export function* aggregateSteps(
  sources: ScanSources,
  request: AggregateRequest,
  visit: (runs: AggregateRuns) => void,
): Steps {
  const { measurement, series, calls, minTime, maxTime } = request;
  const fields = [...new Set(calls.map(({ field }) => field))];
  const picks = PicksLeft.of(request);
  const descending = picks !== null && calls[0]!.fn === 'last';
  const scan: ScanRequest = { measurement, series, fields, minTime, maxTime, descending };
  const see = (runs: AggregateRuns): void => {
    picks?.found(runs);
    visit(runs);
  };
  const kernel = new KernelAggregate(request, see);
  const columns = new WantedColumns(calls);
  const run: Run = { sources, request, scan, picks, kernel, columns, visit: see, places: new Uint32Array(0) };
  sources.readings.open++;
  try {
    // Runs of a call come in order: stretches that are scanned wait until the kernel's have been handed over.
    const waiting: Stretch[] = [];
    for (const window of windowsToRead(sources, scan)) {
      for (const stretch of window) {
        if (picks !== null && !picks.isIn(stretch)) continue;
        if (stretch.blocks.length === 0 && !isInMemory(sources, stretch)) continue;
        reduceStretch(run, stretch, waiting);
        if (waiting.length >= WAITING_MAX) scanWaiting(run, waiting);
        // What waits has ranks, which hold for a step.
        if (waiting.length === 0) yield;
      }
      scanWaiting(run, waiting);
      yield;
      if (picks === null) continue;
      run.kernel.flush();
      if (picks.count === 0) break;
    }
    run.kernel.flush();
  } finally {
    sources.readings.open--;
    run.kernel.close();
  }
}

/** Values of a block are remembered when one series of so many is asked for, or more: the others are decoded with them. */
const WANTED_SHARE = 2;
/** Stretches that are scanned together: more in one step would take too long. */
const WAITING_MAX = 4;

interface Run {
  readonly sources: ScanSources;
  readonly request: AggregateRequest;
  readonly scan: ScanRequest;
  readonly picks: PicksLeft | null;
  readonly kernel: KernelAggregate;
  readonly columns: WantedColumns;
  readonly visit: (runs: AggregateRuns) => void;
  /** Of the series of a block; for one after the other. */
  places: Uint32Array;
}

/**
 * The newest (or the oldest) values of series, in one window of the query: which series still lack one. Windows are read
 * from that end, and a series that has what is asked for is not looked for any further.
 */
class PicksLeft {
  /** By place: 1 while something is lacking. */
  readonly left: Uint8Array;
  count: number;
  /** By place and call. */
  readonly #found: Uint8Array;
  readonly #lacking: Uint16Array;

  /** null: all windows have to be read. */
  static of({ calls, offsets, series }: AggregateRequest): PicksLeft | null {
    const fn = calls[0]?.fn;
    const alike = (fn === 'last' || fn === 'first') && calls.every((call) => call.fn === fn);
    return alike && offsets.length === 2 ? new PicksLeft(series.length, calls.length) : null;
  }

  private constructor(series: number, calls: number) {
    this.left = new Uint8Array(series).fill(1);
    this.count = series;
    this.#found = new Uint8Array(series * calls);
    this.#lacking = new Uint16Array(series).fill(calls);
  }

  found({ call, length, series }: AggregateRuns): void {
    const places = this.left.length;
    for (let r = 0; r < length; r++) {
      const place = series[r]!;
      if (this.#found[call * places + place] === 1) continue;
      this.#found[call * places + place] = 1;
      if (--this.#lacking[place]! > 0) continue;
      this.left[place] = 0;
      this.count--;
    }
  }

  isIn({ first, end }: Stretch): boolean {
    const next = this.left.indexOf(1, first);
    return next >= 0 && next < end;
  }
}

/** What the kernel does not do of it is put behind those that wait. */
function reduceStretch(run: Run, stretch: Stretch, waiting: Stretch[]): void {
  const { sources, picks } = run;
  const { left, pieces } = underDeletes(sources, run.scan, stretch, picks?.left ?? null);
  for (const piece of pieces) {
    if (piece.isMixed) waiting.push(piece.stretch);
    else aggregatePlain(run, piece.stretch, left, waiting);
  }
}

/** No delete covers a row of its series; `left`: only those places, when it is not null. */
function aggregatePlain(run: Run, stretch: Stretch, left: Uint8Array | null, waiting: Stretch[]): void {
  const { sources } = run;
  if (!isPlain(sources, stretch)) {
    scanWaiting(run, waiting);
    const first = reduceAppended(sources, run.request, stretch, left, run.kernel);
    if (first < stretch.end) waiting.push({ ...stretch, first });
    return;
  }
  const { entry } = stretch.blocks[0]!;
  const head = sources.store.head(entry);
  const columns = run.columns.of(head);
  if (columns !== null) scanWaiting(run, waiting);
  if (columns === null || !reduceBlock(run, stretch, left, entry, head, columns)) waiting.push(stretch);
}

/** One source. */
function isPlain(sources: ScanSources, stretch: Stretch): boolean {
  return stretch.blocks.length === 1 && !isInMemory(sources, stretch);
}

function scanWaiting({ sources, request, scan, picks, kernel, visit }: Run, waiting: Stretch[]): void {
  if (waiting.length === 0) return;
  kernel.flush();
  const scanned = waiting.splice(0);
  const left = picks?.left ?? null;
  aggregateByScan(
    {
      scan: (_, slice) => {
        for (const stretch of scanned) if (!scanStretch(sources, scan, stretch, slice, left)) return;
      },
    },
    request,
    visit,
  );
}

/** False when the block has two rows at one time. Throws BlockError. */
function reduceBlock(
  run: Run,
  stretch: Stretch,
  left: Uint8Array | null,
  entry: BlockEntry,
  head: BlockHead,
  columns: readonly WantedColumn[],
): boolean {
  const { sources, request, picks, kernel } = run;
  const { table, store } = sources;
  const { first, end } = stretch;
  if (run.places.length < head.series.length) run.places = new Uint32Array(2 * head.series.length);
  const { places } = run;
  places.fill(UNWANTED, 0, head.series.length);
  let from = head.series.length;
  let to = 0;
  let wanted = 0;
  let cursor = 0;
  for (let place = first; place < end; place++) {
    const id = request.series[place]!;
    if (head.series[cursor] !== id) cursor = firstAtRank(head.series, cursor, table.rankOf(id), table.rankOf);
    if (head.series[cursor] !== id) continue;
    if (left !== null && left[place] === 0) continue;
    places[cursor] = place;
    from = Math.min(from, cursor);
    to = ++cursor;
    wanted++;
  }
  if (wanted === 0) return true;
  const range = places.subarray(from, to);
  const whole = stretch.minTime <= head.minTime && stretch.maxTime >= head.maxTime;
  if (head.ascends && whole && countInHead(request, head, from, to, range, columns, kernel)) return true;
  if (picks !== null && whole && wanted * WANTED_SHARE >= head.series.length) {
    const known = picksOfColumns(run, entry, columns);
    if (known !== null) {
      request.readRows(rowsOf(head, from, range));
      for (let c = 0; c < known.length; c++)
        for (const call of columns[c]!.calls) kernel.addPicks(known[c]!, from, to, range, call);
      return true;
    }
  }
  const block = store.placed(entry);
  return store.guard(entry, () => {
    const rows = kernel.findRuns(block, from, to, range, wanted, stretch.minTime, stretch.maxTime);
    if (rows < 0) return false;
    request.readRows(rows);
    for (const { column, calls } of columns) kernel.reduce(block, from, to, column, calls);
    return true;
  });
}

/** By column; null: they are not remembered, or there are none because a time occurs twice. Throws StorageError. */
function picksOfColumns(
  { sources, request }: Run,
  entry: BlockEntry,
  columns: readonly WantedColumn[],
): Picks[] | null {
  for (const { column } of columns) if (column.type !== FLOAT) return null;
  const fn = request.calls[0]!.fn as PickFunction;
  const known: Picks[] = [];
  for (const { column } of columns) {
    const picks = sources.store.picks(entry, column, fn);
    if (picks === null) return null;
    known.push(picks);
  }
  return known;
}

/** Rows of the wanted series from `from` on. */
function rowsOf({ seriesStart }: BlockHead, from: number, places: Uint32Array): number {
  let rows = 0;
  for (let i = 0; i < places.length; i++)
    if (places[i] !== UNWANTED) rows += seriesStart[from + i + 1]! - seriesStart[from + i]!;
  return rows;
}

/** When only counts of fields are wanted that each row has, in one window of the query: true when that was answered. */
function countInHead(
  { calls, offsets }: AggregateRequest,
  head: BlockHead,
  from: number,
  to: number,
  places: Uint32Array,
  columns: readonly WantedColumn[],
  kernel: KernelAggregate,
): boolean {
  if (calls.some(({ fn }) => fn !== 'count')) return false;
  const window = seekWindow(offsets, 0, head.minTime);
  if (window !== seekWindow(offsets, window, head.maxTime)) return false;
  for (const { column } of columns) if (column.count < head.rows) return false;
  for (const { calls: wanted } of columns) {
    for (const call of wanted) kernel.countSeries(head, from, to, places, window, call);
  }
  return true;
}
