/**
 * Tags of a key without escapes, in byte order of their names, and the key that has them in this order: the canonical one.
 *
 * Keys that follow each other mostly have the same tags, and begin with the same bytes: what a key shares with the one
 * before is not read again, and where the names are those of the one before, so is their order.
 */
import { commonLength, compareBytes, copyVectors, same } from './bytes';

/** Of one key; more are left to the careful parser. */
const TAGS_MAX: u32 = 128;
/** Per tag, as they came: where it begins in the key, length of its name, length of name, `=` and value. */
const TAG_BYTES: usize = 12;
const tags: usize = memory.data(128 * 12, 8);
/** Per place in the order of names: which tag stands there. */
const order: usize = memory.data(128 * 4, 8);

const COMMA: u32 = 44;
const EQUALS: u32 = 61;
const BACKSLASH: u32 = 92;

export let nameLength: usize = 0;
export let timeTag: bool = false;
/** The tags came in order. */
export let tagsSorted: bool = false;
/** No byte is above 0x7f, of those that the key before did not have. */
export let tagsAscii: bool = false;
let count: u32 = 0;
let keyLength: usize = 0;
let scratch: usize = 0;
let scratchRoom: usize = 0;

/** Where the key stands whose tags were read last, and so are known; 0: nowhere any more. */
let before: usize = 0;
let beforeCount: u32 = 0;
/** As far as it was read, the open key has the names of the one before. */
let namesAsBefore: bool = false;

/** The key that was read last, which is well-formed UTF-8, stands there until `forgetTags`. */
export function tagsStandAt(at: usize): void {
  before = at;
}

/** Other bytes stand where the last key may stand. */
export function forgetTags(): void {
  before = 0;
}

/**
 * False when there is a backslash, a tag without name or value, a tag twice, or too many of them. Sixteen bytes at a
 * time; what stands behind the end, up to 15 bytes, is read and ignored.
 */
export function readTags(at: usize, length: usize): bool {
  const known = before;
  before = 0;
  beforeCount = count;
  namesAsBefore = known != 0;
  count = 0;
  tagsAscii = true;
  const end = at + length;
  // Where name and value of the open tag begin; 0: not yet.
  let tag: usize = 0;
  let value: usize = 0;
  if (known != 0) {
    const common = commonLength(known, at, min(keyLength, length));
    if (nameLength < common) {
      tag = at + nameLength + 1;
      for (; count < beforeCount; count++) {
        const behind = tagEnd(count);
        if (behind >= common) break;
        tag = at + behind + 1;
      }
    }
  }
  keyLength = length;
  if (tag == 0) nameLength = length;
  const commas = i8x16.splat(<i8>COMMA);
  const equals = i8x16.splat(<i8>EQUALS);
  const backslashes = i8x16.splat(<i8>BACKSLASH);
  for (let from = max(at, tag); from < end; from += 16) {
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
      else if (value == 0 || !putTag(at, known, tag, value, separator)) return false;
      tag = separator + 1;
      value = 0;
    }
  }
  if (tag != 0 && (value == 0 || !putTag(at, known, tag, value, end))) return false;
  return (namesAsBefore && count == beforeCount) || arrange(at);
}

@inline
function tagEnd(index: u32): usize {
  const record = tags + <usize>index * TAG_BYTES;
  return <usize>load<u32>(record) + <usize>load<u32>(record, 8);
}

/** Behind the others. `known`: where the key before stands. */
function putTag(at: usize, known: usize, tag: usize, value: usize, end: usize): bool {
  if (end == value || count == TAGS_MAX) return false;
  const length = value - 1 - tag;
  const record = tags + <usize>count * TAG_BYTES;
  if (namesAsBefore) {
    if (count >= beforeCount || <usize>load<u32>(record, 4) != length) namesAsBefore = false;
    else namesAsBefore = same(known + <usize>load<u32>(record), tag, length);
  }
  store<u32>(record, <u32>(tag - at));
  store<u32>(record, <u32>length, 4);
  store<u32>(record, <u32>(end - tag), 8);
  count++;
  return true;
}

/** Finds the order of the tags: mostly they come in it. False when one is there twice. */
function arrange(at: usize): bool {
  timeTag = false;
  tagsSorted = true;
  for (let i: u32 = 0; i < count; i++) {
    const record = tags + <usize>i * TAG_BYTES;
    const name = at + <usize>load<u32>(record);
    const length = <usize>load<u32>(record, 4);
    // 'time', little-endian
    if (length == 4 && load<u32>(name) == 0x656d6974) timeTag = true;
    let place = i;
    while (place > 0) {
      const index = load<u32>(order + (<usize>(place - 1) << 2));
      const other = tags + <usize>index * TAG_BYTES;
      const compared = compareBytes(at + <usize>load<u32>(other), <usize>load<u32>(other, 4), name, length);
      if (compared == 0) return false;
      if (compared < 0) break;
      tagsSorted = false;
      store<u32>(order + (<usize>place << 2), index);
      place--;
    }
    store<u32>(order + (<usize>place << 2), i);
  }
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
  putSorted(at, scratch);
  return scratch;
}

/** Writes that key to `into`, and up to 15 bytes more. */
export function putSorted(at: usize, into: usize): void {
  copyVectors(into, at, nameLength);
  let to = into + nameLength;
  for (let k: u32 = 0; k < count; k++) {
    const record = tags + <usize>load<u32>(order + (<usize>k << 2)) * TAG_BYTES;
    const length = <usize>load<u32>(record, 8);
    store<u8>(to++, <u8>COMMA);
    copyVectors(to, at + <usize>load<u32>(record), length);
    to += length;
  }
}
