/**
 * From stored fragments to what a reader sees: deletes applied, then per cell the greatest version (the smallest with
 * `first-write-wins`), one row per time.
 *
 * A fragment is dead when a tombstone of a greater version matches its series and time; only then do the cells compete.
 * Where the visible cells of a field disagree in type, the first of float, integer, unsigned, string, boolean that is
 * there wins for the whole slice (protocol rule 6), and cells of other types are as if absent.
 * Most slices have no tombstone, one fragment per time and one type per field: they are given out as views.
 */
import { firstAbove, firstAtLeast } from './block.ts';
import type { Column } from './column.ts';
import type { SeriesSlice } from './queryable.ts';
import { permuteColumn, sliceColumn } from './row-gather.ts';
import type { RowSet } from './row-set.ts';
import type { ConflictRule } from './row-settle.ts';
import type { Tombstone } from './tombstone.ts';

/** No row. */
const NONE = -1;

/**
 * The visible rows of series[seriesIndex] from minTime to maxTime that have one of the fields; null when there is none.
 * Arrays of the slice may be views of those of `rows`: they must not be written to.
 */
export function resolveSeries(
  rows: RowSet,
  seriesIndex: number,
  fields: readonly string[],
  tombstones: readonly Tombstone[],
  minTime: number,
  maxTime: number,
  candidates = candidatesOf(rows, fields),
  conflict: ConflictRule = 'last-write-wins',
): SeriesSlice | null {
  const series = rows.series[seriesIndex]!;
  const end = rows.seriesStart[seriesIndex + 1]!;
  const from = firstAtLeast(rows.times, rows.seriesStart[seriesIndex]!, end, minTime);
  const to = firstAbove(rows.times, from, end, maxTime);
  if (from === to) return null;
  const dead = deadRows(rows, series, from, to, tombstones);
  if (dead === null && candidates.every((columns) => columns.length <= 1) && ascends(rows.times, from, to)) {
    return plainSlice(rows, series, candidates, from, to);
  }
  return resolvedSlice(rows, series, candidates, dead, from, to, conflict);
}

/** Per field its columns, strongest type first, as the columns of a row set are sorted. */
export function candidatesOf(rows: RowSet, fields: readonly string[]): readonly (readonly Column[])[] {
  return fields.map((field) => rows.columns.filter((column) => column.field === field));
}

function ascends(times: Float64Array, from: number, to: number): boolean {
  for (let i = from + 1; i < to; i++) if (times[i] === times[i - 1]) return false;
  return true;
}

/** One byte per row, 1 = dead; null when none is. */
export function deadRows(
  rows: RowSet,
  series: number,
  from: number,
  to: number,
  tombstones: readonly Tombstone[],
): Uint8Array | null {
  let dead: Uint8Array | null = null;
  for (const tombstone of tombstones) {
    const { minTime, maxTime } = tombstone.predicate;
    if (maxTime < rows.times[from]! || minTime > rows.times[to - 1]!) continue;
    const below = versionsBelow(rows, tombstone.version);
    if (below === 0 || !tombstone.covers(series)) continue;
    const start = firstAtLeast(rows.times, from, to, minTime);
    const stop = firstAbove(rows.times, start, to, maxTime);
    for (let i = start; i < stop; i++) {
      if (rows.versions[i]! >= below) continue;
      dead ??= new Uint8Array(to - from);
      dead[i - from] = 1;
    }
  }
  return dead;
}

/** How many entries of the version table are lower than `version`. */
function versionsBelow(rows: RowSet, version: string): number {
  let low = 0;
  let high = rows.versionTable.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rows.versionTable[middle]! < version) low = middle + 1;
    else high = middle;
  }
  return low;
}

function plainSlice(
  rows: RowSet,
  series: number,
  candidates: readonly (readonly Column[])[],
  from: number,
  to: number,
): SeriesSlice | null {
  const columns = candidates.map(([column]) => (column ? presentSlice(column, from, to) : null));
  if (columns.some((column) => column !== null && column.present === null)) {
    return { series, times: rows.times.subarray(from, to), columns };
  }
  const order = new Uint32Array(to - from);
  let count = 0;
  for (let i = 0; i < to - from; i++) if (columns.some((column) => column?.present?.[i] === 1)) order[count++] = i;
  if (count === 0) return null;
  if (count === to - from) return { series, times: rows.times.subarray(from, to), columns };
  const kept = order.subarray(0, count);
  const times = new Float64Array(count);
  for (let i = 0; i < count; i++) times[i] = rows.times[from + kept[i]!]!;
  return { series, times, columns: columns.map((column) => column && normalised(permuteColumn(column, kept))) };
}

function presentSlice(column: Column, from: number, to: number): Column | null {
  return normalised(sliceColumn(column, from, to));
}

/** `present` is null when every row has the field; the column is null when none has. */
function normalised(column: Column): Column | null {
  if (column.present === null) return column;
  if (column.present.indexOf(1) < 0) return null;
  if (column.present.indexOf(0) >= 0) return column;
  return { ...column, present: null };
}

function resolvedSlice(
  rows: RowSet,
  series: number,
  candidates: readonly (readonly Column[])[],
  dead: Uint8Array | null,
  from: number,
  to: number,
  conflict: ConflictRule,
): SeriesSlice | null {
  // Group g: rows groupStart[g] .. groupStart[g + 1] - 1 have the same time, versions ascending.
  const groupStart = new Uint32Array(to - from + 1);
  let groups = 0;
  for (let i = from; i < to; i++) if (i === from || rows.times[i] !== rows.times[i - 1]) groupStart[groups++] = i;
  groupStart[groups] = to;
  const winners = candidates.map((columns) => winnersOf(columns, dead, groupStart, groups, from, conflict));
  const kept: number[] = [];
  for (let g = 0; g < groups; g++) if (winners.some((w) => w !== null && w.rows[g] !== NONE)) kept.push(g);
  if (kept.length === 0) return null;
  return {
    series,
    times: Float64Array.from(kept, (g) => rows.times[groupStart[g]!]!),
    columns: winners.map((w) => w && winnerColumn(w, kept)),
  };
}

/** The rows that hold the visible cells of a field, all of one type. */
interface Winners {
  readonly column: Column;
  /** Per group: row of the cell, or NONE. */
  readonly rows: Int32Array;
}

function winnersOf(
  columns: readonly Column[],
  dead: Uint8Array | null,
  groupStart: Uint32Array,
  groups: number,
  from: number,
  conflict: ConflictRule,
): Winners | null {
  const winnerRows = new Int32Array(groups).fill(NONE);
  const winnerColumns = new Uint8Array(groups);
  let strongest = columns.length;
  const firstWins = conflict === 'first-write-wins';
  for (let g = 0; g < groups; g++) {
    const [first, end] = [groupStart[g]!, groupStart[g + 1]!];
    for (let n = 0; n < end - first; n++) {
      const row = firstWins ? first + n : end - 1 - n;
      if (dead !== null && dead[row - from] === 1) continue;
      const c = columns.findIndex((column) => column.present === null || column.present[row] === 1);
      if (c < 0) continue;
      winnerRows[g] = row;
      winnerColumns[g] = c;
      if (c < strongest) strongest = c;
      break;
    }
  }
  if (strongest === columns.length) return null;
  for (let g = 0; g < groups; g++) if (winnerColumns[g] !== strongest) winnerRows[g] = NONE;
  return { column: columns[strongest]!, rows: winnerRows };
}

function winnerColumn(winners: Winners, kept: readonly number[]): Column | null {
  const { column } = winners;
  const order = new Uint32Array(kept.length);
  const present = new Uint8Array(kept.length);
  kept.forEach((g, i) => {
    const row = winners.rows[g]!;
    if (row === NONE) return;
    order[i] = row;
    present[i] = 1;
  });
  const { values } = permuteColumn({ ...column, present: null }, order);
  return normalised({ field: column.field, type: column.type, present, values });
}
