/**
 * Rows that a select hands back as they are, collected per column and put in order: group, time (in the query's
 * direction), then strings of the row, then series key, which is how InfluxDB's merge orders rows of equal time.
 */
import { BOOLEAN, type Column, FLOAT } from '../column.ts';
import type { QueryableShard, SeriesSlice } from '../queryable.ts';
import { bothMasks, columnAs } from './columns.ts';
import { cellBytes, detached } from './held-bytes.ts';
import type { RowColumnValues, SelectRequest, ShardRows } from './partial.ts';

type Cell = number | bigint | string | boolean | null;

/** A column while it grows. */
type Collected =
  | { readonly kind: 'floats'; values: Float64Array<ArrayBuffer> }
  | { readonly kind: 'cells'; readonly values: Cell[] }
  /** The same for all rows of a series. */
  | { readonly kind: 'tag'; readonly key: string; readonly ofSeries: Map<number, string | null> };

const ROWS_MIN = 256;

export class RowCollector {
  readonly #shard: QueryableShard;
  readonly #request: NonNullable<SelectRequest['rows']>;
  readonly #descending: boolean;
  readonly #columns: readonly Collected[];
  readonly #perGroup = new Map<number, number>();
  #groups = new Uint32Array(ROWS_MIN);
  #times = new Float64Array(ROWS_MIN);
  #series = new Uint32Array(ROWS_MIN);
  #length = 0;
  /** Of cells that are no numbers in an array. */
  bytes = 0;

  constructor(shard: QueryableShard, request: NonNullable<SelectRequest['rows']>, descending: boolean) {
    this.#shard = shard;
    this.#request = request;
    this.#descending = descending;
    this.#columns = request.columns.map((column): Collected => {
      if (column.kind === 'tag') return { kind: 'tag', key: column.name, ofSeries: new Map() };
      if (column.type === FLOAT) return { kind: 'floats', values: new Float64Array(ROWS_MIN) };
      return { kind: 'cells', values: [] };
    });
  }

  get length(): number {
    return this.#length;
  }

  /** Rows of a group. */
  countOf(group: number): number {
    return this.#perGroup.get(group) ?? 0;
  }

  add(slice: SeriesSlice, group: number, mask: Uint8Array | null, columnOf: (field: string) => Column | null): void {
    const { columns, perGroup } = this.#request;
    const stored: (Column | null)[] = columns.map((column) =>
      column.kind === 'field' ? columnAs(columnOf(column.name), column.type) : null,
    );
    const rows = slice.times.length;
    const all = bothMasks(anyPresent(stored, rows), mask);
    const passing = perGroup === null ? all : nearest(all, rows, perGroup, this.#descending);
    const added = passing === null ? rows : countOf(passing);
    if (added === 0) return;
    const from = this.#length;
    this.#makeRoom(from + added);
    this.#groups.fill(group, from, from + added);
    this.#series.fill(slice.series, from, from + added);
    copyFloats(slice.times, passing, this.#times, from);
    for (let c = 0; c < columns.length; c++)
      this.#addColumn(this.#columns[c]!, stored[c]!, passing, from, added, slice);
    this.#length += added;
    this.#perGroup.set(group, (this.#perGroup.get(group) ?? 0) + added);
  }

  #makeRoom(rows: number): void {
    if (rows <= this.#times.length) return;
    const room = Math.max(rows, this.#times.length * 2);
    this.#groups = grown(this.#groups, new Uint32Array(room));
    this.#times = grown(this.#times, new Float64Array(room));
    this.#series = grown(this.#series, new Uint32Array(room));
    for (const column of this.#columns)
      if (column.kind === 'floats') column.values = grown(column.values, new Float64Array(room));
  }

  #addColumn(
    into: Collected,
    stored: Column | null,
    passing: Uint8Array | null,
    from: number,
    added: number,
    { series, times }: SeriesSlice,
  ): void {
    if (into.kind === 'tag') {
      if (into.ofSeries.has(series)) return;
      const tag = this.#shard.tagsOf(series).find(({ key }) => key === into.key);
      into.ofSeries.set(series, tag?.value ?? null);
    } else if (into.kind === 'cells') this.bytes += pushCells(into.values, stored, passing, times.length);
    else if (stored === null) into.values.fill(Number.NaN, from, from + added);
    else copyFloats(stored.values as Float64Array, passing, into.values, from, stored.present);
  }

  /** `keyIndex` numbers the series of the rows; `moved` gets the buffers that may leave with the answer. */
  finish(keyIndex: (series: number) => number, moved: ArrayBuffer[]): ShardRows {
    const order = this.#order();
    const rows = order?.length ?? this.#length;
    const groups = new Uint32Array(rows);
    const times = new Float64Array(rows);
    const series = new Uint32Array(rows);
    gather(this.#groups, order, groups);
    gather(this.#times, order, times);
    gather(this.#series, order, series);
    const ofIndex: number[] = [];
    for (let row = 0, last = -1, index = 0; row < rows; row++) {
      if (series[row] !== last) {
        last = series[row]!;
        index = keyIndex(last);
        ofIndex[index] = last;
      }
      series[row] = index;
    }
    moved.push(groups.buffer, times.buffer, series.buffer);
    const columns = this.#columns.map((column): RowColumnValues => {
      if (column.kind === 'tag') return { ofSeries: Array.from(ofIndex, (id) => column.ofSeries.get(id) ?? null) };
      if (column.kind === 'cells')
        return order === null ? column.values : Array.from(order, (row) => column.values[row]!);
      const values = new Float64Array(rows);
      gather<Float64Array>(column.values, order, values);
      moved.push(values.buffer);
      return values;
    });
    return { groups, times, series, columns };
  }

  /** null: as collected. */
  #order(): Uint32Array | null {
    const { perGroup } = this.#request;
    const compare = this.#comparison();
    let sorted = true;
    for (let row = 1; row < this.#length && sorted; row++) sorted = compare(row - 1, row) <= 0;
    if (sorted && perGroup === null) return null;
    const order = Uint32Array.from({ length: this.#length }, (_, i) => i);
    if (!sorted) order.sort(compare);
    if (perGroup === null) return order;
    let kept = 0;
    let run = 0;
    for (let i = 0; i < order.length; i++) {
      run = i > 0 && this.#groups[order[i]!] === this.#groups[order[i - 1]!] ? run + 1 : 1;
      if (run <= perGroup) order[kept++] = order[i]!;
    }
    return order.subarray(0, kept);
  }

  #comparison(): (a: number, b: number) => number {
    const groups = this.#groups;
    const times = this.#times;
    const series = this.#series;
    const sign = this.#descending ? -1 : 1;
    let ranks: Map<number, number> | null = null;
    return (a, b) => {
      const byPlace = groups[a]! - groups[b]! || sign * (times[a]! - times[b]!);
      if (byPlace !== 0 || a === b) return byPlace;
      const byText = sign * this.#compareTexts(a, b);
      if (byText !== 0 || series[a] === series[b]) return byText;
      ranks ??= this.#ranks();
      return ranks.get(series[a]!)! - ranks.get(series[b]!)!;
    };
  }

  /** Places of the collected series in the order of their keys. */
  #ranks(): Map<number, number> {
    const distinct = [...new Set(this.#series.subarray(0, this.#length))];
    const keys = new Map(distinct.map((series) => [series, this.#shard.keyOf(series)]));
    distinct.sort((a, b) => (keys.get(a)! < keys.get(b)! ? -1 : 1));
    return new Map(distinct.map((series, rank) => [series, rank]));
  }

  /** InfluxDB's order of rows with equal time: by their strings, up to the first column that is none. */
  #compareTexts(a: number, b: number): number {
    for (const column of this.#columns) {
      if (column.kind === 'floats') return 0;
      const x = column.kind === 'tag' ? column.ofSeries.get(this.#series[a]!) : column.values[a];
      const y = column.kind === 'tag' ? column.ofSeries.get(this.#series[b]!) : column.values[b];
      if (typeof x !== 'string' || typeof y !== 'string') return 0;
      if (x !== y) return x < y ? -1 : 1;
    }
    return 0;
  }
}

function grown<T extends Uint32Array | Float64Array>(from: T, into: T): T {
  into.set(from);
  return into;
}

function gather<T extends Uint32Array | Float64Array>(from: T, order: Uint32Array | null, into: T): void {
  if (order === null) into.set(from.subarray(0, into.length));
  else for (let i = 0; i < into.length; i++) into[i] = from[order[i]!]!;
}

function countOf(mask: Uint8Array): number {
  let n = 0;
  for (let i = 0; i < mask.length; i++) n += mask[i]!;
  return n;
}

/** Values of passing rows, one behind the other; absent ones are NaN. */
function copyFloats(
  from: Float64Array,
  passing: Uint8Array | null,
  into: Float64Array,
  start: number,
  present: Uint8Array | null = null,
): void {
  if (passing === null && present === null) {
    into.set(from, start);
    return;
  }
  let at = start;
  for (let row = 0; row < from.length; row++) {
    if (passing !== null && passing[row] === 0) continue;
    into[at++] = present === null || present[row] === 1 ? from[row]! : Number.NaN;
  }
}

/** Returns their bytes. Of a block of which rows are left out its texts are not kept alive. */
function pushCells(into: Cell[], column: Column | null, passing: Uint8Array | null, rows: number): number {
  const present = column?.present ?? null;
  const values = column?.values;
  const boolean = column?.type === BOOLEAN;
  let bytes = 0;
  for (let row = 0; row < rows; row++) {
    if (passing !== null && passing[row] === 0) continue;
    let cell: Cell = null;
    if (values !== undefined && (present === null || present[row] === 1)) {
      cell = boolean ? values[row] === 1 : values[row]!;
      if (passing !== null && typeof cell === 'string') cell = detached(cell);
    }
    bytes += cellBytes(cell);
    into.push(cell);
  }
  return bytes;
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
