/**
 * A column that rows are appended to. Rows that lack the field are noted only once one of them does: a column that
 * every row has keeps no presence bytes.
 */
import { type Column, type ColumnValues, type FieldType, makeValues } from './column.ts';

/** What a string takes in memory besides its characters: header and reference. */
const STRING_OVERHEAD_BYTES = 24;
const ROWS_MIN = 64;

export class GrowingColumn {
  readonly field: string;
  readonly type: FieldType;
  #values: ColumnValues;
  #present: Uint8Array | null = null;
  /** Rows at and behind this one do not have the field. */
  #rows = 0;
  /** Rows that there is room for. */
  #capacity = ROWS_MIN;
  #stringBytes = 0;

  constructor(field: string, type: FieldType) {
    this.field = field;
    this.type = type;
    this.#values = makeValues(type, ROWS_MIN);
  }

  get bytes(): number {
    const values = Array.isArray(this.#values) ? this.#stringBytes : this.#values.byteLength;
    return values + (this.#present?.byteLength ?? 0);
  }

  /** Puts the values of `count` rows of `column` at row `from`, which is not before any row appended so far. */
  append(column: Column, from: number, count: number): void {
    const end = from + count;
    this.#reserve(end);
    if (column.present !== null || from > this.#rows) this.#notePresence();
    if (this.#present !== null) {
      if (column.present === null) this.#present.fill(1, from, end);
      else this.#present.set(column.present.subarray(0, count), from);
    }
    this.#copy(column.values, from, count);
    this.#rows = end;
  }

  /** Bytes behind the last row are zero: rows that are skipped are absent without more. */
  #notePresence(): void {
    this.#present ??= new Uint8Array(this.#capacity).fill(1, 0, this.#rows);
  }

  #copy(values: ColumnValues, from: number, count: number): void {
    const own = this.#values;
    if (Array.isArray(own) && Array.isArray(values)) {
      while (own.length < from) own.push('');
      for (let i = 0; i < count; i++) {
        const value = values[i]!;
        own[from + i] = value;
        this.#stringBytes += value.length + STRING_OVERHEAD_BYTES;
      }
    } else if (own instanceof Float64Array && values instanceof Float64Array) {
      own.set(values.subarray(0, count), from);
    } else if (own instanceof BigInt64Array && values instanceof BigInt64Array) {
      own.set(values.subarray(0, count), from);
    } else if (own instanceof BigUint64Array && values instanceof BigUint64Array) {
      own.set(values.subarray(0, count), from);
    } else if (own instanceof Uint8Array && values instanceof Uint8Array) {
      own.set(values.subarray(0, count), from);
    } else {
      throw new Error(`field ${this.field} of type ${this.type} was given values of another type`);
    }
  }

  #reserve(rows: number): void {
    if (rows <= this.#capacity) return;
    this.#capacity = Math.max(rows, Math.ceil(this.#capacity * 1.5));
    if (!Array.isArray(this.#values)) {
      const old = this.#values;
      this.#values = makeValues(this.type, this.#capacity);
      this.#copy(old, 0, this.#rows);
    }
    if (this.#present !== null) {
      const present = new Uint8Array(this.#capacity);
      present.set(this.#present);
      this.#present = present;
    }
  }

  /** The first `rows` rows, sharing memory with this column. */
  take(rows: number): Column {
    if (rows > this.#rows) {
      this.#reserve(rows);
      this.#notePresence();
    }
    const values = Array.isArray(this.#values) ? this.#values.slice(0, rows) : this.#values.subarray(0, rows);
    return { field: this.field, type: this.type, present: this.#present?.subarray(0, rows) ?? null, values };
  }

  /** The given rows. */
  gather(rows: Uint32Array): Column {
    const present = new Uint8Array(rows.length);
    let absent = 0;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      present[i] = row < this.#rows && (this.#present === null || this.#present[row] === 1) ? 1 : 0;
      absent += 1 - present[i]!;
    }
    const values = gatherValues(this.type, this.#values, rows);
    return { field: this.field, type: this.type, present: absent === 0 ? null : present, values };
  }
}

/** Values of rows behind the end are whatever the new array holds: they are absent. */
function gatherValues(type: FieldType, from: ColumnValues, rows: Uint32Array): ColumnValues {
  if (from instanceof Float64Array) {
    const values = new Float64Array(rows.length);
    for (let i = 0; i < rows.length; i++) values[i] = from[rows[i]!]!;
    return values;
  }
  if (from instanceof Uint8Array) {
    const values = new Uint8Array(rows.length);
    for (let i = 0; i < rows.length; i++) values[i] = from[rows[i]!]!;
    return values;
  }
  if (Array.isArray(from)) return Array.from(rows, (row) => from[row] ?? '');
  const values = makeValues(type, rows.length) as BigInt64Array | BigUint64Array;
  // Integers by their halves: no bigint per element.
  const source = new Uint32Array(from.buffer, from.byteOffset, from.length * 2);
  const target = new Uint32Array(values.buffer);
  for (let i = 0; i < rows.length; i++) {
    const at = rows[i]! * 2;
    target[i * 2] = source[at]!;
    target[i * 2 + 1] = source[at + 1]!;
  }
  return values;
}
