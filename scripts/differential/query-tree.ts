/**
 * Queries as trees, so that one that is answered differently can be made smaller, and their text.
 */
export interface SelectTree {
  readonly kind: 'select';
  readonly fields: readonly FieldTree[];
  readonly from: readonly (string | SelectTree)[];
  readonly where: ConditionTree | null;
  readonly groupBy: readonly string[];
  /** fill, ORDER BY, LIMIT, OFFSET, SLIMIT, SOFFSET, tz: texts, in this order. */
  readonly tail: readonly string[];
}

export interface FieldTree {
  readonly expression: ExpressionTree;
  readonly alias: string | null;
}

export type ExpressionTree =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'binary'; readonly op: string; readonly left: ExpressionTree; readonly right: ExpressionTree }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly ExpressionTree[] };

export type ConditionTree =
  | { readonly kind: 'test'; readonly text: string }
  | { readonly kind: 'both'; readonly op: 'AND' | 'OR'; readonly left: ConditionTree; readonly right: ConditionTree };

/** A SHOW statement: what it begins with, and its clauses. */
export interface ShowTree {
  readonly kind: 'show';
  readonly head: string;
  readonly clauses: readonly string[];
}

export type QueryTree = SelectTree | ShowTree;

export function queryText(query: QueryTree): string {
  if (query.kind === 'show') return [query.head, ...query.clauses].join(' ');
  const fields = query.fields.map(
    ({ expression, alias }) => expressionText(expression) + (alias === null ? '' : ` AS ${alias}`),
  );
  const sources = query.from.map((source) => (typeof source === 'string' ? source : `(${queryText(source)})`));
  const parts = [`SELECT ${fields.join(', ')} FROM ${sources.join(', ')}`];
  if (query.where !== null) parts.push(`WHERE ${conditionText(query.where)}`);
  if (query.groupBy.length > 0) parts.push(`GROUP BY ${query.groupBy.join(', ')}`);
  return [...parts, ...query.tail].join(' ');
}

export function expressionText(expression: ExpressionTree): string {
  switch (expression.kind) {
    case 'text':
      return expression.text;
    case 'call':
      return `${expression.name}(${expression.args.map(expressionText).join(', ')})`;
    case 'binary': {
      const sides = [expression.left, expression.right].map((side) =>
        side.kind === 'binary' ? `(${expressionText(side)})` : expressionText(side),
      );
      return sides.join(` ${expression.op} `);
    }
  }
}

export function conditionText(condition: ConditionTree): string {
  if (condition.kind === 'test') return condition.text;
  const sides = [condition.left, condition.right].map((side) =>
    side.kind === 'both' ? `(${conditionText(side)})` : conditionText(side),
  );
  return sides.join(` ${condition.op} `);
}

/** Queries that have one part less, the largest parts first; none with windows up to now, which would be many. */
export function* smaller(query: QueryTree): Generator<QueryTree> {
  for (const less of parts(query)) {
    if (less.kind === 'show' || !hasShortWindows(less) || hasEnd(less.where)) yield less;
  }
}

/** Of windows that may go on up to now. */
export const LONG_WINDOW = '4w';

function hasShortWindows(query: SelectTree): boolean {
  return queryText(query).replaceAll(`time(${LONG_WINDOW})`, '').includes('time(');
}

function hasEnd(where: ConditionTree | null): boolean {
  return where !== null && / time <|^time </.test(conditionText(where));
}

function* parts(query: QueryTree): Generator<QueryTree> {
  if (query.kind === 'show') {
    for (const clauses of withoutOne(query.clauses)) yield { ...query, clauses };
    return;
  }
  for (let i = 0; i < query.from.length; i++) {
    const source = query.from[i]!;
    if (typeof source === 'string') continue;
    yield source;
    if (query.from.length > 1) continue;
    yield { ...query, from: source.from };
    for (const less of parts(source)) if (less.kind === 'select') yield { ...query, from: [less] };
  }
  if (query.from.length > 1) for (const from of withoutOne(query.from)) yield { ...query, from };
  if (query.where !== null) {
    yield { ...query, where: null };
    for (const where of smallerConditions(query.where)) yield { ...query, where };
  }
  if (query.fields.length > 1) for (const fields of withoutOne(query.fields)) yield { ...query, fields };
  for (const groupBy of withoutOne(query.groupBy)) yield { ...query, groupBy };
  for (const tail of withoutOne(query.tail)) yield { ...query, tail };
  for (let i = 0; i < query.fields.length; i++) {
    const field = query.fields[i]!;
    const put = (changed: FieldTree): SelectTree => ({
      ...query,
      fields: query.fields.map((one, at) => (at === i ? changed : one)),
    });
    if (field.alias !== null) yield put({ ...field, alias: null });
    for (const expression of smallerExpressions(field.expression)) yield put({ ...field, expression });
  }
}

function withoutOne<T>(items: readonly T[]): T[][] {
  return items.map((_, i) => items.filter((_, at) => at !== i));
}

function* smallerConditions(condition: ConditionTree): Generator<ConditionTree> {
  if (condition.kind === 'test') return;
  yield condition.left;
  yield condition.right;
  for (const left of smallerConditions(condition.left)) yield { ...condition, left };
  for (const right of smallerConditions(condition.right)) yield { ...condition, right };
}

function* smallerExpressions(expression: ExpressionTree): Generator<ExpressionTree> {
  if (expression.kind === 'binary') {
    yield expression.left;
    yield expression.right;
    for (const left of smallerExpressions(expression.left)) yield { ...expression, left };
    for (const right of smallerExpressions(expression.right)) yield { ...expression, right };
  } else if (expression.kind === 'call') {
    for (const argument of expression.args) if (argument.kind !== 'text') yield argument;
    if (expression.args.length > 1) yield { ...expression, args: expression.args.slice(0, -1) };
    for (let i = 0; i < expression.args.length; i++)
      for (const less of smallerExpressions(expression.args[i]!))
        yield { ...expression, args: expression.args.map((one, at) => (at === i ? less : one)) };
  }
}
