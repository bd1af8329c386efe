/**
 * The rows of the memtables that a scan wants, a few windows at a time, or a part of the series of one window: picking and
 * arranging rows takes some 40 bytes each of the kernel's memory, which never shrinks, and memtables hold millions.
 */
import type { Memtables } from './memtables.ts';
import type { ScanRequest } from './queryable.ts';
import type { RowSet } from './row-set.ts';

/** Rows that are picked at once, about. */
const ROWS_MAX = 1 << 18;
/** Of a window: each goes over all rows of the window. */
const PARTS_MAX = 16;

interface Range {
  readonly first: number;
  last: number;
  rows: number;
}

/** Rows of the request's series from place `from` to before `end`. */
export interface PickedRows {
  readonly from: number;
  readonly end: number;
  /** null: there are none. */
  readonly rows: RowSet | null;
}

export class MemoryRows {
  readonly #memtables: Memtables;
  readonly #request: ScanRequest;
  readonly #windowNs: number;
  readonly #rowsMax: number;
  /** Ascending; null: all rows are picked at once. */
  readonly #ranges: readonly Range[] | null;
  #pickedRange: Range | null = null;
  /** Of the memtables when rows were picked: what has left them is picked no more, since deletes may have been done with it. */
  #drops: number;
  #picked: PickedRows;
  /** Windows that may have rows of the scan. */
  readonly windows: ReadonlySet<number>;

  /** `share`: of the measurement's series those that are wanted, 0 to 1. */
  constructor(memtables: Memtables, request: ScanRequest, windowNs: number, share: number, rowsMax = ROWS_MAX) {
    this.#memtables = memtables;
    this.#request = request;
    this.#windowNs = windowNs;
    this.#rowsMax = rowsMax;
    this.#drops = memtables.drops;
    const { measurement, series, minTime, maxTime } = request;
    const isSmall = memtables.rowsOf(measurement) * share <= rowsMax;
    this.#picked = { from: 0, end: series.length, rows: isSmall ? this.#select(series, minTime, maxTime) : null };
    if (isSmall) {
      this.#ranges = null;
      const times = this.#picked.rows?.times ?? [];
      const windows = new Set<number>();
      for (let i = 0; i < times.length; i++) windows.add(Math.floor(times[i]! / windowNs));
      this.windows = windows;
      return;
    }
    const [first, last] = [Math.floor(minTime / windowNs), Math.floor(maxTime / windowNs)];
    const counts = [...memtables.windowRows(measurement, windowNs)]
      .filter(([window]) => window >= first && window <= last)
      .sort(([a], [b]) => a - b);
    const ranges: Range[] = [];
    for (const [window, count] of counts) {
      const rows = count * share;
      const range = ranges.at(-1);
      if (range === undefined || range.rows + rows > rowsMax) ranges.push({ first: window, last: window, rows });
      else {
        range.last = window;
        range.rows += rows;
      }
    }
    this.#ranges = ranges;
    this.windows = new Set(counts.map(([window]) => window));
  }

  /** The wanted rows of the window, and mostly of others around it, of the series at `place` and of more. */
  of(window: number, place: number): PickedRows {
    const { series, minTime, maxTime } = this.#request;
    const isOld = this.#drops !== this.#memtables.drops;
    this.#drops = this.#memtables.drops;
    if (isOld) this.#pickedRange = null;
    if (this.#ranges === null) {
      if (isOld) this.#picked = { ...this.#picked, rows: this.#select(series, minTime, maxTime) };
      return this.#picked;
    }
    const range = this.#ranges.find(({ first, last }) => window >= first && window <= last);
    if (range === undefined) return { from: 0, end: series.length, rows: null };
    if (range === this.#pickedRange && place >= this.#picked.from && place < this.#picked.end) return this.#picked;
    const parts = Math.min(PARTS_MAX, Math.ceil(range.rows / this.#rowsMax));
    const from = parts > 1 ? place : 0;
    const end = parts > 1 ? Math.min(series.length, from + Math.ceil(series.length / parts)) : series.length;
    const [start, stop] = [range.first * this.#windowNs, (range.last + 1) * this.#windowNs - 1];
    const rows = this.#select(series.subarray(from, end), Math.max(minTime, start), Math.min(maxTime, stop));
    this.#pickedRange = range;
    this.#picked = { from, end, rows };
    return this.#picked;
  }

  #select(series: Uint32Array, minTime: number, maxTime: number): RowSet | null {
    const { measurement, fields } = this.#request;
    return this.#memtables.select(measurement, { series, fields: new Set(fields), minTime, maxTime });
  }
}
