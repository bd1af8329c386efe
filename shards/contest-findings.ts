/**
 * Judges rows in which something has come (shard-contests.ts reads them): counts what does not count, by rule, and keeps the
 * first of each rule as samples.
 */
import { predicateToJson } from './batch-codec.ts';
import { BOOLEAN, type Column, FIELD_TYPE_NAMES } from './column.ts';
import type { Contest, ContestedDelete, ContestedValue, ContestQuestion, Contests, DecidingRule } from './contests.ts';
import { deadRows } from './row-resolve.ts';
import type { RowSet } from './row-set.ts';
import { isSettledVersion } from './row-settle.ts';
import type { ShardKey } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import type { Tombstone } from './tombstone.ts';
import { stampOf, type Version } from './version.ts';

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

/** What is the same for all values at one series. */
interface Place {
  readonly rows: RowSet;
  series: number;
  /** By version: it has come. */
  readonly isCome: readonly boolean[];
  readonly isFirst: boolean;
  readonly instants: Uint32Array;
}

export class Findings implements Contests {
  readonly decided: Record<DecidingRule, number> = { later: 0, node: 0, first: 0, type: 0, deleted: 0 };
  same = 0;
  deletes = 0;
  unexamined = 0;
  readonly samples: Contest[] = [];
  readonly deleteSamples: ContestedDelete[] = [];
  readonly #parts: ContestParts;
  readonly #question: ContestQuestion;
  /** Of the cell that is judged: rows with a value of it, and where it stands. */
  readonly #rivals: number[] = [];
  readonly #rivalColumns: Column[] = [];

  constructor(parts: ContestParts, question: ContestQuestion) {
    this.#parts = parts;
    this.#question = question;
  }

  deleteCame(tombstone: Tombstone): void {
    this.deletes++;
    if (this.deleteSamples.length < this.#question.samplesMax) this.deleteSamples.push(deleteOf(tombstone));
  }

  /**
   * Rows with all their values: which value of a cell counts, and which are covered by deletes. When somebody has written
   * everything anew, every value is looked at: nothing is made for one that is only counted.
   */
  judge(rows: RowSet, tombstones: readonly Tombstone[]): void {
    const { versions } = this.#question;
    const isCome = rows.versionTable.map((version) => versions.has(version));
    const isFirst = this.#parts.sources.conflict === 'first-write-wins';
    const place: Place = { rows, series: 0, isCome, isFirst, instants: instantsOf(rows.versionTable) };
    const fields = columnsByField(rows.columns);
    this.#eachTime(rows, tombstones, (series, from, to, dead) => {
      place.series = series;
      let hasCome = false;
      let isAnyDead = false;
      for (let row = from; row < to; row++) {
        const isDead = dead(row);
        isAnyDead ||= isDead;
        if (!isCome[rows.versions[row]!]) continue;
        hasCome = true;
        if (isDead) this.#deleted(rows, series, row, tombstones);
      }
      if (!hasCome || to === from + 1) return;
      for (const columns of fields) {
        let count = 0;
        for (let row = from; row < to; row++) {
          const column = isAnyDead && dead(row) ? null : columnAt(columns, row);
          if (column === null) continue;
          this.#rivals[count] = row;
          this.#rivalColumns[count++] = column;
        }
        if (count > 1) this.#judgeCell(place, count);
      }
    });
  }

  /** The first `count` rivals, versions ascending. */
  #judgeCell({ rows, series, isCome, isFirst, instants }: Place, count: number): void {
    const rivals = this.#rivals;
    const columns = this.#rivalColumns;
    const { versions } = rows;
    const winner = isFirst ? 0 : count - 1;
    const row = rivals[winner]!;
    const column = columns[winner]!;
    const value = column.values[row];
    const version = versions[row]!;
    /** What counted before something came. */
    let before = winner;
    const step = isFirst ? 1 : -1;
    while (before >= 0 && before < count && isCome[versions[rivals[before]!]!]) before += step;
    for (let n = 0; n < count; n++) {
      if (n === winner) continue;
      const rival = rivals[n]!;
      // What was here and did not count is not overruled by what has come.
      if (!isCome[versions[rival]!] && (!isCome[version] || n !== before)) continue;
      if (columns[n] === column && Object.is(column.values[rival], value)) {
        // -0 is not 0, and NaN is NaN: equal bytes are meant.
        this.same++;
        continue;
      }
      const rule = isFirst ? 'first' : instants[versions[rival]!] === instants[version] ? 'node' : 'later';
      if (this.#counts(rule)) this.#show(rule, rows, series, { row, column }, { row: rival, column: columns[n]! });
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
    for (const cell of cellsAt(rows, row)) if (this.#counts('deleted')) this.#show('deleted', rows, series, by!, cell);
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
      const isHidden = came(cell) || cell.column.type === before?.column.type;
      if (isHidden && this.#counts('type')) this.#show('type', rows, series, first, cell);
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

  /** True when it is one of those that are shown. */
  #counts(rule: DecidingRule): boolean {
    return ++this.decided[rule] <= this.#question.samplesMax;
  }

  #show(rule: DecidingRule, rows: RowSet, series: number, winner: Cell | Tombstone, loser: Cell): void {
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

/** Columns of one field, the first type first. */
function columnsByField(columns: readonly Column[]): Column[][] {
  const fields: Column[][] = [];
  for (const column of columns) {
    const last = fields.at(-1);
    if (last !== undefined && last[0]!.field === column.field) last.push(column);
    else fields.push([column]);
  }
  return fields;
}

function columnAt(columns: readonly Column[], row: number): Column | null {
  for (const column of columns) if (column.present === null || column.present[row] === 1) return column;
  return null;
}

/** Per version a number, the same for equal stamps. */
function instantsOf(table: readonly Version[]): Uint32Array {
  const instants = new Uint32Array(table.length);
  for (let i = 1; i < table.length; i++)
    instants[i] = instants[i - 1]! + Number(stampOf(table[i]!) !== stampOf(table[i - 1]!));
  return instants;
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
