/**
 * The series of a frame as ids of a shard: looked up all at once, added where their keys are given.
 *
 * A row of one measurement whose series is of another one would be found by nobody: such a frame is corrupt.
 */
import type { SeriesKeyRecord } from './batch.ts';
import { BatchError } from './batch-codec.ts';
import { StorageError } from './errors.ts';
import type { HeldFrame } from './held-frame.ts';
import { UNKNOWN_ID } from './kernel/series-kernel.ts';
import { storageKernel, storageWords } from './kernel/storage-kernel.ts';
import { parseSeriesKey, type SeriesHash } from './series-key.ts';
import type { SeriesTable } from './series-table.ts';

/**
 * Hashes of the frame's series that the table does not have and that neither `keys` nor `earlier` names. Throws
 * BatchError.
 */
export function unknownSeries(
  table: SeriesTable,
  frame: HeldFrame,
  keys: readonly SeriesKeyRecord[],
  earlier: ReadonlyMap<SeriesHash, string> | undefined,
): SeriesHash[] {
  const unknown = lookUp(table, frame);
  const users = checkMeasurements(table, frame);
  if (unknown === 0) return [];
  const keyOf = new Map(keys.map(({ hash, key }) => [hash, key]));
  const missing: SeriesHash[] = [];
  for (const series of unresolved(frame)) {
    const hash = frame.hashOf(series);
    const key = keyOf.get(hash) ?? earlier?.get(hash);
    if (key === undefined) missing.push(hash);
    else if (users[series]! > 0) checkKey(frame, key, users[series]! - 1);
  }
  return missing;
}

/** Of each series, counted from 1, the group that uses it; 0: none does. */
function checkMeasurements(table: SeriesTable, frame: HeldFrame): Uint32Array {
  const kernel = storageKernel();
  const { groups, seriesCount, index } = frame;
  const numberOf = new Map<string, number>();
  groups.forEach(({ shape: { measurement } }, i) => {
    if (numberOf.has(measurement)) return;
    const number = table.measurementNumber(measurement);
    numberOf.set(measurement, number >= 0 ? number : NEW_MEASUREMENT + i);
  });
  const block = kernel.alloc((groups.length + seriesCount) * 4 + 4);
  const words = storageWords();
  const numbers = block >>> 2;
  groups.forEach(({ shape }, i) => {
    words[numbers + i] = numberOf.get(shape.measurement)!;
  });
  const users = numbers + groups.length;
  words.fill(0, users, users + seriesCount);
  const belongs = kernel.frameBelongs(index, table.ids.address, block, users * 4) !== 0;
  const found = words.slice(users, users + seriesCount);
  kernel.free(block);
  if (!belongs) throw foreignSeries(frame);
  return found;
}

function checkKey(frame: HeldFrame, key: string, group: number): void {
  if (parseSeriesKey(key).measurement !== frame.groups[group]!.shape.measurement) throw foreignSeries(frame);
}

function foreignSeries(frame: HeldFrame): BatchError {
  const { version } = frame;
  return new BatchError('corrupt-batch', `corrupt batch: rows of ${version} are of series of another measurement`);
}

/** Fills in the ids of the frame's series; unknown ones are added. Throws StorageError `unknown-series`. */
export function addSeries(table: SeriesTable, frame: HeldFrame, keys: readonly SeriesKeyRecord[]): void {
  if (lookUp(table, frame) === 0) return;
  const keyOf = new Map(keys.map(({ hash, key }) => [hash, key]));
  const fresh = unresolved(frame).map((series) => [series, frame.hashOf(series)] as const);
  const missing = fresh.filter(([, hash]) => !keyOf.has(hash));
  if (missing.length > 0) {
    throw new StorageError('unknown-series', `${missing.length} series of batch ${frame.version} have no key here`);
  }
  for (const [series, hash] of fresh) {
    const known = table.find(hash);
    const id = known >= 0 ? known : table.add(hash, keyOf.get(hash)!);
    const at = frame.ids >>> 2;
    storageWords()[at + series] = id;
  }
}

/** In the place of a measurement's number: the table does not have it. Numbers stay far below. */
const NEW_MEASUREMENT = 0x8000_0000;

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
