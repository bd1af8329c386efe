/**
 * Memory of one size that long bodies are read into, over and over: memory that was used a moment ago is in the
 * processor's caches, and asking for it and giving it back for every 64 KiB takes longer than reading them.
 */
import { freeBuffers } from '../freed-buffers.ts';

export type Segment = Buffer<ArrayBuffer>;

export class Segments {
  readonly bytes: number;
  readonly #most: number;
  #taken = 0;
  /** Those used last at the end. */
  readonly #idle: Segment[] = [];
  #idleLeast = 0;

  /** At most `most` are lent at a time: what bodies leave empty of theirs is bounded by that, however many connections there are. */
  constructor(bytes = 256 << 10, most = 128) {
    this.bytes = bytes;
    this.#most = most;
  }

  get taken(): number {
    return this.#taken;
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** null: there are none left, and the body has to lie elsewhere. What is in it is left over from others. */
  take(): Segment | null {
    if (this.#taken === this.#most) return null;
    this.#taken++;
    const segment = this.#idle.pop() ?? Buffer.allocUnsafeSlow(this.bytes);
    if (this.#idle.length < this.#idleLeast) this.#idleLeast = this.#idle.length;
    return segment;
  }

  /** Nothing may be read into it any more. */
  give(segment: Segment): void {
    this.#taken--;
    this.#idle.push(segment);
  }

  /** Lets go of what nobody has needed since the last time; to be called every few seconds. */
  sweep(): void {
    freeBuffers(this.#idle.splice(0, this.#idleLeast).map((segment) => segment.buffer));
    this.#idleLeast = this.#idle.length;
  }
}
