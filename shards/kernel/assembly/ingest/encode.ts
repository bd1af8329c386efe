/**
 * Columns and times in the encodings of a batch frame. shards/batch-values.ts has their layout, and the slow versions of
 * these functions; cell for cell both frames decode to the same.
 */
import { hashBytes, same } from './bytes';
import { pow10 } from './columns';
import {
  BOOLEAN,
  C_BYTES,
  C_COUNT,
  C_EXPONENT,
  C_FIELD,
  C_FILLED,
  C_PRESENCE,
  C_RAW,
  C_TYPE,
  C_VALUES,
  FLOAT,
  STRING,
  UNSIGNED,
} from './layout';
import { F_LENGTH, F_NAME } from './measurements';
import { advance, need, putByte, putBytes, putF64, putI64, putOffsets32, putOffsets64, putU32, widthFor } from './output';

const RAW: u32 = 0;
const OFFSETS: u32 = 1;
const DECIMAL: u32 = 2;
const BITS: u32 = 3;
const PLAIN: u32 = 4;
const DICTIONARY: u32 = 5;
const TIMES: u32 = 6;

/** Blocks for intermediate results, kept. */
let scratch: usize = 0;
let scratchRoom: usize = 0;
let table: usize = 0;
let tableRoom: usize = 0;

function scratchOf(bytes: usize): usize {
  if (bytes > scratchRoom) {
    if (scratch != 0) heap.free(scratch);
    scratchRoom = max(bytes, scratchRoom * 2);
    scratch = heap.alloc(scratchRoom);
  }
  return scratch;
}

/** A table of zeros with twice as many words as `count` or more; `tableMask` has their number less one. */
export let tableMask: u32 = 0;
export function tableOf(count: u32): usize {
  let words: u32 = 16;
  while (words < count * 2) words *= 2;
  tableMask = words - 1;
  const bytes = <usize>words << 2;
  if (bytes > tableRoom) {
    if (table != 0) heap.free(table);
    tableRoom = bytes;
    table = heap.alloc(tableRoom);
  }
  memory.fill(table, 0, bytes);
  return table;
}

/** Times (f64, whole nanoseconds) as multiples of their greatest common distance from the least one. */
export function encodeTimes(times: usize, rows: u32): void {
  const end = times + (<usize>rows << 3);
  let least = load<f64>(times);
  let most = least;
  for (let at = times + 8; at < end; at += 8) {
    const time = load<f64>(at);
    least = time < least ? time : least;
    most = time > most ? time : most;
  }
  let unit: f64 = 0;
  let before: f64 = 0;
  for (let at = times; at < end; at += 8) {
    const distance = load<f64>(at) - least;
    // Rows of one scrape have one time.
    if (distance == before) continue;
    before = distance;
    if (unit > 0 && floor(distance / unit) * unit == distance) continue;
    let a = <u64>unit;
    let b = <u64>distance;
    while (b > 0) {
      const rest = a % b;
      a = b;
      b = rest;
    }
    unit = <f64>a;
    if (unit == 1) break;
  }
  if (unit == 0) unit = 1;
  const width = widthFor(<u64>((most - least) / unit));
  putByte(TIMES);
  putByte(width);
  putF64(least);
  putF64(unit);
  if (width == 0) return;
  const words = scratchOf(<usize>rows << 3);
  for (let i: usize = 0; i < <usize>rows << 3; i += 8) store<i64>(words + i, <i64>((load<f64>(times + i) - least) / unit));
  putOffsets64(words, rows, 0, width);
}

/** Field, type, presence and values of one column of a part with so many rows. */
export function encodeColumn(column: usize, rows: u32): void {
  const field = <usize>load<u32>(column, C_FIELD);
  const count = load<u32>(column, C_COUNT);
  const type = load<u32>(column, C_TYPE);
  putU32(load<u32>(field, F_LENGTH));
  putBytes(<usize>load<u32>(field, F_NAME), <usize>load<u32>(field, F_LENGTH));
  putByte(type);
  if (count == rows) putByte(0);
  else encodePresence(column, rows);
  const values = <usize>load<u32>(column, C_VALUES);
  if (type == FLOAT) encodeFloats(column, values, count);
  else if (type == STRING) encodeStrings(<usize>load<u32>(column, C_BYTES), values, count);
  else if (type == BOOLEAN) encodeBits(values, count);
  else encodeIntegers(values, count, type == UNSIGNED);
}

function encodePresence(column: usize, rows: u32): void {
  putByte(1);
  const bytes = (<usize>rows + 7) >> 3;
  const to = need(bytes);
  memory.fill(to, 0, bytes);
  const filled = load<u32>(column, C_FILLED);
  const bits = <usize>load<u32>(column, C_PRESENCE);
  if (bits != 0) {
    memory.copy(to, bits, min(bytes, (<usize>filled + 7) >> 3));
  } else {
    // Every row up to the last one that has the field.
    memory.fill(to, 0xff, <usize>filled >> 3);
    if ((filled & 7) != 0) store<u8>(to + (<usize>filled >> 3), <u8>(((<u32>1) << (filled & 7)) - 1));
  }
  advance(bytes);
}

function encodeFloats(column: usize, values: usize, count: u32): void {
  const end = values + (<usize>count << 3);
  if (load<u32>(column, C_RAW) != 0) {
    putByte(RAW);
    putBytes(values, <usize>count << 3);
    return;
  }
  let least = load<i64>(values);
  let most = least;
  for (let at = values + 8; at < end; at += 8) {
    const value = load<i64>(at);
    least = value < least ? value : least;
    most = value > most ? value : most;
  }
  const width = widthFor(<u64>(most - least));
  const exponent = load<u32>(column, C_EXPONENT);
  if (width < 8) {
    putByte(DECIMAL);
    putByte(exponent);
    putByte(width);
    putF64(<f64>least);
    putOffsets64(values, count, least, width);
    return;
  }
  putByte(RAW);
  const scale = pow10(exponent);
  let to = need(<usize>count << 3);
  for (let at = values; at < end; at += 8) {
    store<f64>(to, <f64>load<i64>(at) / scale);
    to += 8;
  }
  advance(<usize>count << 3);
}

function encodeIntegers(values: usize, count: u32, unsigned: bool): void {
  const end = values + (<usize>count << 3);
  // Unsigned ones are compared with their sign bits turned over.
  const turn: i64 = unsigned ? i64.MIN_VALUE : 0;
  let least = load<i64>(values) ^ turn;
  let most = least;
  for (let at = values + 8; at < end; at += 8) {
    const value = load<i64>(at) ^ turn;
    least = value < least ? value : least;
    most = value > most ? value : most;
  }
  const width = widthFor(<u64>(most - least));
  if (width == 8) {
    putByte(RAW);
    putBytes(values, <usize>count << 3);
    return;
  }
  putByte(OFFSETS);
  putByte(width);
  putI64(least ^ turn);
  putOffsets64(values, count, least ^ turn, width);
}

/** One bit per byte, lowest first. */
function encodeBits(values: usize, count: u32): void {
  putByte(BITS);
  const bytes = (<usize>count + 7) >> 3;
  const to = need(bytes);
  memory.fill(to, 0, bytes);
  for (let i: u32 = 0; i < count; i++) {
    const place = to + (<usize>i >> 3);
    store<u8>(place, load<u8>(place) | <u8>(<u32>load<u8>(values + <usize>i) << (i & 7)));
  }
  advance(bytes);
}

/** `ends` are the ends of the strings in `bytes`. A dictionary when at most half of them are distinct. */
function encodeStrings(bytes: usize, ends: usize, count: u32): void {
  const distinctMax = count >> 1;
  const slots = tableOf(distinctMax + 1);
  const mask = tableMask;
  // Per string its place in the dictionary, then per place the first string that has it.
  const indexes = scratchOf(<usize>count * 12 + 16);
  const firsts = indexes + (<usize>count << 2);
  let distinct: u32 = 0;
  let start: u32 = 0;
  for (let i: u32 = 0; i < count && distinct <= distinctMax; i++) {
    const end = load<u32>(ends + (<usize>i << 2));
    const length = <usize>(end - start);
    const at = bytes + <usize>start;
    let slot = hashBytes(at, length) & mask;
    let index: u32 = 0;
    while (true) {
      const known = load<u32>(slots + (<usize>slot << 2));
      if (known == 0) {
        index = distinct++;
        store<u32>(slots + (<usize>slot << 2), index + 1);
        store<u32>(firsts + (<usize>index << 2), i);
        break;
      }
      index = known - 1;
      const first = load<u32>(firsts + (<usize>index << 2));
      const from = startOf(ends, first);
      if (<usize>(load<u32>(ends + (<usize>first << 2)) - from) == length && same(bytes + <usize>from, at, length)) break;
      slot = (slot + 1) & mask;
    }
    store<u32>(indexes + (<usize>i << 2), index);
    start = end;
  }
  const lengths = firsts + (<usize>count << 2);
  let longest: u32 = 0;
  if (distinct > distinctMax) {
    start = 0;
    for (let i: u32 = 0; i < count; i++) {
      const end = load<u32>(ends + (<usize>i << 2));
      store<u32>(lengths + (<usize>i << 2), end - start);
      longest = max(longest, end - start);
      start = end;
    }
    putByte(PLAIN);
    const width = widthFor(longest);
    putByte(width);
    putOffsets32(lengths, count, width);
    putBytes(bytes, <usize>start);
    return;
  }
  putByte(DICTIONARY);
  putU32(distinct);
  for (let k: u32 = 0; k < distinct; k++) {
    const first = load<u32>(firsts + (<usize>k << 2));
    const length = load<u32>(ends + (<usize>first << 2)) - startOf(ends, first);
    store<u32>(lengths + (<usize>k << 2), length);
    longest = max(longest, length);
  }
  const width = widthFor(longest);
  putByte(width);
  putOffsets32(lengths, distinct, width);
  for (let k: u32 = 0; k < distinct; k++) {
    const from = startOf(ends, load<u32>(firsts + (<usize>k << 2)));
    putBytes(bytes + <usize>from, <usize>load<u32>(lengths + (<usize>k << 2)));
  }
  const indexWidth = widthFor(<u64>(distinct - 1));
  putByte(indexWidth);
  putOffsets32(indexes, count, indexWidth);
}

@inline
function startOf(ends: usize, index: u32): u32 {
  return index == 0 ? 0 : load<u32>(ends + (<usize>(index - 1) << 2));
}
