/**
 * XOR: float64 values as the bits that differ from the value before (Pelkonen et al., "Gorilla: A Fast, Scalable,
 * In-Memory Time Series Database", VLDB 2015). For full-precision doubles that repeat.
 *
 * Per value: bit 0: as before; bits 10: the differing bits lie within the last window; bits 11: a new window follows: five
 * bits of leading zeros (at most 31), six bits of length - 1, then the bits of the window. Unlike Gorilla the stream
 * runs across all series, and the first value is taken against zero. Bits are filled into words from the lowest.
 * Layout: varint words; words.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { CONTRADICTION, fail, failed, SECTION_ENDS } from './failure';
import { bytesLeft, readCount, takeWords } from './reader';
import { roomForWords, writeVarint } from './writer';


let bits: u64 = 0;
let filled: u64 = 0;
let out: usize = 0;

@inline
function put(value: u64, width: u64): void {
  bits |= value << filled;
  if (filled + width >= 64) {
    store<u64>(out, bits);
    out += 8;
    bits = filled == 0 ? 0 : value >> (64 - filled);
    filled = filled + width - 64;
  } else filled += width;
}

/** Packs the values at a piece of scratch memory; false, and nothing of use there, when that takes `bytesMax` or more. */
let packedBytes: u32 = 0;
export function packXor(values: usize, count: u32, bytesMax: u32, into: usize): bool {
  out = into;
  bits = 0;
  filled = 0;
  let last: u64 = 0;
  let leading: u64 = 0;
  let length: u64 = 0;
  const limit = into + bytesMax;
  for (let i: u32 = 0; i < count; i++) {
    if (out > limit) return false;
    const value = load<u64>(values + (<usize>i << 3));
    const differing = value ^ last;
    last = value;
    if (differing == 0) {
      put(0, 1);
      continue;
    }
    const lead = min<u64>(clz(differing), 31);
    const trail = ctz(differing);
    if (length > 0 && lead >= leading && trail >= 64 - leading - length) put(1, 2);
    else {
      leading = lead;
      length = 64 - lead - trail;
      put(3 | (leading << 2) | ((length - 1) << 7), 13);
    }
    put(differing >> (64 - leading - length), length);
  }
  if (filled > 0) store<u64>(out, bits);
  packedBytes = (<u32>(out - into) + (<u32>(filled + 31) >>> 5 << 2));
  return packedBytes < bytesMax;
}

/** What the last `packXor` took. */
export function packedXorBytes(): u32 {
  return packedBytes;
}

/** Room that `packXor` needs at most. */
@inline
export function xorRoom(bytesMax: u32): usize {
  return <usize>bytesMax + 64;
}

/** What the last `packXor` made. */
export function writeXor(packed: usize): void {
  writeVarint(packedBytes >>> 2);
  const to = roomForWords(packedBytes >>> 2);
  if (to != 0) memory.copy(to, packed, packedBytes);
}

/** Values from .. to - 1 from `into` on; everything before them has to be walked through. */
export function readXor(from: u32, to: u32, into: usize): void {
  const count = readCount(bytesLeft() >>> 2);
  const section = takeWords(count);
  if (failed()) return;
  // With zeros behind the end, so that what is read across it is theirs.
  const mark = scratchMark();
  const words = scratch((<usize>count << 2) + 32);
  memory.copy(words, section, <usize>count << 2);
  memory.fill(words + (<usize>count << 2), 0, 32);
  const end = <u64>count << 5;
  let at: u64 = 0;
  let value: u64 = 0;
  let leading: u64 = 0;
  let length: u64 = 0;
  for (let i: u32 = 0; i < to; i++) {
    if (at >= end) {
      fail(SECTION_ENDS);
      return;
    }
    const head = bitsAt(words, at);
    if ((head & 1) == 0) at += 1;
    else {
      if ((head & 2) == 0) at += 2;
      else {
        leading = (head >> 2) & 31;
        length = ((head >> 7) & 63) + 1;
        if (leading + length > 64) {
          fail(CONTRADICTION);
          return;
        }
        at += 13;
      }
      if (length == 0) {
        fail(CONTRADICTION);
        return;
      }
      if (at > end) at = end;
      let window = bitsAt(words, at);
      const skip = at & 7;
      if (skip + length > 64) window |= <u64>load<u8>(words + <usize>(at >> 3) + 8) << (64 - skip);
      if (length < 64) window &= (<u64>1 << length) - 1;
      at += length;
      value ^= window << (64 - leading - length);
    }
    if (i >= from) store<u64>(into + (<usize>(i - from) << 3), value);
  }
  scratchRelease(mark);
}

/** At least 57 bits. */
@inline
function bitsAt(words: usize, at: u64): u64 {
  return load<u64>(words + <usize>(at >> 3)) >> (at & 7);
}
