/**
 * The storage engine of one worker thread: its log, its shards, and the steps that keep both small.
 *
 * A batch goes `append` -> `sync` -> `apply`: into the log, durable there, then readable in its shard. What is in the
 * log and not in a shard's file is in its memtable. `step` moves memtables into files when they are large, old or pin
 * the log, lets go of log segments that nobody needs, and merges runs of blocks, a little each time.
 *
 * Files: `<shardsDirectory>/<shard id>.sqlite` (shard-file.ts), `<directory>/log/` (log.ts).
 */
import type { Database } from 'better-sqlite3';
import { BlockCache } from './block-cache.ts';
import type { FieldType } from './column.ts';
import type { ShardCompanion } from './companion.ts';
import type { EngineOptions } from './engine-options.ts';
import {
  applyRecords,
  lostKeys,
  lostShards,
  openShards,
  type Recovery,
  recordsOf,
  replayLog,
  setAsideOf,
  setShardFileAside,
  type UnopenedShard,
} from './engine-recovery.ts';
import { StorageError } from './errors.ts';
import { joinPath } from './files.ts';
import { FillWriter, originOf, removeFillFile } from './fill-target.ts';
import { FRAME_CRC_OFFSET } from './frame-head.ts';
import { Log } from './log.ts';
import { isAfter, LOG_START } from './log-position.ts';
import { BATCH_RECORD, KEYS_RECORD, type RecordToAppend } from './log-record.ts';
import { flushAbove, memtableBytes } from './memtable-pressure.ts';
import type { QueryableShard } from './queryable.ts';
import { type GivenKeys, SeriesKeys } from './series-keys.ts';
import { SeriesMemory } from './series-memory.ts';
import { Shard } from './shard.ts';
import { NewShardFiles } from './shard-creation.ts';
import { ConnectionPool, readShardFile, ShardFile, shardFileImage, WRITE_META } from './shard-file.ts';
import { type ShardId, type ShardKey, shardId } from './shard-key.ts';
import { type RulesOf, ShardPolicies } from './shard-policy.ts';
import type { FillTarget, LogEntry, LogPosition, Storage, StoredShard } from './storage.ts';

/** What a step may take when writes come faster than memtables are flushed. */
const PRESSED_STEP_MS = 20;
/** Segments that the log's maximum has room for at least. */
const LOG_SEGMENTS_MIN = 8;

/** A shard whose damaged file was set aside, until what the log holds of it is in a new one. */
type LostShard = { readonly key: ShardKey; readonly applied: LogPosition };

export class Engine implements Storage {
  readonly #options: EngineOptions;
  readonly #shards = new Map<ShardId, Shard>();
  readonly #pool: ConnectionPool;
  readonly blockCache: BlockCache;
  readonly #log: Log;
  readonly #newFiles: NewShardFiles;
  readonly #series: SeriesMemory;
  readonly #fills = new Map<ShardId, FillWriter>();
  #flushing: Shard | null = null;
  /** Shards whose compaction is looked at next, so that one busy shard does not starve the others. */
  #turn: ShardId[] = [];
  /** Looks since one of them found something to merge. */
  #lookedInVain = 0;
  /** Also of `recovery`. Those that turned out to be damaged later are added. */
  readonly #unopened: UnopenedShard[];
  readonly #lost = new Map<ShardId, LostShard>();
  readonly #policies = new ShardPolicies(this.#shards);
  readonly recovery: Recovery;

  /** Recovers what a crash left. Throws StorageError when the disk refuses. */
  static open(options: EngineOptions): Engine {
    return new Engine(options);
  }

  private constructor(options: EngineOptions) {
    this.#options = options;
    const { limits, files, openDatabase } = options;
    const startMs = options.nowMs();
    this.#series = new SeriesMemory(this.#shards, limits.seriesBytesMax);
    this.#pool = new ConnectionPool(openDatabase, limits.openFilesMax);
    this.blockCache = new BlockCache(limits.blockCacheBytesMax, limits.unusedMs);
    this.#newFiles = new NewShardFiles(files, options.shardsDirectory);
    const { shards, unopened } = openShards({
      directory: options.shardsDirectory,
      files,
      open: openDatabase,
      owns: options.owns,
      openShard: (key, database) => this.#openShard(key, database, false),
    });
    this.#unopened = unopened;
    let segmentMin = 1;
    for (const shard of shards) {
      this.#shards.set(shard.id, shard);
      segmentMin = Math.max(segmentMin, shard.flushedThrough.segment + 1);
    }
    // A segment goes as a whole, and never the one that is written to: several must fit below the log's maximum.
    const segmentBytesMax = Math.min(limits.segmentBytesMax, Math.floor(limits.logBytesMax / LOG_SEGMENTS_MIN));
    this.#log = new Log(files, joinPath(options.directory, 'log'), { ...limits, segmentBytesMax }, segmentMin);
    const replayed = replayLog(this.#log, {
      shardOf: (id) => this.#shards.get(id),
      remake: (key) => (options.owns(key) ? this.#createAt(key, LOG_START) : null),
      lost: lostShards(files, options.shardsDirectory),
      shards: () => this.#shards.values(),
      setAside: (shard, error) => this.#setAside(shard, error),
      applied: () => flushAbove(this.#shards, limits.memtableBytesMax),
    });
    const { records, bytes, applied, truncatedBytes, damaged } = replayed;
    for (const key of lostKeys(options, this.#shards)) this.#lost.set(shardId(key), { key, applied: LOG_START });
    for (const id of this.#lost.keys()) this.#remake(id);
    const setAside = setAsideOf(files, options.shardsDirectory, this.#shards);
    const ms = options.nowMs() - startMs;
    this.recovery = { records, bytes, applied, truncatedBytes, damaged, unopened, setAside, ms };
  }

  get shards(): ReadonlyMap<ShardId, Shard> {
    return this.#shards;
  }

  close(): void {
    for (const fill of this.#fills.values()) fill.suspend();
    for (const shard of this.#shards.values()) shard.close();
    this.#newFiles.close();
    this.#log.close();
  }

  create(key: ShardKey): StoredShard {
    const id = shardId(key);
    const known = this.#shards.get(id);
    if (known !== undefined) return known;
    if (this.#lost.has(id)) throw new StorageError('damaged-file', `shard ${id} is being made again from the log`);
    return this.#createAt(key, this.#log.end);
  }

  /** `flushed`: what the log holds up to there is not this shard's (an earlier one's with the same key). */
  #createAt(key: ShardKey, flushed: LogPosition): Shard {
    const { files, openDatabase } = this.#options;
    const path = this.#path(shardId(key));
    if (files.exists(path))
      throw new StorageError('future-format', `${path} is there and could not be opened: see the report of the start`);
    let made: Shard | null = null;
    const image = shardFileImage(openDatabase, key, (database) => {
      database.prepare(WRITE_META).run('flushed', JSON.stringify(flushed));
      made = this.#openShard(key, database, true);
    });
    this.#newFiles.write(path, image);
    const shard = made! as Shard;
    this.#shards.set(shard.id, shard);
    return shard;
  }

  #openShard(key: ShardKey, database: Database, isNew: boolean): Shard {
    const { limits, files, companion, free = () => {} } = this.#options;
    const path = this.#path(shardId(key));
    const file = new ShardFile(path, this.#pool, () => this.#newFiles.settle(path));
    const fileBytes = (): number => (files.exists(path) ? files.size(path) : 0);
    const parts = { key, file, isNew, companion: companion(key), blocks: this.blockCache, limits, fileBytes, free };
    return new Shard({ ...parts, policy: this.#policies.of(key), makeRoom: this.#series.makeRoom }, database);
  }

  readonly setRules = (rulesOf: RulesOf): void => this.#policies.setRules(rulesOf);
  readonly isUnopened = (id: ShardId): boolean => !this.#shards.has(id) && this.#options.files.exists(this.#path(id));

  drop(id: ShardId): void {
    const { files, shardsDirectory } = this.#options;
    this.#fills.get(id)?.abort();
    this.#fills.delete(id);
    this.#shards.get(id)?.close();
    this.#shards.delete(id);
    this.#lost.delete(id);
    const path = this.#path(id);
    this.#newFiles.drop(path);
    for (const name of [path, `${path}-journal`]) files.remove(name);
    removeFillFile(files, `${path}.fill`);
    for (const name of files.list(shardsDirectory)) {
      // What was set aside of a shard goes with it, or the next start would take the shard for a lost one.
      if (name.startsWith(`${id}.sqlite.damaged-`)) files.remove(joinPath(shardsDirectory, name));
    }
    files.syncDirectory(shardsDirectory);
  }

  append(entries: readonly LogEntry[]): LogPosition {
    const records: RecordToAppend[] = [];
    for (const { shard, keys, frame } of entries) {
      const fresh = this.#freshKeys(shard, keys);
      if (fresh !== null) records.push({ kind: KEYS_RECORD, shard, payload: fresh.encoded, crcAt: fresh.crcAt });
      records.push({ kind: BATCH_RECORD, shard, payload: frame, crcAt: FRAME_CRC_OFFSET });
    }
    const end = this.#log.append(records);
    this.#series.logged();
    return end;
  }

  admit(id: ShardId, keys: GivenKeys): StorageError | null {
    const shard = this.#shards.get(id);
    return shard === undefined ? null : this.#series.admit(shard, keys);
  }

  /**
   * The keys when the shard lacks some of them. A key that the shard has is in its file, or in the log ahead of this group
   * and not flushed, and is then replayed before it.
   */
  #freshKeys(shard: ShardId, keys: GivenKeys): SeriesKeys | null {
    const given = SeriesKeys.of(keys);
    return given.length === 0 || this.#shards.get(shard)?.table.knowsAll(given) === true ? null : given;
  }

  sync(done: (error: Error | null) => void): void {
    const refused = this.#flushUnlogged();
    const syncLog = (ended: (error: Error | null) => void): void =>
      this.#log.sync((error) => {
        if (error !== null) this.#noteUnlogged();
        ended(error);
      });
    if (this.#newFiles.count === 0) syncLog((error) => done(error ?? refused));
    else this.#newFiles.syncBeside(syncLog, (error) => done(error ?? refused));
  }

  /** After a failed sync: rows that were applied before it are no longer in the log, and have to go into the files. */
  #noteUnlogged(): void {
    for (const shard of this.#shards.values()) {
      if (isAfter(shard.appliedThrough, this.#log.synced)) shard.flushSoon = true;
    }
    this.#flushUnlogged();
  }

  #flushUnlogged(): Error | null {
    let refused: Error | null = null;
    for (const shard of this.#shards.values()) if (shard.flushSoon) refused = tryFlush(shard) ?? refused;
    return refused;
  }

  pressure(): { logBytes: number; memtableBytes: number; overloaded: boolean } {
    const { logBytesMax, memtableBytesMax } = this.#options.limits;
    const logBytes = this.#log.bytes;
    const inMemory = memtableBytes(this.#shards.values());
    const overloaded = logBytes > logBytesMax || inMemory > memtableBytesMax;
    return { logBytes, memtableBytes: inMemory, overloaded };
  }

  step(budgetMs: number, nowMs: () => number): boolean {
    const startMs = nowMs();
    this.blockCache.tick(startMs);
    for (const shard of this.#shards.values()) {
      shard.tick(startMs);
      if (shard.unreadable !== null) this.#lose(shard, shard.unreadable);
    }
    this.#series.tick(startMs);
    for (const id of this.#lost.keys()) this.#remake(id);
    const unsettled = this.#settleNext();
    const allowedMs = this.#isPressed() ? Math.max(budgetMs, PRESSED_STEP_MS) : budgetMs;
    const spent = (): boolean => nowMs() - startMs >= allowedMs;
    // Of both once at least: looking at many shards may have taken the time.
    let flushing: boolean;
    do flushing = this.#flushNext();
    while (flushing && !spent());
    this.#log.release(this.#flushedThrough);
    this.#log.prepare();
    if (unsettled !== null) throw unsettled;
    if (flushing) return true;
    do if (!this.#compactNext(spent)) return false;
    while (!spent());
    return true;
  }

  /** A new file that cannot be made durable is tried again later, and keeps no flush from going on. */
  #settleNext(): StorageError | null {
    try {
      this.#newFiles.settleNext();
      return null;
    } catch (error) {
      if (error instanceof StorageError) return error;
      throw error;
    }
  }

  /** One step of the flush that runs, or the first one of the next that is wanted; false when none is. */
  #flushNext(): boolean {
    let shard = this.#flushing;
    if (shard?.isFlushing !== true || this.#shards.get(shard.id) !== shard) {
      shard = this.#nextToFlush();
      this.#flushing = shard;
      if (shard === null) return false;
      shard.beginFlush();
    }
    shard.flushStep();
    return true;
  }

  /** A shard that was begun by somebody else, is due, has the largest memtable when all are large, or pins the log. */
  #nextToFlush(): Shard | null {
    const { limits } = this.#options;
    let largest: Shard | null = null;
    let inMemory = 0;
    for (const shard of this.#shards.values()) {
      if (shard.isFlushing || shard.isFlushDue()) return shard;
      inMemory += shard.memtableBytes;
      if (largest === null || shard.memtableBytes > largest.memtableBytes) largest = shard;
    }
    if (inMemory > limits.memtableBytesMax * limits.flushShare) return largest;
    if (this.#series.toFlush !== null) return this.#series.toFlush;
    if (this.#log.bytes <= limits.logBytesMax * limits.flushShare) return null;
    this.#log.release(this.#flushedThrough);
    if (this.#log.bytes <= limits.logBytesMax * limits.flushShare) return null;
    for (const id of this.#log.pinning(this.#flushedThrough)) {
      const shard = this.#shards.get(id);
      if (shard?.isDirty === true) return shard;
    }
    return null;
  }

  /** Half the way from where flushing begins to where writes are refused. */
  #isPressed(): boolean {
    const { logBytesMax, memtableBytesMax, flushShare } = this.#options.limits;
    const share = (1 + flushShare) / 2;
    return this.#log.bytes > logBytesMax * share || memtableBytes(this.#shards.values()) > memtableBytesMax * share;
  }

  /** As at the start: the shard is gone from here, what is in its file is kept, and the ring brings it anew. */
  #setAside(shard: Shard, error: StorageError): void {
    const { files, shardsDirectory } = this.#options;
    const path = this.#path(shard.id);
    shard.close();
    this.#shards.delete(shard.id);
    setShardFileAside(files, shardsDirectory, path);
    this.#unopened.push({ id: shard.id, path, code: error.code, message: error.message });
  }

  /** While the engine runs: the log keeps what it holds of the shard until that is in a new file. */
  #lose(shard: Shard, error: StorageError): void {
    const { id, key, appliedThrough } = shard;
    this.#setAside(shard, error);
    this.#lost.set(id, { key, applied: appliedThrough });
    this.#remake(id);
    this.#options.setAside?.(id);
  }

  /** Also where the log has nothing: who has no shard could tell nobody of it. Tried again with the next step when the disk refuses. */
  #remake(id: ShardId): void {
    const lost = this.#lost.get(id);
    if (lost === undefined) return;
    try {
      // All of them, as at a start: what was flushed went into the damaged file.
      const records = recordsOf(this.#log, id, lost.applied);
      applyRecords(this.#createAt(lost.key, LOG_START), records);
      this.#lost.delete(id);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /**
   * One step of the next shard that has something to merge, or as many looks at shards as the time allows; false when a
   * whole round of them, in however many steps, has found none.
   */
  #compactNext(spent: () => boolean): boolean {
    while (this.#lookedInVain <= this.#shards.size) {
      if (this.#turn.length === 0) this.#turn = [...this.#shards.keys()];
      const id = this.#turn[0];
      const shard = id === undefined ? undefined : this.#shards.get(id);
      if (shard?.compactStep() === true) {
        this.#lookedInVain = 0;
        return true;
      }
      this.#turn.shift();
      this.#lookedInVain++;
      if (spent()) return true;
    }
    this.#lookedInVain = 0;
    return false;
  }

  /**
   * Null for a shard that is gone for good. A shard with nothing unflushed needs nothing of the log that is synced: its records
   * there were flushed, or their batches were refused after all.
   */
  readonly #flushedThrough = (id: ShardId): LogPosition | null => {
    const shard = this.#shards.get(id);
    if (shard === undefined) return this.#lost.has(id) ? LOG_START : null;
    return shard.isDirty ? shard.flushedThrough : this.#log.synced;
  };

  copyOrigin(id: ShardId): string | null {
    const { files, openDatabase } = this.#options;
    return originOf(files, openDatabase, `${this.#path(id)}.fill`);
  }

  beginFill(key: ShardKey, origin: string): FillTarget {
    const id = shardId(key);
    const { files, openDatabase, limits, shardsDirectory } = this.#options;
    const path = this.#path(id);
    this.#fills.get(id)?.suspend();
    const fill = new FillWriter({
      key,
      origin,
      path: `${path}.fill`,
      files,
      open: openDatabase,
      transactionBytesMax: limits.transactionBytesMax,
      logEnd: () => this.#log.end,
      replace: () => {
        this.#fills.delete(id);
        this.#lost.delete(id);
        this.#shards.get(id)?.close();
        this.#newFiles.drop(path);
        files.remove(`${path}-journal`);
        files.rename(`${path}.fill`, path);
        files.syncDirectory(shardsDirectory);
        files.remove(`${path}.fill-journal`);
        const shard = readShardFile(openDatabase, path, (database) => this.#openShard(key, database, false));
        this.#shards.set(id, shard);
        return shard;
      },
    });
    this.#fills.set(id, fill);
    return fill;
  }

  queryable(id: ShardId): QueryableShard | null {
    return this.#shards.get(id) ?? null;
  }

  companionOf(id: ShardId): ShardCompanion {
    const shard = this.#shards.get(id);
    if (shard === undefined) throw new Error(`shard ${id} is not here`);
    return shard.companion;
  }

  /** What the coordinator checks types against. */
  schema(id: ShardId): { measurement: string; field: string; type: FieldType }[] {
    return this.#shards.get(id)?.schema() ?? [];
  }

  #path(id: ShardId): string {
    return joinPath(this.#options.shardsDirectory, `${id}.sqlite`);
  }
}

function tryFlush(shard: Shard): Error | null {
  try {
    shard.flush();
    return null;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
}
