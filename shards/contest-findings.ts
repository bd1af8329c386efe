/**
 * Judges rows in which something has come (shard-contests.ts reads them): counts what does not count, by rule, and keeps the
 * first of each rule as samples.
 */
import { predicateToJson } from './batch-codec.ts';
import { BOOLEAN, type Column, FIELD_TYPE_NAMES } from './column.ts';
import {
  type Contest,
  type ContestedDelete,
  type ContestedValue,
  type ContestQuestion,
  type Contests,
  DECIDING_RULES,
  type DecidingRule,
} from './contests.ts';
import { deadRows } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import { isSettledVersion } from './row-settle.ts';
import type { ShardKey } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import type { Tombstone } from './tombstone.ts';
import { stampOf } from './version.ts';

const TEXT_MAX = 120;

export interface ContestParts {
  readonly key: ShardKey;
  readonly sources: ScanSources;
  /** Fields of a measurement that have values of several types. */
  readonly mixedFields: (measurement: string) => readonly string[];
}

/** A value at its place. */
interface Cell {
  readonly row: number;
  readonly column: Column;
}

export class Findings implements Contests {
  readonly decided: Record<DecidingRule, number>;
  same = 0;
  deletes = 0;
  unexamined = 0;
  readonly samples: Contest[] = [];
  readonly deleteSamples: ContestedDelete[] = [];
  readonly #parts: ContestParts;
  readonly #question: ContestQuestion;

  constructor(parts: ContestParts, question: ContestQuestion) {
    this.#parts = parts;
    this.#question = question;
    this.decided = Object.fromEntries(DECIDING_RULES.map((rule) => [rule, 0])) as Record<DecidingRule, number>;
  }

  deleteCame(tombstone: Tombstone): void {
    this.deletes++;
    if (this.deleteSamples.length < this.#question.samplesMax) this.deleteSamples.push(deleteOf(tombstone));
  }

  /** Rows with all their values: which value of a cell counts, and which are covered by deletes. */
  judge(rows: RowSet, tombstones: readonly Tombstone[]): void {
    const { versions } = this.#question;
    const isCome = rows.versionTable.map((version) => versions.has(version));
    this.#eachTime(rows, tombstones, (series, from, to, dead) => {
      let hasCome = false;
      for (let row = from; row < to; row++) {
        if (!isCome[rows.versions[row]!]) continue;
        hasCome = true;
        if (dead(row)) this.#deleted(rows, series, row, tombstones);
      }
      if (!hasCome || to === from + 1) return;
      const byField = new Map<string, Cell[]>();
      for (let row = from; row < to; row++) {
        if (dead(row)) continue;
        for (const cell of cellsAt(rows, row)) {
          const cells = byField.get(cell.column.field);
          if (cells === undefined) byField.set(cell.column.field, [cell]);
          else cells.push(cell);
        }
      }
      for (const cells of byField.values()) this.#judgeCell(rows, series, cells, isCome);
    });
  }

  /** Versions ascending. */
  #judgeCell(rows: RowSet, series: number, cells: readonly Cell[], isCome: readonly boolean[]): void {
    if (cells.length < 2) return;
    const isFirst = this.#parts.sources.conflict === 'first-write-wins';
    const winner = isFirst ? cells[0]! : cells.at(-1)!;
    const winnerVersion = rows.versions[winner.row]!;
    const here = cells.filter(({ row }) => !isCome[rows.versions[row]!]);
    const before = (isFirst ? here[0] : here.at(-1))?.row;
    for (const loser of cells) {
      if (loser === winner) continue;
      const loserVersion = rows.versions[loser.row]!;
      // What was here and did not count is not overruled by what has come.
      if (!isCome[loserVersion] && (!isCome[winnerVersion] || loser.row !== before)) continue;
      if (isSame(loser, winner)) this.same++;
      else {
        const [a, b] = [rows.versionTable[winnerVersion]!, rows.versionTable[loserVersion]!];
        this.#decided(isFirst ? 'first' : stampOf(a) === stampOf(b) ? 'node' : 'later', rows, series, winner, loser);
      }
    }
  }

  #deleted(rows: RowSet, series: number, row: number, tombstones: readonly Tombstone[]): void {
    const [version, time] = [rows.versionTable[rows.versions[row]!]!, rows.times[row]!];
    let by: Tombstone | null = null;
    for (const tombstone of tombstones) {
      const { minTime, maxTime } = tombstone.predicate;
      const covers = tombstone.version > version && time >= minTime && time <= maxTime && tombstone.covers(series);
      if (covers && (by === null || tombstone.version > by.version)) by = tombstone;
    }
    for (const cell of cellsAt(rows, row)) this.#decided('deleted', rows, series, by!, cell);
  }

  /** Rows of one window with the fields that have several types. */
  judgeTypes(rows: RowSet, tombstones: readonly Tombstone[]): void {
    const { versions } = this.#question;
    const isCome = rows.versionTable.map((version) => versions.has(version));
    const isFirst = this.#parts.sources.conflict === 'first-write-wins';
    /** Of one series, by field: what counts at each time. */
    let winners = new Map<string, Cell[]>();
    let current: number | null = null;
    const end = () => {
      for (const cells of winners.values()) this.#judgeTypesOf(rows, current!, cells, isCome);
      winners = new Map();
    };
    this.#eachTime(rows, tombstones, (series, from, to, dead) => {
      if (series !== current) end();
      current = series;
      const done = new Set<string>();
      for (let n = 0; n < to - from; n++) {
        const row = isFirst ? from + n : to - 1 - n;
        if (dead(row)) continue;
        for (const cell of cellsAt(rows, row)) {
          const { field } = cell.column;
          if (done.has(field)) continue;
          done.add(field);
          const cells = winners.get(field);
          if (cells === undefined) winners.set(field, [cell]);
          else cells.push(cell);
        }
      }
    });
    end();
  }

  /** What counts at the times of one series, field and window: only values of the first type that is there are seen. */
  #judgeTypesOf(rows: RowSet, series: number, cells: readonly Cell[], isCome: readonly boolean[]): void {
    const came = ({ row }: Cell): boolean => isCome[rows.versions[row]!]!;
    const strongest = (some: readonly Cell[]): Cell | null =>
      some.reduce<Cell | null>(
        (best, cell) => (best !== null && best.column.type <= cell.column.type ? best : cell),
        null,
      );
    const first = strongest(cells)!;
    const before = strongest(cells.filter((cell) => !came(cell)));
    for (const cell of cells) {
      if (cell.column.type === first.column.type) continue;
      // What was hidden already is not hidden by what has come.
      if (came(cell) || cell.column.type === before?.column.type) this.#decided('type', rows, series, first, cell);
    }
  }

  /** Calls back for each series and time, with the rows of that time, versions ascending. */
  #eachTime(
    rows: RowSet,
    tombstones: readonly Tombstone[],
    visit: (series: number, from: number, to: number, dead: (row: number) => boolean) => void,
  ): void {
    for (let s = 0; s < rows.series.length; s++) {
      const [start, end] = [rows.seriesStart[s]!, rows.seriesStart[s + 1]!];
      const marks = deadRows(rows, rows.series[s]!, start, end, tombstones);
      const dead = (row: number): boolean => marks !== null && marks[row - start] === 1;
      for (let from = start; from < end; ) {
        let to = from + 1;
        while (to < end && rows.times[to] === rows.times[from]) to++;
        visit(rows.series[s]!, from, to, dead);
        from = to;
      }
    }
  }

  #decided(rule: DecidingRule, rows: RowSet, series: number, winner: Cell | Tombstone, loser: Cell): void {
    this.decided[rule]++;
    const { samplesMax } = this.#question;
    if (this.decided[rule] > samplesMax) return;
    const { key, sources } = this.#parts;
    this.samples.push({
      rule,
      series: cut(sources.table.ids.keyOf(series)),
      field: cut(loser.column.field),
      time: (key.startNs + BigInt(rows.times[loser.row]!)).toString(),
      winner: 'predicate' in winner ? deleteOf(winner) : this.#value(rows, winner),
      loser: this.#value(rows, loser),
    });
  }

  #value(rows: RowSet, cell: Cell): ContestedValue {
    const version = rows.versionTable[rows.versions[cell.row]!]!;
    return {
      version,
      type: FIELD_TYPE_NAMES[cell.column.type],
      value: cut(textOf(cell)),
      came: this.#question.versions.has(version),
      settled: isSettledVersion(version),
    };
  }
}

/** One of each field: of several types within a row, which no coordinator makes, the first of their order counts. */
function* cellsAt({ columns }: RowSet, row: number): Generator<Cell> {
  let last: string | null = null;
  for (const column of columns) {
    if (column.field === last || (column.present !== null && column.present[row] !== 1)) continue;
    last = column.field;
    yield { row, column };
  }
}

/** -0 is not 0, and NaN is NaN: equal bytes are meant. */
function isSame(a: Cell, b: Cell): boolean {
  return a.column === b.column && Object.is(a.column.values[a.row], b.column.values[b.row]);
}

function textOf({ column, row }: Cell): string {
  const value = column.values[row]!;
  if (column.type === BOOLEAN) return String(value === 1);
  return Object.is(value, -0) ? '-0' : String(value);
}

function deleteOf({ version, predicate }: Tombstone): ContestedDelete {
  return { version, predicate: cut(JSON.stringify(predicateToJson(predicate))) };
}

function cut(text: string): string {
  return text.length <= TEXT_MAX ? text : `${text.slice(0, TEXT_MAX - 1)}…`;
}
