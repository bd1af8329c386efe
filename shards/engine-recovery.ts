/**
 * Opening a worker's storage: shard files first, then what the log holds behind each of them.
 *
 * Of a file only what is small is read (shard.ts). What else is in it is read when the log has records for it, or later;
 * should it turn out to be damaged then, it is set aside as if it had been found here.
 *
 * - `<id>.sqlite.fill` files are copies that did not end: removed, unless the shard still awaits one.
 * - A file of a later format is left alone; the engine goes on without that shard and reports it.
 * - A file that cannot be read is renamed to `<id>.sqlite.damaged-<n>`, kept for good and reported. What the log still
 *   holds of that shard goes into a new, empty file, and the ring brings the rest.
 * - Records of shards without a file belong to dropped shards: skipped.
 * - A record whose version the companion has already is skipped; one that is whole but cannot be read or whose keys are
 *   missing is set aside (log.ts) and reported.
 */
import type { Database } from 'better-sqlite3';
import { BatchError, peekBatch } from './batch-codec.ts';
import type { EngineOptions } from './engine-options.ts';
import { StorageError } from './errors.ts';
import { type Files, joinPath, syncFile } from './files.ts';
import { type HeldFrame, holdFrameOf } from './held-frame.ts';
import type { Log } from './log.ts';
import { isAfter } from './log-position.ts';
import { KEYS_RECORD, type LogRecord } from './log-record.ts';
import type { Replayed } from './log-segment.ts';
import { type GivenKeys, SeriesKeys } from './series-keys.ts';
import type { Shard } from './shard.ts';
import { type OpenDatabase, readShardFile, readShardKey } from './shard-file.ts';
import { type ShardId, type ShardKey, shardId } from './shard-key.ts';
import type { LogPosition } from './storage.ts';

export interface UnopenedShard {
  readonly id: ShardId;
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

export interface Recovery {
  /** Log records and bytes that were read. */
  readonly records: number;
  readonly bytes: number;
  /** Batches applied to memtables. */
  readonly applied: number;
  readonly truncatedBytes: number;
  /** Log bytes that were set aside. */
  readonly damaged: Replayed['damaged'];
  readonly unopened: readonly UnopenedShard[];
  /** Of which a file was set aside, now or at any time before. */
  readonly setAside: readonly ShardId[];
  readonly ms: number;
}

const SHARD_FILE = /^([0-9a-f]{16})\.sqlite$/;
/** Of a file that has no name yet (shard-creation.ts). */
const NEW_SUFFIX = '.new';
const DAMAGED_FILE = /^([0-9a-f]{16})\.sqlite\.damaged-\d+$/;

export interface ShardOpening {
  readonly directory: string;
  readonly files: Files;
  readonly open: OpenDatabase;
  readonly owns: (key: ShardKey) => boolean;
  /** Makes the shard of an existing file, which is open for the time of the call. */
  readonly openShard: (key: ShardKey, database: Database) => Shard;
}

/** Opens the files of this worker's shards. */
export function openShards(opening: ShardOpening): { shards: Shard[]; unopened: UnopenedShard[] } {
  const { directory, files } = opening;
  const shards: Shard[] = [];
  const unopened: UnopenedShard[] = [];
  files.makeDirectory(directory);
  adoptNewFiles(opening);
  const names = new Set(files.list(directory));
  for (const name of names) {
    const match = SHARD_FILE.exec(name);
    if (match === null) continue;
    const path = joinPath(directory, name);
    try {
      const shard = readShardFile(opening.open, path, (database) => {
        const key = readShardKey(database, path);
        return opening.owns(key) ? opening.openShard(key, database) : null;
      });
      if (shard === null) continue;
      shards.push(shard);
      for (const left of [`${name}.fill`, `${name}.fill-journal`]) {
        if (names.has(left) && shard.companion.awaitsCopy !== true) files.remove(joinPath(directory, left));
      }
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === 'disk-full' || error.code === 'disk-failed') throw error;
      if (error.code !== 'future-format') setShardFileAside(files, directory, path);
      unopened.push({ id: match[1]!, path, code: error.code, message: error.message });
    }
  }
  return { shards, unopened };
}

/**
 * Files of new shards that a killed process had not given their names: databases that do not wait for syncs have told
 * clients of what the log holds for them. One that is not whole (the power failed) holds nothing that anybody was told
 * of; it is left to the next creation, since it cannot say whose it is.
 */
function adoptNewFiles({ directory, files, open, owns }: ShardOpening): void {
  for (const name of files.list(directory)) {
    if (!SHARD_FILE.test(name.slice(0, -NEW_SUFFIX.length)) || !name.endsWith(NEW_SUFFIX)) continue;
    const path = joinPath(directory, name);
    const final = path.slice(0, -NEW_SUFFIX.length);
    if (files.exists(final) || !isWholeFile(open, path, owns)) continue;
    syncFile(files, path);
    files.rename(path, final);
  }
  // Also names that were given and not synced.
  files.syncDirectory(directory);
}

function isWholeFile(open: OpenDatabase, path: string, owns: (key: ShardKey) => boolean): boolean {
  try {
    return readShardFile(
      open,
      path,
      (database) => owns(readShardKey(database, path)) && database.pragma('quick_check', { simple: true }) === 'ok',
    );
  } catch (error) {
    if (error instanceof StorageError && error.code !== 'disk-full' && error.code !== 'disk-failed') return false;
    throw error;
  }
}

export function setShardFileAside(files: Files, directory: string, path: string): void {
  let n = 1;
  while (files.exists(`${path}.damaged-${n}`)) n++;
  try {
    files.rename(path, `${path}.damaged-${n}`);
    if (files.exists(`${path}-journal`)) files.rename(`${path}-journal`, `${path}.damaged-${n}-journal`);
  } catch (error) {
    // Another worker of the node met the same file and was first.
    if (files.exists(path)) throw error;
  }
  files.syncDirectory(directory);
}

/**
 * Shards of which a file was set aside, now or at any time before: of those that are here, and those that have no new file. (Others
 * are another worker's.)
 */
export function setAsideOf(files: Files, directory: string, here: ReadonlyMap<ShardId, unknown>): ShardId[] {
  const lost = lostShards(files, directory);
  return [...shardsSetAside(files, directory)].filter((id) => here.has(id) || lost.has(id));
}

function shardsSetAside(files: Files, directory: string): Set<ShardId> {
  const found = files.list(directory).map((name) => DAMAGED_FILE.exec(name)?.[1]);
  return new Set(found.filter((id) => id !== undefined));
}

/** Those that have no new file. */
export function lostShards(files: Files, directory: string): Set<ShardId> {
  const isGone = (id: ShardId) => !files.exists(joinPath(directory, `${id}.sqlite`));
  return new Set([...shardsSetAside(files, directory)].filter(isGone));
}

/** This worker's of those that have no new file and are not here, as far as the files that were set aside still say which they are. */
export function lostKeys(
  { files, shardsDirectory, openDatabase, owns }: EngineOptions,
  here: ReadonlyMap<ShardId, unknown>,
): ShardKey[] {
  const lost = lostShards(files, shardsDirectory);
  const keys = new Map<ShardId, ShardKey>();
  for (const name of lost.size === 0 ? [] : files.list(shardsDirectory)) {
    const id = DAMAGED_FILE.exec(name)?.[1];
    if (id === undefined || !lost.has(id) || here.has(id) || keys.has(id)) continue;
    const key = keyInDamaged(openDatabase, joinPath(shardsDirectory, name));
    if (key !== null && shardId(key) === id && owns(key)) keys.set(id, key);
  }
  return [...keys.values()];
}

/** Whatever else is wrong with the file. */
function keyInDamaged(open: OpenDatabase, path: string): ShardKey | null {
  try {
    const database = open(path);
    try {
      return readShardKey(database, path);
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}

export interface Replay {
  readonly shardOf: (id: ShardId) => Shard | undefined;
  /** Makes an empty shard in the place of one whose file was set aside; null when it is not this worker's. */
  readonly remake: (key: ShardKey) => Shard | null;
  readonly lost: Set<ShardId>;
  /** All that are here. */
  readonly shards: () => Iterable<Shard>;
  /** Takes away a shard whose file turned out to be damaged. */
  readonly setAside: (shard: Shard, error: StorageError) => void;
  /** Called after each batch: memtables must not outgrow their maximum. */
  readonly applied: () => void;
}

/** Applies what the log holds behind the shards' files. */
export function replayLog(log: Log, replay: Replay): Replayed & { applied: number } {
  const keys: LoggedKeys = new Map();
  const unreadable: LoggedRecord[] = [];
  /** Shards whose files were found damaged in the middle of the log: what it holds of them is gone through again. */
  const remade = new Set<ShardId>();
  let applied = 0;
  let again = false;
  const visit = (record: LogRecord, position: LogPosition): void => {
    // In order, or a flush under way would take the later records for all of them.
    if (!again && remade.has(record.shard)) return;
    const shard = shardFor(replay, record);
    // The keys of a lost shard come ahead of the batch for which it is made again.
    if (shard === null && record.kind === KEYS_RECORD && replay.lost.has(record.shard)) rememberKeys(keys, record);
    if (shard === null || !isAfter(position, shard.flushedThrough)) return;
    try {
      if (record.kind === KEYS_RECORD) rememberKeys(keys, record);
      else if (applyRecord(shard, record.payload, keys, position)) {
        applied++;
        replay.applied();
      }
    } catch (error) {
      if (error instanceof StorageError && shard.unreadable !== null) {
        replay.setAside(shard, shard.unreadable);
        replay.lost.add(shard.id);
        remade.add(shard.id);
        return;
      }
      if (!isUnusable(error)) throw error;
      loseRecord([shard], position);
      // A copy: the segment's bytes need not stay in memory for it.
      unreadable.push({ record: { ...record, payload: new Uint8Array(0) }, position });
    }
  };
  const replayed = log.replay(visit, (id, through) => loseRecord(losersOf(replay, id), through));
  if (remade.size > 0) {
    again = true;
    log.read((record, position) => {
      if (remade.has(record.shard)) visit(record, position);
    });
  }
  for (const { record, position } of unreadable) log.setAsideRecord(record, position, replayed);
  return { ...replayed, applied };
}

/**
 * Whose a record may have been. A damaged head may name any shard: one that is here is believed, and one whose file was set
 * aside, which disowns for that reason. Another may be a dropped one, or none.
 */
function losersOf({ shardOf, shards, lost }: Replay, id: ShardId | null): Iterable<Shard> {
  if (id === null) return shards();
  const named = shardOf(id);
  if (named !== undefined) return [named];
  return lost.has(id) ? [] : shards();
}

/**
 * What was acknowledged of it still counts elsewhere (repair/disowning.ts). Noted before anything behind it is applied: a
 * flush then says both, that the file has all up to there, and that something is missing. Returns who had not flushed past it.
 */
function loseRecord(shards: Iterable<Shard>, through: LogPosition): ShardId[] {
  const losers: ShardId[] = [];
  for (const shard of shards) {
    if (!isAfter(through, shard.flushedThrough)) continue;
    shard.companion.recordLost?.();
    shard.skip(through);
    losers.push(shard.id);
  }
  return losers;
}

interface LoggedRecord {
  readonly record: LogRecord;
  readonly position: LogPosition;
}

/** What the log holds of one shard up to `through`. */
export function recordsOf(log: Log, id: ShardId, through: LogPosition): LoggedRecord[] {
  const records: LoggedRecord[] = [];
  log.read((record, position) => {
    if (record.shard !== id || isAfter(position, through)) return;
    // A copy: the segment's bytes need not stay in memory for it.
    records.push({ record: { ...record, payload: new Uint8Array(record.payload) }, position });
  });
  return records;
}

/** Into a shard that is made again. A batch whose keys were in the former file only is left to the ring. */
export function applyRecords(shard: Shard, records: readonly LoggedRecord[]): void {
  const keys: LoggedKeys = new Map();
  for (const { record, position } of records) {
    try {
      if (record.kind === KEYS_RECORD) rememberKeys(keys, record);
      else applyRecord(shard, record.payload, keys, position);
    } catch (error) {
      if (!isUnusable(error)) throw error;
    }
  }
}

/** The record is whole, and cannot be applied. */
function isUnusable(error: unknown): boolean {
  return error instanceof BatchError || (error instanceof StorageError && error.code === 'unknown-series');
}

function shardFor(replay: Replay, record: LogRecord): Shard | null {
  const shard = replay.shardOf(record.shard);
  if (shard !== undefined) return shard;
  if (record.kind === KEYS_RECORD || !replay.lost.has(record.shard)) return null;
  const { shard: key } = peekBatch(record.payload);
  return shardId(key) === record.shard ? replay.remake(key) : null;
}

/** Keys that came in the log, by shard, as long as the shard lacks some of them. */
type LoggedKeys = Map<ShardId, SeriesKeys[]>;

function rememberKeys(keys: LoggedKeys, record: LogRecord): void {
  const known = keys.get(record.shard) ?? [];
  // A copy: the segment's bytes need not stay in memory for it.
  known.push(SeriesKeys.read(new Uint8Array(record.payload)));
  keys.set(record.shard, known);
}

/** The keys for a frame of the shard: mostly those that came just ahead of it, else all that there are. */
function keysFor(keys: LoggedKeys, shard: Shard, frame: HeldFrame): GivenKeys {
  const logged = keys.get(shard.id) ?? [];
  const last = logged.at(-1);
  if (last === undefined) return [];
  if (shard.unknownSeries(frame, last).length === 0) return last;
  return logged.flatMap((some) => some.records());
}

function applyRecord(shard: Shard, payload: Uint8Array, keys: LoggedKeys, position: LogPosition): boolean {
  shard.load();
  const head = peekBatch(payload);
  if (shard.companion.has(head.version)) {
    shard.skip(position);
    return false;
  }
  // The record's CRC covers the frame.
  const frame = holdFrameOf(head, payload, true);
  try {
    const given = keysFor(keys, shard, frame);
    shard.apply(frame, given, position);
    const left = given.length === 0 ? [] : keys.get(shard.id)!.filter((some) => !shard.table.knowsAll(some));
    if (given.length > 0) keys.set(shard.id, left);
  } finally {
    frame.release();
  }
  shard.companion.replayed(frame);
  return true;
}
