/**
 * Settling rows on their way into a run (row-settle.ts), with the sum of what that takes from the content that is stored: the
 * transaction that makes the run count adds it to what was dropped (shard-dropped.ts).
 */
import { addSums, contentLess, type Sum128 } from './checksum.ts';
import type { RowSet } from './row-set.ts';
import type { ConflictRule, settleRows } from './row-settle.ts';
import type { SeriesTable } from './series-table.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import type { Stamp } from './version.ts';

export interface SettlingSources {
  readonly table: SeriesTable;
  readonly windowNs: number;
  readonly tombstones: ShardTombstones;
  readonly settle: typeof settleRows;
  readonly conflict: ConflictRule;
  /** All rows and deletes at or below are in the file when the run counts, and so is a floor there (rule 18). */
  readonly settledThrough: Stamp;
}

export class Settling {
  /** Of all rows so far. */
  dropped: Sum128 = 0n;
  readonly #sources: SettlingSources;

  constructor(sources: SettlingSources) {
    this.#sources = sources;
  }

  /** What is left of rows of one window. `whole`: they are all that there are of it at or below the settled stamp. */
  settle(measurement: string, window: number, rows: RowSet, whole: boolean): RowSet {
    const { tombstones, settledThrough: through, settle, conflict, windowNs, table } = this.#sources;
    const start = window * windowNs;
    const deletes = tombstones.among(rows.series, measurement, start, start + windowNs - 1);
    const left = settle(rows, { through, tombstones: deletes, whole, conflict });
    if (left !== rows) {
      const lost = contentLess(rows, left, (id) => table.ids.hashOf(id));
      this.dropped = addSums(this.dropped, lost);
    }
    return left;
  }
}
