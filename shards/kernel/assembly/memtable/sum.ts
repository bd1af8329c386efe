/**
 * Content sums (shards/checksum.ts says what they are): the two 64-bit halves are the lanes of a vector.
 *
 * Rows are taken in stretches, so that their totals and one column's values stay in the first-level cache; of a column
 * that not every row has, a cursor says how many values came before the stretch. A cell costs one multiplication of
 * 32-bit words for both halves, a row one by its key.
 */
import { COLUMN_WORDS, FLOAT, GROUP_WORDS, RAW, STRING } from './frame';
import { indexAt, offsetAt } from './offsets';
import { CELLS, CURSORS, ROWS, scratch, TOTALS } from './scratch';
import { decodeValues, encodingOf, stringSpans, typeOf } from './values';

const STRETCH: u32 = 512;
const TWO32: f64 = 4294967296;
const NAN_BITS: u64 = 0x7ff8000000000000;
const INFINITY_BITS: u64 = 0x7ff0000000000000;
const SIGN: u64 = 0x8000000000000000;

@inline
function finish(hash: v128): v128 {
  let h = v128.xor(hash, i32x4.shr_u(hash, 16));
  h = i32x4.mul(h, i32x4.splat(0x85ebca6b));
  h = v128.xor(h, i32x4.shr_u(h, 13));
  h = i32x4.mul(h, i32x4.splat(0xc2b2ae35));
  return v128.xor(h, i32x4.shr_u(h, 16));
}

@inline
function rotate13(words: v128): v128 {
  return v128.or(i32x4.shl(words, 13), i32x4.shr_u(words, 19));
}

/** What a version adds to the words of a row's series: each word mixed of all four. */
@inline
function versionKey(version: v128): v128 {
  let h = finish(i32x4.add(version, i32x4(0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65)));
  h = finish(i32x4.add(h, v128.shuffle<i32>(h, h, 1, 2, 3, 0)));
  return finish(i32x4.add(h, v128.shuffle<i32>(h, h, 2, 3, 0, 1)));
}

/** What a time adds to them: two words. */
@inline
function timeKey(time: f64): u64 {
  const key = reinterpret<u64>(time) * 0x9e3779b97f4a7c15;
  return (key ^ (key >> 32)) * 0xd6e8feb86659fd93;
}

/** The two factors of a row. `series`: four words. */
@inline
function rowKey(series: v128, time: u64, version: v128): v128 {
  const words = i32x4.add(i32x4.add(series, version), i64x2.splat(time));
  const product = i64x2.extmul_low_i32x4_u(
    v128.shuffle<i32>(words, words, 0, 2, 0, 2),
    v128.shuffle<i32>(words, words, 1, 3, 1, 3),
  );
  return v128.or(v128.xor(product, i64x2.shr_u(product, 32)), i64x2.splat(1));
}

/** Bytes of a column's key (shards/checksum.ts). */
export const KEY_BYTES: usize = 32;

/** `lows`, `highs`, `marks`: the parts of the column's key. */
@inline
function cellTerm(value: usize, lows: v128, highs: v128, marks: v128): v128 {
  const product = i64x2.extmul_low_i32x4_u(
    i32x4.add(v128.load32_splat(value), lows),
    i32x4.add(v128.load32_splat(value, 4), highs),
  );
  return i64x2.add(v128.xor(product, i64x2.shr_u(product, 32)), marks);
}

/** Strings in words of four bytes, the last one filled up with zeros; their length is mixed in first. */
@inline
function textTerm(key: usize, from: usize, length: u32): v128 {
  const multipliers = i32x4(0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f);
  const salts = i32x4(0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65);
  let h = i32x4.mul(v128.xor(v128.load(key), i32x4.add(i32x4.splat(length), salts)), multipliers);
  let i: u32 = 0;
  for (; i + 4 <= length; i += 4) {
    h = i32x4.mul(i32x4.add(v128.xor(rotate13(h), v128.load32_splat(from + i)), salts), multipliers);
  }
  if (i < length) {
    let tail: u32 = 0;
    for (let shift: u32 = 0; i < length; i++, shift += 8) tail |= <u32>load<u8>(from + i) << shift;
    h = i32x4.mul(i32x4.add(v128.xor(rotate13(h), i32x4.splat(tail)), salts), multipliers);
  }
  const turned = v128.shuffle<i32>(h, h, 3, 0, 1, 2);
  return i64x2.add(finish(v128.xor(h, rotate13(turned))), v128.load(key, 16));
}

@inline
function addTo(total: usize, term: v128): void {
  v128.store(total, i64x2.add(v128.load(total), term));
}

/** All NaNs are one. */
function mendNaNs(values: usize, count: u32): void {
  let any = i64x2.splat(0);
  let i: u32 = 0;
  for (; i + 2 <= count; i += 2) {
    const two = v128.load(values + (i << 3));
    any = v128.or(any, f64x2.ne(two, two));
  }
  if (i === count && !v128.any_true(any)) return;
  for (i = 0; i < count; i++) {
    const bits = load<u64>(values + (i << 3)) & ~SIGN;
    if (bits > INFINITY_BITS) store<u64>(values + (i << 3), NAN_BITS);
  }
}

/** 16 bytes of a series hash or a version, big-endian, as four words. */
@inline
function wordsOf(bytes: usize): v128 {
  const raw = v128.load(bytes);
  return v128.shuffle<u8>(raw, raw, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12);
}

/** Where the version stands in a frame. */
export const VERSION_OFFSET: u32 = 16;
/** The key of a frame's version, in memory: the compiler would make it anew for each row. */
const frameVersion = memory.data(16, 16);

/** Adds the cells of one group of a frame to the two 64-bit sums at `sums`. `keys`: of its columns. */
export function groupSum(index: usize, group: usize, keys: usize, sums: usize): void {
  const frame = <usize>load<u32>(index);
  const hashes = frame + load<u32>(index, 12);
  v128.store(frameVersion, versionKey(wordsOf(frame + VERSION_OFFSET)));
  const rows = load<u32>(group, 8);
  const seriesWidth = load<u32>(group, 12);
  const seriesAt = frame + load<u32>(group, 16);
  const timeWidth = load<u32>(group, 20);
  const timesAt = frame + load<u32>(group, 24);
  const columns = load<u32>(group, 28);
  const min = load<f64>(group, 32);
  const unit = load<f64>(group, 40);
  let time = timeKey(min);
  const totals = scratch(TOTALS, STRETCH << 4);
  const cells = scratch(CELLS, STRETCH << 3);
  const places = scratch(ROWS, STRETCH << 2);
  const cursors = scratch(CURSORS, max(columns, 1) << 3);
  const firstColumn = group + (GROUP_WORDS << 2);
  // Its cells are where the totals begin: mostly there is no more than one column, or no row without any.
  const isFirstWhole = columns > 0 && load<u32>(firstColumn, 12) === 0 && typeOf(firstColumn) !== STRING;
  for (let c: u32 = 0; c < columns; c++) {
    store<u32>(cursors + (c << 3), 0);
    store<u32>(cursors + (c << 3), load<u32>(firstColumn + ((c * COLUMN_WORDS) << 2), 28), 4);
  }
  for (let start: u32 = 0; start < rows; start += STRETCH) {
    const count = min32(STRETCH, rows - start);
    if (!isFirstWhole) memory.fill(totals, 0, count << 4);
    for (let c: u32 = 0; c < columns; c++) {
      const column = firstColumn + ((c * COLUMN_WORDS) << 2);
      const present = load<u32>(column, 12) === 0 ? <usize>0 : frame + load<u32>(column, 12);
      const there = present === 0 ? count : presentRows(present, start, count, places);
      if (there === 0) continue;
      const cursor = load<u32>(cursors + (c << 3));
      store<u32>(cursors + (c << 3), cursor + there);
      const key = keys + c * KEY_BYTES;
      if (typeOf(column) === STRING) {
        const textAt = load<u32>(cursors + (c << 3), 4);
        store<u32>(cursors + (c << 3), stringSpans(frame, column, cursor, there, textAt, cells), 4);
        addTexts(cells, there, present === 0 ? <usize>0 : places, key, totals);
      } else {
        decodeValues(frame, column, cursor, there, cells);
        if (typeOf(column) === FLOAT && encodingOf(column) === RAW) mendNaNs(cells, there);
        if (c === 0 && isFirstWhole) putCells(cells, there, key, totals);
        else addCells(cells, there, present === 0 ? <usize>0 : places, key, totals);
      }
    }
    let sum = v128.load(sums);
    for (let i: u32 = 0; i < count; i++) {
      const series = <usize>indexAt(seriesAt, seriesWidth, start + i);
      if (timeWidth !== 0) time = timeKey(min + offsetAt(timesAt, timeWidth, start + i) * unit);
      const key = rowKey(wordsOf(hashes + (series << 4)), time, v128.load(frameVersion));
      sum = i64x2.add(sum, i64x2.mul(key, v128.load(totals + (i << 4))));
    }
    v128.store(sums, sum);
  }
}

@inline
function min32(a: u32, b: u32): u32 {
  return a < b ? a : b;
}

/** Rows of the stretch (counted from its start) whose bit is set. */
function presentRows(bits: usize, start: u32, count: u32, out: usize): u32 {
  let found: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = start + i;
    store<u32>(out + (found << 2), i);
    found += (<u32>load<u8>(bits + (row >> 3)) >> (row & 7)) & 1;
  }
  return found;
}

/** As `addCells`, of a cell for each row, to totals that hold nothing yet. */
function putCells(cells: usize, count: u32, key: usize, totals: usize): void {
  const lows = v128.load64_zero(key);
  const highs = v128.load64_zero(key, 8);
  const marks = v128.load(key, 16);
  const end = cells + (count << 3);
  for (; cells < end; cells += 8, totals += 16) v128.store(totals, cellTerm(cells, lows, highs, marks));
}

function addCells(cells: usize, count: u32, places: usize, key: usize, totals: usize): void {
  const lows = v128.load64_zero(key);
  const highs = v128.load64_zero(key, 8);
  const marks = v128.load(key, 16);
  if (places === 0) {
    const end = cells + (count << 3);
    for (; cells < end; cells += 8, totals += 16) addTo(totals, cellTerm(cells, lows, highs, marks));
  } else {
    for (let i: u32 = 0; i < count; i++) {
      const row = load<u32>(places + (i << 2));
      addTo(totals + (row << 4), cellTerm(cells + (i << 3), lows, highs, marks));
    }
  }
}

function addTexts(spans: usize, count: u32, places: usize, key: usize, totals: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const row = places === 0 ? i : load<u32>(places + (i << 2));
    addTo(totals + (row << 4), textTerm(key, load<u32>(spans + (i << 3)), load<u32>(spans + (i << 3), 4)));
  }
}

/**
 * Adds one column of stored rows to the totals of the rows (16 bytes each). `present`: 0 when every row has the field.
 * `values`: 8 bytes a row; floats are mended in place.
 */
export function storedCells(
  count: u32,
  isFloat: bool,
  values: usize,
  present: usize,
  key: usize,
  totals: usize,
): void {
  if (isFloat) mendNaNs(values, count);
  if (present === 0) addCells(values, count, 0, key, totals);
  else {
    const places = scratch(ROWS, count << 2);
    let there: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      if (load<u8>(present + i) === 0) continue;
      store<u32>(places + (there << 2), i);
      store<u64>(values + (there << 3), load<u64>(values + (i << 3)));
      there++;
    }
    addCells(values, there, places, key, totals);
  }
}

/** The same for strings: text i is bytes ends[i - 1] .. ends[i] - 1 of `text` (0 before the first). */
export function storedTexts(count: u32, text: usize, ends: usize, present: usize, key: usize, totals: usize): void {
  let from: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const end = load<u32>(ends + (i << 2));
    if (present === 0 || load<u8>(present + i) !== 0) {
      addTo(totals + (i << 4), textTerm(key, text + from, end - from));
    }
    from = end;
  }
}

/** Makes keys of `count` versions, 16 bytes each, where they stand. */
export function versionKeys(versions: usize, count: u32): void {
  const end = versions + (<usize>count << 4);
  for (; versions < end; versions += 16) v128.store(versions, versionKey(wordsOf(versions)));
}

/**
 * Adds rows that are stored to the sums of their versions (16 bytes each at `sums`): row i has `series[i]` (index of 16
 * bytes at `hashes`), `times[i]`, `versions[i]` (index of 16 bytes at `versionTable`) and what `totals` says, all in the
 * kernel's memory.
 */
export function storedRows(
  count: u32,
  series: usize,
  hashes: usize,
  times: usize,
  versions: usize,
  versionKeys: usize,
  totals: usize,
  sums: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const hash = wordsOf(hashes + (<usize>load<u32>(series + (i << 2)) << 4));
    const slot = <usize>load<u32>(versions + (i << 2)) << 4;
    const key = rowKey(hash, timeKey(load<f64>(times + (i << 3))), v128.load(versionKeys + slot));
    addTo(sums + slot, i64x2.mul(key, v128.load(totals + (i << 4))));
  }
}
