/**
 * One shard: its series, memtable, blocks, deletes and companion, from one SQLite file and the log behind it.
 *
 * Truth: the file up to `flushedThrough`, and the log from there on. `apply` is called with batches whose log records
 * are durable, in the order of the log; a flush (shard-flush.ts) moves the memtable into the file together with the
 * position and the companion's state of the moment at which it began: they count with its last transaction. So recovery
 * applies exactly what lies behind that position, and a crash at any moment loses nothing that is in the log.
 *
 * Opening reads what repair asks of every shard (position, companion, fields, deletes). Series and block directory are
 * read at their first use, and let go when nothing has asked for them for long. What turns out to be damaged then makes
 * the shard `unreadable`, and the engine sets its file aside.
 */
import type { Database } from 'better-sqlite3';
import { encodeBatch } from './batch-codec.ts';
import type { BlockCache } from './block-cache.ts';
import { BlockStore } from './block-store.ts';
import { addSums, type Sum128 } from './checksum.ts';
import type { FieldType } from './column.ts';
import type { ShardCompanion } from './companion.ts';
import type { StorageError } from './errors.ts';
import { openFillSource } from './fill-source.ts';
import { FlushClock } from './flush-clock.ts';
import { addSeries, unknownSeries } from './frame-series.ts';
import type { HeldFrame } from './held-frame.ts';
import { storageWords } from './kernel/storage-kernel.ts';
import { isAfter } from './log-position.ts';
import { Memtables } from './memtables.ts';
import type { QueryableShard, TagColumn } from './queryable.ts';
import { settleRows } from './row-settle.ts';
import { rowsAhead } from './rows-ahead.ts';
import type { SeriesHash, Tag } from './series-key.ts';
import type { GivenKeys } from './series-keys.ts';
import { SeriesTable } from './series-table.ts';
import { aggregateSteps } from './shard-aggregate.ts';
import { ShardCare } from './shard-care.ts';
import { ShardCatalog } from './shard-catalog.ts';
import { contentAbove, contentThrough, type RebuiltBatch, rebuildBatches } from './shard-content.ts';
import { ShardDropped } from './shard-dropped.ts';
import { ShardFields } from './shard-fields.ts';
import { damageNamed, type ShardFile } from './shard-file.ts';
import { Flush } from './shard-flush.ts';
import { type ShardId, type ShardKey, shardId } from './shard-key.ts';
import { ShardMerging } from './shard-merging.ts';
import type { ShardPolicy } from './shard-policy.ts';

import { type ScanSources, scanSteps } from './shard-scan.ts';
import { type FlushedSizes, readSeries, readState } from './shard-state.ts';
import { ShardTombstones } from './shard-tombstones.ts';
import { allSteps } from './steps.ts';
import type { FillSource, LogPosition, ShardSizes, StoredShard } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';
import { storedBatches } from './stored-batches.ts';
import type { TagCondition } from './tag-condition.ts';
import type { FreeBuffers } from './used-rows.ts';
import { earlierOf, isThrough, STAMP_ZERO, type Stamp, type Version } from './version.ts';

/** Windows per shard, and the shortest one. */
const WINDOWS_PER_SHARD = 84;
const WINDOW_NS_MIN = 3_600_000_000_000;

export interface ShardParts {
  readonly key: ShardKey;
  readonly file: ShardFile;
  /** Nothing is in the file yet but its key. */
  readonly isNew: boolean;
  readonly companion: ShardCompanion;
  readonly blocks: BlockCache;
  readonly limits: StorageLimits;
  readonly policy: ShardPolicy;
  readonly free: FreeBuffers;
  /** Before the series are read (series-memory.ts). Throws StorageError `series-full`. */
  readonly makeRoom: (id: ShardId) => void;
  /** Bytes of the shard's file. */
  readonly fileBytes: () => number;
}

export class Shard implements StoredShard, QueryableShard {
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly companion: ShardCompanion;
  readonly policy: ShardPolicy;
  readonly windowNs: number;
  readonly #parts: ShardParts;
  readonly table: SeriesTable;
  readonly #memtables: Memtables;
  readonly #store: BlockStore;
  readonly #fieldsKept = new ShardFields();
  /** Also the policy's (shard-policy.ts); of a delete shard, those that the others look at. */
  readonly tombstones: ShardTombstones;
  readonly #dropped = new ShardDropped();
  readonly #sources: ScanSources;
  readonly #catalog: ShardCatalog;
  readonly #merging: ShardMerging;
  readonly care: ShardCare;
  /** As the file says, for when series and directory are not in memory. */
  #flushedSizes: FlushedSizes | null;
  #flushedThrough: LogPosition;
  #settledThrough: Stamp;
  #applied: LogPosition;
  #flush: Flush | null = null;
  readonly #flushClock = new FlushClock();
  #closed = false;
  /** What merging leaves of rows. A property, so that simulations can do it wrong. */
  settle = settleRows;
  readonly readings = { open: 0 };
  /** Must be flushed before anything else: its unsynced log records were lost. */
  flushSoon = false;
  /** Why nothing can be read from the file. */
  unreadable: StorageError | null = null;

  /** `database`: the file, open for as long as this takes. Throws what reading throws (shard-file.ts, damageNamed). */
  constructor(parts: ShardParts, database: Database) {
    this.#parts = parts;
    this.key = parts.key;
    this.id = shardId(parts.key);
    this.companion = parts.companion;
    this.policy = parts.policy;
    const { policy, companion } = parts;
    this.windowNs = Math.max(WINDOW_NS_MIN, Math.ceil(Number(parts.key.endNs - parts.key.startNs) / WINDOWS_PER_SHARD));
    this.table = new SeriesTable((ids) => {
      parts.makeRoom(this.id);
      const steps = readSeries(parts.file, ids);
      return () => this.#reading(() => steps.next().done !== true);
    }, parts.isNew);
    this.#memtables = new Memtables(this.table);
    this.#store = new BlockStore(parts.file, parts.blocks, parts.isNew);
    this.tombstones = new ShardTombstones(this.table, parts.key, () => policy.tombstones);
    this.#sources = {
      table: this.table,
      store: this.#store,
      memtable: this.#memtables,
      tombstones: this.tombstones,
      windowNs: this.windowNs,
      readings: this.readings,
      get conflict() {
        return policy.conflict;
      },
    };
    this.#catalog = new ShardCatalog(this.#sources, this.tombstones, () => this.#fields);
    this.#merging = new ShardMerging({
      sources: this.#sources,
      store: this.#store,
      ...parts,
      dropped: this.#dropped,
      settle: (rows, request) => this.settle(rows, request),
      settledThrough: () => earlierOf(this.settledThrough, policy.deletesThrough),
      floor: () => this.#settleable,
      isDirty: () => this.isDirty || this.#flush !== null,
      flush: () => this.flush(),
    });
    this.care = new ShardCare({
      ...parts,
      shard: this,
      sources: this.#sources,
      fields: () => this.#fields,
      dropped: this.#dropped,
      merging: this.#merging,
      isGone: () => this.#closed,
    });
    companion.attach?.(
      (read) => this.#reading(() => read(parts.file.database)),
      (after, through) => storedBatches(this.#sources, this.key, after, through),
    );
    const kept = { companion, fields: this.#fieldsKept, tombstones: this.tombstones, dropped: this.#dropped };
    const state = readState(database, kept);
    this.#settledThrough = companion.floor;
    this.#flushedThrough = state.flushedThrough;
    this.#applied = state.flushedThrough;
    this.#flushedSizes = state.sizes;
  }

  /** Reads what else the file says. Throws StorageError `damaged-file`, and says so in `unreadable`. */
  load(): void {
    this.#reading(() => [this.table.ids, this.#store.directory]);
  }

  #reading<T>(read: () => T): T {
    return damageNamed(this.#parts.file.path, read, (damage) => {
      this.unreadable = damage;
    });
  }

  /** Log records of this shard behind this position are not in the file. */
  get flushedThrough(): LogPosition {
    return this.#flushedThrough;
  }

  /** The floor that the file holds. All at or below is there, too: it was taken with a memtable, and nothing comes below it. */
  get settledThrough(): Stamp {
    return this.#settledThrough;
  }

  /** Rows may be settled up to there once the floor is in the file. */
  get #settleable(): Stamp {
    return earlierOf(this.companion.floor, this.policy.deletesThrough);
  }

  get appliedThrough(): LogPosition {
    return this.#applied;
  }

  get memtableBytes(): number {
    return this.#memtables.bytes + this.tombstones.freshBytes;
  }

  get isDirty(): boolean {
    return isAfter(this.#applied, this.#flushedThrough) || this.#memtables.rows > 0;
  }

  /** Series and block directory are in memory. */
  get isResident(): boolean {
    return this.table.isLoaded && this.#store.isLoaded;
  }

  unknownSeries(frame: HeldFrame, keys: GivenKeys, earlier: readonly GivenKeys[] = []): SeriesHash[] {
    this.load(); // a file that cannot be read refuses the batch before it is logged, and is then set aside
    return frame.kind === 'delete' ? [] : unknownSeries(this.table, frame, [keys, ...earlier]);
  }

  apply(frame: HeldFrame, keys: GivenKeys, position: LogPosition): void {
    this.#assertOpen();
    if (frame.deletion !== null) this.tombstones.add(frame.deletion, encodeBatch(frame.deletion), false);
    else this.#applyWrite(frame, keys);
    if (isAfter(position, this.#applied)) this.#applied = position;
    this.#flushClock.applied();
  }

  /** Recovery met a record that the file has already. */
  skip(position: LogPosition): void {
    if (isAfter(position, this.#applied)) this.#applied = position;
  }

  #applyWrite(frame: HeldFrame, keys: GivenKeys): void {
    addSeries(this.table, frame, keys);
    if (this.tombstones.count > 0) {
      const at = frame.ids >>> 2;
      this.tombstones.wrote(storageWords().slice(at, at + frame.seriesCount), frame.version);
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
    this.load(); // what cannot be read must fail before anything is frozen
    const { count: seriesEnd, persisted } = this.table;
    const saves = [this.#fields.freeze(), this.companion.freeze()]; // before the memtable: they say what is in it
    // Whoever holds the blocks counts on what has been dropped.
    const settledThrough = this.#merging.isHeld ? STAMP_ZERO : this.#settleable;
    this.#flush = new Flush(
      { ...this.#parts, ...this.#sources, dropped: this.#dropped, settle: this.settle, settledThrough },
      {
        memtable: this.#memtables.freeze(),
        position: this.#applied,
        floor: this.companion.floor,
        seriesEnd,
        tombstones: [...this.tombstones.fresh], // those that come meanwhile belong to the next flush
        superseded: this.tombstones.superseded(this.companion.floor),
        saves,
      },
      persisted,
    );
    this.#flushClock.frozen();
  }

  get isFlushing(): boolean {
    return this.#flush !== null;
  }

  /** A bounded step of the flush that was begun; true when more remains. A step that fails begins the flush again. */
  flushStep(): boolean {
    const flush = this.#flush;
    if (flush === null) return false;
    if (flush.step()) return true;
    const { position, tombstones, superseded, floor } = flush.state;
    this.#flush = null;
    this.companion.saved?.();
    this.#memtables.dropFrozen();
    this.tombstones.flushed(tombstones.length);
    this.care.deletesDropped(superseded);
    this.#flushedThrough = position;
    this.#settledThrough = floor;
    this.table.persisted = flush.seriesWritten;
    this.#merging.flushed(flush.windows);
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
    for (const part of [this.#flushClock, this.#merging, this.table]) part.tick(nowMs);
  }

  /** Lets go of what can be read again when nothing has asked for it for long. */
  #unload(): void {
    if (!this.table.isUnused(this.#parts.limits.unusedMs) || !this.#merging.isDone || !this.unloadSeries()) return;
    for (const part of [this.#store, this.tombstones]) part.unload();
  }

  /** The series alone, for whom they make room: when they are in the file, and nothing is under way that needs them. */
  unloadSeries(): boolean {
    if (this.readings.open > 0 || this.#merging.isBusy || this.isDirty || this.#flush !== null) return false;
    this.#flushedSizes = this.#fileSizes();
    this.table.unload();
    return true;
  }

  /** Unflushed rows (flush-clock.ts), or a floor that is wanted in the file. */
  isFlushDue(): boolean {
    if (this.#merging.flushSoon) return true;
    const begun = this.#flush?.state.position ?? this.#flushedThrough;
    if (!isAfter(this.#applied, begun) && this.#memtables.active.rows === 0) return false;
    const isSettled = () => isThrough(this.#memtables.active.newest, this.#settleable);
    return this.flushSoon || this.#flushClock.isDue(this.#parts.limits, isSettled);
  }

  /** One bounded step; true when more remains. */
  compactStep(): boolean {
    if (this.#merging.isHeld || this.#closed || this.unreadable !== null) return false;
    if (!this.#store.isLoaded) {
      const wanted = this.#reading(() => this.#merging.isWanted);
      if (wanted && !this.table.readStep()) this.load();
      return wanted;
    }
    if (this.#merging.step()) return true;
    this.#unload();
    return false;
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
    return addSums(contentThrough(this.#sources, through), this.#dropped.content);
  }

  snapshot(pageBytes: number): FillSource {
    this.flush();
    const { rewrites } = this.care;
    const source = openFillSource(this.key, this.#parts.file, this.#store, pageBytes, {
      isGone: () => this.#closed || this.care.rewrites !== rewrites,
      closed: () => this.#merging.letGo(),
    });
    this.#merging.hold();
    return source;
  }

  sizes(): ShardSizes {
    const sizes = this.#fileSizes();
    const rows = sizes.rows + this.#memtables.rows;
    return { ...sizes, rows, fileBytes: this.#parts.fileBytes(), memtableBytes: this.memtableBytes };
  }

  #fileSizes(): FlushedSizes {
    if (this.#flushedSizes !== null && !this.isResident) return this.#flushedSizes;
    return { rows: this.#store.directory.rows, blocks: this.#store.directory.blocks, series: this.table.count };
  }

  /** Forgets the memtable and lets the file go. */
  close(): void {
    this.#closed = true;
    this.#flush?.close();
    this.#memtables.release();
    this.table.close();
    this.#store.close();
    this.#parts.file.close();
  }

  schema(): { measurement: string; field: string; type: FieldType }[] {
    return this.#catalog.schema();
  }

  get schemaStamp(): string {
    return this.#catalog.stamp(this.#applied);
  }

  measurements(): string[] {
    return this.#catalog.measurements();
  }

  fields(measurement: string): { name: string; types: FieldType[] }[] {
    return this.#catalog.fields(measurement);
  }

  tagKeys(measurement: string): string[] {
    return this.#catalog.tagKeys(measurement);
  }

  series(measurement: string, condition: TagCondition | null): Uint32Array {
    return this.#catalog.series(measurement, condition);
  }

  keyOf(series: number): string {
    return this.table.ids.keyOf(series);
  }

  tagsOf(series: number): readonly Tag[] {
    return this.table.tagsOf(series);
  }

  tagColumn(measurement: string, tagKey: string, series: Uint32Array): TagColumn {
    return this.table.tagColumn(measurement, tagKey, series);
  }

  readonly hashOf: QueryableShard['hashOf'] = (series) => this.table.ids.hashOf(series);
  readonly judgeSteps: QueryableShard['judgeSteps'] = (name, condition) => this.table.judgeSteps(name, condition);
  readonly scan: QueryableShard['scan'] = (request, visit) => allSteps(this.scanSteps(request, visit));
  readonly aggregate: QueryableShard['aggregate'] = (request, visit) => allSteps(this.aggregateSteps(request, visit));

  readonly rowsAhead: QueryableShard['rowsAhead'] = (request) => rowsAhead(this.#readable(), request);
  readonly scanSteps: QueryableShard['scanSteps'] = (request, visit) => scanSteps(this.#readable(), request, visit);
  readonly aggregateSteps: QueryableShard['aggregateSteps'] = (request, visit) =>
    aggregateSteps(this.#readable(), request, visit);

  #readable(): ScanSources {
    this.#assertOpen();
    return this.#sources;
  }

  #assertOpen(): void {
    if (this.#closed) throw new Error(`shard ${this.id} was dropped or replaced`);
  }
}
