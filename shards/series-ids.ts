/**
 * Series of a shard as numbers: hash -> id, and the keys.
 *
 * An id is the place of a series in the order of arrival. All of it is in the kernel's memory (kernel/assembly/series/):
 * the hashes with their table, where a batch's hashes are looked up all at once, and the keys as columns of numbered
 * tag values (with ten tags 76 bytes a series in all, and 8 more for the order by hash once something asks for it). A million series are no work for the garbage collector.
 */
import { copyInto } from './kernel/copy.ts';
import { SCRATCH } from './kernel/memtable-kernel.ts';
import { MEASUREMENTS, TAG_KEYS } from './kernel/series-kernel.ts';
import { storageBuffer, storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import { parseSeriesKey, SERIES_HASH_BYTES, type SeriesHash, type Tag } from './series-key.ts';

/** What the kernel says of records that do not fit their bytes, and of a key whose measurement is another one. */
const MALFORMED = -1;
const FOREIGN = -2;

/** Copies of what records have of their own read so much further. */
const READ_FURTHER_BYTES = 16;
/** Texts of a dictionary that are kept as strings: those with the lowest codes. */
const TEXTS_CACHED = 8192;

/** Memory of tables that were let go without `close`: what a crash in a simulation leaves behind. */
const forgotten = new FinalizationRegistry<number>((table) => storageKernel().seriesFree(table));
/** Where one hash is put for the kernel. */
let probe = 0;
/** What closed tables become: nothing is found in it. */
let empty = 0;
/** A block for what goes into and comes out of one call. */
let room = 0;
let roomBytes = 0;

/** At least so many bytes of the kernel's memory, until the next call. */
export function kernelRoom(bytes: number): number {
  if (room !== 0 && bytes <= roomBytes) return room;
  const kernel = storageKernel();
  if (room !== 0) kernel.free(room);
  roomBytes = Math.max(bytes, 1024);
  room = kernel.alloc(roomBytes);
  return room;
}

export class SeriesIds {
  readonly #kernel = storageKernel();
  #table = this.#kernel.seriesNew();
  /** By dictionary and code. */
  readonly #texts = new Map<number, (string | undefined)[]>();

  constructor() {
    forgotten.register(this, this.#table, this);
    if (probe !== 0) return;
    probe = this.#kernel.alloc(SERIES_HASH_BYTES);
    empty = this.#kernel.seriesNew();
  }

  get count(): number {
    return this.#kernel.seriesCount(this.#table);
  }

  /** Bytes of the kernel's memory that the table takes. */
  get bytes(): number {
    return this.#kernel.seriesBytes(this.#table);
  }

  /** Of the table in the kernel's memory: for kernels that look series up themselves. */
  get address(): number {
    return this.#table;
  }

  /** -1 when there is none. */
  find(hash: SeriesHash): number {
    writeHash(hash, probe);
    return this.#kernel.hashIdsFind(this.#kernel.seriesHashes(this.#table), probe);
  }

  /**
   * Looks up `count` hashes of 16 bytes each at an address in the kernel's memory. Writes their ids (u32) to `ids`, with
   * UNKNOWN_ID where there is none, and returns how many those are.
   */
  findMany(hashes: number, count: number, ids: number): number {
    return this.#kernel.hashIdsFindMany(this.#kernel.seriesHashes(this.#table), hashes, count, ids);
  }

  /**
   * Whether `records` are the keys of the `count` series whose hashes lie there, in their order. Then `ids` are set as if a table
   * had none of them.
   */
  static areNamed(hashes: number, count: number, ids: number, records: Uint8Array): boolean {
    return withRecords(records, (at) => storageKernel().seriesNamed(hashes, count, ids, at, records.byteLength)) === 1;
  }

  /**
   * Adds the series that `findMany` did not know: `records` holds their keys (series-keys.ts), and others are
   * left out. Returns how many have no key there; unless that is 0, nothing was added.
   */
  addMissing(hashes: number, count: number, ids: number, records: Uint8Array): number {
    return withRecords(records, (at) =>
      this.#kernel.seriesResolve(this.#table, hashes, count, ids, at, records.byteLength),
    );
  }

  /**
   * Places of the series of a frame (the address of its index) that `findMany` did not know and that have no key in `records`;
   * null: a key is of another measurement than that of the group that uses it. To be asked right after `frameBelongs`.
   */
  missing(index: number, records: Uint8Array): number[] | null {
    const count = withRecords(records, (at) => this.#kernel.seriesMissing(this.#table, index, at, records.byteLength));
    if (count === FOREIGN) return null;
    return [...new Uint32Array(storageBytes().buffer, this.#kernel.scratchAt(SCRATCH.missing), count)];
  }

  /** Whether one of the records names a series that is not there. */
  hasNew(records: Uint8Array): boolean {
    if (records.byteLength === 0) return false;
    // Mostly none is known or all are: the first one tells without copying the others.
    storageBytes().set(records.subarray(0, SERIES_HASH_BYTES), probe);
    if (this.#kernel.hashIdsFind(this.#kernel.seriesHashes(this.#table), probe) < 0) return true;
    return withRecords(records, (at) => this.#kernel.seriesHasNew(this.#table, at, records.byteLength)) === 1;
  }

  /** Bytes by which the table may grow when the keys of the records are added; `areNew`: as if it had none of them. */
  growthBy(records: Uint8Array, areNew = false): number {
    if (records.byteLength === 0) return 0;
    const bytes = records.byteLength;
    return withRecords(records, (at) => this.#kernel.seriesGrowth(this.#table, at, bytes, areNew ? 1 : 0));
  }

  /** Adds a series that is not there yet. */
  add(hash: SeriesHash, key: string): number {
    const at = kernelRoom(key.length * 3);
    writeHash(hash, probe);
    const length = storageBuffer().write(key, at, 'utf8');
    return this.#kernel.seriesAdd(this.#table, probe, at, length);
  }

  keyOf(id: number): string {
    const length = this.#kernel.seriesKeyLength(this.#table, id);
    const at = kernelRoom(length);
    this.#kernel.seriesKeyWrite(this.#table, id, at);
    return storageBuffer().toString('utf8', at, at + length);
  }

  hashOf(id: number): SeriesHash {
    const at = this.#kernel.hashIdsAddress(this.#kernel.seriesHashes(this.#table), id);
    return storageBuffer().toString('hex', at, at + SERIES_HASH_BYTES);
  }

  /** In byte order of the keys. */
  tagsOf(id: number): Tag[] {
    if (this.#kernel.seriesIsKept(this.#table, id) === 1) return parseSeriesKey(this.keyOf(id)).tags;
    const columns = this.#kernel.measurementColumns(this.#table, this.measurementOf(id));
    const at = kernelRoom(columns * 8);
    const count = this.#kernel.seriesTags(this.#table, id, at);
    const pairs = new Uint32Array(storageBytes().buffer, at, count * 2);
    const tags: Tag[] = [];
    for (let i = 0; i < count * 2; i += 2) {
      tags.push({ key: this.text(TAG_KEYS, pairs[i]!), value: this.text(pairs[i]!, pairs[i + 1]!) });
    }
    return tags;
  }

  /** The number of its measurement. */
  measurementOf(id: number): number {
    return this.#kernel.measurementOf(this.#table, id);
  }

  compare(a: number, b: number): number {
    return this.#kernel.hashIdsCompare(this.#kernel.seriesHashes(this.#table), a, b);
  }

  /** `dictionary`: number of a tag key (its values), TAG_KEYS or MEASUREMENTS. */
  /** Texts of a dictionary: codes are below it. */
  textCount(dictionary: number): number {
    return this.#kernel.seriesTextCount(this.#table, dictionary);
  }

  text(dictionary: number, code: number): string {
    if (code >= TEXTS_CACHED) return this.#read(dictionary, code);
    let texts = this.#texts.get(dictionary);
    if (texts === undefined) {
      texts = [];
      this.#texts.set(dictionary, texts);
    }
    let text = texts[code];
    if (text === undefined) {
      text = this.#read(dictionary, code);
      texts[code] = text;
    }
    return text;
  }

  /** -1 when there is none. */
  codeOf(dictionary: number, text: string): number {
    const at = kernelRoom(text.length * 3);
    const length = storageBuffer().write(text, at, 'utf8');
    return this.#kernel.seriesTextFind(this.#table, dictionary, at, length);
  }

  measurementNames(): string[] {
    const count = this.#kernel.seriesTextCount(this.#table, MEASUREMENTS);
    return Array.from({ length: count }, (_, number) => this.text(MEASUREMENTS, number));
  }

  /** Gives the kernel's memory back; the table is empty afterwards, and nothing may be added to it. */
  close(): void {
    if (this.#table === empty) return;
    forgotten.unregister(this);
    this.#kernel.seriesFree(this.#table);
    this.#table = empty;
    this.#texts.clear();
  }

  #read(dictionary: number, code: number): string {
    const at = this.#kernel.seriesText(this.#table, dictionary, code);
    return storageBuffer().toString('utf8', at, at + this.#kernel.seriesTextLength(this.#table, dictionary, code));
  }
}

function withRecords(records: Uint8Array, ask: (at: number) => number): number {
  const kernel = storageKernel();
  const at = kernel.alloc(records.byteLength + READ_FURTHER_BYTES);
  copyInto(storageBytes(), at, records);
  const count = ask(at);
  kernel.free(at);
  if (count === MALFORMED) throw new Error(`${records.byteLength} bytes of keys were not checked`);
  return count;
}

function writeHash(hash: SeriesHash, address: number): void {
  storageBuffer().write(hash, address, SERIES_HASH_BYTES, 'hex');
}
