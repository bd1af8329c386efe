/**
 * Sums of decimals that are there as whole numbers: the same four sums of the same quotients as of the decoded values.
 *
 * A division takes longer than all the rest of a value, and measurements with a few decimals have few different ones: those
 * of small whole numbers are looked up, in a table for each divisor up to 10,000. Walks stay near where they are, so what
 * they look up is in the processor's nearest memory.
 */
import { divisorOfScaled, powerOf } from '../codec/decimals';
import { offsetOfNarrow } from '../codec/numbers';

/** A table has the quotients of LEAST .. LEAST + COUNT - 1. */
const LEAST: i32 = -8192;
const COUNT: u32 = 32768;
/** A table is made when so many values would have been looked up in it. */
const VALUES_MIN: u32 = 65536;
const EXPONENT_MAX: u32 = 4;
/** What is added to a number of 31 bits and to LEAST stays within 32. */
const OFFSET_MAX: f64 = 1073741824;

/** By exponent of the divisor: the table, or 0; and values so far. */
const tables = memory.data((4 + 1) * 4, 4);
const counts = memory.data((4 + 1) * 4, 4);

/** Of the runs that are being summed; 0: there is none. */
let table: usize = 0;

/** To be called before the runs of a column, in which so many values are, are summed. */
export function prepareQuotients(values: u32): void {
  const divisor = divisorOfScaled();
  table = 0;
  for (let exponent: u32 = 0; exponent <= EXPONENT_MAX; exponent++) {
    if (powerOf(exponent) != divisor) continue;
    const place = <usize>exponent << 2;
    table = load<u32>(tables + place);
    if (table != 0) return;
    const count = load<u32>(counts + place) + values;
    store<u32>(counts + place, count);
    if (count >= VALUES_MIN) {
      table = makeTable(divisor);
      store<u32>(tables + place, <u32>table);
    }
    return;
  }
}

function makeTable(divisor: f64): usize {
  const made = heap.alloc(<usize>COUNT << 3);
  for (let i: u32 = 0; i < COUNT; i++) store<f64>(made + (<usize>i << 3), <f64>(LEAST + <i32>i) / divisor);
  return made;
}

export function sumScaled(values: usize, from: u32, to: u32): f64 {
  const offset = offsetOfNarrow();
  if (table != 0 && abs(offset) <= OFFSET_MAX) {
    const shift = <i32>offset - LEAST;
    if (areInTable(values, from, to, shift)) return sumOfTable(values, from, to, shift);
  }
  return sumOfDivisions(values, from, to, offset);
}

function areInTable(values: usize, from: u32, to: u32, shift: i32): bool {
  const shifts = i32x4.splat(shift);
  let all = i32x4.splat(0);
  let at = values + (<usize>from << 2);
  const end = values + (<usize>to << 2);
  for (; at + 16 <= end; at += 16) all = v128.or(all, i32x4.add(v128.load(at), shifts));
  let rest: u32 = 0;
  for (; at < end; at += 4) rest |= <u32>(load<i32>(at) + shift);
  rest |= i32x4.extract_lane(all, 0) | i32x4.extract_lane(all, 1) | i32x4.extract_lane(all, 2) | i32x4.extract_lane(all, 3);
  return rest < COUNT;
}

@inline
function quotientAt(quotients: usize, at: usize): f64 {
  return load<f64>(quotients + (<usize>load<u32>(at) << 3));
}

/** Places in the table wrap at 32 bits, as addresses do. */
function sumOfTable(values: usize, from: u32, to: u32, shift: i32): f64 {
  const quotients = table + (<usize>(<u32>shift) << 3);
  let s0: f64 = 0;
  let s1: f64 = 0;
  let s2: f64 = 0;
  let s3: f64 = 0;
  let at = values + (<usize>from << 2);
  const end = values + (<usize>to << 2);
  for (; at + 16 <= end; at += 16) {
    s0 += quotientAt(quotients, at);
    s1 += quotientAt(quotients, at + 4);
    s2 += quotientAt(quotients, at + 8);
    s3 += quotientAt(quotients, at + 12);
  }
  if (at < end) s0 += quotientAt(quotients, at);
  if (at + 4 < end) s1 += quotientAt(quotients, at + 4);
  if (at + 8 < end) s2 += quotientAt(quotients, at + 8);
  return s0 + s1 + (s2 + s3);
}

function sumOfDivisions(values: usize, from: u32, to: u32, offset: f64): f64 {
  const divisor = divisorOfScaled();
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
