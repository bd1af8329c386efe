/**
 * A memtable: frames that it owns, the rows of each measurement (chunks.ts), and which shapes (shape.ts) have come to it.
 *
 * Memtable, by offset:
 *    0 frames (indexes, u32 each)    4 count    8 capacity
 *   12 groups (u32 each)            16 count   20 capacity
 *   24 entries, one per shape       28 count   32 capacity
 *   36 slots: entries by number of the shape, counted from 1; 0: free      40 their mask
 *   44 entries that are fresh (u32 each; capacity as the entries)          48 count
 * Entry (32 bytes):  0 number of the shape   4 group   8 map   12 1: is fresh   16 the greatest version that came with it
 *
 * An entry is fresh when such a version has come since the host was last told of it.
 */
import { groupAppend, groupFree, groupNew } from './chunks';
import { COLUMN_WORDS, frameFree, frameSettle, GROUP_WORDS, HEAD_WORDS } from './frame';
import { VERSION_OFFSET } from './sum';

const MEMTABLE_BYTES: u32 = 52;
const ENTRY_BYTES: u32 = 32;
const SLOTS_MIN: u32 = 16;

export function memtableNew(): usize {
  const memtable = heap.alloc(MEMTABLE_BYTES);
  memory.fill(memtable, 0, MEMTABLE_BYTES);
  newSlots(memtable, SLOTS_MIN);
  return memtable;
}

export function memtableFree(memtable: usize): void {
  for (let i: u32 = 0; i < load<u32>(memtable, 4); i++) frameFree(load<u32>(<usize>load<u32>(memtable) + (i << 2)));
  for (let i: u32 = 0; i < load<u32>(memtable, 16); i++) groupFree(load<u32>(<usize>load<u32>(memtable, 12) + (i << 2)));
  for (let i: u32 = 0; i < load<u32>(memtable, 28); i++) heap.free(load<u32>(entryAt(memtable, i), 8));
  for (let offset: u32 = 0; offset <= 44; offset += 12) freeUsed(load<u32>(memtable + offset));
  freeUsed(load<u32>(memtable, 44));
  heap.free(memtable);
}

@inline
function freeUsed(address: usize): void {
  if (address !== 0) heap.free(address);
}

@inline
function entryAt(memtable: usize, entry: u32): usize {
  return <usize>load<u32>(memtable, 24) + entry * ENTRY_BYTES;
}

/** Puts a word at the end of the list whose address, count and capacity stand at the offset. */
function push(memtable: usize, offset: u32, word: u32): void {
  const list = memtable + offset;
  const count = load<u32>(list, 4);
  const capacity = load<u32>(list, 8);
  if (count === capacity) {
    const more = max<u32>(16, capacity * 2);
    store<u32>(list, <u32>resized(load<u32>(list), more << 2));
    store<u32>(list, more, 8);
  }
  store<u32>(<usize>load<u32>(list) + (count << 2), word);
  store<u32>(list, count + 1, 4);
}

@inline
function resized(address: usize, bytes: u32): usize {
  return address === 0 ? heap.alloc(bytes) : heap.realloc(address, bytes);
}

function newSlots(memtable: usize, count: u32): void {
  const slots = heap.alloc(count << 2);
  memory.fill(slots, 0, count << 2);
  store<u32>(memtable, <u32>slots, 36);
  store<u32>(memtable, count - 1, 40);
}

/** The entry of a shape counted from 1, or 0. */
function find(memtable: usize, number: u32): u32 {
  const slots = <usize>load<u32>(memtable, 36);
  const mask = load<u32>(memtable, 40);
  let slot = slotOf(number) & mask;
  let found = load<u32>(slots + (slot << 2));
  while (found !== 0 && load<u32>(entryAt(memtable, found - 1)) !== number) {
    slot = (slot + 1) & mask;
    found = load<u32>(slots + (slot << 2));
  }
  return found;
}

@inline
function slotOf(number: u32): u32 {
  return (number * 0x9e3779b1) >> 8;
}

function putSlot(memtable: usize, number: u32, entry: u32): void {
  const slots = <usize>load<u32>(memtable, 36);
  const mask = load<u32>(memtable, 40);
  let slot = slotOf(number) & mask;
  while (load<u32>(slots + (slot << 2)) !== 0) slot = (slot + 1) & mask;
  store<u32>(slots + (slot << 2), entry + 1);
}

/** A new group of the memtable. */
export function memtableGroup(memtable: usize): usize {
  const group = groupNew();
  push(memtable, 12, <u32>group);
  return group;
}

/**
 * Adds a shape with the group that its rows go to and its map, which the memtable owns from now on. Entries are numbered
 * from 0; a new one is fresh.
 */
export function memtableShape(memtable: usize, number: u32, group: usize, map: usize): void {
  const count = load<u32>(memtable, 28);
  const capacity = load<u32>(memtable, 32);
  if (count === capacity) {
    const more = max<u32>(8, capacity * 2);
    store<u32>(memtable, <u32>resized(load<u32>(memtable, 24), more * ENTRY_BYTES), 24);
    store<u32>(memtable, <u32>resized(load<u32>(memtable, 44), more << 2), 44);
    store<u32>(memtable, more, 32);
  }
  const entry = entryAt(memtable, count);
  memory.fill(entry, 0, ENTRY_BYTES);
  store<u32>(entry, number);
  store<u32>(entry, <u32>group, 4);
  store<u32>(entry, <u32>map, 8);
  store<u32>(memtable, count + 1, 28);
  setFresh(memtable, entry, count);
  if ((count + 1) * 2 <= load<u32>(memtable, 40)) {
    putSlot(memtable, number, count);
    return;
  }
  heap.free(load<u32>(memtable, 36));
  newSlots(memtable, (load<u32>(memtable, 40) + 1) * 2);
  for (let i: u32 = 0; i <= count; i++) putSlot(memtable, load<u32>(entryAt(memtable, i)), i);
}

/** The first group of the frame, from the one at `from` (0: the first) on, whose shape the memtable has not met; or 0. */
export function memtableUnknown(memtable: usize, index: usize, from: usize): usize {
  const groups = load<u32>(index, 16);
  let group = index + (HEAD_WORDS << 2);
  for (let i: u32 = 0; i < groups; i++) {
    if (group >= from && find(memtable, load<u32>(group, 72)) === 0) return group;
    group += (GROUP_WORDS + load<u32>(group, 28) * COLUMN_WORDS) << 2;
  }
  return 0;
}

/**
 * Takes the frame over, whose shapes it has all met; `slot` stands for its version. Returns by how many bytes its lists have
 * grown, less what it has let go of.
 */
export function memtableApply(memtable: usize, index: usize, slot: u32): i32 {
  push(memtable, 0, <u32>index);
  const version = <usize>load<u32>(index) + VERSION_OFFSET;
  const groups = load<u32>(index, 16);
  let group = index + (HEAD_WORDS << 2);
  let grown: i32 = 0;
  for (let i: u32 = 0; i < groups; i++) {
    const number = find(memtable, load<u32>(group, 72)) - 1;
    const entry = entryAt(memtable, number);
    if (isAfter(version, entry + 16)) {
      v128.store(entry, v128.load(version), 16);
      if (load<u32>(entry, 12) === 0) setFresh(memtable, entry, number);
    }
    if (load<u32>(group, 8) > 0) {
      grown += <i32>groupAppend(<usize>load<u32>(entry, 4), index, group, slot, <usize>load<u32>(entry, 8));
    }
    group += (GROUP_WORDS + load<u32>(group, 28) * COLUMN_WORDS) << 2;
  }
  return grown - <i32>frameSettle(index);
}

function setFresh(memtable: usize, entry: usize, number: u32): void {
  store<u32>(entry, 1, 12);
  const count = load<u32>(memtable, 48);
  store<u32>(<usize>load<u32>(memtable, 44) + (count << 2), number);
  store<u32>(memtable, count + 1, 48);
}

/** Of two versions, big-endian. */
@inline
function isAfter(a: usize, b: usize): bool {
  const x = bswap<u64>(load<u64>(a));
  const y = bswap<u64>(load<u64>(b));
  return x === y ? bswap<u64>(load<u64>(a, 8)) > bswap<u64>(load<u64>(b, 8)) : x > y;
}

/** How many entries are fresh. */
export function memtableFresh(memtable: usize): u32 {
  return load<u32>(memtable, 48);
}

/** The number of a fresh one, by its place among them. */
export function memtableFreshEntry(memtable: usize, place: u32): u32 {
  return load<u32>(<usize>load<u32>(memtable, 44) + (place << 2));
}

/** Address of the greatest version that came with an entry's shape. */
export function memtableNewest(memtable: usize, entry: u32): usize {
  return entryAt(memtable, entry) + 16;
}

/** No entry is fresh any more. */
export function memtableTold(memtable: usize): void {
  const count = load<u32>(memtable, 48);
  for (let i: u32 = 0; i < count; i++) store<u32>(entryAt(memtable, memtableFreshEntry(memtable, i)), 0, 12);
  store<u32>(memtable, 0, 48);
}
