/**
 * Up to 512 series as bytes, columns again: what series-chunk.ts deflates into the shard's file.
 *
 * Body (numbers are LEB128 unless said otherwise; texts are a length and bytes):
 *   measurements: count, texts; per series the place of its measurement, packed
 *   per measurement: columns, each: length of the tag key plus one and its bytes; values: count, texts, in the order in
 *     which they are met; unless each series of the measurement has a value of its own, per series of it the place of
 *     its value plus one (0: it does not have the tag), packed; 0 behind the last column
 *   keys kept as they came (table.ts): count; each: place of the series, text; in ascending order of place
 * Packed: the bits that the greatest possible number needs, each, least bits first, whole bytes in all.
 *
 * A chunk stands by itself: its values are written once for it, which costs little beside what it saves. The reader
 * checks every length and place against what there is; bytes that make no sense are refused.
 */
import { codeAt, setCode } from './columns';
import { dictionaryIntern, textAddress, textLength } from './dictionary';
import { hashIdsCount } from './hash-ids';
import {
  columnFor,
  internSeries,
  keepKey,
  keptKey,
  measurementAt,
  measurementOf,
  memberOf,
  orderedColumn,
  placeSeries,
  valuesOf,
} from './table';

const SERIES_MAX: u32 = 512;
const HASH_BYTES: u32 = 16;
/** Slots of a map from at most 512 numbers to their places: (number, place plus one), u32 each. */
const MAP_SLOTS: u32 = 1024;

/** The body that is being written. */
let out: usize = 0;
let outLength: u32 = 0;
let outCapacity: u32 = 0;
let map: usize = 0;
/** Numbers in the order in which the map met them. */
let met: usize = 0;
let metCount: u32 = 0;
/** By place in the chunk: place of its measurement; and the numbers that are packed next. */
let groups: usize = 0;
let cells: usize = 0;

function prepare(): void {
  if (map != 0) return;
  map = heap.alloc(MAP_SLOTS * 8);
  met = heap.alloc(SERIES_MAX * 4);
  groups = heap.alloc(SERIES_MAX * 4);
  cells = heap.alloc(SERIES_MAX * 4);
}

function clearMap(): void {
  memory.fill(map, 0, MAP_SLOTS * 8);
  metCount = 0;
}

/** The place of a number among those that were met. */
function placeOf(number: u32): u32 {
  let slot = (number * 0x9e3779b1) >> 22;
  while (true) {
    const entry = map + (slot << 3);
    const place = load<u32>(entry, 4);
    if (place == 0) {
      store<u32>(entry, number);
      store<u32>(met + (metCount << 2), number);
      store<u32>(entry, ++metCount, 4);
      return metCount - 1;
    }
    if (load<u32>(entry) == number) return place - 1;
    slot = (slot + 1) & (MAP_SLOTS - 1);
  }
  return 0;
}

@inline
function need(bytes: u32): void {
  if (outLength + bytes <= outCapacity) return;
  outCapacity = (outLength + bytes) * 2;
  out = out == 0 ? heap.alloc(outCapacity) : heap.realloc(out, outCapacity);
}

function writeNumber(value: u32): void {
  need(5);
  while (value >= 0x80) {
    store<u8>(out + outLength++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(out + outLength++, <u8>value);
}

function writeText(text: usize, length: u32): void {
  writeNumber(length);
  writeBytes(text, length);
}

function writeBytes(text: usize, length: u32): void {
  need(length);
  memory.copy(out + outLength, text, length);
  outLength += length;
}

@inline
function bitsFor(greatest: u32): u32 {
  return 32 - <u32>clz(greatest);
}

@inline
function packedBytes(count: u32, width: u32): u32 {
  return (count * width + 7) >> 3;
}

function writePacked(count: u32, width: u32): void {
  if (width == 0) return;
  need(packedBytes(count, width));
  let bits: u64 = 0;
  let filled: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    bits |= (<u64>load<u32>(cells + (i << 2))) << filled;
    filled += width;
    while (filled >= 8) {
      store<u8>(out + outLength++, <u8>bits);
      bits >>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) store<u8>(out + outLength++, <u8>bits);
}

/** Writes the hashes of `count` ids to `hashes`, and their body where `seriesChunkBody` says; returns its length. */
export function seriesChunkWrite(table: usize, first: u32, count: u32, hashes: usize): u32 {
  if (count > SERIES_MAX || first + count > hashIdsCount(load<u32>(table))) return 0;
  prepare();
  outLength = 0;
  const blocks = load<u32>(table);
  clearMap();
  for (let i: u32 = 0; i < count; i++) {
    v128.store(hashes + i * HASH_BYTES, v128.load(hashOf(blocks, first + i)));
    store<u32>(groups + (i << 2), placeOf(measurementOf(table, first + i)));
  }
  const measurements = metCount;
  const names: usize = load<u32>(table, 4);
  writeNumber(measurements);
  for (let g: u32 = 0; g < measurements; g++) {
    const number = load<u32>(met + (g << 2));
    writeText(textAddress(names, number), textLength(names, number));
  }
  memory.copy(cells, groups, count << 2);
  writePacked(count, bitsFor(measurements - 1));
  for (let g: u32 = 0; g < measurements; g++) writeGroup(table, first, count, g);
  writeKept(table, first, count);
  return outLength;
}

@inline
function hashOf(hashes: usize, id: u32): usize {
  return <usize>load<u32>(<usize>load<u32>(hashes, 16) + ((id >> 9) << 2)) + (id & 511) * HASH_BYTES;
}

export function seriesChunkBody(): usize {
  return out;
}

function writeGroup(table: usize, first: u32, count: u32, group: u32): void {
  let measurement: usize = 0;
  for (let i: u32 = 0; i < count && measurement == 0; i++) {
    if (load<u32>(groups + (i << 2)) == group) measurement = measurementAt(table, measurementOf(table, first + i));
  }
  const columns = load<u32>(measurement, 28);
  const keys: usize = load<u32>(table, 8);
  for (let c: u32 = 0; c < columns; c++) {
    const column = orderedColumn(measurement, c);
    clearMap();
    let members: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      if (load<u32>(groups + (i << 2)) != group) continue;
      const code = codeAt(column, memberOf(table, first + i));
      store<u32>(cells + (members++ << 2), code == 0 ? 0 : placeOf(code) + 1);
    }
    if (metCount == 0) continue;
    const key = load<u32>(column);
    writeNumber(textLength(keys, key) + 1);
    writeBytes(textAddress(keys, key), textLength(keys, key));
    const values = valuesOf(table, key);
    writeNumber(metCount);
    for (let v: u32 = 0; v < metCount; v++) {
      const code = load<u32>(met + (v << 2)) - 1;
      writeText(textAddress(values, code), textLength(values, code));
    }
    if (metCount != members) writePacked(members, bitsFor(metCount));
  }
  writeNumber(0);
}

function writeKept(table: usize, first: u32, count: u32): void {
  let kept: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (keptKey(table, first + i) != 0) kept++;
  writeNumber(kept);
  for (let i: u32 = 0; i < count && kept > 0; i++) {
    const entry = keptKey(table, first + i);
    if (entry == 0) continue;
    writeNumber(i);
    writeText(load<u32>(entry, 4), load<u32>(entry, 8));
  }
}

/** The body that is being read. */
let at: usize = 0;
let end: usize = 0;
let failed = false;

function readNumber(): u32 {
  let value: u32 = 0;
  for (let shift: u32 = 0; shift < 35; shift += 7) {
    if (at >= end) break;
    const byte = load<u8>(at++);
    value |= <u32>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  failed = true;
  return 0;
}

/** Steps over a text; its length is in `textBytes`. */
let textBytes: u32 = 0;
function readText(): usize {
  return readBytes(readNumber());
}

function readBytes(length: u32): usize {
  textBytes = length;
  if (failed || textBytes > <u32>(end - at)) {
    failed = true;
    textBytes = 0;
    return at;
  }
  const text = at;
  at += textBytes;
  return text;
}

/** Into `cells`; none is above `greatest`. */
function readPacked(count: u32, greatest: u32): void {
  const width = bitsFor(greatest);
  if (failed || packedBytes(count, width) > <u32>(end - at)) {
    failed = true;
    return;
  }
  let bits: u64 = 0;
  let filled: u32 = 0;
  const mask: u64 = (<u64>1 << width) - 1;
  for (let i: u32 = 0; i < count; i++) {
    while (filled < width) {
      bits |= (<u64>load<u8>(at++)) << filled;
      filled += 8;
    }
    const cell = <u32>(bits & mask);
    if (cell > greatest) failed = true;
    store<u32>(cells + (i << 2), cell);
    bits >>= width;
    filled -= width;
  }
}

/** Adds `count` series. False when the bytes do not hold them, or one is there already; some may be added then. */
export function seriesChunkAdd(table: usize, hashes: usize, count: u32, body: usize, bytes: u32): bool {
  if (count == 0 || count > SERIES_MAX) return false;
  prepare();
  at = body;
  end = body + bytes;
  failed = false;
  const measurements = readNumber();
  if (failed || measurements == 0 || measurements > count) return false;
  // Names are met again for each series: where they are.
  const names = heap.alloc(measurements * 8);
  for (let g: u32 = 0; g < measurements; g++) {
    store<u32>(names + (g << 3), <u32>readText());
    store<u32>(names + (g << 3), textBytes, 4);
  }
  readPacked(count, measurements - 1);
  const first = hashIdsCount(load<u32>(table));
  if (!failed) {
    memory.copy(groups, cells, count << 2);
    addAll(table, hashes, count, names);
  }
  heap.free(names);
  for (let g: u32 = 0; g < measurements && !failed; g++) readGroup(table, first, count, g);
  if (!failed) readKept(table, first, count);
  return !failed && at == end;
}

function addAll(table: usize, hashes: usize, count: u32, names: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const hash = hashes + i * HASH_BYTES;
    const known = hashIdsCount(load<u32>(table));
    const id = internSeries(table, hash);
    if (id < known) {
      failed = true;
      return;
    }
    const name = names + (load<u32>(groups + (i << 2)) << 3);
    placeSeries(table, id, load<u32>(name), load<u32>(name, 4), false);
  }
}

function readGroup(table: usize, first: u32, count: u32, group: u32): void {
  let members: u32 = 0;
  let measurement: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    if (load<u32>(groups + (i << 2)) != group) continue;
    measurement = measurementAt(table, measurementOf(table, first + i));
    members++;
  }
  while (true) {
    const keyEnd = readNumber();
    if (failed || keyEnd == 0) return;
    const key = readBytes(keyEnd - 1);
    const keyLength = textBytes;
    const values = readNumber();
    if (failed || values == 0 || values > members) {
      failed = true;
      return;
    }
    const column = columnFor(table, measurement, key, keyLength);
    const dictionary = valuesOf(table, load<u32>(column));
    for (let v: u32 = 0; v < values; v++) {
      const text = readText();
      if (failed || textBytes == 0) {
        failed = true;
        return;
      }
      store<u32>(met + (v << 2), dictionaryIntern(dictionary, text, textBytes, load<u64>(table, 64)) + 1);
    }
    readColumn(table, column, first, count, group, members, values);
  }
}

function readColumn(
  table: usize,
  column: usize,
  first: u32,
  count: u32,
  group: u32,
  members: u32,
  values: u32,
): void {
  // As many values as series: each has its own, in order.
  const own = values == members;
  if (!own) readPacked(members, values);
  if (failed) return;
  let member: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    if (load<u32>(groups + (i << 2)) != group) continue;
    const place = own ? member + 1 : load<u32>(cells + (member << 2));
    member++;
    if (place > 0) setCode(column, memberOf(table, first + i), load<u32>(met + ((place - 1) << 2)));
  }
}

function readKept(table: usize, first: u32, count: u32): void {
  const kept = readNumber();
  let next: u32 = 0;
  for (let k: u32 = 0; k < kept && !failed; k++) {
    const place = readNumber();
    const text = readText();
    if (failed || place < next || place >= count) {
      failed = true;
      return;
    }
    keepKey(table, first + place, text, textBytes);
    next = place + 1;
  }
}
