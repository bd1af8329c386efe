/**
 * The table from a series key as a client spells it to the series that it means.
 *
 * An entry (entries.ts) is a spelling. That of a series is its first spelling without escapes, or its canonical key. The
 * slots of the table are pairs of entry and hash of its spelling, so that growing does not touch entries. A series whose
 * entry is not spelled as its canonical key has one more slot, under the hash of that: so every series is found by its
 * canonical key, and a new one costs the table one cache miss. Nothing is ever forgotten here: when the table is too
 * large, the whole kernel is replaced.
 */
import { endAhead, hashAhead, LINES_AHEAD, lookAhead } from './ahead';
import { hashBytes, isUtf8, same } from './bytes';
import {
  E_FLAGS,
  E_HASH,
  E_LENGTH,
  E_MEASUREMENT,
  E_NEXT,
  E_SHARD,
  entryBytes,
  FLAG_DOUBT,
  FLAG_ODD,
  FLAG_OTHER,
  FLAG_TIME_TAG,
  FLAG_UNSORTED,
  isKey,
  newEntry,
  putSpelling,
  spelling,
} from './entries';
import { M_LENGTH, M_NAME, measurementOf } from './measurements';
import { startSent } from './sent';
import { sipHash } from './siphash';
import { nameLength, putSorted, readTags, sortedKey, tagsAscii, tagsSorted, tagsStandAt, timeTag } from './tags';

/** Longer keys are left to the careful parser, which knows the exact limit: a field's name counts, too. */
const KEY_BYTES_FAST_MAX: usize = 60000;
const SLOTS_INITIAL: u32 = 4096;
/** After so many lines that did not follow as before, the next ones are looked at ahead; late rows come fewer in a row. */
const STRAYS_MIN: u32 = 4;

const COMMA: u32 = 44;
const BACKSLASH: u32 = 92;

let shardsPerGroup: u32 = 4;
let keyBytesMax: usize = KEY_BYTES_FAST_MAX;
let slots: usize = 0;
let mask: u32 = 0;
let slotsUsed: u32 = 0;
let entries: u32 = 0;
/** Measurement of the last new series: new ones mostly come many of one. */
let lastMeasurement: usize = 0;
const newHash: usize = memory.data(16, 16);
let batches: u32 = 0;
/** Of the search that has found nothing: the slot for what was searched, and whether another one has its hash. */
let freePlace: usize = 0;
let hashFound: bool = false;
/** Entry of the last line's key: where to guess from. */
let last: usize = 0;
/** Lines since a guess was right. */
let strays: u32 = 0;

export function startSeries(shards: u32, keyBytes: usize): void {
  shardsPerGroup = shards;
  keyBytesMax = min(KEY_BYTES_FAST_MAX, keyBytes);
  startSent();
  slots = heap.alloc(<usize>SLOTS_INITIAL * 8);
  memory.fill(slots, 0, <usize>SLOTS_INITIAL * 8);
  mask = SLOTS_INITIAL - 1;
}

/** A number by which entries note that they are part of something, with an index or a time. */
export function nextBatch(): u32 {
  return ++batches;
}

/** Batches numbered so far: before the numbers wrap, the kernel is to be replaced. */
export function batchesNumbered(): u32 {
  return batches;
}

/** Spellings held. */
export function seriesCount(): u32 {
  return entries;
}

export function seriesBytes(): usize {
  return entryBytes() + (<usize>mask + 1) * 8;
}

/**
 * The entry whose key stands at `at`, followed by a space, as it followed the last one before, or with one left out
 * between them; else 0.
 */
@inline
export function guessEntry(at: usize, end: usize): usize {
  if (last == 0) return 0;
  const guess = <usize>load<u32>(last, E_NEXT);
  if (guess == 0) return 0;
  if (isSpelled(guess, at, end)) {
    strays = 0;
    last = guess;
    return guess;
  }
  const next = <usize>load<u32>(guess, E_NEXT);
  if (next == 0 || !isSpelled(next, at, end)) return 0;
  strays = 0;
  last = next;
  return next;
}

@inline
function isSpelled(entry: usize, at: usize, end: usize): bool {
  const length = <usize>load<u32>(entry, E_LENGTH);
  if (at + length >= end || load<u8>(at + length) != 32) return false;
  if ((<u32>load<u8>(entry, E_FLAGS) & FLAG_ODD) != 0) return false;
  return isKey(entry, at, length);
}

/** The entry of the key at `at`, entered if it is a canonical spelling; 0: for the careful parser. */
export function lookUpEntry(at: usize, end: usize): usize {
  lookAhead(at, end, slots, mask, strays++ < STRAYS_MIN ? 1 : LINES_AHEAD);
  const stop = endAhead;
  if (stop >= end || load<u8>(stop) != 32) return 0;
  const length = stop - at;
  if (length == 0 || length > keyBytesMax) return 0;
  const hash = hashAhead;
  let entry = findEntry(at, length, hash);
  if (entry == 0) {
    entry = enterPlain(at, length, hash);
    if (entry == 0) return 0;
  } else if ((<u32>load<u8>(entry, E_FLAGS) & FLAG_ODD) != 0) return 0;
  follow(entry);
  return entry;
}

/** A guess is given up when it was wrong twice: late rows in between do not spoil it. */
export function follow(entry: usize): void {
  if (last != 0) {
    const flags = <u32>load<u8>(last, E_FLAGS);
    if (load<u32>(last, E_NEXT) == 0 || (flags & FLAG_DOUBT) != 0) {
      store<u32>(last, <u32>entry, E_NEXT);
      store<u8>(last, <u8>(flags & ~FLAG_DOUBT), E_FLAGS);
    } else {
      store<u8>(last, <u8>(flags | FLAG_DOUBT), E_FLAGS);
    }
  }
  last = entry;
}

export function findEntry(at: usize, length: usize, hash: u32): usize {
  let slot = hash & mask;
  hashFound = false;
  while (true) {
    const place = slots + (<usize>slot << 3);
    slot = (slot + 1) & mask;
    const entry = <usize>load<u32>(place);
    if (entry == 0) {
      freePlace = place;
      return 0;
    }
    if (load<u32>(place, 4) != hash) continue;
    hashFound = true;
    if (<usize>load<u32>(entry, E_LENGTH) == length && isKey(entry, at, length)) return entry;
  }
}

/** A spelling that means that series; 0 stands for one of its own. */
export function addEntry(at: usize, length: usize, hash: u32, series: usize): usize {
  const entry = newEntry(at, length);
  entries++;
  addSlot(entry, hash);
  let flags: u32 = 0;
  if (series != 0) {
    store<u32>(entry, <u32>series, E_MEASUREMENT);
    flags = FLAG_OTHER;
  }
  if (isOdd(at, length)) flags |= FLAG_ODD;
  if (flags != 0) store<u8>(entry, <u8>flags, E_FLAGS);
  return entry;
}

/** The entry of the series that an entry spells. */
@inline
export function seriesOf(entry: usize): usize {
  return (<u32>load<u8>(entry, E_FLAGS) & FLAG_OTHER) != 0 ? <usize>load<u32>(entry, E_MEASUREMENT) : entry;
}

/** The series of that 128-bit hash whose canonical key has the hash `keyHash`, or 0. */
export function findSeries(keyHash: u32, hash: usize): usize {
  let slot = keyHash & mask;
  while (true) {
    const place = slots + (<usize>slot << 3);
    const entry = <usize>load<u32>(place);
    if (entry == 0) return 0;
    if (load<u32>(place, 4) == keyHash && (<u32>load<u8>(entry, E_FLAGS) & FLAG_OTHER) == 0) {
      if (!v128.any_true(v128.xor(v128.load(entry + E_HASH), v128.load(hash)))) return entry;
    }
    slot = (slot + 1) & mask;
  }
}

/** Makes an entry a series. */
export function describeSeries(entry: usize, hash: usize, measurement: usize, hasTimeTag: bool): void {
  store<u32>(entry, <u32>measurement, E_MEASUREMENT);
  v128.store(entry + E_HASH, v128.load(hash));
  store<u8>(entry, <u8>(bswap<u32>(load<u32>(hash)) % shardsPerGroup), E_SHARD);
  if (hasTimeTag) addFlag(entry, FLAG_TIME_TAG);
}

function addFlag(entry: usize, flag: u32): void {
  store<u8>(entry, <u8>(<u32>load<u8>(entry, E_FLAGS) | flag), E_FLAGS);
}

/** Enters a key without escapes that `readTags` takes; 0: it is something else. */
function enterPlain(at: usize, length: usize, hash: u32): usize {
  const first = <u32>load<u8>(at);
  if (first == COMMA || first == 35 || first == 9 || first == 0) return 0;
  if (!readTags(at, length)) return 0;
  if (!tagsAscii && !isUtf8(at, length)) return 0;
  const key = tagsSorted ? at : sortedKey(at, length);
  const keyHash = tagsSorted ? hash : hashBytes(key, length);
  sipHash(key, length, newHash);
  const known = tagsSorted && !hashFound ? 0 : findSeries(keyHash, newHash);
  tagsStandAt(at);
  // Neither backslash nor newline: not odd.
  const entry = newEntry(at, length);
  entries++;
  if ((slotsUsed + 1) * 2 <= mask) {
    // Where `findEntry` has ended.
    fillSlot(freePlace, entry, hash);
    slotsUsed++;
  } else addSlot(entry, hash);
  if (known != 0) {
    store<u32>(entry, <u32>known, E_MEASUREMENT);
    addFlag(entry, FLAG_OTHER);
    return entry;
  }
  describeSeries(entry, newHash, measurementHere(at), timeTag);
  if (!tagsSorted) {
    addFlag(entry, FLAG_UNSORTED);
    addSlot(entry, keyHash);
  }
  return entry;
}

/** The measurement of the key at `at`, of which the tags were read. */
function measurementHere(at: usize): usize {
  if (lastMeasurement != 0 && <usize>load<u32>(lastMeasurement, M_LENGTH) == nameLength) {
    if (same(<usize>load<u32>(lastMeasurement, M_NAME), at, nameLength)) return lastMeasurement;
  }
  lastMeasurement = measurementOf(at, nameLength);
  return lastMeasurement;
}

/** Writes the canonical key of a series, which is as long as the entry's, and up to 15 bytes more. */
export function putCanonicalKey(entry: usize, into: usize): void {
  if ((<u32>load<u8>(entry, E_FLAGS) & FLAG_UNSORTED) == 0) {
    putSpelling(entry, into);
    return;
  }
  const at = spelling(entry);
  readTags(at, <usize>load<u32>(entry, E_LENGTH));
  tagsStandAt(at);
  putSorted(at, into);
}

/** Keys in which the end of the line may be seen differently from the end of the key. */
function isOdd(at: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i++) {
    const c = <u32>load<u8>(at + i);
    if (c == 10) return true;
    if (c == BACKSLASH && i + 1 < length && <u32>load<u8>(at + i + 1) == BACKSLASH) return true;
  }
  return false;
}

function addSlot(entry: usize, hash: u32): void {
  if (++slotsUsed * 2 > mask) {
    slots = grownSlots(slots, mask);
    mask = mask * 2 + 1;
  }
  putSlot(slots, mask, entry, hash);
}

function putSlot(table: usize, tableMask: u32, entry: usize, hash: u32): void {
  let slot = hash & tableMask;
  while (load<u32>(table + (<usize>slot << 3)) != 0) slot = (slot + 1) & tableMask;
  fillSlot(table + (<usize>slot << 3), entry, hash);
}

@inline
function fillSlot(place: usize, entry: usize, hash: u32): void {
  store<u32>(place, <u32>entry);
  store<u32>(place, hash, 4);
}

/** Twice as many slots. */
function grownSlots(old: usize, oldMask: u32): usize {
  const count = oldMask + 1;
  const grown = heap.alloc(<usize>count * 16);
  memory.fill(grown, 0, <usize>count * 16);
  for (let i: u32 = 0; i < count; i++) {
    const entry = <usize>load<u32>(old + (<usize>i << 3));
    if (entry != 0) putSlot(grown, count * 2 - 1, entry, load<u32>(old + (<usize>i << 3), 4));
  }
  heap.free(old);
  return grown;
}
