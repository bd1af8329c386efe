/**
 * Wide sequences: 64-bit numbers in spans, exact over the whole range, as differences modulo 2^64, bit-packed.
 *
 * The same idea as narrow.ts for what does not fit there: numbers are pairs of 32-bit halves (a bigint per value costs
 * ten times as much), differences of order 0 (from the first number of the sequence), 1 or 2 are zigzagged, and the
 * lower and the upper halves are packed as two arrays; upper halves that are all zero cost nothing.
 *
 * Layout: byte order; order 0: u32 lower, u32 upper half of the base; order >= 1: sequence of first numbers; order 2:
 * sequence of first differences; packed lower halves; packed upper halves.
 */
import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import { FRAME, packedCost, readPacked, writePacked } from './packed.ts';
import { residualScratch, upperResidualScratch } from './scratch.ts';

const bitLengths = new Uint32Array(33);

/** `halves` holds lower and upper half of each number in turn (a view of a BigInt64Array). */
export function writeWide(writer: ByteWriter, halves: Uint32Array, starts: Uint32Array): void {
  const count = starts[starts.length - 1]!;
  const lower = new Uint32Array(count);
  const upper = new Uint32Array(count);
  let best = 0;
  let bestCost = Number.POSITIVE_INFINITY;
  for (let order = 0; order <= 2 && order < Math.max(count, 1); order++) {
    const found = differences(halves, starts, order, lower, upper);
    const cost = costOf(lower, found) + costOf(upper, found) + order * Math.min(starts.length - 1, count) * 40;
    if (cost < bestCost) {
      best = order;
      bestCost = cost;
    }
  }
  writer.u8(best);
  if (best === 0) {
    writer.u32(count === 0 ? 0 : halves[0]!);
    writer.u32(count === 0 ? 0 : halves[1]!);
  } else {
    for (let which = 0; which < best; which++) writeFront(writer, halves, starts, which);
  }
  const found = differences(halves, starts, best, lower, upper);
  writePacked(writer, lower, found);
  writePacked(writer, upper, found);
}

function writeFront(writer: ByteWriter, halves: Uint32Array, starts: Uint32Array, which: number): void {
  const front = new Uint32Array((starts.length - 1) * 2);
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const at = starts[s]! + which;
    if (at >= starts[s + 1]!) continue;
    let low = halves[2 * at]!;
    let high = halves[2 * at + 1]!;
    if (which === 1) {
      const borrow = low < halves[2 * at - 2]! ? 1 : 0;
      low -= halves[2 * at - 2]!;
      high -= halves[2 * at - 1]! + borrow;
    }
    front[2 * count] = low;
    front[2 * count + 1] = high;
    count++;
  }
  writeWide(writer, front, Uint32Array.of(0, count));
}

/** Zigzagged residuals of the given order, dense; returns how many. */
function differences(
  halves: Uint32Array,
  starts: Uint32Array,
  order: number,
  lower: Uint32Array,
  upper: Uint32Array,
): number {
  let out = 0;
  const baseLow = order === 0 && halves.length > 0 ? halves[0]! | 0 : 0;
  const baseHigh = order === 0 && halves.length > 0 ? halves[1]! | 0 : 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const start = starts[s]!;
    const end = starts[s + 1]!;
    // The number before, and the difference before, as halves.
    let lastLow = baseLow;
    let lastHigh = baseHigh;
    let stepLow = 0;
    let stepHigh = 0;
    for (let i = start; i < end; i++) {
      const low = halves[2 * i]! | 0;
      const high = halves[2 * i + 1]! | 0;
      let dLow = (low - lastLow) | 0;
      let dHigh = (high - lastHigh - (low >>> 0 < lastLow >>> 0 ? 1 : 0)) | 0;
      if (order > 0) {
        lastLow = low;
        lastHigh = high;
        if (order === 2) {
          const firstLow = dLow;
          const firstHigh = dHigh;
          dHigh = (dHigh - stepHigh - (dLow >>> 0 < stepLow >>> 0 ? 1 : 0)) | 0;
          dLow = (dLow - stepLow) | 0;
          stepLow = firstLow;
          stepHigh = firstHigh;
        }
        if (i - start < order) continue;
      }
      const sign = dHigh >> 31;
      lower[out] = (dLow << 1) ^ sign;
      upper[out++] = ((dHigh << 1) | (dLow >>> 31)) ^ sign;
    }
  }
  return out;
}

function costOf(values: Uint32Array, count: number): number {
  bitLengths.fill(0);
  for (let i = 0; i < count; i++) bitLengths[32 - Math.clz32(values[i]!)]!++;
  return packedCost(bitLengths, count);
}

/** Spans fromSpan .. toSpan - 1 as halves in turn from index 0. Leaves the reader behind the sequence. */
export function readWide(
  reader: ByteReader,
  starts: Uint32Array,
  fromSpan: number,
  toSpan: number,
  into: Uint32Array,
): void {
  const order = reader.u8();
  // As written: an order below the count. It also ends the recursion of hostile bytes, a front being shorter each time.
  if (order > 2 || order >= Math.max(starts[starts.length - 1]!, 1)) throw damaged(`wide sequence of order ${order}`);
  let baseLow = 0;
  let baseHigh = 0;
  let firsts: Uint32Array | null = null;
  let seconds: Uint32Array | null = null;
  if (order === 0) {
    baseLow = reader.u32() | 0;
    baseHigh = reader.u32() | 0;
  } else {
    firsts = readFront(reader, starts, 0);
    if (order === 2) seconds = readFront(reader, starts, 1);
  }
  const spans = starts.length - 1;
  let total = 0;
  let from = 0;
  let to = 0;
  let firstAt = 0;
  let secondAt = 0;
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
  const lower = residualScratch(to - from + 2 * FRAME);
  let at = readPacked(reader, total, from, to, lower);
  const upper = upperResidualScratch(to - from + 2 * FRAME);
  readPacked(reader, total, from, to, upper);
  const offset = starts[fromSpan]!;
  for (let s = fromSpan; s < toSpan; s++) {
    let out = starts[s]! - offset;
    const end = starts[s + 1]! - offset;
    if (out === end) continue;
    let low = baseLow;
    let high = baseHigh;
    let stepLow = 0;
    let stepHigh = 0;
    if (firsts !== null) {
      low = firsts[2 * firstAt]! | 0;
      high = firsts[2 * firstAt + 1]! | 0;
      firstAt++;
      into[2 * out] = low;
      into[2 * out + 1] = high;
      out++;
    }
    if (seconds !== null && out < end) {
      stepLow = seconds[2 * secondAt]! | 0;
      stepHigh = seconds[2 * secondAt + 1]! | 0;
      secondAt++;
      low = (low + stepLow) | 0;
      high = (high + stepHigh + (low >>> 0 < stepLow >>> 0 ? 1 : 0)) | 0;
      into[2 * out] = low;
      into[2 * out + 1] = high;
      out++;
    }
    for (; out < end; out++) {
      const rLow = lower[at]! | 0;
      const rHigh = upper[at++]! | 0;
      const sign = -(rLow & 1);
      let dLow = ((rLow >>> 1) | (rHigh << 31)) ^ sign;
      let dHigh = (rHigh >>> 1) ^ sign;
      if (order === 2) {
        stepLow = (stepLow + dLow) | 0;
        stepHigh = (stepHigh + dHigh + (stepLow >>> 0 < dLow >>> 0 ? 1 : 0)) | 0;
        dLow = stepLow;
        dHigh = stepHigh;
      }
      const sumLow = ((order === 0 ? baseLow : low) + dLow) | 0;
      const sumHigh = ((order === 0 ? baseHigh : high) + dHigh + (sumLow >>> 0 < dLow >>> 0 ? 1 : 0)) | 0;
      into[2 * out] = sumLow;
      into[2 * out + 1] = sumHigh;
      low = sumLow;
      high = sumHigh;
    }
  }
}

function readFront(reader: ByteReader, starts: Uint32Array, which: number): Uint32Array {
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) if (starts[s]! + which < starts[s + 1]!) count++;
  const into = new Uint32Array(2 * count);
  readWide(reader, Uint32Array.of(0, count), 0, 1, into);
  return into;
}
