/**
 * Distinct texts and their codes, in the order in which they were first met.
 *
 * By offset:
 *    0 count u32     4 starts address (u32 each: text i is arena bytes starts[i] .. starts[i + 1] - 1)   8 their capacity
 *   12 arena address    16 arena capacity    20 slots address    24 slots capacity u32 (a power of two)
 *   28 bits of a code u32
 * Slots as in hash-ids.ts: a code, and in the bits that codes do not need, bits of the text's hash.
 */
import { UNKNOWN_ID } from './hash-ids';
import { equalText, grown, hashText } from './text';

const DICTIONARY_BYTES: u32 = 32;
const FREE: u32 = 0xffffffff;
const TEXTS_MIN: u32 = 4;
const ARENA_MIN: u32 = 32;
const SLOTS_MIN: u32 = 8;

export function dictionaryNew(): usize {
  const dictionary = heap.alloc(DICTIONARY_BYTES);
  store<u32>(dictionary, 0);
  store<u32>(dictionary, <u32>heap.alloc((TEXTS_MIN + 1) * 4), 4);
  store<u32>(dictionary, TEXTS_MIN, 8);
  store<u32>(load<u32>(dictionary, 4), 0);
  store<u32>(dictionary, <u32>heap.alloc(ARENA_MIN), 12);
  store<u32>(dictionary, ARENA_MIN, 16);
  newSlots(dictionary, SLOTS_MIN);
  return dictionary;
}

export function dictionaryFree(dictionary: usize): void {
  heap.free(load<u32>(dictionary, 4));
  heap.free(load<u32>(dictionary, 12));
  heap.free(load<u32>(dictionary, 20));
  heap.free(dictionary);
}

export function dictionaryBytes(dictionary: usize): u32 {
  const starts = (load<u32>(dictionary, 8) + 1) * 4;
  return DICTIONARY_BYTES + starts + load<u32>(dictionary, 16) + load<u32>(dictionary, 24) * 4;
}

@inline
export function dictionaryCount(dictionary: usize): u32 {
  return load<u32>(dictionary);
}

@inline
export function textAddress(dictionary: usize, code: u32): usize {
  return <usize>load<u32>(dictionary, 12) + load<u32>(<usize>load<u32>(dictionary, 4) + (code << 2));
}

@inline
export function textLength(dictionary: usize, code: u32): u32 {
  const starts = <usize>load<u32>(dictionary, 4) + (code << 2);
  return load<u32>(starts, 4) - load<u32>(starts);
}

@inline
export function isText(dictionary: usize, code: u32, text: usize, length: u32): bool {
  return equalText(textAddress(dictionary, code), textLength(dictionary, code), text, length);
}

/** The code of a text, or UNKNOWN_ID. */
export function dictionaryFind(dictionary: usize, text: usize, length: u32, seed: u64): u32 {
  return find(dictionary, text, length, hashText(text, length, seed));
}

/** The code of a text, which is added when it is new. */
export function dictionaryIntern(dictionary: usize, text: usize, length: u32, seed: u64): u32 {
  const hash = hashText(text, length, seed);
  const known = find(dictionary, text, length, hash);
  if (known != UNKNOWN_ID) return known;
  const code = dictionaryCount(dictionary);
  append(dictionary, code, text, length);
  const capacity = load<u32>(dictionary, 24);
  if ((code + 1) * 4 > capacity * 3) growSlots(dictionary, capacity * 2, seed);
  else insert(dictionary, hash, code);
  return code;
}

@inline
function find(dictionary: usize, text: usize, length: u32, hash: u64): u32 {
  const slots: usize = load<u32>(dictionary, 20);
  const mask = load<u32>(dictionary, 24) - 1;
  const codeBits = load<u32>(dictionary, 28);
  const codes: u32 = (1 << codeBits) - 1;
  const mark = markOf(hash, codeBits);
  let slot = <u32>hash & mask;
  let entry = load<u32>(slots + (slot << 2));
  while (entry != FREE) {
    if ((entry & ~codes) == mark && isText(dictionary, entry & codes, text, length)) return entry & codes;
    slot = (slot + 1) & mask;
    entry = load<u32>(slots + (slot << 2));
  }
  return UNKNOWN_ID;
}

@inline
function markOf(hash: u64, codeBits: u32): u32 {
  return (<u32>(hash >> 32) >> codeBits) << codeBits;
}

function insert(dictionary: usize, hash: u64, code: u32): void {
  const slots: usize = load<u32>(dictionary, 20);
  const mask = load<u32>(dictionary, 24) - 1;
  let slot = <u32>hash & mask;
  while (load<u32>(slots + (slot << 2)) != FREE) slot = (slot + 1) & mask;
  store<u32>(slots + (slot << 2), markOf(hash, load<u32>(dictionary, 28)) | code);
}

function append(dictionary: usize, code: u32, text: usize, length: u32): void {
  const capacity = load<u32>(dictionary, 8);
  if (code == capacity) {
    const texts = grown(capacity, capacity + 1);
    store<u32>(dictionary, <u32>heap.realloc(load<u32>(dictionary, 4), (texts + 1) * 4), 4);
    store<u32>(dictionary, texts, 8);
  }
  const starts: usize = load<u32>(dictionary, 4);
  const start = load<u32>(starts + (code << 2));
  const arenaCapacity = load<u32>(dictionary, 16);
  if (start + length > arenaCapacity) {
    const bytes = grown(arenaCapacity, start + length);
    store<u32>(dictionary, <u32>heap.realloc(load<u32>(dictionary, 12), bytes), 12);
    store<u32>(dictionary, bytes, 16);
  }
  memory.copy(<usize>load<u32>(dictionary, 12) + start, text, length);
  store<u32>(starts + ((code + 1) << 2), start + length);
  store<u32>(dictionary, code + 1);
}

function newSlots(dictionary: usize, capacity: u32): void {
  const slots = heap.alloc(capacity * 4);
  memory.fill(slots, 0xff, capacity * 4);
  store<u32>(dictionary, <u32>slots, 20);
  store<u32>(dictionary, capacity, 24);
  store<u32>(dictionary, ctz(capacity), 28);
}

function growSlots(dictionary: usize, capacity: u32, seed: u64): void {
  heap.free(load<u32>(dictionary, 20));
  newSlots(dictionary, capacity);
  const total = dictionaryCount(dictionary);
  for (let code: u32 = 0; code < total; code++) {
    insert(dictionary, hashText(textAddress(dictionary, code), textLength(dictionary, code), seed), code);
  }
}
