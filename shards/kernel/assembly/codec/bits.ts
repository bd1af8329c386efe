/**
 * Bits: which rows have a field, and boolean values, as one byte a row outside and bits or runs inside.
 *
 * Layout: byte form; BITMAP: ceil(n / 8) bytes, lowest bit first; RUNS: byte value of the first run, varint number of
 * runs, varint length of each run (values alternate).
 */
import { CONTRADICTION, fail, failed, UNKNOWN_FORM } from './failure';
import { readCount, readU8, take } from './reader';
import { moveWriter, room, writeU8, writeVarint, written } from './writer';

const BITMAP: u32 = 0;
const RUNS: u32 = 1;

/** `flags`: one byte a row, 0 or 1, readable for a vector beyond the end. */
export function writeBits(flags: usize, count: u32): void {
  const bitmapBytes = (count + 7) >>> 3;
  const start = written();
  let runs: u32 = count == 0 ? 0 : 1;
  for (let i: u32 = 1; i < count; i++) if (load<u8>(flags + i) != load<u8>(flags + i - 1)) runs++;
  if (runs <= bitmapBytes) {
    writeU8(RUNS);
    writeU8(count == 0 ? 0 : load<u8>(flags));
    writeVarint(runs);
    let begin: u32 = 0;
    for (let i: u32 = 1; i <= count; i++) {
      if (i < count && load<u8>(flags + i) == load<u8>(flags + i - 1)) continue;
      writeVarint(i - begin);
      begin = i;
    }
    if (written() - start <= bitmapBytes + 1) return;
    moveWriter(start);
  }
  writeU8(BITMAP);
  const to = room(bitmapBytes);
  if (to == 0) return;
  for (let i: u32 = 0; i < count; i += 8) {
    let byte: u32 = 0;
    const end = min(count - i, 8);
    for (let bit: u32 = 0; bit < end; bit++) byte |= <u32>(load<u8>(flags + i + bit) & 1) << bit;
    store<u8>(to + (i >>> 3), byte);
  }
}

/** One byte a row, `count` of them from `flags` on (and up to seven more). */
export function readBits(count: u32, flags: usize): void {
  const form = readU8();
  if (form == BITMAP) {
    const bitmap = take((count + 7) >>> 3);
    if (failed()) return;
    for (let i: u32 = 0; i < count; i += 8) {
      // Each bit into a byte of its own: copies of the byte, one bit of each, moved to the lowest place.
      const spread = (<u64>load<u8>(bitmap + (i >>> 3)) * 0x0101010101010101) & 0x8040201008040201;
      store<u64>(flags + i, ((spread + 0x7f7f7f7f7f7f7f7f) >> 7) & 0x0101010101010101);
    }
    return;
  }
  if (form != RUNS) {
    fail(UNKNOWN_FORM);
    return;
  }
  let value = readU8();
  if (value > 1) fail(UNKNOWN_FORM);
  const runs = readCount(count);
  let at: u32 = 0;
  for (let run: u32 = 0; run < runs; run++) {
    const length = readCount(count - at);
    if (failed()) return;
    memory.fill(flags + at, <u8>value, length);
    at += length;
    value ^= 1;
  }
  if (at != count) fail(CONTRADICTION);
}
