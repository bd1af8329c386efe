/**
 * Decimals: float64 values that came from short decimal texts, as whole numbers m with value = m / 10^e.
 *
 * One exponent per column of a block, found from a sample; a value that does not come back to the bit (more digits, -0,
 * NaN, infinities) is an exception, kept with its position and its eight bytes. Division by an exact power of ten (up to
 * 10^22) of an exact whole number (below 2^53) is rounded correctly, so that what a parser read from at most fifteen
 * digits always comes back. After ALP: Afroozeh, Kuffo, Boncz, "ALP: Adaptive Lossless floating-Point Compression",
 * SIGMOD 2024; unlike there the divisor is a power of ten alone, because batches hold the same form.
 * Layout: byte exponent; varint exceptions; numbers: positions (one span); words: their values; numbers: m per value.
 */
import { oneSpan, scratch, scratchMark, scratchRelease } from './arena';
import { fail, failed, TOO_LARGE } from './failure';
import { openNarrowNumbers, readNumbers, writeNumbers, writeNumbersWithin } from './numbers';
import { readCount, readU8, takeWords } from './reader';
import { roomForWords, writeU8, writeVarint } from './writer';

const EXPONENT_MAX: u32 = 22;
const POWERS: usize = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
]);
/** Beyond this a round trip by multiplication is rarely exact, and a search through more exponents is wasted. */
const EXPONENT_TRIED_MAX: u32 = 17;
const SAMPLES: u32 = 64;
/** Adding and subtracting 1.5 * 2^52 rounds to a whole number. Holds below 2^51. */
const ROUND: f64 = 6755399441055744;
const WHOLE_MAX: f64 = 2251799813685247;
const SIGN: i64 = i64.MIN_VALUE;

const votes: usize = memory.data(18 * 4, 16);

/** Of the last `scaleDecimals`. */
let lowest: f64 = 0;
let highest: f64 = 0;

@inline
export function powerOf(exponent: u32): f64 {
  return load<f64>(POWERS + (<usize>exponent << 3));
}

@inline
function comesBack(value: f64, power: f64): bool {
  const m = value * power + ROUND - ROUND;
  return m / power == value && m <= WHOLE_MAX && m >= -WHOLE_MAX && reinterpret<i64>(value) != SIGN;
}

@inline
function sampled(values: usize, count: u32, taken: u32, i: u32): f64 {
  return load<f64>(values + (<usize>((<u64>i * count) / taken) << 3));
}

/** The exponent under which most of a sample comes back exactly; -1 when under a quarter do. */
export function findExponent(values: usize, count: u32): i32 {
  const taken = min(count, SAMPLES);
  memory.fill(votes, 0, 18 * 4);
  let exact: u32 = 0;
  for (let i: u32 = 0; i < taken; i++) {
    const value = sampled(values, count, taken, i);
    // Not a number or so large that no power of ten makes it whole: no exponent is worth trying.
    if (!(abs(value) <= WHOLE_MAX)) continue;
    for (let e: u32 = 0; e <= EXPONENT_TRIED_MAX; e++) {
      if (!comesBack(value, powerOf(e))) continue;
      const counter = votes + (<usize>e << 2);
      store<u32>(counter, load<u32>(counter) + 1);
      exact++;
      break;
    }
  }
  if (taken == 0 || exact * 4 < taken) return -1;
  // A value that is exact under a small exponent is so under a greater one as well, as long as m stays small.
  let best = -1;
  let bestCount: u32 = 0;
  for (let e: u32 = 0; e <= EXPONENT_TRIED_MAX; e++) {
    if (load<u32>(votes + (<usize>e << 2)) == 0) continue;
    let holds: u32 = 0;
    for (let i: u32 = 0; i < taken; i++) if (comesBack(sampled(values, count, taken, i), powerOf(e))) holds++;
    // A greater exponent makes every number longer; it must win over 3 % of the values to be worth it.
    if (best < 0 || (holds > bestCount && (holds - bestCount) * 32 > taken)) {
      best = <i32>e;
      bestCount = holds;
    }
  }
  return bestCount * 4 < taken ? -1 : best;
}

/**
 * Puts m per value from `into` on and the positions (u32) of the exceptions from `positions` on; their m repeats the one
 * before. Returns how many exceptions there are.
 */
export function scaleDecimals(values: usize, count: u32, exponent: u32, into: usize, positions: usize): u32 {
  const power = powerOf(exponent);
  const powers = f64x2.splat(power);
  const round = f64x2.splat(ROUND);
  const limit = f64x2.splat(WHOLE_MAX);
  const sign = i64x2.splat(SIGN);
  let lows = f64x2.splat(Infinity);
  let highs = f64x2.splat(-Infinity);
  let exceptions: u32 = 0;
  let last: f64 = 0;
  const pairs = count & ~1;
  let i: u32 = 0;
  for (; i < pairs; i += 2) {
    const value = v128.load(values + (<usize>i << 3));
    const m = f64x2.sub(f64x2.add(f64x2.mul(value, powers), round), round);
    const good = v128.and(
      v128.and(f64x2.eq(f64x2.div(m, powers), value), f64x2.le(f64x2.abs(m), limit)),
      i64x2.ne(value, sign),
    );
    if (i64x2.all_true(good)) {
      v128.store(into + (<usize>i << 3), m);
      lows = f64x2.pmin(lows, m);
      highs = f64x2.pmax(highs, m);
      last = f64x2.extract_lane(m, 1);
      continue;
    }
    for (let lane: u32 = 0; lane < 2; lane++) {
      const number = load<f64>(values + (<usize>(i + lane) << 3));
      if (comesBack(number, power)) {
        last = number * power + ROUND - ROUND;
        lows = f64x2.pmin(lows, f64x2.splat(last));
        highs = f64x2.pmax(highs, f64x2.splat(last));
      } else store<u32>(positions + (<usize>(exceptions++) << 2), i + lane);
      store<f64>(into + (<usize>(i + lane) << 3), last);
    }
  }
  if (i < count) {
    const number = load<f64>(values + (<usize>i << 3));
    if (comesBack(number, power)) {
      last = number * power + ROUND - ROUND;
      lows = f64x2.pmin(lows, f64x2.splat(last));
      highs = f64x2.pmax(highs, f64x2.splat(last));
    } else store<u32>(positions + (<usize>(exceptions++) << 2), i);
    store<f64>(into + (<usize>i << 3), last);
  }
  lowest = min(f64x2.extract_lane(lows, 0), f64x2.extract_lane(lows, 1));
  highest = max(f64x2.extract_lane(highs, 0), f64x2.extract_lane(highs, 1));
  // Exceptions at the front repeat the first that is none: a zero there would widen every number.
  let lead: u32 = 0;
  while (lead < exceptions && load<u32>(positions + (<usize>lead << 2)) == lead) lead++;
  if (lead == count) {
    lowest = 0;
    highest = 0;
  } else {
    const first = load<f64>(into + (<usize>lead << 3));
    for (let j: u32 = 0; j < lead; j++) store<f64>(into + (<usize>j << 3), first);
  }
  return exceptions;
}

/** After `scaleDecimals`, with what it made. */
export function writeDecimals(
  values: usize,
  starts: usize,
  spans: u32,
  exponent: u32,
  scaled: usize,
  positions: usize,
  exceptions: u32,
): void {
  writeU8(exponent);
  writeVarint(exceptions);
  const low = lowest;
  const high = highest;
  if (exceptions > 0) {
    const mark = scratchMark();
    const numbers = scratch(<usize>exceptions << 3);
    for (let i: u32 = 0; i < exceptions; i++) {
      store<f64>(numbers + (<usize>i << 3), <f64>load<u32>(positions + (<usize>i << 2)));
    }
    const single = oneSpan(exceptions);
    writeNumbers(numbers, single, 1);
    scratchRelease(mark);
    const words = roomForWords(exceptions << 1);
    if (words == 0) return;
    for (let i: u32 = 0; i < exceptions; i++) {
      const position = <usize>load<u32>(positions + (<usize>i << 2));
      store<u64>(words + (<usize>i << 3), load<u64>(values + (position << 3)));
    }
  }
  writeNumbersWithin(scaled, starts, spans, low, high);
}

/** Of the last `openScaled`: what its whole numbers, with their offset, are to be divided by. */
let scaledDivisor: f64 = 1;

export function divisorOfScaled(): f64 {
  return scaledDivisor;
}

/** Opens narrow decimals without exceptions as the whole numbers they are; else false, and the reader stands anywhere. */
export function openScaled(starts: usize, spans: u32, fromSpan: u32, toSpan: u32): bool {
  const exponent = readU8();
  if (exponent > EXPONENT_MAX || readU8() != 0) return false;
  scaledDivisor = powerOf(exponent);
  return openNarrowNumbers(starts, spans, fromSpan, toSpan);
}

export function readDecimals(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  const exponent = readU8();
  const rows = load<u32>(starts + (<usize>spans << 2));
  const count = readCount(rows);
  if (exponent > EXPONENT_MAX) fail(TOO_LARGE);
  if (failed()) return;
  const mark = scratchMark();
  let positions: usize = 0;
  let words: usize = 0;
  if (count > 0) {
    positions = scratch(<usize>count << 3);
    const single = oneSpan(count);
    readNumbers(single, 1, 0, 1, 1, positions);
    words = takeWords(count << 1);
    if (failed()) return;
  }
  readNumbers(starts, spans, fromSpan, toSpan, powerOf(exponent), into);
  if (failed()) return;
  const from = <f64>load<u32>(starts + (<usize>fromSpan << 2));
  const to = <f64>load<u32>(starts + (<usize>toSpan << 2));
  for (let i: u32 = 0; i < count; i++) {
    const position = load<f64>(positions + (<usize>i << 3));
    if (!(position >= from && position < to)) continue;
    store<u64>(into + (<usize>(position - from) << 3), load<u64>(words + (<usize>i << 3)));
  }
  scratchRelease(mark);
}
