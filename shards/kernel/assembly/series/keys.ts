/**
 * Series keys (series-key.ts says what they look like): taken apart into the columns of the table, put together again.
 *
 * Most keys have no escapes: their separators are found 16 bytes at a time. Others are read byte by byte, and put
 * together again for comparison; a key of which that gives other bytes is kept as it came.
 */
import { codeAt, repeatCode, setCode } from './columns';
import { dictionaryIntern, isText, textAddress, textLength } from './dictionary';
import { keyAt, keyAtBefore, keyFirst, keyLast, keyLength, setKey } from './packed-keys';
import {
  columnAt,
  columnFor,
  columnPlace,
  guessColumn,
  internSeries,
  keepKey,
  keptKey,
  measurementAt,
  measurementOf,
  memberOf,
  orderedColumn,
  placeSeries,
  seriesCount,
  valuesOf,
} from './table';
import { compareText, equalText } from './text';

const COMMA: u8 = 44;
const EQUALS: u8 = 61;
const SPACE: u8 = 32;
const BACKSLASH: u8 = 92;
export const NOT_FLAT: i32 = -1;

/** Parts of the open key: (offset from `base`, length) of the measurement, then of each tag's key and value. */
let parts: usize = 0;
let partsCapacity: u32 = 0;
let base: usize = 0;
/** Per tag of that key: place of its column, and the guess of the next one's place in order (u32 each). */
let places: usize = 0;
/** Unescaped parts, and a key put together again. */
let scratch: usize = 0;
let scratchCapacity: u32 = 0;

/**
 * Whether the key before the open one (packed-keys.ts) was open, too, and as most are: series come to a shard in the order
 * in which an agent names them, so most of a key is what stood in the one before. What both begin and end with is neither
 * split nor looked up again.
 */
let hasBefore: bool = false;
let lengthBefore: u32 = 0;
let partsBefore: u32 = 0;
/** So many parts of the open key are those of the one before; and those from there on, at the same places. */
export let sharedParts: u32 = 0;
export let sharedFrom: u32 = 0;
/** Those of the one before that are between them, at their places, up to `sharedFrom`. */
let former: usize = 0;

@inline
function setPart(index: u32, offset: u32, length: u32): void {
  store<u32>(parts + (index << 3), offset);
  store<u32>(parts + (index << 3), length, 4);
}

@inline
export function partAddress(index: u32): usize {
  return base + partOffset(index);
}

@inline
function partOffset(index: u32): u32 {
  return load<u32>(parts + (index << 3));
}

@inline
export function partLength(index: u32): u32 {
  return load<u32>(parts + (index << 3), 4);
}

/** The key before has the same part there, which is none of those that are shared anyway. */
@inline
export function isFormer(index: u32): bool {
  const part = former + (index << 3);
  if (index >= sharedFrom) return index < partsBefore;
  return equalText(keyAtBefore + load<u32>(part), load<u32>(part, 4), partAddress(index), partLength(index));
}

@inline
function setPlace(tag: u32, place: u32, guess: u32): void {
  store<u32>(places + (tag << 3), place);
  store<u32>(places + (tag << 3), guess, 4);
}

@inline
function placeOf(tag: u32): u32 {
  return load<u32>(places + (tag << 3));
}

@inline
function guessBehind(tag: u32): u32 {
  return load<u32>(places + (tag << 3), 4);
}

function reserveScratch(length: u32): void {
  // A part ends at a separator, so a key has no more parts than bytes and one; escapes at most double it.
  if (length + 2 > partsCapacity) {
    partsCapacity = (length + 2) * 2;
    if (parts != 0) heap.free(parts);
    parts = heap.alloc(partsCapacity * 8);
    if (former != 0) heap.free(former);
    former = heap.alloc(partsCapacity * 8);
    if (places != 0) heap.free(places);
    places = heap.alloc(partsCapacity * 4);
    forgetKey();
  }
  if (length * 2 + 16 > scratchCapacity) {
    scratchCapacity = length * 4 + 16;
    if (scratch != 0) heap.free(scratch);
    scratch = heap.alloc(scratchCapacity);
  }
}

/** The id of a series, which is added when it is new. */
export function seriesAdd(table: usize, hash: usize, text: usize, length: u32): u32 {
  setKey(text, length);
  forgetKey();
  const id = addKey(table, hash);
  forgetKey();
  return id;
}

/** The next key is taken as if there were none before it: it was not open, or not in this table. */
export function forgetKey(): void {
  hasBefore = false;
}

/** The id of the series of that hash, which is added with the key that was put together last when it is new. */
export function addKey(table: usize, hash: usize): u32 {
  const known = seriesCount(table);
  const id = internSeries(table, hash);
  if (id < known) {
    forgetKey();
    return id;
  }
  let count = openKey();
  const flat = count != NOT_FLAT;
  if (!flat) count = splitEscaped(keyAt, keyLength);
  placeSeries(table, id, partAddress(0), partLength(0), sharedParts > 0);
  const regular = addTags(table, id, <u32>count);
  if (!regular || (!flat && !isFormatted(table, id, keyAt, keyLength))) keepKey(table, id, keyAt, keyLength);
  if (regular && flat) rememberKey(<u32>count);
  return id;
}

/**
 * Splits the key that was put together last, when it is as most are, and returns how many tags it has, or NOT_FLAT: it has
 * escapes or unusual bytes.
 */
export function openKey(): i32 {
  reserveScratch(keyLength);
  base = keyAt;
  sharedParts = 0;
  sharedFrom = 0;
  if (!hasBefore) return splitFlat(0, 0);
  hasBefore = false;
  // Parts of the key before that end, with the separators behind them, within what both begin with; behind the first of the
  // others those that begin, with the separators before them, within what both end with.
  let head = partsBefore - 1;
  while (partOffset(head) > keyFirst) head--;
  let rest = partsBefore;
  while (rest > head + 1 && partOffset(rest - 1) > lengthBefore - keyLast) rest--;
  for (let i = head; i < partsBefore; i++) store<u64>(former + (i << 3), load<u64>(parts + (i << 3)));
  const start = partOffset(head);
  let count = NOT_FLAT;
  if (rest < partsBefore) {
    const moved = keyLength - lengthBefore;
    if (splitRange(head, start, partOffset(rest) + moved - 1) == <i32>rest) {
      if (moved != 0) for (let i = rest; i < partsBefore; i++) store<u32>(parts + (i << 3), partOffset(i) + moved);
      count = <i32>(partsBefore >> 1);
    } else rest = partsBefore;
  }
  if (count == NOT_FLAT) count = splitFlat(head, start);
  if (count == NOT_FLAT) return NOT_FLAT;
  sharedParts = head;
  sharedFrom = rest;
  return count;
}

/** The open key, of so many tags, is the one before the next that is put together. */
@inline
export function rememberKey(tags: u32): void {
  hasBefore = true;
  lengthBefore = keyLength;
  partsBefore = 1 + tags * 2;
}

/** Splits the key from the part on that begins at `start`; how many tags it has, or NOT_FLAT. */
function splitFlat(part: u32, start: u32): i32 {
  const count = splitRange(part, start, keyLength);
  return (count & 1) == 1 && count > 0 ? count >> 1 : NOT_FLAT;
}

/**
 * Splits the bytes of the key from `start` to `stop` into parts from that one on; returns the number of parts up to there, or
 * NOT_FLAT. Reads up to 15 bytes further.
 */
function splitRange(first: u32, start: u32, stop: u32): i32 {
  let part = first;
  let begin = start;
  for (let at = start; at < stop; at += 16) {
    const inside: u32 = stop - at >= 16 ? 0xffff : (1 << (stop - at)) - 1;
    const bytes = v128.load(keyAt + at);
    const odd = v128.or(i8x16.eq(bytes, i8x16.splat(BACKSLASH)), i8x16.eq(bytes, i8x16.splat(SPACE)));
    if ((<u32>i8x16.bitmask(odd) & inside) != 0) return NOT_FLAT;
    const signs = v128.or(i8x16.eq(bytes, i8x16.splat(COMMA)), i8x16.eq(bytes, i8x16.splat(EQUALS)));
    let found = <u32>i8x16.bitmask(signs) & inside;
    while (found != 0) {
      const separator = at + ctz(found);
      found &= found - 1;
      // Part 0 (measurement) and values end at a comma, tag keys at an equals sign.
      if (load<u8>(keyAt + separator) != ((part & 1) == 1 ? EQUALS : COMMA)) return NOT_FLAT;
      setPart(part++, begin, separator - begin);
      begin = separator + 1;
    }
  }
  setPart(part, begin, stop - begin);
  return <i32>part + 1;
}

/** The same with escapes. */
function splitEscaped(key: usize, length: u32): i32 {
  base = scratch;
  let out: u32 = 0;
  let end = endOfToken(key, length, 0, COMMA);
  let part: u32 = 0;
  out = unescapePart(part++, key, 0, end, out, false);
  while (end < length) {
    const equals = endOfToken(key, length, end + 1, EQUALS);
    const stop = equals < length ? endOfToken(key, length, equals + 1, COMMA) : length;
    out = unescapePart(part++, key, end + 1, equals, out, true);
    out = unescapePart(part++, key, min(equals + 1, length), stop, out, true);
    end = stop;
  }
  return <i32>(part >> 1);
}

/** The first `stop` at or behind `start` that has no backslash before it, or the length. */
export function endOfToken(key: usize, length: u32, start: u32, stop: u8): u32 {
  for (let at = start; at < length; at++) {
    if (load<u8>(key + at) != stop) continue;
    if (at == start || load<u8>(key + at - 1) != BACKSLASH) return at;
  }
  return length;
}

function unescapePart(part: u32, key: usize, start: u32, end: u32, out: u32, tag: bool): u32 {
  const from = out;
  for (let at = start; at < end; at++) {
    let byte = load<u8>(key + at);
    if (byte == BACKSLASH && at + 1 < end) {
      const next = load<u8>(key + at + 1);
      if (next == COMMA || next == SPACE || (tag && next == EQUALS)) {
        byte = next;
        at++;
      }
    }
    store<u8>(scratch + out++, byte);
  }
  setPart(part, from, out - from);
  return out;
}

/** Sets the tags of the parts. False when they are not in order, or one is empty or there twice: the first one counts. */
function addTags(table: usize, id: u32, count: u32): bool {
  const measurement = measurementAt(table, measurementOf(table, id));
  const member = memberOf(table, id);
  const seed = load<u64>(table, 64);
  let regular = true;
  // The tags before are those of the first columns in order.
  let guess: u32 = 0;
  let tag: u32 = 0;
  // Tags of the key before: its columns, and the values that were set in them last.
  for (; tag * 2 + 2 < sharedParts; tag++) {
    guess = guessBehind(tag);
    repeatCode(columnAt(measurement, placeOf(tag)), member);
  }
  // As long as tag keys are its, too, they need not be looked for.
  let follows = sharedParts > 0;
  for (; tag < count; tag++) {
    const part: u32 = 1 + tag * 2;
    const key = partAddress(part);
    const keyLength = partLength(part);
    const value = partAddress(part + 1);
    const valueLength = partLength(part + 1);
    if (valueLength == 0) {
      regular = false;
      follows = false;
      continue;
    }
    follows = follows && (part < sharedParts || isFormer(part));
    let column: usize;
    if (follows) {
      column = columnAt(measurement, placeOf(tag));
      guess = guessBehind(tag);
      if (isFormer(part + 1)) {
        repeatCode(column, member);
        continue;
      }
    } else {
      column = guessColumn(table, measurement, key, keyLength, guess);
      if (column != 0) guess++;
      else {
        // Not the next column of those that are in order: is it in order at all?
        guess = 0xffffffff;
        if (tag > 0 && compareText(partAddress(part - 2), partLength(part - 2), key, keyLength) >= 0) regular = false;
        column = columnFor(table, measurement, key, keyLength);
      }
      setPlace(tag, columnPlace(measurement, column), guess);
    }
    const values = valuesOf(table, load<u32>(column));
    const last = load<u32>(column, 12);
    const same = !follows && last != 0 && isText(values, last - 1, value, valueLength);
    const code = same ? last : dictionaryIntern(values, value, valueLength, seed) + 1;
    if (!regular && codeAt(column, member) != 0) continue;
    setCode(column, member, code);
  }
  return regular;
}

function isFormatted(table: usize, id: u32, key: usize, length: u32): bool {
  const formatted = seriesKeyLength(table, id);
  if (formatted != length) return false;
  const copy = heap.alloc(length);
  writeTags(table, id, copy);
  const same = equalText(copy, length, key, length);
  heap.free(copy);
  return same;
}

/** Length of the key of an id that is there. */
export function seriesKeyLength(table: usize, id: u32): u32 {
  const kept = keptKey(table, id);
  if (kept != 0) return load<u32>(kept, 8);
  const names: usize = load<u32>(table, 4);
  const number = measurementOf(table, id);
  const measurement = measurementAt(table, number);
  const member = memberOf(table, id);
  const keys: usize = load<u32>(table, 8);
  let length = escapedLength(textAddress(names, number), textLength(names, number), false);
  const columns = load<u32>(measurement, 28);
  for (let i: u32 = 0; i < columns; i++) {
    const column = columnAt(measurement, i);
    const code = codeAt(column, member);
    if (code == 0) continue;
    const key = load<u32>(column);
    const values = valuesOf(table, key);
    length += 2 + escapedLength(textAddress(keys, key), textLength(keys, key), true);
    length += escapedLength(textAddress(values, code - 1), textLength(values, code - 1), true);
  }
  return length;
}

/** Writes the key of an id, `seriesKeyLength` bytes; returns their end. */
export function seriesKeyWrite(table: usize, id: u32, out: usize): usize {
  const kept = keptKey(table, id);
  if (kept == 0) return writeTags(table, id, out);
  const length = load<u32>(kept, 8);
  memory.copy(out, load<u32>(kept, 4), length);
  return out + length;
}

function writeTags(table: usize, id: u32, start: usize): usize {
  const names: usize = load<u32>(table, 4);
  const number = measurementOf(table, id);
  const measurement = measurementAt(table, number);
  const member = memberOf(table, id);
  const keys: usize = load<u32>(table, 8);
  let out = writeEscaped(start, textAddress(names, number), textLength(names, number), false);
  const columns = load<u32>(measurement, 28);
  for (let i: u32 = 0; i < columns; i++) {
    const column = orderedColumn(measurement, i);
    const code = codeAt(column, member);
    if (code == 0) continue;
    const key = load<u32>(column);
    const values = valuesOf(table, key);
    store<u8>(out, COMMA);
    out = writeEscaped(out + 1, textAddress(keys, key), textLength(keys, key), true);
    store<u8>(out, EQUALS);
    out = writeEscaped(out + 1, textAddress(values, code - 1), textLength(values, code - 1), true);
  }
  return out;
}

@inline
function isEscaped(byte: u8, tag: bool): bool {
  return byte == COMMA || byte == SPACE || (tag && byte == EQUALS);
}

function escapedLength(text: usize, length: u32, tag: bool): u32 {
  let escapes: u32 = 0;
  for (let i: u32 = 0; i < length; i++) if (isEscaped(load<u8>(text + i), tag)) escapes++;
  return length + escapes;
}

function writeEscaped(start: usize, text: usize, length: u32, tag: bool): usize {
  let out = start;
  for (let i: u32 = 0; i < length; i++) {
    const byte = load<u8>(text + i);
    if (isEscaped(byte, tag)) store<u8>(out++, BACKSLASH);
    store<u8>(out++, byte);
  }
  return out;
}

/** (tag key, code of the value) u32 each, of each tag of an id, in byte order of the keys; returns how many. */
export function seriesTags(table: usize, id: u32, out: usize): u32 {
  const measurement = measurementAt(table, measurementOf(table, id));
  const member = memberOf(table, id);
  const columns = load<u32>(measurement, 28);
  let count: u32 = 0;
  for (let i: u32 = 0; i < columns; i++) {
    const column = orderedColumn(measurement, i);
    const code = codeAt(column, member);
    if (code == 0) continue;
    store<u32>(out + (count << 3), load<u32>(column));
    store<u32>(out + (count << 3), code - 1, 4);
    count++;
  }
  return count;
}

/** 1 when the key of an id is kept as it came. */
export function seriesIsKept(table: usize, id: u32): u32 {
  return keptKey(table, id) == 0 ? 0 : 1;
}

/** Whether the key that was put together last is of the measurement of that name. */
export function isKeyOf(text: usize, textLength: u32): bool {
  reserveScratch(keyLength);
  forgetKey();
  base = scratch;
  unescapePart(0, keyAt, 0, endOfToken(keyAt, keyLength, 0, COMMA), 0, false);
  return equalText(partAddress(0), partLength(0), text, textLength);
}
