/**
 * The parts of a range in which a request is read whose groups are settled by the rows of one end (settling.ts): from that
 * end on, where there are rows at all, each for about four times as many as the one before.
 *
 * A part's rows all lie before the next part's. The first one is for few rows of each series, since most such requests are
 * over with it, however much is stored.
 */
import type { QueryableShard } from '../queryable.ts';
import type { MeasurementScan } from './groups.ts';
import type { End } from './settling.ts';

/** Offsets, both inclusive. */
export interface Range {
  readonly minTime: number;
  readonly maxTime: number;
}

const ROWS_MIN = 16;
const ROWS_OF_SERIES = 4;
/** Where so many rows of a group are wanted: those of one series in two suffice where nothing filters them. */
const ROWS_OF_WANTED = 2;
const GROWTH = 4;
/** Rows are not taken to lie closer together than if so much time had as many: a few may lie anywhere. */
const DENSEST_NS = 60_000_000_000;

export class GrowingRanges {
  readonly #shard: QueryableShard;
  readonly #descending: boolean;
  /** null: all was read. */
  #rest: Range | null;
  #rows: number;

  /** `wanted`: rows of each group, about. */
  constructor(shard: QueryableShard, end: End, whole: Range | null, scans: readonly MeasurementScan[], wanted: number) {
    this.#shard = shard;
    this.#descending = end === 'last';
    this.#rest = whole;
    let series = 0;
    for (const scan of scans) series += scan.series.length;
    this.#rows = Math.max(ROWS_MIN, ROWS_OF_SERIES * series, ROWS_OF_WANTED * wanted);
  }

  /** The next part; null: there are no more rows of these. */
  next(scans: readonly MeasurementScan[]): Range | null {
    const ahead = this.#ahead(scans);
    if (ahead === null) return null;
    const rest = this.#rest!;
    const ns = Math.ceil((Math.max(ahead.maxTime - ahead.minTime + 1, DENSEST_NS) * this.#rows) / ahead.rows);
    this.#rows *= GROWTH;
    if (this.#descending) {
      const minTime = Math.max(rest.minTime, ahead.maxTime - ns + 1);
      this.#rest = minTime > rest.minTime ? { minTime: rest.minTime, maxTime: minTime - 1 } : null;
      return { minTime, maxTime: ahead.maxTime };
    }
    const maxTime = Math.min(rest.maxTime, ahead.minTime + ns - 1);
    this.#rest = maxTime < rest.maxTime ? { minTime: maxTime + 1, maxTime: rest.maxTime } : null;
    return { minTime: ahead.minTime, maxTime };
  }

  /** Of all of them: from where the nearest rows lie on, as many as there are. */
  #ahead(scans: readonly MeasurementScan[]): (Range & { readonly rows: number }) | null {
    if (this.#rest === null) return null;
    let [minTime, maxTime, rows] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0];
    for (const { measurement, series } of scans) {
      const found = this.#shard.rowsAhead({ measurement, series, ...this.#rest, descending: this.#descending });
      if (found === null) continue;
      minTime = Math.min(minTime, found.minTime);
      maxTime = Math.max(maxTime, found.maxTime);
      rows += found.rows;
    }
    return rows === 0 ? null : { minTime, maxTime, rows };
  }
}
