/**
 * Compaction: several runs of a window become one, without what the shard's settled stamp allows to drop
 * (row-settle.ts). What lies above that stamp is kept: every fragment of every version.
 *
 * The series are merged in order of hash, in parts of about `compactionRowsMax` rows, and written as blocks of a new run,
 * which counts only when the last step makes it and takes the old blocks away in one transaction. A crash in between
 * leaves blocks that do not count; the window is then merged again from the start. A step reads one block, merges one part
 * or writes one block.
 *
 * Runs of about one size are merged (at least `compactionRunsMin` of them, and none larger than twice the others
 * together), so that a row is written again about log(rows) times. A window that has come to rest is merged whole, and
 * once all of it is settled: it is then one run in which every row has the settled version, and is left alone until new
 * rows or a delete come. A flush writes such runs, too (shard-flush.ts).
 */
import type { BlockDirectory, BlockEntry } from './block-directory.ts';
import type { BlockStore, RunWriter } from './block-store.ts';
import { replaceBlocks } from './block-store.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import { isSettledVersion } from './row-settle.ts';
import { BlockCutter } from './row-split.ts';
import { Settling, type SettlingSources } from './settling.ts';
import type { ShardDropped } from './shard-dropped.ts';
import { writeSizes } from './shard-state.ts';
import type { StorageLimits } from './storage-limits.ts';
import { buffersOf, type FreeBuffers } from './used-rows.ts';
import { STAMP_ZERO, type Stamp, stampOf, type Version } from './version.ts';

export interface CompactionSources extends SettlingSources {
  readonly store: BlockStore;
  readonly limits: StorageLimits;
  readonly dropped: ShardDropped;
  readonly free: FreeBuffers;
}

/** A window as merging looks at it. */
export interface WindowState {
  readonly window: number;
  readonly runs: number;
  readonly newest: Version;
  /** One run, and no row with a version of its own. */
  readonly isSettled: boolean;
}

export function* windowStates(directory: BlockDirectory): Generator<WindowState> {
  for (const window of directory.windows()) {
    let newest: Version = '';
    let isSettled = true;
    const runs = directory.runsOf(window);
    for (const entries of runs.values()) {
      for (const { minVersion, maxVersion } of entries) {
        if (maxVersion > newest) newest = maxVersion;
        if (minVersion !== maxVersion || !isSettledVersion(maxVersion)) isSettled = false;
      }
    }
    yield { window, runs: runs.size, newest, isSettled: isSettled && runs.size === 1 };
  }
}

/** The least floor at which there is something to merge; null: there never is. */
export function mergeableFrom(directory: BlockDirectory): Stamp | null {
  let least: Stamp | null = null;
  for (const { runs, newest, isSettled } of windowStates(directory)) {
    if (isSettled) continue;
    const from = runs > 1 ? STAMP_ZERO : stampOf(newest);
    if (least === null || from < least) least = from;
  }
  return least;
}

export interface MergeQuestion {
  readonly except: ReadonlySet<number>;
  /** Nothing was flushed into the window for long. */
  readonly isAtRest: (window: number) => boolean;
  readonly settledThrough: Stamp;
  /** Up to where the file's settled stamp will be once the memtable has been flushed. */
  readonly floor: Stamp;
}

/**
 * The first window with runs that are worth merging now. `floor-first`: none, but one at rest could be settled if the
 * floor were in the file: it is not merged before, or it would be written twice.
 */
export function nextToMerge(
  directory: BlockDirectory,
  { except, isAtRest, settledThrough, floor }: MergeQuestion,
  limits: StorageLimits,
): { window: number; runs: number[] } | 'floor-first' | null {
  let waiting = false;
  for (const { window, runs, newest, isSettled } of windowStates(directory)) {
    if (isSettled || except.has(window)) continue;
    const stamp = stampOf(newest);
    if (!isAtRest(window)) {
      if (runs >= limits.compactionRunsMin) return { window, runs: runsOfOneSize(directory, window, limits) };
    } else if (stamp > settledThrough && stamp <= floor) waiting = true;
    else if (runs > 1 || stamp <= settledThrough) return { window, runs: [...directory.runsOf(window).keys()] };
  }
  return waiting ? 'floor-first' : null;
}

/** The smaller runs of the window, as many as are about as large as the ones before them together. */
function runsOfOneSize(directory: BlockDirectory, window: number, limits: StorageLimits): number[] {
  const runs = [...directory.runsOf(window)]
    .map(([run, entries]) => ({ run, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) }))
    .sort((a, b) => a.bytes - b.bytes);
  let together = 0;
  let count = 0;
  for (const { bytes } of runs) {
    if (count >= limits.compactionRunsMin && bytes > 2 * together) break;
    together += bytes;
    count++;
  }
  return runs.slice(0, count).map(({ run }) => run);
}

/** Cells of the rows that are merged at once: what bounds the longest step, and the memory. */
const PART_CELLS = 1 << 19;

export class Compaction {
  readonly window: number;
  readonly #sources: CompactionSources;
  readonly #writer: RunWriter;
  readonly #replaced: BlockEntry[];
  readonly #measurements: string[];
  readonly #steps: Generator<number, void>;
  /** All runs of the window are merged. */
  readonly #isWhole: boolean;
  #rowsAdded = 0;
  #blocksAdded = 0;
  readonly #settling: Settling;

  constructor(sources: CompactionSources, window: number, runs: readonly number[]) {
    this.#sources = sources;
    this.window = window;
    this.#settling = new Settling(sources);
    const { store, windowNs, limits } = sources;
    const wanted = new Set(runs);
    this.#isWhole = store.directory.runsOf(window).size === wanted.size;
    this.#measurements = store.directory.measurementsOf(window);
    this.#replaced = this.#measurements.flatMap((measurement) =>
      store.directory.of(window, measurement).filter(({ run }) => wanted.has(run)),
    );
    this.#writer = store.begin(windowNs, limits.transactionBytesMax);
    this.#steps = this.steps();
  }

  /** True when more remains. Throws StorageError. */
  step(): boolean {
    return this.#steps.next().done !== true;
  }

  abandon(): void {
    this.#writer.abandon();
  }

  /** A step reads, merges or writes at most about the rows of a block or of a part; each says how many. */
  *steps(): Generator<number, void> {
    for (const measurement of this.#measurements) yield* this.#mergeMeasurement(measurement);
    this.#finish();
  }

  *#mergeMeasurement(measurement: string): Generator<number, void> {
    const { table, store, limits, free } = this.#sources;
    const cutter = new BlockCutter(limits.blockBytesTarget);
    /** The last series that is merged; -1: none. */
    let after = -1;
    for (;;) {
      table.sorted(measurement);
      const from = after < 0 ? 0 : table.rankOf(after) + 1;
      const open = this.#replaced
        .filter((entry) => entry.measurement === measurement && table.rankOf(entry.last) >= from)
        .sort((a, b) => table.rankOf(a.last) - table.rankOf(b.last));
      if (open.length === 0) return;
      const columns = store.head(open[0]!).columns.length;
      const rowsMax = Math.min(limits.compactionRowsMax, Math.ceil(PART_CELLS / Math.max(columns, 1)));
      const { last } = cutAt(open, rowsMax);
      const to = table.rankOf(last);
      // A view of the kernel's memory, which reading a head may have made grow: taken anew.
      const wanted = new Set(table.sorted(measurement).subarray(from, to + 1));
      // Decided before the first of the steps: a series that comes meanwhile moves the others.
      const reads = open
        .filter((entry) => table.rankOf(entry.first) <= to)
        .map((entry) => {
          const whole = table.rankOf(entry.first) >= from && table.rankOf(entry.last) <= to;
          const series = whole ? null : wanted;
          return { entry, want: { series, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER } };
        });
      const parts: RowSet[] = [];
      for (const { entry, want } of reads) {
        const rows = store.rows(entry, want);
        if (rows.times.length > 0) parts.push(rows);
        yield entry.rows;
      }
      after = last;
      table.sorted(measurement);
      const merged = mergeRowSets(parts, (a, b) => table.rankOf(a) - table.rankOf(b));
      free(buffersOf(parts.splice(0), [merged]));
      yield merged.times.length;
      const left = this.#settling.settle(measurement, this.window, merged, this.#isWhole);
      const blocks = left.times.length === 0 ? [] : cutter.cut(left);
      for (const rows of blocks) {
        cutter.learn(rows.times.length, this.#writer.add(measurement, rows));
        this.#rowsAdded += rows.times.length;
        this.#blocksAdded++;
        yield rows.times.length;
      }
      free(buffersOf([merged, left, ...blocks]));
    }
  }

  #finish(): void {
    const { store, dropped, table } = this.#sources;
    const added = { rows: this.#rowsAdded, blocks: this.#blocksAdded };
    const more = this.#settling.dropped;
    replaceBlocks(store, this.#writer, this.#replaced, added, (database, sizes) => {
      writeSizes(database, { ...sizes, series: table.persisted });
      if (more !== 0n) dropped.write(database, more);
    });
    dropped.added(more);
  }
}

/** Blocks by their last series: the one at which the rows are enough for a part. */
function cutAt(entries: readonly BlockEntry[], rowsMax: number): BlockEntry {
  let rows = 0;
  for (const entry of entries) {
    rows += entry.rows;
    if (rows >= rowsMax) return entry;
  }
  return entries.at(-1)!;
}
