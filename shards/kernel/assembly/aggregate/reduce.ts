/**
 * Runs of values to one value each, as shards/query/run-buffer.ts defines it: sums of floats (float-sums.ts), the
 * earliest of equal extremes, integer sums modulo 2^64.
 *
 * Results are appended to columns: u32 places and windows, f64 counts, 8 bytes values (float64 or 64-bit integer), f64
 * times of picked rows, 8 bytes second values (spread's greatest). Runs without a value are left out.
 */
import { FLOAT, INTEGER, BOOLEAN } from '../codec/columns';
import { divisorOfScaled } from '../codec/decimals';
import { offsetOfNarrow } from '../codec/numbers';
import { sumFloats, sumScaled } from './float-sums';
import { RUN_BYTES } from './runs';

/** Floats as whole numbers (i32) to be added to an offset and divided: those of codec/decimals.ts. */
const SCALED: u32 = 5;

const COUNT: u32 = 0;
const SUM: u32 = 1;
const MIN: u32 = 2;
const MAX: u32 = 3;
const FIRST: u32 = 4;
const LAST: u32 = 5;

@inline
function floatAt(values: usize, row: u32): f64 {
  return load<f64>(values + (<usize>row << 3));
}

/**
 * `values` as codec/columns.ts decodes them (type 5: as whole numbers), `present` one byte a row or 0; rows are those of
 * the runs. `fn`: count, sum, min, max, first, last, spread. Returns how many results there are behind this.
 */
export function reduceRuns(
  fn: u32,
  type: u32,
  values: usize,
  present: usize,
  times: usize,
  runs: usize,
  count: u32,
  results: u32,
  places: usize,
  windows: usize,
  counts: usize,
  outcomes: usize,
  pickTimes: usize,
  seconds: usize,
): u32 {
  let at = results;
  const end = runs + <usize>count * RUN_BYTES;
  for (let run = runs; run < end; run += RUN_BYTES) {
    const from = load<u32>(run);
    const to = load<u32>(run, 4);
    const held = present == 0 ? to - from : countPresent(present, from, to);
    if (held == 0) continue;
    store<u32>(places + (<usize>at << 2), load<u32>(run, 8));
    store<u32>(windows + (<usize>at << 2), load<u32>(run, 12));
    store<f64>(counts + (<usize>at << 3), <f64>held);
    const into = <usize>at << 3;
    if (fn == SUM) {
      if (type == SCALED) store<f64>(outcomes + into, sumScaled(values, from, to));
      else if (type == FLOAT) store<f64>(outcomes + into, sumFloats(values, present, from, to, held));
      else store<u64>(outcomes + into, sumIntegers(values, present, from, to));
    } else if (fn >= MIN && fn <= LAST) {
      const row = pickRow(fn, type, values, present, from, to);
      store<f64>(pickTimes + into, floatAt(times, row));
      copyValue(type, values, row, outcomes + into);
    } else if (fn != COUNT) {
      copyValue(type, values, pickRow(MIN, type, values, present, from, to), outcomes + into);
      copyValue(type, values, pickRow(MAX, type, values, present, from, to), seconds + into);
    }
    at++;
  }
  return at;
}

@inline
function copyValue(type: u32, values: usize, row: u32, into: usize): void {
  if (type == BOOLEAN) store<f64>(into, <f64>load<u8>(values + row));
  else if (type == SCALED) {
    store<f64>(into, (<f64>load<i32>(values + (<usize>row << 2)) + offsetOfNarrow()) / divisorOfScaled());
  } else store<u64>(into, load<u64>(values + (<usize>row << 3)));
}

function countPresent(present: usize, from: u32, to: u32): u32 {
  let held: u32 = 0;
  for (let row = from; row < to; row++) held += load<u8>(present + row);
  return held;
}

function sumIntegers(values: usize, present: usize, from: u32, to: u32): u64 {
  let sum: u64 = 0;
  for (let row = from; row < to; row++) {
    if (present == 0 || load<u8>(present + row) != 0) sum += load<u64>(values + (<usize>row << 3));
  }
  return sum;
}

/** The row that a selector takes; at least one row has a value. */
function pickRow(fn: u32, type: u32, values: usize, present: usize, from: u32, to: u32): u32 {
  if (fn == FIRST) {
    let row = from;
    if (present != 0) while (load<u8>(present + row) == 0) row++;
    return row;
  }
  if (fn == LAST) {
    let row = to - 1;
    if (present != 0) while (load<u8>(present + row) == 0) row--;
    return row;
  }
  if (type == SCALED) return extremeScaled(values, from, to, fn == MAX);
  if (type == FLOAT) return extremeFloat(values, present, from, to, fn == MAX);
  if (type == BOOLEAN) return extremeByte(values, present, from, to, fn == MAX);
  return extremeInteger(values, present, from, to, fn == MAX, type == INTEGER);
}

function extremeFloat(values: usize, present: usize, from: u32, to: u32, greatest: bool): u32 {
  if (present == 0 && to - from >= 2) {
    const row =
      to - from <= 8 ? extremeOfFew(values, from, to, greatest) : extremeByVectors(values, from, to, greatest);
    if (row != NOT_FOUND) return row;
  }
  let best = NOT_FOUND;
  let value: f64 = 0;
  for (let row = from; row < to; row++) {
    if (present != 0 && load<u8>(present + row) == 0) continue;
    const next = floatAt(values, row);
    if (best == NOT_FOUND || (greatest ? next > value : next < value)) {
      best = row;
      value = next;
    }
  }
  return best;
}

const NOT_FOUND: u32 = 0xffffffff;

/**
 * Of two to eight values, without a branch on any of them: runs of a minute are that short, and which value is the
 * greatest cannot be foretold. Vectors beyond the end are the last one again. NOT_FOUND as below.
 */
@inline
function extremeOfFew(values: usize, from: u32, to: u32, greatest: bool): u32 {
  const start = values + (<usize>from << 3);
  const last = values + (<usize>to << 3) - 16;
  const b = min(start + 16, last);
  const c = min(start + 32, last);
  const d = min(start + 48, last);
  const v0 = v128.load(start);
  const v1 = v128.load(b);
  const v2 = v128.load(c);
  const v3 = v128.load(d);
  const low = greatest ? f64x2.pmax(v0, v1) : f64x2.pmin(v0, v1);
  const high = greatest ? f64x2.pmax(v2, v3) : f64x2.pmin(v2, v3);
  const both = greatest ? f64x2.pmax(low, high) : f64x2.pmin(low, high);
  const other = i8x16.shuffle(both, both, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  const wanted = greatest ? f64x2.pmax(both, other) : f64x2.pmin(both, other);
  const numbers = v128.and(
    v128.and(f64x2.eq(v0, v0), f64x2.eq(v1, v1)),
    v128.and(f64x2.eq(v2, v2), f64x2.eq(v3, v3)),
  );
  if (!i64x2.all_true(numbers)) return NOT_FOUND;
  const equal =
    i64x2.bitmask(f64x2.eq(v0, wanted)) |
    (i64x2.bitmask(f64x2.eq(v1, wanted)) << 2) |
    (i64x2.bitmask(f64x2.eq(v2, wanted)) << 4) |
    (i64x2.bitmask(f64x2.eq(v3, wanted)) << 6);
  const place = <u32>ctz(equal);
  return min(from + (place & ~1), to - 2) + (place & 1);
}

/** NOT_FOUND when a NaN is among the values, which equals nothing. */
function extremeByVectors(values: usize, from: u32, to: u32, greatest: bool): u32 {
  const start = values + (<usize>from << 3);
  const end = values + (<usize>to << 3);
  let a = v128.load(start);
  let b = v128.load(end - 16);
  let numbers = v128.and(f64x2.eq(a, a), f64x2.eq(b, b));
  let at = start;
  for (; at + 32 <= end; at += 32) {
    const one = v128.load(at);
    const other = v128.load(at, 16);
    numbers = v128.and(numbers, v128.and(f64x2.eq(one, one), f64x2.eq(other, other)));
    a = greatest ? f64x2.pmax(a, one) : f64x2.pmin(a, one);
    b = greatest ? f64x2.pmax(b, other) : f64x2.pmin(b, other);
  }
  // At most three are left; the last two of them are in b already.
  if (at + 16 <= end) {
    const one = v128.load(at);
    numbers = v128.and(numbers, f64x2.eq(one, one));
    a = greatest ? f64x2.pmax(a, one) : f64x2.pmin(a, one);
  }
  if (!i64x2.all_true(numbers)) return NOT_FOUND;
  const both = greatest ? f64x2.pmax(a, b) : f64x2.pmin(a, b);
  const x = f64x2.extract_lane(both, 0);
  const y = f64x2.extract_lane(both, 1);
  const wanted = f64x2.splat(greatest ? max(x, y) : min(x, y));
  for (at = start; at + 16 <= end; at += 16) {
    const equal = f64x2.eq(v128.load(at), wanted);
    if (v128.any_true(equal)) {
      const row = <u32>((at - values) >>> 3);
      return i64x2.extract_lane(equal, 0) != 0 ? row : row + 1;
    }
  }
  return to - 1;
}

/** Whole numbers are ordered as their quotients: no division for those that are not picked. */
function extremeScaled(values: usize, from: u32, to: u32, greatest: bool): u32 {
  const start = values + (<usize>from << 2);
  const end = values + (<usize>to << 2);
  if (to - from < 4) {
    let best = from;
    let value = load<i32>(start);
    for (let row = from + 1; row < to; row++) {
      const next = load<i32>(values + (<usize>row << 2));
      const better = greatest ? next > value : next < value;
      value = better ? next : value;
      best = better ? row : best;
    }
    return best;
  }
  let most = v128.load(end - 16);
  let at = start;
  for (; at + 16 <= end; at += 16) {
    most = greatest ? i32x4.max_s(most, v128.load(at)) : i32x4.min_s(most, v128.load(at));
  }
  const halves = i8x16.shuffle(most, most, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  most = greatest ? i32x4.max_s(most, halves) : i32x4.min_s(most, halves);
  const pairs = i8x16.shuffle(most, most, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  const wanted = greatest ? i32x4.max_s(most, pairs) : i32x4.min_s(most, pairs);
  for (at = start; at + 16 <= end; at += 16) {
    const equal = i32x4.bitmask(i32x4.eq(v128.load(at), wanted));
    if (equal != 0) return <u32>((at - values) >>> 2) + <u32>ctz(equal);
  }
  return to - 4 + <u32>ctz(i32x4.bitmask(i32x4.eq(v128.load(end - 16), wanted)));
}

function extremeByte(values: usize, present: usize, from: u32, to: u32, greatest: bool): u32 {
  let best = NOT_FOUND;
  let value: u32 = 0;
  for (let row = from; row < to; row++) {
    if (present != 0 && load<u8>(present + row) == 0) continue;
    const next = <u32>load<u8>(values + row);
    if (best == NOT_FOUND || (greatest ? next > value : next < value)) {
      best = row;
      value = next;
    }
  }
  return best;
}

function extremeInteger(values: usize, present: usize, from: u32, to: u32, greatest: bool, signed: bool): u32 {
  // With the sign bit flipped, unsigned numbers compare as signed ones.
  const flip = signed ? 0 : i64.MIN_VALUE;
  let best = NOT_FOUND;
  let value: i64 = 0;
  for (let row = from; row < to; row++) {
    if (present != 0 && load<u8>(present + row) == 0) continue;
    const next = load<i64>(values + (<usize>row << 3)) ^ flip;
    if (best == NOT_FOUND || (greatest ? next > value : next < value)) {
      best = row;
      value = next;
    }
  }
  return best;
}
