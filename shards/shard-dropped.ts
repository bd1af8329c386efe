/**
 * What a shard keeps of the rows and deletes that it has dropped: the sum of their content.
 *
 * Replicas merge at different moments, so what is stored of settled content differs between them. What they have received
 * does not, and its sum is what their ledgers compare. Every transaction that changes what is stored without anything
 * having been received adds the difference here, so that on each replica, at any moment,
 *   sum of what is stored + sum of what was dropped = sum of what was received,
 * and the scrub can tell a lost or changed row from one that was dropped. A row that loses its version counts as dropped
 * with the old one, and stored with the new one.
 */
import type { Database } from 'better-sqlite3';
import { addSums, type Sum128, sumToHex } from './checksum.ts';
import { ensureDroppedTable } from './shard-file.ts';

const READ_DROPPED = 'SELECT content FROM dropped WHERE id = 1';
const WRITE_DROPPED = 'INSERT OR REPLACE INTO dropped (id, content) VALUES (1, ?)';
const HAS_TABLE = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'dropped'`;

export class ShardDropped {
  #content: Sum128 = 0n;

  get content(): Sum128 {
    return this.#content;
  }

  /** A file of the first format has no such table: nothing has been dropped from it. */
  load(database: Database): void {
    if (database.prepare(HAS_TABLE).pluck().get() === 0) return;
    const text = database.prepare(READ_DROPPED).pluck().get();
    if (typeof text === 'string') this.#content = BigInt(`0x${text}`);
  }

  /** In the transaction that drops it; `added` once that has ended. */
  write(database: Database, more: Sum128): void {
    ensureDroppedTable(database);
    database.prepare(WRITE_DROPPED).run(sumToHex(addSums(this.#content, more)));
  }

  added(more: Sum128): void {
    this.#content = addSums(this.#content, more);
  }
}
