/**
 * All rows of one measurement of a memtable, in parts for a flush: window by window, in each window parts of whole series
 * in order of hash; a series that is too long for a part is cut into slices of time. Everything is done in short steps, each
 * of which says how many rows it looked at.
 *
 * Rows are counted by window and by series, then their numbers are put in order of parts (two passes over the frames'
 * series and times, a counting sort); a part is arranged and decoded only when it is its turn. So a flush needs four
 * bytes a row (eight of a series that is cut) and the part in hand, besides the memtable itself.
 */
import { STRING } from './column.ts';
import { copyInto } from './kernel/copy.ts';
import { storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';
import type { MemGroup, Memtable } from './memtable.ts';
import type { RowSet } from './row-set.ts';
import type { FreeBuffers } from './used-rows.ts';

/** Rows that one step counts or places: a millisecond. */
export const PASS_ROWS = 1 << 17;
/** Cells and rows of a part: some five blocks, a few milliseconds to decode. */
const PART_CELLS = 1 << 19;
export const PART_ROWS_MAX = 1 << 16;
/** Bytes of strings of a part, about: where frames are much larger than rows of numbers would be, long strings make them so. */
export const PART_TEXT = 4 << 20;
/** Of a row without long strings, at most about. */
const SHORT_ROW_BYTES = 64;
const TEXT_ROWS_MIN = 16;
/** Spans of time whose rows are counted to find where a series is cut. */
const SLICE_BUCKETS = 1 << 10;
/** Slices are made this much smaller than a part may be: they end between two spans. */
const SLICE_SHARE = 7 / 8;

/** The columns of a part hold until the next step. */
export type PartStep =
  | { readonly kind: 'pass'; readonly rows: number }
  | { readonly kind: 'part'; readonly rows: RowSet /** Of a series that is cut by time. */; readonly isSlice: boolean };

/** Memory for the columns of one part after another: fresh pages would cost as much as decoding into them. */
class ColumnPool {
  readonly #buffers: ArrayBuffer[] = [];
  #used = 0;

  begin(): void {
    this.#used = 0;
  }

  readonly take = (bytes: number): Uint8Array<ArrayBuffer> => {
    const at = this.#used++;
    let buffer = this.#buffers[at];
    if (buffer === undefined || buffer.byteLength < bytes) {
      buffer = new ArrayBuffer(bytes + (bytes >>> 2));
      this.#buffers[at] = buffer;
    }
    return new Uint8Array(buffer, 0, bytes);
  };

  free(free: FreeBuffers): void {
    free(this.#buffers.splice(0));
  }
}

/** `series`: all of the measurement in order of hash; `ids`: how many ids there are; `free`: for columns, at the end. */
export function* readParts(
  memtable: Memtable,
  group: MemGroup,
  series: Uint32Array,
  ids: number,
  windowNs: number,
  free: FreeBuffers = () => {},
): Generator<PartStep, void> {
  const reading = new Reading(memtable, group, series, ids);
  try {
    for (const window of yield* reading.windows(windowNs)) {
      yield* reading.window(window * windowNs, (window + 1) * windowNs - 1);
    }
  } finally {
    reading.free(free);
  }
}

/** A run of whole series of a window. */
interface Part {
  readonly firstSeries: number;
  readonly endSeries: number;
  readonly rows: number;
}

/** Rows of one series from minTime to maxTime. */
interface Slice {
  readonly rows: number;
  readonly minTime: number;
  readonly maxTime: number;
}

/** As if all long strings of the memtable were in this measurement, when it has any. */
function rowsOfText(memtable: Memtable, group: MemGroup): number {
  const text = memtable.bytes - memtable.rows * SHORT_ROW_BYTES;
  const hasStrings = [...group.columns.values()].some(({ type }) => type === STRING);
  if (!hasStrings || text <= PART_TEXT) return PART_ROWS_MAX;
  return Math.max(TEXT_ROWS_MIN, Math.floor((group.rows * PART_TEXT) / text));
}

class Reading {
  readonly #memtable: Memtable;
  readonly #group: MemGroup;
  readonly #series: Uint32Array;
  readonly #rowsMax: number;
  readonly #blocks = new Set<number>();
  readonly #pool = new ColumnPool();
  /** By series id: its place in the order, counted from 1. */
  readonly #places: number;

  constructor(memtable: Memtable, group: MemGroup, series: Uint32Array, ids: number) {
    this.#memtable = memtable;
    this.#group = group;
    this.#series = series;
    const rowsOfCells = Math.floor(PART_CELLS / Math.max(1, group.columns.size));
    this.#rowsMax = Math.min(Math.max(256, Math.min(PART_ROWS_MAX, rowsOfCells)), rowsOfText(memtable, group));
    this.#places = this.#takeZeroed(ids);
    const list = this.#take(series.length);
    copyInto(storageBytes(), list, series);
    storageKernel().placesSet(this.#places, list, series.length);
    this.#give(list);
  }

  #take(words: number): number {
    const address = storageKernel().alloc(Math.max(words, 1) * 4);
    this.#blocks.add(address);
    return address;
  }

  #takeZeroed(words: number): number {
    const address = this.#take(words);
    storageBytes().fill(0, address, address + words * 4);
    return address;
  }

  #give(address: number): void {
    storageKernel().free(address);
    this.#blocks.delete(address);
  }

  free(free: FreeBuffers): void {
    this.#pool.free(free);
    for (const address of this.#blocks) this.#give(address);
  }

  /** Calls `pass` for some chunks at a time. */
  *#passes(pass: (from: number, to: number) => void): Generator<PartStep, void> {
    const { address } = this.#group;
    for (let chunk = 0; ; ) {
      const count = storageKernel().chunksOfRows(address, chunk, PASS_ROWS);
      if (count === 0) return;
      pass(chunk, chunk + count);
      chunk += count;
      yield { kind: 'pass', rows: PASS_ROWS };
    }
  }

  /** Windows that have rows. */
  *windows(windowNs: number): Generator<PartStep, number[]> {
    const { address, minTime, maxTime } = this.#group;
    const first = Math.floor(minTime / windowNs);
    const count = Math.floor(maxTime / windowNs) - first + 1;
    if (count === 1) return [first];
    const counts = this.#takeZeroed(count);
    yield* this.#passes((from, to) => storageKernel().groupWindows(address, from, to, windowNs, first, counts));
    const found: number[] = [];
    const words = storageWords();
    for (let i = 0; i < count; i++) if (words[(counts >>> 2) + i]! > 0) found.push(first + i);
    this.#give(counts);
    return found;
  }

  *window(minTime: number, maxTime: number): Generator<PartStep, void> {
    const { address } = this.#group;
    const kernel = storageKernel();
    const counts = this.#takeZeroed(this.#series.length + 1);
    yield* this.#passes((from, to) => kernel.groupCount(address, from, to, this.#places, minTime, maxTime, counts));
    // The counts become the numbers of the parts.
    const parts = this.#divide(counts);
    const next = this.#take(parts.length);
    this.#writeStarts(next, parts);
    const rows = this.#take(parts.reduce((sum, { rows }) => sum + rows, 0));
    yield* this.#passes((from, to) =>
      kernel.groupPart(address, from, to, this.#places, minTime, maxTime, counts, next, rows),
    );
    const [least, greatest] = [Math.max(minTime, this.#group.minTime), Math.min(maxTime, this.#group.maxTime)];
    let start = rows;
    for (const part of parts) {
      const slice = { rows: part.rows, minTime: least, maxTime: greatest };
      if (part.rows > this.#rowsMax) yield* this.#slices(part, start, slice);
      else yield { kind: 'part', rows: this.#read(part, start), isSlice: false };
      start += part.rows * 4;
    }
    for (const address of [counts, next, rows]) this.#give(address);
  }

  /** The rows whose numbers are listed at `rows`. */
  #read(part: Part, rows: number): RowSet {
    const kernel = storageKernel();
    kernel.groupPick(this.#group.address, rows, part.rows, this.#places, part.firstSeries + 1);
    const series = this.#series.subarray(part.firstSeries, part.endSeries);
    this.#pool.begin();
    const read = this.#memtable.readPicked(this.#group, part.rows, series, null, this.#pool.take);
    kernel.scratchTrim();
    return read;
  }

  /**
   * A series that is too long for a part (others of that part have no rows), by time: rows are counted in spans, and put in order of slices of such spans. Where
   * one span has too many it is divided in the same way; rows of one time stay together.
   */
  *#slices(part: Part, rows: number, { rows: count, minTime, maxTime }: Slice): Generator<PartStep, void> {
    if (count <= this.#rowsMax || maxTime - minTime < 1) {
      yield { kind: 'part', rows: this.#read({ ...part, rows: count }, rows), isSlice: true };
      return;
    }
    const { address } = this.#group;
    const kernel = storageKernel();
    const counts = this.#takeZeroed(SLICE_BUCKETS);
    const spanNs = (maxTime - minTime) / SLICE_BUCKETS;
    const buckets = [minTime, spanNs, SLICE_BUCKETS] as const;
    yield* this.#listed(rows, count, (at, n) => kernel.listBuckets(address, at, n, ...buckets, counts));
    // The counts become the numbers of the slices.
    const slices = this.#cut(counts, count, minTime, spanNs);
    const next = this.#take(slices.length);
    const sorted = this.#take(count);
    this.#writeStarts(next, slices);
    yield* this.#listed(rows, count, (at, n) => kernel.listSlice(address, at, n, ...buckets, counts, next, sorted));
    let start = sorted;
    for (const slice of slices) {
      yield* this.#slices(part, start, slice);
      start += slice.rows * 4;
    }
    for (const block of [counts, next, sorted]) this.#give(block);
  }

  /** Calls `pass` for some rows of a list at a time. */
  *#listed(rows: number, count: number, pass: (at: number, rows: number) => void): Generator<PartStep, void> {
    for (let from = 0; from < count; from += PASS_ROWS) {
      const some = Math.min(PASS_ROWS, count - from);
      pass(rows + from * 4, some);
      yield { kind: 'pass', rows: some };
    }
  }

  /** Into slices of about one size, of one bucket where that has too many, and writes each bucket's slice over its count. */
  #cut(counts: number, total: number, minTime: number, spanNs: number): Slice[] {
    const words = storageWords();
    const rowsOfSlice = total / Math.ceil(total / (this.#rowsMax * SLICE_SHARE));
    const slices: { rows: number; minTime: number; maxTime: number }[] = [];
    let passed = 0;
    let end = rowsOfSlice;
    for (let bucket = 0; bucket < SLICE_BUCKETS; bucket++) {
      const rows = words[(counts >>> 2) + bucket]!;
      const [from, to] = [minTime + bucket * spanNs, minTime + (bucket + 1) * spanNs];
      if (rows === 0) continue;
      let slice = slices.at(-1);
      if (slice === undefined || passed >= end || slice.rows + rows > this.#rowsMax) {
        slice = { rows: 0, minTime: from, maxTime: to };
        slices.push(slice);
        while (end <= passed) end += rowsOfSlice;
      }
      words[(counts >>> 2) + bucket] = slices.length - 1;
      slice.rows += rows;
      slice.maxTime = to;
      passed += rows;
    }
    return slices;
  }

  /** Where the rows of each begin in a list of all. */
  #writeStarts(next: number, runs: readonly { readonly rows: number }[]): void {
    let total = 0;
    runs.forEach(({ rows }, i) => {
      storageWords()[(next >>> 2) + i] = total;
      total += rows;
    });
  }

  /** Cuts the series where a part is large enough, and writes each series' part over its count. */
  #divide(counts: number): Part[] {
    const words = storageWords();
    const parts: Part[] = [];
    let firstSeries = 0;
    let rows = 0;
    const close = (endSeries: number): void => {
      if (rows > 0) parts.push({ firstSeries, endSeries, rows });
      firstSeries = endSeries;
      rows = 0;
    };
    for (let place = 1; place <= this.#series.length; place++) {
      const at = (counts >>> 2) + place;
      const own = words[at]!;
      if (rows > 0 && rows + own > this.#rowsMax) close(place - 1);
      words[at] = parts.length;
      rows += own;
    }
    close(this.#series.length);
    return parts;
  }
}
