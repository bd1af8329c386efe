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

export interface OutputRow {
  readonly time: bigint;
  /** Parallel to the plan's columns. */
  readonly values: readonly Scalar[];
}

export function outputValue(column: OutputColumn, row: number): Scalar {
  const value = column[row]!;
  return typeof value === 'number' && !Number.isFinite(value) ? null : value;
}

/** Groups without rows are left out. */
export function tableOf(
  series: readonly { readonly group: Group; readonly rows: readonly OutputRow[] }[],
  columns: number,
): OutputTable {
  const kept = series.filter(({ rows }) => rows.length > 0);
  const starts = [0];
  for (const { rows } of kept) starts.push(starts.at(-1)! + rows.length);
  const times = new BigInt64Array(starts.at(-1)!);
  const values: Scalar[][] = Array.from({ length: columns }, () => new Array<Scalar>(times.length).fill(null));
  kept.forEach(({ rows }, g) => {
    rows.forEach((row, i) => {
      const at = starts[g]! + i;
      times[at] = row.time;
      for (let c = 0; c < columns; c++) values[c]![at] = row.values[c]!;
    });
  });
  return { groups: kept.map(({ group }) => group), starts, times, columns: values };
}
