/**
 * How much a table may grow by when the keys of a batch are added: asked before the batch is logged, since what is in the log
 * has to find its memory.
 *
 * Not less than what it comes to, but for the room that large arrays keep when they grow. What costs most by far is the first use of a tag key in a measurement: a column, and a
 * block of codes for each 512 of its series. So those are told apart in a small set, which takes two million keys of ten tags
 * as few columns; when it is full, all others count as new ones.
 */
import { BLOCK_MEMBERS, BLOCK_MEMBER_SHIFT } from './columns';
import { dictionaryFind } from './dictionary';
import { hashIdsFind, UNKNOWN_ID } from './hash-ids';
import { endOfToken } from './keys';
import { RECORD_HEAD_BYTES } from './records';
import { columnOf, measurementAt } from './table';
import { hashText } from './text';

/** Hash, its slots, ids, ranks and orders, with the room that arrays keep when they grow. */
const SERIES_BYTES: f64 = 112;
/** A value: its start, its slots and its code. */
const VALUE_BYTES: f64 = 32;
/** Codes of 512 new series, of four bytes each: they may lie in two blocks. */
const BLOCKS_BYTES: f64 = <f64>(BLOCK_MEMBERS * 4 + 32) * 2;
/** A new column, and the dictionary of a new tag key. */
const COLUMN_BYTES: f64 = 400;
const MEASUREMENT_BYTES: f64 = 800;

const SEEN_SLOTS_MIN: u32 = 256;
const SEEN_SLOTS_MAX: u32 = 65_536;
const SEEN_SEED: u64 = 0x2545f4914f6cdd1d;

const COMMA: u8 = 44;
const EQUALS: u8 = 61;

/** Hashes of what was met, 0 where nothing is. */
let seen: usize = 0;
let seenMask: u32 = 0;
let seenFree: u32 = 0;

/** -1: the records do not fit their bytes. */
export function seriesGrowth(table: usize, records: usize, bytes: u32): f64 {
  forgetSeen(bytes);
  let growth: f64 = 0;
  let added: u32 = 0;
  for (let at: u32 = 0; at < bytes; ) {
    if (bytes - at < RECORD_HEAD_BYTES) return -1;
    const length = load<u32>(records + at, 16);
    if (length > bytes - at - RECORD_HEAD_BYTES) return -1;
    if (hashIdsFind(load<u32>(table), records + at) == UNKNOWN_ID) {
      growth += keyGrowth(table, records + at + RECORD_HEAD_BYTES, length, added >> BLOCK_MEMBER_SHIFT);
      added++;
    }
    at += RECORD_HEAD_BYTES + length;
  }
  return growth;
}

function keyGrowth(table: usize, key: usize, length: u32, block: u32): f64 {
  const nameLength = endOfToken(key, length, 0, COMMA);
  // Once as its tags' values, and once more as it came when it is not as most are.
  let growth = SERIES_BYTES + <f64>length * 2.5;
  const name = hashText(key, nameLength, SEEN_SEED);
  // Found by its text as it stands: a name with escapes is not, and costs no less.
  const number = dictionaryFind(load<u32>(table, 4), key, nameLength, load<u64>(table, 64));
  const measurement = number == UNKNOWN_ID ? 0 : measurementAt(table, number);
  if (measurement == 0 && isFirst(name)) growth += MEASUREMENT_BYTES;
  for (let at = nameLength; at < length; ) {
    const start = at + 1;
    const equals = endOfToken(key, length, start, EQUALS);
    const end = endOfToken(key, length, min(equals + 1, length), COMMA);
    growth += VALUE_BYTES;
    const keyLength = equals - min(start, equals);
    const tag = hashText(key + start, keyLength, name ^ SEEN_SEED);
    if (isFirst(tag + <u64>block * 0x9e3779b97f4a7c15)) {
      growth += BLOCKS_BYTES + columnGrowth(table, measurement, key + start, keyLength);
    }
    at = end;
  }
  return growth;
}

function columnGrowth(table: usize, measurement: usize, key: usize, length: u32): f64 {
  if (measurement == 0) return COLUMN_BYTES;
  const members = load<u32>(measurement);
  const number = dictionaryFind(load<u32>(table, 8), key, length, load<u64>(table, 64));
  if (number != UNKNOWN_ID && columnOf(measurement, number) != 0) return 0;
  return COLUMN_BYTES + <f64>(members >> BLOCK_MEMBER_SHIFT) * 6;
}

/** Room for what so many bytes of keys have, or as much as is worth it. */
function forgetSeen(bytes: u32): void {
  let slots = SEEN_SLOTS_MIN;
  while (slots < SEEN_SLOTS_MAX && slots < bytes) slots *= 2;
  if (seen == 0) seen = heap.alloc(SEEN_SLOTS_MAX << 3);
  memory.fill(seen, 0, slots << 3);
  seenMask = slots - 1;
  seenFree = (slots >> 2) * 3;
}

/** It was not met before, or there is no room to note it. */
function isFirst(hash: u64): bool {
  const wanted = hash == 0 ? 1 : hash;
  let slot = <u32>(wanted ^ (wanted >> 32)) & seenMask;
  while (true) {
    const place = seen + (<usize>slot << 3);
    const known = load<u64>(place);
    if (known == wanted) return false;
    if (known == 0) {
      if (seenFree == 0) return true;
      seenFree--;
      store<u64>(place, wanted);
      return true;
    }
    slot = (slot + 1) & seenMask;
  }
}
