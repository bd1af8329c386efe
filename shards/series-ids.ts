/**
 * Series of a shard as numbers: hash -> id, and the bytes of the keys.
 *
 * An id is the place of a series in the order of arrival. Keys lie one after the other in one growing byte array, and
 * hashes as four words each, so that an idle series costs its key and some 30 bytes, and a million of them are no work
 * for the garbage collector.
 */
import type { SeriesHash } from './series-key.ts';

/** -1 in the slots that are free. */
const FREE = -1;
const IDS_MIN = 64;

export class SeriesIds {
  #count = 0;
  #words = new Uint32Array(IDS_MIN * 4);
  /** Key i is bytes starts[i] .. starts[i + 1] - 1 of the arena. */
  #starts = new Float64Array(IDS_MIN + 1);
  #arena = Buffer.alloc(IDS_MIN * 64);
  /** Open addressing with linear probing; at most half full. */
  #slots = new Int32Array(IDS_MIN * 4).fill(FREE);
  readonly #probe = new Uint32Array(4);

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#words.byteLength + this.#starts.byteLength + this.#arena.byteLength + this.#slots.byteLength;
  }

  /** -1 when there is none. */
  find(hash: SeriesHash): number {
    parseHash(hash, this.#probe, 0);
    return this.#findWords(this.#probe);
  }

  /** Adds a series that is not there yet. */
  add(hash: SeriesHash, key: string): number {
    const id = this.#count;
    if ((id + 1) * 4 > this.#words.length) this.#growIds();
    parseHash(hash, this.#words, id * 4);
    const start = this.#starts[id]!;
    const bytesMax = key.length * 3;
    if (start + bytesMax > this.#arena.length) this.#growArena(start + bytesMax);
    this.#starts[id + 1] = start + this.#arena.write(key, start, 'utf8');
    this.#count = id + 1;
    if (this.#count * 2 > this.#slots.length) this.#growSlots();
    else this.#insert(id);
    return id;
  }

  keyOf(id: number): string {
    return this.#arena.toString('utf8', this.#starts[id]!, this.#starts[id + 1]!);
  }

  hashOf(id: number): SeriesHash {
    let hash = '';
    for (let i = id * 4; i < id * 4 + 4; i++) hash += this.#words[i]!.toString(16).padStart(8, '0');
    return hash;
  }

  /** The first word of the hash: enough to sort by but for ties. */
  leadOf(id: number): number {
    return this.#words[id * 4]!;
  }

  compare(a: number, b: number): number {
    const words = this.#words;
    for (let i = 0; i < 4; i++) {
      const difference = words[a * 4 + i]! - words[b * 4 + i]!;
      if (difference !== 0) return difference;
    }
    return 0;
  }

  #findWords(words: Uint32Array): number {
    const mask = this.#slots.length - 1;
    for (let slot = slotOf(words, 0) & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]!;
      if (id === FREE) return -1;
      const at = id * 4;
      if (
        this.#words[at] === words[0] &&
        this.#words[at + 1] === words[1] &&
        this.#words[at + 2] === words[2] &&
        this.#words[at + 3] === words[3]
      ) {
        return id;
      }
    }
  }

  #insert(id: number): void {
    const mask = this.#slots.length - 1;
    let slot = slotOf(this.#words, id * 4) & mask;
    while (this.#slots[slot] !== FREE) slot = (slot + 1) & mask;
    this.#slots[slot] = id;
  }

  #growIds(): void {
    const words = new Uint32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    const starts = new Float64Array(words.length / 4 + 1);
    starts.set(this.#starts);
    this.#starts = starts;
  }

  #growArena(bytesMin: number): void {
    const arena = Buffer.alloc(Math.max(bytesMin, Math.ceil(this.#arena.length * 1.5)));
    arena.set(this.#arena);
    this.#arena = arena;
  }

  #growSlots(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(FREE);
    for (let id = 0; id < this.#count; id++) this.#insert(id);
  }
}

/** The second word: the first one also chose the shard, so its values here are not spread evenly. */
function slotOf(words: Uint32Array, at: number): number {
  return words[at + 1]!;
}

function parseHash(hash: SeriesHash, into: Uint32Array, at: number): void {
  for (let word = 0; word < 4; word++) {
    let value = 0;
    for (let i = word * 8; i < word * 8 + 8; i++) {
      const code = hash.charCodeAt(i);
      value = (value << 4) | (code < 58 ? code - 48 : code - 87);
    }
    into[at + word] = value;
  }
}
