/**
 * A column of a block: which rows have the field, then the values of those rows, across all series of the block.
 *
 * Values of absent rows take no room: each series' span is as long as the rows that have the field.
 * Layout: byte 0 (every row has it) or 1 and bits; values by type (floats.ts, numbers.ts, bits.ts, strings.ts).
 */

import { type ByteReader, type ByteWriter, damaged } from '../../../shards/codec/bytes.ts';
import type { Column, ColumnValues } from '../../../shards/column.ts';
import { BOOLEAN, FLOAT, INTEGER, makeValues, STRING } from '../../../shards/column.ts';
import { readBits, writeBits } from './bits.ts';
import { readFloats, writeFloats } from './floats.ts';
import { readHalves, spanOf, writeHalves } from './numbers.ts';
import { readStrings, writeStrings } from './strings.ts';

const EVERY_ROW = 0;
const SOME_ROWS = 1;

/** `starts`: rows of each series. Returns how many rows have the field. */
export function writeColumn(writer: ByteWriter, column: Column, starts: Uint32Array): number {
  const rows = starts[starts.length - 1]!;
  if (column.present === null || column.present.subarray(0, rows).indexOf(0) < 0) {
    writer.u8(EVERY_ROW);
    writeValues(writer, column.values, column.type, starts);
    return rows;
  }
  writer.u8(SOME_ROWS);
  const present = column.present.subarray(0, rows);
  writeBits(writer, present);
  const denseStarts = startsOfPresent(present, starts);
  const count = denseStarts[denseStarts.length - 1]!;
  writeValues(writer, dense(column.values, present, count), column.type, denseStarts);
  return count;
}

function startsOfPresent(present: Uint8Array, starts: Uint32Array): Uint32Array {
  const into = new Uint32Array(starts.length);
  let count = 0;
  for (let s = 0; s + 1 < starts.length; s++) {
    const end = starts[s + 1]!;
    for (let i = starts[s]!; i < end; i++) count += present[i]!;
    into[s + 1] = count;
  }
  return into;
}

function dense(values: ColumnValues, present: Uint8Array, count: number): ColumnValues {
  if (Array.isArray(values)) return values.filter((_, i) => present[i] === 1);
  if (values instanceof Uint8Array) return values.filter((_, i) => present[i] === 1);
  if (values instanceof Float64Array) {
    const into = new Float64Array(count);
    let out = 0;
    for (let i = 0; i < present.length; i++) if (present[i] === 1) into[out++] = values[i]!;
    return into;
  }
  const from = halvesOf(values);
  const into = new BigInt64Array(count);
  const to = halvesOf(into);
  let out = 0;
  for (let i = 0; i < present.length; i++) {
    if (present[i] !== 1) continue;
    to[2 * out] = from[2 * i]!;
    to[2 * out + 1] = from[2 * i + 1]!;
    out++;
  }
  return into;
}

function halvesOf(values: BigInt64Array | BigUint64Array | Float64Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
}

function writeValues(writer: ByteWriter, values: ColumnValues, type: number, starts: Uint32Array): void {
  if (Array.isArray(values)) writeStrings(writer, values, starts);
  else if (values instanceof Float64Array) writeFloats(writer, values, starts);
  else if (values instanceof Uint8Array) writeBits(writer, values.subarray(0, starts[starts.length - 1]!));
  else writeHalves(writer, halvesOf(values), type === INTEGER, starts);
}

/** Rows of series fromSeries .. toSeries - 1. */
export function readColumn(
  reader: ByteReader,
  field: string,
  type: Column['type'],
  starts: Uint32Array,
  fromSeries: number,
  toSeries: number,
): Column {
  const form = reader.u8();
  if (form === EVERY_ROW) {
    return { field, type, present: null, values: readValues(reader, type, starts, fromSeries, toSeries) };
  }
  if (form !== SOME_ROWS) throw damaged(`column of form ${form}`);
  const present = readBits(reader, starts[starts.length - 1]!);
  const denseStarts = startsOfPresent(present, starts);
  const packed = readValues(reader, type, denseStarts, fromSeries, toSeries);
  const wanted = present.subarray(starts[fromSeries]!, starts[toSeries]!);
  return { field, type, present: wanted, values: spread(packed, type, wanted) };
}

function readValues(
  reader: ByteReader,
  type: Column['type'],
  starts: Uint32Array,
  fromSeries: number,
  toSeries: number,
): ColumnValues {
  const count = spanOf(starts, fromSeries, toSeries);
  if (type === STRING) return readStrings(reader, starts, fromSeries, toSeries);
  if (type === BOOLEAN) {
    return readBits(reader, starts[starts.length - 1]!).slice(starts[fromSeries]!, starts[toSeries]!);
  }
  if (type === FLOAT) {
    const values = new Float64Array(count);
    readFloats(reader, starts, fromSeries, toSeries, values);
    return values;
  }
  const values = type === INTEGER ? new BigInt64Array(count) : new BigUint64Array(count);
  readHalves(reader, starts, fromSeries, toSeries, halvesOf(values));
  return values;
}

/** Puts dense values at the rows that have them. */
function spread(packed: ColumnValues, type: Column['type'], present: Uint8Array): ColumnValues {
  const values = makeValues(type, present.length);
  let next = 0;
  if (Array.isArray(packed) && Array.isArray(values)) {
    for (let i = 0; i < present.length; i++) if (present[i] === 1) values[i] = packed[next++]!;
  } else if (packed instanceof Uint8Array && values instanceof Uint8Array) {
    for (let i = 0; i < present.length; i++) if (present[i] === 1) values[i] = packed[next++]!;
  } else if (packed instanceof Float64Array && values instanceof Float64Array) {
    for (let i = 0; i < present.length; i++) if (present[i] === 1) values[i] = packed[next++]!;
  } else {
    const from = halvesOf(packed as BigInt64Array);
    const to = halvesOf(values as BigInt64Array);
    for (let i = 0; i < present.length; i++) {
      if (present[i] !== 1) continue;
      to[2 * i] = from[2 * next]!;
      to[2 * i + 1] = from[2 * next + 1]!;
      next++;
    }
  }
  return values;
}
