/**
 * Whole numbers of any size in spans: narrow when they lie within 2^31 of their least, wide otherwise.
 *
 * They come and go as float64 holding whole numbers up to 2^53 (times, scaled decimals, ids) or as 64-bit integers.
 * Layout: byte form (0 narrow, 1 wide); narrow: f64 offset, narrow sequence of number - offset; wide: wide sequence.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { fail, failed, TOO_LARGE, UNKNOWN_FORM } from './failure';
import { writeNarrow } from './narrow';
import { openNarrow, readNarrow } from './narrow-read';
import { readF64, readU8 } from './reader';
import { readWide, writeWide } from './wide';
import { writeF64, writeU8 } from './writer';

const NARROW: u32 = 0;
const WIDE: u32 = 1;
const NARROW_MAX: f64 = 2147483647;
const SAFE_MAX: f64 = 9007199254740991;
/** Integers beyond this are not handled as float64. */
const EXACT_MAX: i64 = 1 << 52;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/** `values` are whole numbers of a size up to 2^53, none of them -0. */
export function writeNumbers(values: usize, starts: usize, spans: u32): void {
  const count = at32(starts, spans);
  let low: f64 = 0;
  let high: f64 = 0;
  if (count > 0) {
    low = load<f64>(values);
    high = low;
    const end = values + (<usize>count << 3);
    let at = values;
    let lows = f64x2.splat(low);
    let highs = lows;
    for (; at + 16 <= end; at += 16) {
      const pair = v128.load(at);
      lows = f64x2.pmin(lows, pair);
      highs = f64x2.pmax(highs, pair);
    }
    low = min(f64x2.extract_lane(lows, 0), f64x2.extract_lane(lows, 1));
    high = max(f64x2.extract_lane(highs, 0), f64x2.extract_lane(highs, 1));
    if (at < end) {
      low = min(low, load<f64>(at));
      high = max(high, load<f64>(at));
    }
  }
  writeNumbersWithin(values, starts, spans, low, high);
}

/** The same where the least and the greatest are known. */
export function writeNumbersWithin(values: usize, starts: usize, spans: u32, low: f64, high: f64): void {
  const count = at32(starts, spans);
  const mark = scratchMark();
  if (high - low <= NARROW_MAX) {
    const narrow = scratch((<usize>count << 2) + 128);
    const lows = f64x2.splat(low);
    const end = values + (<usize>count << 3);
    let to = narrow;
    let at = values;
    for (; at + 32 <= end; at += 32) {
      const a = i32x4.trunc_sat_f64x2_s_zero(f64x2.sub(v128.load(at), lows));
      const b = i32x4.trunc_sat_f64x2_s_zero(f64x2.sub(v128.load(at, 16), lows));
      v128.store(to, i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
      to += 16;
    }
    for (; at < end; at += 8) {
      store<i32>(to, <i32>(load<f64>(at) - low));
      to += 4;
    }
    writeU8(NARROW);
    writeF64(low);
    writeNarrow(narrow, starts, spans);
  } else {
    const wide = scratch(<usize>count << 3);
    for (let i: u32 = 0; i < count; i++) {
      store<i64>(wide + (<usize>i << 3), <i64>load<f64>(values + (<usize>i << 3)));
    }
    writeU8(WIDE);
    writeWide(wide, starts, spans);
  }
  scratchRelease(mark);
}

/** `values` are int64, or uint64 when not `signed`; low and high are their least and greatest as such. */
export function writeIntegers(values: usize, starts: usize, spans: u32, signed: bool, low: i64, high: i64): void {
  const count = at32(starts, spans);
  const exact = count == 0 || (low >= (signed ? -EXACT_MAX : 0) && low <= high && high < EXACT_MAX);
  if (!exact || <f64>high - <f64>low > NARROW_MAX) {
    writeU8(WIDE);
    writeWide(values, starts, spans);
    return;
  }
  const mark = scratchMark();
  const base = count == 0 ? 0 : low;
  const narrow = scratch((<usize>count << 2) + 128);
  for (let i: u32 = 0; i < count; i++) {
    store<i32>(narrow + (<usize>i << 2), <i32>(load<i64>(values + (<usize>i << 3)) - base));
  }
  writeU8(NARROW);
  writeF64(<f64>base);
  writeNarrow(narrow, starts, spans);
  scratchRelease(mark);
}

function readOffset(): f64 {
  const offset = readF64();
  if (!(abs(offset) <= SAFE_MAX) || trunc(offset) != offset) fail(TOO_LARGE);
  return offset;
}

/** Spans fromSpan .. toSpan - 1, each number divided by `divisor`, as float64 from `into` on (and up to a vector more). */
export function readNumbers(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, divisor: f64, into: usize): void {
  const form = readU8();
  const count = at32(starts, toSpan) - at32(starts, fromSpan);
  const mark = scratchMark();
  if (form == NARROW) {
    const offset = readOffset();
    if (failed()) return;
    const narrow = scratch((<usize>count << 2) + 128);
    readNarrow(starts, spans, fromSpan, toSpan, narrow);
    if (!failed()) widen(narrow, count, offset, divisor, into);
  } else if (form == WIDE) {
    const wide = scratch(<usize>count << 3);
    readWide(starts, spans, fromSpan, toSpan, wide);
    if (!failed()) {
      for (let i: u32 = 0; i < count; i++) {
        store<f64>(into + (<usize>i << 3), <f64>load<i64>(wide + (<usize>i << 3)) / divisor);
      }
    }
  } else fail(UNKNOWN_FORM);
  scratchRelease(mark);
}

/** Of the last `openNarrowNumbers`: what is to be added to its numbers. */
let narrowOffset: f64 = 0;

export function offsetOfNarrow(): f64 {
  return narrowOffset;
}

/** Opens the numbers without their offset (narrow-read.ts), when they are narrow: else false, and the reader stands anywhere. */
export function openNarrowNumbers(starts: usize, spans: u32, fromSpan: u32, toSpan: u32): bool {
  if (readU8() != NARROW) return false;
  narrowOffset = readOffset();
  if (!failed()) openNarrow(starts, spans, fromSpan, toSpan);
  return !failed();
}

/**
 * A number below 2^32 under this upper half is a float64 of 2^52 more: taking 2^52 less the offset away converts a number
 * and adds the offset, exactly.
 */
const UPPER_HALF: i32 = 0x43300000;
const AS_MUCH_MORE: f64 = 4503599627370496;
/**
 * A whole number below 2^33 is divided by a divisor up to this by two products: with the first 20 bits of the inverse, which
 * is exact, and with what is left of it, which is off by less than 2^-71 of the quotient. Their sum is the quotient rounded
 * correctly, for no quotient lies as near to the middle of two float64 as that: 2^-54 of it over the divisor, at least.
 */
const PRODUCT_DIVISOR_MAX: f64 = 100000;
const PRODUCT_OFFSET_MAX: f64 = 2147483648;
const FIRST_20_BITS: u64 = 0xfffffffe00000000;

@inline
function lowPair(four: v128, subtrahend: v128): v128 {
  const uppers = i32x4.splat(UPPER_HALF);
  return f64x2.sub(
    i8x16.shuffle(four, uppers, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23),
    subtrahend,
  );
}

@inline
function highPair(four: v128, subtrahend: v128): v128 {
  const uppers = i32x4.splat(UPPER_HALF);
  return f64x2.sub(
    i8x16.shuffle(four, uppers, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31),
    subtrahend,
  );
}

@inline
function productPair(numbers: v128, first: v128, rest: v128): v128 {
  return f64x2.add(f64x2.mul(numbers, first), f64x2.mul(numbers, rest));
}

function widen(narrow: usize, count: u32, offset: f64, divisor: f64, into: usize): void {
  const fours = count & ~3;
  widenFours(narrow, fours, offset, divisor, into);
  for (let i = fours; i < count; i++) store<f64>(into + (<usize>i << 3), (<f64>at32(narrow, i) + offset) / divisor);
}

/** Loops test at their end: V8 would move the constants of one that tests at its beginning into it, and a division with them. */
function widenFours(narrow: usize, count: u32, offset: f64, divisor: f64, into: usize): void {
  if (count == 0) return;
  const subtrahend = f64x2.splat(AS_MUCH_MORE - offset);
  const end = narrow + (<usize>count << 2);
  let at = narrow;
  let to = into;
  if (divisor == 1) {
    do {
      const four = v128.load(at);
      v128.store(to, lowPair(four, subtrahend));
      v128.store(to, highPair(four, subtrahend), 16);
      at += 16;
      to += 32;
    } while (at < end);
  } else if (divisor <= PRODUCT_DIVISOR_MAX && abs(offset) <= PRODUCT_OFFSET_MAX) {
    const first = reinterpret<f64>(reinterpret<u64>(1 / divisor) & FIRST_20_BITS);
    const firsts = f64x2.splat(first);
    const rests = f64x2.splat((1 - first * divisor) / divisor);
    do {
      const four = v128.load(at);
      v128.store(to, productPair(lowPair(four, subtrahend), firsts, rests));
      v128.store(to, productPair(highPair(four, subtrahend), firsts, rests), 16);
      at += 16;
      to += 32;
    } while (at < end);
  } else {
    const divisors = f64x2.splat(divisor);
    do {
      const four = v128.load(at);
      v128.store(to, f64x2.div(lowPair(four, subtrahend), divisors));
      v128.store(to, f64x2.div(highPair(four, subtrahend), divisors), 16);
      at += 16;
      to += 32;
    } while (at < end);
  }
}

/** The same as 64-bit integers. */
export function readIntegers(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  const form = readU8();
  if (form == WIDE) {
    readWide(starts, spans, fromSpan, toSpan, into);
    return;
  }
  if (form != NARROW) {
    fail(UNKNOWN_FORM);
    return;
  }
  const offset = readOffset();
  if (failed()) return;
  const mark = scratchMark();
  const count = at32(starts, toSpan) - at32(starts, fromSpan);
  const narrow = scratch((<usize>count << 2) + 128);
  readNarrow(starts, spans, fromSpan, toSpan, narrow);
  if (!failed()) {
    const offsets = i64x2.splat(<i64>offset);
    let to = into;
    const end = narrow + (<usize>count << 2);
    for (let at = narrow; at < end; at += 8) {
      v128.store(to, i64x2.add(i64x2.extend_low_i32x4_s(v128.load64_zero(at)), offsets));
      to += 16;
    }
  }
  scratchRelease(mark);
}
