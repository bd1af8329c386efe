/**
 * The series of a measurement in the order of their hashes, and the place (rank) of each in it.
 *
 * Made when asked for: series that came since are sorted by themselves (radix sort over the first 33 bits of the hash,
 * the few ties by all of it) and merged in from the back, so that a few new ones among a million move blocks of
 * memory and compare little. Many new ones are sorted together with the known ones: a merge would read each hash.
 */
import { hashIdsCompare } from './hash-ids';
import { measurementAt, reserve, seriesCount, seriesHash } from './table';

const DIGIT_BITS: u32 = 11;
const DIGITS: u32 = 1 << DIGIT_BITS;
/** New series are merged one by one when they are fewer than this share of the known ones. */
const MERGE_SHARE: u32 = 16;

/** Brings order and ranks of a measurement up to date. Returns the address of its ids in order (u32 each). */
export function orderUpdate(table: usize, number: u32): usize {
  const measurement = measurementAt(table, number);
  const members = load<u32>(measurement);
  const known = load<u32>(measurement, 16);
  // Also when this measurement has nothing new: the host looks at the ranks of all series of the table.
  reserveRanks(table);
  if (known == members) return load<u32>(measurement, 12);
  const sorted = makeRoom(measurement, members);
  const ids: usize = load<u32>(measurement, 4);
  const fresh = members - known;
  let changed: u32 = 0;
  if (fresh < known / MERGE_SHARE) {
    const tail = heap.alloc(fresh * 4);
    memory.copy(tail, ids + (known << 2), fresh << 2);
    sortIds(table, tail, fresh);
    changed = mergeTail(table, sorted, known, tail, fresh);
    heap.free(tail);
  } else {
    memory.copy(sorted, ids, members << 2);
    sortIds(table, sorted, members);
  }
  const ranks: usize = load<u32>(table, 40);
  for (let i = changed; i < members; i++) store<u32>(ranks + (load<u32>(sorted + (i << 2)) << 2), i);
  store<u32>(measurement, members, 16);
  return sorted;
}

/** Ranks by id (u32 each): they hold for measurements whose order is up to date. */
export function orderRanks(table: usize): usize {
  return load<u32>(table, 40);
}

export function measurementMembers(table: usize, number: u32): u32 {
  return load<u32>(measurementAt(table, number));
}

function makeRoom(measurement: usize, members: u32): usize {
  const capacity = load<u32>(measurement, 20);
  if (members > capacity) {
    const more = max<u32>(members + (members >> 3), 4);
    const address = load<u32>(measurement, 12);
    store<u32>(measurement, <u32>(address == 0 ? heap.alloc(more * 4) : heap.realloc(address, more * 4)), 12);
    store<u32>(measurement, more, 20);
  }
  return load<u32>(measurement, 12);
}

function reserveRanks(table: usize): void {
  reserve(table, 40, seriesCount(table));
}

/** Sorts ids by their hashes. */
function sortIds(table: usize, ids: usize, count: u32): void {
  if (count > 64) radixSort(table, ids, count);
  // Ties, and small sets: what is in order already costs one comparison.
  for (let i: u32 = 1; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    let at = i;
    while (at > 0 && hashIdsCompare(load<u32>(table), load<u32>(ids + ((at - 1) << 2)), id) > 0) {
      store<u32>(ids + (at << 2), load<u32>(ids + ((at - 1) << 2)));
      at--;
    }
    store<u32>(ids + (at << 2), id);
  }
}

/** By the first 32 bits of the hash, least digit first, over pairs (first bits, id). */
function radixSort(table: usize, ids: usize, count: u32): void {
  let from = heap.alloc(count * 8);
  let into = heap.alloc(count * 8);
  const counts = heap.alloc(DIGITS * 4);
  for (let i: u32 = 0; i < count; i++) {
    const id = load<u32>(ids + (i << 2));
    store<u64>(from + (i << 3), (<u64>bswap(load<u32>(seriesHash(table, id))) << 32) | id);
  }
  for (let shift: u64 = 32; shift < 64; shift += DIGIT_BITS) {
    memory.fill(counts, 0, DIGITS * 4);
    for (let i: u32 = 0; i < count; i++) {
      const slot = counts + (digitOf(load<u64>(from + (i << 3)), shift) << 2);
      store<u32>(slot, load<u32>(slot) + 1);
    }
    let sum: u32 = 0;
    for (let digit: u32 = 0; digit < DIGITS; digit++) {
      const here = load<u32>(counts + (digit << 2));
      store<u32>(counts + (digit << 2), sum);
      sum += here;
    }
    for (let i: u32 = 0; i < count; i++) {
      const pair = load<u64>(from + (i << 3));
      const slot = counts + (digitOf(pair, shift) << 2);
      const place = load<u32>(slot);
      store<u32>(slot, place + 1);
      store<u64>(into + (place << 3), pair);
    }
    const swap = from;
    from = into;
    into = swap;
  }
  for (let i: u32 = 0; i < count; i++) store<u32>(ids + (i << 2), <u32>load<u64>(from + (i << 3)));
  heap.free(from);
  heap.free(into);
  heap.free(counts);
}

@inline
function digitOf(pair: u64, shift: u64): u32 {
  return <u32>(pair >> shift) & (DIGITS - 1);
}

/** Merges sorted ids into the sorted ones before them, whose array has room; returns the first place that changed. */
function mergeTail(table: usize, sorted: usize, known: u32, tail: usize, fresh: u32): u32 {
  const hashes: usize = load<u32>(table);
  let end = known;
  let place: u32 = 0;
  for (let left = fresh; left > 0; left--) {
    const id = load<u32>(tail + ((left - 1) << 2));
    let low: u32 = 0;
    let high = end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (hashIdsCompare(hashes, load<u32>(sorted + (middle << 2)), id) < 0) low = middle + 1;
      else high = middle;
    }
    // What lies behind it moves by as many places as there are new ones up to here.
    memory.copy(sorted + ((low + left) << 2), sorted + (low << 2), (end - low) << 2);
    place = low + left - 1;
    store<u32>(sorted + (place << 2), id);
    end = low;
  }
  return place;
}
