/**
 * Least, greatest and sum of a column, for the head of its block. They cover every stored fragment, overwritten and
 * deleted ones too: whoever uses them makes sure first that the block's rows are all visible.
 *
 * Layout of a result: i32 there is a range (0 or 1); from 8 on: least and greatest, float64 or 64-bit integers; u64 lower
 * and i64 upper half of a 128-bit sum of integers, or the number of true booleans.
 */

export const STATISTICS_BYTES: usize = 40;

function clear(into: usize): void {
  memory.fill(into, 0, STATISTICS_BYTES);
}

/** No range of a column that is empty or has a NaN, which compares with nothing. */
export function floatStatistics(values: usize, count: u32, into: usize): void {
  clear(into);
  let lows = f64x2.splat(Infinity);
  let highs = f64x2.splat(-Infinity);
  let numbers = i64x2.splat(-1);
  const end = values + (<usize>count << 3);
  let at = values;
  for (; at + 16 <= end; at += 16) {
    const pair = v128.load(at);
    numbers = v128.and(numbers, f64x2.eq(pair, pair));
    lows = f64x2.pmin(lows, pair);
    highs = f64x2.pmax(highs, pair);
  }
  if (at < end) {
    const one = v128.load64_splat(at);
    numbers = v128.and(numbers, f64x2.eq(one, one));
    lows = f64x2.pmin(lows, one);
    highs = f64x2.pmax(highs, one);
  }
  if (count == 0 || !i64x2.all_true(numbers)) return;
  store<i32>(into, 1);
  store<f64>(into, min(f64x2.extract_lane(lows, 0), f64x2.extract_lane(lows, 1)), 8);
  store<f64>(into, max(f64x2.extract_lane(highs, 0), f64x2.extract_lane(highs, 1)), 16);
}

/** The sums of the halves stay below 2^50 (rows below 2^18). */
export function integerStatistics(values: usize, count: u32, signed: bool, into: usize): void {
  clear(into);
  if (count == 0) return;
  // With the sign bit flipped, unsigned numbers compare as signed ones.
  const flip = signed ? 0 : i64.MIN_VALUE;
  let low = i64.MAX_VALUE;
  let high = i64.MIN_VALUE;
  let lowerSum: u64 = 0;
  let upperSum: i64 = 0;
  const end = values + (<usize>count << 3);
  for (let at = values; at < end; at += 8) {
    const value = load<i64>(at);
    low = min(low, value ^ flip);
    high = max(high, value ^ flip);
    lowerSum += <u32>value;
    upperSum += signed ? value >> 32 : <i64>(<u64>value >> 32);
  }
  // upperSum * 2^32 + lowerSum in 128 bits.
  const lower = (<u64>upperSum << 32) + lowerSum;
  const carry: i64 = lower < lowerSum ? 1 : 0;
  store<i32>(into, 1);
  store<i64>(into, low ^ flip, 8);
  store<i64>(into, high ^ flip, 16);
  store<u64>(into, lower, 24);
  store<i64>(into, (upperSum >> 32) + carry, 32);
}

export function booleanStatistics(values: usize, count: u32, into: usize): void {
  clear(into);
  let sum: u64 = 0;
  for (let at = values; at < values + count; at++) sum += load<u8>(at);
  store<u64>(into, sum, 24);
}
