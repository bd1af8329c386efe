/**
 * Fronts: float64 values cut in two at a bit. The upper parts (sign, exponent, leading bits) are few and go through a
 * dictionary, the lower ones are stored as they are: for doubles whose last digits are noise. After ALP-RD, the second
 * half of ALP (Afroozeh, Kuffo, Boncz, SIGMOD 2024); here the dictionary may be larger, is ordered by frequency, and its
 * indexes are packed like everything else, so that rare fronts become exceptions of the packing.
 *
 * Layout: byte bits of the lower part (44 .. 52); varint fronts; per front 4 bytes; packed index per value; packed lower
 * 32 bits; packed rest of the lower part.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { CONTRADICTION, fail, failed, UNKNOWN_FORM } from './failure';
import { readPacked, roomForRange, writePacked } from './packed';
import { readCount, readU8, take } from './reader';
import { room, writeU8, writeVarint } from './writer';

const LOWER_MIN: u32 = 44;
const LOWER_MAX: u32 = 52;
const FRONTS_MAX: u32 = 256;
const SAMPLES: u32 = 128;
/** From so many lower bits on, and so many fronts, the most frequent ones, are looked up in vectors. */
const HALVES_MIN: u32 = 48;
const TABLE: u32 = 16;
/** Outside of the third and of the fourth byte of each lane: places beyond any table. Loaded, since V8 moves constants into loops. */
const ELSEWHERE: usize = memory.data<u32>([
  0xff00ffff, 0xff00ffff, 0xff00ffff, 0xff00ffff, 0x00ffffff, 0x00ffffff, 0x00ffffff, 0x00ffffff,
]);

/** Distinct fronts and how often each occurs. */
const fronts: usize = memory.data(256 * 4, 16);
const counts: usize = memory.data(256 * 4, 16);
/** Open addressing over the fronts: index + 1 per slot. */
const SLOTS: u32 = 1024;
const slots: usize = memory.data(1024 * 2, 16);

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

@inline
function slotOf(front: u32): u32 {
  return (front * 0x9e3779b1) >>> 22;
}

/** Index of a front, added when it is new; FRONTS_MAX when there is no room. */
function indexOf(front: u32, known: u32): u32 {
  let slot = slotOf(front);
  for (;;) {
    const entry = <u32>load<u16>(slots + (<usize>slot << 1));
    if (entry == 0) break;
    if (at32(fronts, entry - 1) == front) return entry - 1;
    slot = (slot + 1) & (SLOTS - 1);
  }
  if (known == FRONTS_MAX) return FRONTS_MAX;
  store<u16>(slots + (<usize>slot << 1), <u16>(known + 1));
  store<u32>(fronts + (<usize>known << 2), front);
  store<u32>(counts + (<usize>known << 2), 0);
  return known;
}

/** Counts the fronts of every `step`th value; how many there are, or 0 when there are too many. */
function countFronts(values: usize, count: u32, step: u32, lower: u32): u32 {
  memory.fill(slots, 0, SLOTS << 1);
  let known: u32 = 0;
  for (let i: u32 = 0; i < count; i += step) {
    const index = indexOf(<u32>(load<u64>(values + (<usize>i << 3)) >> lower), known);
    if (index == FRONTS_MAX) return 0;
    if (index == known) known++;
    store<u32>(counts + (<usize>index << 2), at32(counts, index) + 1);
  }
  return known;
}

/** Of the last `chooseLower`: bits per value. */
let chosenBits: f64 = 0;

export function estimateFronts(): f64 {
  return chosenBits;
}

/** Bits of the lower part that make the values of a sample shortest; 0 when none is good. */
export function chooseLower(values: usize, count: u32): u32 {
  const step = max<u32>(1, count / SAMPLES);
  let best: u32 = 0;
  let bestBits: f64 = Infinity;
  for (let lower = LOWER_MAX; lower >= LOWER_MIN; lower -= 2) {
    const known = countFronts(values, count, step, lower);
    const taken = <f64>((count + step - 1) / step);
    // Of fronts that hardly repeat a sample does not say how many there are.
    if (known == 0 || (step > 1 && <f64>known * 4 > taken)) break;
    let entropy: f64 = 0;
    for (let i: u32 = 0; i < known; i++) {
      const share = <f64>at32(counts, i) / taken;
      entropy -= share * logarithm(share);
    }
    // A front itself takes four bytes.
    const bits = <f64>lower + entropy + (<f64>known * 32) / <f64>count;
    // The sample makes more fronts look fewer than they are.
    if (bits + 0.4 < bestBits) {
      best = lower;
      bestBits = bits;
    }
  }
  // Packing needs whole bits, and exceptions.
  chosenBits = bestBits + 0.7;
  return best;
}

/** To base two, of a share: exact at powers of two and straight between them. */
function logarithm(share: f64): f64 {
  const pattern = reinterpret<u64>(share);
  return <f64>(<i64>(pattern >> 52) - 1023) + <f64>(pattern & 0xfffffffffffff) / 4503599627370496;
}

/** False, and nothing written, when there are too many fronts. */
export function writeFronts(values: usize, count: u32, lower: u32): bool {
  const known = countFronts(values, count, 1, lower);
  if (known == 0) return false;
  const mark = scratchMark();
  // Most frequent first: small indexes are short. Insertion sort of (count, index), stable.
  const rank = scratch(<usize>known << 2);
  const order = scratch(<usize>known << 2);
  for (let i: u32 = 0; i < known; i++) {
    let j = i;
    for (; j > 0 && at32(counts, at32(order, j - 1)) < at32(counts, i); j--) {
      store<u32>(order + (<usize>j << 2), at32(order, j - 1));
    }
    store<u32>(order + (<usize>j << 2), i);
  }
  writeU8(lower);
  writeVarint(known);
  const to = room(known << 2);
  for (let i: u32 = 0; i < known; i++) {
    store<u32>(rank + (<usize>at32(order, i) << 2), i);
    if (to != 0) store<u32>(to + (<usize>i << 2), at32(fronts, at32(order, i)));
  }
  const indexes = scratch((<usize>count << 2) + 128);
  const low = scratch((<usize>count << 2) + 128);
  const high = scratch((<usize>count << 2) + 128);
  const mask = (<u64>1 << lower) - 1;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<u64>(values + (<usize>i << 3));
    const at = <usize>i << 2;
    store<u32>(indexes + at, at32(rank, indexOf(<u32>(value >> lower), known)));
    store<u32>(low + at, <u32>value);
    store<u32>(high + at, <u32>((value & mask) >> 32));
  }
  writePacked(indexes, count);
  writePacked(low, count);
  writePacked(high, count);
  scratchRelease(mark);
  return true;
}

/** Values from .. to - 1 of `count` from `into` on. */
export function readFronts(count: u32, from: u32, to: u32, into: usize): void {
  const lower = readU8();
  if (lower < LOWER_MIN || lower > LOWER_MAX) fail(UNKNOWN_FORM);
  const known = readCount(FRONTS_MAX);
  const table = take(known << 2);
  if (failed()) return;
  const mark = scratchMark();
  const bytes = roomForRange(from, to) << 2;
  const indexes = scratch(bytes);
  const low = scratch(bytes);
  const high = scratch(bytes);
  const indexAt = readPacked(count, from, to, indexes);
  const lowAt = readPacked(count, from, to, low);
  const highAt = readPacked(count, from, to, high);
  if (failed()) return;
  const words = upperWords(table, known, lower);
  const lowWords = low + (<usize>lowAt << 2);
  const highWords = high + (<usize>highAt << 2);
  const inTable = lower < HALVES_MIN ? 0 : TABLE;
  if (!join(indexes + (<usize>indexAt << 2), lowWords, highWords, to - from, words, known, inTable, into)) {
    fail(CONTRADICTION);
  }
  scratchRelease(mark);
}

/** What each front contributes to the upper word of a value. */
function upperWords(table: usize, known: u32, lower: u32): usize {
  const words = scratch(<usize>known << 2);
  for (let i: u32 = 0; i < known; i++) {
    store<u32>(words + (<usize>i << 2), at32(table, i) << (lower - 32));
  }
  return words;
}

/** Puts the words of the fronts in place of their indexes; false when one is none of `known`. */
@inline
function greatestLane(lanes: v128): u32 {
  return max(
    max(<u32>i32x4.extract_lane(lanes, 0), <u32>i32x4.extract_lane(lanes, 1)),
    max(<u32>i32x4.extract_lane(lanes, 2), <u32>i32x4.extract_lane(lanes, 3)),
  );
}

/** False when an index is none of `known`. Of `words`, `inTable` are looked up in vectors. */
function join(
  indexes: usize,
  low: usize,
  high: usize,
  count: u32,
  words: usize,
  known: u32,
  inTable: u32,
  into: usize,
): bool {
  const bytes = scratch(32);
  memory.fill(bytes, 0, 32);
  for (let i: u32 = 0; i < min(known, inTable); i++) {
    store<u8>(bytes + i, at32(words, i) >>> 16);
    store<u8>(bytes + i, at32(words, i) >>> 24, 16);
  }
  const thirds = v128.load(bytes);
  const fourths = v128.load(bytes, 16);
  const third = v128.load(ELSEWHERE);
  const fourth = v128.load(ELSEWHERE, 16);
  const last = i32x4.splat(<i32>inTable - 1);
  let greatest: u32 = 0;
  let most = i32x4.splat(0);
  let offset: usize = 0;
  let to = into;
  const end = into + (<usize>count << 3);
  const vectorsEnd = into + (<usize>(count & ~3) << 3);
  if (to < vectorsEnd) {
    do {
      const four = v128.load(indexes + offset);
      most = i32x4.max_u(most, four);
      if (v128.any_true(i32x4.gt_s(four, last))) {
        for (let at = indexes + offset, lane: usize = 0; lane < 16; lane += 4) {
          store<u32>(at + lane, at32(words, min(load<u32>(at + lane), known)));
        }
      } else {
        const upper = v128.swizzle(fourths, v128.or(i32x4.shl(four, 24), fourth));
        v128.store(indexes + offset, v128.or(upper, v128.swizzle(thirds, v128.or(i32x4.shl(four, 16), third))));
      }
      const upper = v128.or(v128.load(indexes + offset), v128.load(high + offset));
      const lower = v128.load(low + offset);
      v128.store(to, i8x16.shuffle(lower, upper, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23));
      v128.store(to, i8x16.shuffle(lower, upper, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31), 16);
      offset += 16;
      to += 32;
    } while (to < vectorsEnd);
    greatest = greatestLane(most);
  }
  for (; to < end; to += 8, offset += 4) {
    const index = load<u32>(indexes + offset);
    greatest = max(greatest, index);
    store<u32>(to, load<u32>(low + offset));
    store<u32>(to, load<u32>(high + offset) | at32(words, min(index, known)), 4);
  }
  return greatest < known;
}
