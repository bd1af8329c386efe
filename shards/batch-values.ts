/**
 * Encodings of a column's values inside a batch frame. Each begins with its encoding byte.
 *
 *   0 RAW        8 bytes each (floats, integers of both signs)
 *   1 OFFSETS    width u8, minimum i64, then offsets of that width (integers of both signs)
 *   2 DECIMAL    exponent u8, width u8, minimum f64, offsets: value = (minimum + offset) / 10^exponent, exact
 *   3 BITS       one bit each, lowest first (booleans)
 *   4 PLAIN      lengths (width u8, offsets), then all UTF-8 bytes
 *   5 DICTIONARY count u32, the distinct strings as PLAIN without its byte, width u8, indexes
 *   6 TIMES      width u8, minimum f64, unit f64, offsets in units (times: whole nanoseconds below 2^53)
 *
 * Only values that are present are encoded. Every reader checks what it reads and never allocates more than the
 * caller's count, which the caller has bounded.
 */
import { BOOLEAN, type ColumnValues, type FieldType, FLOAT, INTEGER, STRING } from './column.ts';
import { FrameError, type FrameReader, type FrameWriter, readOffsets, widthFor, writeOffsets } from './frame.ts';

const RAW = 0;
const OFFSETS = 1;
const DECIMAL = 2;
const BITS = 3;
const PLAIN = 4;
const DICTIONARY = 5;
const TIMES = 6;

const TWO32 = 2 ** 32;
/** Below this, value x 10^exponent is off by less than a half, so rounding finds the integer. */
const SCALED_MAX = 2 ** 51;
const EXPONENT_MAX = 15;
const POW10 = Float64Array.from({ length: EXPONENT_MAX + 1 }, (_, i) => Number(`1e${i}`));
/** Halves that differ by less than this keep 64-bit differences exact in doubles. */
const HIGH_SPAN_MAX = 2 ** 20;

export function writeTimes(writer: FrameWriter, times: Float64Array): void {
  const count = times.length;
  let min = count === 0 ? 0 : times[0]!;
  let max = min;
  for (let i = 1; i < count; i++) {
    const time = times[i]!;
    if (time < min) min = time;
    else if (time > max) max = time;
  }
  const unit = unitOf(times, min);
  const scaled = new Float64Array(count);
  for (let i = 0; i < count; i++) scaled[i] = (times[i]! - min) / unit;
  const width = widthFor((max - min) / unit);
  writer.u8(TIMES);
  writer.u8(width);
  writer.f64(min);
  writer.f64(unit);
  writeOffsets(writer, scaled, count, width);
}

/** Greatest common divisor of the distances from `min`: agents sample on a grid. */
function unitOf(times: Float64Array, min: number): number {
  let unit = 0;
  for (let i = 0; i < times.length; i++) {
    const distance = times[i]! - min;
    if (unit > 0 && Math.floor(distance / unit) * unit === distance) continue;
    let a = unit;
    let b = distance;
    while (b > 0) [a, b] = [b, a % b];
    unit = a;
    if (unit === 1) return 1;
  }
  return unit === 0 ? 1 : unit;
}

/** Times from 0 to below `span`. */
export function readTimes(reader: FrameReader, count: number, span: number): Float64Array {
  expect(reader, TIMES);
  const width = reader.u8();
  const min = reader.f64();
  const unit = reader.f64();
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(unit) || min < 0 || unit < 1) {
    throw new FrameError(`times from ${min} by ${unit}`);
  }
  const times = readOffsets(reader, count, width);
  for (let i = 0; i < count; i++) {
    const time = min + times[i]! * unit;
    if (!(time < span)) throw new FrameError(`time ${time} of row ${i} is outside the shard`);
    times[i] = time;
  }
  return times;
}

export function writeValues(
  writer: FrameWriter,
  type: FieldType,
  present: Uint8Array | null,
  values: ColumnValues,
): void {
  if (type === STRING) writeStrings(writer, pick(values as string[], present));
  else if (type === BOOLEAN) writeBits(writer, pickBytes(values as Uint8Array, present));
  else if (type === FLOAT) writeFloats(writer, pickFloats(values as Float64Array, present));
  else writeIntegers(writer, pickHalves(values as BigInt64Array, present));
}

/** `count` values of the type, in an array of their own. */
export function readValues(reader: FrameReader, type: FieldType, count: number): ColumnValues {
  switch (type) {
    case FLOAT:
      return readFloats(reader, count);
    case STRING:
      return readStrings(reader, count);
    case BOOLEAN:
      expect(reader, BITS);
      return readBits(reader, count);
    default: {
      const halves = readIntegers(reader, count);
      return type === INTEGER ? new BigInt64Array(halves.buffer) : new BigUint64Array(halves.buffer);
    }
  }
}

/** One bit per byte of `bytes`, lowest first. */
export function writeBits(writer: FrameWriter, bits: Uint8Array, encoding = BITS): void {
  writer.u8(encoding);
  const count = bits.length;
  let at = writer.reserve((count + 7) >>> 3);
  const out = writer.bytes;
  for (let i = 0; i < count; i += 8) {
    let byte = 0;
    const end = Math.min(8, count - i);
    for (let j = 0; j < end; j++) byte |= (bits[i + j]! & 1) << j;
    out[at++] = byte;
  }
}

export function readBits(reader: FrameReader, count: number): Uint8Array {
  const data = reader.raw((count + 7) >>> 3);
  const bits = new Uint8Array(count);
  for (let i = 0; i < count; i++) bits[i] = (data[i >>> 3]! >>> (i & 7)) & 1;
  return bits;
}

function writeFloats(writer: FrameWriter, values: Float64Array): void {
  const count = values.length;
  const exponent = exponentOf(values);
  if (exponent >= 0) {
    const scale = POW10[exponent]!;
    const scaled = new Float64Array(count);
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < count; i++) {
      const m = Math.round(values[i]! * scale);
      scaled[i] = m;
      if (m < min) min = m;
      if (m > max) max = m;
    }
    const width = widthFor(max - min);
    if (width < 8 && isExact(values, scaled, scale)) {
      for (let i = 0; i < count; i++) scaled[i]! -= min;
      writer.u8(DECIMAL);
      writer.u8(exponent);
      writer.u8(width);
      writer.f64(min);
      writeOffsets(writer, scaled, count, width);
      return;
    }
  }
  writer.u8(RAW);
  writer.raw(new Uint8Array(values.buffer, values.byteOffset, count * 8));
}

/** The least number of decimals that all values have, or -1 when they have more than 15 or are no plain decimals. */
function exponentOf(values: Float64Array): number {
  let exponent = 0;
  let scale = 1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    for (;;) {
      const m = Math.round(value * scale);
      if (!(m < SCALED_MAX && m > -SCALED_MAX)) return -1;
      if (m / scale === value) break;
      if (exponent === EXPONENT_MAX) return -1;
      scale = POW10[++exponent]!;
    }
    if (value === 0 && 1 / value < 0) return -1;
  }
  return values.length === 0 ? -1 : exponent;
}

/** Values that were found to fit a smaller exponent fit the final one only while they stay below 2^51. */
function isExact(values: Float64Array, scaled: Float64Array, scale: number): boolean {
  for (let i = 0; i < values.length; i++) {
    const m = scaled[i]!;
    if (!(m < SCALED_MAX && m > -SCALED_MAX) || m / scale !== values[i]) return false;
  }
  return true;
}

function readFloats(reader: FrameReader, count: number): Float64Array {
  const encoding = reader.u8();
  if (encoding === RAW) return new Float64Array(copyOf(reader.raw(count * 8)));
  if (encoding !== DECIMAL) throw new FrameError(`encoding ${encoding} for floats`);
  const exponent = reader.u8();
  const width = reader.u8();
  const min = reader.f64();
  if (exponent > EXPONENT_MAX || width > 4 || !Number.isSafeInteger(min)) {
    throw new FrameError(`decimals with exponent ${exponent}, width ${width}, minimum ${min}`);
  }
  const scale = POW10[exponent]!;
  const values = readOffsets(reader, count, width);
  for (let i = 0; i < count; i++) values[i] = (min + values[i]!) / scale;
  return values;
}

/** `halves` are low and high words; signed and unsigned integers differ only in how they are read. */
function writeIntegers(writer: FrameWriter, halves: Uint32Array): void {
  const count = halves.length >>> 1;
  const firstLow = halves[0] ?? 0;
  const firstHigh = (halves[1] ?? 0) | 0;
  const offsets = new Float64Array(count);
  let min = 0;
  let max = 0;
  let near = count > 0;
  for (let i = 0; i < count && near; i++) {
    const high = (halves[i * 2 + 1]! | 0) - firstHigh;
    near = high < HIGH_SPAN_MAX && high > -HIGH_SPAN_MAX;
    const distance = high * TWO32 + (halves[i * 2]! - firstLow);
    offsets[i] = distance;
    if (distance < min) min = distance;
    if (distance > max) max = distance;
  }
  const width = widthFor(max - min);
  if (!near || width === 8) {
    writer.u8(RAW);
    writer.raw(new Uint8Array(halves.buffer, halves.byteOffset, count * 8));
    return;
  }
  for (let i = 0; i < count; i++) offsets[i]! -= min;
  writer.u8(OFFSETS);
  writer.u8(width);
  writer.i64((BigInt(firstHigh) << 32n) + BigInt(firstLow) + BigInt(min));
  writeOffsets(writer, offsets, count, width);
}

function readIntegers(reader: FrameReader, count: number): Uint32Array<ArrayBuffer> {
  const encoding = reader.u8();
  if (encoding === RAW) return new Uint32Array(copyOf(reader.raw(count * 8)));
  if (encoding !== OFFSETS) throw new FrameError(`encoding ${encoding} for integers`);
  const width = reader.u8();
  const min = reader.i64();
  if (width > 4) throw new FrameError(`integers of width ${width}`);
  const minLow = Number(BigInt.asUintN(32, min));
  const minHigh = Number(min >> 32n);
  const offsets = readOffsets(reader, count, width);
  const halves = new Uint32Array(count * 2);
  for (let i = 0; i < count; i++) {
    const low = minLow + offsets[i]!;
    halves[i * 2] = low;
    halves[i * 2 + 1] = low >= TWO32 ? minHigh + 1 : minHigh;
  }
  return halves;
}

function writeStrings(writer: FrameWriter, values: readonly string[]): void {
  const indexOf = new Map<string, number>();
  const indexes = new Uint32Array(values.length);
  const distinctMax = values.length / 2;
  for (let i = 0; i < values.length && indexOf.size <= distinctMax; i++) {
    let index = indexOf.get(values[i]!);
    if (index === undefined) {
      index = indexOf.size;
      indexOf.set(values[i]!, index);
    }
    indexes[i] = index;
  }
  if (indexOf.size > distinctMax) {
    writer.u8(PLAIN);
    writePlain(writer, values);
    return;
  }
  writer.u8(DICTIONARY);
  writer.u32(indexOf.size);
  writePlain(writer, [...indexOf.keys()]);
  const width = widthFor(Math.max(0, indexOf.size - 1));
  writer.u8(width);
  writeOffsets(writer, indexes, indexes.length, width);
}

function writePlain(writer: FrameWriter, values: readonly string[]): void {
  const lengths = new Uint32Array(values.length);
  let longest = 0;
  for (let i = 0; i < values.length; i++) {
    lengths[i] = Buffer.byteLength(values[i]!, 'utf8');
    longest = Math.max(longest, lengths[i]!);
  }
  const width = widthFor(longest);
  writer.u8(width);
  writeOffsets(writer, lengths, lengths.length, width);
  for (const value of values) writer.raw(Buffer.from(value, 'utf8'));
}

function readStrings(reader: FrameReader, count: number): string[] {
  const encoding = reader.u8();
  if (encoding === PLAIN) return readPlain(reader, count);
  if (encoding !== DICTIONARY) throw new FrameError(`encoding ${encoding} for strings`);
  const size = reader.u32();
  if (size > count) throw new FrameError(`dictionary of ${size} strings for ${count} values`);
  const dictionary = readPlain(reader, size);
  const indexes = readOffsets(reader, count, reader.u8());
  const values = new Array<string>(count);
  for (let i = 0; i < count; i++) {
    const value = dictionary[indexes[i]!];
    if (value === undefined) throw new FrameError(`string ${indexes[i]} of a dictionary of ${size}`);
    values[i] = value;
  }
  return values;
}

function readPlain(reader: FrameReader, count: number): string[] {
  const width = reader.u8();
  const lengths = readOffsets(reader, count, width);
  const values = new Array<string>(count);
  for (let i = 0; i < count; i++) values[i] = reader.raw(lengths[i]!).toString('utf8');
  return values;
}

function expect(reader: FrameReader, encoding: number): void {
  const found = reader.u8();
  if (found !== encoding) throw new FrameError(`encoding ${found} instead of ${encoding}`);
}

function copyOf(data: Buffer): ArrayBuffer {
  const copy = new ArrayBuffer(data.length);
  new Uint8Array(copy).set(data);
  return copy;
}

function pick(values: string[], present: Uint8Array | null): string[] {
  return present === null ? values : values.filter((_, i) => present[i] === 1);
}

export function countPresent(present: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < present.length; i++) count += present[i]!;
  return count;
}

function pickBytes(values: Uint8Array, present: Uint8Array | null): Uint8Array {
  return present === null ? values : values.filter((_, i) => present[i] === 1);
}

function pickFloats(values: Float64Array, present: Uint8Array | null): Float64Array {
  if (present === null) return values;
  const picked = new Float64Array(countPresent(present));
  for (let i = 0, to = 0; i < values.length; i++) if (present[i] === 1) picked[to++] = values[i]!;
  return picked;
}

function pickHalves(values: BigInt64Array, present: Uint8Array | null): Uint32Array {
  const halves = new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
  if (present === null) return halves;
  const picked = new Uint32Array(countPresent(present) * 2);
  for (let i = 0, to = 0; i < values.length; i++) {
    if (present[i] !== 1) continue;
    picked[to++] = halves[i * 2]!;
    picked[to++] = halves[i * 2 + 1]!;
  }
  return picked;
}
