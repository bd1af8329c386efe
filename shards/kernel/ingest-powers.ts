/**
 * The powers of five from 5^-342 to 5^308 to 128 bits, for the Eisel-Lemire conversion of decimals to doubles.
 *
 * Positive powers are cut off, negative ones (reciprocals) rounded up, as the proof needs them (Lemire, "Number parsing
 * at a gigabyte per second", 2021; the table of its `fast_float` library). Per power the high word, then the low one,
 * little-endian.
 */
const POWER_MIN = -342;
const POWER_MAX = 308;
/** Reciprocals up to this power are exact enough from their leading bits alone. */
const SHORT_POWER_MIN = -27;
const END = 1n << 128n;

let table: Uint8Array | null = null;

export function powersOfFive(): Uint8Array {
  if (table !== null) return table;
  const view = new DataView(new ArrayBuffer((POWER_MAX - POWER_MIN + 1) * 16));
  for (let power = POWER_MIN; power <= POWER_MAX; power++) {
    const bits = power < 0 ? reciprocal(power) : leading(5n ** BigInt(power));
    const at = (power - POWER_MIN) * 16;
    view.setBigUint64(at, bits >> 64n, true);
    view.setBigUint64(at + 8, bits & 0xffff_ffff_ffff_ffffn, true);
  }
  table = new Uint8Array(view.buffer);
  return table;
}

function leading(value: bigint): bigint {
  const bits = bitsOf(value);
  return bits <= 128n ? value << (128n - bits) : value >> (bits - 128n);
}

function reciprocal(power: number): bigint {
  const divisor = 5n ** BigInt(-power);
  const bits = bitsOf(divisor - 1n);
  const shift = power >= SHORT_POWER_MIN ? bits + 127n : 2n * bits + 128n;
  let quotient = (1n << shift) / divisor + 1n;
  while (quotient >= END) quotient >>= 1n;
  return quotient;
}

function bitsOf(value: bigint): bigint {
  return BigInt(value.toString(2).length);
}
