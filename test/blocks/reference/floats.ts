/**
 * Floats: decimals, XOR or raw, whichever is smallest for the column in this block.
 * Layout: padding to four bytes; byte encoding; RAW: words, lower and upper half of each value in turn; else see decimals.ts, xor.ts.
 */
import { type ByteReader, ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { readBits } from './bits.ts';
import { findExponent, readDecimals, scaleDecimals, writeDecimals } from './decimals.ts';
import { spanOf } from './numbers.ts';
import { FRAME, readPacked } from './packed.ts';
import { readWide } from './wide.ts';
import { packXor, readXor, writeXor } from './xor.ts';

const RAW = 0;
const DECIMAL = 1;
const XOR = 2;
// Since format version 2; only read here.
const STEPS = 3;
const FRONTS = 4;
const MIXED = 5;

/** Decimals in fewer bits a value are taken without trying the others, which hardly ever get there. */
const GOOD_BITS_MAX = 24;

export function writeFloats(writer: ByteWriter, values: Float64Array, starts: Uint32Array): void {
  writer.align();
  const count = starts[starts.length - 1]!;
  const halves = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  let decimals: ByteWriter | null = null;
  let bestWords = 2 * count;
  const exponent = findExponent(values, count);
  if (exponent >= 0) {
    const scaled = new Float64Array(count);
    const exceptions = scaleDecimals(values, count, exponent, scaled);
    if (exceptions.length * 4 <= count) {
      // Padded as at its place in the block, which begins at a multiple of four.
      decimals = new ByteWriter(1024 + 2 * count);
      decimals.u8(DECIMAL);
      writeDecimals(decimals, values, starts, exponent, scaled, exceptions);
      bestWords = Math.min(bestWords, Math.ceil(decimals.length / 4));
      if (decimals.length >= 8 * count) decimals = null;
      else if (decimals.length * 8 <= GOOD_BITS_MAX * count) {
        writer.raw(decimals.written());
        return;
      }
    }
  }
  const packed = packXor(halves, count, bestWords);
  if (packed !== null && packed.length < bestWords) {
    writer.u8(XOR);
    writeXor(writer, packed);
  } else if (decimals !== null) {
    writer.raw(decimals.written());
  } else {
    writer.u8(RAW);
    writer.words(2 * count).set(halves.subarray(0, 2 * count));
  }
}

export function readFloats(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Float64Array,
): void {
  readEncoded(reader, starts, fromSpan, toSpan, into, true);
}

function readEncoded(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Float64Array,
  mayMix: boolean,
): void {
  reader.align();
  const encoding = reader.u8();
  if (encoding === DECIMAL) {
    readDecimals(reader, starts, fromSpan, toSpan, into);
    return;
  }
  const halves = new Uint32Array(into.buffer, into.byteOffset, 2 * spanOf(starts, fromSpan, toSpan));
  if (encoding === XOR) readXor(reader, starts[fromSpan]!, starts[toSpan]!, halves);
  else if (encoding === RAW) {
    const words = reader.words(2 * starts[starts.length - 1]!);
    halves.set(words.subarray(2 * starts[fromSpan]!, 2 * starts[toSpan]!));
  } else if (encoding === STEPS) readWide(reader, starts, fromSpan, toSpan, halves);
  else if (encoding === FRONTS) readFronts(reader, starts, fromSpan, toSpan, halves);
  else if (encoding === MIXED && mayMix) readMixed(reader, starts, fromSpan, toSpan, halves);
  else throw damaged(`floats of encoding ${encoding}`);
}

function readFronts(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Uint32Array,
): void {
  const count = starts[starts.length - 1]!;
  const lower = reader.u8();
  if (lower < 44 || lower > 52) throw damaged(`lower parts of ${lower} bits`);
  const known = reader.count(256, 'fronts');
  const table = Array.from({ length: known }, () => reader.u32());
  const array = () => {
    const whole = new Uint32Array(count + 2 * FRAME);
    readPacked(reader, count, 0, count, whole);
    return whole;
  };
  const [indexes, low, high] = [array(), array(), array()];
  const from = starts[fromSpan]!;
  for (let i = from; i < starts[toSpan]!; i++) {
    const front = table[indexes[i]!];
    if (front === undefined) throw damaged(`front ${indexes[i]} of ${known}`);
    into[2 * (i - from)] = low[i]!;
    into[2 * (i - from) + 1] = ((front * 2 ** (lower - 32)) % 2 ** 32) | high[i]!;
  }
}

function readMixed(reader: ByteReader, starts: Uint32Array, fromSpan: number, toSpan: number, into: Uint32Array): void {
  const flags = readBits(reader, starts[starts.length - 1]!);
  const from = starts[fromSpan]!;
  for (const wanted of [0, 1]) {
    const denseStarts = new Uint32Array(starts.length);
    for (let s = 0; s + 1 < starts.length; s++) {
      const taken = flags.subarray(starts[s]!, starts[s + 1]!).filter((flag) => flag === wanted).length;
      denseStarts[s + 1] = denseStarts[s]! + taken;
    }
    const dense = new Float64Array(spanOf(denseStarts, fromSpan, toSpan));
    readEncoded(reader, denseStarts, fromSpan, toSpan, dense, false);
    const halves = new Uint32Array(dense.buffer);
    let at = 0;
    for (let i = from; i < starts[toSpan]!; i++) {
      if (flags[i] !== wanted) continue;
      into[2 * (i - from)] = halves[at++]!;
      into[2 * (i - from) + 1] = halves[at++]!;
    }
  }
}
