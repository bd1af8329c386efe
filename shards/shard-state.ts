/**
 * What a shard's file holds besides blocks: read in two parts, the small one when the file is opened and the series at
 * their first use. A flush writes it (shard-flush.ts).
 */
import type { Database } from 'better-sqlite3';
import { decodeBatch } from './batch-codec.ts';
import type { ShardCompanion } from './companion.ts';
import { StorageError } from './errors.ts';
import { LOG_START } from './log-position.ts';
import { addSeriesChunk } from './series-chunk.ts';
import type { SeriesIds } from './series-ids.ts';
import type { ShardDropped } from './shard-dropped.ts';
import type { ShardFields } from './shard-fields.ts';
import { guarded, readMeta, type ShardFile, WRITE_META } from './shard-file.ts';
import type { ShardTombstones } from './shard-tombstones.ts';
import type { LogPosition } from './storage.ts';

const READ_CHUNKS = 'SELECT first, count, bytes FROM series_chunks WHERE first >= ? ORDER BY first LIMIT ?';
/** Chunks of series that one step reads: some four milliseconds. */
const CHUNKS_AT_ONCE = 16;
const READ_TOMBSTONES = 'SELECT frame FROM tombstones ORDER BY version';

/** What `meta.sizes` holds, as JSON: so that nothing has to be read to tell it. */
export interface FlushedSizes {
  readonly rows: number;
  readonly blocks: number;
  readonly series: number;
}

export interface ShardState {
  readonly companion: ShardCompanion;
  readonly fields: ShardFields;
  readonly tombstones: ShardTombstones;
  readonly dropped: ShardDropped;
}

/** `sizes`: null in a file that no flush has ended in (a copy). */
export function readState(
  database: Database,
  state: ShardState,
): { flushedThrough: LogPosition; sizes: FlushedSizes | null } {
  state.fields.load(database);
  for (const frame of database.prepare(READ_TOMBSTONES).pluck().all() as Buffer[]) {
    const batch = decodeBatch(frame);
    if (batch.kind === 'delete') state.tombstones.add(batch, frame, true);
  }
  state.dropped.load(database);
  state.companion.load(database);
  const flushed = readMeta(database, 'flushed');
  const sizes = readMeta(database, 'sizes');
  return {
    flushedThrough: flushed === null ? LOG_START : (JSON.parse(flushed) as LogPosition),
    sizes: sizes === null ? null : (JSON.parse(sizes) as FlushedSizes),
  };
}

export function writeSizes(database: Database, sizes: FlushedSizes): void {
  database.prepare(WRITE_META).run('sizes', JSON.stringify(sizes));
}

/** In steps: the file is only added to as long as not all is read. */
export function* readSeries(file: ShardFile, ids: SeriesIds): Generator<void, void> {
  for (let full = true; full; ) {
    const rows = guarded(file.path, () => file.statement(READ_CHUNKS).all(ids.count, CHUNKS_AT_ONCE)) as {
      first: number;
      count: number;
      bytes: Buffer;
    }[];
    for (const { first, count, bytes } of rows) {
      if (first !== ids.count) throw new StorageError('damaged-file', `${file.path}: series ${ids.count} is missing`);
      addSeriesChunk(ids, bytes, count);
    }
    full = rows.length === CHUNKS_AT_ONCE;
    if (full) yield;
  }
}
