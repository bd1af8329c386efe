/**
 * Working memory of the codecs: taken piece by piece during one call from outside, given back all at once by the next.
 *
 * What does not fit into the arena that is kept is taken from the heap for the one call, so that a worker does not keep
 * the memory of one odd block. Every piece has room behind it for whole vectors: loops read and write past their ends.
 */

const KEPT_BYTES: usize = 2 << 20;
/** Whole vectors, frames of eight numbers, and groups of tuples behind what was asked for. */
const SLACK_BYTES: usize = 128;

let arena: usize = 0;
let used: usize = 0;
/** Pieces from the heap, linked through their first word. */
let pieces: usize = 0;

/** At least `bytes` bytes, aligned to 16, not cleared; valid until `scratchReset`. */
export function scratch(bytes: usize): usize {
  const size = ((bytes + 15) & ~15) + SLACK_BYTES;
  if (arena == 0) arena = heap.alloc(KEPT_BYTES);
  if (size <= KEPT_BYTES - used) {
    const at = arena + used;
    used += size;
    return at;
  }
  const piece = heap.alloc(size + 16);
  store<usize>(piece, pieces);
  pieces = piece;
  return piece + 16;
}

/** How much of the arena is taken: to be handed to `scratchRelease` once what was taken since is done with. */
export function scratchMark(): usize {
  return used;
}

/** Gives back what was taken of the arena since the mark; pieces from the heap stay until the reset. */
export function scratchRelease(mark: usize): void {
  used = mark;
}

export function scratchReset(): void {
  used = 0;
  while (pieces != 0) {
    const next = load<usize>(pieces);
    heap.free(pieces);
    pieces = next;
  }
}

/** Starts of a sequence that is a single span; of its own, since sequences contain sequences. */
export function oneSpan(count: u32): usize {
  const starts = scratch(8);
  store<u32>(starts, 0);
  store<u32>(starts, count, 4);
  return starts;
}
