/**
 * Series of a shard as numbers: hash -> id, and the bytes of the keys.
 *
 * An id is the place of a series in the order of arrival. Hashes and their table are in the kernel's memory
 * (kernel/assembly/series/hash-ids.ts), where a batch's hashes are looked up all at once; keys lie one after the other
 * in one growing byte array. A million series are no work for the garbage collector.
 */
import { storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import { SERIES_HASH_BYTES, type SeriesHash } from './series-key.ts';

const IDS_MIN = 64;

/** Memory of tables that were let go without `close`: what a crash in a simulation leaves behind. */
const forgotten = new FinalizationRegistry<number>((table) => storageKernel().hashIdsFree(table));
/** Where one hash is put for the kernel. */
let probe = 0;
/** What closed tables become: nothing is found in it. */
let empty = 0;

export class SeriesIds {
  readonly #kernel = storageKernel();
  #table = this.#kernel.hashIdsNew();
  #count = 0;
  /** Key i is bytes starts[i] .. starts[i + 1] - 1 of the arena. */
  #starts = new Float64Array(IDS_MIN + 1);
  #arena = Buffer.alloc(IDS_MIN * 64);

  constructor() {
    forgotten.register(this, this.#table, this);
    if (probe !== 0) return;
    probe = this.#kernel.alloc(SERIES_HASH_BYTES);
    empty = this.#kernel.hashIdsNew();
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#kernel.hashIdsBytes(this.#table) + this.#starts.byteLength + this.#arena.byteLength;
  }

  /** Of the table of hashes in the kernel's memory: for kernels that look series up themselves. */
  get address(): number {
    return this.#table;
  }

  /** -1 when there is none. */
  find(hash: SeriesHash): number {
    writeHash(hash, probe);
    return this.#kernel.hashIdsFind(this.#table, probe) | 0;
  }

  /**
   * Looks up `count` hashes of 16 bytes each at an address in the kernel's memory. Writes their ids (u32) to `ids`, with
   * UNKNOWN_ID where there is none, and returns how many those are.
   */
  findMany(hashes: number, count: number, ids: number): number {
    return this.#kernel.hashIdsFindMany(this.#table, hashes, count, ids);
  }

  /** Adds a series that is not there yet. */
  add(hash: SeriesHash, key: string): number {
    const id = this.#count;
    if (id === this.#starts.length - 1) this.#growStarts();
    const start = this.#starts[id]!;
    const bytesMax = key.length * 3;
    if (start + bytesMax > this.#arena.length) this.#growArena(start + bytesMax);
    this.#starts[id + 1] = start + this.#arena.write(key, start, 'utf8');
    writeHash(hash, probe);
    this.#kernel.hashIdsAdd(this.#table, probe);
    this.#count = id + 1;
    return id;
  }

  keyOf(id: number): string {
    return this.#arena.toString('utf8', this.#starts[id]!, this.#starts[id + 1]!);
  }

  hashOf(id: number): SeriesHash {
    const at = this.#kernel.hashIdsAddress(this.#table, id);
    const bytes = storageBytes();
    let hash = '';
    for (let i = at; i < at + SERIES_HASH_BYTES; i++) hash += HEX[bytes[i]!]!;
    return hash;
  }

  /** The first word of the hash: enough to sort by but for ties. */
  leadOf(id: number): number {
    const at = this.#kernel.hashIdsAddress(this.#table, id);
    const bytes = storageBytes();
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  compare(a: number, b: number): number {
    return this.#kernel.hashIdsCompare(this.#table, a, b);
  }

  /** Gives the kernel's memory back; the table is empty afterwards, and nothing may be added to it. */
  close(): void {
    if (this.#table === empty) return;
    forgotten.unregister(this);
    this.#kernel.hashIdsFree(this.#table);
    this.#table = empty;
    this.#count = 0;
  }

  #growStarts(): void {
    const starts = new Float64Array((this.#starts.length - 1) * 2 + 1);
    starts.set(this.#starts);
    this.#starts = starts;
  }

  #growArena(bytesMin: number): void {
    const arena = Buffer.alloc(Math.max(bytesMin, Math.ceil(this.#arena.length * 1.5)));
    arena.set(this.#arena);
    this.#arena = arena;
  }
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function writeHash(hash: SeriesHash, address: number): void {
  const bytes = storageBytes();
  for (let i = 0; i < SERIES_HASH_BYTES; i++) {
    bytes[address + i] = (digit(hash.charCodeAt(i * 2)) << 4) | digit(hash.charCodeAt(i * 2 + 1));
  }
}

function digit(code: number): number {
  return code < 58 ? code - 48 : code - 87;
}
