/**
 * Where the parser puts values: columns that grow, kept from body to body, and copied out exactly at the end of one.
 *
 * A row is open until `rows` is raised: a line that turns out to be bad is taken back by `retract`, which lowers the
 * marks of the columns that the line had touched. `filled` is the first row of a column whose presence byte is not yet
 * known; columns that skip rows fill the gap with zeros when they are next written.
 */
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from './column.ts';

const ROWS_INITIAL = 1024;
/** Columns start smaller: a body may have many measurements of few rows. */
const CELLS_INITIAL = 64;
/** Value and presence. */
const CELL_BYTES = 9;
/** More scratch than this is given back to the heap after the body. */
const BYTES_KEPT_MAX = 64 << 20;
const GROUPS_KEPT_MAX = 512;

/** What the columns of one body may still grow by. A few wide rows after many narrow ones would else take all memory. */
export interface ScratchBudget {
  bytes: number;
}

/** The budget is spent; the open row must be retracted. */
export class ScratchFullError extends Error {}

export class ScratchColumn {
  private readonly budget: ScratchBudget;
  readonly field: string;
  readonly type: FieldType;
  /** The name as a line without escapes spells it. */
  readonly name: Uint8Array;
  /** The column that came after this one in the last line that had both. */
  next: ScratchColumn | null = null;
  filled = 0;
  gaps = false;
  capacity = 0;
  present = new Uint8Array(0);
  floats = new Float64Array(0);
  /** The same memory as `floats`: halves of 64-bit integers. */
  halves = new Int32Array(0);
  strings: string[] = [];

  constructor(field: string, type: FieldType, budget: ScratchBudget) {
    this.budget = budget;
    this.field = field;
    this.type = type;
    this.name = new Uint8Array(Buffer.from(field, 'utf8'));
  }

  /** Throws ScratchFullError. */
  spend(bytes: number): void {
    if (bytes > this.budget.bytes) throw new ScratchFullError('columns of one body');
    this.budget.bytes -= bytes;
  }
}

export class ScratchGroup {
  readonly measurement: string;
  rows = 0;
  capacity = ROWS_INITIAL;
  rowSeries = new Uint32Array(ROWS_INITIAL);
  times = new Int32Array(ROWS_INITIAL * 2);
  first: ScratchColumn | null = null;
  readonly columns: ScratchColumn[] = [];
  private readonly index = new Map<string, ScratchColumn>();
  private readonly budget: ScratchBudget;

  constructor(measurement: string, budget: ScratchBudget) {
    this.budget = budget;
    this.measurement = measurement;
  }

  column(field: string, type: FieldType): ScratchColumn {
    const key = type + field;
    let column = this.index.get(key);
    if (column === undefined) {
      column = new ScratchColumn(field, type, this.budget);
      this.index.set(key, column);
      this.columns.push(column);
    }
    return column;
  }

  addRow(series: number, low: number, high: number): void {
    const row = this.rows;
    if (row === this.capacity) this.growRows();
    this.rowSeries[row] = series;
    this.times[row * 2] = low;
    this.times[row * 2 + 1] = high;
    this.rows = row + 1;
  }

  /** Takes the values of the open row back. */
  retract(): void {
    for (const column of this.columns) if (column.filled > this.rows) column.filled = this.rows;
  }

  /** Copies the rows out and empties the scratch. */
  take(): { rowSeries: Uint32Array; timesNs: BigInt64Array; columns: Column[] } {
    const rows = this.rows;
    const columns: Column[] = [];
    for (const column of this.columns) {
      const taken = takeColumn(column, rows);
      if (taken !== null) columns.push(taken);
    }
    this.rows = 0;
    return {
      rowSeries: this.rowSeries.slice(0, rows),
      timesNs: new BigInt64Array(this.times.slice(0, rows * 2).buffer),
      columns,
    };
  }

  get bytes(): number {
    let bytes = this.capacity * 12;
    for (const column of this.columns) bytes += column.capacity * CELL_BYTES;
    return bytes;
  }

  private growRows(): void {
    this.capacity *= 2;
    const rowSeries = new Uint32Array(this.capacity);
    rowSeries.set(this.rowSeries);
    this.rowSeries = rowSeries;
    const times = new Int32Array(this.capacity * 2);
    times.set(this.times);
    this.times = times;
  }
}

/** Scratch groups by measurement. */
export class ScratchGroups {
  readonly budget: ScratchBudget = { bytes: 0 };
  private groups = new Map<string, ScratchGroup>();

  of(measurement: string): ScratchGroup {
    let group = this.groups.get(measurement);
    if (group === undefined) {
      group = new ScratchGroup(measurement, this.budget);
      this.groups.set(measurement, group);
    }
    return group;
  }

  /** Drops what one body has made too large to keep. */
  trim(): void {
    let bytes = 0;
    for (const group of this.groups.values()) bytes += group.bytes;
    if (this.groups.size > GROUPS_KEPT_MAX || bytes > BYTES_KEPT_MAX) this.groups.clear();
  }
}

export function putFloat(column: ScratchColumn, row: number, value: number): void {
  if (row !== column.filled) fillGap(column, row);
  if (row >= column.capacity) growColumn(column, row);
  column.present[row] = 1;
  column.floats[row] = value;
  column.filled = row + 1;
}

/** Integers of both signs: the two's complement halves. */
export function putHalves(column: ScratchColumn, row: number, low: number, high: number): void {
  if (row !== column.filled) fillGap(column, row);
  if (row >= column.capacity) growColumn(column, row);
  column.present[row] = 1;
  column.halves[row * 2] = low;
  column.halves[row * 2 + 1] = high;
  column.filled = row + 1;
}

export function putString(column: ScratchColumn, row: number, value: string): void {
  if (row !== column.filled) fillGap(column, row);
  if (row >= column.capacity) growColumn(column, row);
  column.present[row] = 1;
  column.strings[row] = value;
  column.filled = row + 1;
}

/** Booleans share the floats' memory as numbers 0 and 1, and become bytes when they are taken. */
export function putBoolean(column: ScratchColumn, row: number, value: boolean): void {
  putFloat(column, row, value ? 1 : 0);
}

function fillGap(column: ScratchColumn, row: number): void {
  // A field repeated in its line: the later value takes the place of the earlier one, as in InfluxDB.
  if (column.filled > row) return;
  if (row > column.capacity) growColumn(column, row);
  column.present.fill(0, column.filled, row);
  if (column.type === STRING) for (let i = column.filled; i < row; i++) column.strings[i] = '';
  column.gaps = true;
}

function growColumn(column: ScratchColumn, row: number): void {
  const capacity = Math.max(CELLS_INITIAL, 2 ** Math.ceil(Math.log2(row + 1)), column.capacity * 2);
  column.spend(capacity * CELL_BYTES);
  const present = new Uint8Array(capacity);
  present.set(column.present);
  column.present = present;
  if (column.type !== STRING) {
    const floats = new Float64Array(capacity);
    // Copied as words: a float copy might change the bits of integers that look like NaN.
    const halves = new Int32Array(floats.buffer);
    halves.set(column.halves);
    column.floats = floats;
    column.halves = halves;
  }
  column.capacity = capacity;
}

function takeColumn(column: ScratchColumn, rows: number): Column | null {
  const { filled, gaps, field, type } = column;
  column.filled = 0;
  column.gaps = false;
  if (filled === 0) return null;
  let present: Uint8Array | null = null;
  if (gaps || filled < rows) {
    present = new Uint8Array(rows);
    present.set(column.present.subarray(0, filled));
    const first = present.indexOf(1);
    if (first < 0) return null;
  }
  const values = takeValues(column, filled, rows);
  return { field, type, present, values };
}

function takeValues(column: ScratchColumn, filled: number, rows: number): Column['values'] {
  switch (column.type) {
    case FLOAT: {
      const values = new Float64Array(rows);
      values.set(column.floats.subarray(0, filled));
      return values;
    }
    case INTEGER:
    case UNSIGNED: {
      const halves = new Int32Array(rows * 2);
      halves.set(column.halves.subarray(0, filled * 2));
      return column.type === INTEGER ? new BigInt64Array(halves.buffer) : new BigUint64Array(halves.buffer);
    }
    case BOOLEAN: {
      const values = new Uint8Array(rows);
      for (let i = 0; i < filled; i++) values[i] = column.floats[i] === 1 ? 1 : 0;
      return values;
    }
    case STRING: {
      const values = column.strings;
      column.strings = [];
      values.length = filled;
      while (values.length < rows) values.push('');
      return values;
    }
  }
}
