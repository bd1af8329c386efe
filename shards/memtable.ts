/**
 * Rows that a shard has applied and not yet flushed: columns in order of arrival, one group per measurement.
 *
 * Truth is the log; a crash loses the memtable and recovery fills it again. Applying a batch copies its columns to the
 * end of the group's; nothing is sorted before a flush or a query, and a query sorts only the rows of its series.
 */
import type { WriteBatch } from './batch.ts';
import type { Column, FieldType } from './column.ts';
import { GrowingColumn } from './growing-column.ts';
import type { RowSet } from './row-set.ts';
import { sortRows } from './row-sort.ts';
import type { Version } from './version.ts';

const ROWS_MIN = 64;

/** Rows of a query: wanted series (1 in the mask), fields (null: all), and offsets, both inclusive. */
export interface RowWant {
  readonly series: Uint8Array | null;
  readonly fields: ReadonlySet<string> | null;
  readonly minTime: number;
  readonly maxTime: number;
}

class MemGroup {
  rows = 0;
  minTime = Number.POSITIVE_INFINITY;
  maxTime = Number.NEGATIVE_INFINITY;
  series = new Uint32Array(ROWS_MIN);
  times = new Float64Array(ROWS_MIN);
  versions = new Uint32Array(ROWS_MIN);
  readonly columns = new Map<string, GrowingColumn>();

  get bytes(): number {
    let total = this.series.byteLength + this.times.byteLength + this.versions.byteLength;
    for (const column of this.columns.values()) total += column.bytes;
    return total;
  }

  reserve(rows: number): void {
    if (rows <= this.series.length) return;
    const capacity = Math.max(rows, Math.ceil(this.series.length * 1.5));
    const series = new Uint32Array(capacity);
    series.set(this.series);
    this.series = series;
    const times = new Float64Array(capacity);
    times.set(this.times);
    this.times = times;
    const versions = new Uint32Array(capacity);
    versions.set(this.versions);
    this.versions = versions;
  }

  columnOf(field: string, type: FieldType): GrowingColumn {
    const name = `${type}${field}`;
    let column = this.columns.get(name);
    if (column === undefined) {
      column = new GrowingColumn(field, type);
      this.columns.set(name, column);
    }
    return column;
  }
}

export class Memtable {
  readonly #groups = new Map<string, MemGroup>();
  #versionTable: Version[] = [];
  #rows = 0;
  #bytes = 0;

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#bytes;
  }

  measurements(): string[] {
    return [...this.#groups.keys()].sort();
  }

  /** `ids`: the shard's id of each series of the batch. */
  apply(batch: WriteBatch, ids: Uint32Array): void {
    const version = this.#versionTable.push(batch.version) - 1;
    for (const rows of batch.groups) {
      let group = this.#groups.get(rows.measurement);
      if (group === undefined) {
        group = new MemGroup();
        this.#groups.set(rows.measurement, group);
      }
      const before = group.bytes;
      appendRows(group, rows, ids, version);
      this.#bytes += group.bytes - before;
      this.#rows += rows.times.length;
    }
  }

  /** The offsets that rows of the measurement lie in, or null when there are none. */
  span(measurement: string): { minTime: number; maxTime: number } | null {
    const group = this.#groups.get(measurement);
    return group === undefined ? null : { minTime: group.minTime, maxTime: group.maxTime };
  }

  /** All rows of a measurement, sorted. */
  sorted(measurement: string, rankOf: (series: number) => number): RowSet {
    const group = this.#groups.get(measurement)!;
    return sortRows(
      {
        rowSeries: group.series.subarray(0, group.rows),
        times: group.times.subarray(0, group.rows),
        versions: group.versions.subarray(0, group.rows),
        versionTable: this.#versionTable,
        columns: [...group.columns.values()].map((column) => column.take(group.rows)),
      },
      rankOf,
    );
  }

  /** The wanted rows, sorted, or null when there are none. */
  select(measurement: string, want: RowWant, rankOf: (series: number) => number): RowSet | null {
    const group = this.#groups.get(measurement);
    if (group === undefined || group.maxTime < want.minTime || group.minTime > want.maxTime) return null;
    return this.#sortPicked(group, pickRows(group, want), want.fields, rankOf);
  }

  /** The rows that came with these versions, sorted, or null when there are none. */
  ofVersions(measurement: string, versions: ReadonlySet<Version>, rankOf: (series: number) => number): RowSet | null {
    const group = this.#groups.get(measurement);
    if (group === undefined) return null;
    const isWanted = Uint8Array.from(this.#versionTable, (version) => (versions.has(version) ? 1 : 0));
    return this.#sortPicked(group, pickVersions(group, isWanted), null, rankOf);
  }

  #sortPicked(
    group: MemGroup,
    picked: Uint32Array,
    fields: ReadonlySet<string> | null,
    rankOf: (series: number) => number,
  ): RowSet | null {
    if (picked.length === 0) return null;
    const columns: Column[] = [];
    for (const column of group.columns.values()) {
      if (fields === null || fields.has(column.field)) columns.push(column.gather(picked));
    }
    return sortRows(
      {
        rowSeries: picked.map((row) => group.series[row]!),
        times: Float64Array.from(picked, (row) => group.times[row]!),
        versions: picked.map((row) => group.versions[row]!),
        versionTable: this.#versionTable,
        columns,
      },
      rankOf,
    );
  }

  clear(): void {
    this.#groups.clear();
    this.#versionTable = [];
    this.#rows = 0;
    this.#bytes = 0;
  }
}

function appendRows(group: MemGroup, rows: WriteBatch['groups'][number], ids: Uint32Array, version: number): void {
  const from = group.rows;
  const count = rows.times.length;
  group.reserve(from + count);
  const { series, times } = group;
  let { minTime, maxTime } = group;
  for (let i = 0; i < count; i++) {
    const time = rows.times[i]!;
    series[from + i] = ids[rows.rowSeries[i]!]!;
    times[from + i] = time;
    if (time < minTime) minTime = time;
    if (time > maxTime) maxTime = time;
  }
  group.minTime = minTime;
  group.maxTime = maxTime;
  group.versions.fill(version, from, from + count);
  for (const column of rows.columns) group.columnOf(column.field, column.type).append(column, from, count);
  group.rows = from + count;
}

function pickRows(group: MemGroup, want: RowWant): Uint32Array {
  const picked = new Uint32Array(group.rows);
  const { series, times } = group;
  const { series: mask, minTime, maxTime } = want;
  let count = 0;
  for (let row = 0; row < group.rows; row++) {
    if (mask !== null && mask[series[row]!] === 0) continue;
    const time = times[row]!;
    if (time >= minTime && time <= maxTime) picked[count++] = row;
  }
  return picked.subarray(0, count);
}

function pickVersions(group: MemGroup, isWanted: Uint8Array): Uint32Array {
  const picked = new Uint32Array(group.rows);
  let count = 0;
  for (let row = 0; row < group.rows; row++) if (isWanted[group.versions[row]!] === 1) picked[count++] = row;
  return picked.subarray(0, count);
}
