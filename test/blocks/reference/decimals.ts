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
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { readNumbers, writeNumbers } from './numbers.ts';

export const EXPONENT_MAX = 22;
const POWERS = Float64Array.from({ length: EXPONENT_MAX + 1 }, (_, e) => Number(`1e${e}`));
/** Beyond this a round trip by multiplication is rarely exact, and a search through more exponents is wasted. */
const EXPONENT_TRIED_MAX = 17;
const SAMPLES = 64;
/** Adding and subtracting 1.5 * 2^52 rounds to a whole number: four times as fast as Math.round. Holds below 2^51. */
const ROUND = 6755399441055744;
const WHOLE_MAX = 2251799813685247;

/** The exponent under which most of a sample comes back exactly; -1 when under a half do. */
export function findExponent(values: Float64Array, count: number): number {
  const taken = Math.min(count, SAMPLES);
  const votes = new Uint32Array(EXPONENT_TRIED_MAX + 1);
  let exact = 0;
  for (let i = 0; i < taken; i++) {
    const value = values[Math.floor((i * count) / taken)]!;
    for (let e = 0; e <= EXPONENT_TRIED_MAX; e++) {
      if (!comesBack(value, POWERS[e]!)) continue;
      votes[e]!++;
      exact++;
      break;
    }
  }
  if (exact * 2 < taken || taken === 0) return -1;
  // A value that is exact under a small exponent is so under a greater one as well, as long as m stays small.
  let best = -1;
  let bestCount = 0;
  for (let e = 0; e <= EXPONENT_TRIED_MAX; e++) {
    if (votes[e] === 0) continue;
    let holds = 0;
    for (let i = 0; i < taken; i++) if (comesBack(values[Math.floor((i * count) / taken)]!, POWERS[e]!)) holds++;
    // A greater exponent makes every number longer; it must win over 3 % of the values to be worth it.
    if (best < 0 || (holds - bestCount) * 32 > taken) {
      best = e;
      bestCount = holds;
    }
  }
  return bestCount * 2 < taken ? -1 : best;
}

function comesBack(value: number, power: number): boolean {
  const m = value * power + ROUND - ROUND;
  return m / power === value && m <= WHOLE_MAX && m >= -WHOLE_MAX && !(m === 0 && Object.is(value, -0));
}

/** Fills `into` with m per value and returns the positions of the exceptions (their m repeats the one before). */
export function scaleDecimals(values: Float64Array, count: number, exponent: number, into: Float64Array): number[] {
  const power = POWERS[exponent]!;
  const exceptions: number[] = [];
  let last = 0;
  for (let i = 0; i < count; i++) {
    const value = values[i]!;
    const m = value * power + ROUND - ROUND;
    if (m / power === value && m <= WHOLE_MAX && m >= -WHOLE_MAX && (m !== 0 || !Object.is(value, -0))) last = m + 0;
    else exceptions.push(i);
    into[i] = last;
  }
  // Exceptions at the front repeat the first that is none: a zero there would widen every number.
  let lead = 0;
  while (lead < exceptions.length && exceptions[lead] === lead) lead++;
  if (lead < count) into.fill(into[lead]!, 0, lead);
  return exceptions;
}

export function writeDecimals(
  writer: ByteWriter,
  values: Float64Array,
  starts: Uint32Array,
  exponent: number,
  scaled: Float64Array,
  exceptions: readonly number[],
): void {
  writer.u8(exponent);
  writer.varint(exceptions.length);
  if (exceptions.length > 0) {
    writeNumbers(writer, Float64Array.from(exceptions), Uint32Array.of(0, exceptions.length));
    const source = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
    const words = writer.words(2 * exceptions.length);
    exceptions.forEach((position, i) => {
      words[2 * i] = source[2 * position]!;
      words[2 * i + 1] = source[2 * position + 1]!;
    });
  }
  writeNumbers(writer, scaled, starts);
}

export function readDecimals(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Float64Array,
): void {
  const power = POWERS[reader.u8()];
  if (power === undefined) throw damaged('exponent beyond 22');
  const count = reader.count(starts[starts.length - 1]!, 'exceptions');
  const positions = new Float64Array(count);
  let words: Uint32Array | null = null;
  if (count > 0) {
    readNumbers(reader, Uint32Array.of(0, count), 0, 1, 1, positions);
    words = reader.words(2 * count);
  }
  readNumbers(reader, starts, fromSpan, toSpan, power, into);
  if (words === null) return;
  // Bits are copied as words, never through a float: that would be free to change the payload of a NaN.
  const target = new Uint32Array(into.buffer, into.byteOffset, 2 * into.length);
  const from = starts[fromSpan]!;
  const to = starts[toSpan]!;
  for (let i = 0; i < count; i++) {
    const position = positions[i]!;
    if (!(position >= from && position < to)) continue;
    target[2 * (position - from)] = words[2 * i]!;
    target[2 * (position - from) + 1] = words[2 * i + 1]!;
  }
}
