/**
 * Series hashes and their numbers: which id a 16-byte hash has, and which hash an id has.
 *
 * An id is the place of a series in the order of arrival. Hashes lie in blocks of 512 (the first one grows up to that),
 * so that a growing table never copies them. The slots are an open-addressing table of u32 with linear probing, at most
 * three quarters full; a slot holds the id in its low bits and, in all bits that ids of this capacity do not need, bits
 * of the hash: a probe reads a hash only where those agree, so a look-up costs two cache misses at any size.
 * 16 bytes of hash and 5 to 11 of slots a series.
 *
 * Table, by offset:
 *    0 count u32     4 slots address     8 slots capacity u32 (a power of two)    12 bits of an id u32
 *   16 blocks address (u32 each)        20 blocks capacity u32                    24 capacity of the first block u32
 *   28 bytes allocated u32
 */

const HASH_BYTES: u32 = 16;
const BLOCK_SHIFT: u32 = 9;
const BLOCK_SERIES: u32 = 1 << BLOCK_SHIFT;
const FIRST_BLOCK_SERIES: u32 = 16;
const SLOTS_MIN: u32 = 32;
const BLOCKS_MIN: u32 = 4;
const FREE: u32 = 0xffffffff;
export const UNKNOWN_ID: u32 = 0xffffffff;
const TABLE_BYTES: u32 = 32;

@inline
function count(table: usize): u32 {
  return load<u32>(table);
}

export function hashIdsNew(): usize {
  const table = heap.alloc(TABLE_BYTES);
  memory.fill(table, 0, TABLE_BYTES);
  store<u32>(table, TABLE_BYTES, 28);
  newSlots(table, SLOTS_MIN);
  const blocks = heap.alloc(BLOCKS_MIN * 4);
  store<u32>(table, <u32>blocks, 16);
  store<u32>(table, BLOCKS_MIN, 20);
  store<u32>(blocks, <u32>heap.alloc(FIRST_BLOCK_SERIES * HASH_BYTES));
  store<u32>(table, FIRST_BLOCK_SERIES, 24);
  addBytes(table, BLOCKS_MIN * 4 + FIRST_BLOCK_SERIES * HASH_BYTES);
  return table;
}

export function hashIdsFree(table: usize): void {
  const blocks: usize = load<u32>(table, 16);
  const used = max<u32>(1, (count(table) + BLOCK_SERIES - 1) >> BLOCK_SHIFT);
  for (let i: u32 = 0; i < used; i++) heap.free(load<u32>(blocks + i * 4));
  heap.free(blocks);
  heap.free(load<u32>(table, 4));
  heap.free(table);
}

export function hashIdsCount(table: usize): u32 {
  return count(table);
}

/** Bytes of memory that the table holds. */
export function hashIdsBytes(table: usize): u32 {
  return load<u32>(table, 28);
}

/** Where the hash of an id is. */
@inline
export function hashAddress(table: usize, id: u32): usize {
  const block: usize = load<u32>(<usize>load<u32>(table, 16) + ((id >> BLOCK_SHIFT) << 2));
  return block + (id & (BLOCK_SERIES - 1)) * HASH_BYTES;
}

/** 0 for an id that is not there. */
export function hashIdsAddress(table: usize, id: u32): usize {
  return id < count(table) ? hashAddress(table, id) : 0;
}

/** The id of the hash at `hash`, or UNKNOWN_ID. */
export function hashIdsFind(table: usize, hash: usize): u32 {
  return find(table, load<u32>(table, 4), load<u32>(table, 8) - 1, load<u32>(table, 12), hash);
}

/**
 * Ids (u32) of `n` hashes that lie one after the other; UNKNOWN_ID where there is none. Returns how many have none.
 * A batch mostly names series in the order in which they were first met, so the next id is tried first: in that case
 * memory is read in order, and the slots not at all.
 */
export function hashIdsFindMany(table: usize, hashes: usize, n: u32, ids: usize): u32 {
  const total = count(table);
  const slots: usize = load<u32>(table, 4);
  const mask = load<u32>(table, 8) - 1;
  const idBits = load<u32>(table, 12);
  let unknown: u32 = 0;
  let next: u32 = 0;
  let fetched: u32 = 0;
  /** The one before was not the next id either: more such ones will come. */
  let strayed = false;
  for (let i: u32 = 0; i < n; ) {
    const following = next < total ? follow(table, hashes, i, n, next, total, ids) : 0;
    if (following > 0) {
      i += following;
      next += following;
      strayed = false;
      continue;
    }
    if (strayed && i >= fetched) fetched = hashIdsFetch(table, hashes, i, n);
    const id = find(table, slots, mask, idBits, hashes + i * HASH_BYTES);
    strayed = true;
    store<u32>(ids + (i++ << 2), id);
    if (id == UNKNOWN_ID) unknown++;
    else next = id + 1;
  }
  return unknown;
}

/** How many hashes from the one at `i` on are those of the id `next` and the ones behind it, within their block; sets their ids. */
@inline
function follow(table: usize, hashes: usize, i: u32, n: u32, next: u32, total: u32, ids: usize): u32 {
  const known = hashAddress(table, next);
  const hash = hashes + i * HASH_BYTES;
  const most = min(n - i, min(total, (next | (BLOCK_SERIES - 1)) + 1) - next);
  let count: u32 = 0;
  while (count < most && equal(known + count * HASH_BYTES, hash + count * HASH_BYTES)) {
    store<u32>(ids + ((i + count) << 2), next + count);
    count++;
  }
  return count;
}

/** How many slots are fetched at once: about as many cache misses as a core has on their way. */
const FETCHED_MAX: u32 = 16;
/** What was read ahead; kept, or the compiler would leave the reading out. */
let fetchedWords: u32 = 0;

/**
 * Brings the slots of the next few of `n` hashes, from the one at `from` on, into the cache, so that their misses overlap:
 * searches wait for theirs one after the other. Returns behind which one to call it again.
 */
export function hashIdsFetch(table: usize, hashes: usize, from: u32, n: u32): u32 {
  const slots: usize = load<u32>(table, 4);
  const mask = load<u32>(table, 8) - 1;
  const to = min<u32>(n, from + FETCHED_MAX);
  let words: u32 = 0;
  for (let i = from; i < to; i++) words += load<u32>(slots + ((slotOf(hashes + i * HASH_BYTES) & mask) << 2));
  fetchedWords = words;
  return to;
}

/** The id of a hash, which is added when it is new: then the id is what the count was. */
export function hashIdsIntern(table: usize, hash: usize): u32 {
  const id = count(table);
  if ((id + 1) * 4 > load<u32>(table, 8) * 3) growSlots(table, load<u32>(table, 8) * 2);
  const slots: usize = load<u32>(table, 4);
  const known = find(table, slots, load<u32>(table, 8) - 1, load<u32>(table, 12), hash);
  if (known != UNKNOWN_ID) return known;
  makeRoom(table, id);
  v128.store(hashAddress(table, id), v128.load(hash));
  store<u32>(table, id + 1);
  store<u32>(slots + (freeSlot << 2), markOf(hash, load<u32>(table, 12)) | id);
  return id;
}

/** Below, at or above zero as hash a is before, equal to or behind hash b. */
export function hashIdsCompare(table: usize, a: u32, b: u32): i32 {
  return compareHashes(hashAddress(table, a), hashAddress(table, b));
}

/** In byte order. */
export function compareHashes(a: usize, b: usize): i32 {
  const high = bswap(load<u64>(a));
  const otherHigh = bswap(load<u64>(b));
  if (high != otherHigh) return high < otherHigh ? -1 : 1;
  const low = bswap(load<u64>(a, 8));
  const otherLow = bswap(load<u64>(b, 8));
  return low == otherLow ? 0 : low < otherLow ? -1 : 1;
}

@inline
function equal(a: usize, b: usize): bool {
  return !v128.any_true(v128.xor(v128.load(a), v128.load(b)));
}

/** The last eight bytes place a hash: the first ones choose the shard, so here they are not spread evenly. */
@inline
function slotOf(hash: usize): u32 {
  return load<u32>(hash, 8);
}

@inline
function markOf(hash: usize, idBits: u32): u32 {
  return (load<u32>(hash, 12) >> idBits) << idBits;
}

/** Where the last search that found nothing has ended. */
let freeSlot: u32 = 0;

@inline
function find(table: usize, slots: usize, mask: u32, idBits: u32, hash: usize): u32 {
  const mark = markOf(hash, idBits);
  const ids: u32 = (1 << idBits) - 1;
  let slot = slotOf(hash) & mask;
  let entry = load<u32>(slots + (slot << 2));
  while (entry != FREE) {
    if ((entry & ~ids) == mark && equal(hashAddress(table, entry & ids), hash)) return entry & ids;
    slot = (slot + 1) & mask;
    entry = load<u32>(slots + (slot << 2));
  }
  freeSlot = slot;
  return UNKNOWN_ID;
}

/** An entry is never FREE: ids are below three quarters of the capacity, so their bits are not all set. */
@inline
function insert(slots: usize, mask: u32, idBits: u32, hash: usize, id: u32): void {
  let slot = slotOf(hash) & mask;
  while (load<u32>(slots + (slot << 2)) != FREE) slot = (slot + 1) & mask;
  store<u32>(slots + (slot << 2), markOf(hash, idBits) | id);
}

function makeRoom(table: usize, id: u32): void {
  const blocks: usize = load<u32>(table, 16);
  if (id < BLOCK_SERIES) {
    const capacity = load<u32>(table, 24);
    if (id < capacity) return;
    store<u32>(blocks, <u32>heap.realloc(load<u32>(blocks), capacity * 2 * HASH_BYTES));
    store<u32>(table, capacity * 2, 24);
    addBytes(table, capacity * HASH_BYTES);
    return;
  }
  if ((id & (BLOCK_SERIES - 1)) != 0) return;
  const block = id >> BLOCK_SHIFT;
  const capacity = load<u32>(table, 20);
  if (block == capacity) {
    store<u32>(table, <u32>heap.realloc(blocks, capacity * 8), 16);
    store<u32>(table, capacity * 2, 20);
    addBytes(table, capacity * 4);
  }
  store<u32>(<usize>load<u32>(table, 16) + (block << 2), <u32>heap.alloc(BLOCK_SERIES * HASH_BYTES));
  addBytes(table, BLOCK_SERIES * HASH_BYTES);
}

function newSlots(table: usize, capacity: u32): void {
  const slots = heap.alloc(capacity * 4);
  memory.fill(slots, 0xff, capacity * 4);
  store<u32>(table, <u32>slots, 4);
  store<u32>(table, capacity, 8);
  store<u32>(table, ctz(capacity), 12);
  addBytes(table, capacity * 4);
}

function growSlots(table: usize, capacity: u32): void {
  heap.free(load<u32>(table, 4));
  addBytes(table, 0 - load<u32>(table, 8) * 4);
  newSlots(table, capacity);
  const slots: usize = load<u32>(table, 4);
  const idBits = load<u32>(table, 12);
  const total = count(table);
  for (let id: u32 = 0; id < total; id++) insert(slots, capacity - 1, idBits, hashAddress(table, id), id);
}

@inline
function addBytes(table: usize, bytes: u32): void {
  store<u32>(table, load<u32>(table, 28) + bytes, 28);
}
