/**
 * A column of a block: which rows have the field, then the values of those rows, across all series of the block.
 *
 * Values of absent rows take no room: each series' span is as long as the rows that have the field.
 * Layout: byte 0 (every row has it) or 1 and bits; values by type (floats.ts, numbers.ts, bits.ts). Columns of strings
 * are written outside (shards/codec/strings.ts) in the same layout.
 */
import { scratch, scratchMark, scratchRelease } from './arena';
import { readBits, writeBits } from './bits';
import { fail, failed, UNKNOWN_FORM } from './failure';
import { openScaledFloats, readFloats, writeFloats } from './floats';
import { readIntegers, writeIntegers } from './numbers';
import { readU8 } from './reader';
import { booleanStatistics, floatStatistics, integerStatistics } from './statistics';
import { writeU8 } from './writer';

export const FLOAT: u32 = 0;
export const INTEGER: u32 = 1;
export const UNSIGNED: u32 = 2;
export const STRING: u32 = 3;
export const BOOLEAN: u32 = 4;

const EVERY_ROW: u32 = 0;
const SOME_ROWS: u32 = 1;

@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

/** `present`: one byte a row, or 0 when every row has the field. Returns how many have; statistics go to `statistics`. */
export function writeColumn(type: u32, values: usize, present: usize, starts: usize, series: u32, statistics: usize): u32 {
  const rows = at32(starts, series);
  if (present == 0 || everyOne(present, rows)) {
    writeU8(EVERY_ROW);
    writeValues(type, values, starts, series, statistics);
    return rows;
  }
  const mark = scratchMark();
  writeU8(SOME_ROWS);
  writeBits(present, rows);
  const denseStarts = scratch(<usize>(series + 1) << 2);
  startsOfPresent(present, starts, series, denseStarts);
  const dense = scratch(<usize>rows << 3);
  if (type == BOOLEAN) {
    let out: usize = 0;
    for (let i: u32 = 0; i < rows; i++) {
      store<u8>(dense + out, load<u8>(values + i));
      out += load<u8>(present + i);
    }
  } else {
    let out: usize = 0;
    for (let i: u32 = 0; i < rows; i++) {
      store<u64>(dense + (out << 3), load<u64>(values + (<usize>i << 3)));
      out += load<u8>(present + i);
    }
  }
  writeValues(type, dense, denseStarts, series, statistics);
  const count = at32(denseStarts, series);
  scratchRelease(mark);
  return count;
}

function everyOne(flags: usize, count: u32): bool {
  for (let i: u32 = 0; i < count; i++) if (load<u8>(flags + i) == 0) return false;
  return true;
}

/** Rows that have the field before each series. */
export function startsOfPresent(present: usize, starts: usize, series: u32, into: usize): void {
  let count: u32 = 0;
  store<u32>(into, 0);
  for (let s: u32 = 0; s < series; s++) {
    const end = at32(starts, s + 1);
    for (let i = at32(starts, s); i < end; i++) count += load<u8>(present + i);
    store<u32>(into + (<usize>(s + 1) << 2), count);
  }
}

function writeValues(type: u32, values: usize, starts: usize, series: u32, statistics: usize): void {
  const count = at32(starts, series);
  if (type == FLOAT) {
    floatStatistics(values, count, statistics);
    writeFloats(values, starts, series);
  } else if (type == BOOLEAN) {
    booleanStatistics(values, count, statistics);
    writeBits(values, count);
  } else {
    integerStatistics(values, count, type == INTEGER, statistics);
    writeIntegers(values, starts, series, type == INTEGER, load<i64>(statistics, 8), load<i64>(statistics, 16));
  }
}

/**
 * Rows of series fromSeries .. toSeries - 1: values from `values` on (eight bytes each, one for booleans; up to a vector
 * more is written), and one byte a row from `present` on. True when every row of the block has the field; then nothing is
 * written to `present`. Places of absent values hold what they held. Of strings only `present` is read.
 */
export function readColumn(
  type: u32,
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  values: usize,
  present: usize,
): bool {
  const form = readU8();
  if (failed()) return false;
  if (form == EVERY_ROW) {
    if (type != STRING) readValues(type, starts, series, fromSeries, toSeries, values);
    return true;
  }
  if (form != SOME_ROWS) {
    fail(UNKNOWN_FORM);
    return false;
  }
  const mark = scratchMark();
  const rows = at32(starts, series);
  const flags = scratch(rows);
  readBits(rows, flags);
  if (failed()) return false;
  const denseStarts = scratch(<usize>(series + 1) << 2);
  startsOfPresent(flags, starts, series, denseStarts);
  const from = at32(starts, fromSeries);
  const count = at32(starts, toSeries) - from;
  memory.copy(present, flags + from, count);
  if (type == STRING) {
    scratchRelease(mark);
    return false;
  }
  const dense = scratch(<usize>count << 3);
  readValues(type, denseStarts, series, fromSeries, toSeries, dense);
  if (failed()) return false;
  let at = dense;
  if (type == BOOLEAN) {
    for (let i: u32 = 0; i < count; i++) if (load<u8>(present + i)) store<u8>(values + i, load<u8>(at++));
  } else {
    for (let i: u32 = 0; i < count; i++) {
      if (load<u8>(present + i) == 0) continue;
      store<u64>(values + (<usize>i << 3), load<u64>(at));
      at += 8;
    }
  }
  scratchRelease(mark);
  return false;
}

/** Opens a column of floats that every row has, as scaled whole numbers when it is stored so: else false. */
export function openScaledColumn(starts: usize, series: u32, fromSeries: u32, toSeries: u32): bool {
  return readU8() == EVERY_ROW && openScaledFloats(starts, series, fromSeries, toSeries);
}

function readValues(type: u32, starts: usize, series: u32, fromSeries: u32, toSeries: u32, into: usize): void {
  if (type == FLOAT) readFloats(starts, series, fromSeries, toSeries, into);
  else if (type == BOOLEAN) {
    const mark = scratchMark();
    const rows = at32(starts, series);
    const flags = scratch(rows);
    readBits(rows, flags);
    const from = at32(starts, fromSeries);
    memory.copy(into, flags + from, at32(starts, toSeries) - from);
    scratchRelease(mark);
  } else readIntegers(starts, series, fromSeries, toSeries, into);
}
