/**
 * Answers without what is not to be compared.
 */
import type { Result, Series } from './answers.ts';
import { difference, headOf } from './comparison.ts';

type Row = NonNullable<Series['values']>[number];

export function isEmpty({ error, series }: Result): boolean {
  return error === undefined && (series ?? []).length === 0;
}

/** Behind the times. */
export function hasNoValue({ series }: Result): boolean {
  return (series ?? []).every(({ values = [] }) => values.every(([, ...rest]) => rest.every((one) => one === null)));
}

function changed({ error, series }: Result, change: (series: Series) => Series): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  return { series: series.map(change) };
}

function withRows(result: Result, change: (rows: readonly Row[], series: Series) => readonly Row[]): Result {
  return changed(result, (one) => ({ ...one, values: change(one.values ?? [], one) }));
}

/** Rows of equal times in one order. */
function orderless(result: Result): Result {
  return withRows(result, (rows) =>
    [...rows].sort((a, b) => (a[0] !== b[0] ? 0 : JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  );
}

/** Equal, but for the order of rows with equal times. */
export function alike(a: Result, b: Result): boolean {
  return difference(orderless(a), orderless(b)) === null;
}

/** Only the columns behind the time of which that is said. */
export function withColumns(result: Result, isKept: (column: number) => boolean): Result {
  return withRows(result, (rows) => rows.map((row) => row.filter((_, i) => i === 0 || isKept(i))));
}

/** Heads and times of the rows. */
export function shapeOf(result: Result): Result {
  return withColumns(result, () => false);
}

export function withoutTimes(result: Result): Result {
  return withRows(result, (rows) => rows.map(([, ...values]) => [0, ...values]));
}

/** Each column's values for itself, without times, and without what is nothing. */
export function valuesByColumn(result: Result): Result {
  return withRows(result, (rows, { columns }) =>
    columns.slice(1).map((_, i) => rows.flatMap((row) => row[i + 1] ?? [])),
  );
}

/** In one order. */
export function sortedByColumn(result: Result): Result {
  return withRows(valuesByColumn(result), (rows) => rows.map((row) => [...row].sort(byText)));
}

/** Those that are none of fill(), each once and in one order, as fill(previous) may repeat them. */
export function valuesBeside(result: Result, fill: string): Result {
  const fillers = [fill, String(Math.trunc(Number(fill)))];
  return withRows(valuesByColumn(result), (rows) =>
    rows.map((row) => [...new Set(row)].filter((value) => !fillers.includes(String(value))).sort(byText)),
  );
}

const byText = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : 1);

/** Without tags of groups that have no value. */
export function withoutEmptyTags(result: Result): Result {
  return changed(result, ({ tags = {}, ...rest }) => ({
    ...rest,
    tags: Object.fromEntries(Object.entries(tags).filter(([, value]) => value !== '')),
  }));
}

/** Without columns, and tags of groups, that have no value. */
export function withoutEmptyNames(result: Result): Result {
  return changed(withoutEmptyTags(result), (one) => {
    const { columns, values = [] } = one;
    const places = columns.map((_, i) => i).filter((i) => values.some((row) => row[i] !== null));
    return {
      ...one,
      columns: places.map((i) => columns[i]!),
      values: values.map((row) => places.map((i) => row[i]!)),
    };
  });
}

/** All numbers behind the time without their signs. */
export function unsigned(result: Result): Result {
  return withRows(result, (rows) =>
    rows.map(([time, ...rest]) => [time!, ...rest.map((one) => (typeof one === 'number' ? Math.abs(one) : one))]),
  );
}

export function seriesSorted(result: Result): Result {
  if (result.series === undefined) return result;
  return { ...result, series: [...result.series].sort((a, b) => (headOf(a) < headOf(b) ? -1 : 1)) };
}
