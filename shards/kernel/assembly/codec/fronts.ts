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
  for (let i: u32 = 0; i < to - from; i++) {
    const index = at32(indexes, indexAt + i);
    if (index >= known) {
      fail(CONTRADICTION);
      return;
    }
    const front = <u64>at32(table, index) << lower;
    store<u64>(into + (<usize>i << 3), front | (<u64>at32(high, highAt + i) << 32) | at32(low, lowAt + i));
  }
  scratchRelease(mark);
}
