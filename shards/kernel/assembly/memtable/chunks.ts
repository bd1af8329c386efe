/**
 * The rows of one measurement in a memtable: groups of frames in the order of their arrival (chunks), read where they
 * lie. A row's number counts through all chunks.
 *
 * Group (32 bytes):  0 chunks address   4 chunks   8 room for chunks   12 rows
 *                   16 least time f64  24 greatest time f64 (of a group without rows: infinities that no time is between)
 * Chunk (48 bytes):  0 index address    4 group's words in it    8 version slot   12 number of its first row
 *                   16 least time f64  24 greatest time f64     32 map address   36 rows
 * Map (of a shape's columns): count u32, then per column its number in the memtable and its place in the group, u32 each,
 * ascending by number.
 *
 * Reading takes three steps: rows are picked (in the order of arrival), arranged (each gets its target: the place in the
 * order of series, time and version), and then columns are read, each value going to its row's target. The series
 * that are wanted are given as a table from id to place in their order, counted from 1; 0: not wanted.
 */
import { offsetAt } from './offsets';

const CHUNK_BYTES: u32 = 48;
const GROUP_BYTES: u32 = 32;

export function groupNew(): usize {
  const group = heap.alloc(GROUP_BYTES);
  memory.fill(group, 0, GROUP_BYTES);
  store<f64>(group, Infinity, 16);
  store<f64>(group, -Infinity, 24);
  return group;
}

export function groupFree(group: usize): void {
  if (load<u32>(group) !== 0) heap.free(load<u32>(group));
  heap.free(group);
}

/** `words`: the group's words in the frame's index. Returns by how many bytes the list of chunks has grown. */
export function groupAppend(group: usize, index: usize, words: usize, version: u32, map: usize): u32 {
  const count = load<u32>(group, 4);
  let room = load<u32>(group, 8);
  let grown: u32 = 0;
  if (count === room) {
    grown = max<u32>(4, room >> 1);
    room += grown;
    const old = <usize>load<u32>(group);
    const chunks = heap.alloc(room * CHUNK_BYTES);
    if (old !== 0) {
      memory.copy(chunks, old, count * CHUNK_BYTES);
      heap.free(old);
    }
    store<u32>(group, <u32>chunks);
    store<u32>(group, room, 8);
  }
  const chunk = chunkAt(group, count);
  const rows = load<u32>(words, 8);
  store<u32>(chunk, <u32>index);
  store<u32>(chunk, <u32>words, 4);
  store<u32>(chunk, version, 8);
  store<u32>(chunk, load<u32>(group, 12), 12);
  store<f64>(chunk, load<f64>(words, 48), 16);
  store<f64>(chunk, load<f64>(words, 56), 24);
  store<u32>(chunk, <u32>map, 32);
  store<u32>(chunk, rows, 36);
  store<u32>(group, count + 1, 4);
  store<u32>(group, load<u32>(group, 12) + rows, 12);
  store<f64>(group, Math.min(load<f64>(group, 16), load<f64>(words, 48)), 16);
  store<f64>(group, Math.max(load<f64>(group, 24), load<f64>(words, 56)), 24);
  return grown * CHUNK_BYTES;
}

@inline
export function chunkAt(group: usize, chunk: u32): usize {
  return <usize>load<u32>(group) + chunk * CHUNK_BYTES;
}

/** Chunk the row is in. */
export function chunkOf(group: usize, row: u32): u32 {
  let low: u32 = 0;
  let high = load<u32>(group, 4);
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(chunkAt(group, middle), 12) <= row) low = middle;
    else high = middle;
  }
  return low;
}

/** How many chunks from `chunk` on have at least `rows` rows together (or all that are left). */
export function chunksOfRows(group: usize, chunk: u32, rows: u32): u32 {
  const chunks = load<u32>(group, 4);
  let found: u32 = 0;
  let count: u32 = 0;
  while (chunk + count < chunks && found < rows) found += load<u32>(chunkAt(group, chunk + count++), 36);
  return count;
}

/** Writes the places (from 1) of `count` ids into a table by id. */
export function placesSet(table: usize, ids: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) store<u32>(table + (<usize>load<u32>(ids + (i << 2)) << 2), i + 1);
}

export function placesClear(table: usize, ids: usize, count: u32): void {
  for (let i: u32 = 0; i < count; i++) store<u32>(table + (<usize>load<u32>(ids + (i << 2)) << 2), 0);
}

/** What is read of a chunk again and again. */
export let rowSeries: usize = 0;
export let seriesWidth: u32 = 0;
export let times: usize = 0;
export let timeWidth: u32 = 0;
export let timeMin: f64 = 0;
export let timeUnit: f64 = 0;
export let ids: usize = 0;
export let series: u32 = 0;

@inline
export function openChunk(chunk: usize): void {
  const index = <usize>load<u32>(chunk);
  const words = <usize>load<u32>(chunk, 4);
  const frame = <usize>load<u32>(index);
  series = load<u32>(index, 8);
  ids = load<u32>(index, 28);
  seriesWidth = load<u32>(words, 12);
  rowSeries = frame + load<u32>(words, 16);
  timeWidth = load<u32>(words, 20);
  times = frame + load<u32>(words, 24);
  timeMin = load<f64>(words, 32);
  timeUnit = load<f64>(words, 40);
}

@inline
export function timeAt(row: u32): f64 {
  return timeMin + offsetAt(times, timeWidth, row) * timeUnit;
}
