/**
 * A subquery's result as rows of the query around it: with the types that its columns have there, and those that the
 * condition lets through.
 */
import { BOOLEAN, FLOAT, INTEGER, STRING } from '../../shards/column.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { type RegexCache, rowPasses } from '../../shards/query/filter.ts';
import { cellBytes } from '../../shards/query/held-bytes.ts';
import type { RowColumn } from '../../shards/query/partial.ts';
import type { Steps } from '../../shards/steps.ts';
import { mainTurns, Pace } from '../turns.ts';
import { Group } from './groups.ts';
import { exactValue, type OutputTable } from './output.ts';
import type { SelectPlan } from './plan.ts';
import type { SubqueryRows } from './row-table.ts';
import type { StatementContext } from './scatter.ts';
import { runPlan } from './select.ts';

export async function subqueryRows(
  plan: SelectPlan,
  inner: SelectPlan,
  columns: readonly RowColumn[],
  dimensions: readonly string[],
  context: StatementContext,
): Promise<SubqueryRows[]> {
  const output = await runPlan(inner, dimensions, context, true);
  return mainTurns.of(rowsOfSubquery(plan, inner, output, columns, dimensions), context.ending);
}

/**
 * A number as one of the column's type: of what is written, or of other subqueries that have the column. Functions of
 * strings and booleans (`isInput`) see no others.
 */
function asType(value: Scalar, column: RowColumn, isInput: boolean): Scalar {
  if (column.kind === 'tag' || value === null) return value;
  if (isInput && column.type === BOOLEAN && typeof value !== 'boolean') return null;
  if (isInput && column.type === STRING && typeof value !== 'string') return null;
  if (typeof value === 'bigint') return column.type === FLOAT ? Number(value) : value;
  if (typeof value !== 'number' || column.type !== INTEGER) return value;
  if (Number.isNaN(value)) return null;
  // What is too much for one is the least, as in InfluxDB.
  return Math.abs(value) < 2 ** 63 ? BigInt(Math.trunc(value)) : -(2n ** 63n);
}

/** In short steps. */
function* rowsOfSubquery(
  { filter, calls }: SelectPlan,
  inner: SelectPlan,
  output: OutputTable,
  columns: readonly RowColumn[],
  dimensions: readonly string[],
): Steps<SubqueryRows[]> {
  const indexByName = new Map(inner.columns.map((name, i) => [name, i]));
  const regexes: RegexCache = new Map();
  const all: SubqueryRows[] = [];
  const pace = new Pace();
  for (let g = 0; g < output.groups.length; g++) {
    const own = output.groups[g]!;
    const { tags } = own;
    // What the subquery groups by is there, if only as nothing.
    const tagOf = (name: string): string | null =>
      inner.dimensions.includes(name) ? (tags[name] ?? null) : tags[name] || null;
    const tagValues = dimensions.map((name) => [tagOf(name) ?? '']);
    const times: bigint[] = [];
    const values: Scalar[][] = [];
    let bytes = 0;
    for (let row = output.starts[g]!; row < output.starts[g + 1]!; row++) {
      const columnOf = (name: string): Scalar => {
        const at = indexByName.get(name);
        return at === undefined ? tagOf(name) : exactValue(output.columns[at]!, row);
      };
      // Through objects and closures each is as much work as some plain ones.
      if (pace.isOver(4)) yield;
      if (filter !== null && !rowPasses(filter, columnOf, regexes)) continue;
      times.push(output.times[row]!);
      const cells = columns.map((column) => asType(columnOf(column.name), column, calls.length > 0));
      for (const cell of cells) bytes += cellBytes(cell);
      values.push(cells);
    }
    all.push({ group: new Group(own.name, dimensions, tagValues, 0), key: own.key, times, values, bytes });
    if (pace.isOver(1)) yield;
  }
  return all;
}
