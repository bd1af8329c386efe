/**
 * Tags of a key without escapes, in byte order of their names, and the key that has them in this order: the canonical one.
 */
import { compareBytes } from './bytes';

/** Of one key; more are left to the careful parser. */
const TAGS_MAX: u32 = 128;
/** Per tag: address, length of its name, length of name, `=` and value. */
const TAG_BYTES: usize = 12;
/** One more than the most, since a tag is put behind the others before its place is found. */
const tags: usize = memory.data(129 * 12, 8);

const COMMA: u32 = 44;
const EQUALS: u32 = 61;
const BACKSLASH: u32 = 92;

export let nameLength: usize = 0;
export let timeTag: bool = false;
/** The tags came in order. */
export let tagsSorted: bool = false;
let count: u32 = 0;
let scratch: usize = 0;
let scratchRoom: usize = 0;

/** False when there is a backslash, a tag without name or value, a tag twice, or too many of them. */
export function readTags(at: usize, length: usize): bool {
  const end = at + length;
  let i = at;
  while (i < end) {
    const c = <u32>load<u8>(i);
    if (c == COMMA) break;
    if (c == BACKSLASH) return false;
    i++;
  }
  nameLength = i - at;
  timeTag = false;
  tagsSorted = true;
  count = 0;
  while (i < end) {
    const tag = ++i;
    while (i < end && <u32>load<u8>(i) != EQUALS) {
      const c = <u32>load<u8>(i);
      if (c == BACKSLASH || c == COMMA) return false;
      i++;
    }
    const tagLength = i - tag;
    if (i >= end || tagLength == 0 || count == TAGS_MAX) return false;
    const value = ++i;
    while (i < end && <u32>load<u8>(i) != COMMA) {
      const c = <u32>load<u8>(i);
      if (c == BACKSLASH || c == EQUALS) return false;
      i++;
    }
    if (i == value) return false;
    // 'time', little-endian
    if (tagLength == 4 && load<u32>(tag) == 0x656d6974) timeTag = true;
    // Sorted in as they come: mostly they are in order.
    let place = count++;
    while (place > 0) {
      const before = tags + <usize>(place - 1) * TAG_BYTES;
      const order = compareBytes(<usize>load<u32>(before), <usize>load<u32>(before, 4), tag, tagLength);
      if (order == 0) return false;
      if (order < 0) break;
      tagsSorted = false;
      store<u64>(before + TAG_BYTES, load<u64>(before));
      store<u32>(before + TAG_BYTES, load<u32>(before, 8), 8);
      place--;
    }
    const record = tags + <usize>place * TAG_BYTES;
    store<u32>(record, <u32>tag);
    store<u32>(record, <u32>tagLength, 4);
    store<u32>(record, <u32>(i - tag), 8);
  }
  // A comma at the very end leaves a tag to be missed.
  return <u32>load<u8>(end - 1) != COMMA;
}

/** The key that `readTags` has read, with its tags in order; it stands there until the next call. */
export function sortedKey(at: usize, length: usize): usize {
  if (length > scratchRoom) {
    if (scratch != 0) heap.free(scratch);
    scratchRoom = max<usize>(1024, length * 2);
    // Hashing may read behind the end.
    scratch = heap.alloc(scratchRoom + 32);
  }
  memory.copy(scratch, at, nameLength);
  let to = scratch + nameLength;
  for (let k: u32 = 0; k < count; k++) {
    const record = tags + <usize>k * TAG_BYTES;
    store<u8>(to++, <u8>COMMA);
    memory.copy(to, <usize>load<u32>(record), <usize>load<u32>(record, 8));
    to += <usize>load<u32>(record, 8);
  }
  return scratch;
}
