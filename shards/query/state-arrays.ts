/**
 * States of aggregates over cells (group x window) and how rows of a slice are added to them.
 *
 * A slice's rows that fall into one window are a run; each run goes through a tight loop over typed arrays, and only its
 * outcome touches the cell. Rows come in the order (storage window, series hash, time), the same on every replica, so
 * float sums are too. Ties follow InfluxDB: min and max keep the earliest row, first and last the greater value.
 */
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../column.ts';
import type { StateArrays, StateCall, StateFunction } from './partial.ts';

export interface State {
  readonly fn: StateFunction;
  readonly type: FieldType;
  readonly count: Float64Array;
  readonly numbers: Float64Array | null;
  /** Sums of integers while scanning: low and high halves, joined at the end. */
  readonly low: Float64Array | null;
  readonly high: Float64Array | null;
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: string[] | null;
  readonly times: Float64Array | null;
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
}

const isInteger = (type: FieldType): boolean => type === INTEGER || type === UNSIGNED;

const makeIntegers = (type: FieldType, cells: number): BigInt64Array | BigUint64Array =>
  type === UNSIGNED ? new BigUint64Array(cells) : new BigInt64Array(cells);

export function makeState(call: StateCall, cells: number): State {
  const { fn, type } = call;
  const adds = fn === 'sum' || fn === 'mean';
  const picks = fn === 'min' || fn === 'max' || fn === 'first' || fn === 'last';
  const keepsValue = picks || fn === 'spread';
  const integer = isInteger(type);
  const text = type === STRING;
  return {
    fn,
    type,
    count: new Float64Array(cells),
    numbers: fn === 'stddev' || ((adds || keepsValue) && !integer && !text) ? new Float64Array(cells) : null,
    low: adds && integer ? new Float64Array(cells) : null,
    high: adds && integer ? new Float64Array(cells) : null,
    integers: keepsValue && integer ? makeIntegers(type, cells) : null,
    strings: keepsValue && text ? new Array<string>(cells).fill('') : null,
    times: picks ? new Float64Array(cells) : null,
    numbers2: fn === 'stddev' || (fn === 'spread' && !integer) ? new Float64Array(cells) : null,
    integers2: fn === 'spread' && integer ? makeIntegers(type, cells) : null,
  };
}

/**
 * Adds rows from..to-1 of a column to a cell. Returns the row that became the cell's pick, or -1.
 * `tieBreak(row)` says whether a row that equals the pick in value and time takes its place.
 */
export function addRun(
  state: State,
  cell: number,
  column: Column,
  mask: Uint8Array | null,
  times: Float64Array,
  from: number,
  to: number,
  tieBreak: ((cell: number) => boolean) | null,
): number {
  const rows = mask === null ? to - from : countMask(mask, from, to);
  if (rows === 0) return -1;
  const had = state.count[cell]!;
  state.count[cell] = had + rows;
  switch (state.fn) {
    case 'count':
      return -1;
    case 'sum':
    case 'mean':
      if (state.low !== null) addIntegers(state, cell, column.values as BigInt64Array, mask, from, to);
      else state.numbers![cell] = sumFloats(state.numbers![cell]!, column.values as Float64Array, mask, from, to);
      return -1;
    case 'stddev':
      addMoments(state, cell, had, column, mask, from, to);
      return -1;
    case 'spread':
      addSpread(state, cell, had, column, mask, from, to);
      return -1;
    default: {
      const row = pickRow(state.fn, column, mask, from, to);
      if (had > 0 && !betterThanCell(state, cell, column, row, times[row]!, tieBreak)) return -1;
      setPick(state, cell, column, row, times[row]!);
      return row;
    }
  }
}

function countMask(mask: Uint8Array, from: number, to: number): number {
  let n = 0;
  for (let i = from; i < to; i++) n += mask[i]!;
  return n;
}

function sumFloats(start: number, values: Float64Array, mask: Uint8Array | null, from: number, to: number): number {
  let sum = start;
  if (mask === null) for (let i = from; i < to; i++) sum += values[i]!;
  else for (let i = from; i < to; i++) if (mask[i] === 1) sum += values[i]!;
  return sum;
}

const TWO_32 = 4294967296;
const CARRY_AT = 2 ** 52;

function addIntegers(
  state: State,
  cell: number,
  values: BigInt64Array,
  mask: Uint8Array | null,
  from: number,
  to: number,
): void {
  const lows = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  const highs = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  let low = state.low![cell]!;
  let high = state.high![cell]!;
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
  state.low![cell] = low;
  state.high![cell] = high;
}

function addMoments(
  state: State,
  cell: number,
  had: number,
  column: Column,
  mask: Uint8Array | null,
  from: number,
  to: number,
): void {
  let n = had;
  let mean = state.numbers![cell]!;
  let squares = state.numbers2![cell]!;
  const values = column.values;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    const value = Number(values[i]);
    n++;
    const delta = value - mean;
    mean += delta / n;
    squares += delta * (value - mean);
  }
  state.numbers![cell] = mean;
  state.numbers2![cell] = squares;
}

function addSpread(
  state: State,
  cell: number,
  had: number,
  column: Column,
  mask: Uint8Array | null,
  from: number,
  to: number,
): void {
  const least = column.values[pickRow('min', column, mask, from, to)]! as number;
  const greatest = column.values[pickRow('max', column, mask, from, to)]! as number;
  const lows = state.integers ?? state.numbers!;
  const highs = state.integers2 ?? state.numbers2!;
  if (had === 0 || least < lows[cell]!) lows[cell] = least as never;
  if (had === 0 || greatest > highs[cell]!) highs[cell] = greatest as never;
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

function betterThanCell(
  state: State,
  cell: number,
  column: Column,
  row: number,
  time: number,
  tieBreak: ((cell: number) => boolean) | null,
): boolean {
  const value = column.values[row]!;
  const held = state.integers?.[cell] ?? state.strings?.[cell] ?? state.numbers![cell]!;
  const verdict = comparePicks(state.fn, value, time, held, state.times![cell]!);
  return verdict !== 0 ? verdict > 0 : tieBreak?.(cell) === true;
}

/** > 0: the first is what the selector wants, < 0: the second, 0: equal in value and time. */
export function comparePicks(
  fn: StateFunction,
  value: number | bigint | string,
  time: number | bigint,
  otherValue: number | bigint | string,
  otherTime: number | bigint,
): number {
  const byTime = time < otherTime ? 1 : time > otherTime ? -1 : 0;
  const byValue = value > otherValue ? 1 : value < otherValue ? -1 : 0;
  if (fn === 'min') return -byValue || byTime;
  if (fn === 'max') return byValue || byTime;
  return (fn === 'first' ? byTime : -byTime) || byValue;
}

function setPick(state: State, cell: number, column: Column, row: number, time: number): void {
  state.times![cell] = time;
  if (state.strings !== null) state.strings[cell] = (column.values as string[])[row]!;
  else if (state.integers !== null) state.integers[cell] = column.values[row] as never;
  else state.numbers![cell] = column.values[row] as number;
}

/** The form in which a state travels. */
export function finishState(state: State, picked: Uint32Array | null): StateArrays {
  let integers = state.integers;
  if (state.low !== null) {
    integers = makeIntegers(state.type, state.low.length);
    // Storing into a 64-bit array keeps the low 64 bits, as Go's addition does.
    for (let cell = 0; cell < state.low.length; cell++)
      integers[cell] = (BigInt(state.high![cell]!) << 32n) + BigInt(state.low[cell]!);
  }
  return {
    count: state.count,
    numbers: state.numbers,
    integers,
    strings: state.strings,
    times: state.times,
    numbers2: state.numbers2,
    integers2: state.integers2,
    picked,
  };
}
