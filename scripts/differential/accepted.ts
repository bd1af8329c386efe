/**
 * Differences from InfluxDB 1.6.7 that are meant, each with its reason; docs/compatibility.md lists them.
 */
import { ACCEPTED_OF_SUBQUERIES } from './accepted-subqueries.ts';
import { NO_ANSWER, type Result, type Series } from './answers.ts';
import { difference, headOf, sameRow } from './comparison.ts';
import {
  alike,
  hasNoValue,
  isEmpty,
  seriesSorted,
  shapeOf,
  unsigned,
  valuesBeside,
  valuesByColumn,
  withColumns,
  withoutEmptyNames,
  withoutEmptyTags,
  withoutTimes,
} from './likeness.ts';
import {
  boundOf,
  callsIn,
  columnsWith,
  fillOf,
  hasCall,
  hasNestedCall,
  hasStart,
  hasWindows,
  isDescending,
  selectsIn,
} from './query-facts.ts';
import { type ConditionTree, type ExpressionTree, type QueryTree, queryText, type SelectTree } from './query-tree.ts';
import { withLimitedRows, withLimits } from './read-as.ts';
import type { World } from './world.ts';

interface Answers {
  /** InfluxDB's. */
  readonly expected: Result;
  readonly given: Result;
}

export interface Compared extends Answers {
  readonly tree: QueryTree;
  readonly query: string;
  readonly world: World;
}

export interface AcceptedDifference {
  readonly name: string;
  readonly reason: string;
  covers?(compared: Compared): boolean;
  /** What InfluxDB answers in its place, as Starling answers it; null: not this query. */
  readAs?(tree: SelectTree, world: World): SelectTree | null;
}

function isTypeError(error: string | undefined): boolean {
  return error !== undefined && /^(type error: |unsupported |invalid argument type )/.test(error);
}

/** Equal where the columns of some functions do not count; the SELECT is the outermost. */
function alikeBeside(tree: QueryTree, functions: readonly string[], a: Result, b: Result): boolean {
  if (tree.kind === 'show') return false;
  const columns = columnsWith(tree, ...functions);
  const isKept = (column: number): boolean => columns !== null && !columns.has(column);
  return alike(withColumns(a, isKept), withColumns(b, isKept));
}

/** Whether a column is made with one of some functions, or may be. */
function columnsLike(tree: SelectTree, ...names: readonly string[]): (column: number) => boolean {
  const columns = columnsWith(tree, ...names);
  return (column) => columns === null || columns.has(column);
}

/** Some of the rows of another answer: what lacks are values of some columns, in which fill() may show instead. */
function isPartOf(part: Result, whole: Result, isFree: (column: number) => boolean, fill: string | null): boolean {
  const isFilled = (value: unknown): boolean =>
    value === null || fill === 'previous' || fill === 'linear' || String(value) === fill;
  const left = new Map((part.series ?? []).map((one) => [headOf(one), [...(one.values ?? [])]]));
  for (const one of whole.series ?? []) {
    const rows = left.get(headOf(one)) ?? [];
    for (const row of one.values ?? []) {
      const own = rows[0]?.[0] === row[0] ? rows.shift()! : null;
      const isIn = row.every((value, i) =>
        own === null
          ? i === 0 || value === null || isFree(i)
          : sameRow([value], [own[i]!]) || (isFree(i) && isFilled(own[i])),
      );
      if (!isIn) return false;
    }
  }
  return [...left.values()].every((rows) => rows.length === 0);
}

/** The text of its fields and of what it groups by. */
function namesOf(tree: QueryTree): string {
  return [...selectsIn(tree)].map((select) => [queryText({ ...select, from: [], where: null, tail: [] })]).join(' ');
}

/** One selector is all that it computes: its row gives the other columns, and the time. */
function isOneSelector(tree: QueryTree): boolean {
  return tree.kind === 'select' && callsIn(tree, null).length === 1 && callsIn(tree, SELECTORS).length === 1;
}

const FORECASTS = ['holt_winters', 'holt_winters_with_fit'];

const SELECTORS = ['first', 'last', 'min', 'max'];

/** Columns of subqueries may be. */
function isOfIntegers([input]: readonly ExpressionTree[], { from }: SelectTree, { measurements }: World): boolean {
  if (input?.kind !== 'text') return false;
  if (from.some((source) => typeof source !== 'string')) return true;
  return /[*/]/.test(input.text) || measurements.some(({ fields }) => fields[input.text] === 'integer');
}

/** A test of a number of what no measurement has as a field. */
function comparesNoField(where: ConditionTree | null, world: World): boolean {
  if (where === null) return false;
  if (where.kind === 'both') return comparesNoField(where.left, world) || comparesNoField(where.right, world);
  const [name] = /^[a-z]+(?= [<>=!]+ [-.\d])/.exec(where.text) ?? [];
  return name !== undefined && name !== 'time' && world.measurements.every(({ fields }) => fields[name] === undefined);
}

function withHead({ series }: Result, like: Series): Result | null {
  const found = (series ?? []).filter((one) => headOf(one) === headOf(like));
  return found.length === 0 ? null : { series: found };
}

function headsTwice({ series }: Result): ReadonlySet<string> {
  const heads = (series ?? []).map(headOf);
  return new Set(heads.filter((head, i) => heads.indexOf(head) < i));
}

/** Without what InfluxDB answers twice, where the same groups are answered; in one order. */
function withoutSeriesTwice({ expected, given }: Answers): Answers {
  const twice = headsTwice(expected);
  const headsOf = (result: Result): Set<string> => new Set((result.series ?? []).map(headOf));
  const [own, others] = [headsOf(given), headsOf(expected)];
  const areSame = own.size === others.size && [...own].every((head) => others.has(head));
  const without = (result: Result): Result =>
    areSame ? { ...result, series: (result.series ?? []).filter((one) => !twice.has(headOf(one))) } : result;
  return { expected: seriesSorted(without(expected)), given: seriesSorted(without(given)) };
}

/** The same values in some columns, at whatever times. */
function haveValues(tree: SelectTree, a: Result, b: Result, isKept: (column: number) => boolean): boolean {
  const fill = fillOf(tree);
  const valuesOf = (result: Result): Result => {
    if (fill === null) return valuesByColumn(withColumns(result, isKept));
    // What is computed from a filled value is none that could be told.
    const isPlain = (column: number): boolean => tree.fields[column - 1]?.expression.kind === 'call';
    return valuesBeside(
      withColumns(result, (column) => isKept(column) && isPlain(column)),
      fill,
    );
  };
  return difference(valuesOf(a), valuesOf(b)) === null;
}

/** Some row is before the one before it. */
function goesBack(tree: SelectTree, { series }: Result): boolean {
  const sign = isDescending(tree) ? -1 : 1;
  const timeOf = (time: unknown): number => (typeof time === 'number' ? time : Date.parse(String(time)));
  return (series ?? []).some(({ values = [] }) =>
    values.some(([time], i) => i > 0 && (timeOf(time) - timeOf(values[i - 1]![0])) * sign < 0),
  );
}

/** Whether another function goes on with what a function gives. */
function isWithin(expression: ExpressionTree, name: string): boolean {
  return expression.kind === 'call' && expression.args.some((one) => one.kind === 'call' && one.name === name);
}

/** Columns in which a function is computed with other things. */
function mixedWith(tree: SelectTree, name: string): ReadonlySet<number> {
  const all = columnsWith(tree, name);
  const isAlone = (column: number): boolean => {
    const expression = tree.fields[column - 1]!.expression;
    return expression.kind === 'call' && expression.name === name;
  };
  return new Set([...(all ?? [])].filter((column) => !isAlone(column)));
}

export const ACCEPTED: readonly AcceptedDifference[] = [
  {
    name: 'order of rows with equal times',
    reason: 'InfluxDB has none among series; Starling orders them by strings in the row, then by series key',
    covers: ({ expected, given }) => alike(expected, given),
  },
  {
    name: 'selectors among equal times',
    reason:
      'of rows of several series with one time InfluxDB takes any as the first or last, and with the extreme value',
    covers: ({ tree, world, expected, given }) =>
      world.hasTies &&
      hasCall(tree, 'first', 'last', 'min', 'max') &&
      alike(shapeOf(expected), shapeOf(given)) &&
      (isOneSelector(tree) || alikeBeside(tree, ['first', 'last'], expected, given)),
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
    covers: ({ expected, given }) => given.error === undefined && hasNoValue(given) && isTypeError(expected.error),
  },
  {
    name: 'bits of a boolean and something else',
    reason: 'InfluxDB answers false, whatever they are; Starling says that the types do not fit',
    covers: ({ expected, given }) =>
      expected.error === undefined &&
      /^type error: .*incompatible types: boolean and (integer|float|string)$/.test(given.error ?? ''),
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
    name: 'windows without a beginning',
    reason: 'they are counted from the beginning of the first shard on, and too many are an error',
    covers: ({ tree, given }) =>
      tree.kind === 'select' &&
      !hasStart(tree) &&
      given.error?.startsWith('max-select-buckets limit exceeded: ') === true,
  },
  {
    name: 'functions of windows without a beginning',
    reason:
      'where the range has none InfluxDB answers nothing to functions of neighbouring windows; Starling begins with the first rows',
    covers: ({ tree, expected }) =>
      isEmpty(expected) &&
      tree.kind === 'select' &&
      !hasStart(tree) &&
      [...selectsIn(tree)].some((one) => hasWindows(one) && hasNestedCall(one) && !hasStart(one)),
  },
  {
    name: 'forecasts with seasons',
    reason:
      'where the squares have least values in many places, the last bit of a sum decides where the search ends: another one in a tenth to a half of series that jump',
    covers: ({ tree, expected, given }) =>
      tree.kind === 'select' &&
      callsIn(tree, FORECASTS).some(({ args }) => args[2]?.kind === 'text' && Number(args[2].text) > 1) &&
      alike(shapeOf(expected), shapeOf(given)) &&
      alikeBeside(tree, FORECASTS, expected, given),
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
      "InfluxDB gives integral() the time of its window's end with ORDER BY time DESC, the greatest there is without windows; Starling's is that of the start",
    covers: ({ tree, ...answers }) => {
      if (tree.kind === 'show' || !isDescending(tree) || !hasCall(tree, 'integral')) return false;
      const mixed = mixedWith(tree, 'integral');
      const { expected, given } = withoutSeriesTwice(answers);
      return haveValues(tree, expected, given, (column) => !mixed.has(column));
    },
  },
  {
    name: 'integral of integers over windows',
    reason: 'where a window ends between two integers InfluxDB cuts the value there, and goes on with another one',
    covers: ({ tree, world, ...answers }) => {
      if (tree.kind === 'show' || !hasWindows(tree)) return false;
      if (!callsIn(tree, ['integral']).some(({ args }) => isOfIntegers(args, tree, world))) return false;
      const { expected, given } = withoutSeriesTwice(answers);
      const isIntegral = columnsLike(tree, 'integral');
      const isNested = tree.fields.some(({ expression }) => isWithin(expression, 'integral'));
      if (isNested && !isDescending(tree)) return haveValues(tree, expected, given, (column) => !isIntegral(column));
      if (isDescending(tree))
        return callsIn(tree, null).length === 1
          ? alike(withoutTimes(shapeOf(expected)), withoutTimes(shapeOf(given)))
          : haveValues(tree, expected, given, (column) => !isIntegral(column));
      return alike(shapeOf(expected), shapeOf(given)) && alikeBeside(tree, ['integral'], expected, given);
    },
  },
  {
    name: 'integral beside other functions',
    reason: 'InfluxDB may answer integral() in rows or in a series of its own, behind what the other functions give',
    covers: ({ tree, ...answers }) => {
      if (tree.kind === 'show' || !hasCall(tree, 'integral')) return false;
      const { expected, given } = withoutSeriesTwice(answers);
      const isIntegral = columnsLike(tree, 'integral');
      if (headsTwice(answers.expected).size > 0) return alike(expected, given);
      const hasOthers = callsIn(tree, null).length > 1;
      return (
        hasOthers && goesBack(tree, expected) && haveValues(tree, expected, given, (column) => !isIntegral(column))
      );
    },
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
    covers: ({ tree, ...answers }) => {
      const [expected, given] = [withoutEmptyTags(answers.expected), withoutEmptyTags(answers.given)];
      return (
        hasCall(tree, 'mode') &&
        alike(shapeOf(expected), shapeOf(given)) &&
        alikeBeside(tree, ['mode'], expected, given)
      );
    },
  },
  {
    name: 'top and bottom with a limit',
    reason:
      'InfluxDB reads one row more than LIMIT and OFFSET say, of each group, and takes the greatest of these: top(v, 1) with LIMIT 1 does not see the third row',
    readAs: withLimitedRows,
  },
  {
    name: 'tags of other policies',
    reason:
      'a regular expression or * of several measurements gives InfluxDB also tags that they have in other policies',
    covers: ({ tree, world, expected, given }) =>
      new Set(world.writes.map(({ policy }) => policy)).size > 1 &&
      /[*/]/.test(namesOf(tree)) &&
      alike(withoutEmptyNames(expected), withoutEmptyNames(given)),
  },
  {
    name: 'offset without a limit',
    reason:
      'a limit is part of the form that InfluxDB describes; without one it answers one row of those behind OFFSET',
    readAs: withLimits,
  },
  {
    name: 'series offset without a limit',
    reason: 'likewise; behind SOFFSET without SLIMIT InfluxDB answers nothing',
    covers: ({ tree, expected }) =>
      isEmpty(expected) &&
      [...selectsIn(tree)].some((one) => boundOf(one, 'SOFFSET') > 0 && boundOf(one, 'SLIMIT') === 0),
  },
  {
    name: 'series limits and conditions without a field',
    reason: 'InfluxDB also counts groups whose rows a comparison of a number with what is no field leaves out',
    covers: ({ tree, world, expected, given }) =>
      tree.kind === 'select' &&
      boundOf(tree, 'SLIMIT') > 0 &&
      comparesNoField(tree.where, world) &&
      (expected.series ?? []).every(
        (one) => withHead(given, one) === null || alike({ series: [one] }, withHead(given, one)!),
      ),
  },
  {
    name: 'order of series of integral',
    reason:
      'InfluxDB answers groups of integral() in the order in which their windows end, which may be in parts, of which OFFSET skips rows each',
    covers: ({ tree, expected, given }) => {
      if (tree.kind === 'show' || !hasCall(tree, 'integral')) return false;
      if (boundOf(tree, 'OFFSET') > 0 && isPartOf(expected, given, columnsLike(tree, 'integral'), fillOf(tree)))
        return true;
      return alike(seriesSorted(expected), seriesSorted(given));
    },
  },
  {
    name: 'percentile among equals',
    reason: 'of several rows with the value InfluxDB takes any, by an unstable sort; Starling takes them by time',
    covers: ({ tree, expected, given }) => {
      if (tree.kind === 'show' || !hasCall(tree, 'percentile')) return false;
      const isKept = columnsLike(tree, 'percentile');
      return alike(withoutTimes(withColumns(expected, isKept)), withoutTimes(withColumns(given, isKept)));
    },
  },
  {
    name: 'percentiles and forecasts of too few rows',
    reason:
      'InfluxDB ends with the first window or group of which the percentile is no row, or that is too short for a forecast, and answers none of those behind it',
    covers: ({ tree, expected, given }) => {
      if (tree.kind === 'show') return false;
      const isLow = callsIn(tree, ['percentile']).some(
        ({ args }) => args[1]?.kind === 'text' && Number(args[1].text) < 50,
      );
      if (!isLow && callsIn(tree, FORECASTS).length === 0) return false;
      // A selector alone gives the columns beside it.
      const isAlone = callsIn(tree, null).length === 1;
      const isFree = isAlone ? () => true : columnsLike(tree, 'percentile', ...FORECASTS);
      return isPartOf(expected, given, isFree, fillOf(tree));
    },
  },
  {
    name: 'no number',
    reason: 'where a value is infinite or no number InfluxDB sends no JSON but an error; Starling says null',
    covers: ({ expected }) => expected.error?.includes('unsupported value: ') === true,
  },
  ...ACCEPTED_OF_SUBQUERIES,
];
