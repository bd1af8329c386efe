/**
 * The sum of the floats of a run (AggregateRuns in ../queryable.ts). This is its definition; kernels that compute the same
 * are compared with it.
 *
 * Four values and more that are decimals of at most four places are added exactly, and their sum is rounded once: it does not
 * depend on an order then, and blocks, which hold decimals as whole numbers, add those. Of other values, and of fewer, the
 * sum is four sums, value i being added to sum i mod 4, so that four additions are under way at once.
 */

const EXACT_COUNT_MIN = 4;
/** Four places. */
const PLACES = 10_000;
/** So much, in units of the last place, the sizes of the values come to at most: any sum of some of them is exact. */
const EXACT_BELOW = 2 ** 51;
/** Adding and subtracting this rounds to a whole number. Holds below 2^51. */
const ROUND = 1.5 * 2 ** 52;

/** Of `count` values in rows from .. to - 1; `mask` has one byte per row (1 = the row counts) or is null. */
export function sumFloats(
  values: Float64Array,
  mask: Uint8Array | null,
  from: number,
  to: number,
  count: number,
): number {
  if (count >= EXACT_COUNT_MIN) {
    const sum = exactSum(values, mask, from, to);
    if (sum !== null) return sum;
  }
  return fourSums(values, mask, from, to);
}

/** null: some value is no such decimal, or they are too large. */
function exactSum(values: Float64Array, mask: Uint8Array | null, from: number, to: number): number | null {
  let sum = 0;
  let size = 0;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    const value = values[i]!;
    const whole = value * PLACES + ROUND - ROUND;
    if (whole / PLACES !== value) return null;
    sum += whole;
    size += Math.abs(whole);
  }
  return size < EXACT_BELOW ? sum / PLACES : null;
}

function fourSums(values: Float64Array, mask: Uint8Array | null, from: number, to: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  if (mask === null) {
    let i = from;
    for (; i + 3 < to; i += 4) {
      s0 += values[i]!;
      s1 += values[i + 1]!;
      s2 += values[i + 2]!;
      s3 += values[i + 3]!;
    }
    if (i < to) s0 += values[i]!;
    if (i + 1 < to) s1 += values[i + 1]!;
    if (i + 2 < to) s2 += values[i + 2]!;
  } else {
    for (let i = from, lane = 0; i < to; i++) {
      if (mask[i] === 0) continue;
      const value = values[i]!;
      if (lane === 0) s0 += value;
      else if (lane === 1) s1 += value;
      else if (lane === 2) s2 += value;
      else s3 += value;
      lane = (lane + 1) & 3;
    }
  }
  return s0 + s1 + (s2 + s3);
}
