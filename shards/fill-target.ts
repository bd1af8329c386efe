/**
 * A shard that is being given by another owner: pages go into `<id>.sqlite.fill` beside the old file.
 *
 * Only when the last page is in, and the file is whole and closed, is it renamed over the old one; until then the old
 * content stays. A crash before leaves the `.fill` file, which the next start removes; a crash behind it leaves the new
 * content. The copy says that everything in the local log is behind it: what this node held above its floor was handed
 * on before the copy began (protocol rule 31), and must not be replayed into the new content.
 */
import type { Database } from 'better-sqlite3';
import { StorageError } from './errors.ts';
import type { Files } from './files.ts';
import { decodePage, type RowsPage } from './fill-page.ts';
import { FILL_FORMAT, type FillManifest } from './fill-source.ts';
import { createShardFile, guarded, type OpenDatabase, WRITE_META } from './shard-file.ts';
import { type ShardId, type ShardKey, shardId, shardKeyFromJson } from './shard-key.ts';
import type { FillTarget, LogPosition, StoredShard } from './storage.ts';

export interface FillPlace {
  readonly key: ShardKey;
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

/** Statements of a peer are taken only when they make a table or an index. */
const COMPANION_SQL = /^CREATE (TABLE|INDEX|UNIQUE INDEX)\s/i;

export class FillWriter implements FillTarget {
  readonly #place: FillPlace;
  readonly #id: ShardId;
  #database: Database | null = null;
  #tables = new Set<string>();
  #nextPage = 0;
  #ended = false;
  #openBytes = 0;

  constructor(place: FillPlace) {
    this.#place = place;
    this.#id = shardId(place.key);
    removeFillFile(place.files, place.path);
  }

  accept(bytes: Uint8Array): void {
    const { index, content } = decodePage(bytes);
    if (index < this.#nextPage) return;
    if (index > this.#nextPage || this.#ended) this.#refuse(`page ${index} came instead of ${this.#nextPage}`);
    if (content.kind === 'manifest') this.#begin(content.json as FillManifest);
    else if (content.kind === 'rows') this.#insert(content.rows, bytes.byteLength);
    else {
      if (content.pages !== index + 1) this.#refuse(`the copy has ${content.pages} pages, not ${index + 1}`);
      this.#ended = true;
    }
    this.#nextPage++;
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
    const { open, path, key } = this.#place;
    this.#database = createShardFile(open, path, key, (database) => {
      for (const sql of manifest.companionSql) {
        if (!COMPANION_SQL.test(sql)) this.#refuse(`the manifest holds a statement that is not expected: ${sql}`);
        database.exec(sql);
      }
    });
    const tables = this.#database.prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`).pluck().all();
    this.#tables = new Set((tables as string[]).filter((name) => name !== 'meta' && !name.startsWith('sqlite_')));
  }

  #insert({ table, columns, rows }: RowsPage, bytes: number): void {
    const database = this.#database;
    if (database === null || !this.#tables.has(table)) this.#refuse(`rows of a table ${table} that is not expected`);
    guarded(this.#place.path, () => {
      if (!database.inTransaction) database.exec('BEGIN');
      const names = columns.map(quote).join(', ');
      const insert = database.prepare(
        `INSERT OR REPLACE INTO ${quote(table)} (${names}) VALUES (${columns.map(() => '?').join(', ')})`,
      );
      for (const row of rows) insert.run(...row);
      this.#openBytes += bytes;
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
      database.prepare(WRITE_META).run('flushed', JSON.stringify(this.#place.logEnd()));
      amend(database);
      this.#commit(database);
      database.close();
    });
    this.#database = null;
    return this.#place.replace();
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

export function removeFillFile(files: Files, path: string): void {
  for (const name of [path, `${path}-journal`]) files.remove(name);
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
