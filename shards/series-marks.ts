/**
 * What is known of each series of a shard under its deletes: whether any covers it, and whether a covered one still has a
 * visible row, which is looked up in the rows when asked and kept until something changes it.
 */
const UNKNOWN = 0;
const YES = 1;
const NO = 2;
const STATE = 3;
const COVERED = 4;

export class SeriesMarks {
  #marks = new Uint8Array(0);
  #wakes: number;

  constructor(wakes = 0) {
    this.#wakes = wakes;
  }

  /** Grows whenever a series may have got its first visible row. */
  get wakes(): number {
    return this.#wakes;
  }

  /** Before anything is marked. */
  reserve(count: number): void {
    if (this.#marks.length >= count) return;
    const marks = new Uint8Array(Math.max(count, this.#marks.length * 2));
    marks.set(this.#marks);
    this.#marks = marks;
  }

  /** Marks without anything known, in place of these: deletes that were handed out go on reading these (shard-scan.ts). */
  anew(): SeriesMarks {
    return new SeriesMarks(this.#wakes);
  }

  isCovered(id: number): boolean {
    return (this.#marks[id]! & COVERED) !== 0;
  }

  /** By one delete more: it hides rows and shows none, so those without a visible row stay so. */
  cover(ids: Uint32Array): void {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      this.#marks[id] = COVERED | ((this.#marks[id]! & STATE) === NO ? NO : UNKNOWN);
    }
  }

  /** Rows came; `seen`: no delete is newer. */
  wrote(series: Uint32Array, seen: boolean): void {
    const now = seen ? YES : UNKNOWN;
    for (let i = 0; i < series.length; i++) {
      const id = series[i]!;
      const mark = this.#marks[id]!;
      if ((mark & STATE) === YES) continue;
      this.#marks[id] = (mark & COVERED) | now;
      this.#wakes++;
    }
  }

  /** Those with a visible row. `find` says of the given series (same order) which ones have one. */
  visible(series: Uint32Array, find: (unknown: Uint32Array) => ReadonlySet<number>): Uint32Array {
    const unknown: number[] = [];
    let hidden = 0;
    for (let i = 0; i < series.length; i++) {
      const id = series[i]!;
      const mark = this.#marks[id]!;
      if (mark === UNKNOWN) this.#marks[id] = YES;
      else if (mark === COVERED) unknown.push(id);
      else if ((mark & STATE) === NO) hidden++;
    }
    if (unknown.length > 0) {
      const found = find(Uint32Array.from(unknown));
      for (const id of unknown) this.#marks[id] = COVERED | (found.has(id) ? YES : NO);
      hidden += unknown.length - found.size;
    }
    return hidden === 0 ? series : series.filter((id) => (this.#marks[id]! & STATE) === YES);
  }
}
