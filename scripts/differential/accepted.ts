/**
 * Differences from InfluxDB 1.6.7 that are meant, each with its reason; docs/compatibility.md lists them.
 */
import { NO_ANSWER, type Result, type Series } from './answers.ts';
import { difference, headOf } from './comparison.ts';

export interface Compared {
  readonly query: string;
  /** InfluxDB's. */
  readonly expected: Result;
  readonly given: Result;
}

export interface AcceptedDifference {
  readonly name: string;
  readonly reason: string;
  covers(compared: Compared): boolean;
}

/** Rows of equal times in one order. */
function orderless({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  const sorted = series.map((one) => ({
    ...one,
    values: [...(one.values ?? [])].sort((a, b) =>
      a[0] !== b[0] ? 0 : JSON.stringify(a) < JSON.stringify(b) ? -1 : 1,
    ),
  }));
  return { series: sorted };
}

function isTypeError(error: string | undefined): boolean {
  return error !== undefined && /^(type error: |unsupported )/.test(error);
}

function isEmpty({ error, series }: Result): boolean {
  return error === undefined && (series ?? []).length === 0;
}

function seriesSorted({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  return { series: [...series].sort((a, b) => (headOf(a) < headOf(b) ? -1 : 1)) };
}

/** Heads and times of the rows. */
function shapeOf({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  return { series: series.map((one) => ({ ...one, values: (one.values ?? []).map(([time]) => [time!]) })) };
}

/** Without columns that have no value in any row. */
function withoutEmptyColumns({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  const filled = ({ columns, values }: Series): number[] =>
    (columns ?? []).map((_, i) => i).filter((i) => (values ?? []).some((row) => row[i] !== null));
  return {
    series: series.map((one) => {
      const places = filled(one);
      const columns = places.map((i) => one.columns![i]!);
      return { ...one, columns, values: (one.values ?? []).map((row) => places.map((i) => row[i]!)) };
    }),
  };
}

/** Only the columns behind the time, up to the first one. */
function firstValues({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  return { series: series.map((one) => ({ ...one, values: (one.values ?? []).map((row) => row.slice(1, 2)) })) };
}

/** Without the rows that have nothing but their time, and without series that have no others. */
function withoutEmptyRows({ error, series }: Result): Result {
  if (error !== undefined) return { error };
  const left = (series ?? []).map((one) => ({
    ...one,
    values: (one.values ?? []).filter((row) => row.slice(1).some((value) => value !== null)),
  }));
  return { series: left.filter(({ values }) => values.length > 0) };
}

/** All numbers behind the time without their signs. */
function unsigned({ error, series }: Result): Result {
  if (series === undefined) return error === undefined ? {} : { error };
  const valuesOf = ({ values }: Series): Series['values'] =>
    values?.map(([time, ...rest]) => [
      time!,
      ...rest.map((value) => (typeof value === 'number' ? Math.abs(value) : value)),
    ]);
  return { series: series.map((one) => ({ ...one, values: valuesOf(one)! })) };
}

function hasSeriesTwice({ series }: Result): boolean {
  const heads = (series ?? []).map(headOf);
  return new Set(heads).size < heads.length;
}

export const ACCEPTED: readonly AcceptedDifference[] = [
  {
    name: 'order of rows with equal times',
    reason: 'InfluxDB has none among series; Starling orders them by strings in the row, then by series key',
    covers: ({ expected, given }) => difference(orderless(expected), orderless(given)) === null,
  },
  {
    name: 'tags alone',
    reason: 'a SELECT of tags without a field is an error since InfluxDB 1.8, before it was empty',
    covers: ({ given }) => given.error === 'statement must have at least one field in select clause',
  },
  {
    name: 'types of what is not read',
    reason:
      'InfluxDB refuses a function for its type, or arithmetic in a subquery, only where it meets rows or needs the column',
    covers: ({ query, expected, given }) =>
      (isEmpty(expected) && /^unsupported .* iterator type: /.test(given.error ?? '')) ||
      (expected.error === undefined &&
        query.includes('(SELECT') &&
        /^(type error: |unsupported )/.test(given.error ?? '')),
  },
  {
    name: 'which of several errors',
    reason: 'of several things that do not fit InfluxDB names another one first, in an order of its own',
    covers: ({ expected, given }) => isTypeError(expected.error) && isTypeError(given.error),
  },
  {
    name: 'types of what is not there',
    reason:
      'InfluxDB tells the type of a function of a name that nothing has, and refuses arithmetic with it; Starling answers nothing',
    covers: ({ expected, given }) => isEmpty(given) && isTypeError(expected.error),
  },
  {
    name: 'stddev of one value',
    reason:
      'InfluxDB answers null where a function of neighbouring windows meets the stddev of one value; Starling passes over it',
    covers: ({ query, expected, given }) =>
      query.includes('(stddev(') && difference(withoutEmptyRows(expected), withoutEmptyRows(given)) === null,
  },
  {
    name: 'bits of a boolean and a number',
    reason: 'InfluxDB answers false, whatever they are; Starling says that the types do not fit',
    covers: ({ expected, given }) =>
      expected.error === undefined &&
      /^type error: .*incompatible types: boolean and (integer|float)$/.test(given.error ?? ''),
  },
  {
    name: 'windows of a subquery before the range',
    reason:
      'where the first window of a subquery begins before the range InfluxDB answers nothing to functions without windows around it',
    covers: ({ query, expected, given }) => isEmpty(expected) && !isEmpty(given) && /\(SELECT .*\btime\(/.test(query),
  },
  {
    name: 'abs of integers',
    reason: 'InfluxDB 1.6 leaves negative integers negative',
    covers: ({ query, expected, given }) =>
      query.includes('abs(') &&
      // What is computed from them differs by more than a sign.
      (/\(SELECT .*abs\(|\) [-+*/%&|^] | [-+*/%&|^] abs/.test(query) ||
        difference(unsigned(expected), unsigned(given)) === null),
  },
  {
    name: 'no end',
    reason: 'InfluxDB does not come to an end with it',
    covers: ({ expected }) => expected.error === NO_ANSWER,
  },
  {
    name: 'panic',
    reason: 'InfluxDB panics',
    covers: ({ expected }) => expected.error?.includes('[panic:') === true,
  },
  {
    name: 'integral from the end',
    reason:
      "InfluxDB gives a window of integral() the time of its end with ORDER BY time DESC, and other areas; Starling's is that of its start",
    covers: ({ query, expected, given }) =>
      /integral\(.*GROUP BY .*\btime\(.* DESC/.test(query) ||
      (/integral\(.* DESC/.test(query) && difference(firstValues(expected), firstValues(given)) === null),
  },
  {
    name: 'integral beside other functions',
    reason: 'InfluxDB answers a group in two series: once what the other functions give, once the integral',
    covers: ({ query, expected }) => /integral\(.*, |, .*integral\(/.test(query) && hasSeriesTwice(expected),
  },
  {
    name: 'series while the default policy has no shard',
    reason:
      'SHOW SERIES is about all policies in both; InfluxDB answers nothing until the default one has a shard as well',
    covers: ({ query, expected, given }) => query.startsWith('SHOW SERIES') && isEmpty(expected) && !isEmpty(given),
  },
  {
    name: 'mode among equals',
    reason:
      'of values that are as frequent InfluxDB takes one by the order in which its sort leaves equals, any where rows are more than twelve',
    covers: ({ query, expected, given }) =>
      query.includes('mode(') && difference(shapeOf(expected), shapeOf(given)) === null,
  },
  {
    name: 'top and bottom with a limit',
    reason: 'InfluxDB misses values in later rows with it: top(v, 1) with LIMIT 1 is the first row, whatever follows',
    covers: ({ query, expected, given }) =>
      /\b(top|bottom)\(.* LIMIT /.test(query) && !isEmpty(expected) && !isEmpty(given),
  },
  {
    name: 'tags of other policies',
    reason:
      'a regular expression or * of several measurements gives InfluxDB also tags that they have in other policies',
    covers: ({ query, expected, given }) =>
      /^SELECT .*[*/].* FROM /.test(query) &&
      difference(withoutEmptyColumns(expected), withoutEmptyColumns(given)) === null,
  },
  {
    name: 'offset without a limit',
    reason: 'a limit is part of the form that InfluxDB describes; without one it answers one row, or none',
    covers: ({ query }) => / S?OFFSET /.test(query.replace(/ S?LIMIT \d+ S?OFFSET /g, ' ')),
  },
  {
    name: 'order of series of integral',
    reason: 'InfluxDB answers groups of integral() in the order in which they end',
    covers: ({ query, expected, given }) =>
      query.includes('integral(') && difference(seriesSorted(expected), seriesSorted(given)) === null,
  },
  {
    name: 'percentile among equals',
    reason: 'of several rows with the value InfluxDB takes any, by an unstable sort; Starling takes them by time',
    covers: ({ query, expected, given }) =>
      query.includes('percentile(') && difference(firstValues(expected), firstValues(given)) === null,
  },
  {
    name: 'no number',
    reason: 'where a value is infinite or no number InfluxDB sends no JSON but an error; Starling says null',
    covers: ({ expected }) => expected.error?.includes('unsupported value: ') === true,
  },
];
