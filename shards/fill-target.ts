/**
 * A shard that is being given by another owner: pages go into `<id>.sqlite.fill` beside the old file.
 *
 * Only when the last page is in, and the file is whole and closed, is it renamed over the old one; until then the old
 * content stays. A crash behind it leaves the new content. The copy says that everything in the local log is behind it: what
 * this node held above its floor was handed on before the copy began (protocol rule 31), and must not be replayed into the
 * new content.
 *
 * A copy that breaks off (suspend, or a crash: pages count with the transaction that wrote them) leaves the file, and the next
 * one goes on with it, whoever gives it. What is in the file is in the end exactly what the last source would have sent: of
 * each of its pages either what it sent, or a page of that name that was kept and has the hash that the source's has now; pages that it
 * does not have are deleted, tables that are not kept page by page are emptied. So a page needs no floor, root or source to be
 * kept by; another source numbers series and cuts blocks otherwise, and little or nothing of its pages is the same.
 *
 * Besides what a shard's file has (shard-file.ts) it has, until it is one: `meta.fill` (whose copy, and with which statements it
 * was made), and `fill_pages`: name, hash and bytes of each page that is in, and the rows that it brought.
 */
import type { Database } from 'better-sqlite3';
import { StorageError } from './errors.ts';
import type { Files } from './files.ts';
import { decodePage, pageHash, type RowsPage } from './fill-page.ts';
import { FILL_FORMAT, type FillManifest } from './fill-source.ts';
import {
  createShardFile,
  damageNamed,
  guarded,
  type OpenDatabase,
  openShardFile,
  readMeta,
  readShardFile,
  readShardKey,
  WRITE_META,
} from './shard-file.ts';
import { type ShardId, type ShardKey, shardId, shardKeyFromJson } from './shard-key.ts';
import type { FillTarget, LogPosition, StoredShard } from './storage.ts';

export interface FillPlace {
  readonly key: ShardKey;
  /** Who gives the copy. */
  readonly origin: string;
  /** Path of the `.fill` file. */
  readonly path: string;
  readonly files: Files;
  readonly open: OpenDatabase;
  readonly transactionBytesMax: number;
  /** End of the local log. */
  readonly logEnd: () => LogPosition;
  /** Puts the finished file in place and opens it. */
  readonly replace: () => StoredShard;
}

/** What `meta.fill` says. */
interface FillNote {
  readonly origin: string;
  readonly companionSql: readonly string[];
}

/** A page that is in the file: its rows, by rowid. */
interface KeptPage {
  readonly name: string;
  readonly target: string;
  readonly hash: string;
  readonly bytes: number;
  readonly low: number;
  readonly high: number;
}

/** Statements of a peer are taken only when they make a table or an index. */
const COMPANION_SQL = /^CREATE (TABLE|INDEX|UNIQUE INDEX)\s/i;
const CREATE_PAGES = `
  CREATE TABLE fill_pages (
    name TEXT PRIMARY KEY, target TEXT NOT NULL, hash TEXT NOT NULL, bytes INTEGER NOT NULL,
    low INTEGER NOT NULL, high INTEGER NOT NULL) WITHOUT ROWID`;
const READ_PAGES = 'SELECT name, target, hash, bytes, low, high FROM fill_pages';
const WRITE_PAGE = 'INSERT INTO fill_pages (name, target, hash, bytes, low, high) VALUES (?, ?, ?, ?, ?, ?)';
const DELETE_PAGE = 'DELETE FROM fill_pages WHERE name = ?';
const DELETE_NOTE = "DELETE FROM meta WHERE name = 'fill'";
/** Tables whose pages have names. */
const NAMED_TABLES = ['series_chunks', 'blocks'];

export class FillWriter implements FillTarget {
  readonly #place: FillPlace;
  readonly #id: ShardId;
  #database: Database | null = null;
  #tables = new Set<string>();
  /** Of pages from 1 on; null: the source names none. */
  #names: readonly string[] | null = null;
  readonly #kept = new Map<string, KeptPage>();
  #nextPage = 0;
  #ended = false;
  #openBytes = 0;

  constructor(place: FillPlace) {
    this.#place = place;
    this.#id = shardId(place.key);
  }

  accept(bytes: Uint8Array): void {
    const { index, content } = decodePage(bytes);
    if (index < this.#nextPage) return;
    if (index > this.#nextPage || this.#ended) this.#refuse(`page ${index} came instead of ${this.#nextPage}`);
    if (content.kind === 'manifest') this.#begin(content.json as FillManifest);
    else if (content.kind === 'rows') this.#insert(content.rows, bytes, this.#names?.[index - 1] ?? null);
    else {
      if (content.pages !== index + 1) this.#refuse(`the copy has ${content.pages} pages, not ${index + 1}`);
      this.#ended = true;
    }
    this.#nextPage++;
  }

  kept(index: number): string | null {
    return this.#keptPage(index)?.hash ?? null;
  }

  keep(index: number): number {
    const page = this.#keptPage(index);
    if (index !== this.#nextPage || page === undefined) this.#refuse(`page ${index} is not kept`);
    this.#nextPage++;
    return page.bytes;
  }

  #keptPage(index: number): KeptPage | undefined {
    const name = this.#names?.[index - 1];
    return name === undefined ? undefined : this.#kept.get(name);
  }

  #begin(manifest: FillManifest): void {
    if (manifest.format > FILL_FORMAT) {
      throw new StorageError(
        'future-format',
        `the copy has format ${manifest.format}; this program knows ${FILL_FORMAT}`,
      );
    }
    const id = shardId(shardKeyFromJson(manifest.key));
    if (id !== this.#id) this.#refuse(`the copy is of shard ${id}`);
    this.#names = manifest.names ?? null;
    const database = this.#resume(manifest) ?? this.#create(manifest);
    this.#database = database;
    this.#tables = new Set(tablesOf(database));
  }

  #create({ companionSql }: FillManifest): Database {
    const { open, path, key, origin, files } = this.#place;
    removeFillFile(files, path);
    return createShardFile(open, path, key, (database) => {
      for (const sql of companionSql) {
        if (!COMPANION_SQL.test(sql)) this.#refuse(`the manifest holds a statement that is not expected: ${sql}`);
        database.exec(sql);
      }
      database.exec(CREATE_PAGES);
      writeNote(database, { origin, companionSql });
    });
  }

  /** null: there is nothing to go on with, or it is not fit for this copy. */
  #resume({ companionSql }: FillManifest): Database | null {
    const { open, path, origin, files } = this.#place;
    if (this.#names === null || !files.exists(path)) return null;
    let database: Database | null = null;
    try {
      database = openShardFile(open, path);
      const kept = database;
      damageNamed(path, () => {
        const note = readNote(kept);
        if (shardId(readShardKey(kept, path)) !== this.#id) this.#refuse('what was kept is of another shard');
        if (note?.companionSql.join() !== companionSql.join()) this.#refuse('what was kept has other tables');
        kept.transaction(() => {
          for (const table of tablesOf(kept))
            if (!NAMED_TABLES.includes(table)) kept.exec(`DELETE FROM ${quote(table)}`);
          this.#takeKept(kept);
          writeNote(kept, { origin, companionSql });
        })();
      });
      return kept;
    } catch (error) {
      database?.close();
      this.#kept.clear();
      if (error instanceof StorageError && error.code.startsWith('damaged')) return null;
      throw error;
    }
  }

  /** Pages that this copy has by name; others go. */
  #takeKept(database: Database): void {
    const names = new Set(this.#names);
    for (const page of database.prepare<[], KeptPage>(READ_PAGES).all()) {
      if (names.has(page.name)) this.#kept.set(page.name, page);
      else deletePage(database, page);
    }
  }

  #insert({ table, columns, rows }: RowsPage, page: Uint8Array, name: string | null): void {
    const database = this.#database;
    if (database === null || !this.#tables.has(table)) this.#refuse(`rows of a table ${table} that is not expected`);
    if (this.#names !== null && NAMED_TABLES.includes(table) !== (name !== null))
      this.#refuse(`rows of the table ${table} in a page named ${name}`);
    guarded(this.#place.path, () => {
      if (!database.inTransaction) database.exec('BEGIN');
      const before = name === null ? undefined : this.#kept.get(name);
      if (before !== undefined) {
        deletePage(database, before);
        this.#kept.delete(before.name);
      }
      const list = columns.map(quote).join(', ');
      const insert = database.prepare(
        `INSERT OR REPLACE INTO ${quote(table)} (${list}) VALUES (${columns.map(() => '?').join(', ')})`,
      );
      const ids = rows.map((row) => Number(insert.run(...row).lastInsertRowid));
      if (name !== null) {
        const range = [Math.min(...ids), Math.max(...ids)];
        database.prepare(WRITE_PAGE).run(name, table, pageHash(page), page.byteLength, ...range);
      }
      this.#openBytes += page.byteLength;
      if (this.#openBytes >= this.#place.transactionBytesMax) this.#commit(database);
    });
  }

  #commit(database: Database): void {
    if (database.inTransaction) database.exec('COMMIT');
    this.#openBytes = 0;
  }

  finish(amend: (database: Database) => void = () => {}): StoredShard {
    const database = this.#database;
    if (!this.#ended || database === null) this.#refuse(`the copy ended before its last page (${this.#nextPage} came)`);
    guarded(this.#place.path, () => {
      if (!database.inTransaction) database.exec('BEGIN');
      database.exec('DROP TABLE fill_pages');
      database.exec(DELETE_NOTE);
      database.prepare(WRITE_META).run('flushed', JSON.stringify(this.#place.logEnd()));
      amend(database);
      this.#commit(database);
      database.close();
    });
    this.#database = null;
    return this.#place.replace();
  }

  suspend(): void {
    const database = this.#database;
    if (database === null) return;
    if (this.#names === null) {
      this.abort();
      return;
    }
    try {
      guarded(this.#place.path, () => this.#commit(database));
    } catch (error) {
      // What was committed before is kept all the same.
      if (!(error instanceof StorageError)) throw error;
    }
    database.close();
    this.#database = null;
  }

  abort(): void {
    this.#database?.close();
    this.#database = null;
    removeFillFile(this.#place.files, this.#place.path);
  }

  #refuse(reason: string): never {
    throw new StorageError('damaged-page', `copy of shard ${this.#id}: ${reason}`);
  }
}

/** Whose copy is kept at this path; null: nobody's. */
export function originOf(files: Files, open: OpenDatabase, path: string): string | null {
  if (!files.exists(path)) return null;
  try {
    return readShardFile(open, path, readNote)?.origin ?? null;
  } catch (error) {
    if (error instanceof StorageError) return null;
    throw error;
  }
}

export function removeFillFile(files: Files, path: string): void {
  for (const name of [path, `${path}-journal`]) files.remove(name);
}

function readNote(database: Database): FillNote | null {
  const text = readMeta(database, 'fill');
  return text === null ? null : (JSON.parse(text) as FillNote);
}

function writeNote(database: Database, note: FillNote): void {
  database.prepare(WRITE_META).run('fill', JSON.stringify(note));
}

/** Those that pages may bring rows for. */
function tablesOf(database: Database): string[] {
  const all = database.prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`).pluck().all() as string[];
  return all.filter((name) => name !== 'meta' && name !== 'fill_pages' && !name.startsWith('sqlite_'));
}

function deletePage(database: Database, { name, target, low, high }: KeptPage): void {
  database.prepare(`DELETE FROM ${quote(target)} WHERE rowid BETWEEN ? AND ?`).run(low, high);
  database.prepare(DELETE_PAGE).run(name);
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
