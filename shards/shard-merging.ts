/**
 * When a shard merges: which window is next, what keeps it waiting, and whether there will be anything to merge at all.
 *
 * What may be dropped follows the floor that the file holds (rule 18), and that is saved by flushes only. A window at
 * rest that the companion's floor has passed, and the file's not yet, waits for a flush instead of being written twice.
 * The next step of the engine flushes for its sake when rows wait in memory; when none do, the floor is written alone.
 */
import type { BlockStore } from './block-store.ts';
import type { ShardCompanion } from './companion.ts';
import { StorageError } from './errors.ts';
import { Compaction, mergeableFrom, nextToMerge } from './shard-compaction.ts';
import type { ShardDropped } from './shard-dropped.ts';
import type { ShardFile } from './shard-file.ts';
import type { ScanSources } from './shard-scan.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { Stamp } from './version.ts';

export interface MergingParts {
  readonly sources: ScanSources;
  readonly store: BlockStore;
  readonly file: ShardFile;
  readonly limits: StorageLimits;
  readonly dropped: ShardDropped;
  readonly companion: ShardCompanion;
  /** See Shard.settledThrough. */
  readonly settledThrough: () => Stamp;
  /** Something is not flushed. */
  readonly isDirty: () => boolean;
  readonly flush: () => void;
}

export class ShardMerging {
  readonly #parts: MergingParts;
  #compaction: Compaction | null = null;
  /** Merging has freed pages since they were last given back. */
  #shrinkable = false;
  /** Windows that a damaged block keeps from being merged. */
  readonly #unmergeable = new Set<number>();
  /** When each window was last flushed into. */
  readonly #touchedMs = new Map<number, number>();
  /** As the file says, for when the block directory is not in memory (null: never); undefined: to be looked up. */
  #mergeableFrom: Stamp | null | undefined;
  #clockMs = 0;
  #openedMs = 0;
  /** The floor is wanted in the file. */
  flushSoon = false;

  constructor(parts: MergingParts) {
    this.#parts = parts;
  }

  tick(nowMs: number): void {
    if (this.#clockMs === 0) this.#openedMs = nowMs;
    this.#clockMs = nowMs;
  }

  flushed(windows: Iterable<number>): void {
    this.flushSoon = false;
    for (const window of windows) this.#touchedMs.set(window, this.#clockMs);
  }

  /** Whether the block directory is needed: asked while it is not in memory. */
  get isWanted(): boolean {
    if (this.#mergeableFrom === undefined) this.#mergeableFrom = this.#parts.store.mergeableFrom();
    return this.#mergeableFrom !== null && this.#mergeableFrom <= this.#parts.companion.floor;
  }

  /** Nothing can be merged before the floor has moved on; then the directory may be let go. */
  get isDone(): boolean {
    this.#mergeableFrom = mergeableFrom(this.#parts.store.directory);
    return !this.isWanted;
  }

  /** One bounded step; true when more remains. */
  step(): boolean {
    const compaction = this.#compaction ?? this.#next();
    this.#compaction = compaction;
    if (compaction === null) return this.#shrinkStep();
    try {
      if (!compaction.step()) {
        this.#compaction = null;
        this.#shrinkable = true;
      }
      return true;
    } catch (error) {
      this.abandon();
      if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
      // Listed in the store's `damaged`; the other windows go on.
      this.#unmergeable.add(compaction.window);
      return true;
    }
  }

  abandon(): void {
    this.#compaction?.abandon();
    this.#compaction = null;
  }

  #next(): Compaction | null {
    const { sources, limits, dropped, settledThrough, isDirty, flush } = this.#parts;
    let next = this.#choose();
    if (next === 'floor-first' && !isDirty()) {
      flush();
      next = this.#choose();
    }
    this.flushSoon = next === 'floor-first';
    if (next === null || next === 'floor-first') return null;
    return new Compaction(
      { ...sources, limits, dropped, conflict: 'last-write-wins', settledThrough: settledThrough() },
      next.window,
      next.runs,
    );
  }

  #choose(): ReturnType<typeof nextToMerge> {
    const { store, limits, companion, settledThrough } = this.#parts;
    const isAtRest = (window: number): boolean =>
      this.#clockMs - (this.#touchedMs.get(window) ?? this.#openedMs) >= limits.compactionIdleMs;
    const question = { except: this.#unmergeable, isAtRest, settledThrough: settledThrough(), floor: companion.floor };
    return nextToMerge(store.directory, question, limits);
  }

  /** Once nothing is left to merge: what merging has freed goes back to the file system. */
  #shrinkStep(): boolean {
    if (!this.#shrinkable) return false;
    this.#shrinkable = this.#parts.file.shrinkStep();
    return this.#shrinkable;
  }
}
