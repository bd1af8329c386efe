/**
 * Checking a frame's body (batch-codec.ts has its layout) and the index that is made of it.
 *
 * Everything that `decodeBatch` refuses is refused here: each length, width, index and time is looked at once, before
 * anything is read by it. What is accepted can then be read by its index without another check. The one thing that is
 * neither accepted nor refused is text that is not UTF-8: the index says so (NOT_UTF8), and the caller makes the
 * frame anew from what `decodeBatch` makes of it.
 *
 * Index, words of 4 bytes; offsets count from the frame's first byte:
 *
 *   0 frame address      1 frame length     2 series          3 offset of their hashes (SETTLED: of what is kept)
 *   4 groups             5 rows             6 flags            7 ids of the series in the shard (address, or 0)
 *   then each group:
 *   0 measurement offset 1 length           2 rows            3 width of the series' indexes
 *   4 offset of them     5 width of times   6 their offset     7 columns
 *   8 minimum f64       10 unit f64        12 least time f64  14 greatest time f64
 *  16 shape hash u64    18 number of the shape (shape.ts), or 0          19 unused
 *   then each of its columns:
 *   0 field offset       1 length           2 type, encoding << 8, width << 16, presence << 24
 *   3 offset of presence 4 values present   5 offset of the values (their indexes, lengths)
 *   6 offset of the encoding byte           7 offset of the strings' text (of the dictionary's, if there is one)
 */
import { countBits, extremesOf, greatest, least, offsetAt } from './offsets';
import { CELLS, INDEX, NAMES, scratch, scratchKeeping } from './scratch';
import { hashBytes, isAscii, isUtf8 } from './text';

export const HEAD_WORDS: u32 = 8;
export const GROUP_WORDS: u32 = 20;
export const COLUMN_WORDS: u32 = 8;
const HASH_BYTES: u64 = 16;
const GROUP_BYTES_MIN: u64 = 31;
const COLUMN_BYTES_MIN: u64 = 7;
const UNFOLDED_ROW_BYTES: i64 = 12;
const UNFOLDED_CELL_BYTES: i64 = 9;
const SAFE_MAX: f64 = 9007199254740991;

export const RAW: u32 = 0;
export const OFFSETS: u32 = 1;
export const DECIMAL: u32 = 2;
export const BITS: u32 = 3;
export const PLAIN: u32 = 4;
export const DICTIONARY: u32 = 5;
const TIMES: u32 = 6;

export const FLOAT: u32 = 0;
export const STRING: u32 = 3;
export const BOOLEAN: u32 = 4;
const NOT_UTF8: u32 = 1;
/** Flag of an index: of the frame only what stands behind the hashes is kept. */
const SETTLED: u32 = 2;

let base: usize = 0;
let at: usize = 0;
let end: usize = 0;
let indexWords: u32 = 0;
let notUtf8: bool = false;
let budget: i64 = 0;
let rowsTotal: u32 = 0;

@inline
function has(bytes: u64): bool {
  return bytes <= <u64>(end - at);
}

@inline
function put(word: u32, value: u32): void {
  store<u32>(load<u32>(indexCell) + (word << 2), value);
}

@inline
function putF64(word: u32, value: f64): void {
  store<f64>(load<u32>(indexCell) + (word << 2), value);
}

/** Holds the address of the index that is being made. */
const indexCell = memory.data(4, 4);

function reserve(words: u32): u32 {
  const first = indexWords;
  indexWords += words;
  store<u32>(indexCell, <u32>scratchKeeping(INDEX, indexWords << 2, first << 2));
  return first;
}

/**
 * The index of the frame at `frame`, or 0 when it is refused. `body` is the offset behind the shard key, `span` the
 * length of the shard in nanoseconds, `unfoldedMax` what the frame may unfold to.
 */
export function frameCheck(frame: usize, length: u32, body: u32, span: f64, unfoldedMax: f64): usize {
  base = frame;
  at = frame + body;
  end = frame + length;
  indexWords = 0;
  notUtf8 = false;
  rowsTotal = 0;
  budget = <i64>unfoldedMax;
  if (body > length) return 0;
  reserve(HEAD_WORDS);
  if (!has(4)) return 0;
  const series = load<u32>(at);
  at += 4;
  if (!has(<u64>series * HASH_BYTES)) return 0;
  put(0, <u32>frame);
  put(1, length);
  put(2, series);
  put(3, <u32>(at - base));
  at += series << 4;
  if (!has(4)) return 0;
  const groups = load<u32>(at);
  at += 4;
  if (!has(<u64>groups * GROUP_BYTES_MIN)) return 0;
  for (let i: u32 = 0; i < groups; i++) if (!checkGroup(series, span)) return 0;
  if (at !== end) return 0;
  put(4, groups);
  put(5, rowsTotal);
  put(6, notUtf8 ? NOT_UTF8 : 0);
  put(7, 0);
  const index = heap.alloc(indexWords << 2);
  memory.copy(index, load<u32>(indexCell), indexWords << 2);
  return index;
}

export function indexBytes(): u32 {
  return indexWords << 2;
}

/** A text with its length in front: puts offset and length at `word`. */
function checkText(word: u32): bool {
  if (!has(4)) return false;
  const length = load<u32>(at);
  at += 4;
  if (!has(length)) return false;
  put(word, <u32>(at - base));
  put(word + 1, length);
  if (!isUtf8(at, length)) notUtf8 = true;
  at += length;
  return true;
}

function checkGroup(series: u32, span: f64): bool {
  const group = reserve(GROUP_WORDS);
  if (!checkText(group)) return false;
  if (!has(5)) return false;
  const rows = load<u32>(at);
  const seriesWidth = <u32>load<u8>(at, 4);
  at += 5;
  budget -= <i64>rows * UNFOLDED_ROW_BYTES;
  if (budget < 0) return false;
  put(group + 2, rows);
  put(group + 3, seriesWidth);
  put(group + 4, <u32>(at - base));
  if (!checkOffsets(rows, seriesWidth)) return false;
  if (rows > 0 && !(greatest < <f64>series)) return false;
  if (!has(18)) return false;
  if (load<u8>(at) !== TIMES) return false;
  const width = <u32>load<u8>(at, 1);
  const min = load<f64>(at, 2);
  const unit = load<f64>(at, 10);
  at += 18;
  if (!isSafeInteger(min) || !isSafeInteger(unit) || min < 0 || unit < 1) return false;
  put(group + 5, width);
  put(group + 6, <u32>(at - base));
  if (!checkOffsets(rows, width)) return false;
  const first = rows === 0 ? Infinity : min + least * unit;
  const last = rows === 0 ? -Infinity : min + greatest * unit;
  if (rows > 0 && !(last < span)) return false;
  putF64(group + 8, min);
  putF64(group + 10, unit);
  putF64(group + 12, first);
  putF64(group + 14, last);
  rowsTotal += rows;
  if (!has(4)) return false;
  const columns = load<u32>(at);
  at += 4;
  if (!has(<u64>columns * COLUMN_BYTES_MIN)) return false;
  put(group + 7, columns);
  put(group + 18, 0);
  put(group + 19, 0);
  let shape = hashBytes(base + wordAt(group), wordAt(group + 1), 0x9e3779b97f4a7c15);
  scratch(NAMES, columns << 3);
  for (let i: u32 = 0; i < columns; i++) {
    if (!checkColumn(rows)) return false;
    const column = indexWords - COLUMN_WORDS;
    const type = wordAt(column + 2) & 0xff;
    const name = hashBytes(base + wordAt(column), wordAt(column + 1), 0xc2b2ae3d27d4eb4f + <u64>type);
    store<u64>(scratch(NAMES, columns << 3) + (i << 3), name);
    shape = (rotl(shape, 23) ^ name) * 0x9e3779b97f4a7c15;
  }
  store<u64>(load<u32>(indexCell) + ((group + 16) << 2), shape);
  return areDistinct(group + GROUP_WORDS, columns);
}

@inline
function wordAt(word: u32): u32 {
  return load<u32>(load<u32>(indexCell) + (word << 2));
}

/** No two of the columns have the same field and type. */
function areDistinct(first: u32, columns: u32): bool {
  const names = scratch(NAMES, columns << 3);
  if (columns <= 24) {
    for (let i: u32 = 1; i < columns; i++) {
      for (let j: u32 = 0; j < i; j++) {
        if (load<u64>(names + (i << 3)) === load<u64>(names + (j << 3)) && sameName(first, i, j)) return false;
      }
    }
    return true;
  }
  let slots: u32 = 64;
  while (slots < columns * 2) slots <<= 1;
  const table = scratch(CELLS, slots << 2);
  memory.fill(table, 0, slots << 2);
  for (let i: u32 = 0; i < columns; i++) {
    const name = load<u64>(names + (i << 3));
    let slot = <u32>(name >> 32) & (slots - 1);
    for (;;) {
      const held = load<u32>(table + (slot << 2));
      if (held === 0) break;
      if (load<u64>(names + ((held - 1) << 3)) === name && sameName(first, i, held - 1)) return false;
      slot = (slot + 1) & (slots - 1);
    }
    store<u32>(table + (slot << 2), i + 1);
  }
  return true;
}

function sameName(first: u32, i: u32, j: u32): bool {
  const a = first + i * COLUMN_WORDS;
  const b = first + j * COLUMN_WORDS;
  const length = wordAt(a + 1);
  if (length !== wordAt(b + 1) || (wordAt(a + 2) & 0xff) !== (wordAt(b + 2) & 0xff)) return false;
  return memory.compare(base + wordAt(a), base + wordAt(b), length) === 0;
}

function checkColumn(rows: u32): bool {
  const column = reserve(COLUMN_WORDS);
  if (!checkText(column)) return false;
  if (!has(2)) return false;
  const type = <u32>load<u8>(at);
  const presence = <u32>load<u8>(at, 1);
  at += 2;
  if (type > BOOLEAN || presence > 1) return false;
  budget -= <i64>rows * UNFOLDED_CELL_BYTES;
  if (budget < 0) return false;
  let count = rows;
  put(column + 3, 0);
  if (presence === 1) {
    const bytes = (rows + 7) >>> 3;
    if (!has(bytes)) return false;
    put(column + 3, <u32>(at - base));
    count = countBits(at, rows);
    at += bytes;
  }
  put(column + 4, count);
  if (!has(1)) return false;
  const encoding = <u32>load<u8>(at);
  put(column + 6, <u32>(at - base));
  put(column + 7, 0);
  at += 1;
  let width: u32 = 0;
  if (type === BOOLEAN) {
    if (encoding !== BITS || !has((count + 7) >>> 3)) return false;
    put(column + 5, <u32>(at - base));
    at += (count + 7) >>> 3;
  } else if (type === STRING) {
    width = 0;
    if (!checkStrings(column, encoding, count)) return false;
    width = (wordAt(column + 2) >> 16) & 0xff;
  } else if (encoding === RAW) {
    if (!has(<u64>count << 3)) return false;
    put(column + 5, <u32>(at - base));
    at += count << 3;
  } else if (type === FLOAT) {
    if (encoding !== DECIMAL || !has(10)) return false;
    width = <u32>load<u8>(at, 1);
    if (load<u8>(at) > 15 || width > 4 || !isSafeInteger(load<f64>(at, 2))) return false;
    at += 10;
    put(column + 5, <u32>(at - base));
    if (!skipOffsets(count, width)) return false;
  } else {
    if (encoding !== OFFSETS || !has(9)) return false;
    width = <u32>load<u8>(at);
    if (width > 4) return false;
    at += 9;
    put(column + 5, <u32>(at - base));
    if (!skipOffsets(count, width)) return false;
  }
  put(column + 2, type | (encoding << 8) | (width << 16) | (presence << 24));
  return true;
}

/** Leaves the width of the lengths or indexes in the third byte of the column's word 2. */
function checkStrings(column: u32, encoding: u32, count: u32): bool {
  if (encoding === PLAIN) {
    if (!has(1)) return false;
    const width = <u32>load<u8>(at);
    at += 1;
    put(column + 2, width << 16);
    put(column + 5, <u32>(at - base));
    return checkPlain(column, count, width);
  }
  if (encoding !== DICTIONARY || !has(5)) return false;
  const size = load<u32>(at);
  if (size > count) return false;
  const lengthWidth = <u32>load<u8>(at, 4);
  at += 5;
  if (!checkPlain(column, size, lengthWidth)) return false;
  if (!has(1)) return false;
  const width = <u32>load<u8>(at);
  at += 1;
  put(column + 2, width << 16);
  put(column + 5, <u32>(at - base));
  if (!checkOffsets(count, width)) return false;
  return count === 0 || greatest < <f64>size;
}

/** Lengths of `width` and the text behind them; puts the text's offset. */
function checkPlain(column: u32, count: u32, width: u32): bool {
  const lengths = at;
  if (!skipOffsets(count, width)) return false;
  put(column + 7, <u32>(at - base));
  const text = at;
  if (width > 0) {
    for (let i: u32 = 0; i < count; i++) {
      const length = offsetAt(lengths, width, i);
      if (length > <f64>(end - at)) return false;
      at += <usize>length;
    }
  }
  if (!isAscii(text, <u32>(at - text))) {
    let from = text;
    for (let i: u32 = 0; i < count; i++) {
      const length = <u32>offsetAt(lengths, width, i);
      if (!isUtf8(from, length)) notUtf8 = true;
      from += length;
    }
  }
  return true;
}

function skipOffsets(count: u32, width: u32): bool {
  if (width > 8 || (width & (width - 1)) !== 0) return false;
  const bytes = <u64>count * <u64>width;
  if (!has(bytes)) return false;
  at += <usize>bytes;
  return true;
}

/** Steps over them and leaves the least and the greatest. */
function checkOffsets(count: u32, width: u32): bool {
  const from = at;
  if (!skipOffsets(count, width)) return false;
  extremesOf(from, width, count);
  return true;
}

@inline
function isSafeInteger(value: f64): bool {
  return Math.floor(value) === value && value <= SAFE_MAX && value >= -SAFE_MAX;
}

/** Room for the ids of the frame's series; the index holds it. */
export function frameIds(index: usize): usize {
  let ids = <usize>load<u32>(index, 28);
  if (ids === 0) {
    ids = heap.alloc(max<u32>(load<u32>(index, 8) << 2, 4));
    store<u32>(index, <u32>ids, 28);
  }
  return ids;
}

/**
 * Lets head and hashes of a frame go whose ids are filled in: for rows of one field that is two thirds of it. The frame's
 * address is from then on where it would begin, so that all offsets hold. Where they are a small part the copy is not
 * worth it. Returns how many bytes were given back.
 */
export function frameSettle(index: usize): u32 {
  const frame = <usize>load<u32>(index);
  const cut = load<u32>(index, 12) + (load<u32>(index, 8) << 4);
  const kept = load<u32>(index, 4) - cut;
  if (cut < kept >>> 3) return 0;
  const block = heap.alloc(kept);
  memory.copy(block, frame + cut, kept);
  heap.free(frame);
  store<u32>(index, <u32>(block - cut));
  store<u32>(index, cut, 12);
  store<u32>(index, load<u32>(index, 24) | SETTLED, 24);
  return cut;
}

/** Gives back the frame, its ids and the index. */
export function frameFree(index: usize): void {
  if (load<u32>(index, 28) !== 0) heap.free(load<u32>(index, 28));
  const cut = (load<u32>(index, 24) & SETTLED) == 0 ? 0 : load<u32>(index, 12);
  heap.free(<usize>load<u32>(index) + cut);
  heap.free(index);
}
