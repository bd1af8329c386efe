/**
 * Entries: spellings of series keys, one after the other in chunks, which never move, so that a body whose lines come in
 * the order of an earlier one walks through memory. An entry is a head and, behind it, its key, up to a multiple of 16
 * (what stands behind the key there means nothing).
 *
 *   0 u32 length of the key      4 u32 entry that followed last time   8 u32 measurement, or the series (FLAG_OTHER)
 *  12 u16 how far before it the entry stands with which it shares, in 16 bytes; 0: its key is whole
 *  14 u16 + u16 how many bytes of its key the beginning and the end of that entry's key are
 *  18 u16 where it was sent (sent.ts)     20 u32 batch of which it is     24 f64 newest time there, then u32 index
 *  32 16 bytes of hash                    48 u8 shard number, u8 flags
 *
 * New series mostly come many at a time that differ in a tag or two, of which nothing but the difference has to be kept
 * then. A key is shared only with one that is whole, so that comparing takes two places: the second is in the cache, since
 * its neighbours share with it, too.
 */
import { commonEnd, commonLength, copyVectors, difference, same } from './bytes';

export const E_LENGTH: usize = 0;
export const E_NEXT: usize = 4;
export const E_MEASUREMENT: usize = 8;
const E_BACK: usize = 12;
const E_FIRST: usize = 14;
const E_LAST: usize = 16;
export const E_SENT: usize = 18;
export const E_BATCH: usize = 20;
/** The time is looked at until the stage is sealed, the index while it is. */
export const E_NEWEST: usize = 24;
export const E_INDEX: usize = 24;
export const E_HASH: usize = 32;
export const E_SHARD: usize = 48;
export const E_FLAGS: usize = 49;
const E_KEY: usize = 50;

/** Double backslashes or newlines in the spelling: only the careful parser takes it. */
export const FLAG_ODD: u32 = 1;
/** A tag named `time`. */
export const FLAG_TIME_TAG: u32 = 2;
/** The guess of what follows was wrong the last time that it was corrected. */
export const FLAG_DOUBT: u32 = 4;
/** The canonical key has the tags in another order. */
export const FLAG_UNSORTED: u32 = 8;
/** Another spelling of a series that has an entry of its own, which is all that counts but for the key. */
export const FLAG_OTHER: u32 = 16;

/** So that distances within one have 16 bits. */
const CHUNK_BYTES: usize = 1 << 20;
/** A key shares when what it has of its own is not more than this part of it. */
const OWN_SHARE: usize = 4;
const SHARED_LENGTH_MAX: usize = 4096;

let chunkAt: usize = 0;
let chunkEnd: usize = 0;
let bytesUsed: usize = 0;
/** The entry of this chunk whose key is whole that came last, or 0. */
let whole: usize = 0;

/** For keys that are put together: two, which take turns, with what comparing reads behind them. */
let room: usize = memory.data(4096 + 32, 16);
let otherRoom: usize = memory.data(4096 + 32, 16);

/** What the chunks take. */
export function entryBytes(): usize {
  return bytesUsed;
}

/** An entry of that key; the rest of its head is zeros. */
export function newEntry(at: usize, length: usize): usize {
  const most = (E_KEY + length + 15) & ~15;
  if (most > chunkEnd - chunkAt) {
    const size = max(CHUNK_BYTES, most);
    // Comparisons read behind the end of the last key.
    chunkAt = heap.alloc(size + 16);
    chunkEnd = chunkAt + size;
    bytesUsed += size + 16;
    whole = 0;
  }
  const entry = chunkAt;
  const zero = i64x2.splat(0);
  v128.store(entry, zero);
  v128.store(entry, zero, 16);
  v128.store(entry, zero, 32);
  store<u16>(entry, 0, 48);
  store<u32>(entry, <u32>length, E_LENGTH);
  if (whole != 0 && length <= SHARED_LENGTH_MAX && share(entry, at, length)) return entry;
  copyVectors(entry + E_KEY, at, length);
  chunkAt += most;
  whole = entry;
  return entry;
}

/** Keeps what the key has of its own, if that is little. */
@inline
function share(entry: usize, at: usize, length: usize): bool {
  const other = whole + E_KEY;
  const otherLength = <usize>load<u32>(whole, E_LENGTH);
  const most = min(length, otherLength);
  const first = commonLength(other, at, most);
  const last = commonEnd(other + otherLength, at + length, most - first);
  const own = length - first - last;
  if (own * OWN_SHARE > length) return false;
  store<u16>(entry, <u16>((entry - whole) >> 4), E_BACK);
  store<u16>(entry, <u16>first, E_FIRST);
  store<u16>(entry, <u16>last, E_LAST);
  copyVectors(entry + E_KEY, at + first, own);
  chunkAt += (E_KEY + own + 15) & ~15;
  return true;
}

/** Whether the entry's key, which is so long, is the one at `at`. */
@inline
export function isKey(entry: usize, at: usize, length: usize): bool {
  const back = <usize>load<u16>(entry, E_BACK);
  return back == 0 ? same(entry + E_KEY, at, length) : isSharedKey(entry, entry - (back << 4), at, length);
}

@inline
function isSharedKey(entry: usize, other: usize, at: usize, length: usize): bool {
  const first = <usize>load<u16>(entry, E_FIRST);
  const last = <usize>load<u16>(entry, E_LAST);
  const end = other + E_KEY + <usize>load<u32>(other, E_LENGTH);
  const differ =
    difference(entry + E_KEY, at + first, length - first - last) |
    difference(other + E_KEY, at, first) |
    difference(end - last, at + length - last, last);
  return differ == 0;
}

/** Writes the key as it is spelled, and up to 15 bytes more. */
export function putSpelling(entry: usize, into: usize): void {
  const length = <usize>load<u32>(entry, E_LENGTH);
  const back = <usize>load<u16>(entry, E_BACK);
  if (back == 0) {
    copyVectors(into, entry + E_KEY, length);
    return;
  }
  const other = entry - (back << 4);
  const first = <usize>load<u16>(entry, E_FIRST);
  const last = <usize>load<u16>(entry, E_LAST);
  copyVectors(into, other + E_KEY, first);
  copyVectors(into + first, entry + E_KEY, length - first - last);
  copyVectors(into + length - last, other + E_KEY + <usize>load<u32>(other, E_LENGTH) - last, last);
}

/** Where the key stands as it is spelled, until the next call but one. */
export function spelling(entry: usize): usize {
  if (load<u16>(entry, E_BACK) == 0) return entry + E_KEY;
  const into = otherRoom;
  otherRoom = room;
  room = into;
  putSpelling(entry, into);
  return into;
}
