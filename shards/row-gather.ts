/**
 * Taking ranges of rows out of row sets, column by column, with as few and as long copies as possible.
 */
import type { Column, ColumnValues } from './column.ts';
import { makeValues } from './column.ts';
import type { RowSet } from './row-set.ts';

/** Rows from .. to - 1 of each listed series; only the first `count` entries count. */
export interface RowRanges {
  readonly series: Uint32Array;
  readonly from: Uint32Array;
  readonly to: Uint32Array;
  count: number;
}

/** The rows of the ranges, in their order. A single range gives views of the same memory. */
export function gatherRows(rows: RowSet, ranges: RowRanges): RowSet {
  const { from, to, count } = ranges;
  const seriesStart = new Uint32Array(count + 1);
  let contiguous = true;
  for (let i = 0; i < count; i++) {
    seriesStart[i + 1] = seriesStart[i]! + to[i]! - from[i]!;
    if (i > 0 && from[i] !== to[i - 1]) contiguous = false;
  }
  const series = ranges.series.subarray(0, count);
  const total = seriesStart[count]!;
  const versionTable = () => rows.versionTable;
  const parts = {
    series,
    seriesStart,
    get versionTable() {
      return versionTable();
    },
  };
  if (contiguous) {
    const [start, end] = count === 0 ? [0, 0] : [from[0]!, to[count - 1]!];
    return Object.assign(parts, {
      times: rows.times.subarray(start, end),
      versions: rows.versions.subarray(start, end),
      columns: rows.columns.map((column) => sliceColumn(column, start, end)),
    });
  }
  const times = new Float64Array(total);
  const versions = new Uint32Array(total);
  for (let i = 0; i < count; i++) {
    times.set(rows.times.subarray(from[i]!, to[i]!), seriesStart[i]!);
    versions.set(rows.versions.subarray(from[i]!, to[i]!), seriesStart[i]!);
  }
  const columns = rows.columns.map((column): Column => {
    const values = makeValues(column.type, total);
    const present = column.present === null ? null : new Uint8Array(total);
    for (let i = 0; i < count; i++) {
      copyValues(column.values, from[i]!, to[i]!, values, seriesStart[i]!);
      present?.set(column.present!.subarray(from[i]!, to[i]!), seriesStart[i]!);
    }
    return { field: column.field, type: column.type, present, values };
  });
  return Object.assign(parts, { times, versions, columns });
}

/** Rows start .. end - 1 of a column; typed arrays are views of the same memory. */
export function sliceColumn(column: Column, start: number, end: number): Column {
  const { field, type, present, values } = column;
  return {
    field,
    type,
    present: present === null ? null : present.subarray(start, end),
    values: Array.isArray(values) ? values.slice(start, end) : values.subarray(start, end),
  };
}

/** Both are arrays of the same field type. */
export function copyValues(source: ColumnValues, from: number, to: number, target: ColumnValues, at: number): void {
  if (Array.isArray(source)) {
    const strings = target as string[];
    for (let i = from; i < to; i++) strings[at + i - from] = source[i]!;
  } else if (source instanceof Float64Array) (target as Float64Array).set(source.subarray(from, to), at);
  else if (source instanceof Uint8Array) (target as Uint8Array).set(source.subarray(from, to), at);
  else if (source instanceof BigInt64Array) (target as BigInt64Array).set(source.subarray(from, to), at);
  else (target as BigUint64Array).set(source.subarray(from, to), at);
}

/** Row i of the result is row order[i] of the column. */
export function permuteColumn(column: Column, order: Uint32Array): Column {
  const { field, type } = column;
  let present: Uint8Array | null = null;
  if (column.present !== null) {
    present = new Uint8Array(order.length);
    for (let i = 0; i < order.length; i++) present[i] = column.present[order[i]!]!;
  }
  return { field, type, present, values: permuteValues(column.values, type, order) };
}

function permuteValues(source: ColumnValues, type: Column['type'], order: Uint32Array): ColumnValues {
  const target = makeValues(type, order.length);
  if (source instanceof Float64Array) permuteFloats(source, target as Float64Array, order);
  else if (source instanceof Uint8Array) permuteBytes(source, target as Uint8Array, order);
  else if (Array.isArray(source)) {
    const strings = target as string[];
    for (let i = 0; i < order.length; i++) strings[i] = source[order[i]!]!;
  } else permuteHalves(source, target as BigInt64Array, order);
  return target;
}

function permuteFloats(source: Float64Array, target: Float64Array, order: Uint32Array): void {
  for (let i = 0; i < order.length; i++) target[i] = source[order[i]!]!;
}

function permuteBytes(source: Uint8Array, target: Uint8Array, order: Uint32Array): void {
  for (let i = 0; i < order.length; i++) target[i] = source[order[i]!]!;
}

function permuteHalves(
  source: BigInt64Array | BigUint64Array,
  target: BigInt64Array | BigUint64Array,
  order: Uint32Array,
): void {
  const from = new Uint32Array(source.buffer, source.byteOffset, 2 * source.length);
  const to = new Uint32Array(target.buffer, target.byteOffset, 2 * target.length);
  for (let i = 0; i < order.length; i++) {
    const row = order[i]!;
    to[2 * i] = from[2 * row]!;
    to[2 * i + 1] = from[2 * row + 1]!;
  }
}
