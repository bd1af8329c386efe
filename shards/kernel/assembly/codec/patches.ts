/**
 * Patches of a packed array (packed.ts): where its exceptions stand, and their upper parts (of tuples: whole numbers).
 *
 * Few: byte bits of a position, byte bits of an upper part, words positions, words upper parts.
 * Many (since format version 3): byte 0xff, packed gaps between the positions, packed upper parts. A gap takes the bits
 * that its surroundings ask for, where a position takes those of the whole array: of one number in fifty among 100,000
 * some 7 bits for 17.
 */
import { bitsOf, pack, unpack, wordsFor } from './bit-width';
import { fail, failed, UNKNOWN_FORM } from './failure';
import { readPacked, writePacked } from './packed';
import { readU8, takeWords } from './reader';
import { roomForWords, writeU8 } from './writer';

const GAPS: u32 = 0xff;
/** Fewer exceptions are not worth two arrays of their own. */
const GAPS_COUNT_MIN: u32 = 64;

/** Of `exceptions` among `count` numbers; positions ascend, and become gaps. */
export function writePatches(positions: usize, uppers: usize, exceptions: u32, count: u32, greatest: u32): void {
  if (gapsFit(exceptions, count)) {
    writeU8(GAPS);
    for (let i = exceptions - 1; i > 0; i--) {
      const at = positions + (<usize>i << 2);
      store<u32>(at, load<u32>(at) - load<u32>(at - 4) - 1);
    }
    writePacked(positions, exceptions);
    writePacked(uppers, exceptions);
    return;
  }
  const positionBits = bitsOf(count);
  const upperBits = bitsOf(greatest);
  writeU8(positionBits);
  writeU8(upperBits);
  const positionWords = roomForWords(wordsFor(exceptions, positionBits));
  if (positionWords != 0) pack(positions, exceptions, positionBits, positionWords);
  const upperWords = roomForWords(wordsFor(exceptions, upperBits));
  if (upperWords != 0) pack(uppers, exceptions, upperBits, upperWords);
}

/** Each array within an array is at most half as long, so that damaged bytes cannot nest them without end. */
@inline
function gapsFit(exceptions: u32, count: u32): bool {
  return exceptions >= GAPS_COUNT_MIN && exceptions <= count >>> 1;
}

/** The positions of `exceptions` patches among `count` numbers and their upper parts; room as for `readPacked`. */
export function readPatches(positions: usize, uppers: usize, exceptions: u32, count: u32): void {
  const positionBits = readU8();
  if (positionBits == GAPS) {
    if (!gapsFit(exceptions, count)) fail(UNKNOWN_FORM);
    if (failed()) return;
    readPacked(exceptions, 0, exceptions, positions);
    if (failed()) return;
    readPacked(exceptions, 0, exceptions, uppers);
    let position = load<u32>(positions);
    for (let i: u32 = 1; i < exceptions; i++) {
      const at = positions + (<usize>i << 2);
      position += load<u32>(at) + 1;
      store<u32>(at, position);
    }
    return;
  }
  const upperBits = readU8();
  if (positionBits > 32 || upperBits > 32) fail(UNKNOWN_FORM);
  if (failed()) return;
  const positionWords = takeWords(wordsFor(exceptions, positionBits));
  const upperWords = takeWords(wordsFor(exceptions, upperBits));
  if (failed()) return;
  unpack(positionWords, positionBits, positions, exceptions);
  unpack(upperWords, upperBits, uppers, exceptions);
}
