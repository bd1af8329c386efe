/**
 * The series of a shard in memory: hashes and ids, and their keys taken apart into measurement and tags.
 *
 * A key is not kept as text: it is what measurement and tags give when they are put together again (keys.ts). The few
 * keys of which that is not true, bytes that only a faulty or hostile peer sends, are kept beside it as they came.
 * Texts are numbered once for the whole shard (dictionary.ts): measurements, tag keys, and the values of each tag key.
 *
 * Table, by offset:
 *    0 hashes (hash-ids.ts)       4 measurement names      8 tag keys (dictionaries)
 *   12 value dictionaries, one per tag key (u32 each)     16 their capacity
 *   20 measurements (u32 each)   24 their capacity
 *   28 measurement of each id    32 member of each id (u32 each: place among the measurement's series)   36 capacity
 *   40 ranks of ids (order.ts)   44 their capacity
 *   48 keys as they came: (id, address, length, 0) each, ids ascending   52 count   56 capacity
 *   60 measurement number of the series that was added last
 *   64 seed of the dictionaries u64
 * Measurement, by offset:
 *    0 members u32    4 ids of members    8 their capacity
 *   12 ids in the order of hash    16 how many are in it    20 its capacity
 *   24 columns (columns.ts)    28 count    32 capacity
 *   36 places of columns in byte order of their tag keys (u32 each; capacity as the columns)
 */
import { COLUMN_BYTES, columnBytes, columnFree, columnInit } from './columns';
import {
  dictionaryBytes,
  dictionaryCount,
  dictionaryFind,
  dictionaryFree,
  dictionaryIntern,
  dictionaryNew,
  isText,
  textAddress,
  textLength,
} from './dictionary';
import { hashAddress, hashIdsBytes, hashIdsCount, hashIdsFree, hashIdsIntern, hashIdsNew, UNKNOWN_ID } from './hash-ids';
import { compareText, grown } from './text';

const TABLE_BYTES: u32 = 72;
const MEASUREMENT_BYTES: u32 = 40;
const EXCEPTION_BYTES: u32 = 16;
const NO_COLUMN: u32 = 0xffffffff;

export function seriesNew(): usize {
  const table = heap.alloc(TABLE_BYTES);
  memory.fill(table, 0, TABLE_BYTES);
  store<u32>(table, <u32>hashIdsNew());
  store<u32>(table, <u32>dictionaryNew(), 4);
  store<u32>(table, <u32>dictionaryNew(), 8);
  return table;
}

export function seriesFree(table: usize): void {
  const measurements: usize = load<u32>(table, 20);
  for (let i: u32 = 0; i < dictionaryCount(load<u32>(table, 4)); i++) freeMeasurement(load<u32>(measurements + (i << 2)));
  for (let i: u32 = 0; i < dictionaryCount(load<u32>(table, 8)); i++) dictionaryFree(valuesOf(table, i));
  for (let i: u32 = 0; i < load<u32>(table, 52); i++) heap.free(load<u32>(exceptionAt(table, i), 4));
  hashIdsFree(load<u32>(table));
  dictionaryFree(load<u32>(table, 4));
  dictionaryFree(load<u32>(table, 8));
  for (let offset: u32 = 12; offset <= 48; offset += 4) {
    const isAddress = offset == 12 || offset == 20 || offset == 28 || offset == 32 || offset == 40 || offset == 48;
    if (isAddress) freeUsed(load<u32>(table + offset));
  }
  heap.free(table);
}

function freeMeasurement(measurement: usize): void {
  const columns: usize = load<u32>(measurement, 24);
  for (let i: u32 = 0; i < load<u32>(measurement, 28); i++) columnFree(columns + i * COLUMN_BYTES);
  freeUsed(load<u32>(measurement, 4));
  freeUsed(load<u32>(measurement, 12));
  freeUsed(columns);
  freeUsed(load<u32>(measurement, 36));
  heap.free(measurement);
}

@inline
function freeUsed(address: usize): void {
  if (address != 0) heap.free(address);
}

/** Bytes of memory that the table holds, by its own count. */
export function seriesBytes(table: usize): f64 {
  let bytes: u64 = TABLE_BYTES + hashIdsBytes(load<u32>(table));
  bytes += dictionaryBytes(load<u32>(table, 4)) + dictionaryBytes(load<u32>(table, 8));
  for (let i: u32 = 0; i < dictionaryCount(load<u32>(table, 8)); i++) bytes += dictionaryBytes(valuesOf(table, i));
  bytes += (load<u32>(table, 16) + load<u32>(table, 24) + load<u32>(table, 36) * 2 + load<u32>(table, 44)) * 4;
  bytes += load<u32>(table, 56) * EXCEPTION_BYTES;
  for (let i: u32 = 0; i < load<u32>(table, 52); i++) bytes += load<u32>(exceptionAt(table, i), 8);
  for (let i: u32 = 0; i < dictionaryCount(load<u32>(table, 4)); i++) {
    const measurement = measurementAt(table, i);
    bytes += MEASUREMENT_BYTES + (load<u32>(measurement, 8) + load<u32>(measurement, 20)) * 4;
    bytes += load<u32>(measurement, 32) * (COLUMN_BYTES + 4);
    for (let c: u32 = 0; c < load<u32>(measurement, 28); c++) bytes += columnBytes(columnAt(measurement, c));
  }
  return <f64>bytes;
}

export function seriesCount(table: usize): u32 {
  return hashIdsCount(load<u32>(table));
}

/** The table of hashes and ids: what look-ups of many need. */
export function seriesHashes(table: usize): usize {
  return load<u32>(table);
}

export function measurementCount(table: usize): u32 {
  return dictionaryCount(load<u32>(table, 4));
}

/** The number of a measurement by its name, or UNKNOWN_ID. */
export function measurementFind(table: usize, name: usize, length: u32): u32 {
  return dictionaryFind(load<u32>(table, 4), name, length, load<u64>(table, 64));
}

/** The number of the measurement of an id that is there. */
export function measurementOf(table: usize, id: u32): u32 {
  return load<u32>(<usize>load<u32>(table, 28) + (id << 2));
}

@inline
export function memberOf(table: usize, id: u32): u32 {
  return load<u32>(<usize>load<u32>(table, 32) + (id << 2));
}

@inline
export function measurementAt(table: usize, number: u32): usize {
  return load<u32>(<usize>load<u32>(table, 20) + (number << 2));
}

@inline
export function valuesOf(table: usize, key: u32): usize {
  return load<u32>(<usize>load<u32>(table, 12) + (key << 2));
}

@inline
export function columnAt(measurement: usize, place: u32): usize {
  return <usize>load<u32>(measurement, 24) + place * COLUMN_BYTES;
}

/** The place of a column, which it keeps. */
@inline
export function columnPlace(measurement: usize, column: usize): u32 {
  return <u32>(column - <usize>load<u32>(measurement, 24)) / COLUMN_BYTES;
}

/** The column at a place in the order of tag keys. */
@inline
export function orderedColumn(measurement: usize, place: u32): usize {
  return columnAt(measurement, load<u32>(<usize>load<u32>(measurement, 36) + (place << 2)));
}

/** A column of the measurement by the number of its tag key, or 0. */
export function columnOf(measurement: usize, key: u32): usize {
  const count = load<u32>(measurement, 28);
  for (let i: u32 = 0; i < count; i++) {
    const column = columnAt(measurement, i);
    if (load<u32>(column) == key) return column;
  }
  return 0;
}

/** The id of a series; it was added when that is what the count was before, and is then to be given its measurement. */
export function internSeries(table: usize, hash: usize): u32 {
  const hashes: usize = load<u32>(table);
  if (hashIdsCount(hashes) == 0) store<u64>(table, load<u64>(hash), 64);
  return hashIdsIntern(hashes, hash);
}

/** Gives a series that was just added its measurement, `isLast`: that of the one before; keys.ts sets the tags. */
export function placeSeries(table: usize, id: u32, name: usize, nameLength: u32, isLast: bool): void {
  const number = isLast ? load<u32>(table, 60) : measurementNumber(table, name, nameLength);
  const measurement = measurementAt(table, number);
  const member = load<u32>(measurement);
  reserveIds(table, id + 1);
  store<u32>(<usize>load<u32>(table, 28) + (id << 2), number);
  store<u32>(<usize>load<u32>(table, 32) + (id << 2), member);
  reserve(measurement, 4, member + 1);
  store<u32>(<usize>load<u32>(measurement, 4) + (member << 2), id);
  store<u32>(measurement, member + 1);
}

function measurementNumber(table: usize, name: usize, length: u32): u32 {
  const names: usize = load<u32>(table, 4);
  const last = load<u32>(table, 60);
  const count = dictionaryCount(names);
  if (last < count && isText(names, last, name, length)) return last;
  const number = dictionaryIntern(names, name, length, load<u64>(table, 64));
  if (number == count) {
    reserve(table, 20, count + 1);
    const measurement = heap.alloc(MEASUREMENT_BYTES);
    memory.fill(measurement, 0, MEASUREMENT_BYTES);
    store<u32>(<usize>load<u32>(table, 20) + (number << 2), <u32>measurement);
  }
  store<u32>(table, number, 60);
  return number;
}

/** Makes room in the array of u32 whose address stands at the offset, and its capacity behind it. */
export function reserve(record: usize, offset: u32, needed: u32): void {
  const capacity = load<u32>(record + offset, 4);
  if (needed <= capacity) return;
  const more = max<u32>(grown(capacity, needed), 4);
  store<u32>(record + offset, resized(load<u32>(record + offset), more * 4));
  store<u32>(record + offset, more, 4);
}

@inline
function resized(address: u32, bytes: u32): u32 {
  return <u32>(address == 0 ? heap.alloc(bytes) : heap.realloc(address, bytes));
}

function reserveIds(table: usize, needed: u32): void {
  const capacity = load<u32>(table, 36);
  if (needed <= capacity) return;
  const more = max<u32>(grown(capacity, needed), 16);
  store<u32>(table, resized(load<u32>(table, 28), more * 4), 28);
  store<u32>(table, resized(load<u32>(table, 32), more * 4), 32);
  store<u32>(table, more, 36);
}

/** The column at a place in the order of tag keys when it is that of the key, or 0. */
@inline
export function guessColumn(table: usize, measurement: usize, key: usize, length: u32, place: u32): usize {
  if (place >= load<u32>(measurement, 28)) return 0;
  const column = orderedColumn(measurement, place);
  return isText(load<u32>(table, 8), load<u32>(column), key, length) ? column : 0;
}

/** The column of a measurement for a tag key. A new key or column is made. */
export function columnFor(table: usize, measurement: usize, key: usize, length: u32): usize {
  const keys: usize = load<u32>(table, 8);
  const known = dictionaryCount(keys);
  const number = dictionaryIntern(keys, key, length, load<u64>(table, 64));
  if (number == known) {
    reserve(table, 12, known + 1);
    store<u32>(<usize>load<u32>(table, 12) + (number << 2), <u32>dictionaryNew());
  } else {
    const column = columnOf(measurement, number);
    if (column != 0) return column;
  }
  return newColumn(table, measurement, number);
}

function newColumn(table: usize, measurement: usize, key: u32): usize {
  const count = load<u32>(measurement, 28);
  const capacity = load<u32>(measurement, 32);
  if (count == capacity) {
    const more = max<u32>(grown(capacity, count + 1), 4);
    store<u32>(measurement, resized(load<u32>(measurement, 24), more * COLUMN_BYTES), 24);
    store<u32>(measurement, resized(load<u32>(measurement, 36), more * 4), 36);
    store<u32>(measurement, more, 32);
  }
  const column = columnAt(measurement, count);
  columnInit(column, key);
  // Into its place in the order of tag keys.
  const keys: usize = load<u32>(table, 8);
  const order: usize = load<u32>(measurement, 36);
  let place = count;
  while (place > 0) {
    const before = load<u32>(columnAt(measurement, load<u32>(order + ((place - 1) << 2))));
    const text = textAddress(keys, before);
    if (compareText(text, textLength(keys, before), textAddress(keys, key), textLength(keys, key)) < 0) break;
    store<u32>(order + (place << 2), load<u32>(order + ((place - 1) << 2)));
    place--;
  }
  store<u32>(order + (place << 2), count);
  store<u32>(measurement, count + 1, 28);
  return column;
}

/** Keeps a key as it came. */
export function keepKey(table: usize, id: u32, key: usize, length: u32): void {
  const count = load<u32>(table, 52);
  const capacity = load<u32>(table, 56);
  if (count == capacity) {
    const more = max<u32>(grown(capacity, count + 1), 4);
    store<u32>(table, resized(load<u32>(table, 48), more * EXCEPTION_BYTES), 48);
    store<u32>(table, more, 56);
  }
  const copy = heap.alloc(length);
  memory.copy(copy, key, length);
  const entry = exceptionAt(table, count);
  store<u32>(entry, id);
  store<u32>(entry, <u32>copy, 4);
  store<u32>(entry, length, 8);
  store<u32>(table, count + 1, 52);
}

@inline
function exceptionAt(table: usize, index: u32): usize {
  return <usize>load<u32>(table, 48) + index * EXCEPTION_BYTES;
}

/** The entry (address at 4, length at 8) of a key that is kept as it came, or 0. */
export function keptKey(table: usize, id: u32): usize {
  let low: u32 = 0;
  let high = load<u32>(table, 52);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(exceptionAt(table, middle)) < id) low = middle + 1;
    else high = middle;
  }
  return low < load<u32>(table, 52) && load<u32>(exceptionAt(table, low)) == id ? exceptionAt(table, low) : 0;
}

/** Address of a text: of a measurement (`key` UNKNOWN_ID - 1), a tag key (UNKNOWN_ID), or a value of tag key `key`. */
export function seriesText(table: usize, key: u32, code: u32): usize {
  return textAddress(dictionaryFor(table, key), code);
}

export function seriesTextLength(table: usize, key: u32, code: u32): u32 {
  return textLength(dictionaryFor(table, key), code);
}

/** How many texts the dictionary has. */
export function seriesTextCount(table: usize, key: u32): u32 {
  return dictionaryCount(dictionaryFor(table, key));
}

/** The code of a text, or UNKNOWN_ID. */
export function seriesTextFind(table: usize, key: u32, text: usize, length: u32): u32 {
  return dictionaryFind(dictionaryFor(table, key), text, length, load<u64>(table, 64));
}

@inline
function dictionaryFor(table: usize, key: u32): usize {
  if (key == UNKNOWN_ID) return load<u32>(table, 8);
  if (key == UNKNOWN_ID - 1) return load<u32>(table, 4);
  return valuesOf(table, key);
}

export function seriesHash(table: usize, id: u32): usize {
  return hashAddress(load<u32>(table), id);
}
