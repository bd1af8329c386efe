/**
 * The memory that series tables take in a worker's kernel, kept below a maximum: a kernel that finds no memory ends the process,
 * and so would every start after it.
 *
 * - A batch that brings series for which there is no room is refused before it is logged (`admit`), as by a full disk: what is in
 *   the log can be applied, now and when it is replayed. Rows of known series go on.
 * - Before the series of a shard are read, those that were not asked for longest are let go (`makeRoom`), and flushed first where
 *   the file does not have them all. They are read again at need.
 * - Above a share of the maximum, and after a refusal, tables that nobody has asked for in a while go as well (`tick`).
 *
 * The maximum leaves room for a second table of that size while it is read, for arrays that are copied when they grow, and for
 * memtables and blocks: together they stay below the kernel's 2 GiB.
 */
import { attempt, StorageError } from './errors.ts';
import { type GivenKeys, SeriesKeys } from './series-keys.ts';
import type { Shard } from './shard.ts';
import type { ShardId } from './shard-key.ts';

/** Share of the maximum above which tables that are not in use are let go. */
const EASE_SHARE = 0.75;
const EASE_UNUSED_MS = 10_000;
const EASE_EVERY_MS = 1_000;

/**
 * What keys may add at most, whatever they are: all their tags are new to their measurements, and a new column has room for
 * the series that there are. While there is room for that, keys are not looked into, which takes half as long as to add them.
 */
export function growthAtMost({ length, spelledBytes, tagsMost }: SeriesKeys, seriesCount: number): number {
  return length * 1_000 + spelledBytes * 3 + tagsMost * (4_800 + seriesCount / 80);
}

export class SeriesMemory {
  readonly #shards: ReadonlyMap<ShardId, Shard>;
  readonly #bytesMax: number;
  /** Of all tables, as counted last. */
  #counted = 0;
  #countedMs = 0;
  /** What may have come since: of batches that were admitted. */
  #admitted = 0;
  /** The part of it that has not been logged yet, and so not been applied. */
  #unlogged = 0;
  /** Of what was counted, keys that have been logged may have been missing: they were not applied yet. */
  #isStale = false;
  /** Keys that were admitted since then without a look. */
  #unseen: { readonly shard: Shard; readonly body: Uint8Array; readonly most: number }[] = [];
  /** What was refused since then, at most, would have come by so much. */
  #wanted = 0;
  /** Read since then. */
  #read: ShardId[] = [];
  /** Not in use, with rows that have to be flushed before it can be let go. */
  #toFlush: Shard | null = null;

  constructor(shards: ReadonlyMap<ShardId, Shard>, bytesMax: number) {
    this.#shards = shards;
    this.#bytesMax = bytesMax;
  }

  /** To be flushed soon, so that its series can be let go. */
  get toFlush(): Shard | null {
    return this.#toFlush?.isDirty === true ? this.#toFlush : null;
  }

  /** Why the batch with these keys is not to be logged; null: there is room for its series. */
  admit(shard: Shard, keys: GivenKeys): StorageError | null {
    if (keys.length === 0) return null;
    const given = SeriesKeys.of(keys);
    const { body } = given;
    const most = growthAtMost(given, shard.table.count);
    if (this.#isStale) this.#count();
    this.#isStale = false;
    if (!this.#isBeyond(most)) {
      this.#unseen.push({ shard, body, most });
      this.#add(most);
      return null;
    }
    this.#look();
    const { ids } = shard.table;
    let growth = ids.growthBy(body, true);
    if (this.#isBeyond(growth)) growth = ids.growthBy(body);
    if (growth === 0) return null;
    if (this.#isBeyond(growth)) {
      this.#ease(this.#bytesMax - growth - this.#admitted, EASE_EVERY_MS);
      if (this.#isBeyond(growth)) {
        this.#wanted = Math.max(this.#wanted, growth);
        return this.#full();
      }
    }
    this.#add(growth);
    return null;
  }

  #add(bytes: number): void {
    this.#admitted += bytes;
    this.#unlogged += bytes;
  }

  /** What was admitted without a look counts with what it comes to. */
  #look(): void {
    for (const { shard, body, most } of this.#unseen) this.#add(shard.table.ids.growthBy(body) - most);
    this.#unseen = [];
  }

  /** Batches that were admitted are in the log. They are applied before the next ones are admitted. */
  logged(): void {
    this.#isStale ||= this.#unlogged > 0;
    this.#unlogged = 0;
    this.#unseen = [];
  }

  /** The series of this shard are about to be read. Throws StorageError `series-full`. */
  readonly makeRoom = (id: ShardId): void => {
    // Each table is counted once: with thousands of shards all of them are read one after the other.
    for (const read of this.#read) this.#counted += this.#shards.get(read)?.table.bytes ?? 0;
    this.#read = [];
    if (this.#isBeyond(0)) {
      this.#count();
      this.#unloadFor(id);
    }
    this.#read.push(id);
  };

  #unloadFor(id: ShardId): void {
    if (this.#counted <= this.#bytesMax) return;
    for (const shard of this.#leastUsed()) {
      if (this.#counted <= this.#bytesMax) return;
      if (shard.id === id) continue;
      // What the disk refuses stays where it is.
      if (shard.isDirty) attempt(() => shard.flush(), Object);
      this.#unload(shard);
    }
    if (this.#counted > this.#bytesMax) throw this.#full();
  }

  tick(nowMs: number): void {
    if (nowMs - this.#countedMs < EASE_EVERY_MS) return;
    this.#countedMs = nowMs;
    this.#count();
    this.#ease(Math.min(this.#bytesMax * EASE_SHARE, this.#bytesMax - this.#wanted), EASE_UNUSED_MS);
    this.#wanted = 0;
  }

  #isBeyond(growth: number): boolean {
    return this.#counted + this.#admitted + growth > this.#bytesMax;
  }

  #count(): void {
    this.#counted = 0;
    this.#read = [];
    for (const { table } of this.#shards.values()) this.#counted += table.bytes;
    this.#admitted = this.#unlogged;
  }

  #leastUsed(): Shard[] {
    const loaded = [...this.#shards.values()].filter(({ table }) => table.bytes > 0);
    return loaded.sort((a, b) => a.table.usedMs - b.table.usedMs);
  }

  /** Lets go of what was not asked for in `unusedMs` until all take at most so much. */
  #ease(bytes: number, unusedMs: number): void {
    this.#toFlush = null;
    if (this.#counted <= bytes) return;
    for (const shard of this.#leastUsed()) {
      if (this.#counted <= bytes) return;
      if (!shard.table.isUnused(unusedMs)) return;
      if (shard.isDirty) this.#toFlush ??= shard;
      else this.#unload(shard);
    }
  }

  #unload(shard: Shard): void {
    const { bytes } = shard.table;
    shard.unloadSeries();
    this.#counted -= bytes - shard.table.bytes;
  }

  #full(): StorageError {
    const bytes = this.#counted + this.#admitted;
    return new StorageError(
      'series-full',
      `series take ${Math.round(bytes)} of ${this.#bytesMax} bytes of a worker's memory: no room for more; rows of known ones are taken`,
    );
  }
}
