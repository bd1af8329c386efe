/**
 * Wide sequences: 64-bit numbers in spans, exact over the whole range, as differences modulo 2^64, bit-packed.
 *
 * The same idea as narrow.ts for what does not fit there: differences of order 0 (from the first number of the sequence),
 * 1 or 2 are zigzagged, and their lower and upper halves are packed as two arrays; upper halves that are all zero cost
 * nothing.
 *
 * Layout: byte order; order 0: u64 base; order >= 1: sequence of first numbers; order 2: sequence of first differences;
 * packed lower halves; packed upper halves.
 */
import { oneSpan, scratch, scratchMark, scratchRelease } from './arena';
import { bitsOf } from './bit-width';
import { fail, failed, UNKNOWN_FORM } from './failure';
import { packedCost, readPacked, roomForRange, writePacked } from './packed';
import { readU32, readU8 } from './reader';
import { writeU64, writeU8 } from './writer';

const bitLengths: usize = memory.data(33 * 4, 16);

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

@inline
function at64(array: usize, index: u32): u64 {
  return load<u64>(array + (<usize>index << 3));
}

/** A sequence is judged by about so many of its residuals, up to this by all of them. */
const SAMPLE_MAX: u32 = 512;
const WHOLE_MAX: u32 = 1024;
const PIECES: u32 = 8;

/** Of the last `chooseOrder`: bits per number. */
let bestBits: f64 = 0;

/** Bits that a number takes about. */
export function estimateWide(values: usize, starts: usize, spans: u32): f64 {
  const mark = scratchMark();
  const room = (<usize>WHOLE_MAX << 2) + 128;
  chooseOrder(values, starts, spans, scratch(room), scratch(room));
  scratchRelease(mark);
  return bestBits;
}

function chooseOrder(values: usize, starts: usize, spans: u32, lower: usize, upper: usize): u32 {
  const count = at32(starts, spans);
  let sampleStarts = starts;
  let sampleSpans = spans;
  if (count > WHOLE_MAX) {
    // Pieces from the whole length, each from the middle of a span; several of one long span.
    sampleSpans = PIECES;
    sampleStarts = scratch(<usize>PIECES << 3);
    let s: u32 = 0;
    for (let piece: u32 = 0; piece < PIECES; piece++) {
      const start = <u32>((<u64>count * piece) / PIECES);
      while (at32(starts, s + 1) <= start) s++;
      store<u32>(sampleStarts + (<usize>piece << 3), start);
      store<u32>(sampleStarts + (<usize>piece << 3), min(at32(starts, s + 1), start + SAMPLE_MAX / PIECES), 4);
    }
  }
  let best: u32 = 0;
  let bestCost: u64 = u64.MAX_VALUE;
  const orders = min<u32>(3, max<u32>(count, 1));
  for (let order: u32 = 0; order < orders; order++) {
    let found: u32 = 0;
    let taken: u32 = 0;
    let fronts: u32 = 0;
    if (sampleStarts == starts) {
      found = differences(values, starts, spans, order, lower, upper);
      taken = count;
      fronts = min(spans, count);
    } else {
      for (let piece: u32 = 0; piece < PIECES; piece++) {
        const at = sampleStarts + (<usize>piece << 3);
        const done = <usize>found << 2;
        found += differences(values, at, 1, order, lower + done, upper + done);
        taken += at32(at, 1) - at32(at, 0);
      }
      // As many fronts as the whole has per number.
      fronts = <u32>((<u64>min(spans, count) * taken) / count);
    }
    const cost = costOf(lower, found, count) + costOf(upper, found, count) + <u64>order * fronts * 40;
    // Of a piece nothing but the residuals is seen: compared per residual.
    const scaled = sampleStarts == starts || found == 0 ? cost : (cost * taken) / found;
    if (scaled < bestCost) {
      best = order;
      bestCost = scaled;
      bestBits = taken == 0 ? 0 : <f64>scaled / <f64>taken;
    }
  }
  return best;
}

/** `values` are 64-bit numbers. */
export function writeWide(values: usize, starts: usize, spans: u32): void {
  const mark = scratchMark();
  const count = at32(starts, spans);
  const lower = scratch((<usize>count << 2) + 128);
  const upper = scratch((<usize>count << 2) + 128);
  const best = chooseOrder(values, starts, spans, lower, upper);
  writeU8(best);
  if (best == 0) writeU64(count == 0 ? 0 : at64(values, 0));
  else for (let which: u32 = 0; which < best; which++) writeFront(values, starts, spans, which);
  const found = differences(values, starts, spans, best, lower, upper);
  writePacked(lower, found);
  writePacked(upper, found);
  scratchRelease(mark);
}

function writeFront(values: usize, starts: usize, spans: u32, which: u32): void {
  const mark = scratchMark();
  const front = scratch(<usize>spans << 3);
  let count: u32 = 0;
  for (let s: u32 = 0; s < spans; s++) {
    const at = at32(starts, s) + which;
    if (at >= at32(starts, s + 1)) continue;
    store<u64>(front + (<usize>count << 3), at64(values, at) - (which == 0 ? 0 : at64(values, at - 1)));
    count++;
  }
  const single = oneSpan(count);
  writeWide(front, single, 1);
  scratchRelease(mark);
}

/** Zigzagged residuals of the given order in halves, dense; returns how many. */
function differences(values: usize, starts: usize, spans: u32, order: u32, lower: usize, upper: usize): u32 {
  let out: usize = 0;
  const base = at32(starts, spans) > 0 ? at64(values, 0) : 0;
  for (let s: u32 = 0; s < spans; s++) {
    const start = at32(starts, s) + order;
    const end = at32(starts, s + 1);
    for (let i = start; i < end; i++) {
      const number = at64(values, i);
      let residual = number;
      if (order == 0) residual -= base;
      else if (order == 1) residual -= at64(values, i - 1);
      else residual -= 2 * at64(values, i - 1) - at64(values, i - 2);
      const zigzag = (residual << 1) ^ <u64>(<i64>residual >> 63);
      store<u32>(lower + out, <u32>zigzag);
      store<u32>(upper + out, <u32>(zigzag >> 32));
      out += 4;
    }
  }
  return <u32>(out >>> 2);
}

function costOf(values: usize, count: u32, whole: u32): u64 {
  memory.fill(bitLengths, 0, 33 * 4);
  const end = values + (<usize>count << 2);
  for (let at = values; at < end; at += 4) {
    const counter = bitLengths + (<usize>bitsOf(load<u32>(at)) << 2);
    store<u32>(counter, load<u32>(counter) + 1);
  }
  return packedCost(bitLengths, count, whole);
}

@inline
function residualAt(lower: usize, upper: usize): u64 {
  const zigzag = <u64>load<u32>(lower) | (<u64>load<u32>(upper) << 32);
  return (zigzag >> 1) ^ (0 - (zigzag & 1));
}

/** Of two residuals, the first and their sum. */
@inline
function runningSums(zigzags: v128): v128 {
  const sign = i64x2.neg(v128.and(zigzags, i64x2.splat(1)));
  const residuals = v128.xor(i64x2.shr_u(zigzags, 1), sign);
  const zero = i64x2.splat(0);
  return i64x2.add(
    residuals,
    i8x16.shuffle(zero, residuals, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23),
  );
}

@inline
function lastLane(lanes: v128): v128 {
  return i8x16.shuffle(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
}

/** The numbers that follow `first` by so many residuals. */
function sumSteps(lower: usize, upper: usize, first: u64, count: u32, into: usize): void {
  const foursEnd = lower + (<usize>(count & ~3) << 2);
  let sum = i64x2.splat(<i64>first);
  let low = lower;
  let high = upper;
  let to = into;
  if (low < foursEnd) {
    do {
      const lows = v128.load(low);
      const highs = v128.load(high);
      const a = runningSums(i8x16.shuffle(lows, highs, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23));
      const b = runningSums(i8x16.shuffle(lows, highs, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31));
      v128.store(to, i64x2.add(a, sum));
      sum = i64x2.add(i64x2.add(b, lastLane(a)), sum);
      v128.store(to, sum, 16);
      sum = lastLane(sum);
      low += 16;
      high += 16;
      to += 32;
    } while (low < foursEnd);
  }
  let number = <u64>i64x2.extract_lane(sum, 0);
  const end = into + (<usize>count << 3);
  for (; to < end; to += 8, low += 4, high += 4) {
    number += residualAt(low, high);
    store<u64>(to, number);
  }
}

/** Spans fromSpan .. toSpan - 1 as 64-bit numbers from `into` on. The reader is left behind the sequence. */
export function readWide(starts: usize, spans: u32, fromSpan: u32, toSpan: u32, into: usize): void {
  const order = readU8();
  const count = at32(starts, spans);
  // As written: an order below the count. It also ends the recursion of hostile bytes, a front being shorter each time.
  if (order > 2 || order >= max<u32>(count, 1)) fail(UNKNOWN_FORM);
  if (failed()) return;
  const mark = scratchMark();
  let base: u64 = 0;
  let firsts: usize = 0;
  let seconds: usize = 0;
  if (order == 0) {
    base = readU32();
    base |= <u64>readU32() << 32;
  } else {
    firsts = readFront(starts, spans, 0);
    if (order == 2) seconds = readFront(starts, spans, 1);
  }
  if (failed()) return;
  let total: u32 = 0;
  let from: u32 = 0;
  let to: u32 = 0;
  let firstAt: u32 = 0;
  let secondAt: u32 = 0;
  for (let s: u32 = 0; s < spans; s++) {
    if (s == fromSpan) from = total;
    if (s == toSpan) to = total;
    const length = at32(starts, s + 1) - at32(starts, s);
    if (s < fromSpan) {
      if (length > 0) firstAt++;
      if (length > 1) secondAt++;
    }
    if (length > order) total += length - order;
  }
  if (toSpan == spans) to = total;
  if (fromSpan == spans) from = total;
  const lower = scratch(roomForRange(from, to) << 2);
  const upper = scratch(roomForRange(from, to) << 2);
  // Each array has frames of its own: where the range begins in them may differ.
  let lowerAt = lower + (<usize>readPacked(total, from, to, lower) << 2);
  let upperAt = upper + (<usize>readPacked(total, from, to, upper) << 2);
  if (failed()) return;
  const offset = at32(starts, fromSpan);
  for (let s = fromSpan; s < toSpan; s++) {
    let out = into + (<usize>(at32(starts, s) - offset) << 3);
    const end = into + (<usize>(at32(starts, s + 1) - offset) << 3);
    if (out == end) continue;
    let number = base;
    let step: u64 = 0;
    if (order > 0) {
      number = at64(firsts, firstAt++);
      store<u64>(out, number);
      out += 8;
      if (order == 2 && out < end) {
        step = at64(seconds, secondAt++);
        number += step;
        store<u64>(out, number);
        out += 8;
      }
    }
    if (order == 1) {
      const count = <u32>((end - out) >>> 3);
      sumSteps(lowerAt, upperAt, number, count, out);
      lowerAt += <usize>count << 2;
      upperAt += <usize>count << 2;
      continue;
    }
    for (; out < end; out += 8) {
      const residual = residualAt(lowerAt, upperAt);
      lowerAt += 4;
      upperAt += 4;
      if (order == 2) {
        step += residual;
        number += step;
        store<u64>(out, number);
      } else store<u64>(out, base + residual);
    }
  }
  scratchRelease(mark);
}

function readFront(starts: usize, spans: u32, which: u32): usize {
  let count: u32 = 0;
  for (let s: u32 = 0; s < spans; s++) if (at32(starts, s) + which < at32(starts, s + 1)) count++;
  const into = scratch(<usize>count << 3);
  const single = oneSpan(count);
  readWide(single, 1, 0, 1, into);
  return into;
}
