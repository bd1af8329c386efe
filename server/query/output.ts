/**
 * What a SELECT gives: rows of all groups one after the other, in columns.
 *
 * A column of numbers holds NaN (or anything else that is not finite) where there is no value. Integers are in such a
 * column only when the rows go straight to a client, which cannot tell them from floats; a query around a subquery can.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { Group } from './groups.ts';

export type OutputColumn = Float64Array | readonly Scalar[];

export interface OutputTable {
  readonly groups: readonly Group[];
  /** Rows of group g: starts[g] .. starts[g + 1] - 1. */
  readonly starts: readonly number[];
  readonly times: BigInt64Array;
  readonly columns: readonly OutputColumn[];
}

/** What a query around a subquery sees: what is no number is a value to it, as in InfluxDB. */
export function exactValue(column: OutputColumn, row: number): Scalar {
  const value = column[row]!;
  return column instanceof Float64Array && Number.isNaN(value) ? null : value;
}

/** What a client is shown. */
export function outputValue(column: OutputColumn, row: number): Scalar {
  return finite(column[row]!);
}

/** What is no number is no value. */
export const finite = (value: Scalar): Scalar => (typeof value === 'number' && !Number.isFinite(value) ? null : value);

export function emptyTable(columns: number): OutputTable {
  return { groups: [], starts: [0], times: new BigInt64Array(0), columns: Array.from({ length: columns }, () => []) };
}
