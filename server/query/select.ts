/**
 * Last step of a SELECT: streams of points (streams.ts) to rows, rows to result columns; limits. Works the same whether the
 * data came from shards or from a subquery.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { halvesOf } from '../../shards/query/run-buffer.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression, SelectStatement } from '../influxql/ast.ts';
import { inRanges, mainTurns } from '../turns.ts';
import { type Call, lookbackOf, typeOf } from './calls.ts';
import { baseCall, columnKey, indexOf, limitsSeries, type RawRows, readCalls, readRaw, type SpanData } from './data.ts';
import { evaluate } from './evaluate.ts';
import { filledColumn, fillsRows } from './filled-columns.ts';
import { gridTable } from './grid-table.ts';
import { nameGroups, planOfGroups } from './group-names.ts';
import { type Group, type Stream, sortGroups } from './groups.ts';
import { joinStreams } from './joined-streams.ts';
import { emptyTable, finite, type OutputColumn, type OutputTable } from './output.ts';
import type { SelectPlan } from './plan.ts';
import { QueryError } from './query-error.ts';
import { type ResultSeries, TableRows } from './result.ts';
import { type RowTable, rowValue } from './row-table.ts';
import type { StatementContext } from './scatter.ts';
import { type StreamLimits, streamsOf } from './streams.ts';

/** Groups in one step. */
const STEP_GROUPS = 1024;

/** The whole answer. */
export async function gathered(
  statement: SelectStatement,
  plan: SelectPlan,
  context: StatementContext,
): Promise<ResultSeries[]> {
  const table = await runPlan(plan, [], context, false);
  return mainTurns.of(seriesOf(statement, plan, table, context), context.ending);
}

/** `outer`: dimensions of the query around a subquery; `exact`: integers stay bigint, and what is no number a value. */
export function runPlan(
  plan: SelectPlan,
  outer: readonly string[],
  context: StatementContext,
  exact: boolean,
): Promise<OutputTable> {
  const dimensions = dimensionsOf(plan, outer);
  return dimensions.length > 0 && limitsSeries(plan)
    ? limitedSeries(plan, dimensions, context, exact)
    : runWith(plan, dimensions, context, exact);
}

function runWith(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
  exact: boolean,
): Promise<OutputTable> {
  return plan.calls.length === 0 ? raw(plan, dimensions, context, exact) : aggregated(plan, dimensions, context, exact);
}

/** With SLIMIT or SOFFSET: only the groups that they leave are read, where these can be told before. */
async function limitedSeries(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
  exact: boolean,
): Promise<OutputTable> {
  const named = await nameGroups(plan, dimensions, context);
  const chosen = named === null ? plan : (planOfGroups(named, named.groups) ?? named.plan);
  return runWith(chosen, dimensions, context, exact);
}

export function dimensionsOf(plan: SelectPlan, outer: readonly string[]): string[] {
  return [...new Set([...plan.dimensions, ...outer])].sort();
}

async function raw(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
  exact: boolean,
): Promise<OutputTable> {
  if (hasNoColumn(plan)) return emptyTable(0);
  const rows = await readRaw(plan, dimensions, context);
  return mainTurns.of(rawTable(plan, rows, exact), context.ending);
}

/** Nothing that a raw query names is there. In a subquery's rows a name with a type is, as nothing. */
export function hasNoColumn({ references, schema, sources }: SelectPlan): boolean {
  const isNamed = ({ cast }: SelectPlan['references'][number]): boolean => cast !== undefined && cast !== 'field';
  if (sources.some(({ kind }) => kind === 'subquery') && references.some(isNamed)) return false;
  return references.every((reference) => typeOf(reference, schema) === null);
}

/** In short steps. */
export function* rawTable(plan: SelectPlan, { rows, table }: RawRows, exact = false): Steps<OutputTable> {
  const columnIndex = indexOf(plan.references);
  const groups: Group[] = [];
  const starts = [0];
  const parts: Uint32Array[] = [];
  for (const { group, rows: all } of sortGroups([...rows], plan.descending)) {
    const kept = limited(all, plan);
    if (kept.length === 0) continue;
    groups.push(group);
    parts.push(kept);
    starts.push(starts.at(-1)! + kept.length);
    if (groups.length % STEP_GROUPS === 0) yield;
  }
  const order = new Uint32Array(starts.at(-1)!);
  parts.forEach((part, g) => {
    order.set(part, starts[g]!);
  });
  const times = new BigInt64Array(order.length);
  const [halves, all] = [halvesOf(times), halvesOf(table.times)];
  yield* inRanges(order.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const row = order[i]!;
      halves[i * 2] = all[row * 2]!;
      halves[i * 2 + 1] = all[row * 2 + 1]!;
    }
  });
  if (fillsRows(plan.fill))
    return { groups, starts, times, columns: yield* filledFields(plan, table, order, starts, exact) };
  const columns: OutputColumn[] = [];
  for (const { expression } of plan.fields) {
    const cell = (row: number): Scalar =>
      evaluate(expression, (slot) =>
        slot.kind === 'reference' ? rowValue(table, columnIndex.get(columnKey(slot))!, row) : null,
      );
    const column = expression.kind === 'reference' ? table.columns[columnIndex.get(columnKey(expression))!]! : cell;
    columns.push(yield* picked(column, order, exact));
  }
  return { groups, starts, times, columns };
}

function* filledFields(
  plan: SelectPlan,
  table: RowTable,
  order: Uint32Array,
  starts: readonly number[],
  exact: boolean,
): Steps<OutputColumn[]> {
  const columnIndex = indexOf(plan.references);
  const filled = new Map<string, readonly Scalar[]>();
  for (const reference of plan.references) {
    const key = columnKey(reference);
    const column = table.columns[columnIndex.get(key)!]!;
    filled.set(key, yield* filledColumn(column, order, starts, plan.fill, typeOf(reference, plan.schema)));
  }
  const places = order.map((_, i) => i);
  const columns: OutputColumn[] = [];
  for (const { expression } of plan.fields) {
    const cell = (row: number): Scalar =>
      evaluate(expression, (slot) => (slot.kind === 'reference' ? filled.get(columnKey(slot))![row]! : null));
    columns.push(yield* picked(cell, places, exact));
  }
  return columns;
}

/** Cells of a column, or what is said of a row, in an order of rows. */
function* picked(
  column: OutputColumn | ((row: number) => Scalar),
  order: Uint32Array,
  exact: boolean,
): Steps<OutputColumn> {
  if (column instanceof Float64Array) {
    const numbers = new Float64Array(order.length);
    yield* inRanges(order.length, (from, to) => {
      for (let i = from; i < to; i++) numbers[i] = column[order[i]!]!;
    });
    return numbers;
  }
  const cellOf = typeof column === 'function' ? column : (row: number): Scalar => column[row]!;
  const cells = new Array<Scalar>(order.length);
  yield* inRanges(order.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const value = cellOf(order[i]!);
      cells[i] = exact ? value : finite(value);
    }
  });
  return cells;
}

/** LIMIT and OFFSET of the points or rows of a group. */
function limited<T extends { slice(from: number, to?: number): T }>(items: T, plan: SelectPlan): T {
  if (plan.limit === 0 && plan.offset === 0) return items;
  return items.slice(plan.offset, plan.limit === 0 ? undefined : plan.offset + plan.limit);
}

async function aggregated(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
  exact: boolean,
): Promise<OutputTable> {
  const known = knownCalls(plan);
  if (known.length === 0 || (plan.interval !== null && plan.windows === null)) return emptyTable(0);
  const data = await readCalls(plan, known, dimensions, context);
  const direct = data.get(0);
  if (direct !== undefined && !fillsFurther(plan) && known.every((call) => direct.stateIndex.has(call.key)))
    return mainTurns.of(gridTable(plan, known, direct, context.limits.cellsMax, exact), context.ending);
  return mainTurns.of(joinedTable(plan, known, data, context.limits, exact), context.ending);
}

function* joinedTable(
  plan: SelectPlan,
  known: readonly Call[],
  data: ReadonlyMap<number, SpanData>,
  limits: StreamLimits,
  exact: boolean,
): Steps<OutputTable> {
  const streams: Stream[][] = [];
  for (const call of known) {
    const span = data.get(plan.interval === null ? 0 : lookbackOf(call))!;
    const all = yield* streamsOf(call, plan, span, limits);
    streams.push(all.map(({ group, points }) => ({ group, points: limited(points, plan) })));
  }
  return yield* joinStreams(plan, known, streams, exact);
}

/** fill() reaches the further columns of a selector. */
export function fillsFurther({ fill, references }: SelectPlan): boolean {
  return references.length > 0 && fillsRows(fill);
}

/** Functions see fields; a subquery's columns are fields as well, and it has its tags like columns. */
export function knownCalls({ calls, schema }: SelectPlan): Call[] {
  return calls.filter((call) => {
    const { reference } = baseCall(call).input as { reference: Extract<Expression, { kind: 'reference' }> };
    return schema.isColumn(reference.name, reference.cast);
  });
}

/** In short steps. Throws QueryError when they are too many rows. */
export function* seriesOf(
  statement: SelectStatement,
  plan: SelectPlan,
  table: OutputTable,
  context: StatementContext,
): Steps<ResultSeries[]> {
  if (table.times.length > context.limits.responseRowsMax)
    throw new QueryError(`answer has more than ${context.limits.responseRowsMax} rows; use LIMIT or a longer interval`);
  const columns = [plan.timeName, ...plan.columns];
  const grouped = plan.dimensions.length > 0;
  const { timeZone } = statement;
  const all: ResultSeries[] = [];
  yield* inRanges(table.groups.length, (from, to) => {
    for (let g = from; g < to; g++) {
      const group = table.groups[g]!;
      const { name } = group;
      const values = new TableRows(table, table.starts[g]!, table.starts[g + 1]!);
      if (timeZone !== undefined)
        all.push({ name, ...(grouped ? { tags: group.tags } : {}), columns, timeColumn: 0, values, timeZone });
      else
        all.push(
          grouped
            ? { name, tags: group.tags, columns, timeColumn: 0, values }
            : { name, columns, timeColumn: 0, values },
        );
    }
  });
  return all;
}
