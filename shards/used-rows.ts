/**
 * Rows that nobody will read again: which memory is theirs, so that it can be given back at once.
 *
 * Flushes and merges decode some five megabytes a step. Left to the garbage collector, which sees only small objects,
 * dozens of megabytes of such arrays wait for it in each worker, and the allocator keeps the room for ever.
 */
import type { RowSet } from './row-set.ts';

/** Frees the memory of buffers at once: their arrays are empty afterwards. */
export type FreeBuffers = (buffers: ArrayBuffer[]) => void;

/** Smaller ones cost more to give back than they take. */
const BUFFER_BYTES_MIN = 4096;

/**
 * Buffers of times, versions and columns of `used` that no set of `kept` shares. Lists of series are left out: those of a
 * block that was read whole belong to its head.
 */
export function buffersOf(used: readonly RowSet[], kept: readonly RowSet[] = []): ArrayBuffer[] {
  const found = new Set<ArrayBufferLike>();
  for (const rows of used) for (const buffer of largeBuffers(rows)) found.add(buffer);
  for (const rows of kept) for (const buffer of largeBuffers(rows)) found.delete(buffer);
  return [...found] as ArrayBuffer[];
}

function* largeBuffers({ times, versions, columns }: RowSet): Generator<ArrayBufferLike> {
  const arrays = [times, versions, ...columns.flatMap(({ present, values }) => [present, values])];
  for (const array of arrays) {
    if (array === null || Array.isArray(array)) continue;
    if (array.buffer.byteLength >= BUFFER_BYTES_MIN) yield array.buffer;
  }
}
