/**
 * Differences from InfluxDB 1.6.7 that are meant, about subqueries.
 */
import type { AcceptedDifference } from './accepted.ts';
import type { Result } from './answers.ts';
import { isCut, kindOf, kindsIn } from './column-kinds.ts';
import { difference, headOf } from './comparison.ts';
import { alike, hasNoValue, isEmpty, sortedByColumn } from './likeness.ts';
import { boundOf, callsIn, fillOf, hasWindows, isDescending, selectsIn } from './query-facts.ts';
import { conditionText, type QueryTree, type SelectTree } from './query-tree.ts';
import { withCutColumns } from './read-as.ts';
import type { World } from './world.ts';

/** A SELECT with those around it, the outermost first. */
interface Nested {
  readonly select: SelectTree;
  readonly around: readonly SelectTree[];
}

function* nestedIn(query: QueryTree, around: readonly SelectTree[] = []): Generator<Nested> {
  if (query.kind === 'show') return;
  yield { select: query, around };
  for (const source of query.from) if (typeof source !== 'string') yield* nestedIn(source, [...around, query]);
}

/** With windows of its own, or of a query around it. */
const isWindowed = ({ select, around }: Nested): boolean => [select, ...around].some(hasWindows);

const tagsOf = ({ groupBy }: SelectTree): string[] => groupBy.filter((one) => !one.startsWith('time('));

/** It has groups of which the outermost query makes one. */
function joinsGroups({ select, around }: Nested): boolean {
  const [outermost, ...between] = around;
  if (outermost === undefined) return false;
  const named = tagsOf(outermost);
  // Those that its own subquery groups by, if there is one.
  const kept = named.includes('*') ? [...named, ...tagsOf(between[0] ?? select)] : named;
  return [select, ...between].flatMap(tagsOf).some((tag) => !kept.includes(tag));
}

const TRANSFORMING = [
  'derivative',
  'non_negative_derivative',
  'difference',
  'non_negative_difference',
  'moving_average',
  'cumulative_sum',
  'elapsed',
  'integral',
  'distinct',
  'exponential_moving_average',
  'double_exponential_moving_average',
  'triple_exponential_moving_average',
  'relative_strength_index',
  'triple_exponential_derivative',
  'kaufmans_efficiency_ratio',
  'kaufmans_adaptive_moving_average',
  'chande_momentum_oscillator',
];
const SELECTORS = ['first', 'last', 'min', 'max', 'percentile', 'top', 'bottom'];
/** Give what is no number. */
const NUMBERLESS = ['sqrt', 'ln', 'log', 'log2', 'log10', 'asin', 'acos', 'pow', 'stddev', 'kaufmans_efficiency_ratio'];

/** What it gives depends on the order of the rows that it reads. */
function needsOrder(nested: Nested): boolean {
  const { select } = nested;
  const calls = callsIn(select, null);
  if (boundOf(select, 'LIMIT') + boundOf(select, 'OFFSET') > 0) return true;
  return callsIn(select, TRANSFORMING).length > 0 || (calls.length > 0 && isWindowed(nested));
}

/** Its rows come group by group from InfluxDB, whatever their times are. */
function isByGroup(nested: Nested): boolean {
  if (!joinsGroups(nested)) return false;
  if (isMadeAnew(nested) || callsIn(nested.select, ['integral']).length > 0) return true;
  const isAtItsTime = !isWindowed(nested) || callsIn(nested.select, ['top', 'bottom']).length > 0;
  return callsIn(nested.select, SELECTORS).length > 0 && isAtItsTime;
}

/** Where the next row is of another group, windows are filled and functions meet in rows anew. */
function isMadeAnew(nested: Nested): boolean {
  return joinsGroups(nested) && (callsIn(nested.select, null).length > 1 || isFilled(nested.select));
}

function isFilled(select: SelectTree): boolean {
  return !['none', 'null', null].includes(fillOf(select));
}

/** Functions without windows over what may begin before the range. */
function mayBeginBefore(nested: Nested): boolean {
  const { select, around } = nested;
  const calls = callsIn(select, null).length;
  const isEarly = hasWindows(select) || (callsIn(select, ['integral']).length > 0 && !isWindowed(nested));
  if (calls === 0 || !isEarly || !around[0]?.where || !/\btime >=/.test(conditionText(around[0].where))) return false;
  return around.some((one, i) => callsIn(one, null).length > 0 && ![one, ...around.slice(0, i)].some(hasWindows));
}

/** Its series that another answer has as well. */
function withHeads({ series, ...rest }: Result, heads: ReadonlySet<string>): Result {
  return { ...rest, series: (series ?? []).filter((one) => heads.has(headOf(one))) };
}

function headsOf({ series }: Result): Set<string> {
  return new Set((series ?? []).map(headOf));
}

/** Of so many values the most frequent one is InfluxDB's. */
const MODE_ROWS_MAX = 12;

function pointsOf(measurement: string, { writes }: World): number {
  return writes.flatMap(({ lines }) => lines.filter((line) => line.startsWith(measurement))).length;
}

export const ACCEPTED_OF_SUBQUERIES: readonly AcceptedDifference[] = [
  {
    name: 'integers of a subquery',
    reason:
      'a column that is computed from integers is one to InfluxDB 1.6 in the query around it, which cuts quotients, roots and the like',
    readAs: withCutColumns,
    covers: ({ tree, world, expected, given }) =>
      // Wildcards cannot be written with casts, and what is no number is cut to the least integer, but not everywhere.
      [...nestedIn(tree)].some(({ select, around }) => {
        const kinds = kindsIn(select, world);
        const cut = select.fields.filter(({ expression }) => isCut(expression, kinds));
        const isWild = around.some(({ fields }) =>
          fields.some(({ expression }) => /[*/]/.test(JSON.stringify(expression))),
        );
        return around.length > 0 && cut.length > 0 && (isWild || hasNumberless(select));
      }) && expected.error === given.error,
  },
  {
    name: 'points of a subquery before the range',
    reason:
      'functions without windows end with the first point of a subquery that lies before the range (of a window that begins there, of integral() in 1970), as if nothing followed',
    covers: ({ tree, expected, given }) => {
      if (tree.kind === 'show' || ![...nestedIn(tree)].some(mayBeginBefore)) return false;
      const heads = headsOf(given);
      return isEmpty(expected) || isDescending(tree) || [...headsOf(expected)].every((head) => heads.has(head));
    },
  },
  {
    name: 'integral of integers in a subquery',
    reason: 'or of integers that a subquery gives: as over windows without one',
    covers: ({ tree, world, expected, given }) =>
      expected.error === given.error &&
      [...nestedIn(tree)].some((nested) => {
        const { select, around } = nested;
        const isAround = around.length > 0 || select.from.some((source) => typeof source !== 'string');
        const kinds = kindsIn(select, world);
        const isOfIntegers = callsIn(select, ['integral']).some(({ args }) => kindOf(args[0]!, kinds) === 'integer');
        return isAround && isWindowed(nested) && isOfIntegers;
      }),
  },
  {
    name: 'integral from the end in a subquery',
    reason: 'has the times of InfluxDB, ends of windows, in what is around it',
    covers: ({ tree, expected, given }) =>
      tree.kind === 'select' &&
      isDescending(tree) &&
      expected.error === given.error &&
      [...nestedIn(tree)].some(({ select, around }) => around.length > 0 && callsIn(select, ['integral']).length > 0),
  },
  {
    name: 'tags of other policies in a subquery',
    reason: 'are columns without values to InfluxDB, and have rows where there are others; Starling does not know them',
    covers: ({ tree, world, expected, given }) =>
      new Set(world.writes.map(({ policy }) => policy)).size > 1 &&
      [...selectsIn(tree)].length > 1 &&
      isEmpty(given) &&
      expected.error === undefined &&
      hasNoValue(expected),
  },
  {
    name: 'limits of groups in a subquery',
    reason:
      'LIMIT counts anew where the next row is of another group, SLIMIT counts the groups of the outermost query, where these are fewer',
    covers: ({ tree }) =>
      [...nestedIn(tree)].some((nested) => {
        const bounds = (['LIMIT', 'OFFSET', 'SLIMIT', 'SOFFSET'] as const).map((word) => boundOf(nested.select, word));
        return joinsGroups(nested) && bounds.some((bound) => bound > 0);
      }),
  },
  {
    name: 'series limits around a subquery',
    reason:
      'SLIMIT and SOFFSET count the series that are stored to InfluxDB, also such as have no row in the range; Starling counts those that the subquery gives',
    covers: ({ tree, expected, given }) =>
      expected.error === given.error &&
      alike(withHeads(expected, headsOf(given)), withHeads(given, headsOf(expected))) &&
      [...nestedIn(tree)].some(
        ({ select, around }) =>
          select.from.some((source) => typeof source !== 'string') &&
          [select, ...around].some((one) => tagsOf(one).length > 0) &&
          boundOf(select, 'SLIMIT') + boundOf(select, 'SOFFSET') > 0,
      ),
  },
  {
    name: 'order of groups of a subquery',
    reason:
      'rows of a subquery whose groups are one to the outermost query come group by group, not by time, from several functions (each in rows of its own), windows that are filled (which may be filled again and again), selectors without windows, and integral()',
    covers: ({ tree, expected, given }) => {
      const byGroup = [...nestedIn(tree)].filter(isByGroup);
      if (byGroup.length === 0 || expected.error !== given.error) return false;
      const isOrdered = byGroup.some(({ around }) =>
        around.some((select, i) => needsOrder({ select, around: around.slice(0, i) })),
      );
      return (
        isOrdered || byGroup.some(isMadeAnew) || difference(sortedByColumn(expected), sortedByColumn(given)) === null
      );
    },
  },
  {
    name: 'mode in a subquery',
    reason: 'may be another one of those that are as frequent, where rows are more than twelve',
    covers: ({ tree, world, expected, given }) =>
      expected.error === given.error &&
      world.measurements.some(({ name }) => pointsOf(name, world) > MODE_ROWS_MAX) &&
      [...nestedIn(tree)].some(({ select, around }) => around.length > 0 && callsIn(select, ['mode']).length > 0),
  },
  {
    name: 'order of what is no number',
    reason: "where values of a subquery are no numbers InfluxDB's sort leaves them anywhere; Starling has them first",
    covers: ({ tree, expected, given }) =>
      expected.error === given.error &&
      [...nestedIn(tree)].some(({ select }) => {
        const sorts = callsIn(select, ['percentile', 'median', 'mode', 'top', 'bottom']).length > 0;
        const inner = select.from.flatMap((source) => (typeof source === 'string' ? [] : [...selectsIn(source)]));
        return sorts && inner.some(hasNumberless);
      }),
  },
];

function hasNumberless(select: SelectTree): boolean {
  return callsIn(select, NUMBERLESS).length > 0 || select.fields.some((field) => JSON.stringify(field).includes('"%"'));
}
