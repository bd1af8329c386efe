/**
 * Numbers below a bound b that is no power of two, k of them as one number t = n0 + n1 b + n2 b^2 ..: steps of a random
 * walk between -100 and 100 take 23 bits per three instead of 24.
 *
 * Tuples stand in groups of four, so that whole vectors are taken apart: of the 4k numbers of a group, the first of the
 * four tuples holds numbers 0, 4, 8 .., the second 1, 5, 9 .. A group is filled up with zeros. Division by b is a
 * multiplication with its rounded-up inverse (Granlund & Montgomery, "Division by Invariant Integers using
 * Multiplication", PLDI 1994), exact because t < 2^25.
 */
import { bitsOf, unpack, VECTOR_WIDTH_MAX } from './bit-width';
import { scratch, scratchMark, scratchRelease } from './arena';

export const DIGITS_MAX: u32 = 5;

/** Bits of a tuple of `digits` numbers below `bound`; 0 when it is too wide to be used. */
export function tupleWidth(bound: u32, digits: u32): u32 {
  let most: u64 = 1;
  for (let i: u32 = 0; i < digits; i++) {
    most *= bound;
    if (most > 1 << VECTOR_WIDTH_MAX) return 0;
  }
  return bitsOf(<u32>most - 1);
}

/** How many numbers a tuple best has; 0 when plain bits are as good. */
export function bestDigits(bound: u32): u32 {
  let best: u32 = 0;
  let bestWidth = bitsOf(bound - 1);
  let bestCount: u32 = 1;
  for (let digits: u32 = 2; digits <= DIGITS_MAX; digits++) {
    const width = tupleWidth(bound, digits);
    if (width == 0) break;
    if (width * bestCount < bestWidth * digits) {
      best = digits;
      bestWidth = width;
      bestCount = digits;
    }
  }
  return best;
}

/** Tuples for `count` numbers: whole groups. */
@inline
export function tuplesFor(count: u32, digits: u32): u32 {
  return ((count + (digits << 2) - 1) / (digits << 2)) << 2;
}

/** Numbers at or above the bound count as 0 here. `values` is readable, and written, to the end of the last group. */
export function joinTuples(values: usize, count: u32, bound: u32, digits: u32, into: usize): void {
  const groups = tuplesFor(count, digits) >>> 2;
  memory.fill(values + (<usize>count << 2), 0, <usize>(groups * (digits << 2) - count) << 2);
  const factor = i32x4.splat(bound);
  let to = into;
  let group = values;
  const bytes = <usize>digits << 4;
  for (let g: u32 = 0; g < groups; g++) {
    let tuple = i32x4.splat(0);
    for (let digit = group + bytes - 16; digit >= group; digit -= 16) {
      const number = v128.load(digit);
      tuple = i32x4.add(i32x4.mul(tuple, factor), v128.and(number, i32x4.lt_u(number, factor)));
    }
    v128.store(to, tuple);
    to += 16;
    group += bytes;
  }
}

@inline
function divided(tuple: v128, inverse: v128, shift: u32): v128 {
  const low = i64x2.extmul_low_i32x4_u(tuple, inverse);
  const high = i64x2.extmul_high_i32x4_u(tuple, inverse);
  const upper = i8x16.shuffle(low, high, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  return i32x4.shr_u(upper, shift);
}

/** Tuples at a time: what lies between the two steps stays in the nearest cache. */
const CHUNK: u32 = 1024;

/** The numbers of `tuples` packed tuples, from a whole byte on; writes up to 8k numbers beyond the end. */
export function splitTuples(from: usize, tuples: u32, bound: u32, digits: u32, into: usize): void {
  const width = tupleWidth(bound, digits);
  const shift = bitsOf(bound - 1) - 1;
  const inverse = i32x4.splat(<u32>((<u64>1 << (32 + shift)) / bound + 1));
  const factor = i32x4.splat(bound);
  const mark = scratchMark();
  const chunk = scratch(<usize>CHUNK << 2);
  let to = into;
  for (let done: u32 = 0; done < tuples; done += CHUNK) {
    const count = min(CHUNK, tuples - done);
    unpack(from + ((<usize>done * width) >>> 3), width, chunk, count);
    const end = chunk + (<usize>count << 2);
    if (digits == 3) {
      for (let at = chunk; at < end; at += 16) {
        const t = v128.load(at);
        const a = divided(t, inverse, shift);
        const b = divided(a, inverse, shift);
        v128.store(to, i32x4.sub(t, i32x4.mul(a, factor)));
        v128.store(to, i32x4.sub(a, i32x4.mul(b, factor)), 16);
        v128.store(to, b, 32);
        to += 48;
      }
    } else {
      for (let at = chunk; at < end; at += 16) {
        let t = v128.load(at);
        for (let digit: u32 = 1; digit < digits; digit++) {
          const rest = divided(t, inverse, shift);
          v128.store(to, i32x4.sub(t, i32x4.mul(rest, factor)));
          t = rest;
          to += 16;
        }
        v128.store(to, t);
        to += 16;
      }
    }
  }
  scratchRelease(mark);
}
