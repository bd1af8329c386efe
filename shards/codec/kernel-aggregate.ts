/**
 * Aggregates of the rows of a block in the kernel (kernel/assembly/aggregate/): a column is decoded into the kernel's
 * memory and reduced there, run by run; results gather per call and are handed over many at a time.
 */
import type { CachedBlock } from '../block-cache.ts';
import type { BlockColumn } from '../block-head.ts';
import { BOOLEAN, FLOAT, INTEGER, STRING, UNSIGNED } from '../column.ts';
import { storageKernel } from '../kernel/storage-kernel.ts';
import type { AggregateCall, AggregateRequest, AggregateRuns } from '../queryable.ts';
import type { Picks } from '../remembered-picks.ts';
import { checkDecoded, KernelBuffer } from './kernel-codec.ts';

/** What the aggregation exports. */
export interface AggregateExports {
  copySegments(from: number, into: number, bytes: number, segments: number, count: number): void;
  fillSegments(value: number, into: number, segments: number, count: number): void;
  rowsInRuns(): number;
  findRuns(
    times: number,
    starts: number,
    fromSeries: number,
    toSeries: number,
    places: number,
    minTime: number,
    maxTime: number,
    offsets: number,
    windows: number,
    runs: number,
    runsMax: number,
    ascend: number,
  ): number;
  reduceRuns(
    fn: number,
    type: number,
    values: number,
    present: number,
    times: number,
    runs: number,
    count: number,
    results: number,
    places: number,
    windows: number,
    counts: number,
    outcomes: number,
    pickTimes: number,
    seconds: number,
  ): number;
  sumOpened(
    starts: number,
    fromSeries: number,
    toSeries: number,
    runs: number,
    count: number,
    results: number,
    places: number,
    windows: number,
    counts: number,
    outcomes: number,
  ): number;
}

const FUNCTIONS = { count: 0, sum: 1, mean: 1, min: 2, max: 3, first: 4, last: 5, spread: 6 } as const;
/** The type of floats that are there as whole numbers, as reduceRuns knows it. */
const SCALED = 5;
/** As findRuns knows it. */
export const UNWANTED = 0xffffffff;
const RUN_BYTES = 16;
/** Shorter runs than this, on an average, are summed sooner from restored values. */
const SUMMED_ROWS_MIN = 40;
/** Results of a call that are handed over at a time; more when one block has more. */
const RESULTS_HELD = 2048;
/** Two words and four columns of eight bytes. */
const RESULT_BYTES = 40;

/** Whether the kernel takes values of this call as they are stored; a count is taken of anything. */
export function isReducible({ fn, type }: AggregateCall, column: Pick<BlockColumn, 'type'>): boolean {
  if (column.type !== type) return false;
  if (fn === 'count') return true;
  if (type === STRING) return false;
  return type !== BOOLEAN || (fn !== 'sum' && fn !== 'mean' && fn !== 'spread');
}

type Reduced = Pick<AggregateRequest, 'calls' | 'offsets'>;

export class KernelAggregate {
  readonly #kernel = storageKernel();
  readonly #request: Reduced;
  readonly #visit: (runs: AggregateRuns) => void;
  readonly #results: CallResults[];
  readonly #offsets = new KernelBuffer();
  readonly #places = new KernelBuffer();
  readonly #times = new KernelBuffer();
  readonly #runs = new KernelBuffer();
  readonly #values = new KernelBuffer();
  readonly #present = new KernelBuffer();
  #runCount = 0;
  /** In the runs. */
  #rows = 0;

  /** `close` has to be called in the end. */
  constructor(request: Reduced, visit: (runs: AggregateRuns) => void) {
    this.#request = request;
    this.#visit = visit;
    this.#results = request.calls.map((call, index) => new CallResults(index, call));
    this.#offsets.put(this.#kernel, request.offsets);
  }

  /**
   * The runs of series from .. to - 1 of a block: `places` has the place of each in the request, or UNWANTED, `wanted`
   * of which are asked for. Returns how many rows they have, -1 when some time occurs twice in a series. Throws BlockError.
   */
  findRuns(
    block: CachedBlock,
    from: number,
    to: number,
    places: Uint32Array,
    wanted: number,
    minTime: number,
    maxTime: number,
  ): number {
    const { head } = block;
    const rows = head.seriesStart[to]! - head.seriesStart[from]!;
    const times = this.timesRoom(rows);
    const [start, end] = [head.timesOffset, head.timesOffset + head.timesLength];
    checkDecoded(
      this.#kernel.decodePatterns(block.body, start, end, block.starts, head.series.length, from, to, times),
    );
    return this.findRunsIn(block.starts, from, to, rows, places, wanted, minTime, maxTime, head.ascends);
  }

  /** Where the times of rows go before `findRunsIn`. */
  timesRoom(rows: number): number {
    return this.#times.reserve(this.#kernel, rows * 8);
  }

  /** The same for times that are there; `starts`: address of the first rows of the series; `ascend`: no time occurs twice. */
  findRunsIn(
    starts: number,
    from: number,
    to: number,
    rows: number,
    places: Uint32Array,
    wanted: number,
    minTime: number,
    maxTime: number,
    ascend: boolean,
  ): number {
    const kernel = this.#kernel;
    const windows = this.#request.offsets.length - 1;
    const runsMax = Math.min(rows, wanted * windows);
    this.#runCount = kernel.findRuns(
      this.#times.address,
      starts,
      from,
      to,
      this.#places.put(kernel, places),
      minTime,
      maxTime,
      this.#offsets.address,
      windows,
      this.#runs.reserve(kernel, runsMax * RUN_BYTES),
      runsMax,
      ascend ? 1 : 0,
    );
    this.#rows = kernel.rowsInRuns();
    return this.#runCount < 0 ? -1 : this.#rows;
  }

  /** Reduces the runs last found in the block for the calls (indexes) that want this column. Throws BlockError. */
  reduce(block: CachedBlock, from: number, to: number, column: BlockColumn, calls: readonly number[]): void {
    if (this.#runCount === 0) return;
    const kernel = this.#kernel;
    const { head } = block;
    const rows = head.seriesStart[to]! - head.seriesStart[from]!;
    const values = this.#values.reserve(kernel, rows * 8);
    const { type } = column;
    const counted = calls.every((call) => this.#request.calls[call]!.fn === 'count');
    if (counted && column.count === head.rows) {
      this.reduceValues(type, values, 0, calls);
      return;
    }
    const [start, end] = [column.offset, column.offset + column.length];
    const series = head.series.length;
    const sums = calls.length === 1 && this.#isSummedOpen(calls[0]!);
    const into = sums ? 0 : values;
    if (type === FLOAT && kernel.openScaled(block.body, start, end, block.starts, series, from, to, into)) {
      if (sums) {
        if (this.#sumOpened(block.starts, from, to, calls[0]!)) return;
        kernel.restoreScaled(block.starts, from, to, values);
      }
      this.reduceValues(SCALED, values, 0, calls);
      return;
    }
    const present = this.#present.reserve(kernel, rows);
    checkDecoded(kernel.decodeColumn(block.body, start, end, type, block.starts, series, from, to, values, present));
    this.reduceValues(type, values, kernel.decodedEveryRow() ? 0 : present, calls);
  }

  #isSummedOpen(call: number): boolean {
    const { fn } = this.#request.calls[call]!;
    return (fn === 'sum' || fn === 'mean') && this.#rows >= this.#runCount * SUMMED_ROWS_MIN;
  }

  /** False: it takes the values of the column that was opened. */
  #sumOpened(starts: number, from: number, to: number, call: number): boolean {
    const results = this.#results[call]!;
    if (!results.hasRoom(this.#runCount)) this.#hand(results);
    return results.addSums(starts, from, to, this.#runs.address, this.#runCount);
  }

  /** The same of values that are there, rows counted as those of the runs; `present`: 0 when each row has one. */
  reduceValues(type: number, values: number, present: number, calls: readonly number[]): void {
    for (const call of calls) {
      const results = this.#results[call]!;
      if (!results.hasRoom(this.#runCount)) this.#hand(results);
      results.add(type, values, present, this.#times.address, this.#runs.address, this.#runCount);
    }
  }

  /** Counts of whole series without their rows: series from .. to - 1, all in one window of the query. */
  countSeries(
    head: CachedBlock['head'],
    from: number,
    to: number,
    places: Uint32Array,
    window: number,
    call: number,
  ): void {
    const results = this.#results[call]!;
    if (!results.hasRoom(to - from)) this.#hand(results);
    results.addCounts(head.seriesStart, from, to, places, window);
  }

  /** Values that are known: of series from .. to - 1 of a block, in the only window of the query. */
  addPicks(picks: Picks, from: number, to: number, places: Uint32Array, call: number): void {
    const results = this.#results[call]!;
    if (!results.hasRoom(to - from)) this.#hand(results);
    results.addPicks(picks, from, to, places);
  }

  /** Hands over what has gathered. */
  flush(): void {
    for (const results of this.#results) this.#hand(results);
  }

  close(): void {
    for (const buffer of [this.#offsets, this.#places, this.#times, this.#runs, this.#values, this.#present])
      buffer.free(this.#kernel);
    for (const results of this.#results) results.close();
  }

  #hand(results: CallResults): void {
    const runs = results.take();
    if (runs !== null) this.#visit(runs);
  }
}

interface ResultViews extends Pick<AggregateRuns, 'series' | 'windows' | 'counts'> {
  /** Of floats that were picked. */
  readonly numbers: Float64Array;
  readonly times: Float64Array;
}

/** Results of one call, as columns in the kernel's memory. */
class CallResults {
  readonly #kernel = storageKernel();
  readonly #call: number;
  readonly #fn: AggregateCall['fn'];
  readonly #type: AggregateCall['type'];
  readonly #buffer = new KernelBuffer();
  #capacity = 0;
  #length = 0;
  /** Of the memory as it was last. */
  #kept: ResultViews | null = null;

  constructor(call: number, { fn, type }: AggregateCall) {
    this.#call = call;
    this.#fn = fn;
    this.#type = type;
  }

  /** False: what is there has to be taken first. */
  hasRoom(runs: number): boolean {
    if (this.#length + runs <= this.#capacity) return true;
    if (this.#length > 0) return false;
    this.#capacity = Math.max(runs, RESULTS_HELD);
    this.#buffer.reserve(this.#kernel, this.#capacity * RESULT_BYTES);
    this.#kept = null;
    return true;
  }

  /** Of the column with that number of eight bytes; the first two are halves: places and windows. */
  #column(number: number): number {
    return this.#buffer.address + number * 8 * this.#capacity;
  }

  add(type: number, values: number, present: number, times: number, runs: number, count: number): void {
    if (!this.hasRoom(count)) throw new Error(`${count} results behind ${this.#length} of ${this.#capacity}`);
    this.#length = this.#kernel.reduceRuns(
      FUNCTIONS[this.#fn],
      type,
      values,
      present,
      times,
      runs,
      count,
      this.#length,
      this.#column(0),
      this.#column(0) + 4 * this.#capacity,
      this.#column(1),
      this.#column(2),
      this.#column(3),
      this.#column(4),
    );
  }

  /** Of the column that was opened; false: its values have to be restored. */
  addSums(starts: number, from: number, to: number, runs: number, count: number): boolean {
    if (!this.hasRoom(count)) throw new Error(`${count} sums behind ${this.#length} of ${this.#capacity}`);
    const length = this.#kernel.sumOpened(
      starts,
      from,
      to,
      runs,
      count,
      this.#length,
      this.#column(0),
      this.#column(0) + 4 * this.#capacity,
      this.#column(1),
      this.#column(2),
    );
    if (length < 0) return false;
    this.#length = length;
    return true;
  }

  addCounts(starts: Uint32Array, from: number, to: number, places: Uint32Array, window: number): void {
    if (!this.hasRoom(to - from)) throw new Error(`${to - from} counts behind ${this.#length} of ${this.#capacity}`);
    const { series, windows, counts } = this.#views();
    for (let s = from; s < to; s++) {
      const place = places[s - from]!;
      if (place === UNWANTED) continue;
      series[this.#length] = place;
      windows[this.#length] = window;
      counts[this.#length++] = starts[s + 1]! - starts[s]!;
    }
  }

  addPicks(picks: Picks, from: number, to: number, places: Uint32Array): void {
    if (!this.hasRoom(to - from)) throw new Error(`${to - from} picks behind ${this.#length} of ${this.#capacity}`);
    const { series, windows, counts, numbers, times } = this.#views();
    let at = this.#length;
    for (let s = from; s < to; s++) {
      const place = places[s - from]!;
      const count = picks.counts[s]!;
      if (place === UNWANTED || count === 0) continue;
      series[at] = place;
      windows[at] = 0;
      counts[at] = count;
      numbers[at] = picks.numbers[s]!;
      times[at++] = picks.times[s]!;
    }
    this.#length = at;
  }

  #views(): ResultViews {
    const { buffer } = this.#kernel.memory;
    const capacity = this.#capacity;
    const kept = this.#kept;
    if (kept !== null && kept.series.buffer === buffer) return kept;
    this.#kept = {
      series: new Uint32Array(buffer, this.#column(0), capacity),
      windows: new Uint32Array(buffer, this.#column(0) + 4 * capacity, capacity),
      counts: new Float64Array(buffer, this.#column(1), capacity),
      numbers: new Float64Array(buffer, this.#column(2), capacity),
      times: new Float64Array(buffer, this.#column(3), capacity),
    };
    return this.#kept;
  }

  /** What has gathered, as views that hold until the next call of the kernel; null when there is nothing. */
  take(): AggregateRuns | null {
    const length = this.#length;
    if (length === 0) return null;
    this.#length = 0;
    const { buffer } = this.#kernel.memory;
    const type = this.#type;
    const integer = type === INTEGER || type === UNSIGNED;
    const valued = this.#fn !== 'count';
    const floats = (column: number) => new Float64Array(buffer, this.#column(column), length);
    const integers = (column: number) =>
      type === UNSIGNED
        ? new BigUint64Array(buffer, this.#column(column), length)
        : new BigInt64Array(buffer, this.#column(column), length);
    const spread = this.#fn === 'spread';
    const { series, windows, counts } = this.#views();
    return {
      call: this.#call,
      length,
      series,
      windows,
      counts,
      numbers: valued && !integer ? floats(2) : null,
      integers: valued && integer ? integers(2) : null,
      strings: null,
      times: valued && !spread && this.#fn !== 'sum' && this.#fn !== 'mean' ? floats(3) : null,
      numbers2: spread && !integer ? floats(4) : null,
      integers2: spread && integer ? integers(4) : null,
    };
  }

  close(): void {
    this.#buffer.free(this.#kernel);
  }
}
