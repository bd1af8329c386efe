/**
 * Reading a section of a block: a cursor over bytes of the kernel's memory, checked at every step.
 *
 * Positions are offsets from the start of the buffer, which is aligned to 16: words lie at multiples of four from there.
 * Unpacking loads whole vectors: the buffer has READ_SLACK bytes behind its end, which belong to whoever provided it.
 */
import { fail, failed, SECTION_ENDS, TOO_LARGE } from './failure';

/** 2^53 - 1, the greatest number in a varint. */
const VARINT_MAX: u64 = 9007199254740991;

let base: usize = 0;
let at: usize = 0;
let end: usize = 0;

export function openReader(buffer: usize, position: u32, limit: u32): void {
  base = buffer;
  at = buffer + position;
  end = buffer + limit;
  if (position > limit) {
    end = at;
    fail(SECTION_ENDS);
  }
}

/** Offset of the cursor from the start of the buffer. */
export function readerPosition(): u32 {
  return <u32>(at - base);
}

@inline
export function bytesLeft(): u32 {
  return <u32>(end - at);
}

/** The address of the next `count` bytes; of what stands there nothing may be read after a failure. */
export function take(count: u32): usize {
  if (count > bytesLeft()) {
    fail(SECTION_ENDS);
    at = end;
    return at;
  }
  const from = at;
  at += count;
  return from;
}

export function readU8(): u32 {
  const from = take(1);
  return failed() ? 0 : load<u8>(from);
}

export function readU32(): u32 {
  const from = take(4);
  return failed() ? 0 : load<u32>(from);
}

export function readF64(): f64 {
  const from = take(8);
  return failed() ? 0 : load<f64>(from);
}

export function readVarint(): u64 {
  let value: u64 = 0;
  for (let shift = 0; shift < 56; shift += 7) {
    const byte = <u64>readU8();
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (value > VARINT_MAX) break;
      return value;
    }
  }
  fail(TOO_LARGE);
  return 0;
}

/** A varint that must not exceed `max`. */
export function readCount(max: u32): u32 {
  const value = readVarint();
  if (value > max) {
    fail(TOO_LARGE);
    return 0;
  }
  return <u32>value;
}

export function alignReader(): void {
  const padded = base + ((at - base + 3) & ~3);
  if (padded > end) {
    fail(SECTION_ENDS);
    at = end;
  } else at = padded;
}

/** The address of `count` aligned words. */
export function takeWords(count: u32): usize {
  alignReader();
  if (count > bytesLeft() >>> 2) {
    fail(SECTION_ENDS);
    at = end;
    return at;
  }
  return take(count << 2);
}
