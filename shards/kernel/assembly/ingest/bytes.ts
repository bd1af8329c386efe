/**
 * Byte strings in memory: comparison, hash for lookups, UTF-8 check, and scans for the end of something.
 *
 * Most of these may read up to 15 bytes beyond the end: every string here lies in a block with that much behind
 * it (keys are padded to 16, names and the input by `PAD_BYTES`), and what is read there is masked away.
 */

/** Zero bytes behind the input and behind every name. */
export const PAD_BYTES: usize = 2048;

const NEWLINE: u32 = 10;
const SPACE: u32 = 32;
const BACKSLASH: u32 = 92;

const P1: u64 = 0x9e3779b185ebca87;
const P2: u64 = 0xc2b2ae3d27d4eb4f;
const P3: u64 = 0x165667b19e3779f9;

let hashSeed: u64 = 0;

/** Lookups are seeded, so that nobody outside can choose keys that all meet in one place of the table. */
export function seedHash(seed: u64): void {
  hashSeed = seed;
}

@inline
export function same(a: usize, b: usize, length: usize): bool {
  let i: usize = 0;
  while (i + 16 <= length) {
    if (v128.any_true(v128.xor(v128.load(a + i), v128.load(b + i)))) return false;
    i += 16;
  }
  if (i == length) return true;
  const wanted = (1 << (<i32>(length - i))) - 1;
  return (i8x16.bitmask(i8x16.eq(v128.load(a + i), v128.load(b + i))) & wanted) == wanted;
}

/** Not 0 where they differ. As fast for any length up to 15, so where lengths follow no order. */
@inline
export function difference(a: usize, b: usize, length: usize): u32 {
  let i: usize = 0;
  while (i + 16 <= length) {
    if (v128.any_true(v128.xor(v128.load(a + i), v128.load(b + i)))) return 1;
    i += 16;
  }
  return ~i8x16.bitmask(i8x16.eq(v128.load(a + i), v128.load(b + i))) & ((<u32>1 << <u32>(length - i)) - 1);
}

/** How many of their first `most` bytes are the same. Reads up to 15 bytes behind those. */
export function commonLength(a: usize, b: usize, most: usize): usize {
  for (let i: usize = 0; i < most; i += 16) {
    const differ = ~i8x16.bitmask(i8x16.eq(v128.load(a + i), v128.load(b + i))) & 0xffff;
    if (differ != 0) return min(most, i + <usize>ctz(differ));
  }
  return most;
}

/** How many of the `most` bytes before `a` and before `b` are the same, backwards. Reads up to 15 bytes before those. */
export function commonEnd(a: usize, b: usize, most: usize): usize {
  for (let i: usize = 0; i < most; i += 16) {
    const differ = ~i8x16.bitmask(i8x16.eq(v128.load(a - i - 16), v128.load(b - i - 16))) & 0xffff;
    if (differ != 0) return min(most, i + <usize>clz(differ << 16));
  }
  return most;
}

/** How often the byte is there. */
export function countByte(at: usize, length: usize, byte: u8): usize {
  const wanted = i8x16.splat(byte);
  let count: u32 = 0;
  let i: usize = 0;
  for (; i + 16 <= length; i += 16) count += popcnt(i8x16.bitmask(i8x16.eq(v128.load(at + i), wanted)));
  const inside: u32 = (1 << <u32>(length - i)) - 1;
  return <usize>(count + popcnt(<u32>i8x16.bitmask(i8x16.eq(v128.load(at + i), wanted)) & inside));
}

/** Whole vectors: a call to copy a hundred bytes costs more than copying them. Writes up to 15 bytes more. */
@inline
export function copyVectors(to: usize, from: usize, length: usize): void {
  for (let i: usize = 0; i < length; i += 16) v128.store(to + i, v128.load(from + i));
}

/** Two chains side by side: each step of one waits for its multiplication. */
export function hashBytes(at: usize, length: usize): u32 {
  let hash = hashSeed ^ ((<u64>length) * P1);
  let other = hashSeed ^ P3;
  let from = at;
  let left = length;
  while (left >= 16) {
    hash = rotl<u64>(hash ^ (load<u64>(from) * P2), 31) * P1;
    other = rotl<u64>(other ^ (load<u64>(from, 8) * P2), 29) * P1;
    from += 16;
    left -= 16;
  }
  if (left >= 8) {
    hash = rotl<u64>(hash ^ (load<u64>(from) * P2), 31) * P1;
    from += 8;
    left -= 8;
  }
  if (left > 0) {
    const tail = load<u64>(from) & ((<u64>1 << (<u64>left * 8)) - 1);
    hash = rotl<u64>(hash ^ (tail * P2), 31) * P1;
  }
  hash ^= rotl<u64>(other, 17) * P2;
  hash ^= hash >> 33;
  hash *= P3;
  hash ^= hash >> 29;
  hash *= P2;
  return <u32>(hash >> 32);
}

/** -1, 0 or 1: byte order. */
export function compareBytes(a: usize, aLength: usize, b: usize, bLength: usize): i32 {
  const length = min(aLength, bLength);
  for (let i: usize = 0; i < length; i++) {
    const x = <i32>load<u8>(a + i);
    const y = <i32>load<u8>(b + i);
    if (x != y) return x < y ? -1 : 1;
  }
  return aLength == bLength ? 0 : aLength < bLength ? -1 : 1;
}

/** Where the key that begins at `at` ends: at a space without a backslash before it, or at a newline; `end` if neither. */
export function endOfKey(at: usize, end: usize): usize {
  const spaces = i8x16.splat(<i8>SPACE);
  const newlines = i8x16.splat(<i8>NEWLINE);
  let from = at;
  while (from < end) {
    const chunk = v128.load(from);
    let hits = i8x16.bitmask(v128.or(i8x16.eq(chunk, spaces), i8x16.eq(chunk, newlines)));
    while (hits != 0) {
      const found = from + <usize>ctz(hits);
      if (found >= end) return end;
      if (<u32>load<u8>(found) == NEWLINE || found == at || <u32>load<u8>(found - 1) != BACKSLASH) return found;
      hits &= hits - 1;
    }
    from += 16;
  }
  return end;
}

/** The closing quote of a string that begins at `at`, or 0: none before `end`, or a backslash comes first. */
export function endOfString(at: usize, end: usize): usize {
  const quotes = i8x16.splat(34);
  const backslashes = i8x16.splat(<i8>BACKSLASH);
  let from = at;
  while (from < end) {
    const chunk = v128.load(from);
    const hits = i8x16.bitmask(v128.or(i8x16.eq(chunk, quotes), i8x16.eq(chunk, backslashes)));
    if (hits != 0) {
      const found = from + <usize>ctz(hits);
      return found < end && <u32>load<u8>(found) != BACKSLASH ? found : 0;
    }
    from += 16;
  }
  return 0;
}

/** True when every byte is below 0x80. */
function isAscii(at: usize, length: usize): bool {
  let i: usize = 0;
  for (; i + 16 <= length; i += 16) if (i8x16.bitmask(v128.load(at + i)) != 0) return false;
  for (; i < length; i++) if (load<u8>(at + i) >= 0x80) return false;
  return true;
}

/** Well-formed UTF-8 (Unicode 15, table 3-7): what decoding and encoding again leaves as it is. */
export function isUtf8(at: usize, length: usize): bool {
  if (isAscii(at, length)) return true;
  const end = at + length;
  let i = at;
  while (i < end) {
    const c = <u32>load<u8>(i++);
    if (c < 0x80) continue;
    let more: usize = 0;
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) more = 1;
    else if (c >= 0xe0 && c <= 0xef) {
      more = 2;
      if (c == 0xe0) low = 0xa0;
      if (c == 0xed) high = 0x9f;
    } else if (c >= 0xf0 && c <= 0xf4) {
      more = 3;
      if (c == 0xf0) low = 0x90;
      if (c == 0xf4) high = 0x8f;
    } else return false;
    if (end - i < more) return false;
    for (; more > 0; more--) {
      const next = <u32>load<u8>(i++);
      if (next < low || next > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}
