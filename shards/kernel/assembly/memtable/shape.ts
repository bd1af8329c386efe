/**
 * Shapes: what groups of frames have in common, the measurement with its fields and types, kept once.
 *
 * Agents send the same fields again and again; whoever has met a shape need not look at its names. A shape is a copy of
 * a group's words in an index (frame.ts) with offsets into itself, then the key of each column for content
 * sums, which its owner fills in, then the names.
 *
 * Shapes have numbers, counted from 1, which are never given twice: who notes something by number need not know that all
 * shapes have been forgotten meanwhile. A group's words hold the number once its shape has been met.
 */
import { COLUMN_WORDS, GROUP_WORDS, HEAD_WORDS } from './frame';
import { groupSum, KEY_BYTES } from './sum';

const SLOTS_MIN: u32 = 256;

/** Addresses of the shapes from number `firstNumber` on. */
let shapes: usize = 0;
let shapesRoom: u32 = 0;
let shapeCount: u32 = 0;
let firstNumber: u32 = 1;
/** Numbers by hash; 0: free. */
let slots: usize = 0;
let mask: u32 = 0;

@inline
function wordsBytes(columns: u32): u32 {
  return (GROUP_WORDS + columns * COLUMN_WORDS) << 2;
}

/** Address of the columns' keys. */
export function shapeKeys(shape: usize): usize {
  return shape + ((wordsBytes(load<u32>(shape, 28)) + 15) & ~15);
}

@inline
function shapeAt(number: u32): usize {
  return <usize>load<u32>(shapes + (<usize>(number - firstNumber) << 2));
}

/** The number of the group's shape, also put into its words; 0: it has not been met. */
export function shapeFind(frame: usize, group: usize): u32 {
  const noted = load<u32>(group, 72);
  if (noted >= firstNumber) return noted;
  if (shapeCount === 0) return 0;
  for (let slot = <u32>load<u64>(group, 64) & mask; ; slot = (slot + 1) & mask) {
    const number = load<u32>(slots + (slot << 2));
    if (number === 0) return 0;
    const shape = shapeAt(number);
    if (!sameShape(shape, shape, frame, group)) continue;
    store<u32>(group, number, 72);
    return number;
  }
}

/** Adds the group's shape, which has not been met; returns its address. `shapeFind` tells its number. */
export function shapeAdd(frame: usize, group: usize): usize {
  if ((shapeCount + 1) * 2 > mask) growSlots();
  if (shapeCount === shapesRoom) {
    shapesRoom = max<u32>(64, shapesRoom * 2);
    shapes = shapes === 0 ? heap.alloc(shapesRoom << 2) : heap.realloc(shapes, shapesRoom << 2);
  }
  const shape = shapeMake(frame, group);
  store<u32>(shapes + (shapeCount << 2), <u32>shape);
  putSlot(shape, firstNumber + shapeCount);
  shapeCount++;
  return shape;
}

/** Forgets all shapes. */
export function shapesForget(): void {
  for (let i: u32 = 0; i < shapeCount; i++) heap.free(load<u32>(shapes + (i << 2)));
  firstNumber += shapeCount;
  shapeCount = 0;
  if (slots !== 0) memory.fill(slots, 0, <usize>(mask + 1) << 2);
}

function putSlot(shape: usize, number: u32): void {
  let slot = <u32>load<u64>(shape, 64) & mask;
  while (load<u32>(slots + (slot << 2)) !== 0) slot = (slot + 1) & mask;
  store<u32>(slots + (slot << 2), number);
}

function growSlots(): void {
  if (slots !== 0) heap.free(slots);
  const count = slots === 0 ? SLOTS_MIN : (mask + 1) * 2;
  slots = heap.alloc(count << 2);
  memory.fill(slots, 0, count << 2);
  mask = count - 1;
  for (let i: u32 = 0; i < shapeCount; i++) putSlot(<usize>load<u32>(shapes + (i << 2)), firstNumber + i);
}

/**
 * Adds the cells of a frame's groups to the two 64-bit sums at `sums`, from the group at `from` (0: the first) on. Stops at
 * the first group whose shape has not been met and returns its address, or 0 at the end.
 */
export function frameSum(index: usize, from: usize, sums: usize): usize {
  const frame = <usize>load<u32>(index);
  const groups = load<u32>(index, 16);
  let group = index + (HEAD_WORDS << 2);
  for (let i: u32 = 0; i < groups; i++) {
    if (group >= from) {
      const number = shapeFind(frame, group);
      if (number === 0) return group;
      groupSum(index, group, shapeKeys(shapeAt(number)), sums);
    }
    group += wordsBytes(load<u32>(group, 28));
  }
  return 0;
}

function shapeMake(frame: usize, group: usize): usize {
  const columns = load<u32>(group, 28);
  let text = load<u32>(group, 4);
  for (let i: u32 = 0; i < columns; i++) text += load<u32>(columnAt(group, i), 4);
  const words = wordsBytes(columns);
  const names = ((words + 15) & ~15) + columns * <u32>KEY_BYTES;
  const shape = heap.alloc(names + text);
  memory.copy(shape, group, words);
  let at = copyText(frame, group, shape, shape, names);
  for (let i: u32 = 0; i < columns; i++) at = copyText(frame, columnAt(group, i), shape, columnAt(shape, i), at);
  return shape;
}

@inline
function columnAt(group: usize, i: u32): usize {
  return group + ((GROUP_WORDS + i * COLUMN_WORDS) << 2);
}

function copyText(frame: usize, from: usize, shape: usize, to: usize, at: u32): u32 {
  const length = load<u32>(from, 4);
  memory.copy(shape + at, frame + load<u32>(from), length);
  store<u32>(to, at);
  return at + length;
}

/** Whether the groups (addresses in an index, of frames at the given addresses) have the same names and types. */
function sameShape(frameA: usize, a: usize, frameB: usize, b: usize): bool {
  if (load<u64>(a, 64) !== load<u64>(b, 64) || load<u32>(a, 28) !== load<u32>(b, 28)) return false;
  if (!sameText(frameA, a, frameB, b)) return false;
  const columns = load<u32>(a, 28);
  for (let i: u32 = 0; i < columns; i++) {
    const x = a + ((GROUP_WORDS + i * COLUMN_WORDS) << 2);
    const y = b + ((GROUP_WORDS + i * COLUMN_WORDS) << 2);
    if (load<u8>(x, 8) !== load<u8>(y, 8) || !sameText(frameA, x, frameB, y)) return false;
  }
  return true;
}

function sameText(frameA: usize, a: usize, frameB: usize, b: usize): bool {
  const length = load<u32>(a, 4);
  if (length !== load<u32>(b, 4)) return false;
  return memory.compare(frameA + load<u32>(a), frameB + load<u32>(b), length) === 0;
}
