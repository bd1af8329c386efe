/**
 * Doubles to the shortest decimal digits that read back as the same double, in the form that JavaScript and Go's JSON
 * give them.
 *
 * Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020) after Alexander Bolz' C++ rendering of
 * it: the decimal is looked for between the neighbours of the double, scaled by a power of ten that is known to 126
 * bits. Two shorter ways before it: integers, and numbers with at most three decimals, which most measurements are.
 */
const POWER_MIN: i32 = -292;
const POWER_MAX: i32 = 324;
/** The powers of ten: high and low 64 bits of ceil(10^k * 2^(127 - floor(log2(10^k)))); filled by the caller once. */
const powers = memory.data((324 + 292 + 1) * 16, 8);
const tens = memory.data<u64>([
  1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
  10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
  10000000000000000000,
]);

export function powersOfTen(): usize {
  return powers;
}

/** Of any number. */
export const NUMBER_BYTES_MAX: usize = 26;

/** Writes at most 25 bytes; 0: not finite, or of a size that is written with an exponent. */
export function numberText(value: f64, at: usize): i32 {
  const bits = reinterpret<u64>(value);
  let to = at;
  if (bits >> 63 !== 0) {
    store<u8>(to, 45);
    to++;
  }
  const size = Math.abs(value);
  if (size === 0) {
    store<u8>(to, 48);
    return <i32>(to + 1 - at);
  }
  if (!(size < 1e21 && size >= 1e-6)) return 0;
  if (size < 9007199254740992.0) {
    const whole = <u64>size;
    if (<f64>whole === size) return <i32>(writeDecimal(whole, 0, to) - at);
  }
  if (size < 1e11) {
    // With 15 digits at most no other decimal that is as short reads back as this double.
    const thousandths = Math.round(size * 1000);
    if (thousandths / 1000 === size && thousandths > 0) return <i32>(writeDecimal(<u64>thousandths, -3, to) - at);
  }
  return <i32>(shortest(bits, to) - at);
}

function shortest(bits: u64, to: usize): usize {
  const fraction = bits & 0xfffffffffffff;
  const exponent = <i32>((bits >> 52) & 0x7ff);
  // Numbers below 1e-6 do not come here, so the exponent is never that of subnormal ones.
  const c = fraction | 0x10000000000000;
  const q = exponent - 1075;
  const odd = c & 1;
  const lowerIsCloser = fraction === 0 && exponent > 1;
  const k = (q * 1262611 - (lowerIsCloser ? 524031 : 0)) >> 22;
  const h = <u64>(q + ((-k * 1741647) >> 19) + 1);
  if (-k < POWER_MIN || -k > POWER_MAX) return to;
  const power = powers + <usize>((-k - POWER_MIN) << 4);
  const high = load<u64>(power);
  const low = load<u64>(power, 8);
  // 192 bits of the power times 4c, and of what is between that and the upper end; the lower one is as far, or half as far.
  const factor = (4 * c) << h;
  const m0 = low * factor;
  const cross = upperProduct(low, factor);
  const product = high * factor;
  const m1 = product + cross;
  const m2 = upperProduct(high, factor) + (m1 < cross ? 1 : 0);
  const shift = h + 1;
  const middle = oddOf(m1, m2);
  const upper = above(m0, m1, m2, low << shift, (high << shift) | (low >> (64 - shift)), high >> (64 - shift)) - odd;
  const less = lowerIsCloser ? h : shift;
  const lower = below(m0, m1, m2, low << less, (high << less) | (low >> (64 - less)), high >> (64 - less)) + odd;
  const s = middle >> 2;
  if (s >= 10) {
    const tenth = s / 10;
    const downInside = lower <= 40 * tenth;
    const upInside = 40 * tenth + 40 <= upper;
    if (downInside !== upInside) return writeDecimal(tenth + (upInside ? 1 : 0), k + 1, to);
  }
  const downInside = lower <= 4 * s;
  const upInside = 4 * s + 4 <= upper;
  if (downInside !== upInside) return writeDecimal(s + (upInside ? 1 : 0), k, to);
  const half = 4 * s + 2;
  const roundsUp = middle > half || (middle === half && (s & 1) !== 0);
  return writeDecimal(s + (roundsUp ? 1 : 0), k, to);
}

/** The upper 64 of 192 bits; the lowest of them says whether anything was cut off. The power is rounded up, hence 1. */
// @ts-expect-error: decorator of AssemblyScript
@inline
function oddOf(m1: u64, m2: u64): u64 {
  return m2 | (m1 > 1 ? 1 : 0);
}

/** The same of the sum of two numbers of 192 bits. */
// @ts-expect-error: decorator of AssemblyScript
@inline
function above(m0: u64, m1: u64, m2: u64, d0: u64, d1: u64, d2: u64): u64 {
  const s0 = m0 + d0;
  const part = m1 + d1;
  const s1 = part + (s0 < d0 ? 1 : 0);
  return oddOf(s1, m2 + d2 + (part < d1 ? 1 : 0) + (s1 < part ? 1 : 0));
}

/** The same of a difference. */
// @ts-expect-error: decorator of AssemblyScript
@inline
function below(m0: u64, m1: u64, m2: u64, d0: u64, d1: u64, d2: u64): u64 {
  const borrow: u64 = m0 < d0 ? 1 : 0;
  const part = m1 - d1;
  const s1 = part - borrow;
  return oddOf(s1, m2 - d2 - (m1 < d1 ? 1 : 0) - (part < borrow ? 1 : 0));
}

// @ts-expect-error: decorator of AssemblyScript
@inline
function upperProduct(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const cross = a1 * b0 + ((a0 * b0) >> 32);
  const other = a0 * b1 + (cross & 0xffffffff);
  return a1 * b1 + (cross >> 32) + (other >> 32);
}

/** value * 10^k, of which 0.0000001 <= it < 1e21 holds. Returns the address behind the text. */
export function writeDecimal(value: u64, k: i32, to: usize): usize {
  // Zeros at the end are no digits of the shortest form. A multiple of 10^n is one of 2^n: most need no division.
  if (k < 0) {
    while ((value & 15) === 0 && value % 10000 === 0) {
      value /= 10000;
      k += 4;
    }
    // Half of all numbers are even: to ask for that first would be wrong too often for the processor.
    for (let tenth = value / 10; tenth * 10 === value; tenth = value / 10) {
      value = tenth;
      k++;
    }
  }
  const count = countDigits(value);
  const point = count + k;
  if (k >= 0) {
    writeDigits(value, to + count);
    for (let i = 0; i < k; i++) store<u8>(to + count + i, 48);
    return to + point;
  }
  if (point > 0) {
    // One to the right, and those before the point back again.
    writeDigits(value, to + count + 1);
    for (let i = 0; i < point; i++) store<u8>(to + i, load<u8>(to + i + 1));
    store<u8>(to + point, 46);
    return to + count + 1;
  }
  store<u8>(to, 48);
  store<u8>(to, 46, 1);
  for (let i = 0; i < -point; i++) store<u8>(to + 2 + i, 48);
  writeDigits(value, to + 2 - point + count);
  return to + 2 - point + count;
}

function countDigits(value: u64): i32 {
  // 1233 / 4096 is a little more than log10(2).
  const least = ((64 - <i32>clz(value)) * 1233) >> 12;
  return least + (value >= load<u64>(tens + <usize>(least << 3)) ? 1 : 0);
}

/** The digits of a value that is not 0, ending before `end`. Division of 64 bits is slow: one for eight digits. */
function writeDigits(value: u64, end: usize): void {
  let at = end;
  while (value >= 100000000) {
    const upper = value / 100000000;
    at -= 8;
    store<u64>(at, eightDigits(<u32>(value - upper * 100000000)));
    value = upper;
  }
  let part = <u32>value;
  while (part >= 100) {
    const rest = part / 100;
    at -= 2;
    writePair(part - rest * 100, at);
    part = rest;
  }
  if (part >= 10) writePair(part, at - 2);
  else store<u8>(at - 1, 48 + part);
}

/** Eight digits, the first one lowest: halves, pairs and digits are each divided in all lanes at once. */
// @ts-expect-error: decorator of AssemblyScript
@inline
function eightDigits(value: u32): u64 {
  const upper = value / 10000;
  const fours = <u64>upper | (<u64>(value - upper * 10000) << 32);
  const hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007f;
  const pairs = hundreds | ((fours - hundreds * 100) << 16);
  const tens = ((pairs * 103) >> 10) & 0x000f000f000f000f;
  return (tens | ((pairs - tens * 10) << 8)) + 0x3030303030303030;
}

// @ts-expect-error: decorator of AssemblyScript
@inline
export function writePair(pair: u32, at: usize): void {
  const ten = (pair * 103) >> 10;
  store<u16>(at, 0x3030 + ten + ((pair - ten * 10) << 8));
}
