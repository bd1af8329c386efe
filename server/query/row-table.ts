/**
 * Rows of all sources of a SELECT in one table of columns, and which of them each group has, in the query's order: by time
 * in its direction, then strings of the row, then series key.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { RowColumnValues, ShardRows, ShardSelect } from '../../shards/query/partial.ts';
import { Group } from './groups.ts';
import { type OutputColumn, outputValue } from './output.ts';

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

export class RowMerge {
  readonly #columns: OutputColumn[];
  readonly #times: BigInt64Array;
  /** Per row: its source, the offset from the source's start, and its series key. */
  readonly #sources: Uint32Array;
  readonly #offsets: Float64Array;
  readonly #keys: string[];
  readonly #groups = new Map<string, { readonly group: Group; readonly segments: Segment[] }>();
  readonly #sign: number;
  #filled = 0;
  #source = 0;

  constructor(
    shards: readonly ShardSelect[],
    subqueries: readonly SubqueryRows[],
    columns: number,
    { dimensions, descending, emptyGroups }: RowMergeOptions,
  ) {
    const withRows = shards.filter(({ rows }) => rows !== null && rows.times.length > 0);
    let rows = 0;
    for (const shard of withRows) rows += shard.rows!.times.length;
    for (const { times } of subqueries) rows += times.length;
    this.#times = new BigInt64Array(rows);
    this.#sources = new Uint32Array(rows);
    this.#offsets = new Float64Array(rows);
    this.#keys = new Array<string>(rows).fill('');
    this.#sign = descending ? -1 : 1;
    this.#columns = Array.from({ length: columns }, (_, c) => {
      const floats =
        subqueries.length === 0 && withRows.every((shard) => shard.rows!.columns[c] instanceof Float64Array);
      return floats ? new Float64Array(rows) : new Array<Scalar>(rows).fill(null);
    });
    if (emptyGroups) for (const shard of shards) this.#nameGroups(shard, dimensions);
    for (const shard of descending ? withRows.reverse() : withRows) this.#addShard(shard, shard.rows!, dimensions);
    for (const part of subqueries) this.#addSubquery(part);
  }

  finish(): { table: RowTable; groups: RowGroup[] } {
    const groups = [...this.#groups.values()].map(({ group, segments }) => ({ group, rows: this.#ordered(segments) }));
    return { table: { times: this.#times, columns: this.#columns }, groups };
  }

  #nameGroups({ groups: { measurements, tagValues } }: ShardSelect, dimensions: readonly string[]): void {
    measurements.forEach((name, g) => {
      const group = new Group(name, dimensions, tagValues, g);
      if (!this.#groups.has(group.key)) this.#groups.set(group.key, { group, segments: [] });
    });
  }

  #addShard(shard: ShardSelect, rows: ShardRows, dimensions: readonly string[]): void {
    const start = this.#filled;
    const count = rows.times.length;
    addOffsets(shard.startNs, rows.times, this.#times.subarray(start, start + count));
    this.#offsets.set(rows.times, start);
    this.#sources.fill(this.#source++, start, start + count);
    for (let row = 0; row < count; row++) this.#keys[start + row] = shard.seriesKeys[rows.series[row]!]!;
    rows.columns.forEach((column, c) => {
      putColumn(column, rows.series, this.#columns[c]!, start);
    });
    for (let from = 0; from < count; ) {
      const g = rows.groups[from]!;
      let to = from + 1;
      while (to < count && rows.groups[to] === g) to++;
      const group = new Group(shard.groups.measurements[g]!, dimensions, shard.groups.tagValues, g);
      this.#addSegment(group, { from: start + from, to: start + to, inOrder: true });
      from = to;
    }
    this.#filled += count;
  }

  #addSubquery({ group, key, times, values }: SubqueryRows): void {
    const start = this.#filled;
    for (let row = 0; row < times.length; row++) {
      this.#times[start + row] = times[row]!;
      // Each a source of its own: their times are compared as they are.
      this.#sources[start + row] = this.#source++;
      this.#keys[start + row] = key;
      for (let c = 0; c < this.#columns.length; c++) (this.#columns[c] as Scalar[])[start + row] = values[row]![c]!;
    }
    this.#addSegment(group, { from: start, to: start + times.length, inOrder: false });
    this.#filled += times.length;
  }

  #addSegment(group: Group, segment: Segment): void {
    const known = this.#groups.get(group.key);
    if (known === undefined) this.#groups.set(group.key, { group, segments: [segment] });
    else known.segments.push(segment);
  }

  #ordered(segments: readonly Segment[]): Uint32Array {
    const rows = new Uint32Array(segments.reduce((sum, { from, to }) => sum + to - from, 0));
    let at = 0;
    for (const { from, to } of segments) for (let row = from; row < to; row++) rows[at++] = row;
    if (segments.length === 1 && segments[0]!.inOrder) return rows;
    const compare = (a: number, b: number): number => this.#compare(a, b);
    for (let i = 1; i < rows.length; i++) if (compare(rows[i - 1]!, rows[i]!) > 0) return rows.sort(compare);
    return rows;
  }

  #compare(a: number, b: number): number {
    const byTime =
      this.#sources[a] === this.#sources[b]
        ? this.#offsets[a]! - this.#offsets[b]!
        : compareTimes(this.#times[a]!, this.#times[b]!);
    if (byTime !== 0) return this.#sign * byTime;
    const byText = this.#sign * this.#compareTexts(a, b);
    if (byText !== 0) return byText;
    const x = this.#keys[a]!;
    const y = this.#keys[b]!;
    return x < y ? -1 : x > y ? 1 : 0;
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

/** A row's value; what is not finite is none. */
export const rowValue = (table: RowTable, column: number, row: number): Scalar =>
  outputValue(table.columns[column]!, row);

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

function putColumn(column: RowColumnValues, series: Uint32Array, into: OutputColumn, start: number): void {
  if (column instanceof Float64Array) {
    if (into instanceof Float64Array) into.set(column, start);
    else
      for (let row = 0; row < column.length; row++)
        (into as Scalar[])[start + row] = Number.isNaN(column[row]) ? null : column[row]!;
  } else if ('ofSeries' in column) {
    for (let row = 0; row < series.length; row++) (into as Scalar[])[start + row] = column.ofSeries[series[row]!]!;
  } else for (let row = 0; row < column.length; row++) (into as Scalar[])[start + row] = column[row]!;
}
