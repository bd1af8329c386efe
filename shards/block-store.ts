/**
 * The blocks of one shard in its file: written by runs, read by window.
 *
 * A run is what one flush, compaction or copy writes. Its blocks go in over transactions of bounded size and count
 * only once the run's row is there, which the last, small transaction writes together with everything that must change
 * with it (flushed position, ledger, tombstones, removal of what a compaction replaced). What a crash leaves of an
 * unfinished run is removed at the next opening. So a flush of any size is atomic, and no pause is long.
 *
 * A block whose bytes fail their CRC is listed in `damaged`, never served and never removed.
 */
import type { Database } from 'better-sqlite3';
import { type BlockWant, checkBody, decodeBlock, decodeBlockHead, decodePlacedBlock, encodeBlock } from './block.ts';
import type { BlockCache, CachedBlock } from './block-cache.ts';
import { BlockDirectory, type BlockEntry } from './block-directory.ts';
import { BlockError } from './block-error.ts';
import type { BlockColumn, BlockHead } from './block-head.ts';
import { errorCodeOf, StorageError } from './errors.ts';
import { type PickFunction, type Picks, picksOf } from './remembered-picks.ts';
import type { RowSet } from './row-set.ts';
import { guarded, type ShardFile } from './shard-file.ts';
import { STAMP_ZERO, type Stamp, stampOf, type Version } from './version.ts';

const READ_RUNS = 'SELECT run FROM runs';
const READ_DIRECTORY = `
  SELECT id, run, window, measurement, first_series AS first, last_series AS last, min_time AS minTime,
    max_time AS maxTime, lower(hex(min_version)) AS minVersion, lower(hex(max_version)) AS maxVersion, rows,
    length(head) + length(body) AS bytes
  FROM blocks ORDER BY id`;
/** Windows that are not one run of settled rows (row-settle.ts). */
const READ_UNSETTLED = `
  SELECT lower(hex(max(max_version))) AS newest, min(run) < max(run) AS several FROM blocks GROUP BY window
  HAVING several OR min(min_version) < max(max_version) OR substr(max(max_version), 9) <> x'ffffffffffffffff'`;
const READ_HEAD = 'SELECT head FROM blocks WHERE id = ?';
const READ_BODY = 'SELECT body FROM blocks WHERE id = ?';
export const INSERT_BLOCK = `
  INSERT INTO blocks (run, window, measurement, first_series, last_series, min_time, max_time, min_version, max_version,
    rows, head, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
const DELETE_BLOCK = 'DELETE FROM blocks WHERE id = ?';
const DELETE_RUN_BLOCKS = 'DELETE FROM blocks WHERE run = ?';
export const INSERT_RUN = 'INSERT INTO runs (run) VALUES (?)';
const DELETE_RUN = 'DELETE FROM runs WHERE run = ?';

export interface DamagedBlock {
  readonly id: number;
  readonly measurement: string;
  readonly window: number;
  readonly rows: number;
  readonly message: string;
}

export class BlockStore {
  /** By block id. */
  readonly damaged = new Map<number, DamagedBlock>();
  readonly #file: ShardFile;
  readonly #cache: BlockCache;
  /** null until it is asked for. */
  #directory: BlockDirectory | null;
  #nextRun = 1;

  constructor(file: ShardFile, cache: BlockCache, isNew: boolean) {
    this.#file = file;
    this.#cache = cache;
    this.#directory = isNew ? new BlockDirectory() : null;
  }

  get directory(): BlockDirectory {
    this.#directory ??= this.#load();
    return this.#directory;
  }

  get isLoaded(): boolean {
    return this.#directory !== null;
  }

  /** Until the next use. No run may be being written. */
  unload(): void {
    this.#dropCached();
    this.#directory = null;
  }

  #dropCached(): void {
    for (const entry of this.#directory?.all() ?? []) this.#cache.drop(entry);
  }

  /** Reads which blocks there are, and removes those of runs that did not end. */
  #load(): BlockDirectory {
    const directory = new BlockDirectory();
    const leftovers: number[] = [];
    guarded(this.#file.path, () => {
      const { database } = this.#file;
      const runs = new Set(database.prepare(READ_RUNS).pluck().all() as number[]);
      for (const entry of database.prepare(READ_DIRECTORY).iterate() as IterableIterator<BlockEntry>) {
        if (runs.has(entry.run)) directory.add(entry);
        else leftovers.push(entry.id);
      }
      this.#nextRun = Math.max(this.#nextRun, ...[...runs].map((run) => run + 1));
    });
    if (leftovers.length > 0)
      this.#file.transaction((database) => {
        for (const id of leftovers) database.prepare(DELETE_BLOCK).run(id);
      });
    return directory;
  }

  /**
   * The least stamp through which the shard must be settled before there is something to merge; null: nothing will be.
   * Asked of the file, without reading the directory into memory.
   */
  mergeableFrom(): Stamp | null {
    const windows = guarded(this.#file.path, () => this.#file.statement(READ_UNSETTLED).all()) as {
      newest: Version;
      several: number;
    }[];
    return windows.map(({ newest, several }) => (several === 1 ? STAMP_ZERO : stampOf(newest))).sort()[0] ?? null;
  }

  begin(windowNs: number, transactionBytesMax: number): RunWriter {
    const { directory } = this;
    return new RunWriter(this.#file, directory, this.#cache, this.#nextRun++, windowNs, transactionBytesMax);
  }

  /** Throws StorageError `damaged-block`. */
  head(entry: BlockEntry): BlockHead {
    const cached = this.#cache.get(entry);
    if (cached !== null) return cached.head;
    return this.#checked(entry, () => {
      const bytes = this.#read(READ_HEAD, entry);
      const head = decodeBlockHead(bytes);
      this.#cache.putHead(entry, head, bytes.byteLength);
      return head;
    });
  }

  /** With its body in the kernel's memory, where it may stay until the next block is asked for. Throws as `head`. */
  placed(entry: BlockEntry): CachedBlock {
    const cached = this.#cache.get(entry);
    if (cached !== null && cached.body !== 0) return cached;
    const head = this.head(entry);
    return this.#checked(entry, () => {
      const body = this.#read(READ_BODY, entry);
      checkBody(head, body);
      return this.#cache.putBody(entry, body);
    });
  }

  /**
   * The newest or oldest values of all series of the block, from memory or decoded and remembered; null: a series has two
   * rows at one time. Throws as `head`.
   */
  picks(entry: BlockEntry, column: BlockColumn, fn: PickFunction): Picks | null {
    const block = this.placed(entry);
    const known = block.picks.find((some) => some.fn === fn && some.column.offset === column.offset);
    if (known !== undefined) return known.picks;
    const picks = this.#checked(entry, () => picksOf(block, column, fn));
    this.#cache.remember(entry, { fn, column, picks });
    return picks;
  }

  /** Several blocks as `placed`, all of which stay where they are until `letGo`. */
  placedTogether(entries: readonly BlockEntry[]): CachedBlock[] {
    this.#cache.hold(new Set(entries));
    return entries.map((entry) => this.placed(entry));
  }

  letGo(): void {
    this.#cache.hold(new Set());
  }

  /** For queries: the block stays in memory for the next one. Throws StorageError `damaged-block`. */
  wanted(entry: BlockEntry, want: BlockWant): RowSet {
    const block = this.placed(entry);
    return this.#checked(entry, () => decodePlacedBlock(block.head, block, want));
  }

  /** For what reads every block once. Throws StorageError `damaged-block`. */
  rows(entry: BlockEntry, want: BlockWant): RowSet {
    const head = this.head(entry);
    return this.#checked(entry, () => decodeBlock(head, this.#read(READ_BODY, entry), want));
  }

  /** Work on the bytes of a block outside of this class: what it throws of damage counts as its damage. */
  guard<T>(entry: BlockEntry, read: () => T): T {
    return this.#checked(entry, read);
  }

  /** The file is let go. */
  close(): void {
    this.#dropCached();
    this.#directory = new BlockDirectory();
  }

  /** Head and body as they stand in the file. */
  bytesOf(entry: BlockEntry): { head: Buffer; body: Buffer } {
    return this.#checked(entry, () => ({ head: this.#read(READ_HEAD, entry), body: this.#read(READ_BODY, entry) }));
  }

  #read(sql: string, entry: BlockEntry): Buffer {
    const row = guarded(this.#file.path, () => this.#file.statement(sql).raw(true).get(entry.id)) as
      | [Buffer]
      | undefined;
    if (row === undefined) throw new Error(`block ${entry.id} is not in ${this.#file.path}`);
    return row[0];
  }

  #checked<T>(entry: BlockEntry, read: () => T): T {
    const known = this.damaged.get(entry.id);
    if (known !== undefined) throw new StorageError('damaged-block', known.message);
    try {
      return read();
    } catch (error) {
      const damaged = error instanceof BlockError || errorCodeOf(error) === 'damaged-file';
      if (!damaged) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      const message = `block ${entry.id} of ${this.#file.path} (${entry.measurement}, window ${entry.window}): ${reason}`;
      const { id, measurement, window, rows } = entry;
      this.damaged.set(id, { id, measurement, window, rows, message });
      throw new StorageError('damaged-block', message, { cause: error });
    }
  }
}

interface EncodedBlock {
  readonly entry: Omit<BlockEntry, 'id'>;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
}

export class RunWriter {
  readonly run: number;
  readonly #file: ShardFile;
  readonly #directory: BlockDirectory;
  readonly #cache: BlockCache;
  readonly #windowNs: number;
  readonly #bytesMax: number;
  #waiting: EncodedBlock[] = [];
  #waitingBytes = 0;
  readonly #written: BlockEntry[] = [];

  constructor(
    file: ShardFile,
    directory: BlockDirectory,
    cache: BlockCache,
    run: number,
    windowNs: number,
    bytesMax: number,
  ) {
    this.#file = file;
    this.#directory = directory;
    this.#cache = cache;
    this.run = run;
    this.#windowNs = windowNs;
    this.#bytesMax = bytesMax;
  }

  /** Rows of one window, with a table of the versions that occur among them. Returns what they take as a block. */
  add(measurement: string, rows: RowSet): number {
    const { head, body } = encodeBlock(rows);
    const entry = describeRows(this.run, measurement, rows, this.#windowNs, head.byteLength + body.byteLength);
    this.#waiting.push({ entry, head, body });
    this.#waitingBytes += entry.bytes;
    if (this.#waitingBytes >= this.#bytesMax) this.#file.transaction((database) => this.#insert(database));
    return entry.bytes;
  }

  /** Makes the run count, and takes `replaced` away, in one transaction with `also`. */
  finish(replaced: readonly BlockEntry[], also: (database: Database) => void): void {
    this.#file.transaction((database) => {
      this.#insert(database);
      if (this.#written.length > 0) database.prepare(INSERT_RUN).run(this.run);
      const remove = database.prepare(DELETE_BLOCK);
      for (const entry of replaced) remove.run(entry.id);
      also(database);
    });
    for (const entry of replaced) {
      this.#directory.remove(entry);
      this.#cache.drop(entry);
    }
    for (const entry of this.#written) this.#directory.add(entry);
  }

  /** After a failure: takes back what was written; should that fail too, the next opening does it. */
  abandon(): void {
    try {
      this.#file.transaction((database) => database.prepare(DELETE_RUN_BLOCKS).run(this.run));
    } catch {
      // The blocks do not count: their run has no row.
    }
  }

  #insert(database: Database): void {
    const insert = database.prepare(INSERT_BLOCK);
    const inserted: BlockEntry[] = [];
    for (const { entry, head, body } of this.#waiting) {
      const { lastInsertRowid } = insert.run(...blockValues(entry, head, body));
      inserted.push({ id: Number(lastInsertRowid), ...entry });
    }
    this.#written.push(...inserted);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}

/**
 * Ends a run that takes the place of other blocks, in one transaction with `also`, which is told what the file holds then.
 * Runs of which no block is left are forgotten.
 */
export function replaceBlocks(
  store: BlockStore,
  writer: RunWriter,
  replaced: readonly BlockEntry[],
  added: { readonly rows: number; readonly blocks: number },
  also: (database: Database, sizes: { rows: number; blocks: number }) => void,
): void {
  const { directory } = store;
  const emptied = new Set(replaced.map(({ run }) => run));
  const gone = new Set(replaced);
  for (const entry of directory.all()) if (!gone.has(entry)) emptied.delete(entry.run);
  let rows = directory.rows + added.rows;
  for (const entry of replaced) rows -= entry.rows;
  const blocks = directory.blocks + added.blocks - replaced.length;
  writer.finish(replaced, (database) => {
    for (const run of emptied) database.prepare(DELETE_RUN).run(run);
    also(database, { rows, blocks });
  });
}

/** Values in the order of INSERT_BLOCK. */
function blockValues(entry: Omit<BlockEntry, 'id'>, head: Uint8Array, body: Uint8Array): (number | string | Buffer)[] {
  return [
    entry.run,
    entry.window,
    entry.measurement,
    entry.first,
    entry.last,
    entry.minTime,
    entry.maxTime,
    Buffer.from(entry.minVersion, 'hex'),
    Buffer.from(entry.maxVersion, 'hex'),
    entry.rows,
    asBuffer(head),
    asBuffer(body),
  ];
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function describeRows(
  run: number,
  measurement: string,
  rows: RowSet,
  windowNs: number,
  bytes: number,
): Omit<BlockEntry, 'id'> {
  const { times, series, seriesStart, versionTable } = rows;
  if (times.length === 0) throw new Error(`a block of ${measurement} without rows`);
  let minTime = Number.POSITIVE_INFINITY;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (let s = 0; s < series.length; s++) {
    minTime = Math.min(minTime, times[seriesStart[s]!]!);
    maxTime = Math.max(maxTime, times[seriesStart[s + 1]! - 1]!);
  }
  const window = Math.floor(minTime / windowNs);
  if (window !== Math.floor(maxTime / windowNs)) {
    throw new Error(`a block of ${measurement} spans windows: ${minTime} to ${maxTime}, windows of ${windowNs}`);
  }
  return {
    run,
    window,
    measurement,
    first: series[0]!,
    last: series.at(-1)!,
    minTime,
    maxTime,
    minVersion: versionTable[0]!,
    maxVersion: versionTable.at(-1)!,
    rows: times.length,
    bytes,
  };
}
