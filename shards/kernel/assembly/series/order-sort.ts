/**
 * Ids sorted by their hashes, at once or in steps: a radix sort over the first 32 bits of the hash, least digit first,
 * over pairs (first bits, id), then the few ties by all of it. Series that come meanwhile change nothing: a hash keeps
 * its id.
 *
 * Sort (32 bytes):  0 table   4 ids (u32 each, sorted in place)   8 count   12 pairs   16 pairs of the next pass
 *                  20 counts by digit   24 phase   28 next element of the phase
 * Phases: 0 makes the pairs, 1, 3, 5 count a digit, 2, 4, 6 put the pairs in its order, 7 takes the ids from the pairs,
 * 8 sorts ties, 9 is the end.
 */
import { hashIdsCompare } from './hash-ids';
import { seriesHash } from './table';

const SORT_BYTES: u32 = 32;
const DIGIT_BITS: u32 = 11;
const DIGITS: u32 = 1 << DIGIT_BITS;
/** Fewer are sorted by insertion alone: what is in order already costs one comparison. */
const RADIX_MIN: u32 = 64;
const IDS_PHASE: u32 = 7;
const TIES_PHASE: u32 = 8;

export function sortBegin(table: usize, ids: usize, count: u32): usize {
  const sort = heap.alloc(SORT_BYTES);
  memory.fill(sort, 0, SORT_BYTES);
  store<u32>(sort, <u32>table);
  store<u32>(sort, <u32>ids, 4);
  store<u32>(sort, count, 8);
  if (count <= RADIX_MIN) {
    store<u32>(sort, TIES_PHASE, 24);
    return sort;
  }
  store<u32>(sort, <u32>heap.alloc(count * 8), 12);
  store<u32>(sort, <u32>heap.alloc(count * 8), 16);
  store<u32>(sort, <u32>heap.alloc(DIGITS * 4), 20);
  return sort;
}

export function sortFree(sort: usize): void {
  for (let offset: usize = 12; offset <= 20; offset += 4) {
    if (load<u32>(sort + offset) != 0) heap.free(load<u32>(sort + offset));
  }
  heap.free(sort);
}

/** Handles up to `elements` in the present phase; true when more remains. */
export function sortStep(sort: usize, elements: u32): bool {
  const count = load<u32>(sort, 8);
  const phase = load<u32>(sort, 24);
  const first = load<u32>(sort, 28);
  const end = min(count, first + elements);
  if (phase == 0) makePairs(sort, first, end);
  else if (phase == IDS_PHASE) takeIds(sort, first, end);
  else if (phase == TIES_PHASE) sortTies(sort, first, end);
  else if ((phase & 1) == 1) countDigits(sort, shiftOf(phase), first, end);
  else placePairs(sort, shiftOf(phase), first, end);
  store<u32>(sort, end, 28);
  if (end < count) return true;
  if (phase == TIES_PHASE) return false;
  if (phase > 0 && phase < IDS_PHASE) {
    if ((phase & 1) == 1) sumCounts(load<u32>(sort, 20));
    else swapPairs(sort);
  }
  store<u32>(sort, phase + 1, 24);
  store<u32>(sort, 0, 28);
  return true;
}

/** Of the digit that phases 1 and 2, 3 and 4, 5 and 6 are about. */
@inline
function shiftOf(phase: u32): u64 {
  return 32 + <u64>(((phase - 1) >> 1) * DIGIT_BITS);
}

@inline
function digitOf(pair: u64, shift: u64): u32 {
  return <u32>(pair >> shift) & (DIGITS - 1);
}

function makePairs(sort: usize, first: u32, end: u32): void {
  const table: usize = load<u32>(sort);
  const ids: usize = load<u32>(sort, 4);
  const pairs: usize = load<u32>(sort, 12);
  for (let i = first; i < end; i++) {
    const id = load<u32>(ids + (i << 2));
    store<u64>(pairs + (i << 3), (<u64>bswap(load<u32>(seriesHash(table, id))) << 32) | id);
  }
}

function countDigits(sort: usize, shift: u64, first: u32, end: u32): void {
  const pairs: usize = load<u32>(sort, 12);
  const counts: usize = load<u32>(sort, 20);
  if (first == 0) memory.fill(counts, 0, DIGITS * 4);
  for (let i = first; i < end; i++) {
    const slot = counts + (digitOf(load<u64>(pairs + (i << 3)), shift) << 2);
    store<u32>(slot, load<u32>(slot) + 1);
  }
}

/** Counts become the places at which the pairs of each digit begin. */
function sumCounts(counts: usize): void {
  let sum: u32 = 0;
  for (let digit: u32 = 0; digit < DIGITS; digit++) {
    const here = load<u32>(counts + (digit << 2));
    store<u32>(counts + (digit << 2), sum);
    sum += here;
  }
}

function placePairs(sort: usize, shift: u64, first: u32, end: u32): void {
  const pairs: usize = load<u32>(sort, 12);
  const into: usize = load<u32>(sort, 16);
  const places: usize = load<u32>(sort, 20);
  for (let i = first; i < end; i++) {
    const pair = load<u64>(pairs + (i << 3));
    const slot = places + (digitOf(pair, shift) << 2);
    const place = load<u32>(slot);
    store<u32>(slot, place + 1);
    store<u64>(into + (place << 3), pair);
  }
}

function swapPairs(sort: usize): void {
  const pairs = load<u32>(sort, 12);
  store<u32>(sort, load<u32>(sort, 16), 12);
  store<u32>(sort, pairs, 16);
}

function takeIds(sort: usize, first: u32, end: u32): void {
  const ids: usize = load<u32>(sort, 4);
  const pairs: usize = load<u32>(sort, 12);
  for (let i = first; i < end; i++) store<u32>(ids + (i << 2), <u32>load<u64>(pairs + (i << 3)));
}

function sortTies(sort: usize, first: u32, end: u32): void {
  const hashes: usize = load<u32>(load<u32>(sort));
  const ids: usize = load<u32>(sort, 4);
  for (let i = max<u32>(1, first); i < end; i++) {
    const id = load<u32>(ids + (i << 2));
    let at = i;
    while (at > 0 && hashIdsCompare(hashes, load<u32>(ids + ((at - 1) << 2)), id) > 0) {
      store<u32>(ids + (at << 2), load<u32>(ids + ((at - 1) << 2)));
      at--;
    }
    store<u32>(ids + (at << 2), id);
  }
}
