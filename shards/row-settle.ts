/**
 * Settling: of rows that every replica is proven to have (at or below the shard's settled stamp), what an overwrite or a
 * delete has made dead is taken out (protocol rule 17).
 *
 * Both the dead cell's version and its killer's are settled: an older delete that is still on its way could otherwise
 * kill the killer alone. Deletes are applied first, and the winner is chosen among the versions left: with
 * `first-write-wins` a deleted value would otherwise take the one behind it along.
 * Where all settled rows of a window are at hand (`whole`), what is left needs no versions of its own any more (rule 15):
 * whatever comes later is newer. It gets the greatest version that is settled, and fragments of one time become one row.
 */
import { type Column, makeValues } from './column.ts';
import { copyValues, permuteColumn } from './row-gather.ts';
import { deadRows } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import type { Tombstone } from './tombstone.ts';
import { isThrough, makeVersion, nodeOf, type Stamp, type Version } from './version.ts';

/** Which of two values of a cell counts; fixed for a database when it is made. */
export type ConflictRule = 'last-write-wins' | 'first-write-wins';

export interface SettleRequest {
  readonly through: Stamp;
  /** Of the rows' measurement and time; those above `through` do nothing yet. */
  readonly tombstones: readonly Tombstone[];
  /** Every row of the window at or below `through` is among the rows. */
  readonly whole: boolean;
  readonly conflict: ConflictRule;
}

const LAST_NODE = 'f'.repeat(16);
/** No row. */
const NONE = -1;

/** The version of rows that are settled through `through`: no node has this number. */
export function settledVersion(through: Stamp): Version {
  return makeVersion(through, LAST_NODE);
}

export function isSettledVersion(version: Version): boolean {
  return nodeOf(version) === LAST_NODE;
}

/** `rows` themselves when nothing changes. The result may be empty, and may share arrays with `rows`. */
export function settleRows(rows: RowSet, request: SettleRequest): RowSet {
  const settled = countThrough(rows.versionTable, request.through);
  if (settled === 0) return rows;
  const plan = new Plan(rows, settled, request);
  const kept = plan.isAll ? rows : plan.take();
  return request.whole ? withoutVersions(kept, settled, settledVersion(request.through)) : kept;
}

/** How many entries of an ascending table have a stamp at or below `through`. */
function countThrough(table: readonly Version[], through: Stamp): number {
  let count = 0;
  while (count < table.length && isThrough(table[count]!, through)) count++;
  return count;
}

function withoutVersions(rows: RowSet, settled: number, version: Version): RowSet {
  const { series, seriesStart, times, columns, versionTable } = rows;
  if (settled === 1 && versionTable[0] === version) return rows;
  const versions = new Uint32Array(times.length);
  for (let row = 0; row < versions.length; row++) versions[row] = Math.max(0, rows.versions[row]! - settled + 1);
  return { series, seriesStart, times, versions, versionTable: [version, ...versionTable.slice(settled)], columns };
}

/** Which rows are left, and which of their cells. */
class Plan {
  readonly #rows: RowSet;
  readonly #settled: number;
  readonly #whole: boolean;
  readonly #firstWins: boolean;
  /** Columns of one field, by the column's index: its field's number. */
  readonly #fieldOf: number[];
  readonly #fields: number;
  /** Row that row n of the result is taken from. */
  readonly #order: Uint32Array;
  #count = 0;
  /** Rows of the result whose cells are not those of one row, and per such row and column: the row of the cell or NONE. */
  readonly #mixed: number[] = [];
  readonly #sources: number[] = [];
  readonly #series: number[] = [];
  readonly #seriesStart: number[] = [];

  constructor(rows: RowSet, settled: number, { through, tombstones, whole, conflict }: SettleRequest) {
    this.#rows = rows;
    this.#settled = settled;
    this.#whole = whole;
    this.#firstWins = conflict === 'first-write-wins';
    const names = [...new Set(rows.columns.map(({ field }) => field))];
    this.#fieldOf = rows.columns.map(({ field }) => names.indexOf(field));
    this.#fields = names.length;
    this.#order = new Uint32Array(rows.times.length);
    const deletes = tombstones.filter(({ version }) => isThrough(version, through));
    for (let s = 0; s < rows.series.length; s++) {
      const [from, to] = [rows.seriesStart[s]!, rows.seriesStart[s + 1]!];
      const dead = deletes.length === 0 ? null : deadRows(rows, rows.series[s]!, from, to, deletes);
      const before = this.#count;
      this.#keepSeries(from, to, dead);
      if (this.#count === before) continue;
      this.#series.push(rows.series[s]!);
      this.#seriesStart.push(before);
    }
    this.#seriesStart.push(this.#count);
  }

  get isAll(): boolean {
    return this.#count === this.#rows.times.length && this.#mixed.length === 0;
  }

  #keepSeries(from: number, to: number, dead: Uint8Array | null): void {
    const { times } = this.#rows;
    for (let row = from; row < to; ) {
      let end = row + 1;
      while (end < to && times[end] === times[row]) end++;
      if (end > row + 1) this.#keepTime(row, end, dead, from);
      else if (dead === null || dead[row - from] === 0) this.#order[this.#count++] = row;
      row = end;
    }
  }

  /** Rows from .. to - 1 are of one series and time, versions ascending: settled ones first. `dead` begins at `first`. */
  #keepTime(from: number, to: number, dead: Uint8Array | null, first: number): void {
    const rivals: number[] = [];
    let open = from;
    for (; open < to && this.#rows.versions[open]! < this.#settled; open++) {
      if (dead === null || dead[open - first] === 0) rivals.push(open);
    }
    if (rivals.length === 1) this.#order[this.#count++] = rivals[0]!;
    else if (rivals.length > 1) this.#keepWinners(rivals);
    for (; open < to; open++) this.#order[this.#count++] = open;
  }

  #keepWinners(rivals: readonly number[]): void {
    const winners = this.#winners(rivals);
    const { columns } = this.#rows;
    if (this.#whole) {
      this.#keepMixed(rivals[0]!, (c) =>
        isPresent(columns[c]!, winners[this.#fieldOf[c]!]!) ? winners[this.#fieldOf[c]!]! : NONE,
      );
      return;
    }
    for (const row of rivals) {
      if (!winners.includes(row)) continue;
      this.#keepMixed(row, (c) => (winners[this.#fieldOf[c]!] === row && isPresent(columns[c]!, row) ? row : NONE));
    }
  }

  /** Per field: the row whose value counts; a value of another type takes the place of an older one, too. */
  #winners(rivals: readonly number[]): number[] {
    const winners = new Array<number>(this.#fields).fill(NONE);
    const { columns } = this.#rows;
    for (let n = 0; n < rivals.length; n++) {
      const row = rivals[this.#firstWins ? n : rivals.length - 1 - n]!;
      for (let c = 0; c < columns.length; c++) {
        const field = this.#fieldOf[c]!;
        if (winners[field] === NONE && isPresent(columns[c]!, row)) winners[field] = row;
      }
    }
    return winners;
  }

  #keepMixed(row: number, sourceOf: (column: number) => number): void {
    this.#mixed.push(this.#count);
    for (let c = 0; c < this.#rows.columns.length; c++) this.#sources.push(sourceOf(c));
    this.#order[this.#count++] = row;
  }

  take(): RowSet {
    const order = this.#order.subarray(0, this.#count);
    const { times, versions, versionTable, columns } = this.#rows;
    return {
      series: Uint32Array.from(this.#series),
      seriesStart: Uint32Array.from(this.#seriesStart),
      times: Float64Array.from(order, (row) => times[row]!),
      versions: Uint32Array.from(order, (row) => versions[row]!),
      versionTable,
      columns: columns.map((column, c) => this.#takeColumn(column, c, order)).filter((column) => column !== null),
    };
  }

  /** Null when no row is left that has it. */
  #takeColumn(column: Column, c: number, order: Uint32Array): Column | null {
    const { field, type, values, present } = permuteColumn(column, order);
    const isMissing = (_: number, n: number): boolean => this.#sources[n * this.#rows.columns.length + c] === NONE;
    const marks = present ?? (this.#mixed.some(isMissing) ? new Uint8Array(order.length).fill(1) : null);
    this.#mixed.forEach((row, n) => {
      const source = this.#sources[n * this.#rows.columns.length + c]!;
      if (source === NONE) {
        copyValues(makeValues(type, 1), 0, 1, values, row);
        marks![row] = 0;
        return;
      }
      copyValues(column.values, source, source + 1, values, row);
      if (marks !== null) marks[row] = 1;
    });
    if (marks !== null && marks.indexOf(1) < 0) return null;
    return { field, type, values, present: marks };
  }
}

function isPresent(column: Column, row: number): boolean {
  return row !== NONE && (column.present === null || column.present[row] === 1);
}
