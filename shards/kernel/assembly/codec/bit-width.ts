/**
 * Arrays of unsigned 32-bit numbers as bits of one width, the first number in the lowest bits of the first word.
 *
 * Eight numbers of width w fill w bytes. Up to width 25 a number lies within four bytes from the byte of its first bit,
 * so four numbers are gathered with one byte shuffle, moved to the top of their lanes by a multiplication with a power of
 * two each, and down again by one shift. Wider ones are taken one by one out of 64 bits.
 */

/** The widest that is unpacked by vectors. */
export const VECTOR_WIDTH_MAX: u32 = 25;
/** Per width: two shuffles and two vectors of factors, for the first and the second four of eight numbers. */
const ENTRY_BYTES: usize = 64;
const table: usize = memory.data(26 * 64, 16);
let tableReady = false;

function makeTable(): void {
  for (let width: u32 = 1; width <= VECTOR_WIDTH_MAX; width++) {
    const entry = table + <usize>width * ENTRY_BYTES;
    for (let half: u32 = 0; half < 2; half++) {
      for (let lane: u32 = 0; lane < 4; lane++) {
        const bit = lane * width + (half == 0 ? 0 : (width & 1) << 2);
        for (let byte: u32 = 0; byte < 4; byte++) {
          store<u8>(entry + half * 16 + lane * 4 + byte, (bit >>> 3) + byte);
        }
        store<u32>(entry + 32 + half * 16 + lane * 4, 1 << (32 - width - (bit & 7)));
      }
    }
  }
  tableReady = true;
}

@inline
export function bitsOf(value: u32): u32 {
  return 32 - clz(value);
}

/** 32-bit words that `count` numbers of a width fill. */
@inline
export function wordsFor(count: u32, width: u32): u32 {
  return <u32>((<u64>count * width + 31) >> 5);
}

/** `count` numbers from a whole byte on. Reads up to 32 bytes and writes up to seven numbers beyond the end. */
export function unpack(from: usize, width: u32, into: usize, count: u32): void {
  if (width == 0) {
    memory.fill(into, 0, <usize>count << 2);
    return;
  }
  if (width == 32) {
    memory.copy(into, from, <usize>count << 2);
    return;
  }
  if (width > VECTOR_WIDTH_MAX) {
    const mask = (<u64>1 << width) - 1;
    let bit: u64 = 0;
    for (let i: u32 = 0; i < count; i++) {
      store<u32>(into + (<usize>i << 2), <u32>((load<u64>(from + <usize>(bit >> 3)) >> (bit & 7)) & mask));
      bit += width;
    }
    return;
  }
  if (!tableReady) makeTable();
  const entry = table + <usize>width * ENTRY_BYTES;
  const shuffleA = v128.load(entry);
  const shuffleB = v128.load(entry, 16);
  const factorsA = v128.load(entry, 32);
  const factorsB = v128.load(entry, 48);
  const down = 32 - width;
  const second = width >>> 1;
  const end = into + (<usize>count << 2);
  for (let source = from, to = into; to < end; to += 32, source += width) {
    const a = v128.swizzle(v128.load(source), shuffleA);
    const b = v128.swizzle(v128.load(source + second), shuffleB);
    v128.store(to, i32x4.shr_u(i32x4.mul(a, factorsA), down));
    v128.store(to, i32x4.shr_u(i32x4.mul(b, factorsB), down), 16);
  }
}

/** Packs the low `width` bits of each number. Writes whole words, and reads one number beyond the end at most. */
export function pack(values: usize, count: u32, width: u32, into: usize): void {
  if (width == 0) return;
  if (width == 32) {
    memory.copy(into, values, <usize>count << 2);
    return;
  }
  const mask = (<u64>1 << width) - 1;
  let bits: u64 = 0;
  let filled: u32 = 0;
  let to = into;
  let at = values;
  const end = values + (<usize>count << 2);
  if (width <= 16) {
    // Pairs first: half as many steps through the accumulator.
    const pairs = values + (<usize>(count & ~1) << 2);
    const two = width << 1;
    for (; at < pairs; at += 8) {
      const both = load<u64>(at);
      bits |= ((both & mask) | (((both >> 32) & mask) << width)) << filled;
      filled += two;
      if (filled >= 32) {
        store<u32>(to, <u32>bits);
        to += 4;
        bits >>= 32;
        filled -= 32;
      }
    }
  }
  for (; at < end; at += 4) {
    bits |= (<u64>load<u32>(at) & mask) << filled;
    filled += width;
    if (filled >= 32) {
      store<u32>(to, <u32>bits);
      to += 4;
      bits >>= 32;
      filled -= 32;
    }
  }
  if (filled > 0) store<u32>(to, <u32>bits);
}
