/**
 * Queries that InfluxDB takes others for: what it answers is what Starling answers to these.
 */
import { isCut, kindsIn } from './column-kinds.ts';
import { boundOf, callsIn } from './query-facts.ts';
import { type ConditionTree, type ExpressionTree, expressionText, type SelectTree } from './query-tree.ts';
import type { World } from './world.ts';

/** Rows behind OFFSET are limited to one where there is no LIMIT; null: nowhere is one without. */
export function withLimits(tree: SelectTree): SelectTree | null {
  const inner = tree.from.map((source) => (typeof source === 'string' ? null : withLimits(source)));
  const isOpen = callsIn(tree, null).length === 0 && boundOf(tree, 'OFFSET') > 0 && boundOf(tree, 'LIMIT') === 0;
  if (!isOpen && inner.every((source) => source === null)) return null;
  const from = tree.from.map((source, i) => inner[i] ?? source);
  const tail = tree.tail.flatMap((clause) => (isOpen && clause.startsWith('OFFSET') ? ['LIMIT 1', clause] : [clause]));
  return { ...tree, from, tail };
}

/** With the columns of subqueries that InfluxDB cuts to integers as such; null: there are none. */
export function withCutColumns(tree: SelectTree, world: World): SelectTree | null {
  const inner = tree.from.map((source) => (typeof source === 'string' ? null : withCutColumns(source, world)));
  const cut = new Set(
    tree.from.flatMap((source) => {
      if (typeof source === 'string') return [];
      const kinds = kindsIn(source, world);
      return source.fields.flatMap(({ expression, alias }) => (isCut(expression, kinds) ? [alias ?? ''] : []));
    }),
  );
  if (cut.size === 0 && inner.every((source) => source === null)) return null;
  const from = tree.from.map((source, i) => inner[i] ?? source);
  const fields = tree.fields.map((field) => ({ ...field, expression: asIntegers(field.expression, cut) }));
  return { ...tree, from, fields };
}

function asIntegers(expression: ExpressionTree, names: ReadonlySet<string>): ExpressionTree {
  if (expression.kind === 'text')
    return names.has(expression.text) ? { ...expression, text: `${expression.text}::integer` } : expression;
  if (expression.kind === 'call')
    return { ...expression, args: expression.args.map((argument) => asIntegers(argument, names)) };
  return { ...expression, left: asIntegers(expression.left, names), right: asIntegers(expression.right, names) };
}

/** What it says of time. */
function timesOf(where: ConditionTree | null): ConditionTree | null {
  if (where === null || where.kind === 'test') return where?.text.startsWith('time ') === true ? where : null;
  const [left, right] = [timesOf(where.left), timesOf(where.right)];
  return left === null || right === null ? (left ?? right) : { ...where, left, right };
}

/** Over the rows that InfluxDB reads of each group. */
export function withLimitedRows(tree: SelectTree): SelectTree | null {
  const [rows, skipped] = [boundOf(tree, 'LIMIT'), boundOf(tree, 'OFFSET')];
  const [call] = callsIn(tree, ['top', 'bottom']);
  if (rows + skipped === 0 || call === undefined) return null;
  const [field, ...tags] = call.args.slice(0, -1);
  const groupBy = [...tree.groupBy.filter((one) => !one.startsWith('time(')), ...tags.map(expressionText)];
  const order = tree.tail.filter((clause) => clause.startsWith('ORDER'));
  const inner: SelectTree = {
    kind: 'select',
    fields: [{ expression: field!, alias: null }],
    from: tree.from,
    where: tree.where,
    groupBy: [...new Set(groupBy)],
    tail: [...order, `LIMIT ${rows + skipped + 1}`],
  };
  return { ...tree, from: [inner], where: timesOf(tree.where) };
}
