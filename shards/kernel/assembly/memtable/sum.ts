/**
 * Content sums (shards/checksum.ts says what they are and has the definition): the four lanes of a cell's hash are the
 * four lanes of a vector.
 *
 * Rows are taken in stretches, so that their lanes and one column's values stay in the first-level cache; of a column
 * that not every row has, a cursor says how many values came before the stretch.
 */
import { COLUMN_WORDS, GROUP_WORDS, STRING } from './frame';
import { offsetAt } from './offsets';
import { CELLS, CURSORS, LANES, ROWS, scratch } from './scratch';
import { decodeValues, stringSpans, typeOf } from './values';

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

/** The lanes of a row: `series` and `version` are four words each. */
@inline
function rowLanes(series: v128, time: f64, version: v128): v128 {
  const whole = <u64>time;
  const low = <i32>whole;
  const high = <i32>(whole >> 32);
  const times = i32x4.mul(v128.xor(i32x4.splat(low), i32x4(0, 1, 2, 3)), i32x4.splat(0x9e3779b1));
  let h = v128.xor(series, times);
  h = finish(v128.xor(h, i32x4.add(version, i32x4.splat(0x165667b1))));
  const next = v128.shuffle<i32>(version, version, 1, 2, 3, 0);
  const highs = i32x4.mul(v128.xor(i32x4.splat(high), next), i32x4.splat(0x85ebca77));
  return finish(v128.xor(h, highs));
}

@inline
function cellHash(lanes: v128, words: v128, next: v128, value: usize): v128 {
  const low = v128.load32_splat(value);
  const high = v128.load32_splat(value, 4);
  const mixed = i32x4.add(
    i32x4.mul(v128.xor(low, words), i32x4(0x9e3779b1, 0xc2b2ae3d, 0x165667b1, 0x1b873593)),
    i32x4.mul(v128.xor(high, next), i32x4(0x85ebca77, 0x27d4eb2f, 0xcc9e2d51, 0xe6546b65)),
  );
  const turned = v128.shuffle<i32>(mixed, mixed, 3, 0, 1, 2);
  return finish(v128.xor(v128.xor(lanes, mixed), rotate13(turned)));
}

/** Strings in words of four bytes, the last one filled up with zeros; their length is mixed in first. */
@inline
function textHash(lanes: v128, words: v128, from: usize, length: u32): v128 {
  const multipliers = i32x4(0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f);
  const salts = i32x4(0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65);
  let h = i32x4.mul(v128.xor(words, i32x4.add(i32x4.splat(length), salts)), multipliers);
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
  return finish(v128.xor(v128.xor(lanes, h), rotate13(turned)));
}

/** Adds a hash to the four 64-bit lane sums at `sums`: exact for 2^32 cells. */
@inline
function addHash(sums: usize, hash: v128): void {
  v128.store(sums, i64x2.add(v128.load(sums), i64x2.extend_low_i32x4_u(hash)));
  v128.store(sums, i64x2.add(v128.load(sums, 16), i64x2.extend_high_i32x4_u(hash)), 16);
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
const VERSION_OFFSET: u32 = 16;

/**
 * Adds the cells of one group of a frame to the four 64-bit sums at `sums`. `words`: 16 bytes for each column (of field
 * and type).
 */
export function groupSum(index: usize, group: usize, words: usize, sums: usize): void {
  const frame = <usize>load<u32>(index);
  const hashes = frame + load<u32>(index, 12);
  const version = wordsOf(frame + VERSION_OFFSET);
  const rows = load<u32>(group, 8);
  const seriesWidth = load<u32>(group, 12);
  const seriesAt = frame + load<u32>(group, 16);
  const timeWidth = load<u32>(group, 20);
  const timesAt = frame + load<u32>(group, 24);
  const columns = load<u32>(group, 28);
  const min = load<f64>(group, 32);
  const unit = load<f64>(group, 40);
  const lanes = scratch(LANES, STRETCH << 4);
  const cells = scratch(CELLS, STRETCH << 3);
  const places = scratch(ROWS, STRETCH << 2);
  const cursors = scratch(CURSORS, max(columns, 1) << 3);
  const firstColumn = group + (GROUP_WORDS << 2);
  for (let c: u32 = 0; c < columns; c++) {
    store<u32>(cursors + (c << 3), 0);
    store<u32>(cursors + (c << 3), load<u32>(firstColumn + ((c * COLUMN_WORDS) << 2), 28), 4);
  }
  for (let start: u32 = 0; start < rows; start += STRETCH) {
    const count = min32(STRETCH, rows - start);
    for (let i: u32 = 0; i < count; i++) {
      const series = <usize>offsetAt(seriesAt, seriesWidth, start + i);
      const time = min + offsetAt(timesAt, timeWidth, start + i) * unit;
      v128.store(lanes + (i << 4), rowLanes(wordsOf(hashes + (series << 4)), time, version));
    }
    for (let c: u32 = 0; c < columns; c++) {
      const column = firstColumn + ((c * COLUMN_WORDS) << 2);
      const present = load<u32>(column, 12) === 0 ? <usize>0 : frame + load<u32>(column, 12);
      const there = present === 0 ? count : presentRows(present, start, count, places);
      if (there === 0) continue;
      const cursor = load<u32>(cursors + (c << 3));
      store<u32>(cursors + (c << 3), cursor + there);
      const own = v128.load(words + (c << 4));
      if (typeOf(column) === STRING) {
        const textAt = load<u32>(cursors + (c << 3), 4);
        store<u32>(cursors + (c << 3), stringSpans(frame, column, cursor, there, textAt, cells), 4);
        sumTexts(cells, there, present === 0 ? <usize>0 : places, lanes, own, sums);
      } else {
        decodeValues(frame, column, cursor, there, cells);
        if (typeOf(column) === 0) mendNaNs(cells, there);
        sumCells(cells, there, present === 0 ? <usize>0 : places, lanes, own, sums);
      }
    }
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

function sumCells(cells: usize, count: u32, places: usize, lanes: usize, words: v128, sums: usize): void {
  const next = v128.shuffle<i32>(words, words, 1, 2, 3, 0);
  let low = i64x2.splat(0);
  let high = i64x2.splat(0);
  if (places === 0) {
    for (let i: u32 = 0; i < count; i++) {
      const hash = cellHash(v128.load(lanes + (i << 4)), words, next, cells + (i << 3));
      low = i64x2.add(low, i64x2.extend_low_i32x4_u(hash));
      high = i64x2.add(high, i64x2.extend_high_i32x4_u(hash));
    }
  } else {
    for (let i: u32 = 0; i < count; i++) {
      const row = load<u32>(places + (i << 2));
      const hash = cellHash(v128.load(lanes + (row << 4)), words, next, cells + (i << 3));
      low = i64x2.add(low, i64x2.extend_low_i32x4_u(hash));
      high = i64x2.add(high, i64x2.extend_high_i32x4_u(hash));
    }
  }
  v128.store(sums, i64x2.add(v128.load(sums), low));
  v128.store(sums, i64x2.add(v128.load(sums, 16), high), 16);
}

function sumTexts(spans: usize, count: u32, places: usize, lanes: usize, words: v128, sums: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const row = places === 0 ? i : load<u32>(places + (i << 2));
    const from = <usize>load<u32>(spans + (i << 3));
    addHash(sums, textHash(v128.load(lanes + (row << 4)), words, from, load<u32>(spans + (i << 3), 4)));
  }
}

/**
 * Lanes of rows that are stored: row i has `series[i]` (index of 16 bytes at `hashes`), `times[i]` and `versions[i]` (index
 * of 16 bytes at `versionTable`), all in the kernel's memory.
 */
export function storedLanes(
  count: u32,
  series: usize,
  hashes: usize,
  times: usize,
  versions: usize,
  versionTable: usize,
  lanes: usize,
): void {
  for (let i: u32 = 0; i < count; i++) {
    const hash = wordsOf(hashes + (<usize>load<u32>(series + (i << 2)) << 4));
    const version = wordsOf(versionTable + (<usize>load<u32>(versions + (i << 2)) << 4));
    v128.store(lanes + (i << 4), rowLanes(hash, load<f64>(times + (i << 3)), version));
  }
}

/**
 * Adds the cells of one column of stored rows to the sums of their versions (32 bytes each at `sums`). `present`: 0 when
 * every row has the field. `values`: 8 bytes a row; floats are mended in place.
 */
export function storedSum(
  count: u32,
  isFloat: bool,
  values: usize,
  present: usize,
  versions: usize,
  words: usize,
  lanes: usize,
  sums: usize,
): void {
  const own = v128.load(words);
  const next = v128.shuffle<i32>(own, own, 1, 2, 3, 0);
  if (isFloat) mendNaNs(values, count);
  for (let i: u32 = 0; i < count; i++) {
    if (present !== 0 && load<u8>(present + i) === 0) continue;
    const hash = cellHash(v128.load(lanes + (i << 4)), own, next, values + (i << 3));
    addHash(sums + (<usize>load<u32>(versions + (i << 2)) << 5), hash);
  }
}

/** The same for strings: text i is bytes ends[i - 1] .. ends[i] - 1 of `text` (0 before the first). */
export function storedTextSum(
  count: u32,
  text: usize,
  ends: usize,
  present: usize,
  versions: usize,
  words: usize,
  lanes: usize,
  sums: usize,
): void {
  const own = v128.load(words);
  let from: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const end = load<u32>(ends + (i << 2));
    if (present === 0 || load<u8>(present + i) !== 0) {
      const hash = textHash(v128.load(lanes + (i << 4)), own, text + from, end - from);
      addHash(sums + (<usize>load<u32>(versions + (i << 2)) << 5), hash);
    }
    from = end;
  }
}
