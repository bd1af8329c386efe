/**
 * The series of a measurement in the order of their hashes, and the place (rank) of each in it.
 *
 * Made when asked for: series that came since are sorted by themselves (order-sort.ts) and merged in from the back, so
 * that a few new ones among a million move blocks of memory and compare little. Many new ones are sorted together with
 * the known ones: a merge would read each hash. Who has time may sort those in steps beforehand (`orderBegin`).
 *
 * Job (32 bytes):  0 table   4 measurement   8 how many were in order   12 members   16 their ids   20 sort
 *                 24 how many of them have their ranks   28 their ranks, by member
 */
import { hashIdsCompare } from './hash-ids';
import { sortBegin, sortFree, sortStep } from './order-sort';
import { measurementAt, reserve, seriesCount, seriesHash } from './table';

/** New series are merged one by one when they are fewer than this share of the known ones. */
const MERGE_SHARE: u32 = 16;
/** Fewer new ones are not worth steps: they are sorted in some five milliseconds. */
const STEPS_MEMBERS_MIN: u32 = 1 << 17;
const STEP_MEMBERS: u32 = 1 << 16;
const JOB_BYTES: u32 = 32;

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
  setRanks(table, sorted, changed, members);
  store<u32>(measurement, members, 16);
  return sorted;
}

/** Of the ids from place `first` to before `end` in the order. */
function setRanks(table: usize, sorted: usize, first: u32, end: u32): void {
  const ranks: usize = load<u32>(table, 40);
  for (let i = first; i < end; i++) store<u32>(ranks + (load<u32>(sorted + (i << 2)) << 2), i);
}

function sortIds(table: usize, ids: usize, count: u32): void {
  const sort = sortBegin(table, ids, count);
  while (sortStep(sort, count));
  sortFree(sort);
}

/** A job that brings the order of a measurement nearly up to date, in steps; 0: there is too little to do. */
export function orderBegin(table: usize, number: u32): usize {
  const measurement = measurementAt(table, number);
  const members = load<u32>(measurement);
  const known = load<u32>(measurement, 16);
  if (members - known < STEPS_MEMBERS_MIN || members - known < known / MERGE_SHARE) return 0;
  const job = heap.alloc(JOB_BYTES);
  const ids = heap.alloc(members * 4);
  memory.copy(ids, load<u32>(measurement, 4), members << 2);
  store<u32>(job, <u32>table);
  store<u32>(job, <u32>measurement, 4);
  store<u32>(job, known, 8);
  store<u32>(job, members, 12);
  store<u32>(job, <u32>ids, 16);
  store<u32>(job, <u32>sortBegin(table, ids, members), 20);
  store<u32>(job, 0, 24);
  store<u32>(job, <u32>heap.alloc(members * 4), 28);
  return job;
}

/** A few milliseconds of the job; true when more remains. Nothing is left to do when somebody has asked meanwhile. */
export function orderStep(job: usize): bool {
  const measurement: usize = load<u32>(job, 4);
  if (load<u32>(measurement, 16) != load<u32>(job, 8)) return false;
  if (load<u32>(job, 24) == 0 && sortStep(load<u32>(job, 20), STEP_MEMBERS)) return true;
  const table: usize = load<u32>(job);
  const members = load<u32>(job, 12);
  const ids: usize = load<u32>(job, 16);
  const first = load<u32>(job, 24);
  const own: usize = load<u32>(job, 28);
  const memberOf: usize = load<u32>(table, 32);
  const end = min(members, first + STEP_MEMBERS);
  for (let rank = first; rank < end; rank++)
    store<u32>(own + (load<u32>(memberOf + (load<u32>(ids + (rank << 2)) << 2)) << 2), rank);
  store<u32>(job, end, 24);
  if (end < members) return true;
  // Whoever reads in turns uses the ranks between steps: they change all at once, with the order.
  takeRanks(table, load<u32>(measurement, 4), own, members);
  memory.copy(makeRoom(measurement, members), ids, members << 2);
  store<u32>(measurement, members, 16);
  return false;
}

/** Ids of members ascend, so that a million take some milliseconds. */
function takeRanks(table: usize, members: usize, own: usize, count: u32): void {
  reserveRanks(table);
  const ranks: usize = load<u32>(table, 40);
  for (let member: u32 = 0; member < count; member++) {
    const at = member << 2;
    store<u32>(ranks + (load<u32>(members + at) << 2), load<u32>(own + at));
  }
}

/** Gives the job's memory back, whatever has become of the table. */
export function orderEnd(job: usize): void {
  sortFree(load<u32>(job, 20));
  heap.free(load<u32>(job, 16));
  heap.free(load<u32>(job, 28));
  heap.free(job);
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
