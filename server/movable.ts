/** Bytes on their way to another thread: their buffer goes along whole, so it has to be theirs alone. */

/** Bytes that may be moved to another thread: a buffer of their own. */
export function movable(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return whole ? (bytes as Uint8Array<ArrayBuffer>) : ownCopy(bytes);
}

/** `slice` of a Buffer would be a Buffer again, and perhaps one of a shared pool. */
export function ownCopy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes.byteLength);
  copy.set(bytes);
  return copy;
}
