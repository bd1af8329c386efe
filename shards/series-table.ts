/**
 * The series of a shard: ids, keys, order by hash within each measurement, and matching by tags.
 *
 * Lives in the kernel's memory (series-ids.ts) from its first use on, until it is let go because nothing has asked for
 * it; its durable form are the chunks of series-chunk.ts. Only the shard adds to it, when it applies a batch. Nothing is
 * ever removed, and an id is for ever.
 */
import { MEASUREMENTS, TAG_KEYS } from './kernel/series-kernel.ts';
import { storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import type { TagColumn } from './queryable.ts';
import { SeriesIds } from './series-ids.ts';
import type { SeriesHash, Tag } from './series-key.ts';
import type { SeriesKeys } from './series-keys.ts';
import type { Steps } from './steps.ts';
import type { TagCondition } from './tag-condition.ts';
import { judgeSteps, matchSeries, usedCodes } from './tag-index.ts';

/** Tags kept for the next call; a query asks for the same series several times. */
const TAGS_CACHED = 4096;

/** Begins to add what the file holds; a call adds some of it, and gives true when more remains. */
export type SeriesLoad = (ids: SeriesIds) => () => boolean;

export class SeriesTable {
  readonly #load: SeriesLoad;
  #ids: SeriesIds | null = null;
  /** What has been read so far of what the file holds. */
  #reading: { readonly ids: SeriesIds; readonly step: () => boolean } | null = null;
  #persisted = 0;
  #wasUsed = false;
  #usedMs = 0;
  #clockMs = 0;
  readonly #kernel = storageKernel();
  /** By measurement number. */
  #names: string[] = [];
  /** Of ids, in the kernel's memory: empty when that has grown since. */
  #ranks: Uint32Array = new Uint32Array(0);
  #tagsCached: ({ id: number; tags: readonly Tag[] } | undefined)[] = [];

  /** `load`: at the first use; `isNew`: the file holds nothing yet. */
  constructor(load: SeriesLoad = () => () => false, isNew = true) {
    this.#load = load;
    if (isNew) this.#ids = new SeriesIds();
  }

  get ids(): SeriesIds {
    this.#wasUsed = true;
    return this.#ids ?? this.#read();
  }

  #read(): SeriesIds {
    while (this.readStep());
    return this.#ids!;
  }

  /** Reads some of what the file holds, ahead of the first use; true when more remains. */
  readStep(): boolean {
    if (this.#ids !== null) return false;
    this.#reading ??= this.#beginReading();
    const { ids, step } = this.#reading;
    try {
      if (step()) return true;
    } catch (error) {
      this.#endReading();
      throw error;
    }
    this.#reading = null;
    this.#ids = ids;
    this.#persisted = ids.count;
    return false;
  }

  #beginReading(): { ids: SeriesIds; step: () => boolean } {
    const ids = new SeriesIds();
    return { ids, step: this.#load(ids) };
  }

  #endReading(): void {
    this.#reading?.ids.close();
    this.#reading = null;
  }

  get isLoaded(): boolean {
    return this.#ids !== null;
  }

  /** null: not in memory. Says nothing of use. */
  get countKept(): number | null {
    return this.#ids === null ? null : this.#ids.count;
  }

  /** The first so many series are in the file. */
  get persisted(): number {
    return this.#ids === null ? this.ids.count : this.#persisted;
  }

  set persisted(count: number) {
    this.#persisted = count;
  }

  /** Time goes on: when something was asked is only as exact as this is told. */
  tick(nowMs: number): void {
    if (this.#wasUsed || this.#clockMs === 0) this.#usedMs = nowMs;
    this.#wasUsed = false;
    this.#clockMs = nowMs;
  }

  /** When something was asked last. */
  get usedMs(): number {
    return this.#usedMs;
  }

  /** Nothing was asked for so long. */
  isUnused(ms: number): boolean {
    return !this.#wasUsed && this.#usedMs + ms <= this.#clockMs;
  }

  /** Lets the memory go until the next use, when all series are in the file. */
  unload(): void {
    this.#endReading();
    if (this.#ids === null || this.#ids.count > this.#persisted) return;
    this.#forget();
    this.#ids = null;
  }

  /** Of the kernel's memory; says nothing of use. */
  get bytes(): number {
    return (this.#ids?.bytes ?? 0) + (this.#reading?.ids.bytes ?? 0);
  }

  knowsAll(keys: SeriesKeys): boolean {
    return !this.ids.hasNew(keys.body);
  }

  get count(): number {
    return this.ids.count;
  }

  find(hash: SeriesHash): number {
    return this.ids.find(hash);
  }

  /** Ids of many hashes that lie in the kernel's memory: see SeriesIds. */
  findMany(hashes: number, count: number, ids: number): number {
    return this.ids.findMany(hashes, count, ids);
  }

  /** Gives the memory back that is not the garbage collector's. The table is not to be used afterwards. */
  close(): void {
    this.#ids ??= new SeriesIds();
    this.#forget();
  }

  #forget(): void {
    this.#endReading();
    this.#ids?.close();
    this.#names = [];
    this.#tagsCached = [];
    this.#ranks = new Uint32Array(0);
  }

  add(hash: SeriesHash, key: string): number {
    return this.ids.add(hash, key);
  }

  measurements(): string[] {
    return this.ids.measurementNames().sort();
  }

  /** Tag keys that any series of the measurement (`among`: any of these) has, sorted. */
  tagKeys(measurement: string, among: Uint32Array | null): string[] {
    const number = this.#numberOf(measurement);
    if (number < 0) return [];
    const keys = this.#keysOf(number);
    const found =
      among === null ? keys : keys.filter((key) => this.#codes(number, key, among).some((code) => code > 0));
    return found.map((key) => this.ids.text(TAG_KEYS, key)).sort();
  }

  /** The values of a tag key that any series of the measurement (`among`: any of these) has. */
  tagValues(measurement: string, tagKey: string, among: Uint32Array | null): string[] {
    const number = this.#numberOf(measurement);
    const key = this.ids.codeOf(TAG_KEYS, tagKey);
    if (number < 0 || key < 0) return [];
    const used = usedCodes(this.ids, number, key);
    if (among !== null) {
      used.fill(0);
      for (const code of this.#codes(number, key, among)) used[code] = 1;
    }
    const values: string[] = [];
    for (let code = 1; code < used.length; code++) if (used[code] === 1) values.push(this.ids.text(key, code - 1));
    return values;
  }

  /** The values of a tag for series of the measurement, as numbers: equal values have equal codes. */
  tagColumn(measurement: string, tagKey: string, series: Uint32Array): TagColumn {
    const number = this.#numberOf(measurement);
    const key = this.ids.codeOf(TAG_KEYS, tagKey);
    const codes = number < 0 || key < 0 ? new Uint32Array(series.length) : this.#codes(number, key, series);
    return { codes, valueOf: (code) => (code === 0 ? '' : this.ids.text(key, code - 1)) };
  }

  /** The code of a value in `tagColumn`; -1: no series has it. */
  tagCode(tagKey: string, value: string): number {
    if (value === '') return 0;
    const key = this.ids.codeOf(TAG_KEYS, tagKey);
    const code = key < 0 ? -1 : this.ids.codeOf(key, value);
    return code < 0 ? -1 : code + 1;
  }

  /** How many values series of any measurement have for it. */
  tagValueCount(tagKey: string): number {
    const key = this.ids.codeOf(TAG_KEYS, tagKey);
    return key < 0 ? 0 : this.#kernel.seriesTextCount(this.ids.address, key);
  }

  /** How many series are of the measurement. */
  memberCount(measurement: string): number {
    const number = this.#numberOf(measurement);
    return number < 0 ? 0 : this.#kernel.measurementMembers(this.ids.address, number);
  }

  /** Those of the measurement whose ids are `from` or greater. */
  membersFrom(measurement: string, from: number): Uint32Array {
    const { count } = this;
    if (from === 0) return this.sorted(measurement).slice();
    if (count - from > this.memberCount(measurement)) return this.sorted(measurement).filter((id) => id >= from);
    const number = this.#numberOf(measurement);
    const found: number[] = [];
    for (let id = from; id < count; id++) if (this.ids.measurementOf(id) === number) found.push(id);
    return Uint32Array.from(found);
  }

  measurementOf(id: number): string {
    const number = this.ids.measurementOf(id);
    this.#names[number] ??= this.ids.text(MEASUREMENTS, number);
    return this.#names[number];
  }

  tagsOf(id: number): readonly Tag[] {
    const slot = id % TAGS_CACHED;
    const cached = this.#tagsCached[slot];
    if (cached?.id === id) return cached.tags;
    const tags = this.ids.tagsOf(id);
    this.#tagsCached[slot] = { id, tags };
    return tags;
  }

  /**
   * Has `sorted` little left to do, in steps of a few milliseconds: a million new series take a tenth of a second. The
   * table may be asked and added to in between, but neither closed nor let go.
   */
  *sortSteps(measurement: string): Generator<void, void> {
    const number = this.#numberOf(measurement);
    const job = number < 0 ? 0 : this.#kernel.orderBegin(this.ids.address, number);
    if (job === 0) return;
    try {
      while (this.#kernel.orderStep(job) !== 0) yield;
      // The last step may have moved them.
      this.#ranks = new Uint32Array(0);
    } finally {
      this.#kernel.orderEnd(job);
    }
  }

  /**
   * All series of a measurement in order of hash; afterwards `rankOf` holds for them. A view into the kernel's memory:
   * not to be changed, nor to be kept across anything that may add to that memory.
   */
  sorted(measurement: string): Uint32Array {
    const number = this.#numberOf(measurement);
    if (number < 0) return new Uint32Array(0);
    const at = this.#kernel.orderUpdate(this.ids.address, number);
    this.#viewRanks();
    return new Uint32Array(storageBytes().buffer, at, this.#kernel.measurementMembers(this.ids.address, number));
  }

  /** Place of a series among those of its measurement, in order of hash. Call `sorted` first. */
  readonly rankOf = (id: number): number => {
    const rank = this.#ranks[id];
    return rank === undefined ? this.#viewRanks()[id]! : rank;
  };

  readonly compare = (a: number, b: number): number => this.ids.compare(a, b);

  /** In order of hash. Throws RegexError. */
  match(measurement: string, condition: TagCondition | null): Uint32Array {
    const sorted = this.sorted(measurement);
    if (condition === null || sorted.length === 0) return sorted.slice();
    return matchSeries(this.ids, this.#numberOf(measurement), measurement, condition);
  }

  /** What `match` has to ask of patterns beforehand, in steps. Throws RegexError. */
  judgeSteps(measurement: string, condition: TagCondition): Steps {
    return judgeSteps(this.ids, this.#numberOf(measurement), condition);
  }

  /** -1 when no series is of it. */
  #numberOf(measurement: string): number {
    return this.ids.codeOf(MEASUREMENTS, measurement);
  }

  #viewRanks(): Uint32Array {
    const at = this.#kernel.orderRanks(this.ids.address);
    this.#ranks = at === 0 ? new Uint32Array(0) : new Uint32Array(storageBytes().buffer, at, this.count);
    return this.#ranks;
  }

  #keysOf(number: number): number[] {
    const count = this.#kernel.measurementColumns(this.ids.address, number);
    const at = this.#kernel.alloc(count * 4);
    this.#kernel.measurementKeys(this.ids.address, number, at);
    const keys = [...new Uint32Array(storageBytes().buffer, at, count)];
    this.#kernel.free(at);
    return keys;
  }

  #codes(number: number, key: number, series: Uint32Array): Uint32Array {
    const at = this.#kernel.alloc(series.length * 8);
    const out = at + series.length * 4;
    new Uint32Array(storageBytes().buffer, at, series.length).set(series);
    this.#kernel.codesOf(this.ids.address, number, key, at, series.length, out);
    const codes = new Uint32Array(storageBytes().buffer, out, series.length).slice();
    this.#kernel.free(at);
    return codes;
  }
}
