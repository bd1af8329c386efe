/**
 * Digits to numbers, exactly.
 *
 * Eight digits at a time in one 64-bit word (Lemire 2018). A decimal becomes integer and exponent where that is exact
 * (columns.ts), else a double: by one multiplication or division where both operands are exact (Clinger 1990), else by
 * the 128-bit product of Eisel and Lemire (Lemire 2021, "Number parsing at a gigabyte per second"; that it never needs a
 * fallback for up to 19 digits: Mushtak and Lemire 2023). What is left (more digits, subnormal, too large) is `NOT_HERE`
 * and goes to the careful parser.
 */
import { pow10 } from './columns';

export const NOT_HERE: i32 = -1;
export const IS_FLOAT: i32 = 0;
export const IS_INTEGER: i32 = 1;
export const IS_UNSIGNED: i32 = 2;
/** A float for which only `numberDouble` holds. */
export const IS_DOUBLE: i32 = 5;

export let numberEnd: usize = 0;
/** The integer of a float with `numberDecimals`, or the integer itself. */
export let numberWord: i64 = 0;
export let numberDecimals: u32 = 0;
export let numberDouble: f64 = 0;

const MANTISSA_END: u64 = 1 << 53;
const DECIMALS_MAX: i32 = 15;
const POWER_MIN: i32 = -342;
const POWER_MAX: i32 = 308;
/** Top 128 bits of the powers of five from 5^-342 to 5^308: high word, low word. Filled by the host. */
const POWERS: usize = memory.data(651 * 16, 8);

export function powersOfFive(): usize {
  return POWERS;
}

/** Which bytes of the word are not decimal digits: 0x80 in each; right up to the first one and one '.' further. */
@inline
export function nonDigits(digits: u64): u64 {
  return ((digits + 0x7676767676767676) | digits) & 0x8080808080808080;
}

/** The number that eight digit values spell, the first one in the lowest byte. */
@inline
export function eightDigits(digits: u64): u64 {
  const pairs = digits * 10 + (digits >> 8);
  return (
    ((pairs & 0x000000ff000000ff) * 0x000f424000000064 + ((pairs >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >> 32
  );
}

/** Digits from `at` on, behind those of `before`, into `numberWord`; returns how many. More than 19 make nonsense. */
export function takeDigits(at: usize, before: u64): u32 {
  let from = at;
  let word = before;
  while (true) {
    const digits = load<u64>(from) ^ 0x3030303030303030;
    const others = nonDigits(digits);
    if (others == 0) {
      word = word * 100000000 + eightDigits(digits);
      from += 8;
      if (from - at > 64) break;
      continue;
    }
    const count = <u64>ctz(others) >> 3;
    if (count > 0) {
      word = word * <u64>pow10(<u32>count) + eightDigits(digits << (64 - count * 8));
      from += <usize>count;
    }
    break;
  }
  numberWord = <i64>word;
  numberEnd = from;
  return <u32>(from - at);
}

/** The number at `at`: what it is, with its parts in the variables above; NOT_HERE: not for this parser. */
export function takeNumber(at: usize): i32 {
  let from = at;
  const negative = load<u8>(from) == 45;
  if (negative) from++;
  const firstDigit = from;
  // Leading zeros do not count against the 19 digits that a word holds.
  while (load<u8>(from) == 48) from++;
  const zeros = <u32>(from - firstDigit);
  let digits = takeDigits(from, 0);
  let all = zeros + digits;
  const c = <u32>load<u8>(numberEnd);
  if (c == 105 || c == 117) {
    if (all == 0 || digits > 19) return NOT_HERE;
    const value = <u64>numberWord;
    if (c == 117) {
      // 19 digits are below 2^64.
      if (negative) return NOT_HERE;
    } else {
      if (value > <u64>i64.MAX_VALUE + (negative ? 1 : 0)) return NOT_HERE;
      if (negative) numberWord = -numberWord;
    }
    numberEnd++;
    return c == 105 ? IS_INTEGER : IS_UNSIGNED;
  }
  let decimals: i32 = 0;
  if (c == 46) {
    let point = numberEnd + 1;
    if (digits == 0) {
      const first = point;
      while (load<u8>(point) == 48) point++;
      decimals = <i32>(point - first);
    }
    const more = takeDigits(point, <u64>numberWord);
    digits += more;
    decimals += <i32>more;
    all += <u32>decimals;
  }
  if (all == 0 || digits > 19 || decimals > 400) return NOT_HERE;
  let power = -decimals;
  const e = <u32>load<u8>(numberEnd);
  if (e == 101 || e == 69) {
    const mantissa = numberWord;
    let exponentAt = numberEnd + 1;
    const sign = <u32>load<u8>(exponentAt);
    if (sign == 45 || sign == 43) exponentAt++;
    const count = takeDigits(exponentAt, 0);
    if (count == 0 || count > 4) return NOT_HERE;
    power += sign == 45 ? -<i32>numberWord : <i32>numberWord;
    numberWord = mantissa;
  }
  return float(negative, power);
}

/** numberWord x 10^power, negated or not. */
function float(negative: bool, power: i32): i32 {
  const mantissa = <u64>numberWord;
  if (mantissa == 0) {
    numberDouble = negative ? -0.0 : 0.0;
    numberDecimals = 0;
    return negative ? IS_DOUBLE : IS_FLOAT;
  }
  if (mantissa < MANTISSA_END) {
    if (power <= 0 && power >= -DECIMALS_MAX) {
      if (negative) numberWord = -numberWord;
      numberDecimals = <u32>-power;
      return IS_FLOAT;
    }
    if (power > 0 && power <= DECIMALS_MAX) {
      const scaled = <f64>mantissa * pow10(<u32>power);
      if (scaled < <f64>MANTISSA_END) {
        numberWord = negative ? -<i64>scaled : <i64>scaled;
        numberDecimals = 0;
        return IS_FLOAT;
      }
    }
    if (power >= -22 && power <= 22) {
      const value = power < 0 ? <f64>mantissa / pow10(<u32>-power) : <f64>mantissa * pow10(<u32>power);
      numberDouble = negative ? -value : value;
      return IS_DOUBLE;
    }
  }
  if (power < POWER_MIN || power > POWER_MAX) return NOT_HERE;
  return wideFloat(mantissa, power, negative) ? IS_DOUBLE : NOT_HERE;
}

let productLow: u64 = 0;

/** High word of the product; the low one is left in `productLow`. */
@inline
function multiply(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >> 32);
  const other = aLow * bHigh + (middle & 0xffffffff);
  productLow = (other << 32) | (low & 0xffffffff);
  return aHigh * bHigh + (middle >> 32) + (other >> 32);
}

/** Eisel-Lemire into `numberDouble`; false for subnormal and infinite results. */
function wideFloat(mantissa: u64, power: i32, negative: bool): bool {
  const zeros = clz(mantissa);
  const word = mantissa << zeros;
  const entry = POWERS + (<usize>(power - POWER_MIN) << 4);
  let high = multiply(word, load<u64>(entry));
  let low = productLow;
  // 52 bits of the result, one that is hidden, and two for rounding.
  if ((high & 0x1ff) == 0x1ff) {
    const second = multiply(word, load<u64>(entry, 8));
    low += second;
    if (second > low) high++;
  }
  const upper = high >> 63;
  const shift = upper + 9;
  let bits = high >> shift;
  let exponent = <i32>(((152170 + 65536) * power) >> 16) + 63 + <i32>upper - <i32>zeros + 1023;
  if (exponent <= 0) return false;
  // Exactly between two doubles: to the even one.
  if (low <= 1 && power >= -4 && power <= 23 && (bits & 3) == 1 && (bits << shift) == high) bits &= ~(<u64>1);
  bits += bits & 1;
  bits >>= 1;
  if (bits >= 1 << 53) {
    bits = 1 << 52;
    exponent++;
  }
  if (exponent >= 0x7ff) return false;
  const sign: u64 = negative ? 1 << 63 : 0;
  numberDouble = reinterpret<f64>((bits & ~(<u64>1 << 52)) | (<u64>exponent << 52) | sign);
  return true;
}
