/**
 * Patterns: whole numbers per row (times, version indexes) that many series of a block share.
 *
 * Series that an agent reports together have the same times and came in the same batches, so the lists of numbers per
 * series are mostly a few distinct ones. Each distinct list is stored once, with a pattern index per series; when there
 * are too many distinct ones, the numbers are stored per series. Numbers are counted from the least and divided by
 * their unit (the greatest power of 1,000 up to 10^9 that divides all of them): most clocks tick in seconds.
 * Layout: byte form (PLAIN, SHARED) | unit << 4; f64 least; SHARED: varint patterns, numbers: index per series (one span),
 * numbers: length per pattern (one span); numbers: the spans.
 */
import { oneSpan, scratch, scratchMark, scratchRelease } from './arena';
import { CONTRADICTION, fail, failed, TOO_LARGE, UNKNOWN_FORM } from './failure';
import { readNumbers, writeNumbers } from './numbers';
import { readCount, readF64, readU8 } from './reader';
import { writeF64, writeU8, writeVarint } from './writer';

const PLAIN: u32 = 0;
const SHARED: u32 = 1;
const UNITS: usize = memory.data<f64>([1, 1e3, 1e6, 1e9]);
const SAFE_MAX: f64 = 9007199254740991;


@inline
function at32(array: usize, index: u32): u32 {
  return load<u32>(array + (<usize>index << 2));
}

@inline
function at64(array: usize, index: u32): f64 {
  return load<f64>(array + (<usize>index << 3));
}

/** `values` are whole numbers 0 .. 2^53 as float64, row by row; `starts` are the rows of each series. */
export function writePatterns(values: usize, starts: usize, series: u32): void {
  const mark = scratchMark();
  const patternOf = scratch(<usize>series << 3);
  const representatives = scratch((<usize>series << 2) + 4);
  const found = findPatterns(values, starts, series, patternOf, representatives);
  if (found * 2 > series) {
    const count = at32(starts, series);
    const scaled = scratch(<usize>count << 3);
    memory.copy(scaled, values, <usize>count << 3);
    writeScaled(PLAIN, scaled, count);
    writeNumbers(scaled, starts, series);
    scratchRelease(mark);
    return;
  }
  const lengths = scratch(<usize>found << 3);
  const patternStarts = scratch((<usize>found << 2) + 4);
  store<u32>(patternStarts, 0);
  let total: u32 = 0;
  for (let i: u32 = 0; i < found; i++) {
    const s = at32(representatives, i);
    const length = at32(starts, s + 1) - at32(starts, s);
    total += length;
    store<f64>(lengths + (<usize>i << 3), <f64>length);
    store<u32>(patternStarts + (<usize>(i + 1) << 2), total);
  }
  const patterns = scratch(<usize>total << 3);
  for (let i: u32 = 0; i < found; i++) {
    const start = at32(patternStarts, i);
    const length = at32(patternStarts, i + 1) - start;
    const from = values + (<usize>at32(starts, at32(representatives, i)) << 3);
    memory.copy(patterns + (<usize>start << 3), from, <usize>length << 3);
  }
  writeScaled(SHARED, patterns, total);
  writeVarint(found);
  writeNumbers(patternOf, oneSpan(series), 1);
  writeNumbers(lengths, oneSpan(found), 1);
  writeNumbers(patterns, patternStarts, found);
  scratchRelease(mark);
}

/** The first series of each distinct list; fills the index per series. Stops early when sharing cannot pay. */
function findPatterns(values: usize, starts: usize, series: u32, patternOf: usize, representatives: usize): u32 {
  // Open addressing: pattern + 1 per slot, 0 for none.
  let slots: u32 = 16;
  while (slots < series * 2) slots <<= 1;
  const table = scratch(<usize>slots << 2);
  memory.fill(table, 0, <usize>slots << 2);
  let found: u32 = 0;
  for (let s: u32 = 0; s < series; s++) {
    let slot = hashSpan(values, at32(starts, s), at32(starts, s + 1)) & (slots - 1);
    let pattern: u32;
    for (;;) {
      const entry = at32(table, slot);
      if (entry == 0) {
        pattern = found;
        store<u32>(representatives + (<usize>found << 2), s);
        store<u32>(table + (<usize>slot << 2), ++found);
        break;
      }
      pattern = entry - 1;
      if (sameSpan(values, starts, at32(representatives, pattern), s)) break;
      slot = (slot + 1) & (slots - 1);
    }
    store<f64>(patternOf + (<usize>s << 3), <f64>pattern);
    if (found * 2 > series) return found;
  }
  return found;
}

function hashSpan(values: usize, start: u32, end: u32): u32 {
  let hash = <u64>(end - start);
  const last = values + (<usize>end << 3);
  for (let at = values + (<usize>start << 3); at < last; at += 8) {
    hash = (hash ^ load<u64>(at)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return <u32>(hash ^ (hash >> 32));
}

function sameSpan(values: usize, starts: usize, a: u32, b: u32): bool {
  const length = at32(starts, a + 1) - at32(starts, a);
  if (length != at32(starts, b + 1) - at32(starts, b)) return false;
  const one = values + (<usize>at32(starts, a) << 3);
  const other = values + (<usize>at32(starts, b) << 3);
  return memory.compare(one, other, <usize>length << 3) == 0;
}

/** Form, unit and least; the values become multiples of the unit above the least. */
function writeScaled(form: u32, values: usize, count: u32): void {
  let least: f64 = count == 0 ? 0 : at64(values, 0);
  for (let i: u32 = 1; i < count; i++) least = min(least, at64(values, i));
  for (let i: u32 = 0; i < count; i++) store<f64>(values + (<usize>i << 3), at64(values, i) - least);
  let unit: u32 = 3;
  for (let i: u32 = 0; i < count && unit > 0; ) {
    const size = at64(UNITS, unit);
    if (nearest(at64(values, i) / size) * size == at64(values, i)) i++;
    else unit--;
  }
  if (unit > 0) {
    const size = at64(UNITS, unit);
    for (let i: u32 = 0; i < count; i++) store<f64>(values + (<usize>i << 3), nearest(at64(values, i) / size));
  }
  writeU8(form | (unit << 4));
  writeF64(least);
}

/** Of the last `readScale`. */
let unitSize: f64 = 1;
let leastNumber: f64 = 0;

function readScale(): u32 {
  const kind = readU8();
  const form = kind & 15;
  leastNumber = readF64();
  if (form > SHARED || kind >>> 4 > 3) fail(UNKNOWN_FORM);
  else unitSize = at64(UNITS, kind >>> 4);
  if (!(abs(leastNumber) <= SAFE_MAX) || trunc(leastNumber) != leastNumber) fail(TOO_LARGE);
  return form;
}

@inline
function scaleUp(values: usize, count: u32): void {
  const unit = f64x2.splat(unitSize);
  const least = f64x2.splat(leastNumber);
  const end = values + (<usize>count << 3);
  for (let at = values; at < end; at += 16) v128.store(at, f64x2.add(f64x2.mul(v128.load(at), unit), least));
}

/** The lists of the last `readShared`. */
let patternOf: usize = 0;
let patternStarts: usize = 0;
let patternValues: usize = 0;
let patternCount: u32 = 0;

function readShared(starts: usize, series: u32): void {
  const unit = unitSize;
  const least = leastNumber;
  const rows = at32(starts, series);
  patternCount = readCount(series);
  if (failed()) return;
  patternOf = scratch(<usize>series << 3);
  readNumbers(oneSpan(series), 1, 0, 1, 1, patternOf);
  const lengths = scratch(<usize>patternCount << 3);
  readNumbers(oneSpan(patternCount), 1, 0, 1, 1, lengths);
  if (failed()) return;
  patternStarts = scratch((<usize>patternCount << 2) + 4);
  store<u32>(patternStarts, 0);
  let total: u32 = 0;
  for (let i: u32 = 0; i < patternCount; i++) {
    const length = at64(lengths, i);
    if (!(length >= 0 && length <= <f64>(rows - total))) {
      fail(CONTRADICTION);
      return;
    }
    total += <u32>length;
    store<u32>(patternStarts + (<usize>(i + 1) << 2), total);
  }
  patternValues = scratch(<usize>total << 3);
  readNumbers(patternStarts, patternCount, 0, patternCount, 1, patternValues);
  if (failed()) return;
  unitSize = unit;
  leastNumber = least;
  scaleUp(patternValues, total);
}

/** The pattern of a series, which has as many rows as the series. */
function patternAt(starts: usize, series: u32): u32 {
  const number = at64(patternOf, series);
  if (!(number >= 0 && number < <f64>patternCount)) {
    fail(TOO_LARGE);
    return 0;
  }
  const pattern = <u32>number;
  const rows = at32(starts, series + 1) - at32(starts, series);
  if (at32(patternStarts, pattern + 1) - at32(patternStarts, pattern) != rows) fail(CONTRADICTION);
  return pattern;
}

/** Rows of series fromSeries .. toSeries - 1 as float64 from `into` on (and up to a vector more). */
export function readPatterns(starts: usize, series: u32, fromSeries: u32, toSeries: u32, into: usize): void {
  const mark = scratchMark();
  const form = readScale();
  if (failed()) return;
  if (form == PLAIN) {
    readNumbers(starts, series, fromSeries, toSeries, 1, into);
    if (!failed()) scaleUp(into, at32(starts, toSeries) - at32(starts, fromSeries));
  } else {
    readShared(starts, series);
    let to = into;
    for (let s = fromSeries; s < toSeries && !failed(); s++) {
      const pattern = patternAt(starts, s);
      if (failed()) return;
      const from = at32(patternStarts, pattern);
      const bytes = <usize>(at32(patternStarts, pattern + 1) - from) << 3;
      memory.copy(to, patternValues + (<usize>from << 3), bytes);
      to += bytes;
    }
  }
  scratchRelease(mark);
}

/** The same for numbers below `limit`, as u32: they are checked and converted once per pattern, not once per row. */
export function readIndexPatterns(
  starts: usize,
  series: u32,
  fromSeries: u32,
  toSeries: u32,
  limit: u32,
  into: usize,
): void {
  const mark = scratchMark();
  const form = readScale();
  if (failed()) return;
  if (form == PLAIN) {
    const count = at32(starts, toSeries) - at32(starts, fromSeries);
    const values = scratch(<usize>count << 3);
    readNumbers(starts, series, fromSeries, toSeries, 1, values);
    if (failed()) return;
    scaleUp(values, count);
    toIndexes(values, count, limit, into);
  } else {
    readShared(starts, series);
    if (failed()) return;
    const total = at32(patternStarts, patternCount);
    const indexes = scratch(<usize>total << 2);
    toIndexes(patternValues, total, limit, indexes);
    let to = into;
    for (let s = fromSeries; s < toSeries && !failed(); s++) {
      const pattern = patternAt(starts, s);
      if (failed()) return;
      const from = at32(patternStarts, pattern);
      const bytes = <usize>(at32(patternStarts, pattern + 1) - from) << 2;
      memory.copy(to, indexes + (<usize>from << 2), bytes);
      to += bytes;
    }
  }
  scratchRelease(mark);
}

function toIndexes(values: usize, count: u32, limit: u32, into: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const value = at64(values, i);
    if (!(value >= 0 && value < <f64>limit)) {
      fail(TOO_LARGE);
      return;
    }
    store<u32>(into + (<usize>i << 2), <u32>value);
  }
}
