/**
 * One shard: its series, memtable, blocks, deletes and companion, from one SQLite file and the log behind it.
 *
 * Truth: the file up to `flushedThrough`, and the log from there on. `apply` is called with batches whose log records
 * are durable, in the order of the log; a flush moves the memtable into the file together with the position of the last
 * batch applied and the companion's state, in one transaction. So recovery applies exactly what lies behind that
 * position, and a crash at any moment loses nothing that is in the log.
 */
import type { SeriesKeyRecord } from './batch.ts';
import { decodeBatch, encodeBatch } from './batch-codec.ts';
import type { BlockCache } from './block-cache.ts';
import { BlockStore, type DamagedBlock } from './block-store.ts';
import type { Sum128 } from './checksum.ts';
import type { FieldType } from './column.ts';
import type { ShardCompanion } from './companion.ts';
import { StorageError } from './errors.ts';
import { openFillSource } from './fill-source.ts';
import { addSeries, unknownSeries } from './frame-series.ts';
import type { HeldFrame } from './held-frame.ts';
import { storageWords } from './kernel/storage-kernel.ts';
import { isAfter, LOG_START } from './log-position.ts';
import { Memtables } from './memtables.ts';
import type {
  AggregateRequest,
  AggregateRuns,
  QueryableShard,
  ScanRequest,
  SeriesSlice,
  TagColumn,
} from './queryable.ts';
import { addSeriesChunk } from './series-chunk.ts';
import type { SeriesHash, Tag } from './series-key.ts';
import { SeriesTable } from './series-table.ts';
import { aggregateShard } from './shard-aggregate.ts';
import { Compaction, runsToMerge } from './shard-compaction.ts';
import { contentAbove, contentThrough, type RebuiltBatch, rebuildBatches } from './shard-content.ts';
import { ShardFields } from './shard-fields.ts';
import { readMeta, type ShardFile } from './shard-file.ts';
import { Flush } from './shard-flush.ts';
import { type ShardId, type ShardKey, shardId } from './shard-key.ts';
import { type ScanSources, scanShard } from './shard-scan.ts';
import { ShardTombstones } from './shard-tombstones.ts';
import type { FillSource, LogPosition, ShardSizes, StoredShard } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { TagCondition } from './tag-condition.ts';
import type { Stamp, Version } from './version.ts';
import { seriesWithRows } from './visible-series.ts';

/** Windows per shard, and the shortest one. */
const WINDOWS_PER_SHARD = 84;
const WINDOW_NS_MIN = 3_600_000_000_000;

const READ_CHUNKS = 'SELECT first, count, bytes FROM series_chunks ORDER BY first';
const READ_TOMBSTONES = 'SELECT frame FROM tombstones ORDER BY version';

export interface ShardParts {
  readonly key: ShardKey;
  readonly file: ShardFile;
  readonly companion: ShardCompanion;
  readonly blocks: BlockCache;
  readonly limits: StorageLimits;
  /** Bytes of the shard's file. */
  readonly fileBytes: () => number;
}

export class Shard implements StoredShard, QueryableShard {
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly companion: ShardCompanion;
  readonly windowNs: number;
  readonly #parts: ShardParts;
  readonly #table = new SeriesTable();
  readonly #memtables = new Memtables(this.#table);
  readonly #store: BlockStore;
  readonly #fieldsKept = new ShardFields();
  readonly #tombstones: ShardTombstones;
  readonly #sources: ScanSources;
  #persistedSeries = 0;
  #flushedThrough: LogPosition = LOG_START;
  #applied: LogPosition = LOG_START;
  #flush: Flush | null = null;
  #compaction: Compaction | null = null;
  /** Merging has freed pages since they were last given back. */
  #shrinkable = false;
  /** Windows that a damaged block keeps from being merged. */
  readonly #unmergeable = new Set<number>();
  /** When each window was last flushed into. */
  readonly #touchedMs = new Map<number, number>();
  #clockMs = 0;
  #writtenMs = 0;
  #dirtySinceMs: number | null = null;
  #snapshots = 0;
  #closed = false;
  /** Must be flushed before anything else: its unsynced log records were lost. */
  flushSoon = false;

  /** Reads the file. Throws StorageError `damaged-file`, or what the companion throws. */
  constructor(parts: ShardParts) {
    this.#parts = parts;
    this.key = parts.key;
    this.id = shardId(parts.key);
    this.companion = parts.companion;
    const spanNs = Number(parts.key.endNs - parts.key.startNs);
    this.windowNs = Math.max(WINDOW_NS_MIN, Math.ceil(spanNs / WINDOWS_PER_SHARD));
    this.#store = new BlockStore(parts.file, parts.blocks);
    this.#tombstones = new ShardTombstones(this.#table, spanNs);
    this.#sources = {
      table: this.#table,
      store: this.#store,
      memtable: this.#memtables,
      tombstones: this.#tombstones,
      windowNs: this.windowNs,
    };
    this.#load();
  }

  #load(): void {
    this.#store.load();
    this.#parts.file.transaction((database) => {
      for (const row of database.prepare(READ_CHUNKS).iterate()) {
        const { first, count, bytes } = row as { first: number; count: number; bytes: Buffer };
        if (first !== this.#table.count) {
          throw new StorageError('damaged-file', `${this.#parts.file.path}: series ${this.#table.count} is missing`);
        }
        addSeriesChunk(this.#table.ids, bytes, count);
      }
      this.#fieldsKept.load(database);
      for (const frame of database.prepare(READ_TOMBSTONES).pluck().all() as Buffer[]) {
        const batch = decodeBatch(frame);
        if (batch.kind === 'delete') this.#tombstones.add(batch, frame, true);
      }
      const flushed = readMeta(database, 'flushed');
      if (flushed !== null) this.#flushedThrough = JSON.parse(flushed) as LogPosition;
      this.companion.load(database);
    });
    this.#applied = this.#flushedThrough;
    this.#persistedSeries = this.#table.count;
  }

  /** Log records of this shard behind this position are not in the file. */
  get flushedThrough(): LogPosition {
    return this.#flushedThrough;
  }

  get appliedThrough(): LogPosition {
    return this.#applied;
  }

  get memtableBytes(): number {
    return this.#memtables.bytes + this.#tombstones.freshBytes;
  }

  get isDirty(): boolean {
    return isAfter(this.#applied, this.#flushedThrough) || this.#memtables.rows > 0;
  }

  /** Blocks that failed their CRC since the shard was opened. */
  get damaged(): readonly DamagedBlock[] {
    return [...this.#store.damaged.values()];
  }

  get file(): ShardFile {
    return this.#parts.file;
  }

  knows(hash: SeriesHash): boolean {
    return this.#table.find(hash) >= 0;
  }

  unknownSeries(frame: HeldFrame, keys: readonly SeriesKeyRecord[]): SeriesHash[] {
    return frame.kind === 'delete' ? [] : unknownSeries(this.#table, frame, keys);
  }

  apply(frame: HeldFrame, keys: readonly SeriesKeyRecord[], position: LogPosition): void {
    this.#assertOpen();
    if (frame.deletion !== null) this.#tombstones.add(frame.deletion, encodeBatch(frame.deletion), false);
    else this.#applyWrite(frame, keys);
    if (isAfter(position, this.#applied)) this.#applied = position;
    this.#writtenMs = this.#clockMs;
    this.#dirtySinceMs ??= this.#clockMs;
  }

  /** Recovery met a record that the file has already. */
  skip(position: LogPosition): void {
    if (isAfter(position, this.#applied)) this.#applied = position;
  }

  #applyWrite(frame: HeldFrame, keys: readonly SeriesKeyRecord[]): void {
    addSeries(this.#table, frame, keys);
    if (this.#tombstones.count > 0) {
      const at = frame.ids >>> 2;
      this.#tombstones.wrote(storageWords().slice(at, at + frame.seriesCount), frame.version);
    }
    this.#memtables.active.apply(frame);
  }

  /** Fields with what has come since it was last looked. */
  get #fields(): ShardFields {
    this.#memtables.active.drainFields((measurement, field, type, version) =>
      this.#fieldsKept.wrote(measurement, field, type, version),
    );
    return this.#fieldsKept;
  }

  /** Freezes what has been applied and not flushed, for `flushStep`; nothing while a flush runs. */
  beginFlush(): void {
    this.#assertOpen();
    if (this.#flush !== null) return;
    const { limits, file } = this.#parts;
    const saves = [this.#fields.freeze(), this.companion.freeze()];
    this.#flush = new Flush(
      { table: this.#table, store: this.#store, file, windowNs: this.windowNs, limits },
      {
        memtable: this.#memtables.freeze(),
        position: this.#applied,
        seriesEnd: this.#table.count,
        tombstones: this.#tombstones.fresh,
        saves,
      },
      this.#persistedSeries,
    );
    this.#dirtySinceMs = null;
  }

  get isFlushing(): boolean {
    return this.#flush !== null;
  }

  /** A bounded step of the flush that was begun; true when more remains. A step that fails begins the flush again. */
  flushStep(): boolean {
    const flush = this.#flush;
    if (flush === null) return false;
    if (flush.step()) return true;
    const { position, tombstones } = flush.state;
    this.#flush = null;
    this.#memtables.dropFrozen();
    this.#tombstones.flushed(tombstones.length);
    this.#flushedThrough = position;
    this.#persistedSeries = flush.seriesWritten;
    for (const window of flush.windows) this.#touchedMs.set(window, this.#clockMs);
    return false;
  }

  /** Everything that has been applied, and the companion as it is now, whatever was begun before. */
  flush(): void {
    while (this.flushStep());
    this.beginFlush();
    while (this.flushStep());
    this.flushSoon = false;
  }

  /** Time goes on: ages are counted from what is told here. */
  tick(nowMs: number): void {
    if (this.#clockMs === 0) {
      // Opened with unflushed rows: their age is counted from now.
      if (this.#dirtySinceMs !== null) this.#dirtySinceMs = nowMs;
      this.#writtenMs = nowMs;
      for (const window of this.#store.directory.windows()) this.#touchedMs.set(window, nowMs);
    }
    this.#clockMs = nowMs;
  }

  /** Unflushed rows that nothing was added to for long, or that are old. */
  isFlushDue(): boolean {
    const begun = this.#flush?.state.position ?? this.#flushedThrough;
    if (!isAfter(this.#applied, begun) && this.#memtables.active.rows === 0) return false;
    const { flushIdleMs, flushAgeMs } = this.#parts.limits;
    const age = this.#clockMs - (this.#dirtySinceMs ?? this.#clockMs);
    return this.flushSoon || this.#clockMs - this.#writtenMs >= flushIdleMs || age >= flushAgeMs;
  }

  /** One bounded step; true when more remains. */
  compactStep(): boolean {
    if (this.#snapshots > 0 || this.#closed) return false;
    const compaction = this.#compaction ?? this.#nextCompaction();
    this.#compaction = compaction;
    if (compaction === null) return this.#shrinkStep();
    try {
      if (!compaction.step()) {
        this.#compaction = null;
        this.#shrinkable = true;
      }
      return true;
    } catch (error) {
      compaction.abandon();
      this.#compaction = null;
      if (!(error instanceof StorageError) || error.code !== 'damaged-block') throw error;
      // Listed in `damaged`; the other windows go on.
      this.#unmergeable.add(compaction.window);
      return true;
    }
  }

  /** Once nothing is left to merge: what merging has freed goes back to the file system. */
  #shrinkStep(): boolean {
    if (!this.#shrinkable) return false;
    this.#shrinkable = this.#parts.file.shrinkStep();
    return this.#shrinkable;
  }

  #nextCompaction(): Compaction | null {
    const { limits } = this.#parts;
    for (const window of this.#store.directory.windows()) {
      if (this.#unmergeable.has(window)) continue;
      const touchedMs = this.#touchedMs.get(window) ?? this.#clockMs;
      const atRest = this.#clockMs - touchedMs >= limits.compactionIdleMs;
      const runs = runsToMerge(this.#store.directory, window, atRest, limits);
      if (runs !== null) {
        return new Compaction({ ...this.#sources, limits }, window, runs);
      }
    }
    return null;
  }

  rebuild(versions: ReadonlySet<Version>): RebuiltBatch[] {
    this.#assertOpen();
    return rebuildBatches(this.#sources, this.key, versions);
  }

  recomputeContent(floor: Stamp): Map<Version, Sum128> {
    this.#assertOpen();
    return contentAbove(this.#sources, floor);
  }

  recomputeContentThrough(through: Stamp): Sum128 {
    this.#assertOpen();
    return contentThrough(this.#sources, through);
  }

  snapshot(pageBytes: number): FillSource {
    this.flush();
    this.#compaction?.abandon();
    this.#compaction = null;
    this.#snapshots++;
    return openFillSource(this.key, this.#parts.file, this.#store, pageBytes, {
      isGone: () => this.#closed,
      closed: () => {
        this.#snapshots--;
      },
    });
  }

  sizes(): ShardSizes {
    return {
      rows: this.#store.directory.rows + this.#memtables.rows,
      series: this.#table.count,
      fileBytes: this.#parts.fileBytes(),
      memtableBytes: this.memtableBytes,
      blocks: this.#store.directory.blocks,
    };
  }

  /** Forgets the memtable and lets the file go. */
  close(): void {
    this.#closed = true;
    this.#flush?.close();
    this.#memtables.release();
    this.#table.close();
    this.#store.close();
    this.#parts.file.disconnect();
  }

  schema(): { measurement: string; field: string; type: FieldType }[] {
    return [...this.#fields.all()]
      .filter(({ measurement, version }) => this.#tombstones.leaves(measurement, version))
      .map(({ measurement, field, type }) => ({ measurement, field, type }));
  }

  /** Series and fields only become more; under a tombstone any write can bring something back. */
  get schemaStamp(): string {
    const { segment, offset } = this.#applied;
    const deletes = this.#tombstones.count;
    const written = deletes === 0 ? '' : `${segment}.${offset}`;
    return `${this.#table.count}/${this.#fields.count}/${deletes}/${written}`;
  }

  measurements(): string[] {
    const names = this.#table.measurements();
    return this.#tombstones.count === 0 ? names : names.filter((name) => this.series(name, null).length > 0);
  }

  fields(measurement: string): { name: string; types: FieldType[] }[] {
    if (this.#tombstones.count > 0 && this.series(measurement, null).length === 0) return [];
    const fields = new Map<string, FieldType[]>();
    for (const { field, type, version } of this.#fields.of(measurement)) {
      if (!this.#tombstones.leaves(measurement, version)) continue;
      fields.set(field, [...(fields.get(field) ?? []), type].sort());
    }
    return [...fields].map(([name, types]) => ({ name, types })).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  tagKeys(measurement: string): string[] {
    return this.#table.tagKeys(measurement, this.#tombstones.count === 0 ? null : this.series(measurement, null));
  }

  series(measurement: string, condition: TagCondition | null): Uint32Array {
    const matching = this.#table.match(measurement, condition);
    return this.#tombstones.visible(matching, (unknown) => {
      const fields = [...new Set(this.#fields.of(measurement).map(({ field }) => field))];
      return seriesWithRows(this.#sources, measurement, unknown, fields);
    });
  }

  keyOf(series: number): string {
    return this.#table.ids.keyOf(series);
  }

  tagsOf(series: number): readonly Tag[] {
    return this.#table.tagsOf(series);
  }

  tagColumn(measurement: string, tagKey: string, series: Uint32Array): TagColumn {
    return this.#table.tagColumn(measurement, tagKey, series);
  }

  hashOf(series: number): SeriesHash {
    return this.#table.ids.hashOf(series);
  }

  scan(request: ScanRequest, visit: (slice: SeriesSlice) => boolean): void {
    this.#assertOpen();
    scanShard(this.#sources, request, visit);
  }

  aggregate(request: AggregateRequest, visit: (runs: AggregateRuns) => void): void {
    this.#assertOpen();
    aggregateShard(this.#sources, request, visit);
  }

  #assertOpen(): void {
    if (this.#closed) throw new Error(`shard ${this.id} was dropped or replaced`);
  }
}
