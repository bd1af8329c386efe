/**
 * Reading columns of a slice as the type a query wants: cells of one field may be stored as different types in
 * different shards, and a query may cast (`field::integer`). Only numbers convert; anything else is as if absent.
 */
import { BOOLEAN, type Column, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../column.ts';
import type { Scalar } from './arithmetic.ts';

/** One cell: integers as bigint, floats as number, absent as null. */
export function cellValue(column: Column, row: number): Scalar {
  if (column.present !== null && column.present[row] === 0) return null;
  const value = column.values[row]!;
  return column.type === BOOLEAN ? value === 1 : value;
}

export function columnAs(column: Column | null, type: FieldType): Column | null {
  if (column === null || column.type === type) return column;
  if (column.type === STRING || column.type === BOOLEAN || type === STRING || type === BOOLEAN) return null;
  const rows = column.values.length;
  if (type === FLOAT) {
    const values = new Float64Array(rows);
    for (let i = 0; i < rows; i++) values[i] = Number(column.values[i]);
    return { field: column.field, type, present: column.present, values };
  }
  const values = type === INTEGER ? new BigInt64Array(rows) : new BigUint64Array(rows);
  for (let i = 0; i < rows; i++) {
    if (column.present !== null && column.present[i] === 0) continue;
    const value = column.values[i]!;
    // InfluxDB truncates towards zero; typed arrays keep the low 64 bits.
    values[i] = typeof value === 'bigint' ? value : BigInt(Number.isFinite(value) ? Math.trunc(value as number) : 0);
  }
  return { field: column.field, type: type === INTEGER ? INTEGER : UNSIGNED, present: column.present, values };
}

/** Both masks in one; null: every row. */
export function bothMasks(a: Uint8Array | null, b: Uint8Array | null): Uint8Array | null {
  if (a === null) return b;
  if (b === null) return a;
  const both = new Uint8Array(a.length);
  for (let i = 0; i < a.length; i++) both[i] = a[i]! & b[i]!;
  return both;
}
