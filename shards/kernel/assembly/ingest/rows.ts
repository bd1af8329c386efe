/**
 * Rows: where they go by their time, and how many there were in the open body. The fast parser (lines.ts) fills a row's
 * cells itself; a line that the careful parser has read comes in through `openRow`, `openField`, `putOpen...` and
 * `closeOpenRow`.
 */
import { hashBytes, same } from './bytes';
import { pow10, putBoolean, putDecimal, putDouble, putString, putWord } from './columns';
import { E_FLAGS, E_MEASUREMENT, E_SHARD, FLAG_TIME_TAG } from './entries';
import { AGAIN, C_STAGE, OK, P_ROWS, SPECIAL, WINDOW } from './layout';
import { measurementOf } from './measurements';
import { addEntry, describeSeries, findEntry, findSeries, follow, seriesOf } from './series';
import { sipHash } from './siphash';
import {
  closeRow,
  columnOf,
  partOf,
  retract,
  stage,
  stringBytesMax,
  useColumn,
} from './stage';
import { windowEnd, windowOf, windowStart, windows } from './windows';

const newHash: usize = memory.data(16, 16);
/** Below this, value x 10^decimals is off by less than a half, so rounding finds the integer. */
const SCALED_END: f64 = 2251799813685248.0;

/** The window of the last row: where to put the next one before its time is read. */
export let window: u32 = 0;
/** Of rows without a time. */
export let defaultTime: i64 = 0;
let oldest: i64 = 0;
let rowTime: i64 = 0;
let rows: u32 = 0;
let aged: u32 = 0;
let openPartOfRow: usize = 0;
let openSeries: usize = 0;
let openColumn: usize = 0;

export function beginRows(defaultTimeNs: i64, oldestNs: i64): void {
  defaultTime = defaultTimeNs;
  oldest = oldestNs;
  rows = 0;
  aged = 0;
  if (window >= windows) window = 0;
}

/** Of the row for which a window is missing. */
export function timeOfRow(): i64 {
  return rowTime;
}

/** Rows of the body, the ones beyond retention included. */
export function rowsRead(): u32 {
  return rows;
}

/** Rows beyond retention: not kept. */
export function rowsAged(): u32 {
  return aged;
}

/** Adds the open row of the part. AGAIN: it was taken back, since it belongs to another window, now set. */
export function finishRow(part: usize, series: usize, time: i64): i32 {
  rowTime = time;
  const start = windowStart(window);
  if (rowTime >= start && rowTime < windowEnd(window)) {
    if (rowTime >= oldest) {
      const code = closeRow(part, series, <f64>(rowTime - start));
      if (code == OK) rows++;
      return code;
    }
  }
  retract(part);
  if (rowTime < oldest) {
    aged++;
    rows++;
    return OK;
  }
  const found = windowOf(rowTime);
  if (found == windows) return WINDOW;
  window = found;
  return AGAIN;
}

/** The entry of the spelling at `at`, or 0. */
export function findSpelling(key: usize, length: usize): usize {
  return findEntry(key, length, hashBytes(key, length));
}

/** Enters a spelling of the series with that canonical key, which is entered as well if it is new. */
export function enterSpelling(
  key: usize,
  length: usize,
  canonical: usize,
  canonicalLength: usize,
  measurement: usize,
  measurementLength: usize,
  timeTag: u32,
): usize {
  sipHash(canonical, canonicalLength, newHash);
  const keyHash = hashBytes(canonical, canonicalLength);
  let series = findSeries(keyHash, newHash);
  if (series == 0) {
    series = addEntry(canonical, canonicalLength, keyHash, 0);
    describeSeries(series, newHash, measurementOf(measurement, measurementLength), timeTag != 0);
    if (length == canonicalLength && same(key, canonical, length)) return series;
  }
  return addEntry(key, length, hashBytes(key, length), series);
}

/** Opens a row of the series that the entry spells. */
export function openRow(entry: usize): i32 {
  follow(entry);
  openSeries = seriesOf(entry);
  if ((<u32>load<u8>(openSeries, E_FLAGS) & FLAG_TIME_TAG) != 0) return SPECIAL;
  const shard = <u32>load<u8>(openSeries, E_SHARD);
  openPartOfRow = partOf(<usize>load<u32>(openSeries, E_MEASUREMENT), window, shard);
  return OK;
}

/** The next value is of this field. A code other than OK has taken the row back. */
export function openField(name: usize, length: usize, type: u32): i32 {
  openColumn = columnOf(openPartOfRow, name, length, type);
  if (load<u32>(openColumn, C_STAGE) == stage) return OK;
  const code = useColumn(openPartOfRow, openColumn);
  if (code != OK) retract(openPartOfRow);
  return code;
}

export function putOpenFloat(value: f64): void {
  const row = load<u32>(openPartOfRow, P_ROWS);
  if (value != 0 || reinterpret<i64>(value) == 0) {
    for (let decimals: u32 = 0; decimals <= 15; decimals++) {
      const scale = pow10(decimals);
      const mantissa = nearest(value * scale);
      if (!(abs(mantissa) < SCALED_END)) break;
      if (mantissa / scale != value) continue;
      putDecimal(openColumn, row, <i64>mantissa, decimals);
      return;
    }
  }
  putDouble(openColumn, row, value);
}

/** Integers of both signs: two's complement. */
export function putOpenWord(value: i64): void {
  putWord(openColumn, load<u32>(openPartOfRow, P_ROWS), value);
}

export function putOpenBoolean(value: u32): void {
  putBoolean(openColumn, load<u32>(openPartOfRow, P_ROWS), value);
}

/** SPECIAL: longer than a string may be. */
export function putOpenString(bytes: usize, length: usize): i32 {
  if (length > stringBytesMax) {
    retract(openPartOfRow);
    return SPECIAL;
  }
  putString(openColumn, load<u32>(openPartOfRow, P_ROWS), bytes, <u32>length);
  return OK;
}

/** AGAIN: the row was taken back and is to be put once more, from `openRow` on. */
export function closeOpenRow(timeNs: i64, hasTime: u32): i32 {
  return finishRow(openPartOfRow, openSeries, hasTime != 0 ? timeNs : defaultTime);
}
