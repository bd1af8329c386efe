/**
 * Queries that InfluxDB takes others for: what it answers is what Starling answers to these.
 */
import { boundOf, callsIn } from './query-facts.ts';
import { type ConditionTree, expressionText, type SelectTree } from './query-tree.ts';

/** Rows behind OFFSET are limited to one where there is no LIMIT; null: nowhere is one without. */
export function withLimits(tree: SelectTree): SelectTree | null {
  const inner = tree.from.map((source) => (typeof source === 'string' ? null : withLimits(source)));
  const isOpen = callsIn(tree, null).length === 0 && boundOf(tree, 'OFFSET') > 0 && boundOf(tree, 'LIMIT') === 0;
  if (!isOpen && inner.every((source) => source === null)) return null;
  const from = tree.from.map((source, i) => inner[i] ?? source);
  const tail = tree.tail.flatMap((clause) => (isOpen && clause.startsWith('OFFSET') ? ['LIMIT 1', clause] : [clause]));
  return { ...tree, from, tail };
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
