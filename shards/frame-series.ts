/** The series of a frame as ids of a shard: looked up all at once, added where their keys are given. */
import type { SeriesKeyRecord } from './batch.ts';
import { StorageError } from './errors.ts';
import type { HeldFrame } from './held-frame.ts';
import { UNKNOWN_ID } from './kernel/series-kernel.ts';
import { storageWords } from './kernel/storage-kernel.ts';
import type { SeriesHash } from './series-key.ts';
import type { SeriesTable } from './series-table.ts';

/** Hashes of the frame's series that the table does not have and that `keys` does not name. */
export function unknownSeries(table: SeriesTable, frame: HeldFrame, keys: readonly SeriesKeyRecord[]): SeriesHash[] {
  if (lookUp(table, frame) === 0) return [];
  const given = new Set(keys.map(({ hash }) => hash));
  return unresolved(frame)
    .map((series) => frame.hashOf(series))
    .filter((hash) => !given.has(hash));
}

/** Fills in the ids of the frame's series; unknown ones are added. Throws StorageError `unknown-series`. */
export function addSeries(table: SeriesTable, frame: HeldFrame, keys: readonly SeriesKeyRecord[]): void {
  if (lookUp(table, frame) === 0) return;
  const missing = unknownSeries(table, frame, keys);
  if (missing.length > 0) {
    throw new StorageError('unknown-series', `${missing.length} series of batch ${frame.version} have no key here`);
  }
  const keyOf = new Map(keys.map(({ hash, key }) => [hash, key]));
  for (const series of unresolved(frame)) {
    const hash = frame.hashOf(series);
    const known = table.find(hash);
    const id = known >= 0 ? known : table.add(hash, keyOf.get(hash)!);
    const at = frame.ids >>> 2;
    storageWords()[at + series] = id;
  }
}

/** How many series have no id. */
function lookUp(table: SeriesTable, frame: HeldFrame): number {
  if (frame.resolvedIn === table) return 0;
  const unknown = table.findMany(frame.hashes, frame.seriesCount, frame.ids);
  if (unknown === 0) frame.resolvedIn = table;
  return unknown;
}

/** Places in the frame's list of series that have no id. */
function unresolved(frame: HeldFrame): number[] {
  const words = storageWords();
  const at = frame.ids >>> 2;
  const found: number[] = [];
  for (let i = 0; i < frame.seriesCount; i++) if (words[at + i] === UNKNOWN_ID) found.push(i);
  return found;
}
