/**
 * Whether two answers mean the same: floats to a share of 1e-9, all else exactly.
 */
import type { Result, Series } from './answers.ts';

type Value = string | number | boolean | null;
type Row = readonly Value[];

const SHARE = 1e-9;

/** What differs first, in words; null: nothing. */
export function difference(expected: Result, given: Result): string | null {
  if (expected.error !== given.error)
    return `error ${JSON.stringify(expected.error)}, not ${JSON.stringify(given.error)}`;
  const [a, b] = [expected.series ?? [], given.series ?? []];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]];
    if (x === undefined || y === undefined) return `${a.length} series, not ${b.length}`;
    const found = seriesDifference(x, y);
    if (found !== null) return `series ${i}: ${found}`;
  }
  return null;
}

function seriesDifference(a: Series, b: Series): string | null {
  const [head, other] = [headOf(a), headOf(b)];
  if (head !== other) return `${head}, not ${other}`;
  const [rows, others] = [a.values ?? [], b.values ?? []];
  for (let i = 0; i < Math.max(rows.length, others.length); i++) {
    const [x, y] = [rows[i], others[i]];
    if (x === undefined || y === undefined || !sameRow(x, y))
      return `row ${i} of ${rows.length} and ${others.length}: ${JSON.stringify(x)}, not ${JSON.stringify(y)}`;
  }
  return null;
}

export const headOf = ({ name, tags, columns }: Series): string => JSON.stringify([name, tags, columns]);

export function sameRow(a: Row, b: Row): boolean {
  return a.length === b.length && a.every((value, i) => sameValue(value, b[i]!));
}

function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a !== 'number' || typeof b !== 'number') return false;
  return Math.abs(a - b) <= SHARE * Math.max(1, Math.abs(a), Math.abs(b));
}
