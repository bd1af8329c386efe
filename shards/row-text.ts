/**
 * How much text rows have: what strings take in memory, however small they are in a block. A text that many rows share
 * is one. Short ones are left out: different ones take about as much in a block, so that its size bounds them.
 */
import type { RowSet } from './row-set.ts';

/** Units of a text that counts. */
const LONG = 64;

const stringsOf = ({ columns }: RowSet): (readonly string[])[] =>
  columns.flatMap(({ values }) => (Array.isArray(values) ? [values as string[]] : []));

/** Length of the texts of all rows, each as often as it occurs: at least what they take. */
export function textOf(rows: RowSet): number {
  let length = 0;
  for (const values of stringsOf(rows)) for (const text of values) if (text.length >= LONG) length += text.length;
  return length;
}

/** Counts each text once. */
export class TextCount {
  readonly #columns: readonly (readonly string[])[];
  readonly #known = new Set<string>();
  #length = 0;

  constructor(rows: RowSet) {
    this.#columns = stringsOf(rows);
  }

  /** Adds rows from .. to - 1 as long as all texts together are not longer than `max`, or are those of one row; returns the first that is left. */
  add(from: number, to: number, max: number): number {
    for (let row = from; row < to; row++) {
      const more: string[] = [];
      let length = 0;
      for (const values of this.#columns) {
        const text = values[row]!;
        if (text.length < LONG || this.#known.has(text)) continue;
        more.push(text);
        length += text.length;
      }
      if (this.#length > 0 && this.#length + length > max) return row;
      for (const text of more) this.#known.add(text);
      this.#length += length;
    }
    return to;
  }

  clear(): void {
    this.#known.clear();
    this.#length = 0;
  }
}
