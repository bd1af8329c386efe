/**
 * The series of a frame as ids of a shard: looked up all at once, added where their keys are given.
 *
 * A row of one measurement whose series is of another one would be found by nobody: such a frame is corrupt.
 */
import { BatchError } from './batch-codec.ts';
import { StorageError } from './errors.ts';
import type { HeldFrame } from './held-frame.ts';
import { storageKernel } from './kernel/storage-kernel.ts';
import { SeriesIds } from './series-ids.ts';
import type { SeriesHash } from './series-key.ts';
import { type GivenKeys, SeriesKeys } from './series-keys.ts';
import type { SeriesTable } from './series-table.ts';

/**
 * Hashes of the frame's series that the table does not have and that none of `keys` names; the first are the frame's own.
 * Throws BatchError.
 */
export function unknownSeries(table: SeriesTable, frame: HeldFrame, keys: readonly GivenKeys[]): SeriesHash[] {
  // Then mostly all are new: they are looked up when they are added.
  if (frame.isOwn && isNamed(frame, SeriesKeys.of(keys[0] ?? []))) return [];
  const unknown = lookUp(table, frame);
  if (storageKernel().frameBelongs(frame.index, table.ids.address) === 0) throw foreignSeries(frame);
  if (unknown === 0) return [];
  const given = keys.filter(({ length }) => length > 0).map((some) => SeriesKeys.of(some).body);
  const missing = table.ids.missing(frame.index, given.length === 1 ? given[0]! : Buffer.concat(given));
  if (missing === null) throw foreignSeries(frame);
  return missing.map((series) => frame.hashOf(series));
}

function foreignSeries(frame: HeldFrame): BatchError {
  const { version } = frame;
  return new BatchError('corrupt-batch', `corrupt batch: rows of ${version} are of series of another measurement`);
}

/** Whether the keys are those of the frame's series, in their order. */
function isNamed(frame: HeldFrame, keys: SeriesKeys): boolean {
  if (frame.lookedUpIn !== null) return false;
  frame.isNamed =
    keys.length === frame.seriesCount && SeriesIds.areNamed(frame.hashes, keys.length, frame.ids, keys.body);
  return frame.isNamed;
}

/** Fills in the ids of the frame's series; unknown ones are added. Throws StorageError `unknown-series`. */
export function addSeries(table: SeriesTable, frame: HeldFrame, keys: GivenKeys): void {
  if (frame.resolvedIn === table) return;
  const { body } = SeriesKeys.of(keys);
  const add = () => table.ids.addMissing(frame.hashes, frame.seriesCount, frame.ids, body);
  if (frame.isNamed) addNamed(table, frame, add);
  // What was unknown when the frame was judged mostly still is; else a batch in between has brought it.
  else if (frame.lookedUpIn !== table || add() > 0) {
    const missing = lookUp(table, frame) === 0 ? 0 : add();
    if (missing > 0) {
      throw new StorageError('unknown-series', `${missing} series of batch ${frame.version} have no key here`);
    }
  }
  frame.resolvedIn = table;
}

/** All are found or added by their own keys. One that is here already may have come with another key, from a faulty node. */
function addNamed(table: SeriesTable, frame: HeldFrame, add: () => number): void {
  const { count } = table;
  add();
  frame.isNamed = false;
  if (table.count - count === frame.seriesCount) return;
  if (storageKernel().frameBelongs(frame.index, table.ids.address) === 0) {
    throw new StorageError('unknown-series', `batch ${frame.version} names series that have other keys here`);
  }
}

/** How many series have no id. */
function lookUp(table: SeriesTable, frame: HeldFrame): number {
  if (frame.resolvedIn === table) return 0;
  const unknown = table.findMany(frame.hashes, frame.seriesCount, frame.ids);
  frame.lookedUpIn = table;
  if (unknown === 0) frame.resolvedIn = table;
  return unknown;
}
