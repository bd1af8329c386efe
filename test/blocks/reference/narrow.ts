/**
 * Narrow sequences: whole numbers 0 .. 2^31 - 1 in spans (one span per series), as differences, bit-packed.
 *
 * Order 0 stores the numbers, order 1 their differences within a span, order 2 the differences of those (delta of
 * delta, Gorilla: Pelkonen et al., VLDB 2015). What is taken out at the front of the spans (first numbers, first
 * differences) is a sequence of its own, so that a block of many short series costs no more than one of few long ones.
 * Residuals lie around a base: either the least, or a middle one with the distance from it zigzagged (small both ways).
 * Which order and which base is cheapest is computed, not guessed: a histogram of bit lengths for each.
 *
 * Arithmetic is modulo 2^32, so differences cannot overflow.
 * Layout: byte order | zigzag << 2; u32 base; order >= 1: sequence of the first numbers; order 2: sequence of the first
 * differences; packed residuals.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { FRAME, packedCost, readPacked, writePacked } from './packed.ts';
import { residualScratch } from './scratch.ts';

/** Above this no number fits; sequences are checked before they are written here. */
export const NARROW_MAX = 0x7fffffff;

const SAMPLES = 63;
const bitLengths = new Uint32Array(33);

/** Starts of the spans of one sequence that is a single span. */
function single(count: number): Uint32Array {
  return Uint32Array.of(0, count);
}

/** `values[starts[s]] .. values[starts[s + 1] - 1]` is span s. */
export function writeNarrow(writer: ByteWriter, values: Int32Array, starts: Uint32Array): void {
  const count = starts[starts.length - 1]!;
  let bestCost = Number.POSITIVE_INFINITY;
  let bestOrder = 0;
  let bestBase = 0;
  let bestZigzag = 0;
  for (let order = 0; order <= 2 && order < Math.max(count, 1); order++) {
    const residuals = new Int32Array(count);
    const found = differences(values, starts, order, residuals);
    // What is taken out at the front costs about a full number for each span.
    const front = order * Math.min(starts.length - 1, count) * 16;
    if (front > bestCost) continue;
    for (let zigzag = 0; zigzag <= 1; zigzag++) {
      const base = zigzag ? middle(residuals, found) : least(residuals, found);
      const cost = front + costAround(residuals, found, base, zigzag);
      if (cost < bestCost) {
        bestCost = cost;
        bestOrder = order;
        bestBase = base;
        bestZigzag = zigzag;
      }
    }
    // Order 2 pays where order 1 left steady rates; not where order 1 was worse than plain numbers, nor where it is nothing.
    if (order === 1 && (bestOrder === 0 || bestCost - front <= count / 16)) break;
  }
  writer.u8(bestOrder | (bestZigzag << 2));
  writer.u32(bestBase >>> 0);
  if (bestOrder >= 1) writeFront(writer, values, starts, 0);
  if (bestOrder === 2) writeFront(writer, values, starts, 1);
  const residuals = new Int32Array(count);
  const found = differences(values, starts, bestOrder, residuals);
  const packed = new Uint32Array(residuals.buffer);
  if (bestZigzag) {
    for (let i = 0; i < found; i++) {
      const distance = (residuals[i]! - bestBase) | 0;
      packed[i] = (distance << 1) ^ (distance >> 31);
    }
  } else {
    for (let i = 0; i < found; i++) packed[i] = residuals[i]! - bestBase;
  }
  writePacked(writer, packed, found);
}

/** Residuals of the given order, dense; returns how many. */
function differences(values: Int32Array, starts: Uint32Array, order: number, into: Int32Array): number {
  let out = 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const start = starts[s]!;
    const end = starts[s + 1]!;
    if (order === 0) {
      for (let i = start; i < end; i++) into[out++] = values[i]!;
    } else if (order === 1) {
      for (let i = start + 1; i < end; i++) into[out++] = values[i]! - values[i - 1]!;
    } else {
      for (let i = start + 2; i < end; i++) into[out++] = values[i]! - 2 * values[i - 1]! + values[i - 2]!;
    }
  }
  return out;
}

/** First numbers (which = 0) or first differences (which = 1) of the spans that have one, as a sequence of its own. */
function writeFront(writer: ByteWriter, values: Int32Array, starts: Uint32Array, which: number): void {
  const front = new Int32Array(starts.length - 1);
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const at = starts[s]! + which;
    if (at < starts[s + 1]!) front[count++] = which === 0 ? values[at]! : values[at]! - values[at - 1]!;
  }
  writeNarrow(writer, front, single(count));
}

function least(values: Int32Array, count: number): number {
  if (count === 0) return 0;
  let min = values[0]!;
  for (let i = 1; i < count; i++) if (values[i]! < min) min = values[i]!;
  return min;
}

/** Median of a sample. */
function middle(values: Int32Array, count: number): number {
  if (count === 0) return 0;
  const taken = Math.min(count, SAMPLES);
  const sample = new Int32Array(taken);
  for (let i = 0; i < taken; i++) sample[i] = values[Math.floor((i * count) / taken)]!;
  sample.sort();
  return sample[taken >>> 1]!;
}

function costAround(values: Int32Array, count: number, base: number, zigzag: number): number {
  bitLengths.fill(0);
  if (zigzag) {
    for (let i = 0; i < count; i++) {
      const distance = (values[i]! - base) | 0;
      bitLengths[32 - Math.clz32((distance << 1) ^ (distance >> 31))]!++;
    }
  } else {
    for (let i = 0; i < count; i++) bitLengths[32 - Math.clz32(values[i]! - base)]!++;
  }
  return packedCost(bitLengths, count);
}

/** How the residuals of a sequence turn back into numbers. */
interface NarrowHeader {
  order: number;
  zigzag: boolean;
  base: number;
  firsts: Int32Array | null;
  seconds: Int32Array | null;
}

function readHeader(reader: ByteReader, starts: Uint32Array): NarrowHeader {
  const kind = reader.u8();
  const order = kind & 3;
  const count = starts[starts.length - 1]!;
  // As written: an order below the count. It also ends the recursion of hostile bytes, a front being shorter each time.
  if (kind > 7 || order > 2 || order >= Math.max(count, 1))
    throw damaged(`sequence of kind ${kind} for ${count} numbers`);
  const base = reader.u32() | 0;
  const firsts = order >= 1 ? readFront(reader, starts, 0) : null;
  const seconds = order === 2 ? readFront(reader, starts, 1) : null;
  return { order, zigzag: kind > 3, base, firsts, seconds };
}

function readFront(reader: ByteReader, starts: Uint32Array, which: number): Int32Array {
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) if (starts[s]! + which < starts[s + 1]!) count++;
  const into = new Int32Array(count);
  readNarrow(reader, single(count), 0, 1, into);
  return into;
}

/** Spans fromSpan .. toSpan - 1 into `into` from index 0. Leaves the reader behind the sequence. */
export function readNarrow(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Int32Array,
): void {
  const header = readHeader(reader, starts);
  const { order, base, firsts, seconds } = header;
  const spans = starts.length - 1;
  let total = 0;
  let from = 0;
  let to = 0;
  let firstAt = 0;
  let secondAt = 0;
  if (order === 0) {
    total = starts[spans]!;
    from = starts[fromSpan]!;
    to = starts[toSpan]!;
  } else {
    for (let s = 0; s < spans; s++) {
      if (s === fromSpan) from = total;
      if (s === toSpan) to = total;
      const length = starts[s + 1]! - starts[s]!;
      if (s < fromSpan) {
        if (length > 0) firstAt++;
        if (length > 1) secondAt++;
      }
      if (length > order) total += length - order;
    }
    if (toSpan === spans) to = total;
    if (fromSpan === spans) from = total;
  }
  const residuals = residualScratch(to - from + 2 * FRAME);
  let at = readPacked(reader, total, from, to, residuals);
  const offset = starts[fromSpan]!;
  if (order === 0) {
    restore(residuals, at, to - from, base, header.zigzag, into, 0);
    return;
  }
  for (let s = fromSpan; s < toSpan; s++) {
    const start = starts[s]! - offset;
    const end = starts[s + 1]! - offset;
    if (start === end) continue;
    const first = firsts![firstAt++]!;
    into[start] = first;
    if (order === 1) {
      if (header.zigzag) sumZigzag(residuals, at, base, first, into, start + 1, end);
      else sumPlain(residuals, at, base, first, into, start + 1, end);
      at += end - start - 1;
    } else if (end - start > 1) {
      const step = seconds![secondAt++]!;
      into[start + 1] = first + step;
      sumTwice(residuals, at, base, header.zigzag, step, into, start + 2, end);
      at += end - start - 2;
    }
  }
}

function restore(
  residuals: Uint32Array,
  at: number,
  count: number,
  base: number,
  zigzag: boolean,
  into: Int32Array,
  start: number,
): void {
  if (zigzag) {
    for (let i = 0; i < count; i++) {
      const r = residuals[at + i]!;
      into[start + i] = base + ((r >>> 1) ^ -(r & 1));
    }
  } else {
    for (let i = 0; i < count; i++) into[start + i] = base + (residuals[at + i]! | 0);
  }
}

function sumZigzag(
  residuals: Uint32Array,
  at: number,
  base: number,
  first: number,
  into: Int32Array,
  start: number,
  end: number,
): void {
  let sum = first;
  const shift = at - start;
  for (let i = start; i < end; i++) {
    const r = residuals[i + shift]! | 0;
    sum = (sum + base + ((r >>> 1) ^ -(r & 1))) | 0;
    into[i] = sum;
  }
}

function sumPlain(
  residuals: Uint32Array,
  at: number,
  base: number,
  first: number,
  into: Int32Array,
  start: number,
  end: number,
): void {
  let sum = first;
  const shift = at - start;
  for (let i = start; i < end; i++) {
    sum = (sum + base + (residuals[i + shift]! | 0)) | 0;
    into[i] = sum;
  }
}

function sumTwice(
  residuals: Uint32Array,
  at: number,
  base: number,
  zigzag: boolean,
  firstStep: number,
  into: Int32Array,
  start: number,
  end: number,
): void {
  let step = firstStep;
  let sum = into[start - 1]!;
  const shift = at - start;
  for (let i = start; i < end; i++) {
    const r = residuals[i + shift]! | 0;
    step = (step + base + (zigzag ? (r >>> 1) ^ -(r & 1) : r)) | 0;
    sum = (sum + step) | 0;
    into[i] = sum;
  }
}
