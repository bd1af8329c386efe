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
  /** What was refused since then, at most, would have come by so much. */
  #wanted = 0;
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
    const growth = keys.length === 0 ? 0 : shard.table.ids.growthBy(SeriesKeys.of(keys).body);
    if (growth === 0) return null;
    if (this.#isBeyond(growth)) this.#count();
    if (this.#isBeyond(growth)) {
      this.#ease(this.#bytesMax - growth - this.#admitted, EASE_EVERY_MS);
      if (this.#isBeyond(growth)) {
        this.#wanted = Math.max(this.#wanted, growth);
        return this.#full();
      }
    }
    this.#admitted += growth;
    this.#unlogged += growth;
    return null;
  }

  /** Batches that were admitted are in the log. They are applied before the next ones are admitted. */
  logged(): void {
    this.#unlogged = 0;
  }

  /** The series of this shard are about to be read. Throws StorageError `series-full`. */
  readonly makeRoom = (id: ShardId): void => {
    this.#count();
    for (const shard of this.#leastUsed()) {
      if (this.#counted <= this.#bytesMax) return;
      if (shard.id === id) continue;
      // What the disk refuses stays where it is.
      if (shard.isDirty) attempt(() => shard.flush(), Object);
      this.#unload(shard);
    }
    if (this.#counted > this.#bytesMax) throw this.#full();
  };

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
