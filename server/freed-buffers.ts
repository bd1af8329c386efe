/** Memory that is given back at once instead of when the garbage collector comes to it. */
import { MessageChannel } from 'node:worker_threads';

const GATHERED_BYTES = 1 << 20;

/** A port that is closed: what is moved to it is freed at once. */
const nowhere = (() => {
  const { port1, port2 } = new MessageChannel();
  port1.close();
  port2.close();
  return port1;
})();

/** Arrays on these buffers are empty afterwards. None may be there twice, or belong to a kernel. */
export function freeBuffers(buffers: ArrayBuffer[]): void {
  if (buffers.length > 0) nowhere.postMessage(null, buffers);
}

/**
 * Gathers memory that nobody will read again, and frees it some at a time: a message for each would cost more than it saves.
 * Left to the garbage collector, buffers of a few dozen megabytes, dead as they are, are reason enough for it to mark the
 * whole heap.
 */
export class FreedLater {
  /** A message brings arrays that share a buffer with one buffer: it must not be freed twice. */
  #buffers = new Set<ArrayBuffer>();
  #bytes = 0;

  /** The arrays are empty some time later. Only buffers that are an array's alone are freed. */
  add(arrays: readonly Uint8Array[]): void {
    for (const { buffer, byteLength } of arrays) if (buffer.byteLength === byteLength) this.addBuffer(buffer);
  }

  /** As `add`, with whatever arrays lie on it. */
  addBuffer(buffer: ArrayBufferLike): void {
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength === 0 || this.#buffers.has(buffer)) return;
    this.#buffers.add(buffer);
    this.#bytes += buffer.byteLength;
    if (this.#bytes < GATHERED_BYTES) return;
    freeBuffers([...this.#buffers]);
    this.#buffers.clear();
    this.#bytes = 0;
  }
}
