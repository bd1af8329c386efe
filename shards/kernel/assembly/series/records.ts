/**
 * Keys as they come with a batch: records of 16 bytes of hash, u32 length and the key, of those series that the table may
 * not have, mostly in the order of the batch.
 */
import { GROUPS, MISSING, scratch, scratchAt, USERS } from '../memtable/scratch';
import { hashIdsCount, hashIdsFetch, hashIdsFind, hashIdsFree, hashIdsIntern, hashIdsNew, UNKNOWN_ID } from './hash-ids';
import { addKey, forgetKey, isKeyOf } from './keys';
import { equalText } from './text';

const HASH_BYTES: u32 = 16;
/** Hash and length of a key. */
export const RECORD_HEAD_BYTES: u32 = 20;
const COMMA: u8 = 44;
const BACKSLASH: u8 = 92;

/**
 * Ids of a batch's `n` hashes, where some are new: their keys are in `records` (each 16 bytes of hash, u32 length, key).
 * Adds nothing unless each has its key. Returns how many have none; then `ids` holds what is known. -1: the records do
 * not fit their bytes.
 */
export function seriesResolve(table: usize, hashes: usize, n: u32, ids: usize, records: usize, bytes: u32): i32 {
  const wanted = heap.alloc(max<u32>(n, 1) * 4);
  const missing = matchRecords(table, hashes, n, ids, records, bytes, wanted);
  if (missing == 0) {
    let fetched: u32 = 0;
    forgetKey();
    for (let i: u32 = 0; i < n; i++) {
      if (load<u32>(ids + (i << 2)) != UNKNOWN_ID) continue;
      if (i >= fetched) fetched = hashIdsFetch(load<u32>(table), hashes, i, n);
      const hash = hashes + i * HASH_BYTES;
      // The same series may be named twice, or have come since it was looked up.
      const record = records + load<u32>(wanted + (i << 2));
      store<u32>(ids + (i << 2), addKey(table, hash, record + RECORD_HEAD_BYTES, load<u32>(record, 16)));
    }
  }
  heap.free(wanted);
  return missing;
}

/**
 * How many of a frame's unknown series have no key in `records`; their places are left behind (MISSING, u32 each). -1: the
 * records do not fit their bytes. -2: a key is of another measurement than that of the group which uses its series.
 * To be called right after `frameBelongs`.
 */
export function seriesMissing(table: usize, index: usize, records: usize, bytes: u32): i32 {
  const frame = <usize>load<u32>(index);
  const n = load<u32>(index, 8);
  const ids = <usize>load<u32>(index, 28);
  const users = scratchAt(USERS);
  const groups = scratchAt(GROUPS);
  const wanted = heap.alloc(max<u32>(n, 1) * 4);
  memory.fill(wanted, 0xff, n * 4);
  const out = scratch(MISSING, n << 2);
  let missing = matchRecords(table, frame + load<u32>(index, 12), n, ids, records, bytes, wanted);
  let written: u32 = 0;
  let group: usize = 0;
  let isPlain = false;
  for (let i: u32 = 0; i < n && missing >= 0; i++) {
    if (load<u32>(ids + (i << 2)) != UNKNOWN_ID) continue;
    const at = load<u32>(wanted + (i << 2));
    const user = load<u32>(users + (i << 2));
    if (at == NO_RECORD) {
      store<u32>(out + (written++ << 2), i);
      continue;
    }
    if (user == 0) continue;
    const own = <usize>load<u32>(groups + ((user - 1) << 3), 4);
    if (own != group) {
      group = own;
      isPlain = !hasBackslash(frame + load<u32>(group), load<u32>(group, 4));
    }
    if (!isOf(records + at, frame + load<u32>(group), load<u32>(group, 4), isPlain)) missing = -2;
  }
  heap.free(wanted);
  return missing;
}

const NO_RECORD: u32 = 0xffffffff;

function hasBackslash(text: usize, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) if (load<u8>(text + i) == BACKSLASH) return true;
  return false;
}

/** Whether the key of a record is of the measurement of that name. `isPlain`: the name has no backslash. */
function isOf(record: usize, text: usize, textLength: u32, isPlain: bool): bool {
  const key = record + RECORD_HEAD_BYTES;
  const length = load<u32>(record, 16);
  // Mostly the name stands there as it is; with a backslash in it, it would mean another one.
  if (isPlain && textLength < length && load<u8>(key + textLength) == COMMA) {
    if (equalText(key, textLength, text, textLength)) return true;
  }
  return isKeyOf(key, length, text, textLength);
}

/** 1 when a record names a series that the table does not have, else 0; -1: the records do not fit their bytes. */
export function seriesHasNew(table: usize, records: usize, bytes: u32): i32 {
  for (let at: u32 = 0; at < bytes; at += recordBytes(records + at)) {
    if (!fits(records, at, bytes)) return -1;
    if (hashIdsFind(load<u32>(table), records + at) == UNKNOWN_ID) return 1;
  }
  return 0;
}

/**
 * For each unknown hash the offset of its record, into `wanted`. Records mostly come in the order of the batch, so the
 * next one is tried first; when that fails they are put into a table.
 */
function matchRecords(
  table: usize,
  hashes: usize,
  n: u32,
  ids: usize,
  records: usize,
  bytes: u32,
  wanted: usize,
): i32 {
  let missing: i32 = 0;
  let next: u32 = 0;
  let index: usize = 0;
  let offsets: usize = 0;
  for (let i: u32 = 0; i < n; i++) {
    if (load<u32>(ids + (i << 2)) != UNKNOWN_ID) continue;
    const hash = hashes + i * HASH_BYTES;
    let at = next;
    if (at >= bytes || !fits(records, at, bytes) || differ(records + at, hash)) {
      if (index == 0) {
        const count = countRecords(records, 0, bytes);
        if (count < 0) return -1;
        index = hashIdsNew();
        offsets = heap.alloc(max<u32>(count, 1) * 4);
        indexRecords(records, bytes, index, offsets);
      }
      const record = hashIdsFind(index, hash);
      if (record == UNKNOWN_ID) {
        missing++;
        continue;
      }
      at = load<u32>(offsets + (record << 2));
    }
    store<u32>(wanted + (i << 2), at);
    next = at + recordBytes(records + at);
  }
  if (index == 0) return countRecords(records, next, bytes) < 0 ? -1 : missing;
  hashIdsFree(index);
  heap.free(offsets);
  return missing;
}

/** How many there are from the one at `from` on; -1: they do not fit their bytes. */
function countRecords(records: usize, from: u32, bytes: u32): i32 {
  let count = 0;
  for (let at = from; at < bytes; count++) {
    if (!fits(records, at, bytes)) return -1;
    at += recordBytes(records + at);
  }
  return count;
}

function indexRecords(records: usize, bytes: u32, index: usize, offsets: usize): void {
  for (let at: u32 = 0; at < bytes; at += recordBytes(records + at)) {
    const known = hashIdsCount(index);
    const record = hashIdsIntern(index, records + at);
    if (record == known) store<u32>(offsets + (record << 2), at);
  }
}

/** The record at `at`, which is below `bytes`, ends within them. */
@inline
function fits(records: usize, at: u32, bytes: u32): bool {
  const left = bytes - at;
  return left >= RECORD_HEAD_BYTES && load<u32>(records + at, 16) <= left - RECORD_HEAD_BYTES;
}

@inline
function differ(a: usize, b: usize): bool {
  return v128.any_true(v128.xor(v128.load(a), v128.load(b)));
}

@inline
function recordBytes(record: usize): u32 {
  return RECORD_HEAD_BYTES + load<u32>(record, 16);
}
