/**
 * Merging row sets in the kernel (kernel/assembly/memtable/merge.ts): a stable counting sort by series, then by time and
 * version where a series is out of order, and one pass over each column.
 */
import { BOOLEAN, type Column, FLOAT, INTEGER, STRING } from './column.ts';
import { copyInto } from './kernel/copy.ts';
import { SCRATCH } from './kernel/memtable-kernel.ts';
import { storageBytes, storageKernel, storageNumbers, storageWords } from './kernel/storage-kernel.ts';
import { compareColumns, type RowSet } from './row-set.ts';
import type { Version } from './version.ts';

export interface MergedColumn {
  readonly field: string;
  readonly type: Column['type'];
  /** Per set: its column of this field and type. */
  readonly parts: (Column | null)[];
}

export function columnsOf(sets: readonly RowSet[]): MergedColumn[] {
  const found = new Map<string, MergedColumn>();
  sets.forEach((set, k) => {
    for (const column of set.columns) {
      const name = `${column.type}${column.field}`;
      let merged = found.get(name);
      if (merged === undefined) {
        merged = { field: column.field, type: column.type, parts: sets.map(() => null) };
        found.set(name, merged);
      }
      merged.parts[k] = column;
    }
  });
  return [...found.values()].sort(compareColumns);
}

/** The merged rows; null when some of them are parts of one row. No set is empty. */
export function mergeInKernel(sets: readonly RowSet[], hashOrder: (a: number, b: number) => number): RowSet | null {
  const kernel = storageKernel();
  const { series, places } = unitedSeries(sets, hashOrder);
  const versionTable = unitedVersions(sets);
  let rows = 0;
  for (const set of sets) rows += set.times.length;
  kernel.mergeOpen(rows);
  let versionBase = 0;
  sets.forEach((set, k) => {
    addSet(set, places[k]!, versionBase);
    versionBase += set.versionTable.length;
  });
  arrange(sets, series.length, versionTable, versionBase);
  if (kernel.mergeHasFolds(series.length) !== 0) {
    kernel.scratchTrim();
    return null;
  }
  const startsAt = kernel.scratchAt(SCRATCH.starts) >>> 2;
  const timesAt = kernel.scratchAt(SCRATCH.times) >>> 3;
  const versionsAt = kernel.scratchAt(SCRATCH.versions) >>> 2;
  const merged = {
    series,
    seriesStart: storageWords().slice(startsAt, startsAt + series.length + 1),
    times: storageNumbers().slice(timesAt, timesAt + rows),
    versions: storageWords().slice(versionsAt, versionsAt + rows),
    versionTable,
    columns: columnsOf(sets).map((column) => mergeColumn(sets, column, rows)),
  };
  kernel.scratchTrim();
  return merged;
}

function addSet({ series, seriesStart, times, versions }: RowSet, places: Uint32Array, versionBase: number): void {
  const kernel = storageKernel();
  const rows = times.length;
  const count = series.length;
  // Doubles first, so that everything is aligned.
  const block = kernel.alloc(rows * 12 + count * 8 + 8);
  const bytes = storageBytes();
  const versionsAt = block + rows * 8;
  const startsAt = versionsAt + rows * 4;
  const placesAt = startsAt + (count + 1) * 4;
  copyInto(bytes, block, times);
  copyInto(bytes, versionsAt, versions);
  copyInto(bytes, startsAt, seriesStart.subarray(0, count + 1));
  copyInto(bytes, placesAt, places);
  kernel.mergeAdd(count, startsAt, placesAt, block, versionsAt, versionBase);
  kernel.free(block);
}

function arrange(sets: readonly RowSet[], places: number, versionTable: readonly Version[], count: number): void {
  const kernel = storageKernel();
  const indexOf = new Map(versionTable.map((version, i) => [version, i]));
  const ranks = kernel.alloc(Math.max(count, 1) * 4);
  const words = storageWords();
  let at = ranks >>> 2;
  for (const set of sets) for (const version of set.versionTable) words[at++] = indexOf.get(version)!;
  kernel.pickedArrange(places, ranks);
  kernel.free(ranks);
}

/** All series in order of hash, and each set's series as places among them. */
function unitedSeries(
  sets: readonly RowSet[],
  hashOrder: (a: number, b: number) => number,
): { series: Uint32Array; places: Uint32Array[] } {
  const places = sets.map((set) => new Uint32Array(set.series.length));
  const heads = new Uint32Array(sets.length);
  const series: number[] = [];
  for (;;) {
    let least = -1;
    for (let k = 0; k < sets.length; k++) {
      const id = sets[k]!.series[heads[k]!];
      if (id !== undefined && (least < 0 || (id !== least && hashOrder(id, least) < 0))) least = id;
    }
    if (least < 0) break;
    for (let k = 0; k < sets.length; k++) {
      if (sets[k]!.series[heads[k]!] === least) places[k]![heads[k]!++] = series.length;
    }
    series.push(least);
  }
  return { series: Uint32Array.from(series), places };
}

function unitedVersions(sets: readonly RowSet[]): Version[] {
  const distinct = new Set<Version>();
  for (const set of sets) for (const version of set.versionTable) distinct.add(version);
  return [...distinct].sort();
}

function mergeColumn(sets: readonly RowSet[], { field, type, parts }: MergedColumn, rows: number): Column {
  const kernel = storageKernel();
  const bytes = type === STRING ? 0 : type === BOOLEAN ? 1 : 8;
  let rowsMax = 0;
  for (const set of sets) rowsMax = Math.max(rowsMax, set.times.length);
  const room = kernel.mergeColumnOpen(bytes, rowsMax);
  const strings = type === STRING ? new Array<string>(rows).fill('') : null;
  let first = 0;
  sets.forEach((set, k) => {
    const part = parts[k];
    const count = set.times.length;
    if (part !== null && part !== undefined) {
      if (strings === null) copyInto(storageBytes(), room, bytesOf(part, count));
      else putStrings(part.values as string[], strings, first);
      if (part.present !== null) copyInto(storageBytes(), room + count * bytes, part.present.subarray(0, count));
      kernel.mergeColumnAdd(bytes, first, count, room, part.present === null ? 0 : 1);
    }
    first += count;
  });
  const everywhere = kernel.mergeColumnCount() === rows;
  const presentAt = kernel.scratchAt(SCRATCH.present);
  const present = everywhere ? null : storageBytes().slice(presentAt, presentAt + rows);
  if (strings !== null) return { field, type, present, values: strings };
  const valuesAt = kernel.scratchAt(SCRATCH.values);
  const values = storageBytes().slice(valuesAt, valuesAt + rows * bytes);
  if (type === BOOLEAN) return { field, type, present, values };
  if (type === FLOAT) return { field, type, present, values: new Float64Array(values.buffer) };
  const integers = type === INTEGER ? new BigInt64Array(values.buffer) : new BigUint64Array(values.buffer);
  return { field, type, present, values: integers };
}

function bytesOf({ type, values }: Column, count: number): Uint8Array {
  if (type === BOOLEAN) return (values as Uint8Array).subarray(0, count);
  const { buffer, byteOffset } = values as Float64Array;
  return new Uint8Array(buffer, byteOffset, count * 8);
}

/** The targets of the merge's rows from `first` on. */
function putStrings(values: readonly string[], into: string[], first: number): void {
  const words = storageWords();
  const targets = (storageKernel().scratchAt(SCRATCH.targets) >>> 2) + first;
  for (let i = 0; i < values.length; i++) into[words[targets + i]!] = values[i]!;
}
