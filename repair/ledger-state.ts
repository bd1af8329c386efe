/** What a shard's file says of its ledger besides the identities: one row of JSON. */
import type { Database } from 'better-sqlite3';
import type { Stamp } from '../shards/version.ts';
import type { RootJson, Watermark } from './ledger.ts';
import { LedgerError } from './ledger-codec.ts';
import type { TotalJson } from './ledger-epochs.ts';
import type { Loss } from './losses.ts';
import { joinLostFiles } from './lost-files.ts';
import type { GoneMember } from './passed-lists.ts';

export interface StateJson {
  readonly sequence: number;
  readonly replica: 'full' | 'filling' | 'damaged';
  readonly floor: Stamp;
  readonly collapsed: RootJson;
  readonly converged: Watermark | null;
  readonly liveConverged: Watermark | null;
  readonly damage: string | null;
  /** Not in files of before. */
  readonly newcomer?: boolean;
  readonly scrubbedMs?: number;
  readonly losses?: readonly Loss[];
  readonly mustDisown?: boolean;
  readonly lostThrough?: Stamp | null;
  readonly lostFiles?: readonly GoneMember[];
  readonly since?: Stamp;
  /** Of all identity lists in the file. */
  readonly total?: TotalJson;
}

export const CREATE_STATE = `
  CREATE TABLE IF NOT EXISTS ledger_state (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL);`;
const READ_STATE = 'SELECT state FROM ledger_state WHERE id = 1';
const WRITE_STATE = 'INSERT OR REPLACE INTO ledger_state (id, state) VALUES (1, ?)';

/** null: nothing was ever saved. Throws LedgerError. */
export function readState(database: Database): StateJson | null {
  const text = database.prepare<[], string>(READ_STATE).pluck().get();
  if (text === undefined) return null;
  try {
    return JSON.parse(text) as StateJson;
  } catch {
    throw new LedgerError(`ledger state is not JSON: ${text.slice(0, 80)}`);
  }
}

export function writeState(database: Database, state: StateJson): void {
  database.prepare(WRITE_STATE).run(JSON.stringify(state));
}

/** Of a replica itself, whatever it has copied. */
export type OwnState = Pick<
  StateJson,
  'replica' | 'damage' | 'newcomer' | 'mustDisown' | 'lostThrough' | 'lostFiles' | 'since'
>;

/**
 * The file is a copy of another member's, which says of that one in what state its replica is and since when it
 * acknowledges. Within the transaction that ends the copy: a process that ends right after it must not take that for its own.
 */
export function stateOwn(database: Database, own: OwnState): void {
  database.exec(CREATE_STATE);
  const copied = readState(database);
  if (copied === null) return;
  // The snapshot may be of before its source was told.
  const lostFiles = joinLostFiles(copied.lostFiles ?? [], own.lostFiles ?? []);
  writeState(database, { ...copied, ...own, lostFiles });
}
