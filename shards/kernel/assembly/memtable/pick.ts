/**
 * Picking rows of a memtable's group (chunks.ts): those of wanted series and times, or those of a list. What is picked
 * lies in scratch memory in the order of arrival: row numbers, places of their series, times, version slots; RUNS says
 * which of them are of which chunk (address of the chunk, first, number; 12 bytes each).
 */
import { chunkAt, chunkOf, ids, openChunk, rowSeries, series, seriesWidth, timeAt } from './chunks';
import { indexAt } from './offsets';
import { LOCAL, PICK_PLACES, PICK_TIMES, PICK_VERSIONS, PICKS, RUNS, scratch, scratchAt, scratchKeeping } from './scratch';

/** Places of the chunk's series, by their number in the frame; 0 when none is wanted, else how many are. */
@inline
function localPlaces(table: usize, local: usize): u32 {
  let wanted: u32 = 0;
  for (let i: u32 = 0; i < series; i++) {
    const place = load<u32>(table + (<usize>load<u32>(ids + (i << 2)) << 2));
    store<u32>(local + (i << 2), place);
    wanted += u32(place !== 0);
  }
  return wanted;
}

/** Whether one of up to four ids is among those of the chunk. */
function hasAny(wanted: usize, count: u32): bool {
  for (let w: u32 = 0; w < count; w++) {
    const id = v128.load32_splat(wanted + (w << 2));
    let any = i64x2.splat(0);
    let i: u32 = 0;
    for (; i + 4 <= series; i += 4) any = v128.or(any, i32x4.eq(id, v128.load(ids + (i << 2))));
    if (v128.any_true(any)) return true;
    for (; i < series; i++) if (load<u32>(ids + (i << 2)) === load<u32>(wanted + (w << 2))) return true;
  }
  return false;
}

export let picked: u32 = 0;
export let runs: u32 = 0;

/** Makes room for `rows` rows that are put there by others, with no runs. */
export function clearPicked(rows: u32): void {
  picked = 0;
  runs = 0;
  reservePicks(rows);
}

export function addPicked(rows: u32): void {
  picked += rows;
}

function endRun(chunk: usize, first: u32): void {
  if (picked === first) return;
  const run = scratchKeeping(RUNS, (runs + 1) * 12, runs * 12) + runs * 12;
  store<u32>(run, <u32>chunk);
  store<u32>(run, first, 4);
  store<u32>(run, picked - first, 8);
  runs++;
}

function reservePicks(more: u32): void {
  const room = picked + more;
  scratchKeeping(PICKS, room << 2, picked << 2);
  scratchKeeping(PICK_PLACES, room << 2, picked << 2);
  scratchKeeping(PICK_TIMES, room << 3, picked << 3);
  scratchKeeping(PICK_VERSIONS, room << 2, picked << 2);
}

@inline
function pick(row: u32, place: u32, time: f64, version: u32): void {
  store<u32>(scratchAt(PICKS) + (picked << 2), row);
  store<u32>(scratchAt(PICK_PLACES) + (picked << 2), place);
  store<f64>(scratchAt(PICK_TIMES) + (picked << 3), time);
  store<u32>(scratchAt(PICK_VERSIONS) + (picked << 2), version);
  picked++;
}

/**
 * Picks the rows of wanted series from minTime to maxTime, and returns how many. `wanted`: the `count` ids that the table
 * has places of. `versions`: a byte for each version slot, 1 for those that are wanted; 0: all.
 */
export function groupSelect(
  group: usize,
  table: usize,
  wanted: usize,
  count: u32,
  minTime: f64,
  maxTime: f64,
  versions: usize,
): u32 {
  picked = 0;
  runs = 0;
  const chunks = load<u32>(group, 4);
  for (let c: u32 = 0; c < chunks; c++) {
    const chunk = chunkAt(group, c);
    if (load<f64>(chunk, 16) > maxTime || load<f64>(chunk, 24) < minTime) continue;
    const version = load<u32>(chunk, 8);
    if (versions !== 0 && load<u8>(versions + version) === 0) continue;
    openChunk(chunk);
    if (count <= 4 && !hasAny(wanted, count)) continue;
    const local = scratch(LOCAL, series << 2);
    const found = localPlaces(table, local);
    if (found === 0) continue;
    const rows = load<u32>(chunk, 36);
    reservePicks(rows);
    const first = load<u32>(chunk, 12);
    const before = picked;
    if (found === 1 && seriesWidth === 1) selectOne<u8>(local, first, rows, minTime, maxTime, version);
    else if (found === 1 && seriesWidth === 2) selectOne<u16>(local, first, rows, minTime, maxTime, version);
    else selectRows(local, first, rows, minTime, maxTime, version);
    endRun(chunk, before);
  }
  return picked;
}

function selectRows(local: usize, first: u32, rows: u32, minTime: f64, maxTime: f64, version: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const place = load<u32>(local + (<usize>indexAt(rowSeries, seriesWidth, row) << 2));
    if (place === 0) continue;
    const time = timeAt(row);
    if (time >= minTime && time <= maxTime) pick(first + row, place - 1, time, version);
  }
}

/** Rows of the one series of the chunk that is wanted: 16 bytes of series numbers are compared at once. */
@inline
function selectOne<T>(local: usize, first: u32, rows: u32, minTime: f64, maxTime: f64, version: u32): void {
  let one: u32 = 0;
  while (load<u32>(local + (one << 2)) === 0) one++;
  const place = load<u32>(local + (one << 2)) - 1;
  const lanes: u32 = 16 / sizeof<T>();
  const sought = v128.splat<T>(<T>one);
  let row: u32 = 0;
  for (; row + lanes <= rows; row += lanes) {
    const equal = v128.eq<T>(sought, v128.load(rowSeries + row * sizeof<T>()));
    let bits = <u32>v128.bitmask<T>(equal);
    while (bits !== 0) {
      const at = row + ctz(bits);
      bits &= bits - 1;
      const time = timeAt(at);
      if (time >= minTime && time <= maxTime) pick(first + at, place, time, version);
    }
  }
  for (; row < rows; row++) {
    if (<u32>load<T>(rowSeries + row * sizeof<T>()) !== one) continue;
    const time = timeAt(row);
    if (time >= minTime && time <= maxTime) pick(first + row, place, time, version);
  }
}

/** Picks the `count` rows that are listed, ascending; places count from `firstPlace` (which is counted from 1). */
export function groupPick(group: usize, rows: usize, count: u32, table: usize, firstPlace: u32): void {
  picked = 0;
  runs = 0;
  reservePicks(count);
  let i: u32 = 0;
  let c = count === 0 ? 0 : chunkOf(group, load<u32>(rows));
  while (i < count) {
    let chunk = chunkAt(group, c);
    let end = load<u32>(chunk, 12) + load<u32>(chunk, 36);
    while (load<u32>(rows + (i << 2)) >= end) {
      chunk = chunkAt(group, ++c);
      end = load<u32>(chunk, 12) + load<u32>(chunk, 36);
    }
    openChunk(chunk);
    const first = load<u32>(chunk, 12);
    const version = load<u32>(chunk, 8);
    const before = i;
    for (; i < count; i++) {
      const number = load<u32>(rows + (i << 2));
      if (number >= end) break;
      const row = number - first;
      const id = load<u32>(ids + (<usize>indexAt(rowSeries, seriesWidth, row) << 2));
      pick(number, load<u32>(table + (<usize>id << 2)) - firstPlace, timeAt(row), version);
    }
    endRun(chunk, before);
  }
}
