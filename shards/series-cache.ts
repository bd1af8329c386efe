/**
 * The coordinator's table from a series key as a client spells it to the series it means.
 *
 * A key is looked up by its raw bytes (measurement and tags up to the unescaped space), because clients repeat their
 * spelling: a hit costs one comparison and makes no string. Only a new spelling is unescaped, sorted and hashed; when it
 * turns out to be another spelling of a known series, it gets that series' id. The bytes of all keys lie one after the
 * other in one arena, found through open addressing.
 *
 * Bounded by two generations of at most `max / 2` spellings each: a full generation becomes the previous one at the
 * start of the next body, and the one before it is forgotten. Ids are never used twice, and stay readable while their
 * generation is one of the two. So whoever parses must route before the second next rotation; batch builders copy what
 * they need when rows are added.
 */
import { formatSeriesKey, type SeriesHash, shardNumberOf, type Tag, unescapeTag } from './series-key.ts';

const ARENA_BYTES_MAX = 0x7fff_ffff;
const HASH_SEED = 0x811c9dc5;

/** One generation. Read directly by the parser's hot loop; everybody else uses SeriesCache. */
export class SeriesTable {
  arena = new Uint8Array(1 << 16);
  arenaUsed = 0;
  /** Entries are spellings. entryStart[i] .. entryStart[i + 1] are the bytes of entry i. */
  entryStart = new Uint32Array(1025);
  entryHash = new Uint32Array(1024);
  entrySeries = new Uint32Array(1024);
  /** The entry that followed this one last time: bodies come in the same order again and again. */
  entryNext = new Uint32Array(1024);
  /** 1: double backslashes or newlines, which only the careful parser takes. */
  entryOdd = new Uint8Array(1024);
  entries = 0;
  slots = new Uint32Array(4096);
  series = 0;
  seriesMeasurement = new Uint32Array(1024);
  seriesShard = new Uint32Array(1024);
  timeTag = new Uint8Array(1024);
  readonly keys: string[] = [];
  readonly hashes: SeriesHash[] = [];
  readonly measurements: string[] = [];
  readonly measurementIndex = new Map<string, number>();
  readonly base: number;

  constructor(base: number) {
    this.base = base;
  }

  /** Entry of these bytes, or -1. */
  find(bytes: Uint8Array, start: number, end: number, hash: number): number {
    const { slots, entryHash, entryStart, arena } = this;
    const mask = slots.length - 1;
    const length = end - start;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = slots[slot]! - 1;
      if (entry < 0) return -1;
      if (entryHash[entry] !== hash) continue;
      const at = entryStart[entry]!;
      if (entryStart[entry + 1]! - at === length && sameBytes(arena, at, bytes, start, length)) return entry;
    }
  }

  addEntry(bytes: Uint8Array, start: number, end: number, hash: number, series: number): number {
    const length = end - start;
    if (this.entries === this.entryHash.length) this.growEntries();
    if (this.arenaUsed + length > this.arena.length) {
      const wanted = Math.max(this.arena.length * 2, this.arenaUsed + length);
      if (wanted > ARENA_BYTES_MAX) throw new Error(`series cache: arena of ${wanted} bytes`);
      const arena = new Uint8Array(wanted);
      arena.set(this.arena.subarray(0, this.arenaUsed));
      this.arena = arena;
    }
    this.arena.set(bytes.subarray(start, end), this.arenaUsed);
    this.arenaUsed += length;
    const entry = this.entries++;
    this.entryStart[entry + 1] = this.arenaUsed;
    this.entryHash[entry] = hash;
    this.entrySeries[entry] = series;
    this.entryNext[entry] = entry;
    this.entryOdd[entry] = isOdd(bytes, start, end) ? 1 : 0;
    this.link(entry);
    return entry;
  }

  addSeries(key: string, hash: SeriesHash, measurement: string, shard: number, timeTag: boolean): number {
    if (this.series === this.seriesShard.length) this.growSeries();
    const series = this.series++;
    let index = this.measurementIndex.get(measurement);
    if (index === undefined) {
      index = this.measurements.length;
      this.measurements.push(measurement);
      this.measurementIndex.set(measurement, index);
    }
    this.keys.push(key);
    this.hashes.push(hash);
    this.seriesMeasurement[series] = index;
    this.seriesShard[series] = shard;
    this.timeTag[series] = timeTag ? 1 : 0;
    return series;
  }

  private link(entry: number): void {
    const mask = this.slots.length - 1;
    let slot = this.entryHash[entry]! & mask;
    while (this.slots[slot] !== 0) slot = (slot + 1) & mask;
    this.slots[slot] = entry + 1;
  }

  private growEntries(): void {
    const capacity = this.entryHash.length * 2;
    this.entryStart = grown(this.entryStart, capacity + 1);
    this.entryHash = grown(this.entryHash, capacity);
    this.entrySeries = grown(this.entrySeries, capacity);
    this.entryNext = grown(this.entryNext, capacity);
    const odd = new Uint8Array(capacity);
    odd.set(this.entryOdd);
    this.entryOdd = odd;
    this.slots = new Uint32Array(capacity * 4);
    for (let entry = 0; entry < this.entries; entry++) this.link(entry);
  }

  private growSeries(): void {
    const capacity = this.seriesShard.length * 2;
    this.seriesMeasurement = grown(this.seriesMeasurement, capacity);
    this.seriesShard = grown(this.seriesShard, capacity);
    const timeTag = new Uint8Array(capacity);
    timeTag.set(this.timeTag);
    this.timeTag = timeTag;
  }
}

export class SeriesCache {
  readonly shardsPerGroup: number;
  current: SeriesTable;
  private previous: SeriesTable | null = null;
  private readonly hashOf: (key: string) => SeriesHash;
  private readonly entriesMax: number;
  private generations = 0;

  constructor(hashOf: (key: string) => SeriesHash, max: number, shardsPerGroup: number) {
    this.hashOf = hashOf;
    this.entriesMax = Math.max(1, Math.floor(max / 2));
    this.shardsPerGroup = shardsPerGroup;
    this.current = new SeriesTable(0);
  }

  /** Changes when series are forgotten. */
  get generation(): number {
    return this.generations;
  }

  /** Spellings held. */
  get size(): number {
    return this.current.entries + (this.previous?.entries ?? 0);
  }

  /** Makes room before a body; ids of the generation before the previous one end here. */
  rotateWhenFull(): void {
    if (this.current.entries < this.entriesMax && this.current.arenaUsed < ARENA_BYTES_MAX / 4) return;
    const base = this.current.base + this.current.series;
    this.previous = this.current;
    this.current = new SeriesTable(base > 0xf000_0000 ? 0 : base);
    this.generations++;
  }

  /** Id of the series that these bytes spell. They must be a valid key (line-protocol-key.ts). */
  lookup(body: Uint8Array, start: number, end: number): number {
    const hash = hashBytes(body, start, end);
    let entry = this.current.find(body, start, end, hash);
    if (entry < 0) entry = this.add(body, start, end, hash);
    return this.current.base + this.current.entrySeries[entry]!;
  }

  /** Adds a spelling that is not there; returns its entry in `current`. */
  add(body: Uint8Array, start: number, end: number, hash: number): number {
    const table = this.current;
    const raw = Buffer.from(body.buffer, body.byteOffset + start, end - start);
    const { measurement, tags, key } = readSpelling(raw);
    const canonical = Buffer.from(key, 'utf8');
    if (canonical.equals(raw)) return table.addEntry(body, start, end, hash, this.addSeries(key, measurement, tags));
    const canonicalHash = hashBytes(canonical, 0, canonical.length);
    let known = table.find(canonical, 0, canonical.length, canonicalHash);
    if (known < 0) {
      const series = this.addSeries(key, measurement, tags);
      known = table.addEntry(canonical, 0, canonical.length, canonicalHash, series);
    }
    return table.addEntry(body, start, end, hash, table.entrySeries[known]!);
  }

  key(id: number): string {
    const table = this.tableOf(id);
    return table.keys[id - table.base]!;
  }

  hash(id: number): SeriesHash {
    const table = this.tableOf(id);
    return table.hashes[id - table.base]!;
  }

  measurement(id: number): string {
    const table = this.tableOf(id);
    return table.measurements[table.seriesMeasurement[id - table.base]!]!;
  }

  shardNumber(id: number): number {
    const table = this.tableOf(id);
    return table.seriesShard[id - table.base]!;
  }

  /** True when the series has a tag named `time`, which InfluxDB refuses. */
  hasTimeTag(id: number): boolean {
    const table = this.tableOf(id);
    return table.timeTag[id - table.base] === 1;
  }

  private addSeries(key: string, measurement: string, tags: readonly Tag[]): number {
    const hash = this.hashOf(key);
    const shard = shardNumberOf(hash, this.shardsPerGroup);
    const timeTag = tags.some((tag) => tag.key === 'time');
    return this.current.addSeries(key, hash, measurement, shard, timeTag);
  }

  private tableOrNull(id: number): SeriesTable | null {
    for (const table of [this.current, this.previous]) {
      if (table !== null && id >= table.base && id < table.base + table.series) return table;
    }
    return null;
  }

  private tableOf(id: number): SeriesTable {
    const current = this.current;
    if (id >= current.base && id - current.base < current.series) return current;
    const table = this.tableOrNull(id);
    if (table === null) throw new Error(`series ${id} is not in the series cache (generation ${this.generations})`);
    return table;
  }
}

export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = HASH_SEED;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return mixHash(hash);
}

/** For callers that fold the bytes in while they scan: start with `HASH_START`, fold as above, end with this. */
export const HASH_START = HASH_SEED;
export function mixHash(hash: number): number {
  const mixed = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}

export function sameBytes(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}

function grown(array: Uint32Array, length: number): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(length);
  larger.set(array);
  return larger;
}

/** Keys in which the end of the line may be seen differently from the end of the key (line-protocol-careful.ts). */
function isOdd(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (bytes[i] === 10) return true;
    if (bytes[i] === 92 && i + 1 < end && bytes[i + 1] === 92) return true;
  }
  return false;
}

/** The series that a valid key spells. */
export function readSpelling(raw: Buffer): { measurement: string; tags: readonly Tag[]; key: string } {
  const { measurement, tags } = parseRawKey(raw.toString('utf8'));
  return { measurement, tags, key: formatSeriesKey(measurement, tags) };
}

/** As InfluxDB reads a key: a delimiter counts unless the byte before it is a backslash. */
function parseRawKey(raw: string): { measurement: string; tags: Tag[] } {
  let end = endOf(raw, 0, ',');
  // A measurement's name is unescaped like a field's name, with more escapes than a tag has.
  const measurement = raw.slice(0, end).replace(/\\([,"= ])/g, '$1');
  const tags: Tag[] = [];
  while (end < raw.length) {
    const equals = endOf(raw, end + 1, '=');
    const stop = endOf(raw, equals + 1, ',');
    tags.push({ key: unescapeTag(raw.slice(end + 1, equals)), value: unescapeTag(raw.slice(equals + 1, stop)) });
    end = stop;
  }
  return { measurement, tags };
}

function endOf(raw: string, start: number, stop: string): number {
  let end = raw.indexOf(stop, start);
  while (end > 0 && raw[end - 1] === '\\') end = raw.indexOf(stop, end + 1);
  return end < 0 ? raw.length : end;
}
