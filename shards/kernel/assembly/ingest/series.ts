/**
 * The table from a series key as a client spells it to the series that it means.
 *
 * An entry is a spelling: 64 bytes of head, then the key's bytes, padded to 16. Entries are put one after the other into
 * chunks and never move, so that a body whose lines come in the order of an earlier one walks through memory.
 *
 *   0 u32 length of the key      4 u32 entry that followed last time       8 u32 canonical entry (often itself)
 *  12 u32 measurement           16 u16 shard number, u16 flags            20 u16 + u16 sent: a bit per destination
 *  24 u32 + u32 shards (tokens of the host) for which it was sent there   32 u32 batch in which it has an index
 *  36 u32 that index            40 f64 newest time in that batch          48 16 bytes of hash
 *
 * From 12 on only the canonical entry counts. The slots of the table are pairs of entry and hash, so that growing does
 * not touch entries. Nothing is ever forgotten here: when the table is too large, the whole kernel is replaced.
 */
import { compareBytes, endOfKey, hashBytes, isUtf8, PAD_BYTES, same } from './bytes';
import { measurementOf } from './measurements';
import { sipHash } from './siphash';

export const E_LENGTH: usize = 0;
export const E_NEXT: usize = 4;
export const E_CANONICAL: usize = 8;
export const E_MEASUREMENT: usize = 12;
export const E_SHARD: usize = 16;
export const E_FLAGS: usize = 18;
const E_SENT: usize = 20;
const E_SENT_BEFORE: usize = 22;
const E_TOKEN: usize = 24;
const E_TOKEN_BEFORE: usize = 28;
export const E_BATCH: usize = 32;
export const E_INDEX: usize = 36;
export const E_NEWEST: usize = 40;
export const E_HASH: usize = 48;
export const E_KEY: usize = 64;

/** Double backslashes or newlines in the spelling: only the careful parser takes it. */
export const FLAG_ODD: u32 = 1;
/** A tag named `time`. */
export const FLAG_TIME_TAG: u32 = 2;
/** The guess of what follows was wrong the last time that it was corrected. */
const FLAG_DOUBT: u32 = 4;

/** Longer keys are left to the careful parser, which knows the exact limit. */
export const KEY_BYTES_FAST_MAX: usize = 60000;
/** Of one key; more are left to the careful parser. */
const TAGS_FAST_MAX: u32 = 128;
/** Per tag: address, length of its name, length of name and value. */
const TAG_BYTES: usize = 12;
const tags: usize = memory.data(129 * 12, 8);
const CHUNK_BYTES: usize = 1 << 20;
const SLOTS_INITIAL: u32 = 4096;

const COMMA: u32 = 44;
const EQUALS: u32 = 61;
const BACKSLASH: u32 = 92;

let shardsPerGroup: u32 = 4;
let slots: usize = 0;
let mask: u32 = 0;
let entries: u32 = 0;
let chunkAt: usize = 0;
let chunkEnd: usize = 0;
let bytesUsed: usize = 0;
/** Entry of the last line's key: where to guess from. */
let last: usize = 0;

export function startSeries(shards: u32): void {
  shardsPerGroup = shards;
  slots = heap.alloc(<usize>SLOTS_INITIAL * 8);
  memory.fill(slots, 0, <usize>SLOTS_INITIAL * 8);
  mask = SLOTS_INITIAL - 1;
}

/** Spellings held. */
export function seriesCount(): u32 {
  return entries;
}

export function seriesBytes(): usize {
  return bytesUsed + (<usize>mask + 1) * 8;
}

/**
 * Marks the series as sent to `destinations` for the shard of that token; false when one of them had not had it. The two
 * shards used last are known: late rows go to the one before.
 */
@inline
export function markSent(entry: usize, token: u32, destinations: u32): bool {
  if (load<u32>(entry, E_TOKEN) != token) {
    const sent = load<u16>(entry, E_SENT);
    const other = load<u32>(entry, E_TOKEN);
    const known = load<u32>(entry, E_TOKEN_BEFORE) == token;
    store<u16>(entry, known ? load<u16>(entry, E_SENT_BEFORE) : 0, E_SENT);
    store<u32>(entry, token, E_TOKEN);
    store<u16>(entry, sent, E_SENT_BEFORE);
    store<u32>(entry, other, E_TOKEN_BEFORE);
  }
  const before = <u32>load<u16>(entry, E_SENT);
  if ((before & destinations) == destinations) return true;
  store<u16>(entry, <u16>(before | destinations), E_SENT);
  return false;
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
    last = guess;
    return guess;
  }
  const next = <usize>load<u32>(guess, E_NEXT);
  if (next == 0 || !isSpelled(next, at, end)) return 0;
  last = next;
  return next;
}

@inline
function isSpelled(entry: usize, at: usize, end: usize): bool {
  const length = <usize>load<u32>(entry, E_LENGTH);
  if (at + length >= end || load<u8>(at + length) != 32) return false;
  if ((<u32>load<u16>(entry, E_FLAGS) & FLAG_ODD) != 0) return false;
  return same(entry + E_KEY, at, length);
}

/** The entry of the key at `at`, entered if it is a canonical spelling; 0: for the careful parser. */
export function lookUpEntry(at: usize, end: usize): usize {
  const stop = endOfKey(at, end);
  if (stop >= end || load<u8>(stop) != 32) return 0;
  const length = stop - at;
  if (length == 0 || length > KEY_BYTES_FAST_MAX) return 0;
  const hash = hashBytes(at, length);
  let entry = findEntry(at, length, hash);
  if (entry == 0) {
    entry = enterPlain(at, length, hash);
    if (entry == 0) return 0;
  } else if ((<u32>load<u16>(entry, E_FLAGS) & FLAG_ODD) != 0) return 0;
  follow(entry);
  return entry;
}

/** A guess is given up when it was wrong twice: late rows in between do not spoil it. */
export function follow(entry: usize): void {
  if (last != 0) {
    const flags = load<u16>(last, E_FLAGS);
    if (load<u32>(last, E_NEXT) == 0 || (flags & <u16>FLAG_DOUBT) != 0) {
      store<u32>(last, <u32>entry, E_NEXT);
      store<u16>(last, flags & ~(<u16>FLAG_DOUBT), E_FLAGS);
    } else {
      store<u16>(last, flags | <u16>FLAG_DOUBT, E_FLAGS);
    }
  }
  last = entry;
}

export function findEntry(at: usize, length: usize, hash: u32): usize {
  let slot = hash & mask;
  while (true) {
    const place = slots + (<usize>slot << 3);
    slot = (slot + 1) & mask;
    const entry = <usize>load<u32>(place);
    if (entry == 0) return 0;
    if (load<u32>(place, 4) != hash || <usize>load<u32>(entry, E_LENGTH) != length) continue;
    if (same(entry + E_KEY, at, length)) return entry;
  }
}

/** A spelling that means the series of `canonical`; 0 stands for itself. */
export function addEntry(at: usize, length: usize, hash: u32, canonical: usize): usize {
  const entry = newEntry(length);
  store<u32>(entry, <u32>length, E_LENGTH);
  store<u32>(entry, <u32>(canonical == 0 ? entry : canonical), E_CANONICAL);
  memory.copy(entry + E_KEY, at, length);
  if (isOdd(at, length)) store<u16>(entry, <u16>FLAG_ODD, E_FLAGS);
  if (++entries * 2 > mask) growSlots();
  putSlot(entry, hash);
  return entry;
}

/** Makes a canonical entry a series. */
export function describeSeries(entry: usize, measurement: usize, timeTag: bool): void {
  store<u32>(entry, <u32>measurement, E_MEASUREMENT);
  sipHash(entry + E_KEY, <usize>load<u32>(entry, E_LENGTH), entry + E_HASH);
  store<u16>(entry, <u16>(bswap<u32>(load<u32>(entry, E_HASH)) % shardsPerGroup), E_SHARD);
  if (timeTag) store<u16>(entry, load<u16>(entry, E_FLAGS) | <u16>FLAG_TIME_TAG, E_FLAGS);
}

/**
 * Enters a key without backslashes: measurement, and tags of which none is empty and no two have one name. The canonical
 * key has them in byte order of their names; when they come in another order, it is entered as well. 0: something else.
 */
function enterPlain(at: usize, length: usize, hash: u32): usize {
  const end = at + length;
  const first = <u32>load<u8>(at);
  if (first == COMMA || first == 35 || first == 9 || first == 0) return 0;
  let i = at;
  while (i < end) {
    const c = <u32>load<u8>(i);
    if (c == COMMA) break;
    if (c == BACKSLASH) return 0;
    i++;
  }
  const nameLength = i - at;
  let timeTag = false;
  let sorted = true;
  let count: u32 = 0;
  while (i < end) {
    const tag = ++i;
    while (i < end && <u32>load<u8>(i) != EQUALS) {
      const c = <u32>load<u8>(i);
      if (c == BACKSLASH || c == COMMA) return 0;
      i++;
    }
    const tagLength = i - tag;
    if (i >= end || tagLength == 0 || count == TAGS_FAST_MAX) return 0;
    const value = ++i;
    while (i < end && <u32>load<u8>(i) != COMMA) {
      const c = <u32>load<u8>(i);
      if (c == BACKSLASH || c == EQUALS) return 0;
      i++;
    }
    if (i == value) return 0;
    // 'time', little-endian
    if (tagLength == 4 && load<u32>(tag) == 0x656d6974) timeTag = true;
    // Sorted in as they come: mostly they are in order.
    let place = count++;
    while (place > 0) {
      const before = tags + <usize>(place - 1) * TAG_BYTES;
      const order = compareBytes(<usize>load<u32>(before), <usize>load<u32>(before, 4), tag, tagLength);
      if (order == 0) return 0;
      if (order < 0) break;
      sorted = false;
      store<u64>(before + TAG_BYTES, load<u64>(before));
      store<u32>(before + TAG_BYTES, load<u32>(before, 8), 8);
      place--;
    }
    const record = tags + <usize>place * TAG_BYTES;
    store<u32>(record, <u32>tag);
    store<u32>(record, <u32>tagLength, 4);
    store<u32>(record, <u32>(i - tag), 8);
  }
  // A comma at the very end leaves a tag to be missed.
  if (<u32>load<u8>(end - 1) == COMMA || !isUtf8(at, length)) return 0;
  if (sorted) {
    const entry = addEntry(at, length, hash, 0);
    describeSeries(entry, measurementOf(at, nameLength), timeTag);
    return entry;
  }
  const canonical = heap.alloc(length + 32);
  memory.copy(canonical, at, nameLength);
  let to = canonical + nameLength;
  for (let k: u32 = 0; k < count; k++) {
    const record = tags + <usize>k * TAG_BYTES;
    store<u8>(to++, <u8>COMMA);
    memory.copy(to, <usize>load<u32>(record), <usize>load<u32>(record, 8));
    to += <usize>load<u32>(record, 8);
  }
  const canonicalHash = hashBytes(canonical, length);
  let series = findEntry(canonical, length, canonicalHash);
  if (series == 0) {
    series = addEntry(canonical, length, canonicalHash, 0);
    describeSeries(series, measurementOf(at, nameLength), timeTag);
  }
  heap.free(canonical);
  return addEntry(at, length, hash, <usize>load<u32>(series, E_CANONICAL));
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

function newEntry(length: usize): usize {
  const bytes = E_KEY + ((length + 31) & ~15);
  if (bytes > chunkEnd - chunkAt) {
    const size = max(CHUNK_BYTES, bytes + PAD_BYTES);
    chunkAt = heap.alloc(size);
    chunkEnd = chunkAt + size;
    bytesUsed += size;
  }
  const entry = chunkAt;
  chunkAt += bytes;
  memory.fill(entry, 0, bytes);
  return entry;
}

function putSlot(entry: usize, hash: u32): void {
  let slot = hash & mask;
  while (load<u32>(slots + (<usize>slot << 3)) != 0) slot = (slot + 1) & mask;
  const place = slots + (<usize>slot << 3);
  store<u32>(place, <u32>entry);
  store<u32>(place, hash, 4);
}

function growSlots(): void {
  const old = slots;
  const count = mask + 1;
  slots = heap.alloc(<usize>count * 16);
  memory.fill(slots, 0, <usize>count * 16);
  mask = count * 2 - 1;
  for (let i: u32 = 0; i < count; i++) {
    const entry = <usize>load<u32>(old + (<usize>i << 3));
    if (entry != 0) putSlot(entry, load<u32>(old + (<usize>i << 3), 4));
  }
  heap.free(old);
}
