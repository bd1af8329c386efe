/**
 * Shapes: what groups of frames have in common, the measurement with its fields and types, kept once.
 *
 * Agents send the same fields again and again; whoever has met a shape need not look at its names. A shape is a copy of
 * a group's words in an index (frame.ts) with offsets into itself, then the key of each column for content
 * sums, which its owner fills in, then the names.
 */
import { COLUMN_WORDS, GROUP_WORDS } from './frame';
import { KEY_BYTES } from './sum';

@inline
function wordsBytes(columns: u32): u32 {
  return (GROUP_WORDS + columns * COLUMN_WORDS) << 2;
}

/** Address of the columns' keys. */
export function shapeKeys(shape: usize): usize {
  return shape + ((wordsBytes(load<u32>(shape, 28)) + 15) & ~15);
}

export function shapeMake(frame: usize, group: usize): usize {
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
export function sameShape(frameA: usize, a: usize, frameB: usize, b: usize): bool {
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
