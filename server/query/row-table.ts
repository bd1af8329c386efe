/**
 * Rows of all sources of a SELECT in one table of columns, and which of them each group has, in the query's order: by time
 * in its direction, then strings of the row, then series key.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { RowColumnValues, ShardRows, ShardSelect } from '../../shards/query/partial.ts';
import type { Steps } from '../../shards/steps.ts';
import { Group } from './groups.ts';
import { mergeRuns, runsOf } from './merge-runs.ts';
import { exactValue, type OutputColumn } from './output.ts';

export interface RowTable {
  readonly times: BigInt64Array;
  readonly columns: readonly OutputColumn[];
}

export interface RowGroup {
  readonly group: Group;
  /** Rows of the table. */
  readonly rows: Uint32Array;
}

/** Rows of one group of a subquery. */
export interface SubqueryRows {
  readonly group: Group;
  readonly key: string;
  readonly times: readonly bigint[];
  /** Per row the values of the columns. */
  readonly values: readonly (readonly Scalar[])[];
  /** Of the values (shards/query/held-bytes.ts). */
  readonly bytes: number;
}

/** Rows that one source gives for a group. */
interface Segment {
  readonly from: number;
  readonly to: number;
  readonly inOrder: boolean;
}

export interface RowMergeOptions {
  readonly dimensions: readonly string[];
  readonly descending: boolean;
  /** Groups are listed even where no row is in range: SLIMIT counts them. */
  readonly emptyGroups: boolean;
}

/** Rows that are copied in one step. */
const STEP_ROWS = 4096;

/** In short steps. */
export function* mergeRows(
  shards: readonly ShardSelect[],
  subqueries: readonly SubqueryRows[],
  columns: number,
  options: RowMergeOptions,
): Steps<{ table: RowTable; groups: RowGroup[] }> {
  const { dimensions, descending, emptyGroups } = options;
  const merge = new RowMerge(shards, subqueries, columns, descending);
  if (emptyGroups) for (const shard of shards) merge.nameGroups(shard, dimensions);
  const inOrder = shards.filter(({ rows }) => rows !== null && rows.times.length > 0);
  for (const shard of descending ? inOrder.reverse() : inOrder) yield* merge.addShard(shard, shard.rows!, dimensions);
  for (const part of subqueries) yield* merge.addSubquery(part);
  return { table: merge.table, groups: yield* merge.groups() };
}

class RowMerge {
  readonly #columns: OutputColumn[];
  readonly #times: BigInt64Array;
  /** Per row: its source, the offset from the source's start, and its series there. */
  readonly #sources: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #series: Uint32Array;
  /** Per source the keys of its series, and its start; NaN: its rows are compared by their times, as they are. */
  readonly #keys: (readonly string[])[] = [];
  readonly #starts: number[] = [];
  #lastStartNs: bigint | null = null;
  readonly #groups = new Map<string, { readonly group: Group; readonly segments: Segment[] }>();
  readonly #sign: number;
  #filled = 0;

  constructor(
    shards: readonly ShardSelect[],
    subqueries: readonly SubqueryRows[],
    columns: number,
    descending: boolean,
  ) {
    const withRows = shards.filter(({ rows }) => rows !== null && rows.times.length > 0);
    let rows = 0;
    for (const shard of withRows) rows += shard.rows!.times.length;
    for (const { times } of subqueries) rows += times.length;
    this.#times = new BigInt64Array(rows);
    this.#sources = new Uint32Array(rows);
    this.#offsets = new Float64Array(rows);
    this.#series = new Uint32Array(rows);
    this.#sign = descending ? -1 : 1;
    this.#columns = Array.from({ length: columns }, (_, c) => {
      const floats =
        subqueries.length === 0 && withRows.every((shard) => shard.rows!.columns[c] instanceof Float64Array);
      return floats ? new Float64Array(rows) : new Array<Scalar>(rows).fill(null);
    });
  }

  get table(): RowTable {
    return { times: this.#times, columns: this.#columns };
  }

  *groups(): Steps<RowGroup[]> {
    const groups: RowGroup[] = [];
    let left = STEP_ROWS;
    for (const { group, segments } of this.#groups.values()) {
      const rows = yield* this.#ordered(segments);
      groups.push({ group, rows });
      left -= rows.length + 1;
      if (left > 0) continue;
      left = STEP_ROWS;
      yield;
    }
    return groups;
  }

  nameGroups({ groups: { measurements, tagValues } }: ShardSelect, dimensions: readonly string[]): void {
    measurements.forEach((name, g) => {
      const group = new Group(name, dimensions, tagValues, g);
      if (!this.#groups.has(group.key)) this.#groups.set(group.key, { group, segments: [] });
    });
  }

  *addShard(shard: ShardSelect, rows: ShardRows, dimensions: readonly string[]): Steps {
    const start = this.#filled;
    const count = rows.times.length;
    this.#filled += count;
    const source = this.#keys.push(shard.seriesKeys) - 1;
    this.#starts.push(shard.startNs === this.#lastStartNs ? this.#starts[source - 1]! : source);
    this.#lastStartNs = shard.startNs;
    this.#offsets.set(rows.times, start);
    this.#series.set(rows.series, start);
    this.#sources.fill(source, start, start + count);
    for (let from = 0; from < count; from += STEP_ROWS) {
      const to = Math.min(count, from + STEP_ROWS);
      addOffsets(shard.startNs, rows.times.subarray(from, to), this.#times.subarray(start + from, start + to));
      rows.columns.forEach((column, c) => {
        putColumn(column, rows.series, this.#columns[c]!, start, from, to);
      });
      if (to < count) yield;
    }
    let left = STEP_ROWS;
    for (let from = 0; from < count; ) {
      const g = rows.groups[from]!;
      let to = from + 1;
      while (to < count && rows.groups[to] === g) to++;
      const group = new Group(shard.groups.measurements[g]!, dimensions, shard.groups.tagValues, g);
      this.#addSegment(group, { from: start + from, to: start + to, inOrder: true });
      from = to;
      if (--left > 0) continue;
      left = STEP_ROWS;
      yield;
    }
  }

  *addSubquery({ group, key, times, values }: SubqueryRows): Steps {
    const start = this.#filled;
    this.#filled += times.length;
    const source = this.#keys.push([key]) - 1;
    this.#starts.push(Number.NaN);
    this.#lastStartNs = null;
    this.#sources.fill(source, start, this.#filled);
    for (let row = 0; row < times.length; row++) {
      this.#times[start + row] = times[row]!;
      for (let c = 0; c < this.#columns.length; c++) (this.#columns[c] as Scalar[])[start + row] = values[row]![c]!;
      if (row % STEP_ROWS === STEP_ROWS - 1) yield;
    }
    this.#addSegment(group, { from: start, to: this.#filled, inOrder: false });
  }

  #addSegment(group: Group, segment: Segment): void {
    const known = this.#groups.get(group.key);
    if (known === undefined) this.#groups.set(group.key, { group, segments: [segment] });
    else known.segments.push(segment);
  }

  *#ordered(segments: readonly Segment[]): Steps<Uint32Array> {
    const rows = new Uint32Array(segments.reduce((sum, { from, to }) => sum + to - from, 0));
    let at = 0;
    for (const { from, to } of segments) for (let row = from; row < to; row++) rows[at++] = row;
    if (segments.length === 1 && segments[0]!.inOrder) return rows;
    const compare = (a: number, b: number): number => this.#compare(a, b);
    return yield* mergeRuns(
      rows,
      segments.every(({ inOrder }) => inOrder) ? endsOf(segments) : yield* runsOf(rows, compare),
      compare,
    );
  }

  #compare(a: number, b: number): number {
    const [x, y] = [this.#sources[a]!, this.#sources[b]!];
    const byTime =
      this.#starts[x] === this.#starts[y]
        ? this.#offsets[a]! - this.#offsets[b]!
        : compareTimes(this.#times[a]!, this.#times[b]!);
    if (byTime !== 0) return this.#sign * byTime;
    const byText = this.#sign * this.#compareTexts(a, b);
    if (byText !== 0) return byText;
    const key = this.#keys[x]![this.#series[a]!]!;
    const other = this.#keys[y]![this.#series[b]!]!;
    return key < other ? -1 : key > other ? 1 : 0;
  }

  /** InfluxDB's order of rows with equal time: by their strings, up to the first column that is none. */
  #compareTexts(a: number, b: number): number {
    for (const column of this.#columns) {
      const x = column[a];
      const y = column[b];
      if (typeof x !== 'string' || typeof y !== 'string') return 0;
      if (x !== y) return x < y ? -1 : 1;
    }
    return 0;
  }
}

/** Of segments one behind the other the place behind each. */
function endsOf(segments: readonly Segment[]): number[] {
  let end = 0;
  return segments.map(({ from, to }) => {
    end += to - from;
    return end;
  });
}

/** A row's value. */
export const rowValue = (table: RowTable, column: number, row: number): Scalar =>
  exactValue(table.columns[column]!, row);

const compareTimes = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

const TWO_32 = 4_294_967_296;

/** start + offset as 64 bits, by halves. */
function addOffsets(startNs: bigint, offsets: Float64Array, into: BigInt64Array): void {
  const words = new Uint32Array(into.buffer, into.byteOffset, into.length * 2);
  const startLow = Number(BigInt.asUintN(32, startNs));
  const startHigh = Number(BigInt.asIntN(32, startNs >> 32n));
  for (let i = 0; i < offsets.length; i++) {
    const offset = offsets[i]!;
    const high = Math.floor(offset / TWO_32);
    const low = startLow + (offset - high * TWO_32);
    words[i * 2] = low;
    words[i * 2 + 1] = startHigh + high + (low >= TWO_32 ? 1 : 0);
  }
}

/** Rows from..to-1 of a source's, which begin at `start` in the table. */
function putColumn(
  column: RowColumnValues,
  series: Uint32Array,
  into: OutputColumn,
  start: number,
  from: number,
  to: number,
): void {
  if (into instanceof Float64Array) {
    into.set((column as Float64Array).subarray(from, to), start + from);
    return;
  }
  const cells = into as Scalar[];
  if (column instanceof Float64Array)
    for (let row = from; row < to; row++) cells[start + row] = Number.isNaN(column[row]) ? null : column[row]!;
  else if ('ofSeries' in column)
    for (let row = from; row < to; row++) cells[start + row] = column.ofSeries[series[row]!]!;
  else for (let row = from; row < to; row++) cells[start + row] = column[row]!;
}
