/**
 * Whole numbers of any size in spans: narrow when they lie within 2^31 of their least, wide otherwise.
 *
 * Three kinds of array come in and go out, each with its own loop: float64 holding whole numbers up to 2^53 (times,
 * scaled decimals, ids), and int64 or uint64 through their 32-bit halves.
 * Layout: byte form; narrow: f64 offset, narrow sequence of number - offset; wide: wide sequence.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { NARROW_MAX, readNarrow, writeNarrow } from './narrow.ts';
import { narrowScratch } from './scratch.ts';
import { readWide, writeWide } from './wide.ts';

const NARROW = 0;
const WIDE = 1;
const TWO_32 = 4294967296;

export function spanOf(starts: Uint32Array, from: number, to: number): number {
  return starts[to]! - starts[from]!;
}

/** `values` are whole numbers of a size up to 2^53, none of them -0. */
export function writeNumbers(writer: ByteWriter, values: Float64Array, starts: Uint32Array): void {
  const count = starts[starts.length - 1]!;
  let min = 0;
  let max = 0;
  if (count > 0) {
    min = values[0]!;
    max = min;
    for (let i = 1; i < count; i++) {
      const value = values[i]!;
      if (value < min) min = value;
      else if (value > max) max = value;
    }
  }
  if (max - min <= NARROW_MAX) {
    const narrow = new Int32Array(count);
    for (let i = 0; i < count; i++) narrow[i] = values[i]! - min;
    writer.u8(NARROW);
    writer.f64(min);
    writeNarrow(writer, narrow, starts);
    return;
  }
  const halves = new Uint32Array(2 * count);
  for (let i = 0; i < count; i++) {
    const upper = Math.floor(values[i]! / TWO_32);
    halves[2 * i] = values[i]! - upper * TWO_32;
    halves[2 * i + 1] = upper;
  }
  writer.u8(WIDE);
  writeWide(writer, halves, starts);
}

/** Spans fromSpan .. toSpan - 1, each number divided by `divisor`, into `into` from index 0. */
export function readNumbers(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  divisor: number,
  into: Float64Array,
): void {
  const form = reader.u8();
  const count = spanOf(starts, fromSpan, toSpan);
  if (form === NARROW) {
    const offset = reader.f64();
    if (!Number.isSafeInteger(offset)) throw damaged(`offset ${offset} is no whole number`);
    const narrow = narrowScratch(count);
    readNarrow(reader, starts, fromSpan, toSpan, narrow);
    widen(narrow, count, offset, divisor, into);
    return;
  }
  if (form !== WIDE) throw damaged(`numbers of form ${form}`);
  const halves = new Uint32Array(2 * count);
  readWide(reader, starts, fromSpan, toSpan, halves);
  for (let i = 0; i < count; i++) into[i] = ((halves[2 * i + 1]! | 0) * TWO_32 + halves[2 * i]!) / divisor;
}

function widen(narrow: Int32Array, count: number, offset: number, divisor: number, into: Float64Array): void {
  if (divisor === 1) {
    for (let i = 0; i < count; i++) into[i] = narrow[i]! + offset;
  } else {
    for (let i = 0; i < count; i++) into[i] = (narrow[i]! + offset) / divisor;
  }
}

/** `halves`: 32-bit view of a BigInt64Array (`signed`) or BigUint64Array that begins with the first span. */
export function writeHalves(writer: ByteWriter, halves: Uint32Array, signed: boolean, starts: Uint32Array): void {
  const count = starts[starts.length - 1]!;
  const limit = 1 << 20;
  const values = new Float64Array(count);
  let exact = true;
  for (let i = 0; i < count; i++) {
    const upper = signed ? halves[2 * i + 1]! | 0 : halves[2 * i + 1]!;
    if (upper >= limit || upper < -limit) {
      exact = false;
      break;
    }
    values[i] = upper * TWO_32 + halves[2 * i]!;
  }
  if (exact) {
    writeNumbers(writer, values, starts);
    return;
  }
  writer.u8(WIDE);
  writeWide(writer, halves, starts);
}

export function readHalves(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Uint32Array,
): void {
  const form = reader.u8();
  if (form === WIDE) {
    readWide(reader, starts, fromSpan, toSpan, into);
    return;
  }
  if (form !== NARROW) throw damaged(`numbers of form ${form}`);
  const offset = reader.f64();
  if (!Number.isSafeInteger(offset)) throw damaged(`offset ${offset} is no whole number`);
  const count = spanOf(starts, fromSpan, toSpan);
  const narrow = narrowScratch(count);
  readNarrow(reader, starts, fromSpan, toSpan, narrow);
  const upperOffset = Math.floor(offset / TWO_32);
  const lowerOffset = offset - upperOffset * TWO_32;
  for (let i = 0; i < count; i++) {
    const lower = narrow[i]! + lowerOffset;
    into[2 * i] = lower;
    into[2 * i + 1] = upperOffset + (lower >= TWO_32 ? 1 : 0);
  }
}
