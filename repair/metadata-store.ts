/**
 * Registers on disk: `meta.sqlite`, one table, one row per register.
 *
 * Layout: register(key TEXT PRIMARY KEY, rank INTEGER, version BLOB of 16 bytes, value TEXT of JSON or NULL, crc INTEGER
 * over the other columns). Only the main thread of the node that owns the data directory writes it.
 *
 * Every change is one transaction with `synchronous=FULL` and `journal_mode=TRUNCATE`: it is on disk when `save` returns,
 * and a crash leaves either all of a change or none. A row whose checksum does not fit is not served: it is left out,
 * counted in `damaged`, and comes back from another member, because the sum over all registers then differs.
 * Worst outcome: a register that no other member had is lost with its row.
 */
import { crc32 } from 'node:zlib';
import type { Database } from 'better-sqlite3';
import { readVersion, VERSION_BYTES, writeVersion } from '../shards/version.ts';
import { MembershipError } from './membership-error.ts';
import type { Register, RegisterStore } from './metadata.ts';

const CREATE = `CREATE TABLE IF NOT EXISTS register (
  key TEXT PRIMARY KEY, rank INTEGER NOT NULL, version BLOB NOT NULL, value TEXT, crc INTEGER NOT NULL
) WITHOUT ROWID`;
const SELECT_ALL = 'SELECT key, rank, version, value, crc FROM register ORDER BY key';
const UPSERT = `INSERT INTO register (key, rank, version, value, crc) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (key) DO UPDATE SET rank = excluded.rank, version = excluded.version, value = excluded.value, crc = excluded.crc`;
const DELETE_ALL = 'DELETE FROM register';

interface Row {
  readonly key: string;
  readonly rank: number;
  readonly version: Buffer;
  readonly value: string | null;
  readonly crc: number;
}

export class SqliteRegisterStore implements RegisterStore {
  readonly #database: Database;
  /** Rows left out by the last `load`. */
  damaged = 0;

  /** `database`: an open connection to `meta.sqlite` that nobody else uses. */
  constructor(database: Database) {
    this.#database = database;
    database.pragma('journal_mode = TRUNCATE');
    database.pragma('synchronous = FULL');
    database.exec(CREATE);
  }

  load(): Register[] {
    const registers: Register[] = [];
    this.damaged = 0;
    for (const row of this.#database.prepare<[], Row>(SELECT_ALL).all()) {
      if (!Buffer.isBuffer(row.version) || row.version.length !== VERSION_BYTES || crcOf(row) !== row.crc) {
        this.damaged += 1;
        continue;
      }
      registers.push({ key: row.key, rank: row.rank, version: readVersion(row.version, 0), value: row.value });
    }
    return registers;
  }

  save(registers: readonly Register[]): void {
    const upsert = this.#database.prepare(UPSERT);
    const all = this.#database.transaction(() => {
      for (const { key, rank, version: text, value } of registers) {
        const version = Buffer.alloc(VERSION_BYTES);
        writeVersion(text, version, 0);
        upsert.run(key, rank, version, value, crcOf({ key, rank, version, value }));
      }
    });
    try {
      all();
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (!/^SQLITE_(FULL|IOERR|READONLY|CANTOPEN)/.test(code)) throw error;
      throw new MembershipError('disk-failed', `cannot store metadata: ${(error as Error).message}`);
    }
  }

  clear(): void {
    this.#database.exec(DELETE_ALL);
  }
}

function crcOf(row: Omit<Row, 'crc'>): number {
  return crc32(JSON.stringify([row.key, row.rank, row.version.toString('hex'), row.value]));
}
