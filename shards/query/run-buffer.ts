/**
 * Runs of one call (see AggregateRuns in ../queryable.ts): a buffer of columns, and how the values of a run become one.
 *
 * This is the definition of every aggregate that is kept as a state; kernels that compute the same are compared with it.
 */
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../column.ts';
import type { AggregateFunction, AggregateRuns } from '../queryable.ts';
import { sumFloats } from './float-sum.ts';
import { detached } from './held-bytes.ts';

/** Some 40 bytes a run and call. */
export const RUNS_HELD = 1024;

export const isInteger = (type: FieldType): boolean => type === INTEGER || type === UNSIGNED;

export const makeIntegers = (type: FieldType, length: number): BigInt64Array | BigUint64Array =>
  type === UNSIGNED ? new BigUint64Array(length) : new BigInt64Array(length);

/** Little-endian halves of 64-bit integers, so that no bigint is made of them. */
export const halvesOf = (integers: BigInt64Array | BigUint64Array): Uint32Array =>
  new Uint32Array(integers.buffer, integers.byteOffset, integers.length * 2);

export class RunBuffer implements AggregateRuns {
  readonly call: number;
  readonly fn: AggregateFunction;
  readonly type: FieldType;
  length = 0;
  readonly series: Uint32Array;
  readonly windows: Uint32Array;
  readonly counts: Float64Array;
  readonly numbers: Float64Array | null;
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: string[] | null;
  readonly times: Float64Array | null;
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
  /** Selectors: the picked row of the column that the run was made of. */
  readonly rows: Uint32Array | null;
  readonly #halves: Uint32Array | null;

  constructor(call: number, fn: AggregateFunction, type: FieldType, capacity: number) {
    this.call = call;
    this.fn = fn;
    this.type = type;
    const picks = fn === 'min' || fn === 'max' || fn === 'first' || fn === 'last';
    const values = fn !== 'count';
    const integer = isInteger(type);
    this.series = new Uint32Array(capacity);
    this.windows = new Uint32Array(capacity);
    this.counts = new Float64Array(capacity);
    this.numbers = values && !integer && type !== STRING ? new Float64Array(capacity) : null;
    this.integers = values && integer ? makeIntegers(type, capacity) : null;
    this.strings = values && type === STRING ? new Array<string>(capacity).fill('') : null;
    this.times = picks ? new Float64Array(capacity) : null;
    this.rows = picks ? new Uint32Array(capacity) : null;
    this.numbers2 = fn === 'spread' && !integer ? new Float64Array(capacity) : null;
    this.integers2 = fn === 'spread' && integer ? makeIntegers(type, capacity) : null;
    this.#halves = this.integers === null ? null : halvesOf(this.integers);
  }

  get isFull(): boolean {
    return this.length === this.counts.length;
  }

  /**
   * Appends the run of rows from..to-1 of a column of this call's type; false when none of them has a value.
   * `mask` has one byte per row (1 = the row counts) or is null; the buffer must not be full.
   */
  add(
    series: number,
    window: number,
    column: Column,
    mask: Uint8Array | null,
    times: Float64Array,
    from: number,
    to: number,
  ): boolean {
    const count = mask === null ? to - from : countMask(mask, from, to);
    if (count === 0) return false;
    const run = this.length++;
    this.series[run] = series;
    this.windows[run] = window;
    this.counts[run] = count;
    switch (this.fn) {
      case 'count':
        break;
      case 'sum':
      case 'mean':
        if (this.#halves !== null) sumIntegers(column.values as BigInt64Array, mask, from, to, this.#halves, run);
        else this.numbers![run] = sumFloats(column.values as Float64Array, mask, from, to, count);
        break;
      case 'spread': {
        const least = pickRow('min', column, mask, from, to);
        const greatest = pickRow('max', column, mask, from, to);
        (this.integers ?? this.numbers!)[run] = column.values[least] as never;
        (this.integers2 ?? this.numbers2!)[run] = column.values[greatest] as never;
        break;
      }
      default: {
        const row = pickRow(this.fn, column, mask, from, to);
        this.times![run] = times[row]!;
        this.rows![run] = row;
        if (this.numbers !== null) this.numbers[run] = column.values[row] as number;
        else if (this.integers !== null) this.integers[run] = column.values[row] as never;
        else this.strings![run] = detached((column.values as string[])[row]!);
      }
    }
    return true;
  }
}

function countMask(mask: Uint8Array, from: number, to: number): number {
  let n = 0;
  for (let i = from; i < to; i++) n += mask[i]!;
  return n;
}

const TWO_32 = 4294967296;
const CARRY_AT = 2 ** 52;

/** Writes the low 64 bits of the sum as halves, as Go's addition wraps. */
function sumIntegers(
  values: BigInt64Array,
  mask: Uint8Array | null,
  from: number,
  to: number,
  into: Uint32Array,
  run: number,
): void {
  const lows = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  const highs = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  let low = 0;
  let high = 0;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    low += lows[i * 2]!;
    high += highs[i * 2 + 1]!;
    if (low >= CARRY_AT) {
      const carry = Math.floor(low / TWO_32);
      low -= carry * TWO_32;
      high += carry;
    }
    // The sum wraps at 64 bits, so the high half counts modulo 2^32.
    if (high >= CARRY_AT || high <= -CARRY_AT) high %= TWO_32;
  }
  // Storing into 32 bits keeps the low ones.
  into[run * 2] = low;
  into[run * 2 + 1] = high + Math.floor(low / TWO_32);
}

/** The row that a selector takes out of a run; rows are ascending in time and at least one is in the mask. */
function pickRow(
  fn: 'min' | 'max' | 'first' | 'last',
  column: Column,
  mask: Uint8Array | null,
  from: number,
  to: number,
): number {
  if (fn === 'first') {
    let i = from;
    if (mask !== null) while (mask[i] === 0) i++;
    return i;
  }
  if (fn === 'last') {
    let i = to - 1;
    if (mask !== null) while (mask[i] === 0) i--;
    return i;
  }
  if (column.type === FLOAT) return extremeFloat(column.values as Float64Array, mask, from, to, fn === 'max');
  if (column.type === BOOLEAN) return extremeByte(column.values as Uint8Array, mask, from, to, fn === 'max');
  return extremeInteger(column.values as BigInt64Array, column.type === UNSIGNED, mask, from, to, fn === 'max');
}

function extremeFloat(values: Float64Array, mask: Uint8Array | null, from: number, to: number, max: boolean): number {
  let best = -1;
  let value = 0;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    const next = values[i]!;
    if (best < 0 || (max ? next > value : next < value)) {
      best = i;
      value = next;
    }
  }
  return best;
}

function extremeByte(values: Uint8Array, mask: Uint8Array | null, from: number, to: number, max: boolean): number {
  let best = -1;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    if (best < 0 || (max ? values[i]! > values[best]! : values[i]! < values[best]!)) best = i;
  }
  return best;
}

function extremeInteger(
  values: BigInt64Array | BigUint64Array,
  unsigned: boolean,
  mask: Uint8Array | null,
  from: number,
  to: number,
  max: boolean,
): number {
  const lows = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  const highs = unsigned ? lows : new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  let best = -1;
  let low = 0;
  let high = 0;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    const h = highs[i * 2 + 1]!;
    const l = lows[i * 2]!;
    const greater = h !== high ? h > high : l > low;
    const less = h !== high ? h < high : l < low;
    if (best < 0 || (max ? greater : less)) {
      best = i;
      low = l;
      high = h;
    }
  }
  return best;
}
