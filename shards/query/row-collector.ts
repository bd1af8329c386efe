/**
 * Rows that a select hands back as they are, collected per column and put in order: group, time (in the query's
 * direction), then strings of the row, then series key, which is how InfluxDB's merge orders rows of equal time.
 */
import type { Column } from '../column.ts';
import type { QueryableShard, SeriesSlice } from '../queryable.ts';
import { bothMasks, columnAs } from './columns.ts';
import type { SelectRequest, ShardRows } from './partial.ts';

type Cell = number | bigint | string | boolean | null;

export class RowCollector {
  readonly #shard: QueryableShard;
  readonly #request: NonNullable<SelectRequest['rows']>;
  readonly #descending: boolean;
  readonly #groups: number[] = [];
  readonly #times: number[] = [];
  readonly #series: number[] = [];
  readonly #columns: Cell[][];
  readonly #perGroup = new Map<number, number>();

  constructor(shard: QueryableShard, request: NonNullable<SelectRequest['rows']>, descending: boolean) {
    this.#shard = shard;
    this.#request = request;
    this.#descending = descending;
    this.#columns = request.columns.map(() => []);
  }

  get length(): number {
    return this.#times.length;
  }

  /** How many groups have at least so many rows. */
  groupsWith(rows: number): number {
    let groups = 0;
    for (const count of this.#perGroup.values()) if (count >= rows) groups++;
    return groups;
  }

  add(slice: SeriesSlice, group: number, mask: Uint8Array | null, columnOf: (field: string) => Column | null): void {
    const columns = this.#request.columns;
    const stored: (Column | null)[] = columns.map((column) =>
      column.kind === 'field' ? columnAs(columnOf(column.name), column.type) : null,
    );
    const tags = columns.map((column) =>
      column.kind === 'tag'
        ? (this.#shard.tagsOf(slice.series).find((tag) => tag.key === column.name)?.value ?? null)
        : null,
    );
    const rows = slice.times.length;
    const all = bothMasks(anyPresent(stored, rows), mask);
    const { perGroup } = this.#request;
    const passing = perGroup === null ? all : nearest(all, rows, perGroup, this.#descending);
    let added = 0;
    for (let row = 0; row < rows; row++) {
      if (passing !== null && passing[row] === 0) continue;
      this.#groups.push(group);
      this.#times.push(slice.times[row]!);
      this.#series.push(slice.series);
      added++;
    }
    if (added === 0) return;
    this.#perGroup.set(group, (this.#perGroup.get(group) ?? 0) + added);
    for (let c = 0; c < columns.length; c++) pushColumn(this.#columns[c]!, stored[c]!, tags[c]!, passing, rows);
  }

  finish(keyIndex: (series: number) => number): ShardRows {
    const order = this.#order();
    const series = Uint32Array.from(order, (row) => keyIndex(this.#series[row]!));
    return {
      groups: Uint32Array.from(order, (row) => this.#groups[row]!),
      times: Float64Array.from(order, (row) => this.#times[row]!),
      series,
      columns: this.#columns.map((values) => Array.from(order, (row) => values[row]!)),
    };
  }

  #order(): Uint32Array {
    const rank = new Map<number, number>();
    const distinct = [...new Set(this.#series)];
    const keys = new Map(distinct.map((series) => [series, this.#shard.keyOf(series)]));
    distinct.sort((a, b) => (keys.get(a)! < keys.get(b)! ? -1 : 1));
    distinct.forEach((series, index) => {
      rank.set(series, index);
    });
    const order = Uint32Array.from({ length: this.#times.length }, (_, i) => i);
    const sign = this.#descending ? -1 : 1;
    order.sort(
      (a, b) =>
        this.#groups[a]! - this.#groups[b]! ||
        sign * (this.#times[a]! - this.#times[b]!) ||
        sign * compareStrings(this.#columns, a, b) ||
        rank.get(this.#series[a]!)! - rank.get(this.#series[b]!)!,
    );
    const perGroup = this.#request.perGroup;
    if (perGroup === null) return order;
    let kept = 0;
    let run = 0;
    for (let i = 0; i < order.length; i++) {
      run = i > 0 && this.#groups[order[i]!] === this.#groups[order[i - 1]!] ? run + 1 : 1;
      if (run <= perGroup) order[kept++] = order[i]!;
    }
    return order.subarray(0, kept);
  }
}

/** InfluxDB's order of rows with equal time: by their strings, up to the first column that is none. */
function compareStrings(columns: readonly (readonly Cell[])[], a: number, b: number): number {
  for (const column of columns) {
    const x = column[a]!;
    const y = column[b]!;
    if (typeof x !== 'string' || typeof y !== 'string') return 0;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}

/** Of a slice's passing rows the first (or last) `wanted`: more of one series cannot be among the first of its group. */
function nearest(passing: Uint8Array | null, rows: number, wanted: number, last: boolean): Uint8Array | null {
  if (rows <= wanted) return passing;
  const mask = new Uint8Array(rows);
  let left = wanted;
  for (let step = 0; step < rows && left > 0; step++) {
    const row = last ? rows - 1 - step : step;
    if (passing !== null && passing[row] === 0) continue;
    mask[row] = 1;
    left--;
  }
  return mask;
}

/** Rows that have at least one of the fields; null: all. */
function anyPresent(columns: readonly (Column | null)[], rows: number): Uint8Array | null {
  const mask = new Uint8Array(rows);
  for (const column of columns) {
    if (column === null) continue;
    if (column.present === null) return null;
    for (let row = 0; row < rows; row++) mask[row]! |= column.present[row]!;
  }
  return mask;
}

function pushColumn(
  into: Cell[],
  column: Column | null,
  tag: string | null,
  passing: Uint8Array | null,
  rows: number,
): void {
  const present = column?.present ?? null;
  const values = column?.values;
  const boolean = column?.type === 4;
  for (let row = 0; row < rows; row++) {
    if (passing !== null && passing[row] === 0) continue;
    if (values === undefined) into.push(tag);
    else if (present !== null && present[row] === 0) into.push(null);
    else into.push(boolean ? values[row] === 1 : values[row]!);
  }
}
