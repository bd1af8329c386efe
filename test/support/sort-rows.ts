/** Row sets from rows in any order: what tests of blocks are made of, and what memtables are compared with. */
import type { Column } from '../../shards/column.ts';
import { permuteColumn } from '../../shards/row-gather.ts';
import { compareColumns, type RowSet } from '../../shards/row-set.ts';
import type { Version } from '../../shards/version.ts';

/** Rows of one measurement in any order. Arrays are exactly as long as there are rows. */
export interface UnsortedRows {
  /** Per row: id of the series, local to the shard. */
  readonly rowSeries: Uint32Array;
  /** Per row: nanoseconds after the shard's start. */
  readonly times: Float64Array;
  /** Per row: index into `versionTable`. */
  readonly versions: Uint32Array;
  /** In any order, also with repetitions. */
  readonly versionTable: readonly Version[];
  /** Each (field, type) at most once, in any order. */
  readonly columns: readonly Column[];
}

/** A table by series id is used as long as it is at most this many times as long as the rows; else a Map. */
const TABLE_RATIO_MAX = 16;
const TABLE_MIN = 1 << 16;

/** `rankOf` orders series (by hash); it is called once per distinct series. The result may share arrays with `unsorted`. */
export function sortRows(unsorted: UnsortedRows, rankOf: (series: number) => number): RowSet {
  const count = unsorted.times.length;
  const { slots, ids } = slotsOf(unsorted.rowSeries);
  const ranks = ids.map((id) => rankOf(id));
  const order = Array.from(ids.keys()).sort((a, b) => rankDifference(ranks[a]!, ranks[b]!));
  const position = new Uint32Array(ids.length);
  order.forEach((slot, i) => {
    position[slot] = i;
  });
  const seriesStart = new Uint32Array(ids.length + 1);
  for (let i = 0; i < count; i++) seriesStart[position[slots[i]!]! + 1]!++;
  for (let s = 0; s < ids.length; s++) seriesStart[s + 1]! += seriesStart[s]!;
  const next = seriesStart.slice(0, ids.length);
  const rowOrder = new Uint32Array(count);
  for (let i = 0; i < count; i++) rowOrder[next[position[slots[i]!]!]!++] = i;

  const { versionTable, versions } = ascendingVersions(unsorted.versionTable, unsorted.versions);
  for (let s = 0; s < ids.length; s++) {
    sortSpan(rowOrder, seriesStart[s]!, seriesStart[s + 1]!, unsorted.times, versions);
  }
  const columns = [...unsorted.columns].sort(compareColumns);
  const series = Uint32Array.from(order, (slot) => ids[slot]!);
  if (isIdentity(rowOrder)) {
    return { series, seriesStart, times: unsorted.times, versions, versionTable, columns };
  }
  const times = new Float64Array(count);
  const sortedVersions = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    times[i] = unsorted.times[rowOrder[i]!]!;
    sortedVersions[i] = versions[rowOrder[i]!]!;
  }
  return {
    series,
    seriesStart,
    times,
    versions: sortedVersions,
    versionTable,
    columns: columns.map((column) => permuteColumn(column, rowOrder)),
  };
}

function rankDifference(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Numbers the distinct series in order of appearance. */
function slotsOf(rowSeries: Uint32Array): { slots: Uint32Array; ids: number[] } {
  const count = rowSeries.length;
  const slots = new Uint32Array(count);
  const ids: number[] = [];
  let greatest = 0;
  for (let i = 0; i < count; i++) if (rowSeries[i]! > greatest) greatest = rowSeries[i]!;
  if (greatest > Math.max(TABLE_MIN, count * TABLE_RATIO_MAX)) {
    const slotOf = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      let slot = slotOf.get(rowSeries[i]!);
      if (slot === undefined) {
        slot = ids.length;
        slotOf.set(rowSeries[i]!, slot);
        ids.push(rowSeries[i]!);
      }
      slots[i] = slot;
    }
    return { slots, ids };
  }
  const slotOf = new Uint32Array(greatest + 1);
  for (let i = 0; i < count; i++) {
    const id = rowSeries[i]!;
    // One more than the slot; zero is none.
    let slot = slotOf[id]!;
    if (slot === 0) {
      ids.push(id);
      slot = ids.length;
      slotOf[id] = slot;
    }
    slots[i] = slot - 1;
  }
  return { slots, ids };
}

/** The same versions as an ascending table without repetitions, and the rows' indexes into it. */
export function ascendingVersions(
  table: readonly Version[],
  versions: Uint32Array,
): { versionTable: readonly Version[]; versions: Uint32Array } {
  let ascending = true;
  for (let i = 1; i < table.length && ascending; i++) ascending = table[i - 1]! < table[i]!;
  if (ascending) return { versionTable: table, versions };
  const versionTable = [...new Set(table)].sort();
  const indexOf = new Map(versionTable.map((version, i) => [version, i]));
  const renumbered = Uint32Array.from(table, (version) => indexOf.get(version)!);
  const into = new Uint32Array(versions.length);
  for (let i = 0; i < versions.length; i++) into[i] = renumbered[versions[i]!]!;
  return { versionTable, versions: into };
}

/** Sorts rowOrder[start .. end - 1] by (time, version, arrival); nothing happens when it is sorted. */
function sortSpan(rowOrder: Uint32Array, start: number, end: number, times: Float64Array, versions: Uint32Array): void {
  let i = start + 1;
  for (; i < end; i++) {
    const a = rowOrder[i - 1]!;
    const b = rowOrder[i]!;
    if (times[a]! > times[b]! || (times[a] === times[b] && versions[a]! > versions[b]!)) break;
  }
  if (i >= end) return;
  rowOrder.subarray(start, end).sort((a, b) => times[a]! - times[b]! || versions[a]! - versions[b]! || a - b);
}

function isIdentity(order: Uint32Array): boolean {
  for (let i = 0; i < order.length; i++) if (order[i] !== i) return false;
  return true;
}
