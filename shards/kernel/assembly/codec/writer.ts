/**
 * Writing the sections of a block: a cursor over a buffer of the kernel's memory. Offsets and alignment count from the
 * buffer's start. Nothing is written beyond its end: that is a failure (NO_ROOM) and the bytes are void.
 */
import { fail, NO_ROOM } from './failure';

let base: usize = 0;
let at: usize = 0;
let end: usize = 0;

export function openWriter(buffer: usize, position: u32, capacity: u32): void {
  base = buffer;
  at = buffer + position;
  end = buffer + capacity;
}

@inline
export function written(): u32 {
  return <u32>(at - base);
}

/** The address of an offset. */
@inline
export function addressOf(offset: u32): usize {
  return base + offset;
}

/** Back to an offset, or on to one whose bytes are there already. */
export function moveWriter(offset: u32): void {
  at = base + offset;
}

/** Room for `count` bytes at the cursor, which moves behind them; 0 when there is none. */
export function room(count: u32): usize {
  if (count > <u32>(end - at)) {
    fail(NO_ROOM);
    return 0;
  }
  const from = at;
  at += count;
  return from;
}

export function writeU8(value: u32): void {
  const to = room(1);
  if (to != 0) store<u8>(to, value);
}

export function writeU32(value: u32): void {
  const to = room(4);
  if (to != 0) store<u32>(to, value);
}

export function writeU64(value: u64): void {
  const to = room(8);
  if (to != 0) store<u64>(to, value);
}

export function writeF64(value: f64): void {
  const to = room(8);
  if (to != 0) store<f64>(to, value);
}

export function writeVarint(value: u64): void {
  let rest = value;
  while (rest >= 0x80) {
    writeU8(<u32>(rest & 0x7f) | 0x80);
    rest >>= 7;
  }
  writeU8(<u32>rest);
}

/** Zeros up to the next multiple of four. */
export function alignWriter(): void {
  while ((at - base) & 3) {
    const to = room(1);
    if (to == 0) return;
    store<u8>(to, 0);
  }
}

/** Aligned room for words; 0 when there is none. */
export function roomForWords(count: u32): usize {
  alignWriter();
  if (count > <u32>(end - at) >>> 2) {
    fail(NO_ROOM);
    return 0;
  }
  return room(count << 2);
}
