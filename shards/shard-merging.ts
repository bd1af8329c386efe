/**
 * When a shard merges: which window is next, what keeps it waiting, and whether there will be anything to merge at all.
 *
 * What may be dropped follows the floor that the file holds (rule 18), and that is saved by flushes only. A window at
 * rest that the companion's floor has passed, and the file's not yet, waits for a flush instead of being written twice.
 * The next step of the engine flushes for its sake when rows wait in memory; when none do, the floor is written alone.
 */
import type { BlockDirectory } from './block-directory.ts';
import type { BlockStore } from './block-store.ts';
import { DeleteReview } from './delete-review.ts';
import { StorageError } from './errors.ts';
import { MergeRest } from './merge-rest.ts';
import type { settleRows } from './row-settle.ts';
import { Compaction, mergeableFrom, nextToMerge } from './shard-compaction.ts';
import type { ShardDropped } from './shard-dropped.ts';
import type { ShardFile } from './shard-file.ts';
import type { ScanSources } from './shard-scan.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { FreeBuffers } from './used-rows.ts';
import { type Stamp, stampOf } from './version.ts';
import { windowStates } from './window-states.ts';

/** No floor is beyond it. */
const STAMP_LAST: Stamp = 'f'.repeat(16);

export interface MergingParts {
  readonly sources: ScanSources;
  readonly store: BlockStore;
  readonly file: ShardFile;
  readonly limits: StorageLimits;
  readonly dropped: ShardDropped;
  readonly settle: typeof settleRows;
  /** Up to where rows may be settled now: see Shard.settledThrough, and ShardPolicy. */
  readonly settledThrough: () => Stamp;
  /** Up to where they may be once the companion's floor is in the file. */
  readonly floor: () => Stamp;
  /** Something is not flushed. */
  readonly isDirty: () => boolean;
  readonly flush: () => void;
  readonly free: FreeBuffers;
}

export class ShardMerging {
  readonly #parts: MergingParts;
  readonly #deletes: DeleteReview;
  #compaction: Compaction | null = null;
  /** Merging has freed pages since they were last given back. */
  #shrinkable = false;
  /** Windows that a damaged block keeps from being merged. */
  readonly #unmergeable = new Set<number>();
  /** When each window was last flushed into. */
  readonly #touchedMs = new Map<number, number>();
  /** As the file says, for when the block directory is not in memory (null: never); undefined: to be looked up. */
  #mergeableFrom: Stamp | null | undefined;
  /** Floor and deletes with which the directory was last found not to be needed. */
  #unwantedAt = '';
  /** Nothing can be merged as long as it goes on; null: it has to be looked. */
  #rest: MergeRest | null = null;
  #holds = 0;
  #clockMs = 0;
  #openedMs = 0;
  /** The floor is wanted in the file. */
  flushSoon = false;

  constructor(parts: MergingParts) {
    this.#parts = parts;
    this.#deletes = new DeleteReview(parts.sources);
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
    const floor = this.#parts.floor();
    if (this.#mergeableFrom !== null && this.#mergeableFrom <= floor) return true;
    const at = `${floor} ${this.#parts.sources.tombstones.stamp}`;
    if (at !== this.#unwantedAt && this.#deletes.pending(floor) !== null) return true;
    this.#unwantedAt = at;
    return false;
  }

  get isBusy(): boolean {
    return this.#compaction !== null || this.isHeld;
  }

  /** Nothing can be merged before the floor has moved on; then the directory may be let go. */
  get isDone(): boolean {
    if (this.#mergeableFrom === undefined) this.#mergeableFrom = mergeableFrom(this.#parts.store.directory);
    return !this.isWanted;
  }

  /** One bounded step; true when more remains. */
  step(): boolean {
    if (this.#rest?.goesOn(this.#restSources, this.#parts.floor(), this.#clockMs) === true) return false;
    this.#rest = null;
    this.#mergeableFrom = undefined;
    const compaction = this.#compaction ?? this.#next() ?? this.#reviewDeletes();
    if (compaction === 'more') return true;
    this.#compaction = compaction;
    if (compaction === null) return this.#shrinkStep() || this.#beginRest();
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

  get #restSources(): { directory: BlockDirectory; deletes: string } {
    const { store, tombstones } = this.#parts.sources;
    return { directory: store.directory, deletes: tombstones.stamp };
  }

  /** Nothing to do now. What waits for a flush, or a delete for its window, is looked at each time. */
  #beginRest(): false {
    const floor = this.#parts.floor();
    if (this.flushSoon || this.#deletes.pending(floor) !== null) return false;
    const question = {
      floor,
      isUnmergeable: (window: number) => this.#unmergeable.has(window),
      restsFromMs: (window: number) => this.#restsFromMs(window),
      delete: this.#deletes.pending(STAMP_LAST),
    };
    this.#rest = new MergeRest(this.#restSources, question, this.#clockMs);
    return false;
  }

  abandon(): void {
    this.#compaction?.abandon();
    this.#compaction = null;
  }

  /** No block is merged until it has been let go as often as it was held: somebody reads or replaces blocks. */
  hold(): void {
    this.abandon();
    this.#holds++;
  }

  letGo(): void {
    this.#holds--;
  }

  get isHeld(): boolean {
    return this.#holds > 0;
  }

  /** Blocks of the window have been replaced. */
  mended(window: number): void {
    this.#unmergeable.delete(window);
    this.#mergeableFrom = undefined;
    this.#rest = null;
  }

  #next(): Compaction | null {
    const { isDirty, flush } = this.#parts;
    let next = this.#choose();
    if (next === 'floor-first' && !isDirty()) {
      flush();
      next = this.#choose();
    }
    this.flushSoon = next === 'floor-first';
    return next === null || next === 'floor-first' ? null : this.#merge(next.window, next.runs);
  }

  #merge(window: number, runs: readonly number[]): Compaction {
    const { sources, limits, dropped, settle, settledThrough, free } = this.#parts;
    const { table, store, tombstones, windowNs, conflict } = sources;
    const settled = { dropped, settle, conflict, settledThrough: settledThrough() };
    return new Compaction({ table, store, tombstones, windowNs, limits, free, ...settled }, window, runs);
  }

  #choose(): ReturnType<typeof nextToMerge> {
    const { store, limits, floor, settledThrough } = this.#parts;
    const isAtRest = (window: number): boolean => this.#isAtRest(window);
    const question = { except: this.#unmergeable, isAtRest, settledThrough: settledThrough(), floor: floor() };
    return nextToMerge(store.directory, question, limits);
  }

  #isAtRest(window: number): boolean {
    return this.#clockMs >= this.#restsFromMs(window);
  }

  #restsFromMs(window: number): number {
    return (this.#touchedMs.get(window) ?? this.#openedMs) + this.#parts.limits.compactionIdleMs;
  }

  /** Settled windows are merged again for the sake of a delete. */
  #reviewDeletes(): Compaction | 'more' | null {
    const { store, floor, settledThrough, isDirty, flush } = this.#parts;
    const oldest = this.#deletes.pending(floor());
    if (oldest === null) return null;
    if (stampOf(oldest.version) > settledThrough()) {
      // As with a window that waits for the floor.
      if (isDirty()) this.flushSoon = true;
      else flush();
    }
    const through = settledThrough();
    const isReady = (window: number): boolean => {
      const state = [...windowStates(store.directory)].find((each) => each.window === window);
      return state !== undefined && this.#isAtRest(window) && stampOf(state.newest) <= through;
    };
    const isUnmergeable = (window: number): boolean => this.#unmergeable.has(window);
    const found = this.#deletes.step({ settledThrough: through, isUnmergeable, isReady });
    if (typeof found !== 'number') return found;
    return this.#merge(found, [...store.directory.runsOf(found).keys()]);
  }

  /** Once nothing is left to merge: what merging has freed goes back to the file system. */
  #shrinkStep(): boolean {
    if (!this.#shrinkable) return false;
    this.#shrinkable = this.#parts.file.shrinkStep();
    return this.#shrinkable;
  }
}
