/**
 * Reads everything that a shard's file holds, block after block and chunk after chunk, and sums its content: what a scrub
 * does (care.ts).
 *
 * It is about one moment. The memtable is flushed first, in steps, and merging waits until the reading is closed; blocks
 * that later flushes write hold batches that were not there at that moment. Mending waits for nobody: when it replaces
 * blocks, the readings that are under way are `snapshot-gone`. Bytes come from the file, never from the cache
 * of blocks, and SQLite is told to forget the pages that it has read.
 */
import type { Database } from 'better-sqlite3';
import { decodeBlock, decodeBlockHead } from './block.ts';
import type { BlockEntry } from './block-directory.ts';
import type { DamagedPart, Reading } from './care.ts';
import { addSums, contentByVersion, type Sum128, subtractSums, tombstoneSum } from './checksum.ts';
import type { ShardCompanion } from './companion.ts';
import { StorageError } from './errors.ts';
import { addSeriesChunk } from './series-chunk.ts';
import { SeriesIds } from './series-ids.ts';
import { groupsOfBlock } from './settled-content.ts';
import type { ShardDropped } from './shard-dropped.ts';
import { damageNamed, type ShardFile } from './shard-file.ts';
import type { ScanSources } from './shard-scan.ts';
import { isThrough, type Stamp, type Version } from './version.ts';

const EVERYTHING = { series: null, fields: null, minTime: 0, maxTime: Number.MAX_SAFE_INTEGER } as const;
const READ_CHUNK = 'SELECT first, count, bytes FROM series_chunks WHERE first >= ? ORDER BY first LIMIT 1';
/** Blocks and series are read one by one. */
const LIST_TABLES = `
  SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('blocks', 'series_chunks') AND name NOT LIKE 'sqlite_%'`;
/** Bytes between two of them, about. */
const FORGET_BYTES = 1 << 20;

export interface ReadingParts {
  readonly sources: ScanSources;
  readonly file: ShardFile;
  readonly dropped: ShardDropped;
  readonly shard: {
    readonly companion: ShardCompanion;
    readonly isFlushing: boolean;
    beginFlush(): void;
    flushStep(): boolean;
  };
  /** The shard, or what it held when the reading began. */
  readonly isGone: () => boolean;
  readonly adopted: () => void;
  readonly closed: () => void;
}

export class ShardReading implements Reading {
  readonly damaged: DamagedPart[] = [];
  readonly above = new Map<Version, Sum128>();
  bytesTotal = 0;
  bytesRead = 0;
  readonly #parts: ReadingParts;
  readonly #begun: () => void;
  readonly #steps: Generator<number, void>;
  #floor: Stamp = '';
  #stored: Sum128 = 0n;
  /** So that nothing is given from memory at first. */
  #sinceForgotten = FORGET_BYTES;
  #closed = false;

  constructor(parts: ReadingParts, begun: () => void) {
    this.#parts = parts;
    this.#begun = begun;
    this.#steps = this.#read();
  }

  get through(): Sum128 {
    return addSums(this.#stored, this.#parts.dropped.content);
  }

  step(bytesMax: number): boolean {
    for (let bytes = 0; bytes < bytesMax; ) {
      if (this.#closed || this.#parts.isGone()) throw new StorageError('snapshot-gone', 'the shard was replaced');
      const { done, value } = this.#steps.next();
      if (done === true) return false;
      bytes += value;
      this.bytesRead += value;
      this.#forget(value);
      // A step without bytes was one of a flush: the turn ends.
      if (value === 0) return true;
    }
    return true;
  }

  adopt(received: Sum128): void {
    const { dropped, file } = this.#parts;
    const more = subtractSums(received, this.through);
    if (more === 0n) return;
    file.transaction((database) => dropped.write(database, more));
    dropped.added(more);
    this.#parts.adopted();
  }

  close(): void {
    if (!this.#closed) this.#parts.closed();
    this.#closed = true;
  }

  *#read(): Generator<number, void> {
    const { sources, shard } = this.#parts;
    while (shard.isFlushing) {
      shard.flushStep();
      yield 0;
    }
    shard.beginFlush();
    this.#floor = shard.companion.floor;
    for (const { version, predicate } of sources.tombstones.own()) this.#add(version, tombstoneSum(predicate, version));
    this.#begun();
    while (shard.flushStep()) yield 0;
    this.#forget(0);
    const entries = [...sources.store.directory.all()];
    for (const { bytes } of entries) this.bytesTotal += bytes;
    for (const entry of entries) yield this.#readBlock(entry);
    yield* this.#readSeries();
    yield* this.#readTables();
  }

  #add(version: Version, sum: Sum128): void {
    if (isThrough(version, this.#floor)) this.#stored = addSums(this.#stored, sum);
    else this.above.set(version, addSums(this.above.get(version) ?? 0n, sum));
  }

  #readBlock(entry: BlockEntry): number {
    const { sources } = this.#parts;
    const { store } = sources;
    try {
      const { head, body } = store.bytesOf(entry);
      const rows = store.guard(entry, () => decodeBlock(decodeBlockHead(head), body, EVERYTHING));
      for (const [version, sum] of contentByVersion(rows, (id) => sources.table.ids.hashOf(id)))
        this.#add(version, sum);
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
      const { window, measurement, rows } = entry;
      this.damaged.push({ window, measurement, groups: groupsOfBlock(sources, entry), rows, message: error.message });
    }
    return entry.bytes;
  }

  *#readSeries(): Generator<number, void> {
    for (let next = 0; ; ) {
      const chunk = this.#named(
        (file) =>
          file.statement(READ_CHUNK).raw(false).get(next) as
            | { first: number; count: number; bytes: Buffer }
            | undefined,
      );
      if (chunk === undefined) return;
      const ids = new SeriesIds();
      try {
        this.#named(() => addSeriesChunk(ids, chunk.bytes, chunk.count));
      } finally {
        ids.close();
      }
      next = chunk.first + 1;
      yield chunk.bytes.byteLength;
    }
  }

  /** The small ones: what repair and the start of the process read of them is checked there. */
  *#readTables(): Generator<number, void> {
    const names = this.#named((file) => file.database.prepare(LIST_TABLES).pluck().all() as string[]);
    for (const name of names) {
      yield this.#named(({ database }) => {
        let bytes = 1;
        for (const row of rowsOf(database, name)) for (const cell of row) bytes += sizeOf(cell);
        return bytes;
      });
    }
  }

  #named<T>(read: (file: ShardFile) => T): T {
    const { file } = this.#parts;
    return damageNamed(file.path, () => read(file));
  }

  #forget(bytes: number): void {
    this.#sinceForgotten += bytes;
    if (this.#sinceForgotten < FORGET_BYTES) return;
    this.#sinceForgotten = 0;
    this.#named(({ database }) => database.pragma('shrink_memory'));
  }
}

function rowsOf(database: Database, table: string): IterableIterator<unknown[]> {
  return database.prepare(`SELECT * FROM "${table}"`).raw(true).iterate() as IterableIterator<unknown[]>;
}

function sizeOf(cell: unknown): number {
  if (typeof cell === 'string') return cell.length;
  return cell instanceof Uint8Array ? cell.byteLength : 8;
}
