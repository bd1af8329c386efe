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

/** Up to here three digits are taken apart at once. */
const THREE_BOUND_MAX: u32 = 255;
/** Tuples at a time: what lies between the steps stays in the nearest cache. */
const CHUNK: u32 = 1024;

/** The numbers of `tuples` packed tuples, from a whole byte on; writes up to 8k numbers beyond the end. */
export function splitTuples(from: usize, tuples: u32, bound: u32, digits: u32, into: usize): void {
  const width = tupleWidth(bound, digits);
  const mark = scratchMark();
  const chunk = scratch(<usize>CHUNK << 2);
  const stride = <usize>digits << 4;
  let to = into;
  for (let done: u32 = 0; done < tuples; done += CHUNK) {
    const count = min(CHUNK, tuples - done);
    unpack(from + ((<usize>done * width) >>> 3), width, chunk, count);
    const end = chunk + (<usize>count << 2);
    if (digits == 3 && bound <= THREE_BOUND_MAX) splitThree(chunk, end, bound, to);
    else {
      let below: u32 = 1;
      for (let digit: u32 = 0; digit < digits; digit++) below *= bound;
      let at = to;
      for (let digit: u32 = 2; digit < digits; digit++) {
        takeDigit(chunk, end, bound, below, at, stride, chunk, 16);
        below /= bound;
        at += 16;
      }
      takeDigit(chunk, end, bound, below, at, stride, at + 16, stride);
    }
    to += <usize>(count >>> 2) * stride;
  }
  scratchRelease(mark);
}

/** What walks mostly have: the inverses are exact without a further shift, since bound^4 < 2^32 and bound^3 < 2^24. */
function splitThree(from: usize, end: usize, bound: u32, into: usize): void {
  const factor = i32x4.splat(bound);
  const inverse = i32x4.splat(<u32>((<u64>1 << 32) / bound + 1));
  const inverseOfRest = i32x4.splat((1 << 24) / bound + 1);
  let at = from;
  let to = into;
  do {
    const tuple = v128.load(at);
    const rest = upperProduct(tuple, inverse);
    const last = i32x4.shr_u(i32x4.mul(rest, inverseOfRest), 24);
    v128.store(to, i32x4.sub(tuple, i32x4.mul(rest, factor)));
    v128.store(to, i32x4.sub(rest, i32x4.mul(last, factor)), 16);
    v128.store(to, last, 32);
    at += 16;
    to += 48;
  } while (at < end);
}

/** The upper halves of products of 64 bits. */
@inline
function upperProduct(a: v128, b: v128): v128 {
  const low = i64x2.extmul_low_i32x4_u(a, b);
  const high = i64x2.extmul_high_i32x4_u(a, b);
  return i8x16.shuffle(low, high, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

/**
 * Divides numbers smaller than `below` by the bound: what is left over of each four goes to `digits`, the quotients to
 * `rests`, `stride` and `restStride` bytes from one four to the next.
 */
function takeDigit(
  from: usize,
  end: usize,
  bound: u32,
  below: u32,
  digits: usize,
  stride: usize,
  rests: usize,
  restStride: usize,
): void {
  const factor = i32x4.splat(bound);
  // As many bits as products of 32 bits leave to the inverse: mostly enough.
  const bits = clz(below / bound) - 1;
  const short = (1 << bits) / bound + 1;
  let at = from;
  let to = digits;
  let rest = rests;
  if (<u64>(short * bound - (1 << bits)) * below < <u64>1 << bits) {
    const inverse = i32x4.splat(short);
    do {
      const number = v128.load(at);
      const quotient = i32x4.shr_u(i32x4.mul(number, inverse), bits);
      v128.store(to, i32x4.sub(number, i32x4.mul(quotient, factor)));
      v128.store(rest, quotient);
      at += 16;
      to += stride;
      rest += restStride;
    } while (at < end);
    return;
  }
  const shift = bitsOf(bound - 1) - 1;
  const inverse = i32x4.splat(<u32>((<u64>1 << (32 + shift)) / bound + 1));
  do {
    const number = v128.load(at);
    const quotient = i32x4.shr_u(upperProduct(number, inverse), shift);
    v128.store(to, i32x4.sub(number, i32x4.mul(quotient, factor)));
    v128.store(rest, quotient);
    at += 16;
    to += stride;
    rest += restStride;
  } while (at < end);
}
