/**
 * The tags of a measurement's series, a column for each tag key: per member (series of the measurement, in the order of
 * arrival) the code of its value plus one, or 0 where it does not have the tag.
 *
 * A column is cut into blocks of 512 members; a block of which no member has the tag is not there, so that rare tags
 * cost little, and each has the width (1, 2 or 4 bytes) that its own codes need. Codes are given in the order of
 * arrival: the values of a tag with many of them stand in few blocks each, and the least and greatest code that a block
 * notes let a search pass over nearly all others. That does the work of postings in a fraction of their memory.
 *
 * Column, by offset: 0 tag key u32    4 blocks address    8 blocks capacity u32    12 code plus one that was set last
 * Block: 0 least code u32 (of those that are there)    4 greatest u32    16 codes
 * The low bits of a block's address are the logarithm of its width.
 */
import { grown } from './text';

export const COLUMN_BYTES: u32 = 16;
export const BLOCK_MEMBER_SHIFT: u32 = 9;
export const BLOCK_MEMBERS: u32 = 1 << BLOCK_MEMBER_SHIFT;
const BLOCK_HEAD_BYTES: u32 = 16;
const WIDTH_MASK: u32 = 3;

export function columnInit(column: usize, key: u32): void {
  store<u32>(column, key);
  store<u32>(column, 0, 4);
  store<u32>(column, 0, 8);
  store<u32>(column, 0, 12);
}

export function columnFree(column: usize): void {
  const blocks: usize = load<u32>(column, 4);
  if (blocks == 0) return;
  const capacity = load<u32>(column, 8);
  for (let i: u32 = 0; i < capacity; i++) {
    const block = load<u32>(blocks + (i << 2));
    if (block != 0) heap.free(block & ~WIDTH_MASK);
  }
  heap.free(blocks);
}

export function columnBytes(column: usize): u32 {
  const blocks: usize = load<u32>(column, 4);
  const capacity = load<u32>(column, 8);
  let bytes = capacity * 4;
  for (let i: u32 = 0; i < capacity; i++) {
    const block = load<u32>(blocks + (i << 2));
    if (block != 0) bytes += BLOCK_HEAD_BYTES + (BLOCK_MEMBERS << (block & WIDTH_MASK));
  }
  return bytes;
}

/** 0: no member of the block has the tag. */
@inline
export function blockOf(column: usize, index: u32): u32 {
  return index < load<u32>(column, 8) ? load<u32>(<usize>load<u32>(column, 4) + (index << 2)) : 0;
}

@inline
export function blockWidth(block: u32): u32 {
  return block & WIDTH_MASK;
}

@inline
export function blockCodes(block: u32): usize {
  return (block & ~WIDTH_MASK) + BLOCK_HEAD_BYTES;
}

@inline
export function blockLeast(block: u32): u32 {
  return load<u32>(block & ~WIDTH_MASK);
}

@inline
export function blockGreatest(block: u32): u32 {
  return load<u32>(block & ~WIDTH_MASK, 4);
}

@inline
export function readCode(codes: usize, width: u32, place: u32): u32 {
  if (width == 0) return load<u8>(codes + place);
  if (width == 1) return load<u16>(codes + (place << 1));
  return load<u32>(codes + (place << 2));
}

@inline
export function codeAt(column: usize, member: u32): u32 {
  const block = blockOf(column, member >> BLOCK_MEMBER_SHIFT);
  return block == 0 ? 0 : readCode(blockCodes(block), blockWidth(block), member & (BLOCK_MEMBERS - 1));
}

/** `code` is above 0; the member had none. */
export function setCode(column: usize, member: u32, code: u32): void {
  const index = member >> BLOCK_MEMBER_SHIFT;
  const slot = slotOf(column, index);
  let block = load<u32>(slot);
  const width: u32 = code < 256 ? 0 : code < 65_536 ? 1 : 2;
  if (block == 0) {
    block = newBlock(width);
    store<u32>(slot, block);
  } else if (width > blockWidth(block)) {
    block = widened(block, width);
    store<u32>(slot, block);
  }
  const head: usize = block & ~WIDTH_MASK;
  store<u32>(head, min(load<u32>(head), code));
  store<u32>(head, max(load<u32>(head, 4), code), 4);
  writeCode(head + BLOCK_HEAD_BYTES, blockWidth(block), member & (BLOCK_MEMBERS - 1), code);
  store<u32>(column, code, 12);
}

/** The member gets the code that was set last, which is that of the member before it; it had none. */
export function repeatCode(column: usize, member: u32): void {
  const place = member & (BLOCK_MEMBERS - 1);
  if (place == 0) {
    setCode(column, member, load<u32>(column, 12));
    return;
  }
  const block = load<u32>(<usize>load<u32>(column, 4) + ((member >> BLOCK_MEMBER_SHIFT) << 2));
  writeCode(blockCodes(block), blockWidth(block), place, load<u32>(column, 12));
}

@inline
function writeCode(codes: usize, width: u32, place: u32, code: u32): void {
  if (width == 0) store<u8>(codes + place, <u8>code);
  else if (width == 1) store<u16>(codes + (place << 1), <u16>code);
  else store<u32>(codes + (place << 2), code);
}

function slotOf(column: usize, index: u32): usize {
  const capacity = load<u32>(column, 8);
  if (index >= capacity) {
    const more = grown(capacity, index + 1);
    const blocks = capacity == 0 ? heap.alloc(more * 4) : heap.realloc(load<u32>(column, 4), more * 4);
    memory.fill(blocks + capacity * 4, 0, (more - capacity) * 4);
    store<u32>(column, <u32>blocks, 4);
    store<u32>(column, more, 8);
  }
  return <usize>load<u32>(column, 4) + (index << 2);
}

function newBlock(width: u32): u32 {
  const bytes = BLOCK_HEAD_BYTES + (BLOCK_MEMBERS << width);
  const block = heap.alloc(bytes);
  memory.fill(block, 0, bytes);
  store<u32>(block, 0xffffffff);
  return <u32>block | width;
}

function widened(block: u32, width: u32): u32 {
  const wide = newBlock(width);
  const from = blockCodes(block);
  for (let i: u32 = 0; i < BLOCK_MEMBERS; i++) writeCode(blockCodes(wide), width, i, readCode(from, blockWidth(block), i));
  const head: usize = block & ~WIDTH_MASK;
  store<u64>(wide & ~WIDTH_MASK, load<u64>(head));
  heap.free(head);
  return wide;
}
