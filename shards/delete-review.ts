/**
 * Which windows still hold rows that a settled delete covers: one window at a step, the oldest delete first.
 *
 * A window that is settled is left alone by merging, so a delete that comes later has to find it. Whether it does is read
 * off the blocks' versions, and off the series in their heads: no row is read. Rows below a settled delete are all in the
 * file and no more of them come, so a window that has none keeps having none, and a delete is looked at once (and anew
 * after a start: what was settled behind it shows that by its version).
 */
import type { BlockEntry } from './block-directory.ts';
import { StorageError } from './errors.ts';
import type { ScanSources } from './shard-scan.ts';
import { mayCover } from './shard-tombstones.ts';
import type { Tombstone } from './tombstone.ts';
import { isThrough, type Stamp, type Version } from './version.ts';

export interface ReviewQuestion {
  readonly settledThrough: Stamp;
  /** A damaged block keeps the window from being merged. */
  readonly isUnmergeable: (window: number) => boolean;
  /** May be settled now. */
  readonly isReady: (window: number) => boolean;
}

export class DeleteReview {
  readonly #sources: ScanSources;
  /** Deletes that cover nothing any more, or nothing that can be merged. */
  readonly #done = new Set<Version>();
  #current: Tombstone | null = null;
  /** Windows without rows that the current one covers, or that cannot be merged. */
  readonly #clear = new Set<number>();
  /** Of those some cannot be merged: rows may be left that it covers. */
  #leavesRows = false;
  /** As the shard's deletes said it when these were looked at. */
  #reviews = 0;
  /** Has some, and cannot be settled yet. */
  #waitsFor: number | null = null;

  constructor(sources: ScanSources) {
    this.#sources = sources;
  }

  /** The oldest delete at or below `through` that has to be looked at; null: there is none. */
  pending(through: Stamp): Tombstone | null {
    const { reviews } = this.#sources.tombstones;
    if (reviews !== this.#reviews) {
      this.#reviews = reviews;
      this.#done.clear();
      this.#current = null;
    }
    let oldest: Tombstone | null = null;
    for (const tombstone of this.#sources.tombstones.all()) {
      if (!isThrough(tombstone.version, through) || this.#done.has(tombstone.version)) continue;
      if (oldest === null || tombstone.version < oldest.version) oldest = tombstone;
    }
    return oldest;
  }

  /** A window to be settled now; `more`: to be asked again; null: nothing can be done now. */
  step({ settledThrough, isUnmergeable, isReady }: ReviewQuestion): number | 'more' | null {
    if (this.#waitsFor !== null && !isUnmergeable(this.#waitsFor) && !isReady(this.#waitsFor)) return null;
    this.#waitsFor = null;
    const tombstone = this.#current ?? this.#begin(settledThrough);
    if (tombstone === null) return null;
    for (const window of this.#sources.store.directory.windows()) {
      if (this.#clear.has(window)) continue;
      if (isUnmergeable(window)) this.#leavesRows = true;
      if (isUnmergeable(window) || !this.#covers(tombstone, window)) {
        this.#clear.add(window);
        return 'more';
      }
      if (isReady(window)) return window;
      this.#waitsFor = window;
      return null;
    }
    this.#done.add(tombstone.version);
    if (!this.#leavesRows) this.#sources.tombstones.spent(tombstone);
    this.#current = null;
    return 'more';
  }

  #begin(settledThrough: Stamp): Tombstone | null {
    this.#current = this.pending(settledThrough);
    this.#clear.clear();
    this.#leavesRows = false;
    return this.#current;
  }

  #covers(tombstone: Tombstone, window: number): boolean {
    const { directory } = this.#sources.store;
    const isCovered = (entry: BlockEntry): boolean =>
      entry.minVersion < tombstone.version &&
      mayCover(tombstone, entry.measurement, entry.minTime, entry.maxTime) &&
      this.#hasCovered(entry, tombstone);
    return directory.measurementsOf(window).some((name) => directory.of(window, name).some(isCovered));
  }

  #hasCovered(entry: BlockEntry, tombstone: Tombstone): boolean {
    try {
      const { series } = this.#sources.store.head(entry);
      return this.#sources.tombstones.coversAny(tombstone, entry.measurement, series);
    } catch (error) {
      // The merge meets it, too, and leaves the window alone from then on.
      if (error instanceof StorageError && error.code === 'damaged-block') return true;
      throw error;
    }
  }
}
