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
import {
  endOfToken,
  forgetKey,
  isFormer,
  NOT_FLAT,
  openKey,
  partAddress,
  partLength,
  rememberKey,
  sharedParts,
} from './keys';
import { beginPacked, keyAt, keyLength, nextPacked, PACKED_HEAD_BYTES, packedHash, unfoldKey } from './packed-keys';
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

const SEEN_SLOTS_MIN: u32 = 1024;
const SEEN_SLOTS_MAX: u32 = 65_536;
const BLOCK_SPREAD: u64 = 0x9e3779b97f4a7c15;

const COMMA: u8 = 44;
const EQUALS: u8 = 61;

/** Hashes of what was met, 0 where nothing is. */
let seen: usize = 0;
let seenMask: u32 = 0;
let seenFree: u32 = 0;

/** Not known outside, so that texts that count as one cannot be made on purpose: the hash of the first key. */
let seed: u64 = 0;
/** Of the key that is looked at: the hash of its measurement's name, and that measurement, or 0 where the table has none. */
let name: u64 = 0;
let measurement: usize = 0;

/** `areNew`: no key is looked for in the table, as if it had none. -1: the records do not fit their bytes. */
export function seriesGrowth(table: usize, records: usize, bytes: u32, areNew: bool): f64 {
  forgetSeen();
  forgetKey();
  seed = bytes < PACKED_HEAD_BYTES ? 0 : load<u64>(records);
  let growth: f64 = 0;
  let added: u32 = 0;
  beginPacked(records, bytes);
  let code = nextPacked();
  for (; code > 0; code = nextPacked()) {
    unfoldKey();
    if (!areNew && hashIdsFind(load<u32>(table), packedHash) != UNKNOWN_ID) {
      forgetKey();
      continue;
    }
    // Tags of the key before have no block yet for this one.
    if ((added & (BLOCK_MEMBERS - 1)) == 0) forgetKey();
    growth += keyGrowth(table, added >> BLOCK_MEMBER_SHIFT);
    added++;
  }
  forgetKey();
  return code < 0 ? -1 : growth;
}

/** What the key before has had as well is not asked for again. */
function keyGrowth(table: usize, block: u32): f64 {
  const count = openKey();
  if (count == NOT_FLAT) return oddKeyGrowth(table, keyAt, keyLength, block);
  let growth = seriesBytes(keyLength) + VALUE_BYTES * <f64>count;
  if (sharedParts == 0) growth += measurementGrowth(table, partAddress(0), partLength(0));
  const isSame = sharedParts > 0;
  for (let part: u32 = sharedParts | 1, end = <u32>count * 2; part < end; part += 2) {
    if (isSame && isFormer(part)) continue;
    growth += tagGrowth(table, partAddress(part), partLength(part), block);
  }
  rememberKey(<u32>count);
  return growth;
}

function oddKeyGrowth(table: usize, key: usize, length: u32, block: u32): f64 {
  const nameLength = endOfToken(key, length, 0, COMMA);
  let growth = seriesBytes(length) + measurementGrowth(table, key, nameLength);
  for (let at = nameLength; at < length; ) {
    const start = at + 1;
    const equals = endOfToken(key, length, start, EQUALS);
    const end = endOfToken(key, length, min(equals + 1, length), COMMA);
    growth += VALUE_BYTES + tagGrowth(table, key + start, equals - min(start, equals), block);
    at = end;
  }
  return growth;
}

/** The key itself counts once as its tags' values, and once more as it came when it is not as most are. */
@inline
function seriesBytes(length: u32): f64 {
  return SERIES_BYTES + <f64>length * 2.5;
}

/** Opens the measurement of a name as it stands: one with escapes is not found, and costs no less. */
function measurementGrowth(table: usize, text: usize, length: u32): f64 {
  name = hashText(text, length, seed);
  const number = dictionaryFind(load<u32>(table, 4), text, length, load<u64>(table, 64));
  measurement = number == UNKNOWN_ID ? 0 : measurementAt(table, number);
  return measurement == 0 && isFirst(name) ? MEASUREMENT_BYTES : 0;
}

/** Of a tag key in the open measurement, by its first use in a block. */
function tagGrowth(table: usize, key: usize, length: u32, block: u32): f64 {
  const tag = hashText(key, length, name ^ seed);
  return isFirst(tag + <u64>block * BLOCK_SPREAD) ? BLOCKS_BYTES + columnGrowth(table, key, length) : 0;
}

function columnGrowth(table: usize, key: usize, length: u32): f64 {
  if (measurement == 0) return COLUMN_BYTES;
  const members = load<u32>(measurement);
  const number = dictionaryFind(load<u32>(table, 8), key, length, load<u64>(table, 64));
  if (number != UNKNOWN_ID && columnOf(measurement, number) != 0) return 0;
  return COLUMN_BYTES + <f64>(members >> BLOCK_MEMBER_SHIFT) * 6;
}

function forgetSeen(): void {
  if (seenMask != SEEN_SLOTS_MIN - 1) {
    if (seen != 0) heap.free(seen);
    newSeen(SEEN_SLOTS_MIN);
  } else clearSeen(SEEN_SLOTS_MIN);
}

function newSeen(slots: u32): void {
  seen = heap.alloc(slots << 3);
  clearSeen(slots);
}

function clearSeen(slots: u32): void {
  memory.fill(seen, 0, slots << 3);
  seenMask = slots - 1;
  seenFree = (slots >> 2) * 3;
}

function growSeen(): void {
  const small = seen;
  const slots = seenMask + 1;
  newSeen(slots * 2);
  for (let i: u32 = 0; i < slots; i++) {
    const hash = load<u64>(small + (<usize>i << 3));
    if (hash != 0) isFirst(hash);
  }
  heap.free(small);
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
      if (seenFree == 0) {
        if (seenMask == SEEN_SLOTS_MAX - 1) return true;
        growSeen();
        return isFirst(wanted);
      }
      seenFree--;
      store<u64>(place, wanted);
      return true;
    }
    slot = (slot + 1) & seenMask;
  }
}
