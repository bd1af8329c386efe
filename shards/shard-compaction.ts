/**
 * Compaction: several runs of a window become one. Nothing is dropped: every fragment of every version is kept.
 *
 * The series are merged in order of hash, in parts of about `compactionRowsMax` rows, and written as blocks of a new run,
 * which counts only when the last step makes it and takes the old blocks away in one transaction. A crash in between
 * leaves blocks that do not count; the window is then merged again from the start. A step reads one block, merges one part
 * or writes one block.
 *
 * Runs of about one size are merged (at least `compactionRunsMin` of them, and none larger than twice the others
 * together), so that a row is written again about log(rows) times; a window that has come to rest is merged whole.
 */
import type { BlockDirectory, BlockEntry } from './block-directory.ts';
import type { BlockStore, RunWriter } from './block-store.ts';
import { forgetRuns } from './block-store.ts';
import { mergeRowSets } from './row-merge.ts';
import type { RowSet } from './row-set.ts';
import { BlockCutter } from './row-split.ts';
import type { SeriesTable } from './series-table.ts';
import { writeSizes } from './shard-state.ts';
import type { StorageLimits } from './storage-limits.ts';

export interface CompactionSources {
  readonly table: SeriesTable;
  readonly store: BlockStore;
  readonly windowNs: number;
  readonly limits: StorageLimits;
}

/** The first window with runs that are worth merging now, or null. */
export function nextToMerge(
  directory: BlockDirectory,
  except: ReadonlySet<number>,
  isAtRest: (window: number) => boolean,
  limits: StorageLimits,
): { window: number; runs: number[] } | null {
  for (const window of directory.windows()) {
    const runs = except.has(window) ? null : runsToMerge(directory, window, isAtRest(window), limits);
    if (runs !== null) return { window, runs };
  }
  return null;
}

/** Runs of the window that are worth merging now, or null. `atRest`: nothing was flushed into it for long. */
function runsToMerge(
  directory: BlockDirectory,
  window: number,
  atRest: boolean,
  limits: StorageLimits,
): number[] | null {
  const runs = [...directory.runsOf(window)]
    .map(([run, entries]) => ({ run, bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0) }))
    .sort((a, b) => a.bytes - b.bytes);
  if (runs.length < 2) return null;
  if (atRest) return runs.map(({ run }) => run);
  if (runs.length < limits.compactionRunsMin) return null;
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
  #rowsAdded = 0;
  #blocksAdded = 0;

  constructor(sources: CompactionSources, window: number, runs: readonly number[]) {
    this.#sources = sources;
    this.window = window;
    const { store, windowNs, limits } = sources;
    const wanted = new Set(runs);
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
    const { table, store, limits } = this.#sources;
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
      parts.length = 0;
      yield merged.times.length;
      if (merged.times.length === 0) continue;
      for (const rows of cutter.cut(merged)) {
        cutter.learn(rows.times.length, this.#writer.add(measurement, rows));
        this.#rowsAdded += rows.times.length;
        this.#blocksAdded++;
        yield rows.times.length;
      }
    }
  }

  #finish(): void {
    const { directory } = this.#sources.store;
    const merged = new Set(this.#replaced.map(({ run }) => run));
    const gone = new Set(this.#replaced);
    for (const entry of directory.all()) if (!gone.has(entry)) merged.delete(entry.run);
    let { rows, blocks } = directory;
    for (const entry of this.#replaced) rows -= entry.rows;
    rows += this.#rowsAdded;
    blocks += this.#blocksAdded - this.#replaced.length;
    this.#writer.finish(this.#replaced, (database) => {
      forgetRuns(database, [...merged]);
      writeSizes(database, { rows, blocks, series: this.#sources.table.persisted });
    });
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
