/**
 * Rows of one series of results in chunks of one size, whatever pieces they come in; InfluxDB's chunks are as large. Where
 * texts are so large that much would be held for a chunk, it leaves with fewer rows.
 */
import type { OutputColumn } from './output.ts';
import { outputValue } from './output.ts';
import { TableRows } from './result.ts';

export class Chunks {
  readonly #size: number;
  /** One chunk's rows at most, between two pieces. */
  #held: TableRows[] = [];
  #rows = 0;
  readonly #bytesMax: number;
  /** Of texts and integers in what is held: pieces have theirs in equal shares. */
  #bytes = 0;

  constructor(size: number, bytesMax: number) {
    this.#size = size;
    this.#bytesMax = bytesMax;
  }

  /** Chunks behind which more rows follow. */
  *add(piece: TableRows, bytes: number): Generator<TableRows> {
    if (this.#rows > 0 && this.#bytes + bytes > this.#bytesMax) yield this.#take(this.#rows);
    this.#held.push(piece);
    this.#rows += piece.length;
    this.#bytes += bytes;
    while (this.#rows > this.#size) yield this.#take(this.#size);
  }

  /** The last one; null: there was no row. */
  rest(): TableRows | null {
    return this.#rows === 0 ? null : this.#take(this.#rows);
  }

  #take(rows: number): TableRows {
    const parts: TableRows[] = [];
    for (let left = rows; left > 0; ) {
      const first = this.#held.shift()!;
      parts.push(first.slice(0, left));
      if (first.length > left) this.#held.unshift(first.slice(left));
      left -= Math.min(left, first.length);
    }
    this.#bytes *= 1 - rows / this.#rows;
    this.#rows -= rows;
    return parts.length === 1 ? parts[0]! : joined(parts, rows);
  }
}

function joined(parts: readonly TableRows[], rows: number): TableRows {
  const times = new BigInt64Array(rows);
  let at = 0;
  for (const part of parts) {
    times.set(part.times.subarray(part.from, part.to), at);
    at += part.length;
  }
  const columns = parts[0]!.columns.map((_, c) => joinedColumn(parts, c, rows));
  return new TableRows({ times, columns }, 0, rows);
}

function joinedColumn(parts: readonly TableRows[], c: number, rows: number): OutputColumn {
  if (parts.every(({ columns }) => columns[c] instanceof Float64Array)) {
    const numbers = new Float64Array(rows);
    let at = 0;
    for (const { columns, from, to, length } of parts) {
      numbers.set((columns[c] as Float64Array).subarray(from, to), at);
      at += length;
    }
    return numbers;
  }
  return parts.flatMap(({ columns, from, length }) =>
    Array.from({ length }, (_, row) => outputValue(columns[c]!, from + row)),
  );
}
