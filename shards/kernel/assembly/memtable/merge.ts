/**
 * Merging row sets: their rows become picked rows (pick.ts), are arranged like those of a memtable (arrange.ts), and each
 * column's values go to their rows' targets.
 */
import { addPicked, clearPicked, picked } from './pick';
import {
  PICK_PLACES,
  PICK_TIMES,
  PICK_VERSIONS,
  PRESENT,
  scratch,
  scratchAt,
  STARTS,
  TARGETS,
  TIMES,
  VALUES,
  VERSIONS,
} from './scratch';

/** Begins a merge of `rows` rows in all. */
export function mergeOpen(rows: u32): void {
  clearPicked(rows);
}

/**
 * Adds a set: `series` series, the rows of s being starts[s] .. starts[s + 1] - 1 (u32), its place among all series
 * places[s] (u32); per row its time (f64) and version (u32), to which `versionBase` is added.
 */
export function mergeAdd(
  series: u32,
  starts: usize,
  places: usize,
  times: usize,
  versions: usize,
  versionBase: u32,
): void {
  const pickPlaces = scratchAt(PICK_PLACES) + (<usize>picked << 2);
  const pickTimes = scratchAt(PICK_TIMES) + (<usize>picked << 3);
  const pickVersions = scratchAt(PICK_VERSIONS) + (<usize>picked << 2);
  const rows = load<u32>(starts + (series << 2));
  for (let s: u32 = 0; s < series; s++) {
    const place = load<u32>(places + (s << 2));
    const end = load<u32>(starts + (s << 2), 4);
    for (let row = load<u32>(starts + (s << 2)); row < end; row++) store<u32>(pickPlaces + (row << 2), place);
  }
  memory.copy(pickTimes, times, <usize>rows << 3);
  for (let row: u32 = 0; row < rows; row++) {
    store<u32>(pickVersions + (row << 2), load<u32>(versions + (row << 2)) + versionBase);
  }
  addPicked(rows);
}

/** Whether two of the arranged rows have the same place, time and version: parts of one row. */
export function mergeHasFolds(places: u32): bool {
  const starts = scratchAt(STARTS);
  const times = scratchAt(TIMES);
  const versions = scratchAt(VERSIONS);
  for (let p: u32 = 0; p < places; p++) {
    const end = load<u32>(starts + (p << 2), 4);
    for (let row = load<u32>(starts + (p << 2)) + 1; row < end; row++) {
      if (load<f64>(times + (row << 3)) !== load<f64>(times + ((row - 1) << 3))) continue;
      if (load<u32>(versions + (row << 2)) === load<u32>(versions + ((row - 1) << 2))) return true;
    }
  }
  return false;
}

/** Begins a column at VALUES (`bytes` a value) and PRESENT; returns the address of room for one set's values. */
export function mergeColumnOpen(bytes: u32, rowsMax: u32): usize {
  scratch(VALUES, picked * bytes + 16);
  memory.fill(scratchAt(VALUES), 0, picked * bytes);
  memory.fill(scratch(PRESENT, picked), 0, picked);
  return scratch(PICK_TIMES, rowsMax * 9 + 16);
}

/** Puts `count` values at `from` (and their presence, behind them, when `hasPresent`) to the targets from `first` on. */
export function mergeColumnAdd(bytes: u32, first: u32, count: u32, from: usize, hasPresent: bool): void {
  const targets = scratchAt(TARGETS) + (<usize>first << 2);
  const values = scratchAt(VALUES);
  const present = scratchAt(PRESENT);
  const marks = from + count * bytes;
  if (bytes === 8) {
    for (let i: u32 = 0; i < count; i++) {
      store<u64>(values + (<usize>load<u32>(targets + (i << 2)) << 3), load<u64>(from + (i << 3)));
    }
  } else if (bytes === 1) {
    for (let i: u32 = 0; i < count; i++) store<u8>(values + load<u32>(targets + (i << 2)), load<u8>(from + i));
  }
  for (let i: u32 = 0; i < count; i++) {
    store<u8>(present + load<u32>(targets + (i << 2)), hasPresent ? load<u8>(marks + i) : 1);
  }
}

/** Rows that have the column that was put together last. */
export function mergeColumnCount(): u32 {
  const present = scratchAt(PRESENT);
  let count: u32 = 0;
  for (let i: u32 = 0; i < picked; i++) count += <u32>load<u8>(present + i);
  return count;
}
