/** Ids of series: a few as they are, more than that as bits. */
const FEW_MAX = 256;

export class SeriesSet {
  #few: Set<number> | null = new Set();
  #bits = new Uint32Array(0);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The ids while they are few; null afterwards. */
  get few(): ReadonlySet<number> | null {
    return this.#few;
  }

  /** Ids that are not in it yet; `room`: all there may be are below. */
  add(ids: Uint32Array, room: number): void {
    this.#size += ids.length;
    if (this.#few !== null && this.#size <= FEW_MAX) {
      for (let i = 0; i < ids.length; i++) this.#few.add(ids[i]!);
      return;
    }
    const words = (room + 31) >>> 5;
    if (words > this.#bits.length) {
      const bits = new Uint32Array(words);
      bits.set(this.#bits);
      this.#bits = bits;
    }
    for (const id of this.#few ?? []) this.#mark(id);
    this.#few = null;
    for (let i = 0; i < ids.length; i++) this.#mark(ids[i]!);
  }

  has(id: number): boolean {
    if (this.#few !== null) return this.#few.has(id);
    const word = id >>> 5;
    return word < this.#bits.length && (this.#bits[word]! & (1 << (id & 31))) !== 0;
  }

  #mark(id: number): void {
    this.#bits[id >>> 5]! |= 1 << (id & 31);
  }
}
