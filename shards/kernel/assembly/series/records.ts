/**
 * The keys that come with a batch (packed-keys.ts) and its series: those that the table does not have, mostly in the order of
 * the batch, and perhaps others.
 */
import { GROUPS, MISSING, scratch, scratchAt, USERS } from '../memtable/scratch';
import { hashIdsCount, hashIdsFetch, hashIdsFind, hashIdsFree, hashIdsIntern, hashIdsNew, UNKNOWN_ID } from './hash-ids';
import { addKey, forgetKey, isKeyOf } from './keys';
import { beginPacked, keyAt, keyFirst, keyLength, nextPacked, packedHash, unfoldKey } from './packed-keys';
import { equalText } from './text';

const HASH_BYTES: u32 = 16;
const COMMA: u8 = 44;
const BACKSLASH: u8 = 92;
const NONE: u32 = 0xffffffff;

/** Of the batch: its hashes, the ids of those that are known, and a byte for each that has met its key. */
let hashes: usize = 0;
let ids: usize = 0;
let count: u32 = 0;
let met: usize = 0;
/** The place of the unknown one that is expected next. */
let next: u32 = 0;
/** Numbers of the unknown ones by their hashes, and their places: made when a record is another one than was expected. */
let index: usize = 0;
let places: usize = 0;

function beginMeeting(batchHashes: usize, n: u32, batchIds: usize): void {
  hashes = batchHashes;
  ids = batchIds;
  count = n;
  met = heap.alloc(max<u32>(n, 1));
  memory.fill(met, 0, n);
  next = unknownFrom(0);
}

function endMeeting(): void {
  heap.free(met);
  if (index == 0) return;
  hashIdsFree(index);
  heap.free(places);
  index = 0;
}

@inline
function isUnknown(place: u32): bool {
  return load<u32>(ids + (place << 2)) == UNKNOWN_ID;
}

@inline
function unknownFrom(place: u32): u32 {
  let at = place;
  while (at < count && !isUnknown(at)) at++;
  return at;
}

/** The place of the unknown series whose record this is, or NONE. */
@inline
function placeOf(record: usize): u32 {
  if (next < count && !differ(hashes + next * HASH_BYTES, record)) {
    const place = next;
    next = unknownFrom(next + 1);
    return place;
  }
  return firstOf(record);
}

/** The first unknown one of that hash, or NONE. */
function firstOf(hash: usize): u32 {
  if (index == 0) {
    index = hashIdsNew();
    places = heap.alloc(max<u32>(count, 1) * 4);
    for (let at = unknownFrom(0); at < count; at = unknownFrom(at + 1)) {
      const known = hashIdsCount(index);
      if (hashIdsIntern(index, hashes + at * HASH_BYTES) == known) store<u32>(places + (known << 2), at);
    }
  }
  const number = hashIdsFind(index, hash);
  return number == UNKNOWN_ID ? NONE : load<u32>(places + (number << 2));
}

/** Whether the unknown one has met its key; the same series may be named twice. */
@inline
function hasMet(place: u32): bool {
  return load<u8>(met + place) != 0 || load<u8>(met + firstOf(hashes + place * HASH_BYTES)) != 0;
}

/** Leaves the places of those that have not met their keys behind (MISSING, u32 each); returns how many they are. */
function listMissing(): u32 {
  const out = scratch(MISSING, count << 2);
  let missing: u32 = 0;
  for (let at = unknownFrom(0); at < count; at = unknownFrom(at + 1)) {
    if (!hasMet(at)) store<u32>(out + (missing++ << 2), at);
  }
  return missing;
}

/**
 * Ids of a batch's `n` hashes, of which `known` has those that the table had. Adds nothing unless each has its key. Returns
 * how many have none. -1: the records do not fit their bytes.
 */
export function seriesResolve(table: usize, batch: usize, n: u32, known: usize, records: usize, bytes: u32): i32 {
  beginMeeting(batch, n, known);
  let missing: i32 = -1;
  if (meetAll(records, bytes)) {
    missing = <i32>listMissing();
    if (missing == 0) addMet(table, records, bytes);
  }
  endMeeting();
  return missing;
}

/**
 * 1 when the records are those of `n` hashes, in their order: then all `known` ids are set to UNKNOWN_ID. Else 0; -1: they do
 * not fit their bytes.
 */
export function seriesNamed(batch: usize, n: u32, known: usize, records: usize, bytes: u32): i32 {
  let place: u32 = 0;
  beginPacked(records, bytes);
  let code = nextPacked();
  for (; code > 0; code = nextPacked()) {
    if (place == n || differ(batch + place * HASH_BYTES, packedHash)) return 0;
    place++;
  }
  if (code < 0 || place < n) return code;
  memory.fill(known, 0xff, n << 2);
  return 1;
}

/** False: the records do not fit their bytes. */
function meetAll(records: usize, bytes: u32): bool {
  beginPacked(records, bytes);
  let code = nextPacked();
  for (; code > 0; code = nextPacked()) {
    const place = placeOf(packedHash);
    if (place != NONE) store<u8>(met + place, 1);
  }
  return code == 0;
}

function addMet(table: usize, records: usize, bytes: u32): void {
  let fetched: u32 = 0;
  next = unknownFrom(0);
  beginPacked(records, bytes);
  forgetKey();
  while (nextPacked() > 0) {
    unfoldKey();
    const place = placeOf(packedHash);
    if (place == NONE) {
      forgetKey();
      continue;
    }
    if (place >= fetched) fetched = hashIdsFetch(load<u32>(table), hashes, place, count);
    store<u32>(ids + (place << 2), addKey(table, packedHash));
  }
  forgetKey();
  for (let at = unknownFrom(0); at < count; at = unknownFrom(at + 1)) {
    store<u32>(ids + (at << 2), hashIdsFind(load<u32>(table), hashes + at * HASH_BYTES));
  }
}

/**
 * How many of a frame's unknown series have no key in the records; their places are left behind (MISSING, u32 each). -1: the
 * records do not fit their bytes. -2: a key is of another measurement than that of the group which uses its series.
 * To be called right after `frameBelongs`.
 */
export function seriesMissing(table: usize, frameIndex: usize, records: usize, bytes: u32): i32 {
  const frame = <usize>load<u32>(frameIndex);
  beginMeeting(frame + load<u32>(frameIndex, 12), load<u32>(frameIndex, 8), load<u32>(frameIndex, 28));
  const users = scratchAt(USERS);
  const groups = scratchAt(GROUPS);
  let isForeign = false;
  let group: usize = 0;
  let name: usize = 0;
  let nameLength: u32 = 0;
  let isPlain = false;
  // The key before began with that name.
  let begins = false;
  beginPacked(records, bytes);
  let code = nextPacked();
  for (; code > 0; code = nextPacked()) {
    unfoldKey();
    const place = placeOf(packedHash);
    const user: u32 = place == NONE ? 0 : load<u32>(users + (place << 2));
    if (place != NONE) store<u8>(met + place, 1);
    if (user == 0) {
      begins = false;
      continue;
    }
    const own = <usize>load<u32>(groups + ((user - 1) << 3), 4);
    if (own != group) {
      group = own;
      name = frame + load<u32>(group);
      nameLength = load<u32>(group, 4);
      isPlain = !hasSigns(name, nameLength);
      begins = false;
    }
    begins = begins && keyFirst > nameLength;
    begins = begins || (isPlain && beginsWith(name, nameLength));
    if (!begins && !isKeyOf(name, nameLength)) isForeign = true;
  }
  let missing: i32 = code;
  if (code == 0) missing = isForeign || !sameMeasurements(users, groups) ? -2 : <i32>listMissing();
  endMeeting();
  return missing;
}

/** False when an unknown series is named twice and groups of two measurements use it: its key is of one. */
function sameMeasurements(users: usize, groups: usize): bool {
  // All were met in their order, each by a record of its own.
  if (next == count && index == 0) return true;
  for (let at = unknownFrom(0); at < count; at = unknownFrom(at + 1)) {
    const first = firstOf(hashes + at * HASH_BYTES);
    if (measurementFor(users, groups, at) != measurementFor(users, groups, first)) return false;
  }
  return true;
}

@inline
function measurementFor(users: usize, groups: usize, place: u32): u32 {
  const user = load<u32>(users + (place << 2));
  return user == 0 ? NONE : load<u32>(groups + ((user - 1) << 3));
}

/** A name with these stands in a key as another one. */
function hasSigns(name: usize, length: u32): bool {
  for (let i: u32 = 0; i < length; i++) {
    const byte = load<u8>(name + i);
    if (byte == BACKSLASH || byte == COMMA) return true;
  }
  return false;
}

/** Whether the key that was put together last begins with the name and a comma. */
@inline
function beginsWith(name: usize, length: u32): bool {
  return length < keyLength && load<u8>(keyAt + length) == COMMA && equalText(keyAt, length, name, length);
}

/** 1 when a record names a series that the table does not have, else 0; -1: the records do not fit their bytes. */
export function seriesHasNew(table: usize, records: usize, bytes: u32): i32 {
  beginPacked(records, bytes);
  let code = nextPacked();
  for (; code > 0; code = nextPacked()) {
    if (hashIdsFind(load<u32>(table), packedHash) == UNKNOWN_ID) return 1;
  }
  return code;
}

@inline
function differ(a: usize, b: usize): bool {
  return v128.any_true(v128.xor(v128.load(a), v128.load(b)));
}
