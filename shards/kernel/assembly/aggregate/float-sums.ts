/**
 * Sums of the floats of a run, as shards/query/float-sum.ts defines them: the exact sum of decimals, rounded once, else four
 * sums. Decimals that are there as whole numbers are added as such, whatever divisor their block gave them.
 */
import { scratch, scratchMark, scratchRelease } from '../codec/arena';
import { divisorOfScaled } from '../codec/decimals';
import { offsetOfNarrow } from '../codec/numbers';

/** Of fewer values the four sums are taken: they are what adding one after the other gives, or near it. */
export const EXACT_COUNT_MIN: u32 = 4;
/** Four places. */
export const PLACES: f64 = 10000;
/** So much, in units of the last place, the sizes of the values come to at most: any sum of some of them is exact. */
const EXACT_BELOW: f64 = 2251799813685248;
/** Adding and subtracting 1.5 * 2^52 rounds to a whole number. Holds below 2^51. */
const ROUND: f64 = 6755399441055744;
/** Values between two looks at whether all were decimals. */
const STRETCH: u32 = 16;

@inline
function floatAt(values: usize, row: u32): f64 {
  return load<f64>(values + (<usize>row << 3));
}

/** Of `held` values among those of from .. to - 1; `present`: one byte a row, or 0 when each row has one. */
export function sumFloats(values: usize, present: usize, from: u32, to: u32, held: u32): f64 {
  if (held >= EXACT_COUNT_MIN) {
    const sum = present == 0 ? exactSum(values, from, to) : exactSumOfPresent(values, present, from, to);
    if (sum == sum) return sum;
  }
  return present == 0 ? fourSums(values, from, to) : fourSumsOfPresent(values, present, from, to);
}

/** NaN: some value is no such decimal, or they are too large. */
function exactSum(values: usize, from: u32, to: u32): f64 {
  const places = f64x2.splat(PLACES);
  const round = f64x2.splat(ROUND);
  let sums = f64x2.splat(0);
  let sizes = f64x2.splat(0);
  let row = from;
  while (row + 1 < to) {
    const end = min(row + STRETCH, to - 1);
    let good = i64x2.splat(-1);
    for (; row < end; row += 2) {
      const value = v128.load(values + (<usize>row << 3));
      const whole = f64x2.sub(f64x2.add(f64x2.mul(value, places), round), round);
      good = v128.and(good, f64x2.eq(f64x2.div(whole, places), value));
      sums = f64x2.add(sums, whole);
      sizes = f64x2.add(sizes, f64x2.abs(whole));
    }
    if (!i64x2.all_true(good)) return NaN;
  }
  let sum = f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
  let size = f64x2.extract_lane(sizes, 0) + f64x2.extract_lane(sizes, 1);
  if (row < to) {
    const value = floatAt(values, row);
    const whole = value * PLACES + ROUND - ROUND;
    if (whole / PLACES != value) return NaN;
    sum += whole;
    size += abs(whole);
  }
  return size < EXACT_BELOW ? sum / PLACES : NaN;
}

function exactSumOfPresent(values: usize, present: usize, from: u32, to: u32): f64 {
  let sum: f64 = 0;
  let size: f64 = 0;
  for (let row = from; row < to; row++) {
    if (load<u8>(present + row) == 0) continue;
    const value = floatAt(values, row);
    const whole = value * PLACES + ROUND - ROUND;
    if (whole / PLACES != value) return NaN;
    sum += whole;
    size += abs(whole);
  }
  return size < EXACT_BELOW ? sum / PLACES : NaN;
}

function fourSums(values: usize, from: u32, to: u32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let row = from;
  for (; row + 3 < to; row += 4) {
    const at = values + (<usize>row << 3);
    low = f64x2.add(low, v128.load(at));
    high = f64x2.add(high, v128.load(at, 16));
  }
  let s0 = f64x2.extract_lane(low, 0);
  let s1 = f64x2.extract_lane(low, 1);
  let s2 = f64x2.extract_lane(high, 0);
  if (row < to) s0 += floatAt(values, row);
  if (row + 1 < to) s1 += floatAt(values, row + 1);
  if (row + 2 < to) s2 += floatAt(values, row + 2);
  return s0 + s1 + (s2 + f64x2.extract_lane(high, 1));
}

function fourSumsOfPresent(values: usize, present: usize, from: u32, to: u32): f64 {
  let s0: f64 = 0;
  let s1: f64 = 0;
  let s2: f64 = 0;
  let s3: f64 = 0;
  let lane: u32 = 0;
  for (let row = from; row < to; row++) {
    if (load<u8>(present + row) == 0) continue;
    const value = floatAt(values, row);
    if (lane == 0) s0 += value;
    else if (lane == 1) s1 += value;
    else if (lane == 2) s2 += value;
    else s3 += value;
    lane = (lane + 1) & 3;
  }
  return s0 + s1 + (s2 + s3);
}

/** The same of scaled whole numbers (i32), each to be added to the offset and divided by the divisor. */
export function sumScaled(values: usize, from: u32, to: u32): f64 {
  const offset = offsetOfNarrow();
  const divisor = divisorOfScaled();
  if (to - from < EXACT_COUNT_MIN) return fourSumsOfScaled(values, from, to, offset, divisor);
  if (divisor > PLACES) return sumOfQuotients(values, from, to, offset, divisor);
  const sum = exactSumOfScaled(values, from, to, offset, PLACES / divisor);
  return sum == sum ? sum : fourSumsOfScaled(values, from, to, offset, divisor);
}

function exactSumOfScaled(values: usize, from: u32, to: u32, offset: f64, factor: f64): f64 {
  let lanes = i32x4.splat(0);
  let bits = i32x4.splat(0);
  let at = values + (<usize>from << 2);
  const end = values + (<usize>to << 2);
  for (; at + 16 <= end; at += 16) {
    const four = v128.load(at);
    lanes = i32x4.add(lanes, four);
    bits = v128.or(bits, four);
  }
  let rest: i64 = 0;
  let most: u32 = 0;
  for (; at < end; at += 4) {
    rest += load<i32>(at);
    most |= load<u32>(at);
  }
  most |= orOfLanes(bits);
  if (<f64>most * <f64>(to - from) >= 2147483648) return exactSumOfLarge(values, from, to, offset, factor);
  rest += i32x4.extract_lane(lanes, 0);
  rest += i32x4.extract_lane(lanes, 1);
  rest += i32x4.extract_lane(lanes, 2);
  rest += i32x4.extract_lane(lanes, 3);
  const sum = exactSumOfTotal(rest, to - from, offset, factor);
  return sum == sum ? sum : exactSumOfLarge(values, from, to, offset, factor);
}

/** Of numbers that add up to `total` without their offsets, being all at least 0 then. NaN: they may be too large. */
export function exactSumOfTotal(total: i64, count: u32, offset: f64, factor: f64): f64 {
  const offsets = offset * <f64>count;
  const size = (abs(offsets) + <f64>total) * factor;
  return size < EXACT_BELOW ? ((<f64>total + offsets) * factor) / PLACES : NaN;
}

@inline
export function orOfLanes(lanes: v128): u32 {
  const halves = v128.or(lanes, i8x16.shuffle(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return <u32>i32x4.extract_lane(halves, 0) | <u32>i32x4.extract_lane(halves, 1);
}

/** One by one. */
function exactSumOfLarge(values: usize, from: u32, to: u32, offset: f64, factor: f64): f64 {
  let sum: f64 = 0;
  let size: f64 = 0;
  const end = values + (<usize>to << 2);
  for (let at = values + (<usize>from << 2); at < end; at += 4) {
    const whole = (<f64>load<i32>(at) + offset) * factor;
    sum += whole;
    size += abs(whole);
    if (!(size < EXACT_BELOW)) return NaN;
  }
  return sum / PLACES;
}

/** Of more places: some of them, or all, may be zeros. */
function sumOfQuotients(values: usize, from: u32, to: u32, offset: f64, divisor: f64): f64 {
  const mark = scratchMark();
  const count = to - from;
  const quotients = scratch(<usize>count << 3);
  for (let i: u32 = 0; i < count; i++)
    store<f64>(quotients + (<usize>i << 3), (<f64>load<i32>(values + (<usize>(from + i) << 2)) + offset) / divisor);
  const sum = sumFloats(quotients, 0, 0, count, count);
  scratchRelease(mark);
  return sum;
}

export function fourSumsOfScaled(values: usize, from: u32, to: u32, offset: f64, divisor: f64): f64 {
  const offsets = f64x2.splat(offset);
  const divisors = f64x2.splat(divisor);
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let at = values + (<usize>from << 2);
  const end = values + (<usize>to << 2);
  for (; at + 16 <= end; at += 16) {
    const four = v128.load(at);
    const upper = i8x16.shuffle(four, four, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
    low = f64x2.add(low, f64x2.div(f64x2.add(f64x2.convert_low_i32x4_s(four), offsets), divisors));
    high = f64x2.add(high, f64x2.div(f64x2.add(f64x2.convert_low_i32x4_s(upper), offsets), divisors));
  }
  let s0 = f64x2.extract_lane(low, 0);
  let s1 = f64x2.extract_lane(low, 1);
  let s2 = f64x2.extract_lane(high, 0);
  if (at < end) s0 += (<f64>load<i32>(at) + offset) / divisor;
  if (at + 4 < end) s1 += (<f64>load<i32>(at, 4) + offset) / divisor;
  if (at + 8 < end) s2 += (<f64>load<i32>(at, 8) + offset) / divisor;
  return s0 + s1 + (s2 + f64x2.extract_lane(high, 1));
}
