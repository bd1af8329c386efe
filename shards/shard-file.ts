/**
 * The SQLite file of one shard: connection, schema, and the pool that bounds open connections.
 *
 * Truth of everything of the shard up to the log position in `meta.flushed`. Written only by the thread that owns the
 * shard; other workers of the node open it at their start for the time of reading its key.
 * `application_id` says that it is ours, `user_version` is the format: a file of a later format is refused untouched.
 *
 * | table         | what                                                                                              |
 * | meta          | name -> value: `key` (shard key as JSON), `flushed` (log position as JSON, local to this node)      |
 * | series_chunks | chunks of series (series-chunk.ts) by the id of their first series                                 |
 * | runs          | runs that are complete; blocks of other runs are leftovers of a flush or compaction that did not end |
 * | blocks        | blocks (block.ts): run, time window, measurement, range of series, times and versions, head, body  |
 * | fields        | (measurement, field, type) with the greatest version that wrote it                                |
 * | tombstones    | delete batches as they came, by version, until nothing is left that they cover                     |
 * | dropped       | what is kept of rows and deletes that were dropped (shard-dropped.ts); not in files of format 1     |
 * | others        | the companion's (ledger), opaque here                                                             |
 *
 * A crash leaves a rollback journal, which SQLite plays back at the next opening, or blocks of an incomplete run,
 * which `open` removes.
 */
import type { Database, Statement } from 'better-sqlite3';
import { diskError, errorCodeOf, StorageError } from './errors.ts';
import { type ShardKey, type ShardKeyJson, shardKeyFromJson, shardKeyToJson } from './shard-key.ts';

export const APPLICATION_ID = 0x5354_4152;
/** Format 1 knew no `dropped`: its programs would take what was dropped for lost. A file becomes 2 with its first drop. */
export const FORMAT_VERSION = 2;
export const OWN_TABLES = ['meta', 'series_chunks', 'runs', 'blocks', 'fields', 'tombstones', 'dropped'] as const;

const DROPPED_TABLE = `
  CREATE TABLE IF NOT EXISTS dropped (id INTEGER PRIMARY KEY CHECK (id = 1), content TEXT NOT NULL);`;

const SCHEMA = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE series_chunks (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, bytes BLOB NOT NULL);
  CREATE TABLE runs (run INTEGER PRIMARY KEY);
  CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, run INTEGER NOT NULL, window INTEGER NOT NULL, measurement TEXT NOT NULL,
    first_series INTEGER NOT NULL, last_series INTEGER NOT NULL, min_time INTEGER NOT NULL, max_time INTEGER NOT NULL,
    min_version BLOB NOT NULL, max_version BLOB NOT NULL, rows INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
  CREATE TABLE fields (
    measurement TEXT NOT NULL, field TEXT NOT NULL, type INTEGER NOT NULL, last_version BLOB NOT NULL,
    PRIMARY KEY (measurement, field, type)) WITHOUT ROWID;
  CREATE TABLE tombstones (version BLOB PRIMARY KEY, frame BLOB NOT NULL) WITHOUT ROWID;${DROPPED_TABLE}`;

/** Page cache of a connection in KiB; a flush may spill beyond it. */
const CACHE_KIB = 2048;
/** Pages that one step gives back to the file system: 1 MiB, some five milliseconds. Each is moved or cut off by itself. */
export const VACUUM_PAGES = 256;
/** A file keeps this share of free pages, since the next flush takes them again. */
const FREE_SHARE = 1 / 16;
const READ_META = 'SELECT value FROM meta WHERE name = ?';
export const WRITE_META = 'INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)';

export type OpenDatabase = (path: string) => Database;

export function readMeta(database: Database, name: string): string | null {
  const value = database.prepare(READ_META).pluck().get(name);
  return typeof value === 'string' ? value : null;
}

/**
 * Opens an existing file, calls `read`, and closes it again: no setting is made, so that thousands are soon read. Throws
 * StorageError for what makes no sense of it (`damaged-file`, `future-format`).
 */
export function readShardFile<T>(open: OpenDatabase, path: string, read: (database: Database) => T): T {
  return damageNamed(path, () => {
    const database = open(path);
    try {
      checkFormat(database, path);
      database.exec('BEGIN');
      const result = read(database);
      database.exec('COMMIT');
      return result;
    } finally {
      database.close();
    }
  });
}

/** Opens an existing file to be written to, and checks that this program understands it. Throws StorageError. */
export function openShardFile(open: OpenDatabase, path: string): Database {
  return openChecked(open, path, prepareConnection);
}

function openChecked(open: OpenDatabase, path: string, prepare: (database: Database) => void): Database {
  return guarded(path, () => {
    const database = open(path);
    try {
      checkFormat(database, path);
      prepare(database);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/**
 * The bytes of a new file with its schema; `fill` adds what else it begins with. Made in memory: to write them and to
 * sync once takes a third of what SQLite's own transaction on a new file takes.
 */
export function shardFileImage(open: OpenDatabase, key: ShardKey, fill: (database: Database) => void): Buffer {
  const database = createShardFile(open, ':memory:', key, fill);
  try {
    return database.serialize();
  } finally {
    database.close();
  }
}

/** Makes a new file with its schema; `fill` adds what belongs to the same first transaction. */
export function createShardFile(
  open: OpenDatabase,
  path: string,
  key: ShardKey,
  fill: (database: Database) => void,
): Database {
  return guarded(path, () => {
    const database = open(path);
    try {
      database.pragma('auto_vacuum = INCREMENTAL');
      prepareConnection(database);
      database.transaction(() => {
        database.pragma(`application_id = ${APPLICATION_ID}`);
        database.pragma(`user_version = ${FORMAT_VERSION}`);
        database.exec(SCHEMA);
        database.prepare(WRITE_META).run('key', JSON.stringify(shardKeyToJson(key)));
        fill(database);
      })();
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** Within the transaction of a drop: a file of the first format becomes one of the second. */
export function ensureDroppedTable(database: Database): void {
  if (Number(database.pragma('user_version', { simple: true })) === FORMAT_VERSION) return;
  database.exec(DROPPED_TABLE);
  database.pragma(`user_version = ${FORMAT_VERSION}`);
}

export function readShardKey(database: Database, path: string): ShardKey {
  const json = readMeta(database, 'key');
  if (json === null) throw new StorageError('damaged-file', `${path} does not say which shard it is`);
  return shardKeyFromJson(JSON.parse(json) as ShardKeyJson);
}

function prepareConnection(database: Database): void {
  // TRUNCATE rather than WAL: half the bytes written, and no checkpoint that stalls a flush.
  database.pragma('journal_mode = TRUNCATE');
  database.pragma('synchronous = FULL');
  database.pragma(`cache_size = -${CACHE_KIB}`);
}

function checkFormat(database: Database, path: string): void {
  const application = database.pragma('application_id', { simple: true });
  const format = Number(database.pragma('user_version', { simple: true }));
  if (application !== APPLICATION_ID || format < 1) {
    throw new StorageError('damaged-file', `${path} is not a shard file (application id ${String(application)})`);
  }
  if (format > FORMAT_VERSION) {
    throw new StorageError(
      'future-format',
      `${path} has format ${format}; this program knows formats up to ${FORMAT_VERSION}: use a newer release`,
    );
  }
}

/** Runs `action`, and names failures of the disk and of the file. */
export function guarded<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw diskError(error, path);
  }
}

/**
 * Runs `action`, which reads what the file says; what the companion, the codecs, the inflater and parsers say of bytes
 * that make no sense becomes `damaged-file` as well, but not that memory is lacking. `damaged` hears of it.
 */
export function damageNamed<T>(path: string, action: () => T, damaged: (error: StorageError) => void = () => {}): T {
  try {
    return guarded(path, action);
  } catch (error) {
    const named = asDamage(path, error);
    if (named instanceof StorageError && named.code === 'damaged-file') damaged(named);
    throw named;
  }
}

function asDamage(path: string, error: unknown): unknown {
  if (error instanceof StorageError) return error;
  const isDamage =
    /^(damaged|corrupt|future|Z_|ERR_BUFFER_TOO_LARGE)/.test(errorCodeOf(error)) ||
    error instanceof SyntaxError ||
    (error instanceof RangeError && !/allocation failed/i.test(error.message));
  if (!isDamage) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new StorageError('damaged-file', `${path}: ${message}`, { cause: error });
}

/**
 * Connections of a worker's shards, without the settings of those that are written to: a statement over thousands of shards opens
 * as many files, and each setting takes about as long as opening does. The one that was not used for the longest
 * time is closed when there are too many.
 */
export class ConnectionPool {
  readonly #open: OpenDatabase;
  readonly #openMax: number;
  readonly #connections = new Map<ShardFile, Database>();

  constructor(open: OpenDatabase, openMax: number) {
    this.#open = open;
    this.#openMax = openMax;
  }

  get openDatabase(): OpenDatabase {
    return this.#open;
  }

  take(file: ShardFile): Database {
    let database = this.#connections.get(file);
    if (database === undefined) database = openChecked(this.#open, file.path, () => {});
    else this.#connections.delete(file);
    this.put(file, database);
    return database;
  }

  put(file: ShardFile, database: Database): void {
    this.#connections.set(file, database);
    for (const [idle] of this.#connections) {
      if (this.#connections.size <= this.#openMax) break;
      if (idle !== file && !this.#connections.get(idle)!.inTransaction) idle.disconnect();
    }
  }

  remove(file: ShardFile): void {
    this.#connections.get(file)?.close();
    this.#connections.delete(file);
  }
}

/** A shard's file, open or not. */
export class ShardFile {
  readonly path: string;
  readonly #pool: ConnectionPool;
  /** Called before the file is opened: a new one is to be made first (shard-creation.ts). */
  readonly #settle: () => void;
  readonly #statements = new Map<string, Statement>();
  /** The connection, when it has been made ready for writing. */
  #writable: Database | null = null;
  #isClosed = false;

  constructor(path: string, pool: ConnectionPool, settle: () => void) {
    this.path = path;
    this.#pool = pool;
    this.#settle = settle;
  }

  /** To be read. Throws StorageError. */
  get database(): Database {
    if (this.#isClosed) throw new StorageError('snapshot-gone', `${this.path} was dropped or replaced`);
    this.#settle();
    return this.#pool.take(this);
  }

  get #databaseToWrite(): Database {
    const { database } = this;
    if (database !== this.#writable) {
      prepareConnection(database);
      this.#writable = database;
    }
    return database;
  }

  /** Prepared once per connection. */
  statement(sql: string): Statement {
    const database = this.database;
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** For good: another file may take its place. */
  close(): void {
    this.#isClosed = true;
    this.disconnect();
  }

  disconnect(): void {
    this.#statements.clear();
    this.#writable = null;
    this.#pool.remove(this);
  }

  /** Gives free pages back, a few at a time; true when it did. */
  shrinkStep(): boolean {
    return guarded(this.path, () => {
      const database = this.#databaseToWrite;
      const free = Number(database.pragma('freelist_count', { simple: true }));
      const pages = Number(database.pragma('page_count', { simple: true }));
      if (free <= pages * FREE_SHARE) return false;
      database.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
      return true;
    });
  }

  /** One transaction; a failure leaves the file as it was. */
  transaction(action: (database: Database) => void): void {
    guarded(this.path, () => {
      const database = this.#databaseToWrite;
      database.transaction(() => action(database))();
    });
  }
}
