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
/** No byte is above 0x7f. */
export let tagsAscii: bool = false;
let count: u32 = 0;
let scratch: usize = 0;
let scratchRoom: usize = 0;

/**
 * False when there is a backslash, a tag without name or value, a tag twice, or too many of them. Sixteen bytes at a
 * time; what stands behind the end, up to 15 bytes, is read and ignored.
 */
export function readTags(at: usize, length: usize): bool {
  const commas = i8x16.splat(<i8>COMMA);
  const equals = i8x16.splat(<i8>EQUALS);
  const backslashes = i8x16.splat(<i8>BACKSLASH);
  const end = at + length;
  nameLength = length;
  timeTag = false;
  tagsSorted = true;
  tagsAscii = true;
  count = 0;
  // Where name and value of the open tag begin; 0: not yet.
  let tag: usize = 0;
  let value: usize = 0;
  for (let from = at; from < end; from += 16) {
    const bytes = v128.load(from);
    const inside: u32 = end - from >= 16 ? 0xffff : (<u32>1 << <u32>(end - from)) - 1;
    const isEqual = i8x16.eq(bytes, equals);
    if ((<u32>i8x16.bitmask(i8x16.eq(bytes, backslashes)) & inside) != 0) return false;
    if ((<u32>i8x16.bitmask(bytes) & inside) != 0) tagsAscii = false;
    const signs = <u32>i8x16.bitmask(isEqual);
    let found = (<u32>i8x16.bitmask(i8x16.eq(bytes, commas)) | signs) & inside;
    while (found != 0) {
      const place = ctz(found);
      const separator = from + <usize>place;
      found &= found - 1;
      if (((signs >> place) & 1) != 0) {
        if (tag == 0) continue; // of the measurement's name
        if (value != 0 || separator == tag) return false;
        value = separator + 1;
        continue;
      }
      if (tag == 0) nameLength = separator - at;
      else if (value == 0 || !putTag(tag, value, separator)) return false;
      tag = separator + 1;
      value = 0;
    }
  }
  return tag == 0 || (value != 0 && putTag(tag, value, end));
}

/** Sorts the tag in: mostly it comes in order. */
function putTag(tag: usize, value: usize, end: usize): bool {
  if (end == value || count == TAGS_MAX) return false;
  const tagLength = value - 1 - tag;
  // 'time', little-endian
  if (tagLength == 4 && load<u32>(tag) == 0x656d6974) timeTag = true;
  let place = count++;
  while (place > 0) {
    const before = tags + <usize>(place - 1) * TAG_BYTES;
    const other = <usize>load<u32>(before);
    if (<u32>load<u8>(other) < <u32>load<u8>(tag)) break;
    const order = compareBytes(other, <usize>load<u32>(before, 4), tag, tagLength);
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
  store<u32>(record, <u32>(end - tag), 8);
  return true;
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
