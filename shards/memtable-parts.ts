/**
 * All rows of one measurement of a memtable, in parts for a flush: window by window, in each window parts of whole series
 * in order of hash. Everything is done in short steps, each of which says how many rows it looked at.
 *
 * Rows are counted by window and by series, then their numbers are put in order of parts (two passes over the frames'
 * series and times, a counting sort); a part is arranged and decoded only when it is its turn. So a flush needs four
 * bytes a row and the part in hand, besides the memtable itself.
 */
import { storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';
import type { MemGroup, Memtable } from './memtable.ts';
import type { RowSet } from './row-set.ts';
import type { FreeBuffers } from './used-rows.ts';

/** Rows that one step counts or places: a millisecond. */
export const PASS_ROWS = 1 << 17;
/** Cells and rows of a part: some five blocks, a few milliseconds to decode. */
const PART_CELLS = 1 << 19;
export const PART_ROWS_MAX = 1 << 16;

/** The columns of a part hold until the next step. */
export type PartStep =
  | { readonly kind: 'pass'; readonly rows: number }
  | { readonly kind: 'part'; readonly rows: RowSet };

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
    this.#rowsMax = Math.max(256, Math.min(PART_ROWS_MAX, rowsOfCells));
    this.#places = this.#takeZeroed(ids);
    const list = this.#take(series.length);
    storageWords().set(series, list >>> 2);
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
    let total = 0;
    parts.forEach(({ rows }, i) => {
      storageWords()[(next >>> 2) + i] = total;
      total += rows;
    });
    const rows = this.#take(total);
    yield* this.#passes((from, to) =>
      kernel.groupPart(address, from, to, this.#places, minTime, maxTime, counts, next, rows),
    );
    let start = rows;
    for (const part of parts) {
      kernel.groupPick(address, start, part.rows, this.#places, part.firstSeries + 1);
      const series = this.#series.subarray(part.firstSeries, part.endSeries);
      this.#pool.begin();
      const read = this.#memtable.readPicked(this.#group, part.rows, series, null, this.#pool.take);
      kernel.scratchTrim();
      start += part.rows * 4;
      yield { kind: 'part', rows: read };
    }
    for (const address of [counts, next, rows]) this.#give(address);
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
