/**
 * Looking ahead over lines whose keys do not follow each other as they did before, most of all those of new series: where
 * their keys end, the hashes, and the slots of the table are brought into the cache for a few lines at once, so that their
 * misses overlap. Each line is then read as if nothing had been: what stands here is a guess at where lines begin, which a
 * newline within a string makes wrong, and who finds another beginning here than its own does without.
 */
import { endOfKey, hashBytes } from './bytes';

/** About as many cache misses as a core has on their way. */
export const LINES_AHEAD: u32 = 8;
/** Of a line:  0 u32 where it begins   4 u32 behind its key   8 u32 hash of the key */
const LINE_BYTES: usize = 12;
const NEWLINE: u32 = 10;

const lines: usize = memory.data(96, 16);
let count: u32 = 0;
let next: u32 = 0;
/** What was read ahead; kept, or the compiler would leave the reading out. */
let fetchedWords: u32 = 0;

/** Of the line that was asked for last. */
export let endAhead: usize = 0;
export let hashAhead: u32 = 0;

/** Nothing is known any more: the input is another one. */
export function forgetAhead(): void {
  count = 0;
  next = 0;
}

/** Sets `endAhead` and `hashAhead` of the line that begins at `at`; the table is looked at when they are not known yet. */
export function lookAhead(at: usize, end: usize, slots: usize, mask: u32, most: u32): void {
  while (next < count && beginning(next) < at) next++;
  if (next == count || beginning(next) != at) readAhead(at, end, slots, mask, most);
  const line = lines + <usize>next * LINE_BYTES;
  endAhead = <usize>load<u32>(line, 4);
  hashAhead = load<u32>(line, 8);
  next++;
}

@inline
function beginning(line: u32): usize {
  return <usize>load<u32>(lines + <usize>line * LINE_BYTES);
}

function readAhead(start: usize, end: usize, slots: usize, mask: u32, most: u32): void {
  count = 0;
  next = 0;
  let at = start;
  while (true) {
    const line = lines + <usize>count * LINE_BYTES;
    const stop = endOfKey(at, end);
    store<u32>(line, <u32>at);
    store<u32>(line, <u32>stop, 4);
    store<u32>(line, hashBytes(at, stop - at), 8);
    count++;
    if (count == most) break;
    at = lineBehind(stop, end);
    if (at >= end) break;
  }
  let words: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    words += load<u32>(slots + (<usize>(load<u32>(lines + <usize>i * LINE_BYTES, 8) & mask) << 3));
  }
  fetchedWords = words;
}

/** Where the line after the next newline begins, or at or behind `end`. */
function lineBehind(from: usize, end: usize): usize {
  const newlines = i8x16.splat(<i8>NEWLINE);
  for (let at = from; at < end; at += 16) {
    const hits = i8x16.bitmask(i8x16.eq(v128.load(at), newlines));
    if (hits != 0) return at + <usize>ctz(hits) + 1;
  }
  return end;
}
