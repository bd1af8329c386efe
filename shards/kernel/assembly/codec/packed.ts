/**
 * Packed: an array of unsigned 32-bit numbers, bit-packed in frames, with exceptions patched in.
 *
 * Numbers go in frames of 128, each packed with the width that is cheapest for it; numbers of a frame that need more
 * bits leave their upper bits in a list of exceptions (patched frame of reference: Zukowski et al., "Super-Scalar
 * RAM-CPU Cache Compression", ICDE 2006; Lemire & Boytsov 2015). A frame fills whole words, 4 per bit of width, so any
 * frame can be found and unpacked without those before it. Where one bound that is no power of two is clearly cheaper for
 * the whole array, its numbers are put together as digits of tuples (radix.ts), those above it being exceptions.
 *
 * The width of a frame is found with vectors: how many numbers do not fit is counted for one width after the other from
 * the top, and the search ends where those exceptions alone cost more than the best so far.
 *
 * Layout: widths (one byte if all frames have the same, 0x80 | width; else 0x40 and a byte a frame, last frame too),
 * varint exceptions, then if any, the patches (patches.ts); words of the frames. The last frame may be short; its words are rounded up.
 * Tuples (since format version 2): byte 0xc0 | digits, varint bound; exceptions as above, with whole numbers in place of
 * upper parts; words of the tuples, as many as fill the last group of four.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { cheapestBound } from './bounds';
import { bitsOf, pack, unpack, wordsFor } from './bit-width';
import { fail, failed, UNKNOWN_FORM } from './failure';
import { readPatches, writePatches } from './patches';
import { bestDigits, DIGITS_MAX, joinTuples, splitTuples, tuplesFor, tupleWidth } from './radix';
import { readCount, readU8, take, takeWords } from './reader';
import { room, roomForWords, writeU8, writeVarint } from './writer';

export const FRAME: u32 = 128;
const FRAME_SHIFT: u32 = 7;
const SAME_WIDTH: u32 = 0x80;
const OWN_WIDTHS: u32 = 0x40;
const TUPLES: u32 = 0xc0;
/** An exception may cost more than its bits: the loop that patches it. */
const PATCH_BITS: u32 = 2;
/** Tuples cost a division to read: they have to save a sixty-fourth. */
const TUPLE_SAVING_SHIFT: u32 = 6;
/** Shorter arrays are not worth a bound of their own. */
const TUPLE_COUNT_MIN: u32 = 64;
const BOUND_MAX: u32 = 1 << 16;
/** What the position of an exception is reckoned at, at most: in a long array with more of them it is a gap. */
const POSITION_BITS_MAX: u32 = 10;

/** Bits that the position of an exception is reckoned at in an array of `count` numbers. */
@inline
export function reckonedPosition(count: u32): u32 {
  return min(bitsOf(count), POSITION_BITS_MAX);
}

/** Set by `planFrame`. */
let planWidth: u32 = 0;
let planExceptions: u32 = 0;
let planMost: u32 = 0;

/** Cheapest width of a frame, the exceptions under it, and the greatest number. Numbers behind the end are zeros. */
function planFrame(values: usize, count: u32, positionBits: u32): void {
  const end = values + (<usize>count << 2);
  let most = i32x4.splat(0);
  for (let at = values; at < end; at += 16) most = i32x4.max_u(most, v128.load(at));
  const greatest = max(
    max(<u32>i32x4.extract_lane(most, 0), <u32>i32x4.extract_lane(most, 1)),
    max(<u32>i32x4.extract_lane(most, 2), <u32>i32x4.extract_lane(most, 3)),
  );
  const top = bitsOf(greatest);
  planMost = greatest;
  planWidth = top;
  planExceptions = 0;
  let cost = count * top;
  for (let width = top; width-- > 0; ) {
    const limit = i32x4.splat((1 << width) - 1);
    let above = i32x4.splat(0);
    for (let at = values; at < end; at += 16) above = i32x4.sub(above, i32x4.gt_u(v128.load(at), limit));
    const exceptions =
      i32x4.extract_lane(above, 0) +
      i32x4.extract_lane(above, 1) +
      i32x4.extract_lane(above, 2) +
      i32x4.extract_lane(above, 3);
    // However narrow, these exceptions stay and grow: no smaller width is better.
    if (<u32>exceptions * (positionBits + top + PATCH_BITS) >= cost) break;
    const patches = <u32>exceptions * (positionBits + (top - width) + PATCH_BITS);
    if (count * width + patches < cost) {
      cost = count * width + patches;
      planWidth = width;
      planExceptions = <u32>exceptions;
    }
  }
}

/**
 * `values` is readable, and written, up to a group of tuples beyond its end. Of numbers that are no exception nothing
 * above their width is set.
 */
export function writePacked(values: usize, count: u32): void {
  const mark = scratchMark();
  const frames = (count + FRAME - 1) >>> FRAME_SHIFT;
  const widths = scratch(frames);
  let greatest: u32 = 0;
  const positionBits = reckonedPosition(count);
  // What a vector reads behind the end must not look like numbers.
  memory.fill(values + (<usize>count << 2), 0, 16);
  let exceptions: u32 = 0;
  let words: u32 = 0;
  let bits: u64 = 0;
  let same = true;
  for (let frame: u32 = 0; frame < frames; frame++) {
    const start = frame << FRAME_SHIFT;
    const length = min(FRAME, count - start);
    planFrame(values + (<usize>start << 2), length, positionBits);
    exceptions += planExceptions;
    store<u8>(widths + frame, planWidth);
    greatest = max(greatest, planMost);
    if (planWidth != load<u8>(widths)) same = false;
    words += wordsFor(length, planWidth);
  }
  bits = (<u64>words << 5) + <u64>exceptions * (positionBits + 8) + (same ? 0 : frames << 3);
  if (count >= TUPLE_COUNT_MIN && writeTuples(values, count, greatest, bits)) {
    scratchRelease(mark);
    return;
  }
  if (same) writeU8(SAME_WIDTH | (frames == 0 ? 0 : load<u8>(widths)));
  else {
    writeU8(OWN_WIDTHS);
    const to = room(frames);
    if (to != 0) memory.copy(to, widths, frames);
  }
  writeVarint(exceptions);
  if (exceptions > 0) writeExceptions(values, count, widths, exceptions);
  const to = roomForWords(words);
  if (to != 0) {
    let at = to;
    for (let frame: u32 = 0; frame < frames; frame++) {
      const start = frame << FRAME_SHIFT;
      const length = min(FRAME, count - start);
      const width = <u32>load<u8>(widths + frame);
      pack(values + (<usize>start << 2), length, width, at);
      at += <usize>wordsFor(length, width) << 2;
    }
  }
  scratchRelease(mark);
}

function writeExceptions(values: usize, count: u32, widths: usize, exceptions: u32): void {
  const positions = scratch(<usize>exceptions << 2);
  const uppers = scratch(<usize>exceptions << 2);
  let found: u32 = 0;
  let greatest: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const width = <u32>load<u8>(widths + (i >>> FRAME_SHIFT));
    if (width == 32) continue;
    const upper = load<u32>(values + (<usize>i << 2)) >>> width;
    if (upper == 0) continue;
    store<u32>(positions + (<usize>found << 2), i);
    store<u32>(uppers + (<usize>found << 2), upper);
    found++;
    greatest = max(greatest, upper);
  }
  writePatches(positions, uppers, found, count, greatest);
}

/** Writes tuples and says so when that takes clearly less than `bits`. */
function writeTuples(values: usize, count: u32, greatest: u32, bits: u64): bool {
  const exceptionBits = reckonedPosition(count) + bitsOf(greatest);
  const bound = min(cheapestBound(values, count, exceptionBits), greatest + 1);
  if (bound < 2) return false;
  const mark = scratchMark();
  const digits = bestDigits(bound);
  if (digits == 0) return false;
  const tuples = tuplesFor(count, digits);
  const width = tupleWidth(bound, digits);
  let exceptions: u32 = 0;
  if (bound <= greatest) {
    for (let i: u32 = 0; i < count; i++) if (load<u32>(values + (<usize>i << 2)) >= bound) exceptions++;
  }
  const cost = <u64>tuples * width + <u64>exceptions * exceptionBits;
  if (cost + (bits >> TUPLE_SAVING_SHIFT) >= bits) return false;
  writeU8(TUPLES | digits);
  writeVarint(bound);
  writeVarint(exceptions);
  const joined = scratch(<usize>tuples << 2);
  if (exceptions > 0) {
    const positions = scratch(<usize>exceptions << 2);
    const uppers = scratch(<usize>exceptions << 2);
    let found: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      const value = load<u32>(values + (<usize>i << 2));
      if (value < bound) continue;
      store<u32>(positions + (<usize>found << 2), i);
      store<u32>(uppers + (<usize>found << 2), value);
      found++;
    }
    writePatches(positions, uppers, exceptions, count, greatest);
  }
  joinTuples(values, count, bound, digits, joined);
  const to = roomForWords(wordsFor(tuples, width));
  if (to != 0) pack(joined, tuples, width, to);
  scratchRelease(mark);
  return true;
}

/** Shell sort; there are few. */
export function sortWords(at: usize, count: u32): void {
  for (let gap = count >>> 1; gap > 0; gap >>>= 1) {
    for (let i = gap; i < count; i++) {
      const value = load<u32>(at + (<usize>i << 2));
      let j = i;
      for (; j >= gap; j -= gap) {
        const other = load<u32>(at + (<usize>(j - gap) << 2));
        if (other <= value) break;
        store<u32>(at + (<usize>j << 2), other);
      }
      store<u32>(at + (<usize>j << 2), value);
    }
  }
}

/** Room that `readPacked` needs for a range, in numbers. */
@inline
export function roomForRange(from: u32, to: u32): usize {
  return <usize>(to - from) + 2 * FRAME;
}

/**
 * Numbers from .. to - 1 of `count` into `into` (room as above); the reader is left behind the array. Returns the index
 * in `into` of number `from`.
 */
export function readPacked(count: u32, from: u32, to: u32, into: usize): u32 {
  const head = readU8();
  const frames = (count + FRAME - 1) >>> FRAME_SHIFT;
  let width = head & 0x3f;
  let widths: usize = 0;
  let bound: u32 = 0;
  if ((head & TUPLES) == TUPLES) {
    bound = readCount(BOUND_MAX);
    if (width < 2 || width > DIGITS_MAX || bound < 2 || tupleWidth(bound, width) == 0) fail(UNKNOWN_FORM);
  } else if (head == OWN_WIDTHS) widths = take(frames);
  else if ((head & 0xc0) != SAME_WIDTH || width > 32) fail(UNKNOWN_FORM);
  const exceptions = readCount(count);
  const mark = scratchMark();
  let positions: usize = 0;
  let uppers: usize = 0;
  if (exceptions > 0 && !failed()) {
    const room = roomForRange(0, exceptions) << 2;
    positions = scratch(room);
    uppers = scratch(room);
    readPatches(positions, uppers, exceptions, count);
  }
  if (failed()) return 0;
  let base: u32 = 0;
  if (bound != 0) {
    const digits = width;
    const tuples = tuplesFor(count, digits);
    const bits = tupleWidth(bound, digits);
    const words = takeWords(wordsFor(tuples, bits));
    if (failed()) return 0;
    // Two groups of tuples begin at a whole byte.
    const double = digits << 3;
    const first = from / double;
    base = first * double;
    if (to > from) {
      const groups = (to - base + (digits << 2) - 1) / (digits << 2);
      splitTuples(words + <usize>first * bits, groups << 2, bound, digits, into);
    }
  } else {
    const firstFrame = from >>> FRAME_SHIFT;
    base = firstFrame << FRAME_SHIFT;
    if (widths == 0) {
      const words = takeWords(wordsFor(count, width));
      if (failed()) return 0;
      // One width: the frames run on without a gap, so the range is one frame to the unpacker.
      if (to > from) unpack(words + (<usize>firstFrame * width << 4), width, into, min(count, (to + FRAME - 1) & ~(FRAME - 1)) - base);
    } else if (!unpackFrames(widths, frames, count, firstFrame, to, into, to > from)) return 0;
  }
  if (to > from) {
    for (let i: u32 = 0; i < exceptions; i++) {
      const position = load<u32>(positions + (<usize>i << 2));
      if (position < from || position >= to) continue;
      const at = into + (<usize>(position - base) << 2);
      const upper = load<u32>(uppers + (<usize>i << 2));
      if (bound != 0) store<u32>(at, upper);
      else {
        const bits = widths == 0 ? width : <u32>load<u8>(widths + (position >>> FRAME_SHIFT));
        store<u32>(at, load<u32>(at) | (upper << bits));
      }
    }
  }
  scratchRelease(mark);
  return from - base;
}

function unpackFrames(
  widths: usize,
  frames: u32,
  count: u32,
  firstFrame: u32,
  to: u32,
  into: usize,
  wanted: bool,
): bool {
  let total: u32 = 0;
  let skipped: u32 = 0;
  for (let frame: u32 = 0; frame < frames; frame++) {
    const width = <u32>load<u8>(widths + frame);
    if (width > 32) {
      fail(UNKNOWN_FORM);
      return false;
    }
    if (frame == firstFrame) skipped = total;
    total += wordsFor(min(FRAME, count - (frame << FRAME_SHIFT)), width);
  }
  let at = takeWords(total) + (<usize>skipped << 2);
  if (failed()) return false;
  if (!wanted) return true;
  let out = into;
  for (let frame = firstFrame; frame << FRAME_SHIFT < to; frame++) {
    const width = <u32>load<u8>(widths + frame);
    unpack(at, width, out, min(FRAME, count - (frame << FRAME_SHIFT)));
    at += <usize>width << 4;
    out += <usize>FRAME << 2;
  }
  return true;
}

/**
 * Bits that `count` numbers with these bit lengths (33 counters) need under one width, in an array of `whole` numbers; the
 * frames make it smaller.
 */
export function packedCost(bitLengths: usize, count: u32, whole: u32): u64 {
  const positionBits = reckonedPosition(whole);
  let top: u32 = 32;
  while (top > 0 && load<u32>(bitLengths + (<usize>top << 2)) == 0) top--;
  let best = <u64>count * top;
  let exceptions: u64 = 0;
  for (let width = top; width-- > 0; ) {
    exceptions += load<u32>(bitLengths + (<usize>(width + 1) << 2));
    const cost = <u64>count * width + exceptions * (positionBits + (top - width) + PATCH_BITS);
    if (cost < best) best = cost;
  }
  return best;
}
