/** The identity lists in a shard's file: one row an epoch (ledger-codec.ts has their layout). */
import type { Database } from 'better-sqlite3';
import type { FrozenList } from './ledger-epoch.ts';

export const CREATE_EPOCHS = `
  CREATE TABLE IF NOT EXISTS ledger_epochs (epoch INTEGER PRIMARY KEY, identities BLOB NOT NULL);`;
const LIST_EPOCHS = 'SELECT epoch FROM ledger_epochs';
const READ_EPOCHS = 'SELECT epoch, identities FROM ledger_epochs ORDER BY epoch';
const READ_EPOCH = 'SELECT identities FROM ledger_epochs WHERE epoch = ?';
const WRITE_EPOCH = 'INSERT OR REPLACE INTO ledger_epochs (epoch, identities) VALUES (?, ?)';
const DELETE_EPOCHS_BELOW = 'DELETE FROM ledger_epochs WHERE epoch < ?';
const DELETE_EPOCH = 'DELETE FROM ledger_epochs WHERE epoch = ?';

export interface EpochRow {
  readonly epoch: number;
  readonly identities: Uint8Array;
}

/** Ascending, one by one. */
export function readEpochs(database: Database): Iterable<EpochRow> {
  return database.prepare<[], EpochRow>(READ_EPOCHS).iterate();
}

export function readEpoch(database: Database, epoch: number): Uint8Array | undefined {
  return database.prepare<[number], Uint8Array>(READ_EPOCH).pluck().get(epoch);
}

export function writeEpoch(database: Database, epoch: number, identities: Uint8Array): void {
  database.prepare(WRITE_EPOCH).run(epoch, identities);
}

/** The lists of one moment. */
export interface FrozenLists {
  /** The epoch of the floor. */
  readonly first: number;
  /** All that have batches, ascending. */
  readonly epochs: readonly number[];
  /** Of those the ones that are in memory; the file has the others as they are. */
  readonly lists: ReadonlyMap<number, FrozenList>;
  /** Since the save before; of those the ones that have no batches any more. */
  readonly changed: readonly number[];
  readonly emptied: readonly number[];
}

/** `whole`: the file missed the save before. */
export function writeEpochs(database: Database, frozen: FrozenLists, whole: boolean): void {
  const { first, lists, changed, emptied } = frozen;
  database.prepare(DELETE_EPOCHS_BELOW).run(first);
  const remove = database.prepare(DELETE_EPOCH);
  for (const epoch of whole ? strangers(database, frozen) : emptied) remove.run(epoch);
  const write = database.prepare(WRITE_EPOCH);
  for (const epoch of whole ? lists.keys() : changed) {
    const list = lists.get(epoch);
    if (list !== undefined) write.run(epoch, list.encode());
  }
}

/** Rows of a file that missed a save. */
function strangers(database: Database, { epochs }: FrozenLists): number[] {
  const known = new Set(epochs);
  return (database.prepare(LIST_EPOCHS).pluck().all() as number[]).filter((epoch) => !known.has(epoch));
}
