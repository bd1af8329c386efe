/**
 * A flush: the rows of a frozen memtable become blocks of a new run, in short steps.
 *
 * Everything that goes into the file with them (position in the log, companion, fields, tombstones, how many series) is
 * what it was when the memtable was frozen. What comes meanwhile is behind that position and is replayed after a crash.
 * The run counts only with its last transaction, which writes all that too: a crash in the middle leaves blocks that do
 * not count, and series chunks, which only name series. A flush that fails begins again from the start.
 *
 * Where the floor that it saves has passed all rows of a part, and the file holds nothing else of their window, they are written
 * as a merge would leave them: the window is then settled with its first run, and is not written a second time.
 */
import type { Database } from 'better-sqlite3';
import type { BlockStore, RunWriter } from './block-store.ts';
import { addSums, type Sum128, tombstoneSum } from './checksum.ts';
import type { Memtable } from './memtable.ts';
import { readParts } from './memtable-parts.ts';
import type { RowSet } from './row-set.ts';
import { BlockCutter } from './row-split.ts';
import { CHUNK_SERIES_MAX, encodeSeriesChunk } from './series-chunk.ts';
import { Settling, type SettlingSources } from './settling.ts';
import type { ShardDropped } from './shard-dropped.ts';
import { type ShardFile, WRITE_META } from './shard-file.ts';
import { writeSizes } from './shard-state.ts';
import type { KeptTombstone } from './shard-tombstones.ts';
import type { LogPosition } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { Superseded } from './superseded.ts';
import type { FreeBuffers } from './used-rows.ts';
import { isThrough, type Stamp } from './version.ts';

/** Chunks of series that one transaction writes. */
const CHUNKS_AT_ONCE = 32;
const WRITE_CHUNK = 'INSERT OR REPLACE INTO series_chunks (first, count, bytes) VALUES (?, ?, ?)';
const WRITE_TOMBSTONE = 'INSERT OR REPLACE INTO tombstones (version, frame) VALUES (?, ?)';
const DELETE_TOMBSTONE = 'DELETE FROM tombstones WHERE version = ?';

export interface FlushSources extends SettlingSources {
  readonly store: BlockStore;
  readonly file: ShardFile;
  readonly limits: StorageLimits;
  readonly free: FreeBuffers;
  readonly dropped: ShardDropped;
}

/** The moment at which the memtable was frozen. */
export interface FrozenState {
  readonly memtable: Memtable;
  readonly position: LogPosition;
  /** Of the companion. */
  readonly floor: Stamp;
  /** Series with ids below this one. */
  readonly seriesEnd: number;
  readonly tombstones: readonly KeptTombstone[];
  /** At or below the floor; they leave the file with it. */
  readonly superseded: Superseded;
  /** Write companion and fields. */
  readonly saves: readonly ((database: Database) => void)[];
}

export class Flush {
  readonly state: FrozenState;
  /** Windows that rows were written to. */
  readonly windows = new Set<number>();
  /** Series with ids below this one are in the file. */
  seriesWritten: number;
  readonly #sources: FlushSources;
  /** Of the run. */
  #rows = 0;
  #blocks = 0;
  #writer: RunWriter | null = null;
  #settling: Settling;
  /** Windows of which the run holds settled rows. */
  readonly #settledWindows = new Set<number>();
  #steps: Generator<number, void> | null = null;

  constructor(sources: FlushSources, state: FrozenState, seriesWritten: number) {
    this.#sources = sources;
    this.#settling = new Settling(sources);
    this.state = state;
    this.seriesWritten = seriesWritten;
  }

  /** True when more remains. Throws StorageError; the next step then begins again. */
  step(): boolean {
    try {
      this.#steps ??= this.steps();
      return this.#steps.next().done !== true;
    } catch (error) {
      this.#writer?.abandon();
      this.close();
      throw error;
    }
  }

  /** Gives back what the flush holds besides the memtable. */
  close(): void {
    this.#steps?.return(undefined);
    this.#steps = null;
    this.#writer = null;
  }

  /** Each step says how many rows it has handled. */
  *steps(): Generator<number, void> {
    const { table, store, windowNs, limits, file, free, dropped } = this.#sources;
    const { memtable, seriesEnd } = this.state;
    const writer = store.begin(windowNs, limits.transactionBytesMax);
    this.#writer = writer;
    this.#rows = 0;
    this.#blocks = 0;
    this.#settling = new Settling(this.#sources);
    this.#settledWindows.clear();
    for (const measurement of memtable.measurements()) {
      const group = memtable.group(measurement)!;
      if (group.rows === 0) continue;
      const cutter = new BlockCutter(limits);
      for (const _ of table.sortSteps(measurement)) yield 0;
      const series = table.sorted(measurement).slice();
      yield 0;
      for (const part of readParts(memtable, group, series, table.count, windowNs, free)) {
        if (part.kind === 'pass') {
          yield part.rows;
          continue;
        }
        yield part.rows.times.length;
        const window = Math.floor(part.rows.times[0]! / windowNs);
        this.windows.add(window);
        const left = this.#settled(measurement, window, part.rows);
        for (const rows of left.times.length === 0 ? [] : cutter.cut(left, part.isSlice)) {
          this.#rows += rows.times.length;
          this.#blocks++;
          cutter.learn(rows.times.length, writer.add(measurement, rows));
          yield rows.times.length;
        }
      }
    }
    while (seriesEnd - this.seriesWritten > CHUNKS_AT_ONCE * CHUNK_SERIES_MAX) {
      const end = this.seriesWritten + CHUNKS_AT_ONCE * CHUNK_SERIES_MAX;
      file.transaction((database) => this.#writeChunks(database, end));
      this.seriesWritten = end;
      yield 0;
    }
    // Mending has put rows of its own there meanwhile: those must be told apart by version.
    if ([...this.#settledWindows].some((window) => this.#isTaken(window))) {
      writer.abandon();
      yield* this.steps();
      return;
    }
    const more = this.#settling.dropped;
    writer.finish([], (database) => this.#writeState(database, more));
    dropped.added(more);
    this.seriesWritten = seriesEnd;
  }

  #isTaken(window: number): boolean {
    return this.#sources.store.directory.runsOf(window).size > 0;
  }

  /** As they are, or what settling leaves of them. */
  #settled(measurement: string, window: number, rows: RowSet): RowSet {
    const { settledThrough } = this.#sources;
    if (!isThrough(rows.versionTable.at(-1)!, settledThrough) || this.#isTaken(window)) return rows;
    this.#settledWindows.add(window);
    return this.#settling.settle(measurement, window, rows, true);
  }

  #writeState(database: Database, settledAway: Sum128): void {
    const { position, seriesEnd, tombstones, superseded, saves } = this.state;
    this.#writeChunks(database, seriesEnd);
    const write = database.prepare(WRITE_TOMBSTONE);
    for (const { version, frame } of tombstones) write.run(Buffer.from(version, 'hex'), frame);
    const more = addSums(settledAway, contentOf(superseded.deletes));
    if (more !== 0n) this.#sources.dropped.write(database, more);
    const remove = database.prepare(DELETE_TOMBSTONE);
    for (const { version } of superseded.deletes) remove.run(Buffer.from(version, 'hex'));
    database.prepare(WRITE_META).run('flushed', JSON.stringify(position));
    const { rows, blocks } = this.#sources.store.directory;
    writeSizes(database, { rows: rows + this.#rows, blocks: blocks + this.#blocks, series: seriesEnd });
    for (const save of saves) save(database);
  }

  #writeChunks(database: Database, end: number): void {
    const write = database.prepare(WRITE_CHUNK);
    for (let first = this.seriesWritten; first < end; first += CHUNK_SERIES_MAX) {
      const count = Math.min(CHUNK_SERIES_MAX, end - first);
      write.run(first, count, encodeSeriesChunk(this.#sources.table.ids, first, count));
    }
  }
}

export function contentOf(tombstones: readonly KeptTombstone[]): Sum128 {
  return tombstones.reduce((sum, { version, predicate }) => addSums(sum, tombstoneSum(predicate, version)), 0n);
}
