/**
 * Keys as they come with a batch, one after the other: each is what it shares with the one before, and what it has of its
 * own. Record: 16 bytes of hash, u16 + u16 how many bytes of its key are the beginning and the end of the one before,
 * u32 length of what stands between them, which follows. The first one shares nothing, so records may be put behind
 * others.
 *
 * A key is put together where the one before but one stood: the one before stays readable.
 */
import { copyVectors } from '../ingest/bytes';

export const PACKED_HEAD_BYTES: u32 = 24;
/** Copies go up to 15 bytes further, and who reads a key 16 at a time as well. */
const PAD_BYTES: u32 = 32;

let at: usize = 0;
let end: usize = 0;
let own: u32 = 0;
let lengthBefore: u32 = 0;

/** Of the record that was gone to last: where its hash stands, the length of its key, and what that shares. */
export let packedHash: usize = 0;
export let keyLength: u32 = 0;
export let keyFirst: u32 = 0;
export let keyLast: u32 = 0;
/** Where its key stands, once it was put together, until the next but one is. */
export let keyAt: usize = 0;
/** Where the one before stands, which was put together, too. */
export let keyAtBefore: usize = 0;
let room: u32 = 0;

export function beginPacked(records: usize, bytes: u32): void {
  at = records;
  end = records + bytes;
  keyLength = 0;
}

/** Goes to the next record. 1; 0: there is none; -1: the records do not fit their bytes. */
export function nextPacked(): i32 {
  if (at == end) return 0;
  const left = <u32>(end - at);
  if (left < PACKED_HEAD_BYTES) return -1;
  keyFirst = <u32>load<u16>(at, 16);
  keyLast = <u32>load<u16>(at, 18);
  own = load<u32>(at, 20);
  if (own > left - PACKED_HEAD_BYTES || keyFirst + keyLast > keyLength) return -1;
  packedHash = at;
  lengthBefore = keyLength;
  keyLength = keyFirst + own + keyLast;
  at += PACKED_HEAD_BYTES + own;
  return 1;
}

/** Puts the key together; those of all records before it have been. */
export function unfoldKey(): void {
  reserveKeys(keyLength);
  const into = keyAtBefore;
  keyAtBefore = keyAt;
  keyAt = into;
  copyVectors(keyAt, keyAtBefore, keyFirst);
  copyVectors(keyAt + keyFirst, packedHash + PACKED_HEAD_BYTES, own);
  copyVectors(keyAt + keyFirst + own, keyAtBefore + lengthBefore - keyLast, keyLast);
}

/** A key that did not come so, to be read as one that did. */
export function setKey(text: usize, length: u32): void {
  reserveKeys(length);
  memory.copy(keyAt, text, length);
  keyLength = length;
  keyFirst = 0;
  keyLast = 0;
}

function reserveKeys(length: u32): void {
  if (length + PAD_BYTES <= room) return;
  room = (length + PAD_BYTES) * 2;
  keyAt = moved(keyAt);
  keyAtBefore = moved(keyAtBefore);
}

function moved(text: usize): usize {
  return text == 0 ? heap.alloc(room) : heap.realloc(text, room);
}
