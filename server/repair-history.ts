/**
 * Repairs that moved something, failed or found damage, kept for 30 days (`--repair-history`) in `repairs.sqlite`, for people:
 * nothing depends on them.
 *
 * Layout: repair(id, kind, shard, database, outcome, changed, finished in ms, members (numbers, a space around each), alike,
 * bytes, crc of json, json), one row for each repair. What comes waits in memory for up to a second and is written in one
 * transaction (WAL, `synchronous=NORMAL`: a power cut may cost the last ones). The oldest go when they are too old, or when all
 * take more than `bytesMax`. A pass that fails again and again in the same way is one row that counts (`times`). A pass of whose
 * end nothing has been heard for an hour is `unfinished`, until it is heard.
 *
 * When the disk refuses, what waits is kept, up to `WAITING_MAX`, and shown all the same; beyond it the oldest are given up and
 * counted. A file that is damaged, or of another format, is set aside (`repairs.sqlite.damaged`, the last such one), and a new
 * one begun.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import Database from 'better-sqlite3';
import { hasChanged, joined, type RepairOutcome, type RepairRecord } from '../repair/repair-records.ts';
import type { RepairCursor, RepairFilter, RepairQuery } from './repair-query.ts';

const FORMAT = 1;
const WAITING_MAX = 1_000;
/** A failure that comes again within this time is the same one. */
const ALIKE_MS = 3_600_000;
/** Of a pass: its token was lost, most likely. An end that comes later counts all the same. */
const UNHEARD_MS = 3_600_000;
/** Of a row besides its text, about. */
const ROW_BYTES = 300;
const FORGET_AT_ONCE = 64;

const CREATE = `
  CREATE TABLE IF NOT EXISTS repair (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, shard TEXT NOT NULL, database TEXT NOT NULL, outcome TEXT NOT NULL,
    changed INTEGER NOT NULL, finished INTEGER NOT NULL, members TEXT NOT NULL, alike TEXT, bytes INTEGER NOT NULL,
    crc INTEGER NOT NULL, json TEXT NOT NULL
  );
  CREATE INDEX IF NOT EXISTS repair_by_end ON repair (finished, id);
  CREATE INDEX IF NOT EXISTS repair_by_failure ON repair (alike, finished) WHERE alike IS NOT NULL;
  CREATE INDEX IF NOT EXISTS repair_running ON repair (finished) WHERE outcome = 'running';
`;
const PUT = 'INSERT OR REPLACE INTO repair VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)';
const COLUMNS = 'json, crc, bytes, outcome';
const OF_ID = `SELECT ${COLUMNS} FROM repair WHERE id = ?`;
const OF_FAILURE = `SELECT ${COLUMNS} FROM repair WHERE alike = ? AND finished >= ? ORDER BY finished DESC LIMIT 1`;
const UNFINISHED = "UPDATE repair SET outcome = 'unfinished' WHERE outcome = 'running' AND finished < ?";
const FORGET_OLD = 'DELETE FROM repair WHERE finished < ? RETURNING bytes';
const FORGET_OLDEST = `DELETE FROM repair WHERE id IN (SELECT id FROM repair ORDER BY finished, id LIMIT ${FORGET_AT_ONCE})
  RETURNING bytes`;

export interface KeptRepair extends RepairRecord {
  readonly database: string;
  /** How often the same came, `finishedMs` being that of the last. */
  readonly times: number;
}

interface Row {
  readonly json: string;
  readonly crc: number;
  readonly bytes: number;
  readonly outcome: RepairOutcome;
}

/** Each filter as SQL and as a test of what is not in the file yet. */
const FILTERS: {
  readonly [K in keyof RepairFilter]-?: readonly [
    string,
    (repair: KeptRepair, wanted: NonNullable<RepairFilter[K]>) => boolean,
  ];
} = {
  shard: ['shard = ?', (repair, shard) => repair.shard === shard],
  database: ['database = ?', (repair, database) => repair.database === database],
  kind: ['kind = ?', (repair, kind) => repair.kind === kind],
  state: ['outcome = ?', (repair, outcome) => repair.outcome === outcome],
  member: ["instr(members, ' ' || ? || ' ') > 0", (repair, member) => repair.members.includes(member)],
  since: ['finished >= ?', (repair, ms) => repair.finishedMs >= ms],
  until: ['finished <= ?', (repair, ms) => repair.finishedMs <= ms],
  changed: ['changed = ?', (repair, changed) => hasChanged(repair) === changed],
};

export interface RepairHistoryOptions {
  readonly path: string;
  readonly keptMs: number;
  readonly bytesMax: number;
  readonly nowMs: () => number;
  /** Of trouble with the file; said once until it is over. */
  readonly trouble: (problem: string) => void;
}

export class RepairHistory {
  /** Repairs that were given up because the disk did not take them. */
  dropped = 0;
  readonly #o: RepairHistoryOptions;
  #database: Database.Database | null = null;
  #waiting: KeptRepair[] = [];
  #bytes = 0;
  #isInTrouble = false;

  constructor(options: RepairHistoryOptions) {
    this.#o = options;
    this.#attempt(() => {
      // Passes whose end the process before this one did not hear of.
      this.#open().prepare(UNFINISHED).run(Number.MAX_SAFE_INTEGER);
    });
  }

  add(record: RepairRecord, database: string): void {
    this.#waiting.push({ ...record, database, times: 1 });
    if (this.#waiting.length <= WAITING_MAX) return;
    // More than usual has come; of a disk that refuses `flush` finds out when it is over.
    if (!this.#isInTrouble && this.flush()) return;
    this.#waiting.shift();
    this.dropped++;
  }

  /** Newest first. */
  list(query: RepairQuery): KeptRepair[] {
    this.flush();
    const { limit, before = null } = query;
    const found = this.#attempt(() => this.#select(query, before, limit)) ?? [];
    const waiting = this.#waiting.filter((repair) => isWanted(repair, query, before));
    return unitedPages([found, waiting], limit);
  }

  get(id: string): KeptRepair | null {
    this.flush();
    const row = readRow(this.#attempt(() => this.#open().prepare(OF_ID).get(id) as Row | undefined));
    const parts = [...(row === null ? [] : [row]), ...this.#waiting.filter((repair) => repair.id === id)];
    return parts.length === 0 ? null : parts.reduce(together);
  }

  /** Writes what waits, and forgets what is too old or too much. False: the disk refuses. */
  flush(): boolean {
    const waiting = this.#waiting;
    const isDone = this.#attempt(() => {
      const database = this.#open();
      const before = this.#bytes;
      try {
        database.transaction(() => {
          for (const repair of waiting) this.#put(database, repair);
          this.#forget(database);
        })();
      } catch (error) {
        this.#bytes = before;
        throw error;
      }
      return true;
    });
    if (isDone === null) return false;
    this.#waiting = [];
    return true;
  }

  close(): void {
    this.flush();
    this.#database?.close();
    this.#database = null;
  }

  #put(database: Database.Database, given: KeptRepair): void {
    const known = database.prepare(OF_ID).get(given.id) as Row | undefined;
    const failure = known === undefined ? alikeOf(given) : null;
    const since = given.finishedMs - ALIKE_MS;
    const again = failure === null ? undefined : (database.prepare(OF_FAILURE).get(failure, since) as Row | undefined);
    const earlier = readRow(known ?? again);
    const join = known === undefined ? once : together;
    const repair = earlier === null ? given : join(earlier, given);
    const json = JSON.stringify(repair);
    const bytes = Buffer.byteLength(json) + ROW_BYTES;
    this.#bytes += bytes - ((known ?? again)?.bytes ?? 0);
    const { id, kind, shard, outcome, finishedMs } = repair;
    const members = ` ${repair.members.join(' ')} `;
    const names = [id, kind, shard, repair.database, outcome, Number(hasChanged(repair)), finishedMs, members];
    database.prepare(PUT).run(...names, alikeOf(repair), bytes, crc32(json), json);
  }

  #forget(database: Database.Database): void {
    const { nowMs, keptMs, bytesMax } = this.#o;
    database.prepare(UNFINISHED).run(nowMs() - UNHEARD_MS);
    const take = (gone: unknown[]): void => {
      for (const bytes of gone) this.#bytes -= bytes as number;
    };
    take(
      database
        .prepare(FORGET_OLD)
        .pluck()
        .all(nowMs() - keptMs),
    );
    while (this.#bytes > bytesMax) {
      const gone = database.prepare(FORGET_OLDEST).pluck().all();
      if (gone.length === 0) break;
      take(gone);
    }
  }

  #select(filter: RepairFilter, before: RepairCursor | null, limit: number): KeptRepair[] {
    const conditions: string[] = [];
    const values: (string | number)[] = [];
    for (const name of Object.keys(FILTERS) as (keyof RepairFilter)[]) {
      const wanted = filter[name];
      if (wanted === undefined) continue;
      conditions.push(FILTERS[name][0]);
      values.push(typeof wanted === 'boolean' ? Number(wanted) : wanted);
    }
    if (before !== null) {
      conditions.push('(finished, id) < (?, ?)');
      values.push(before.finishedMs, before.id);
    }
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
    const sql = `SELECT ${COLUMNS} FROM repair ${where} ORDER BY finished DESC, id DESC LIMIT ?`;
    const rows = this.#open()
      .prepare(sql)
      .all(...values, limit) as Row[];
    return rows.map(readRow).filter((repair) => repair !== null);
  }

  #open(): Database.Database {
    if (this.#database !== null) return this.#database;
    const { path } = this.#o;
    // What better-sqlite3 says then is a TypeError.
    if (!existsSync(dirname(path))) throw new Database.SqliteError(`no directory for ${path}`, 'SQLITE_CANTOPEN');
    const database = new Database(path);
    try {
      database.pragma('journal_mode = WAL');
      database.pragma('synchronous = NORMAL');
      const format = database.pragma('user_version', { simple: true });
      if (format !== 0 && format !== FORMAT) throw new Database.SqliteError('another format', 'SQLITE_NOTADB');
      database.exec(CREATE);
      database.pragma(`user_version = ${FORMAT}`);
      this.#bytes = database.prepare('SELECT total(bytes) FROM repair').pluck().get() as number;
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
    return database;
  }

  /** null: the file does not do it, which has been said. */
  #attempt<T>(work: () => T): T | null {
    for (let again = true; ; again = false) {
      try {
        const result = work();
        this.#isInTrouble = false;
        return result;
      } catch (error) {
        const code = String((error as { code?: unknown }).code ?? '');
        if (!/^(SQLITE_|E[A-Z]+$)/.test(code)) throw error;
        const isDamaged = /^SQLITE_(CORRUPT|NOTADB|ERROR|MISMATCH)/.test(code);
        const isSetAside = isDamaged && this.#setAside();
        if (!this.#isInTrouble || isSetAside)
          this.#o.trouble(`${isSetAside ? 'set aside' : 'not written'}: ${(error as Error).message}`);
        this.#isInTrouble = true;
        if (!isSetAside || !again) return null;
      }
    }
  }

  /** False: it could not be, and is tried again with the next record. */
  #setAside(): boolean {
    const { path } = this.#o;
    this.#database?.close();
    this.#database = null;
    try {
      renameSync(path, `${path}.damaged`);
      for (const beside of ['-wal', '-shm']) rmSync(`${path}${beside}`, { force: true });
      return true;
    } catch {
      return false;
    }
  }
}

/** Pages of the same question, from one history or from several members': parts of one repair are put together. */
export function unitedPages(pages: readonly (readonly KeptRepair[])[], limit: number): KeptRepair[] {
  const repairs = new Map<string, KeptRepair>();
  for (const repair of pages.flat()) {
    const other = repairs.get(repair.id);
    repairs.set(repair.id, other === undefined ? repair : together(other, repair));
  }
  return [...repairs.values()].sort(newestFirst).slice(0, limit);
}

/** What comes again and again in the same way, and is one record then. */
const ALIKE: readonly RepairOutcome[] = ['failed', 'damage', 'overtaken'];

function newestFirst(a: KeptRepair, b: KeptRepair): number {
  return b.finishedMs - a.finishedMs || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);
}

function isWanted(repair: KeptRepair, filter: RepairFilter, before: RepairCursor | null): boolean {
  const isOlder =
    before === null ||
    repair.finishedMs < before.finishedMs ||
    (repair.finishedMs === before.finishedMs && repair.id < before.id);
  return isOlder && (Object.keys(FILTERS) as (keyof RepairFilter)[]).every((name) => matches(repair, filter, name));
}

function matches<K extends keyof RepairFilter>(repair: KeptRepair, filter: RepairFilter, name: K): boolean {
  const wanted = filter[name];
  const test = FILTERS[name][1] as (repair: KeptRepair, wanted: unknown) => boolean;
  return wanted === undefined || test(repair, wanted);
}

/** null: it moved something, or has done what it was to do. Numbers of nodes, stamps and batches do not make another failure of it. */
function alikeOf(repair: KeptRepair): string | null {
  const { outcome, kind, shard, reason } = repair;
  if (!ALIKE.includes(outcome) || hasChanged(repair)) return null;
  return `${kind} ${shard} ${outcome} ${(reason ?? '').replace(/[0-9a-f]{16,32}|\d+/g, '#')}`;
}

function together(a: KeptRepair, b: KeptRepair): KeptRepair {
  const { database, times } = a;
  return { ...joined(a, b), database: database === '' ? b.database : database, times: Math.max(times, b.times) };
}

/** The same failure once more: what it was called first, and how it was last. */
function once(earlier: KeptRepair, now: KeptRepair): KeptRepair {
  const { id, startedMs, times } = earlier;
  return { ...now, id, startedMs, finishedMs: Math.max(earlier.finishedMs, now.finishedMs), times: times + now.times };
}

/** null: there is none, or it is damaged. */
function readRow(row: Row | undefined | null): KeptRepair | null {
  if (row === undefined || row === null || crc32(row.json) !== row.crc) return null;
  return { ...(JSON.parse(row.json) as KeptRepair), outcome: row.outcome };
}
