/**
 * Sealing: the rows of one shard (a target: window x shards + shard) become the body of a batch frame
 * (shards/batch-codec.ts has the layout) and the key records that go with it.
 *
 * The series of a batch are numbered by order of appearance; each entry notes its number and the batch that it is of. The
 * records are the bytes of `encodeKeys` without its head and CRC: what a key shares with the one before is left out.
 */
import { commonEnd, commonLength, copyVectors, countByte } from './bytes';
import { encodeColumn, encodeTimes, tableMask, tableOf } from './encode';
import { E_BATCH, E_HASH, E_INDEX, E_LENGTH, E_NEWEST, E_SENT } from './entries';
import {
  C_COUNT,
  P_COLUMN_COUNT,
  P_COLUMNS,
  P_MEASUREMENT,
  P_ROWS,
  P_SERIES,
  P_TARGET,
  P_TIMES,
  P_UNORDERED,
} from './layout';
import { M_LENGTH, M_NAME } from './measurements';
import {
  advance,
  clearOutput,
  need,
  outputBlock,
  putByte,
  putBytes,
  putOffsets32,
  putU32,
  widthFor,
  written,
} from './output';
import { afterSent, anySent, hadAll, stateOf } from './sent';
import { nextBatch, putCanonicalKey } from './series';
import { partAt, partCount } from './stage';

const HASH_BYTES: usize = 16;
/** Hash of a key, what it shares with the one before, and the length of the rest. */
const RECORD_HEAD_BYTES: usize = 24;
/** Of a key: what is longer shares no more. */
const SHARED_BYTES_MAX: usize = 0xffff;
/** Comparing and copying go so much further, on either side. */
const PAD_BYTES: usize = 16;
const COMMA: u8 = 44;

/** Of the batch: its entries by number, the number of each row's, and those whose keys go along. */
let series: usize = 0;
let numbers: usize = 0;
let fresh: usize = 0;
let rowsRoom: u32 = 0;

export let sealedSeries: u32 = 0;
export let sealedBodyBytes: usize = 0;
export let freshKeys: u32 = 0;
export let freshKeyBytes: usize = 0;
export let allKeyBytes: usize = 0;
/** Of the keys as they are spelled. */
export let freshSpelledBytes: usize = 0;
export let allSpelledBytes: usize = 0;
export let freshCommas: usize = 0;
export let allCommas: usize = 0;

/** The key that was put last, and its length; the next one goes where the one before it stood. */
let lastKey: usize = 0;
let otherKey: usize = 0;
let keyRoom: usize = 0;
let lastLength: usize = 0;
let spelledBytes: usize = 0;
let commas: usize = 0;

/**
 * True when two rows of the stage have the same series and time. Where times ascend in each series, which is how agents send
 * them, `closeRow` has seen it; a body that was taken back may have left times behind, so a part is looked at once more.
 */
export function hasDuplicates(): bool {
  for (let i: u32 = 0; i < partCount(); i++) {
    const part = partAt(i);
    if (load<u32>(part, P_UNORDERED) != 0 && partHasDuplicates(part)) return true;
  }
  return false;
}

function partHasDuplicates(part: usize): bool {
  const rows = load<u32>(part, P_ROWS);
  const entries = <usize>load<u32>(part, P_SERIES);
  const times = <usize>load<u32>(part, P_TIMES);
  const batch = nextBatch();
  for (let row: u32 = 0; row < rows; row++) {
    const entry = <usize>load<u32>(entries + (<usize>row << 2));
    const time = load<f64>(times + (<usize>row << 3));
    if (load<u32>(entry, E_BATCH) == batch && !(time > load<f64>(entry, E_NEWEST))) return tableHasDuplicates(part);
    store<u32>(entry, batch, E_BATCH);
    store<f64>(entry, time, E_NEWEST);
  }
  return false;
}

function tableHasDuplicates(part: usize): bool {
  const rows = load<u32>(part, P_ROWS);
  const entries = <usize>load<u32>(part, P_SERIES);
  const times = <usize>load<u32>(part, P_TIMES);
  const slots = tableOf(rows);
  for (let row: u32 = 0; row < rows; row++) {
    const entry = load<u32>(entries + (<usize>row << 2));
    const time = load<u64>(times + (<usize>row << 3));
    let slot = <u32>(((time ^ (<u64>entry << 20)) * 0x9e3779b185ebca87) >> 32) & tableMask;
    while (true) {
      const other = load<u32>(slots + (<usize>slot << 2));
      if (other == 0) break;
      const before = <usize>(other - 1);
      if (load<u32>(entries + (before << 2)) == entry && load<u64>(times + (before << 3)) == time) return true;
      slot = (slot + 1) & tableMask;
    }
    store<u32>(slots + (<usize>slot << 2), row + 1);
  }
  return false;
}

/**
 * Writes the body of the target's frame to the output, then the records of keys that a destination (a bit in
 * `destinations`) has not had for the shard of the token, or of all with `everyKey`, then, with `allKeys`, all records if
 * there are more.
 */
export function seal(target: u32, token: u32, destinations: u32, everyKey: u32, allKeys: u32): void {
  clearOutput();
  // The number of series: known when they are written.
  putU32(0);
  const groups = putSeries(target, token, destinations, everyKey != 0);
  store<u32>(outputBlock(), sealedSeries);
  putU32(groups);
  const width = widthFor(<u64>(sealedSeries - 1));
  let first: u32 = 0;
  for (let i: u32 = 0; i < partCount(); i++) {
    const part = partAt(i);
    const rows = load<u32>(part, P_ROWS);
    if (load<u32>(part, P_TARGET) != target || rows == 0) continue;
    encodePart(part, rows, first, width);
    first += rows;
  }
  sealedBodyBytes = written;
  putKeys(fresh, freshKeys);
  freshKeyBytes = written - sealedBodyBytes;
  freshSpelledBytes = spelledBytes;
  freshCommas = commas;
  putKeys(series, allKeys != 0 && freshKeys < sealedSeries ? sealedSeries : 0);
  allKeyBytes = written - sealedBodyBytes - freshKeyBytes;
  allSpelledBytes = spelledBytes;
  allCommas = commas;
}

/** Series of the target's rows whose keys nobody is noted to have had for the shard of the token. */
export function countUnsent(target: u32, token: u32): u32 {
  const batch = nextBatch();
  let count: u32 = 0;
  for (let i: u32 = 0; i < partCount(); i++) {
    const part = partAt(i);
    if (load<u32>(part, P_TARGET) != target) continue;
    const entries = <usize>load<u32>(part, P_SERIES);
    const rows = load<u32>(part, P_ROWS);
    for (let row: u32 = 0; row < rows; row++) {
      const entry = entryAt(entries, row);
      if (load<u32>(entry, E_BATCH) == batch) continue;
      store<u32>(entry, batch, E_BATCH);
      if (!anySent(<u32>load<u16>(entry, E_SENT), token)) count++;
    }
  }
  return count;
}

@inline
function entryAt(list: usize, index: u32): usize {
  return <usize>load<u32>(list + (<usize>index << 2));
}

function putKeys(list: usize, count: u32): void {
  lastLength = 0;
  spelledBytes = 0;
  commas = 0;
  for (let i: u32 = 0; i < count; i++) putKey(entryAt(list, i));
}

function putKey(entry: usize): void {
  const length = <usize>load<u32>(entry, E_LENGTH);
  makeKeyRoom(length);
  const key = otherKey;
  putCanonicalKey(entry, key);
  const most = min(min(length, lastLength), SHARED_BYTES_MAX);
  const first = commonLength(lastKey, key, most);
  const last = commonEnd(lastKey + lastLength, key + length, most - first);
  const own = length - first - last;
  const to = need(RECORD_HEAD_BYTES + own + PAD_BYTES);
  v128.store(to, v128.load(entry + E_HASH));
  store<u16>(to, <u16>first, HASH_BYTES);
  store<u16>(to, <u16>last, HASH_BYTES + 2);
  store<u32>(to, <u32>own, HASH_BYTES + 4);
  copyVectors(to + RECORD_HEAD_BYTES, key + first, own);
  advance(RECORD_HEAD_BYTES + own);
  otherKey = lastKey;
  lastKey = key;
  lastLength = length;
  spelledBytes += length;
  commas += countByte(key, length, COMMA);
}

function makeKeyRoom(length: usize): void {
  if (length <= keyRoom) return;
  keyRoom = length * 2;
  lastKey = roomier(lastKey);
  otherKey = roomier(otherKey);
}

/** A larger block of what stands at `key`, with room on either side. */
function roomier(key: usize): usize {
  const bytes = keyRoom + 2 * PAD_BYTES;
  return PAD_BYTES + (key == 0 ? heap.alloc(bytes) : heap.realloc(key - PAD_BYTES, bytes));
}

/**
 * Numbers the series of the target's rows, writes their hashes, and notes as sent the keys that go along; returns how many
 * parts have rows. All at once: when a large body is sealed, its entries have to be fetched again.
 */
function putSeries(target: u32, token: u32, destinations: u32, everyKey: bool): u32 {
  const batch = nextBatch();
  let count: u32 = 0;
  let groups: u32 = 0;
  let first: u32 = 0;
  freshKeys = 0;
  for (let i: u32 = 0; i < partCount(); i++) {
    const part = partAt(i);
    const rows = load<u32>(part, P_ROWS);
    if (load<u32>(part, P_TARGET) != target || rows == 0) continue;
    groups++;
    makeRoom(first + rows);
    const entries = <usize>load<u32>(part, P_SERIES);
    let hashes = need(<usize>rows * HASH_BYTES);
    const before = count;
    for (let row: u32 = 0; row < rows; row++) {
      const entry = entryAt(entries, row);
      let number = load<u32>(entry, E_INDEX);
      if (load<u32>(entry, E_BATCH) != batch) {
        number = count++;
        store<u32>(entry, batch, E_BATCH);
        store<u32>(entry, number, E_INDEX);
        v128.store(hashes, v128.load(entry + E_HASH));
        hashes += HASH_BYTES;
        store<u32>(series + (<usize>number << 2), <u32>entry);
        const sent = <u32>load<u16>(entry, E_SENT);
        const after = afterSent(sent, token, destinations);
        if (stateOf(after) != sent) store<u16>(entry, <u16>stateOf(after), E_SENT);
        if (everyKey || !hadAll(after)) {
          store<u32>(fresh + (<usize>freshKeys << 2), <u32>entry);
          freshKeys++;
        }
      }
      store<u32>(numbers + (<usize>(first + row) << 2), number);
    }
    advance(<usize>(count - before) * HASH_BYTES);
    first += rows;
  }
  sealedSeries = count;
  return groups;
}

function makeRoom(rows: u32): void {
  if (rows <= rowsRoom) return;
  rowsRoom = max<u32>(1024, max<u32>(rows, rowsRoom * 2));
  series = resized(series);
  numbers = resized(numbers);
  fresh = resized(fresh);
}

function resized(list: usize): usize {
  const bytes = <usize>rowsRoom << 2;
  return list == 0 ? heap.alloc(bytes) : heap.realloc(list, bytes);
}

function encodePart(part: usize, rows: u32, first: u32, width: u32): void {
  const measurement = <usize>load<u32>(part, P_MEASUREMENT);
  putU32(load<u32>(measurement, M_LENGTH));
  putBytes(<usize>load<u32>(measurement, M_NAME), <usize>load<u32>(measurement, M_LENGTH));
  putU32(rows);
  putByte(width);
  putOffsets32(numbers + (<usize>first << 2), rows, width);
  encodeTimes(<usize>load<u32>(part, P_TIMES), rows);
  const list = <usize>load<u32>(part, P_COLUMNS);
  const count = load<u32>(part, P_COLUMN_COUNT);
  let used: u32 = 0;
  for (let i: u32 = 0; i < count; i++) if (load<u32>(columnAt(list, i), C_COUNT) != 0) used++;
  putU32(used);
  for (let i: u32 = 0; i < count; i++) {
    const column = columnAt(list, i);
    if (load<u32>(column, C_COUNT) != 0) encodeColumn(column, rows);
  }
}

@inline
function columnAt(list: usize, index: u32): usize {
  return <usize>load<u32>(list + (<usize>index << 2));
}
