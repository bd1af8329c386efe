/**
 * The rows of one measurement on their way into a batch: appended by gathering from parsed columns, reduced to one row
 * per (series, time) at the end.
 */
import type { BatchGroup } from './batch.ts';
import { BOOLEAN, type Column, type FieldType, FLOAT, makeValues, STRING } from './column.ts';
import type { ConflictRule } from './row-settle.ts';

const ROWS_INITIAL = 256;

interface GrowingColumn {
  readonly field: string;
  readonly type: FieldType;
  /** Rows from here on are absent so far. */
  filled: number;
  present: Uint8Array;
  values: Float64Array | BigInt64Array | BigUint64Array | Uint8Array | string[];
}

export class BatchColumns {
  readonly measurement: string;
  rows = 0;
  private capacity = ROWS_INITIAL;
  private rowSeries = new Uint32Array(ROWS_INITIAL);
  private times = new Float64Array(ROWS_INITIAL);
  private readonly columns: GrowingColumn[] = [];
  private readonly index = new Map<string, GrowingColumn>();

  constructor(measurement: string) {
    this.measurement = measurement;
  }

  /** Appends `count` rows: row i comes from row `from[i]` of the columns. */
  append(from: Uint32Array, rowSeries: Uint32Array, times: Float64Array, columns: readonly Column[]): void {
    const first = this.rows;
    const rows = first + from.length;
    if (rows > this.capacity) this.grow(rows);
    this.rowSeries.set(rowSeries, first);
    this.times.set(times, first);
    for (const column of columns) this.appendColumn(column, from, first);
    this.rows = rows;
  }

  /** The group with one row per (series, time): later rows win, or the first, cell by cell. */
  build(seriesCount: number, conflict: ConflictRule): BatchGroup {
    const { measurement, rows } = this;
    const rowSeries = this.rowSeries.slice(0, rows);
    const times = this.times.slice(0, rows);
    const columns = this.columns.map((column) => finishColumn(column, rows));
    const order = orderIfRepeated(rowSeries, times, seriesCount);
    if (order === null) return { measurement, rowSeries, times, columns };
    return reduceRows(measurement, rowSeries, times, columns, order, conflict);
  }

  private appendColumn(column: Column, from: Uint32Array, first: number): void {
    const { present } = column;
    if (present !== null && !anyPresent(present, from)) return;
    const target = this.columnOf(column.field, column.type);
    if (present === null) target.present.fill(1, first, first + from.length);
    else gatherBytes(present, from, target.present, first);
    target.filled = first + from.length;
    gather(column, from, target.values, first);
  }

  private columnOf(field: string, type: FieldType): GrowingColumn {
    const key = type + field;
    let column = this.index.get(key);
    if (column === undefined) {
      const values = type === STRING ? [] : makeValues(type, this.capacity);
      column = { field, type, filled: 0, present: new Uint8Array(this.capacity), values };
      this.index.set(key, column);
      this.columns.push(column);
    }
    return column;
  }

  private grow(rows: number): void {
    const capacity = Math.max(rows, this.capacity * 2);
    const rowSeries = new Uint32Array(capacity);
    rowSeries.set(this.rowSeries);
    this.rowSeries = rowSeries;
    const times = new Float64Array(capacity);
    times.set(this.times);
    this.times = times;
    for (const column of this.columns) {
      const present = new Uint8Array(capacity);
      present.set(column.present);
      column.present = present;
      if (column.type !== STRING) column.values = grownValues(column.values, column.type, capacity);
    }
    this.capacity = capacity;
  }
}

function anyPresent(present: Uint8Array, from: Uint32Array): boolean {
  for (let i = 0; i < from.length; i++) if (present[from[i]!] === 1) return true;
  return false;
}

function gather(column: Column, from: Uint32Array, into: GrowingColumn['values'], first: number): void {
  if (column.type === STRING) {
    const strings = into as string[];
    while (strings.length < first) strings.push('');
    const source = column.values as string[];
    for (let i = 0; i < from.length; i++) strings[first + i] = source[from[i]!]!;
  } else if (column.type === BOOLEAN) {
    gatherBytes(column.values as Uint8Array, from, into as Uint8Array, first);
  } else if (column.type === FLOAT) {
    gatherFloats(column.values as Float64Array, from, into as Float64Array, first);
  } else {
    gatherHalves(halvesOf(column.values as BigInt64Array), from, halvesOf(into as BigInt64Array), first);
  }
}

function gatherBytes(source: Uint8Array, from: Uint32Array, into: Uint8Array, first: number): void {
  for (let i = 0; i < from.length; i++) into[first + i] = source[from[i]!]!;
}

function gatherFloats(source: Float64Array, from: Uint32Array, into: Float64Array, first: number): void {
  for (let i = 0; i < from.length; i++) into[first + i] = source[from[i]!]!;
}

function gatherHalves(source: Uint32Array, from: Uint32Array, into: Uint32Array, first: number): void {
  for (let i = 0; i < from.length; i++) {
    const at = from[i]! * 2;
    into[(first + i) * 2] = source[at]!;
    into[(first + i) * 2 + 1] = source[at + 1]!;
  }
}

function halvesOf(values: BigInt64Array | BigUint64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length * 2);
}

function grownValues(old: GrowingColumn['values'], type: FieldType, capacity: number): GrowingColumn['values'] {
  const larger = makeValues(type, capacity);
  if (type === FLOAT) (larger as Float64Array).set(old as Float64Array);
  else if (type === BOOLEAN) (larger as Uint8Array).set(old as Uint8Array);
  else halvesOf(larger as BigInt64Array).set(halvesOf(old as BigInt64Array));
  return larger;
}

function finishColumn(column: GrowingColumn, rows: number): Column {
  const { field, type } = column;
  const present = column.present.slice(0, rows);
  let values = column.values;
  if (type === STRING) {
    const strings = values as string[];
    while (strings.length < rows) strings.push('');
  } else {
    values = (values as Float64Array).slice(0, rows) as Column['values'];
  }
  return { field, type, present: present.includes(0) ? present : null, values };
}

/**
 * null when every row has its own (series, time); else the rows sorted by series, time and arrival. Rows whose times
 * ascend in each series, which is how agents send them, need no sorting.
 */
function orderIfRepeated(rowSeries: Uint32Array, times: Float64Array, seriesCount: number): Uint32Array | null {
  const rows = times.length;
  const last = new Float64Array(seriesCount).fill(-1);
  let ascending = true;
  for (let row = 0; row < rows && ascending; row++) {
    const series = rowSeries[row]!;
    ascending = times[row]! > last[series]!;
    last[series] = times[row]!;
  }
  if (ascending) return null;
  const order = Uint32Array.from({ length: rows }, (_, i) => i);
  order.sort((a, b) => rowSeries[a]! - rowSeries[b]! || times[a]! - times[b]! || a - b);
  for (let i = 1; i < rows; i++) {
    if (sameCell(rowSeries, times, order[i - 1]!, order[i]!)) return order;
  }
  return null;
}

function sameCell(rowSeries: Uint32Array, times: Float64Array, a: number, b: number): boolean {
  return rowSeries[a] === rowSeries[b] && times[a] === times[b];
}

function reduceRows(
  measurement: string,
  rowSeries: Uint32Array,
  times: Float64Array,
  columns: readonly Column[],
  order: Uint32Array,
  conflict: ConflictRule,
): BatchGroup {
  const starts: number[] = [];
  for (let i = 0; i < order.length; i++) {
    if (i === 0 || !sameCell(rowSeries, times, order[i - 1]!, order[i]!)) starts.push(i);
  }
  const rows = starts.length;
  starts.push(order.length);
  const outSeries = new Uint32Array(rows);
  const outTimes = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    outSeries[row] = rowSeries[order[starts[row]!]!]!;
    outTimes[row] = times[order[starts[row]!]!]!;
  }
  const reduced = columns.map((column) => reduceColumn(column, order, starts, conflict));
  return { measurement, rowSeries: outSeries, times: outTimes, columns: reduced };
}

function reduceColumn(column: Column, order: Uint32Array, starts: readonly number[], conflict: ConflictRule): Column {
  const rows = starts.length - 1;
  const { field, type, present: old } = column;
  const winners = new Uint32Array(rows);
  const present = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let i = starts[row]!; i < starts[row + 1]!; i++) {
      if (old !== null && old[order[i]!] === 0) continue;
      winners[row] = order[i]!;
      present[row] = 1;
      if (conflict === 'first-write-wins') break;
    }
  }
  const values = type === STRING ? [] : makeValues(type, rows);
  gather(column, winners, values, 0);
  return { field, type, present: present.includes(0) ? present : null, values };
}
