/**
 * The rows of the memtables that a scan wants, a few windows at a time: picking and arranging rows takes some 40 bytes each
 * of the kernel's memory, which never shrinks, and memtables hold millions.
 */
import type { Memtables } from './memtables.ts';
import type { ScanRequest } from './queryable.ts';
import type { RowSet } from './row-set.ts';

/** Rows that are picked at once, unless one window alone has more. */
const ROWS_MAX = 1 << 18;

interface Range {
  readonly first: number;
  last: number;
  rows: number;
}

export class MemoryRows {
  readonly #memtables: Memtables;
  readonly #request: ScanRequest;
  readonly #windowNs: number;
  /** Ascending; null: all rows are picked at once. */
  readonly #ranges: readonly Range[] | null;
  #picked: Range | null = null;
  #rows: RowSet | null;
  /** Windows that may have rows of the scan. */
  readonly windows: ReadonlySet<number>;

  /** `share`: of the measurement's series those that are wanted, 0 to 1. */
  constructor(memtables: Memtables, request: ScanRequest, windowNs: number, share: number, rowsMax = ROWS_MAX) {
    this.#memtables = memtables;
    this.#request = request;
    this.#windowNs = windowNs;
    const { measurement, minTime, maxTime } = request;
    const isSmall = memtables.rowsOf(measurement) * share <= rowsMax;
    if (isSmall) {
      this.#ranges = null;
      this.#rows = this.#select(minTime, maxTime);
      const times = this.#rows?.times ?? [];
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
    this.#rows = null;
    this.windows = new Set(counts.map(([window]) => window));
  }

  /** The wanted rows of the window, and mostly of others around it; null when there are none. */
  of(window: number): RowSet | null {
    if (this.#ranges === null) return this.#rows;
    const range = this.#ranges.find(({ first, last }) => window >= first && window <= last);
    if (range === undefined) return null;
    if (range !== this.#picked) {
      const { minTime, maxTime } = this.#request;
      const [from, to] = [range.first * this.#windowNs, (range.last + 1) * this.#windowNs - 1];
      this.#rows = this.#select(Math.max(minTime, from), Math.min(maxTime, to));
      this.#picked = range;
    }
    return this.#rows;
  }

  #select(minTime: number, maxTime: number): RowSet | null {
    const { measurement, series, fields } = this.#request;
    return this.#memtables.select(measurement, { series, fields: new Set(fields), minTime, maxTime });
  }
}
