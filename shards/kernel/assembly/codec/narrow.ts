/**
 * Narrow sequences: whole numbers 0 .. 2^31 - 1 in spans (one span per series), as differences, bit-packed.
 *
 * Order 0 stores the numbers, order 1 their differences within a span, order 2 the differences of those (delta of
 * delta, Gorilla: Pelkonen et al., VLDB 2015). What is taken out at the front of the spans (first numbers, first
 * differences) is a sequence of its own, so that a block of many short series costs no more than one of few long ones.
 * Residuals lie around a base: either the least, or one in the middle (the median, or between the ends without outliers)
 * with the distance from it zigzagged (small both ways).
 * Which order and which base is cheapest is computed on a sample (all of a short sequence), with histograms of bit
 * lengths; the base and the packing are then those of all residuals.
 *
 * Arithmetic is modulo 2^32, so differences cannot overflow. They are read by narrow-read.ts.
 * Layout: byte order | zigzag << 2; u32 base; order >= 1: sequence of the first numbers; order 2: sequence of the first
 * differences; packed residuals.
 */
import { oneSpan, scratch, scratchMark, scratchRelease } from './arena';
import { bitsOf } from './bit-width';
import { densestMiddle } from './bounds';
import { packedCost, sortWords, writePacked } from './packed';
import { writeU32, writeU8 } from './writer';

/** A sequence is judged by about so many of its residuals. */
const SAMPLE_MAX: u32 = 640;
/** Up to this it is judged by all. */
const WHOLE_MAX: u32 = 1024;
const MEDIAN_OF: u32 = 31;
/** Where most residuals lie is told by so many of them, without so many outliers at each end. */
const RANGE_OF: u32 = 255;
const OUTLIERS: u32 = 8;

const bitLengths: usize = memory.data(33 * 4, 16);

/** Of the last `costAround`. */
let bestZigzag: u32 = 0;
let bestBase: i32 = 0;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/** `values` (i32) and `starts` (u32, one more than spans) as in a column; span s is starts[s] .. starts[s + 1] - 1. */
export function writeNarrow(values: usize, starts: usize, spans: u32): void {
  const mark = scratchMark();
  const count = at32(starts, spans);
  const residuals = scratch((<usize>count << 2) + 128);
  const order = chooseOrder(values, starts, spans, count, residuals);
  const found = differences(values, starts, spans, order, residuals);
  chooseBase(values, starts, spans, count, order, residuals, found);
  // The sequences of the fronts are judged in between.
  const zigzag = bestZigzag;
  const base = bestBase;
  writeU8(order | (zigzag << 2));
  writeU32(<u32>base);
  if (order >= 1) writeFront(values, starts, spans, 0);
  if (order == 2) writeFront(values, starts, spans, 1);
  aroundBase(residuals, found, base, zigzag != 0);
  writePacked(residuals, found);
  scratchRelease(mark);
}

function chooseOrder(values: usize, starts: usize, spans: u32, count: u32, residuals: usize): u32 {
  let best: u32 = 0;
  let bestCost: u64 = u64.MAX_VALUE;
  const orders = min<u32>(3, max<u32>(count, 1));
  for (let order: u32 = 0; order < orders; order++) {
    const found = sample(values, starts, spans, count, order, residuals);
    // What is taken out at the front costs about a full number for each span.
    let front = <u64>order * min(spans, count) * 16;
    if (count > WHOLE_MAX) front = (front * found) / count;
    if (front > bestCost) continue;
    const cost = front + costAround(residuals, found, count, least(residuals, found));
    if (cost < bestCost) {
      best = order;
      bestCost = cost;
    }
    // Order 2 pays where order 1 left steady rates; not where it was worse than plain numbers, nor where it is nothing.
    if (order == 1 && (best == 0 || bestCost - front <= found >>> 4)) break;
  }
  return best;
}

/** Base and zigzag for all residuals: judged by the sample, with the least of all. */
function chooseBase(
  values: usize,
  starts: usize,
  spans: u32,
  count: u32,
  order: u32,
  residuals: usize,
  found: u32,
): void {
  const floor = least(residuals, found);
  if (count <= WHOLE_MAX) {
    costAround(residuals, found, count, floor);
    return;
  }
  const mark = scratchMark();
  const part = scratch((<usize>count << 2) + 128);
  const taken = sample(values, starts, spans, count, order, part);
  const cost = costAround(part, taken, count, floor);
  if (bestZigzag != 0 && found >= RANGE_OF) {
    const centre = middleWithin(residuals, found);
    if (costZigzagged(part, taken, count, centre) <= cost) bestBase = centre;
  }
  scratchRelease(mark);
}

/** Residuals of spans here and there, or all of a short sequence; returns how many. */
function sample(values: usize, starts: usize, spans: u32, count: u32, order: u32, into: usize): u32 {
  if (count <= WHOLE_MAX) return differences(values, starts, spans, order, into);
  const parts = min<u32>(spans, 32);
  const lengthMax = max<u32>(SAMPLE_MAX / parts, 8);
  const step = spans / parts;
  let out = into;
  const piece = scratch(16);
  for (let part: u32 = 0; part < parts; part++) {
    // Several short spans in a row count as much as one long one.
    let left = lengthMax;
    for (let s = part * step; s < (part + 1) * step && left > 0; s++) {
      const start = at32(starts, s);
      const length = at32(starts, s + 1) - start;
      const taken = min(length, left);
      left -= taken;
      const from = start + ((length - taken) >>> 1);
      store<u32>(piece, from);
      store<u32>(piece, from + taken, 4);
      out += <usize>differences(values, piece, 1, order, out) << 2;
    }
  }
  return <u32>((out - into) >>> 2);
}

/**
 * Residuals of the given order, dense; returns how many. Whole vectors are written: what is too much at the end of a span
 * is overwritten by the next one.
 */
function differences(values: usize, starts: usize, spans: u32, order: u32, into: usize): u32 {
  let out = into;
  for (let s: u32 = 0; s < spans; s++) {
    const start = at32(starts, s) + order;
    const end = at32(starts, s + 1);
    if (start >= end) continue;
    const from = values + (<usize>start << 2);
    const length = <usize>(end - start) << 2;
    if (order == 0) {
      if (length <= 32) for (let i: usize = 0; i < length; i += 4) store<u32>(out + i, load<u32>(from + i));
      else memory.copy(out, from, length);
    } else if (order == 1) {
      for (let i: usize = 0; i < length; i += 16) {
        v128.store(out + i, i32x4.sub(v128.load(from + i), v128.load(from + i - 4)));
      }
    } else {
      for (let i: usize = 0; i < length; i += 16) {
        const before = v128.load(from + i - 4);
        const twice = i32x4.sub(v128.load(from + i), i32x4.add(before, before));
        v128.store(out + i, i32x4.add(twice, v128.load(from + i - 8)));
      }
    }
    out += length;
  }
  return <u32>((out - into) >>> 2);
}

/** First numbers (which = 0) or first differences (which = 1) of the spans that have one, as a sequence of its own. */
function writeFront(values: usize, starts: usize, spans: u32, which: u32): void {
  const mark = scratchMark();
  const front = scratch((<usize>spans << 2) + 128);
  let count: u32 = 0;
  for (let s: u32 = 0; s < spans; s++) {
    const at = at32(starts, s) + which;
    if (at >= at32(starts, s + 1)) continue;
    const value = at32(values, at) - (which == 0 ? 0 : at32(values, at - 1));
    store<u32>(front + (<usize>count << 2), value);
    count++;
  }
  const single = oneSpan(count);
  writeNarrow(front, single, 1);
  scratchRelease(mark);
}

function least(values: usize, count: u32): i32 {
  if (count == 0) return 0;
  const end = values + (<usize>count << 2);
  let at = values;
  let smallest = i32.MAX_VALUE;
  if (count >= 4) {
    let lanes = v128.load(at);
    for (; at + 16 <= end; at += 16) lanes = i32x4.min_s(lanes, v128.load(at));
    smallest = min(
      min(i32x4.extract_lane(lanes, 0), i32x4.extract_lane(lanes, 1)),
      min(i32x4.extract_lane(lanes, 2), i32x4.extract_lane(lanes, 3)),
    );
  }
  for (; at < end; at += 4) smallest = min(smallest, load<i32>(at));
  return smallest;
}

/** Some of the residuals, sorted; with the sign bit flipped, signed numbers sort as unsigned ones. */
function sortedFew(values: usize, count: u32, taken: u32): usize {
  const few = scratch(<usize>taken << 2);
  for (let i: u32 = 0; i < taken; i++) {
    store<u32>(few + (<usize>i << 2), at32(values, <u32>((<u64>i * count) / taken)) ^ 0x80000000);
  }
  sortWords(few, taken);
  return few;
}

@inline
function signedAt(few: usize, index: u32): i32 {
  return <i32>(at32(few, index) ^ 0x80000000);
}

/** Of a few. */
function median(values: usize, count: u32): i32 {
  if (count == 0) return 0;
  const mark = scratchMark();
  const taken = min(count, MEDIAN_OF);
  const few = sortedFew(values, count, taken);
  scratchRelease(mark);
  return signedAt(few, taken >>> 1);
}

/** Steps within bounds are shortest around the middle between these, whatever a few outliers do. */
function middleWithin(residuals: usize, found: u32): i32 {
  const mark = scratchMark();
  const few = sortedFew(residuals, found, RANGE_OF);
  const low = signedAt(few, OUTLIERS);
  const high = signedAt(few, RANGE_OF - 1 - OUTLIERS);
  scratchRelease(mark);
  return densestMiddle(residuals, found, low, high, bestBase);
}

/** Cost of the better of both bases for these residuals of an array of `whole`, and which it is. */
function costAround(values: usize, count: u32, whole: u32, floor: i32): u64 {
  countLengths(values, count, floor, false);
  const plain = packedCost(bitLengths, count, whole);
  const centre = median(values, count);
  const zigzag = costZigzagged(values, count, whole, centre);
  bestZigzag = zigzag < plain ? 1 : 0;
  bestBase = zigzag < plain ? centre : floor;
  return min(plain, zigzag);
}

function costZigzagged(values: usize, count: u32, whole: u32, centre: i32): u64 {
  countLengths(values, count, centre, true);
  return packedCost(bitLengths, count, whole);
}

function countLengths(values: usize, count: u32, base: i32, zigzag: bool): void {
  memory.fill(bitLengths, 0, 33 * 4);
  const end = values + (<usize>count << 2);
  for (let at = values; at < end; at += 4) {
    const distance = load<i32>(at) - base;
    const number = zigzag ? (distance << 1) ^ (distance >> 31) : distance;
    const counter = bitLengths + (<usize>bitsOf(<u32>number) << 2);
    store<u32>(counter, load<u32>(counter) + 1);
  }
}

function aroundBase(residuals: usize, count: u32, base: i32, zigzag: bool): void {
  const end = residuals + (<usize>count << 2);
  const bases = i32x4.splat(base);
  for (let at = residuals; at < end; at += 16) {
    const distance = i32x4.sub(v128.load(at), bases);
    v128.store(at, zigzag ? v128.xor(i32x4.shl(distance, 1), i32x4.shr_s(distance, 31)) : distance);
  }
}
