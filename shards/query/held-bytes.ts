/**
 * What texts and integers of an answer take of a thread's memory. Numbers in typed arrays are bounded by their count alone;
 * these lie in the heap of the engine, one by one, and a thread whose heap is full takes the process with it.
 *
 * A text is counted with its length wherever it occurs: between threads and nodes every occurrence travels by itself.
 */
import type { Scalar } from './arithmetic.ts';

/** A pointer, and what an object has besides its content. */
const POINTER_BYTES = 8;
const TEXT_BYTES = 24;
const BIGINT_BYTES = 32;

export const textBytes = (text: string): number => TEXT_BYTES + text.length;

export function cellBytes(cell: Scalar): number {
  if (typeof cell === 'string') return textBytes(cell);
  return typeof cell === 'bigint' ? BIGINT_BYTES : POINTER_BYTES;
}

/** What a statement says that holds more. */
export const tooManyBytes = (bytesMax: number): string =>
  `query holds more than ${bytesMax} bytes of texts and integers at once; narrow the time range or use LIMIT`;

/**
 * The text without the one that it was cut from: what is decoded from a block is a part of all texts of that block, which
 * stay in memory as long as one of them does.
 */
export function detached(text: string): string {
  return text.length < 2 ? text : [text.slice(0, 1), text.slice(1)].join('');
}
