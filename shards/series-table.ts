/**
 * The series of a shard: ids, keys, order by hash within each measurement, and matching by tags.
 *
 * Lives in memory whole while the shard is open; its durable form are the chunks of series-chunk.ts. Only the shard
 * adds to it, when it applies a batch or opens its file. Nothing is ever removed.
 */

import { SeriesIds } from './series-ids.ts';
import { parseSeriesKey, type SeriesHash, type Tag } from './series-key.ts';
import { SeriesOrder } from './series-order.ts';
import type { TagCondition } from './tag-condition.ts';
import { TagIndex } from './tag-index.ts';
import { compileTagCondition } from './tag-matcher.ts';

/** Parsed tags kept for the next call; a query asks for the same series several times. */
const TAGS_CACHED = 4096;
/** New series that are matched one by one before the index is built again: so many, or an eighth. */
const UNINDEXED_MIN = 256;

interface MeasurementSeries {
  readonly name: string;
  readonly order: SeriesOrder;
  readonly tagKeys: Set<string>;
  index: TagIndex | null;
}

export class SeriesTable {
  readonly ids = new SeriesIds();
  readonly #measurements = new Map<string, MeasurementSeries>();
  readonly #byId: MeasurementSeries[] = [];
  #ranks = new Uint32Array(64);
  readonly #tagsCached: ({ id: number; tags: readonly Tag[] } | undefined)[] = new Array(TAGS_CACHED);

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
    this.ids.close();
  }

  add(hash: SeriesHash, key: string): number {
    const id = this.ids.add(hash, key);
    const { measurement: name, tags } = parseSeriesKey(key);
    let measurement = this.#measurements.get(name);
    if (measurement === undefined) {
      measurement = { name, order: new SeriesOrder(this.ids), tagKeys: new Set(), index: null };
      this.#measurements.set(name, measurement);
    }
    for (const tag of tags) measurement.tagKeys.add(tag.key);
    measurement.order.add(id);
    this.#byId.push(measurement);
    return id;
  }

  measurements(): string[] {
    return [...this.#measurements.keys()].sort();
  }

  /** Tag keys that any series of the measurement (`among`: any of these) has, sorted. */
  tagKeys(measurement: string, among: Uint32Array | null): string[] {
    if (among === null) return [...(this.#measurements.get(measurement)?.tagKeys ?? [])].sort();
    const keys = new Set<string>();
    for (const id of among) for (const { key } of this.tagsOf(id)) keys.add(key);
    return [...keys].sort();
  }

  measurementOf(id: number): string {
    return this.#byId[id]!.name;
  }

  tagsOf(id: number): readonly Tag[] {
    const slot = id % TAGS_CACHED;
    const cached = this.#tagsCached[slot];
    if (cached?.id === id) return cached.tags;
    const { tags } = parseSeriesKey(this.ids.keyOf(id));
    this.#tagsCached[slot] = { id, tags };
    return tags;
  }

  /** All series of a measurement in order of hash; afterwards `rankOf` holds for them. The array must not be changed. */
  sorted(measurement: string): Uint32Array {
    const series = this.#measurements.get(measurement);
    if (series === undefined) return new Uint32Array(0);
    if (this.#ranks.length < this.count) {
      const ranks = new Uint32Array(Math.max(this.count, this.#ranks.length * 2));
      ranks.set(this.#ranks);
      this.#ranks = ranks;
    }
    const ranks = this.#ranks;
    return series.order.sorted((id, rank) => {
      ranks[id] = rank;
    });
  }

  /** Place of a series among those of its measurement, in order of hash. Call `sorted` first. */
  readonly rankOf = (id: number): number => this.#ranks[id]!;

  readonly compare = (a: number, b: number): number => this.ids.compare(a, b);

  /** In order of hash. Throws RegexError. */
  match(measurement: string, condition: TagCondition | null): Uint32Array {
    const sorted = this.sorted(measurement);
    if (condition === null || sorted.length === 0) return sorted.slice();
    const series = this.#measurements.get(measurement)!;
    const members = series.order.members();
    const index = this.#indexOf(series);
    const found = index.match(condition);
    if (index.count < members.length) {
      const matches = compileTagCondition(condition);
      for (let i = index.count; i < members.length; i++) {
        if (matches(measurement, this.tagsOf(members[i]!))) found.push(i);
      }
    }
    const ranks = Uint32Array.from(found, (member) => this.#ranks[members[member]!]!).sort();
    return ranks.map((rank) => sorted[rank]!);
  }

  #indexOf(series: MeasurementSeries): TagIndex {
    const members = series.order.members();
    const fresh = members.length - (series.index?.count ?? 0);
    if (series.index === null || fresh > Math.max(UNINDEXED_MIN, members.length / 8)) {
      series.index = new TagIndex(series.name, members, (id) => parseSeriesKey(this.ids.keyOf(id)).tags);
    }
    return series.index;
  }
}
