/**
 * Copies into the memory of kernels and out of it.
 *
 * That memory is of the shared kind (load.ts), and what JavaScript copies between such memory and any other goes word by
 * word, or, where the two are not aligned alike, byte by byte, which takes thirteen times as long. `fill` of a Buffer with
 * bytes copies them as they lie, but its call takes longer than the whole of a short copy.
 */
import { Buffer } from 'node:buffer';

const SHORT_BYTES = 128;
const { fill } = Buffer.prototype;

type Numbers = Uint8Array | Uint32Array | Float64Array | BigInt64Array | BigUint64Array;

/** Puts the bytes of `from`, which lies in other memory, into `into` from `at` on. */
export function copyInto(into: Uint8Array, at: number, from: Numbers): void {
  const bytes = from instanceof Uint8Array ? from : new Uint8Array(from.buffer, from.byteOffset, from.byteLength);
  const { length } = bytes;
  if (length < SHORT_BYTES) into.set(bytes, at);
  else fill.call(into as Buffer, bytes, at, at + length);
}

/** The bytes in memory of their own. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes.length);
  copyInto(copy, 0, bytes);
  return copy;
}
