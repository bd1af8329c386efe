/**
 * What a query has, for the rules that say which differences are meant.
 */
import { isMathFunction } from '../../server/influxql/math.ts';
import type { ConditionTree, ExpressionTree, QueryTree, SelectTree } from './query-tree.ts';

type Call = Extract<ExpressionTree, { kind: 'call' }>;

/** The query itself and what it reads from. */
export function* selectsIn(query: QueryTree): Generator<SelectTree> {
  if (query.kind === 'show') return;
  yield query;
  for (const source of query.from) if (typeof source !== 'string') yield* selectsIn(source);
}

function* callsOf(expression: ExpressionTree): Generator<Call> {
  if (expression.kind === 'call') {
    yield expression;
    for (const argument of expression.args) yield* callsOf(argument);
  } else if (expression.kind === 'binary') {
    yield* callsOf(expression.left);
    yield* callsOf(expression.right);
  }
}

/** Of one SELECT, those within others as well; null: all that need data. */
export function callsIn({ fields }: SelectTree, names: readonly string[] | null): Call[] {
  const all = fields.flatMap(({ expression }) => [...callsOf(expression)]);
  return all.filter(({ name }) => (names === null ? !isMathFunction(name) : names.includes(name)));
}

/** In the query or a subquery. */
export function hasCall(query: QueryTree, ...names: readonly string[]): boolean {
  return [...selectsIn(query)].some((select) => callsIn(select, names).length > 0);
}

export function hasSubquery(query: QueryTree): boolean {
  return [...selectsIn(query)].length > 1;
}

export function hasWindows({ groupBy }: SelectTree): boolean {
  return groupBy.some((one) => one.startsWith('time('));
}

/** Whether its condition says when time begins. */
export function hasStart({ where }: SelectTree): boolean {
  const isIn = (condition: ConditionTree | null): boolean => {
    if (condition === null) return false;
    if (condition.kind === 'test') return /^time >/.test(condition.text);
    return isIn(condition.left) || isIn(condition.right);
  };
  return isIn(where);
}

/** Whether some function is of what another one gives. */
export function hasNestedCall(select: SelectTree): boolean {
  return callsIn(select, null).some(({ args }) => args.some((arg) => arg.kind === 'call' && arg.name !== 'distinct'));
}

export function isDescending({ tail }: SelectTree): boolean {
  return tail.includes('ORDER BY time DESC');
}

/** The number behind LIMIT, OFFSET, SLIMIT or SOFFSET; 0: there is none. */
export function boundOf({ tail }: SelectTree, word: 'LIMIT' | 'OFFSET' | 'SLIMIT' | 'SOFFSET'): number {
  const clause = tail.find((one) => one.startsWith(`${word} `));
  return clause === undefined ? 0 : Number(clause.slice(word.length));
}

/** What stands between the parentheses of fill(); null: nothing does. */
export function fillOf({ tail }: SelectTree): string | null {
  return tail.find((one) => one.startsWith('fill('))?.slice(5, -1) ?? null;
}

/** Which columns behind the time are made with one of some functions; null: there is no telling, as a field may be many. */
export function columnsWith(select: SelectTree, ...names: readonly string[]): ReadonlySet<number> | null {
  const isOne = (expression: ExpressionTree): boolean => {
    if (expression.kind === 'text') return !/[*/]/.test(expression.text);
    if (expression.kind === 'call') return expression.args.every(isOne);
    return isOne(expression.left) && isOne(expression.right);
  };
  const isExtreme = callsIn(select, ['top', 'bottom']).length > 0;
  if (isExtreme || !select.fields.every(({ expression }) => isOne(expression))) return null;
  return new Set(
    select.fields.flatMap(({ expression }, i) =>
      [...callsOf(expression)].some(({ name }) => names.includes(name)) ? [i + 1] : [],
    ),
  );
}
