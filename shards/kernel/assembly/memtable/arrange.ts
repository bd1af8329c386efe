/**
 * Arranging picked rows (pick.ts) in the order of series, time and version: each gets its target, the place among all.
 */
import { picked } from './pick';
import {
  MARKS,
  MERGE,
  NEXT,
  PICK_PLACES,
  PICK_TIMES,
  PICK_VERSIONS,
  scratch,
  scratchAt,
  STARTS,
  TARGETS,
  TIMES,
  VERSIONS,
} from './scratch';

/** Lists the version slots that picked rows have, ascending, at VERSIONS; returns how many. */
export function pickedVersions(slots: u32): u32 {
  const marks = scratch(MARKS, slots);
  memory.fill(marks, 0, slots);
  const versions = scratchAt(PICK_VERSIONS);
  for (let i: u32 = 0; i < picked; i++) store<u8>(marks + load<u32>(versions + (i << 2)), 1);
  const list = scratch(VERSIONS, slots << 2);
  let count: u32 = 0;
  for (let slot: u32 = 0; slot < slots; slot++) {
    store<u32>(list + (count << 2), slot);
    count += <u32>load<u8>(marks + slot);
  }
  return count;
}

/**
 * Arranges the picked rows by place (0 .. places - 1), time and version rank (`ranks[slot]`); equal ones stay in the
 * order of arrival. Afterwards STARTS has the rows of each place, TARGETS the place of each picked row among all, TIMES
 * and VERSIONS (ranks) are in order.
 */
export function pickedArrange(places: u32, ranks: usize): void {
  const starts = scratch(STARTS, (places + 1) << 2);
  const next = scratch(NEXT, (places + 1) << 2);
  const targets = scratch(TARGETS, picked << 2);
  const sortedTimes = scratch(TIMES, picked << 3);
  const sortedVersions = scratch(VERSIONS, picked << 2);
  const pickPlaces = scratchAt(PICK_PLACES);
  const pickTimes = scratchAt(PICK_TIMES);
  const pickVersions = scratchAt(PICK_VERSIONS);
  memory.fill(starts, 0, (places + 1) << 2);
  for (let i: u32 = 0; i < picked; i++) {
    const at = starts + ((load<u32>(pickPlaces + (i << 2)) + 1) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  for (let p: u32 = 0; p < places; p++) {
    const start = load<u32>(starts + (p << 2));
    store<u32>(next + (p << 2), start);
    store<u32>(starts + (p << 2), load<u32>(starts + (p << 2), 4) + start, 4);
  }
  let ordered = true;
  for (let i: u32 = 0; i < picked; i++) {
    const place = load<u32>(pickPlaces + (i << 2));
    const target = load<u32>(next + (place << 2));
    store<u32>(next + (place << 2), target + 1);
    store<u32>(targets + (i << 2), target);
    const time = load<f64>(pickTimes + (i << 3));
    const version = load<u32>(ranks + (load<u32>(pickVersions + (i << 2)) << 2));
    store<f64>(sortedTimes + (target << 3), time);
    store<u32>(sortedVersions + (target << 2), version);
    if (target > load<u32>(starts + (place << 2))) {
      const before = load<f64>(sortedTimes + ((target - 1) << 3));
      if (time < before || (time === before && version < load<u32>(sortedVersions + ((target - 1) << 2)))) {
        ordered = false;
      }
    }
  }
  if (!ordered) sortPlaces(places, starts, targets, sortedTimes, sortedVersions);
}

/** Sorts those places that are out of order, by merging: rows mostly come in a few ascending runs. */
function sortPlaces(places: u32, starts: usize, targets: usize, sortedTimes: usize, sortedVersions: usize): void {
  // order[target] = the row (in the order of arrival by place) that goes there; then targets are looked up through it.
  const room = scratch(MERGE, (picked << 2) * 3 + (picked << 3) + (picked << 2));
  const order = room;
  const other = room + (picked << 2);
  const moved = room + (picked << 3);
  const timesCopy = room + (picked << 2) * 3 + 7 & ~7;
  for (let p: u32 = 0; p < places; p++) {
    const start = load<u32>(starts + (p << 2));
    const end = load<u32>(starts + (p << 2), 4);
    if (!isSorted(start, end, sortedTimes, sortedVersions)) {
      for (let i = start; i < end; i++) store<u32>(order + (i << 2), i);
      mergeSort(order, other, start, end, sortedTimes, sortedVersions);
      for (let i = start; i < end; i++) {
        store<u32>(moved + (load<u32>(order + (i << 2)) << 2), i);
        store<f64>(timesCopy + (i << 3), load<f64>(sortedTimes + (i << 3)));
        store<u32>(other + (i << 2), load<u32>(sortedVersions + (i << 2)));
      }
      for (let i = start; i < end; i++) {
        const from = load<u32>(order + (i << 2));
        store<f64>(sortedTimes + (i << 3), load<f64>(timesCopy + (from << 3)));
        store<u32>(sortedVersions + (i << 2), load<u32>(other + (from << 2)));
      }
    } else {
      for (let i = start; i < end; i++) store<u32>(moved + (i << 2), i);
    }
  }
  for (let i: u32 = 0; i < picked; i++) {
    store<u32>(targets + (i << 2), load<u32>(moved + (load<u32>(targets + (i << 2)) << 2)));
  }
}

function isSorted(start: u32, end: u32, sortedTimes: usize, sortedVersions: usize): bool {
  for (let i = start + 1; i < end; i++) if (isBefore(i, i - 1, sortedTimes, sortedVersions)) return false;
  return true;
}

@inline
function isBefore(a: u32, b: u32, sortedTimes: usize, sortedVersions: usize): bool {
  const x = load<f64>(sortedTimes + (<usize>a << 3));
  const y = load<f64>(sortedTimes + (<usize>b << 3));
  return x < y || (x === y && load<u32>(sortedVersions + (<usize>a << 2)) < load<u32>(sortedVersions + (<usize>b << 2)));
}

/** Stable, bottom up from runs that are there already; the result is in `order`. */
function mergeSort(order: usize, other: usize, start: u32, end: u32, sortedTimes: usize, sortedVersions: usize): void {
  let from = order;
  let into = other;
  for (;;) {
    let runs: u32 = 0;
    let i = start;
    while (i < end) {
      const middle = runEnd(from, i, end, sortedTimes, sortedVersions);
      const stop = middle < end ? runEnd(from, middle, end, sortedTimes, sortedVersions) : end;
      mergeRuns(from, into, i, middle, stop, sortedTimes, sortedVersions);
      i = stop;
      runs++;
    }
    const swapped = from;
    from = into;
    into = swapped;
    if (runs <= 1) break;
  }
  if (from !== order) memory.copy(order + (<usize>start << 2), from + (<usize>start << 2), (end - start) << 2);
}

function runEnd(order: usize, from: u32, end: u32, sortedTimes: usize, sortedVersions: usize): u32 {
  let i = from + 1;
  while (
    i < end &&
    !isBefore(load<u32>(order + (i << 2)), load<u32>(order + ((i - 1) << 2)), sortedTimes, sortedVersions)
  ) {
    i++;
  }
  return i;
}

function mergeRuns(
  from: usize,
  into: usize,
  start: u32,
  middle: u32,
  stop: u32,
  sortedTimes: usize,
  sortedVersions: usize,
): void {
  let a = start;
  let b = middle;
  for (let i = start; i < stop; i++) {
    let second = a === middle;
    if (!second && b < stop) {
      second = isBefore(load<u32>(from + (b << 2)), load<u32>(from + (a << 2)), sortedTimes, sortedVersions);
    }
    store<u32>(into + (i << 2), load<u32>(from + ((second ? b : a) << 2)));
    if (second) b++;
    else a++;
  }
}
