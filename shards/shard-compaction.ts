/**
 * Compaction: several runs of a window become one, without what the shard's settled stamp allows to drop
 * (row-settle.ts). What lies above that stamp is kept: every fragment of every version.
 *
 * The series are merged in order of hash, in parts of about `compactionRowsMax` rows or `compactionTextMax` of text (merge-part.ts), and written as blocks
 * of a new run, which counts only when the last step makes it and takes the old blocks away in one transaction. A crash in between
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
import { STRING } from './column.ts';
import { type MergedThrough, nextPart } from './merge-part.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import { BlockCutter } from './row-split.ts';
import { Settling, type SettlingSources } from './settling.ts';
import type { ShardDropped } from './shard-dropped.ts';
import { writeSizes } from './shard-state.ts';
import type { StorageLimits } from './storage-limits.ts';
import { buffersOf, type FreeBuffers } from './used-rows.ts';
import { STAMP_ZERO, type Stamp, stampOf } from './version.ts';
import { windowStates } from './window-states.ts';

export interface CompactionSources extends SettlingSources {
  readonly store: BlockStore;
  readonly limits: StorageLimits;
  readonly dropped: ShardDropped;
  readonly free: FreeBuffers;
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
/** How much text a block has of which that was not counted, for its size. */
const TEXT_OF_BYTES = 16;

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
    const cutter = new BlockCutter(limits);
    const entries = this.#replaced.filter((entry) => entry.measurement === measurement);
    const rowsMax = (entry: BlockEntry): number =>
      Math.min(limits.compactionRowsMax, Math.ceil(PART_CELLS / Math.max(store.head(entry).columns.length, 1)));
    const textShare = (entry: BlockEntry): number => {
      const { columns, text } = store.head(entry);
      if (columns.every(({ type }) => type !== STRING)) return 0;
      return (text ?? entry.bytes * TEXT_OF_BYTES) / limits.compactionTextMax;
    };
    const question = { sorted: () => table.sorted(measurement), rankOf: table.rankOf, rowsMax, textShare };
    let after: MergedThrough | null = null;
    for (;;) {
      // Decided before the first of the steps: a series that comes meanwhile moves the others.
      table.sorted(measurement);
      const part = nextPart(entries, question, after);
      if (part === null) return;
      const parts: RowSet[] = [];
      for (const { entry, want } of part.reads) {
        const rows = store.rows(entry, want);
        if (rows.times.length > 0) parts.push(rows);
        yield entry.rows;
      }
      after = part.through;
      table.sorted(measurement);
      const merged = mergeRowSets(parts, (a, b) => table.rankOf(a) - table.rankOf(b));
      free(buffersOf(parts.splice(0), [merged]));
      yield merged.times.length;
      const left = this.#settling.settle(measurement, this.window, merged, this.#isWhole);
      const blocks = left.times.length === 0 ? [] : cutter.cut(left, part.isSlice);
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
