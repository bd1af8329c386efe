/**
 * Packed: an array of unsigned 32-bit numbers, bit-packed in frames, with exceptions patched in.
 *
 * Numbers go in frames of 128, each packed with the width that is cheapest for it; numbers of a frame that need more
 * bits leave their upper bits in a list of exceptions (patched frame of reference: Zukowski et al., "Super-Scalar
 * RAM-CPU Cache Compression", ICDE 2006; Lemire & Boytsov 2015). A frame fills whole words, 4 per bit of width, so any
 * frame can be found and unpacked without those before it.
 *
 * Layout: widths (one byte if all frames have the same, 0x80 | width; else 0x40 and a byte a frame, last frame too),
 * varint exceptions, then if any: byte bits of a position, byte bits of an upper part, words positions, words upper
 * parts; words of the frames. The last frame may be short; its words are rounded up. What the kernel writes since, tuples
 * (format version 2) and gaps (3), is read here and not written.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';

export const FRAME = 128;
const FRAME_SHIFT = 7;
const SAME_WIDTH = 0x80;
const TUPLES = 0xc0;
const OWN_WIDTHS = 0x40;
const GAPS = 0xff;
/** An exception may cost more than its bits: the loop that patches it. */
const PATCH_BITS = 2;

const histogram = new Uint32Array(33);

export function bitsOf(value: number): number {
  return 32 - Math.clz32(value);
}

function wordsFor(count: number, width: number): number {
  return Math.ceil((count * width) / 32);
}

/** The cheapest width for the histogram of `total` numbers whose greatest has `top` bits; its cost in bits is left in `widthCost`. */
let widthCost = 0;
function cheapestWidth(total: number, positionBits: number): number {
  let top = 32;
  while (top > 0 && histogram[top] === 0) top--;
  let best = top;
  let bestCost = total * top;
  let exceptions = 0;
  for (let width = top - 1; width >= 0; width--) {
    exceptions += histogram[width + 1]!;
    const cost = total * width + exceptions * (positionBits + (top - width) + PATCH_BITS);
    if (cost < bestCost) {
      best = width;
      bestCost = cost;
    }
  }
  widthCost = bestCost;
  return best;
}

/** Estimated bits for `count` numbers under one width; the frames make it smaller. */
export function packedCost(bitLengths: Uint32Array, count: number): number {
  histogram.set(bitLengths);
  cheapestWidth(count, bitsOf(count));
  return widthCost;
}

export function writePacked(writer: ByteWriter, values: Uint32Array, count: number): void {
  const frames = Math.ceil(count / FRAME);
  const widths = new Uint8Array(frames);
  const positionBits = bitsOf(count);
  let exceptions = 0;
  let words = 0;
  let same = true;
  for (let frame = 0; frame < frames; frame++) {
    const start = frame << FRAME_SHIFT;
    const end = Math.min(start + FRAME, count);
    histogram.fill(0);
    for (let i = start; i < end; i++) histogram[32 - Math.clz32(values[i]!)]!++;
    const width = cheapestWidth(end - start, positionBits);
    for (let bits = width + 1; bits <= 32; bits++) exceptions += histogram[bits]!;
    widths[frame] = width;
    if (width !== widths[0]) same = false;
    words += wordsFor(end - start, width);
  }
  if (same) writer.u8(SAME_WIDTH | (frames === 0 ? 0 : widths[0]!));
  else {
    writer.u8(OWN_WIDTHS);
    writer.raw(widths);
  }
  writer.varint(exceptions);
  if (exceptions > 0) writeExceptions(writer, values, count, widths, exceptions, positionBits);
  const into = writer.words(words);
  let at = 0;
  for (let frame = 0; frame < frames; frame++) {
    const start = frame << FRAME_SHIFT;
    const end = Math.min(start + FRAME, count);
    packFrame(values, start, end, widths[frame]!, into, at);
    at += wordsFor(end - start, widths[frame]!);
  }
}

function writeExceptions(
  writer: ByteWriter,
  values: Uint32Array,
  count: number,
  widths: Uint8Array,
  exceptions: number,
  positionBits: number,
): void {
  const positions = new Uint32Array(exceptions);
  const uppers = new Uint32Array(exceptions);
  let found = 0;
  let greatest = 0;
  for (let i = 0; i < count; i++) {
    const width = widths[i >>> FRAME_SHIFT]!;
    if (width === 32) continue;
    const upper = values[i]! >>> width;
    if (upper === 0) continue;
    positions[found] = i;
    uppers[found++] = upper;
    if (upper > greatest) greatest = upper;
  }
  const upperBits = bitsOf(greatest);
  writer.u8(positionBits);
  writer.u8(upperBits);
  packFrame(positions, 0, exceptions, positionBits, writer.words(wordsFor(exceptions, positionBits)), 0);
  packFrame(uppers, 0, exceptions, upperBits, writer.words(wordsFor(exceptions, upperBits)), 0);
}

function packFrame(
  values: Uint32Array,
  start: number,
  end: number,
  width: number,
  into: Uint32Array,
  at: number,
): void {
  if (width === 0) return;
  if (width === 32) {
    into.set(values.subarray(start, end), at);
    return;
  }
  const mask = 0xffffffff >>> (32 - width);
  let word = 0;
  let filled = 0;
  let out = at;
  for (let i = start; i < end; i++) {
    const value = values[i]! & mask;
    word |= value << filled;
    filled += width;
    if (filled >= 32) {
      into[out++] = word;
      filled -= 32;
      word = filled === 0 ? 0 : value >>> (width - filled);
    }
  }
  if (filled > 0) into[out] = word;
}

/**
 * Reads numbers from .. to - 1 of `count` into `into` (from index 0) and leaves the reader behind the array.
 * `into` must have room for 128 more on each side of the range: whole frames are unpacked. Returns the index in `into`
 * of number `from`.
 */
export function readPacked(reader: ByteReader, count: number, from: number, to: number, into: Uint32Array): number {
  const frames = Math.ceil(count / FRAME);
  const head = reader.u8();
  if ((head & TUPLES) === TUPLES) return readTuples(reader, count, from, to, head & 0x3f, into);
  let widths: Uint8Array | null = null;
  const width = head & 0x3f;
  if (head === OWN_WIDTHS) widths = reader.raw(frames);
  else if ((head & 0xc0) !== SAME_WIDTH || width > 32) throw damaged(`width byte ${head}`);
  const exceptions = reader.count(count, 'exceptions');
  const patches = readPatches(reader, exceptions, count);
  const firstFrame = from >>> FRAME_SHIFT;
  const base = firstFrame << FRAME_SHIFT;
  if (widths === null) {
    const words = reader.words(wordsFor(count, width));
    if (to > from) {
      // One width: the frames run on without a gap, so the range is one frame to the unpacker.
      const end = Math.min(((to + FRAME - 1) >>> FRAME_SHIFT) << FRAME_SHIFT, count);
      unpack(words, firstFrame * 4 * width, width, into, 0, end - base);
    }
  } else {
    let total = 0;
    for (let frame = 0; frame < frames; frame++) {
      if (widths[frame]! > 32) throw damaged(`width ${widths[frame]}`);
      total += frame === frames - 1 ? wordsFor(count - (frame << FRAME_SHIFT), widths[frame]!) : widths[frame]! * 4;
    }
    const words = reader.words(total);
    if (to > from) unpackFrames(words, widths, count, firstFrame, to, into);
  }
  if (to > from) {
    for (let i = 0; i < exceptions; i++) {
      const position = patches.positions[i]!;
      if (position < from || position >= to) continue;
      const bits = widths === null ? width : widths[position >>> FRAME_SHIFT]!;
      into[position - base] = into[position - base]! | (patches.uppers[i]! << bits);
    }
  }
  return from - base;
}

/** Positions and upper parts of the exceptions; many as packed gaps and packed upper parts (since format version 3). */
function readPatches(
  reader: ByteReader,
  exceptions: number,
  count: number,
): { positions: Uint32Array; uppers: Uint32Array } {
  let positions = new Uint32Array(exceptions);
  let uppers = new Uint32Array(exceptions);
  if (exceptions === 0) return { positions, uppers };
  const positionBits = reader.u8();
  if (positionBits === GAPS) {
    if (exceptions < 64 || exceptions * 2 > count) throw damaged(`${exceptions} exceptions of ${count} as gaps`);
    const readAll = () => {
      const all = new Uint32Array(exceptions + 2 * FRAME);
      readPacked(reader, exceptions, 0, exceptions, all);
      return all.slice(0, exceptions);
    };
    positions = readAll();
    uppers = readAll();
    for (let i = 1; i < exceptions; i++) positions[i] = positions[i - 1]! + positions[i]! + 1;
    return { positions, uppers };
  }
  const upperBits = reader.u8();
  if (positionBits > 32 || upperBits > 32) throw damaged(`exceptions of ${positionBits} and ${upperBits} bits`);
  const positionWords = reader.words(wordsFor(exceptions, positionBits));
  const upperWords = reader.words(wordsFor(exceptions, upperBits));
  unpack(positionWords, 0, positionBits, positions, 0, exceptions);
  unpack(upperWords, 0, upperBits, uppers, 0, exceptions);
  return { positions, uppers };
}

/** Numbers as digits of one number per tuple, four tuples interleaved; the slow and plain way (since format version 2). */
function readTuples(
  reader: ByteReader,
  count: number,
  from: number,
  to: number,
  digits: number,
  into: Uint32Array,
): number {
  const bound = reader.count(1 << 16, 'as a bound');
  if (digits < 2 || digits > 5 || bound < 2 || bound ** digits > 2 ** 25) throw damaged(`${digits} digits to ${bound}`);
  const exceptions = reader.count(count, 'exceptions');
  const { positions, uppers: values } = readPatches(reader, exceptions, count);
  const tuples = 4 * Math.ceil(count / (4 * digits));
  const width = bitsOf(bound ** digits - 1);
  const packed = new Uint32Array(tuples);
  unpack(reader.words(wordsFor(tuples, width)), 0, width, packed, 0, tuples);
  const whole = new Uint32Array(tuples * digits);
  for (let t = 0; t < tuples; t++) {
    let rest = packed[t]!;
    for (let digit = 0; digit < digits; digit++) {
      const last = digit === digits - 1;
      whole[(t >>> 2) * 4 * digits + 4 * digit + (t & 3)] = last ? rest : rest % bound;
      rest = Math.floor(rest / bound);
    }
  }
  for (let i = 0; i < exceptions; i++) if (positions[i]! < count) whole[positions[i]!] = values[i]!;
  // Where it would stand in its frame: wide.ts takes two arrays side by side.
  into.set(whole.subarray(from, to), from & (FRAME - 1));
  return from & (FRAME - 1);
}

function unpackFrames(
  words: Uint32Array,
  widths: Uint8Array,
  count: number,
  firstFrame: number,
  to: number,
  into: Uint32Array,
): void {
  let at = 0;
  for (let frame = 0; frame < firstFrame; frame++) at += widths[frame]! * 4;
  let out = 0;
  for (let frame = firstFrame; frame << FRAME_SHIFT < to; frame++) {
    const length = Math.min(FRAME, count - (frame << FRAME_SHIFT));
    unpack(words, at, widths[frame]!, into, out, length);
    at += widths[frame]! * 4;
    out += length;
  }
}

function unpack(words: Uint32Array, at: number, width: number, into: Uint32Array, start: number, count: number): void {
  const end = start + count;
  if (width === 0) {
    into.fill(0, start, end);
    return;
  }
  if (width === 32) {
    into.set(words.subarray(at, at + count), start);
    return;
  }
  const mask = 0xffffffff >>> (32 - width);
  let source = at;
  let word = words[source++]! | 0;
  let left = 32;
  for (let i = start; i < end; i++) {
    if (left >= width) {
      into[i] = word & mask;
      word >>>= width;
      left -= width;
    } else {
      // Reading past the last word gives undefined, and | 0 makes that zero; the bits are not used then.
      const next = words[source++]! | 0;
      into[i] = (word | (next << left)) & mask;
      word = next >>> (width - left);
      left += 32 - width;
    }
  }
}
