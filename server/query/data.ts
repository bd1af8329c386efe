/**
 * Second and third step of a SELECT: asks the sources for what the calls need and merges the answers.
 *
 * Calls with a small state over stored measurements are answered as states; everything else reads rows. A transformation
 * over windows also needs windows before the range, so requests are made per such lookback.
 */
import type { FieldType } from '../../shards/column.ts';
import {
  type RowColumn,
  type SelectRequest,
  type ShardSelect,
  STATE_FUNCTIONS,
  type StateCall,
  type StateFunction,
} from '../../shards/query/partial.ts';
import { type Windows, windowStart } from '../../shards/query/windows.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression } from '../influxql/ast.ts';
import { mainTurns } from '../turns.ts';
import { type Call, lookbackOf, typeOf } from './calls.ts';
import { type CellGrid, mergeStates } from './cells.ts';
import { tagPart } from './condition.ts';
import { gridOf } from './grid.ts';
import { both } from './group-condition.ts';
import type { Group } from './groups.ts';
import { Held } from './held.ts';
import { bucketsMax, extentOf, type PlannedSource, type SelectPlan, withWindows } from './plan.ts';
import { canSettle, isByRange, selectByRange } from './ranges.ts';
import { mergeRows, type RowGroup, type RowTable, type SubqueryRows } from './row-table.ts';
import { partialLimits, type StatementContext, selectOn } from './scatter.ts';
import { subqueryRows } from './subquery-rows.ts';
import { intersect } from './time-range.ts';

type Reference = Extract<Expression, { kind: 'reference' }>;

/** The range that calls with the same lookback read. */
export interface Span {
  readonly minNs: bigint | null;
  readonly maxNs: bigint | null;
  /** Of the range. */
  readonly windows: Windows | null;
  /** As many of them are before the plan's range. */
  readonly lookback: number;
}

/** What was read for the calls of one span. */
export interface SpanData {
  readonly span: Span;
  /** Those of the span and of all rows: subqueries give rows of windows that begin before the range. */
  readonly windows: Windows | null;
  /** null: no call has a state. */
  readonly states: CellGrid | null;
  /** Index of a call's state, by call key. */
  readonly stateIndex: ReadonlyMap<string, number>;
  readonly rows: readonly RowGroup[];
  readonly table: RowTable;
  /** Index of a column in the rows, by `columnKey`. */
  readonly columnIndex: ReadonlyMap<string, number>;
}

const NO_ROWS: RowTable = { times: new BigInt64Array(0), columns: [] };

export function columnKey(reference: Reference): string {
  return `${reference.name}\0${reference.cast ?? ''}`;
}

/** Innermost call over a column, below transformations and count(distinct()). */
export function baseCall(call: Call): Call {
  return call.input.kind === 'call' ? baseCall(call.input.call) : call;
}

export function spanOf(plan: SelectPlan, lookback: number, context: StatementContext): Span {
  const { interval, range } = plan;
  if (interval === null || plan.windows === null || lookback === 0)
    return { minNs: range.minNs, maxNs: range.maxNs, windows: plan.windows, lookback: 0 };
  const shifted = withWindows(range, BigInt(lookback) * interval.durationNs, plan.descending);
  const extent = extentOf(plan.sources);
  const minNs = shifted.minNs ?? extent?.minNs ?? 0n;
  const maxNs = shifted.maxNs ?? extent?.maxNs ?? 0n;
  const windows = gridOf(interval, minNs, maxNs, bucketsMax(plan.fill, context) + lookback);
  return { ...shifted, windows, lookback };
}

/** The span's windows, and those before and behind them up to all rows. */
function windowsOver(
  plan: SelectPlan,
  { windows, lookback }: Span,
  { rows, table: { times } }: RawRows,
  context: StatementContext,
): Windows | null {
  if (windows === null || plan.interval === null || plan.sources.every(({ kind }) => kind === 'shards')) return windows;
  const [startNs, endNs] = [windowStart(windows, 0), windowStart(windows, windows.count)];
  let [minNs, maxNs] = [startNs, endNs - 1n];
  for (const { rows: own } of rows) {
    if (own.length === 0) continue;
    const ends = [times[own[0]!]!, times[own.at(-1)!]!];
    for (const time of ends) {
      if (time < minNs) minNs = time;
      if (time > maxNs) maxNs = time;
    }
  }
  if (minNs >= startNs && maxNs < endNs) return windows;
  return gridOf(plan.interval, minNs, maxNs, bucketsMax(plan.fill, context) + lookback);
}

/** Reads for all calls of the plan whose base is a known column; keyed by lookback. */
export async function readCalls(
  plan: SelectPlan,
  calls: readonly Call[],
  dimensions: readonly string[],
  context: StatementContext,
): Promise<Map<number, SpanData>> {
  const byLookback = new Map<number, Call[]>();
  for (const call of calls) {
    const lookback = plan.interval === null ? 0 : lookbackOf(call);
    const list = byLookback.get(lookback);
    if (list === undefined) byLookback.set(lookback, [call]);
    else list.push(call);
  }
  const data = new Map<number, SpanData>();
  for (const [lookback, list] of byLookback)
    data.set(lookback, await readSpan(plan, spanOf(plan, lookback, context), list, dimensions, context));
  return data;
}

/** What calls need of the shards. */
export interface CallNeeds {
  readonly wanted: Wanted;
  readonly stateIndex: ReadonlyMap<string, number>;
  /** Columns of the rows that are needed as they are. */
  readonly references: readonly Reference[];
}

export function needsOf(plan: SelectPlan, calls: readonly Call[]): CallNeeds {
  const states: StateCall[] = [];
  const stateIndex = new Map<string, number>();
  const references: Reference[] = [];
  const overShards = plan.sources.every((source) => source.kind === 'shards');
  for (const call of calls) {
    const base = baseCall(call);
    const { reference } = base.input as { reference: Reference };
    const type = typeOf(reference, plan.schema)!;
    // A group without time has one window for the whole range; rows of a transformation are no window.
    const hasState = (STATE_FUNCTIONS as readonly string[]).includes(base.name) && reference.cast !== 'tag';
    if (overShards && hasState) {
      const same = states.findIndex(
        (state) => state.fn === base.name && state.field === reference.name && state.type === type,
      );
      stateIndex.set(base.key, same < 0 ? states.length : same);
      if (same < 0) states.push({ fn: base.name as StateFunction, field: reference.name, type });
    } else references.push(reference, ...base.tags);
  }
  const further = plan.selector ? plan.references : [];
  const aux = states.length > 0 ? columnsOf(plan, further) : [];
  if (references.length > 0) references.push(...further);
  const wanted = { states, aux, columns: columnsOf(plan, references), perGroup: null };
  return { wanted, stateIndex, references };
}

async function readSpan(
  plan: SelectPlan,
  span: Span,
  calls: readonly Call[],
  dimensions: readonly string[],
  context: StatementContext,
): Promise<SpanData> {
  const { wanted, stateIndex, references } = needsOf(plan, calls);
  if (references.length === 0 && calls.every((call) => call.input.kind === 'column')) {
    const part = context.needsAllWindows ? null : limitedSpan(plan, span);
    if (part !== null) {
      const { states: grid } = await readRows(plan, part, wanted, dimensions, context);
      if (grid !== null && hasEnough(grid, plan)) return statesOnly(span, grid, stateIndex);
    }
  }
  const rows = await readRows(plan, span, wanted, dimensions, context);
  const windows = windowsOver(plan, span, rows, context);
  return { span, windows, stateIndex, ...rows, columnIndex: indexOf(references) };
}

export function statesOnly(span: Span, states: CellGrid, stateIndex: CallNeeds['stateIndex']): SpanData {
  return { span, windows: span.windows, states, stateIndex, rows: [], table: NO_ROWS, columnIndex: new Map() };
}

/**
 * With LIMIT and windows: the part of the range that holds the windows which can be answered, if that can be told before
 * reading; null when not.
 *
 * Points are counted from one end of the range (ORDER BY). With fill(none) they are the windows with rows; else every
 * window is one, in groups that have rows anywhere. So the first LIMIT + OFFSET windows are enough for the groups of
 * which `hasEnough` finds the rows there. Not so when a window's value depends on windows behind it (linear), and when
 * the range has no beginning: windows are then filled from the group's first row on.
 */
export function limitedSpan(plan: SelectPlan, span: Span): Span | null {
  const { windows } = span;
  const wanted = plan.limit + plan.offset;
  if (plan.limit === 0 || windows === null || span.minNs === null || plan.fill.kind === 'linear') return null;
  if (wanted >= windows.count) return null;
  if (plan.descending) {
    const startNs = windowStart(windows, windows.count - wanted);
    return { ...span, minNs: startNs > span.minNs ? startNs : span.minNs };
  }
  const lastNs = windowStart(windows, wanted) - 1n;
  return { ...span, maxNs: span.maxNs !== null && span.maxNs < lastNs ? span.maxNs : lastNs };
}

/**
 * Every group has the points that it can answer: all of them with fill(none), one of each call otherwise (that it has
 * rows is what fills its windows). All shards were asked, those outside of the part as well: they name the groups that
 * exist by other rows only, which then are found to lack points, and the whole range is read.
 */
export function hasEnough(grid: CellGrid, plan: SelectPlan): boolean {
  const width = grid.windows.length;
  const wanted = plan.fill.kind === 'none' ? plan.limit + plan.offset : 1;
  return grid.calls.every(({ count }) =>
    grid.groups.every((_, g) => {
      let points = 0;
      for (let w = 0; w < width && points < wanted; w++) if (count[g * width + w]! > 0) points++;
      return points >= wanted;
    }),
  );
}

/** Rows of a raw query. */
export interface RawRows {
  readonly table: RowTable;
  readonly rows: readonly RowGroup[];
}

/** `bytes`: of texts and integers in them (held.ts). */
export async function readRaw(
  plan: SelectPlan,
  dimensions: readonly string[],
  context: StatementContext,
): Promise<RawRows & { readonly bytes: number }> {
  const { wanted, span } = rawNeeds(plan);
  return readRows(plan, span, wanted, dimensions, context);
}

export function rawNeeds(plan: SelectPlan): { wanted: Wanted; span: Span } {
  const perGroup = plan.limit > 0 ? plan.limit + plan.offset : null;
  const columns = columnsOf(plan, plan.references);
  return {
    wanted: { states: [], aux: [], columns, perGroup },
    span: { minNs: plan.range.minNs, maxNs: plan.range.maxNs, windows: null, lookback: 0 },
  };
}

function sorted(references: readonly Reference[]): Reference[] {
  const unique = new Map(references.map((reference) => [columnKey(reference), reference]));
  return [...unique.values()].sort((a, b) => (columnKey(a) < columnKey(b) ? -1 : 1));
}

/** Places of columns in the rows, by `columnKey`. */
export function indexOf(references: readonly Reference[]): Map<string, number> {
  return new Map(sorted(references).map((reference, i) => [columnKey(reference), i]));
}

/** Sorted by name: InfluxDB orders rows of equal time by their strings in this order. */
function columnsOf(plan: SelectPlan, references: readonly Reference[]): RowColumn[] {
  return sorted(references).map((reference) => {
    const isTag =
      reference.cast === 'tag' || (reference.cast === undefined && plan.schema.kindOf(reference.name) !== 'field');
    if (isTag) return { kind: 'tag', name: reference.name };
    return { kind: 'field', name: reference.name, type: (typeOf(reference, plan.schema) ?? 0) as FieldType };
  });
}

export interface Wanted {
  readonly states: readonly StateCall[];
  readonly aux: readonly RowColumn[];
  readonly columns: readonly RowColumn[];
  readonly perGroup: number | null;
}

async function readRows(
  plan: SelectPlan,
  span: Span,
  wanted: Wanted,
  dimensions: readonly string[],
  context: StatementContext,
): Promise<{ states: CellGrid | null; rows: RowGroup[]; table: RowTable; bytes: number }> {
  let states: CellGrid | null = null;
  const shardSources = plan.sources.filter((source) => source.kind === 'shards');
  const requests = shardSources.map((source) => ({
    source,
    request: selectRequest(plan, span, wanted, dimensions, source, context),
  }));
  const asked = requests.filter(({ source }) => source.measurements.length > 0);
  const ask = ({ source, request }: (typeof requests)[number]) => selectOn(context, source.targets, request);
  const [first] = asked;
  const shards =
    first !== undefined && plan.sources.length === 1 && isByRange(first.request)
      ? await selectByRange(context, first.source.targets, first.request, canSettle(first.request, limitsSeries(plan)))
      : asked.length === 1
        ? await ask(first!)
        : (await Promise.all(asked.map(ask))).flat();
  const held = new Held(context.limits);
  held.add(shards);
  held.require();
  if (requests.length > 0 && wanted.states.length > 0) {
    // Groups of all sources: what tells those of one measurement apart may not tell these.
    const request = { ...requests[0]!.request, measurements: asked.flatMap(({ source }) => source.measurements) };
    states = await mainTurns.of(mergeStates(shards, request, context.limits.cellsMax), context.ending);
  }
  if (wanted.columns.length === 0) return { states, rows: [], table: NO_ROWS, bytes: 0 };
  const subqueries: SubqueryRows[] = [];
  for (const source of plan.sources)
    if (source.kind === 'subquery') {
      const inner = source.plans.get(span.lookback)!;
      const rows = await subqueryRows(plan, inner, wanted.columns, dimensions, context);
      held.addSubqueries(rows);
      held.require();
      subqueries.push(...rows);
    }
  const merging = rowsOf(plan, shards, subqueries, wanted, dimensions, context);
  const { rows, table } = await mainTurns.of(merging, context.ending);
  return { states, rows, table, bytes: held.bytes };
}

/** Rows of all sources, group by group; in short steps. */
export function* rowsOf(
  plan: SelectPlan,
  shards: readonly ShardSelect[],
  subqueries: readonly SubqueryRows[],
  { columns }: Wanted,
  dimensions: readonly string[],
  context: StatementContext,
): Steps<{ rows: RowGroup[]; table: RowTable }> {
  const held = new Held(context.limits);
  held.add(shards);
  held.addSubqueries(subqueries);
  held.require();
  const { descending } = plan;
  const options = { dimensions, descending, emptyGroups: limitsSeries(plan) };
  const { table, groups } = yield* mergeRows(shards, subqueries, columns.length, options);
  return { rows: limitSeries(groups, plan), table };
}

export function selectRequest(
  plan: SelectPlan,
  span: Span,
  wanted: Wanted,
  dimensions: readonly string[],
  source: Extract<PlannedSource, { kind: 'shards' }>,
  context: StatementContext,
): SelectRequest {
  const tags = plan.filter === null ? null : tagPart(plan.filter);
  const { minNs, maxNs } = intersect(span, plan.readable);
  return {
    kind: 'select',
    planned: source.planned,
    measurements: source.measurements,
    minNs: minNs ?? TIME_MIN_NS,
    maxNs: maxNs ?? TIME_MAX_NS,
    condition: both(tags?.condition ?? null, plan.groups),
    filter: tags === null || tags.exact ? null : plan.filter,
    dimensions,
    windows: span.windows,
    states: wanted.states,
    aux: wanted.aux,
    rows: wanted.columns.length === 0 ? null : { columns: wanted.columns, perGroup: wanted.perGroup },
    descending: plan.descending,
    limits: partialLimits(context.limits),
  };
}

export function limitsSeries({ seriesLimit, seriesOffset }: SelectPlan): boolean {
  return seriesLimit > 0 || seriesOffset > 0;
}

/** SLIMIT and SOFFSET pick groups per measurement, as InfluxDB does. */
export function limitSeries<T extends { readonly group: Group }>(items: T[], plan: SelectPlan): T[] {
  if (!limitsSeries(plan)) return items;
  const { seriesLimit, seriesOffset } = plan;
  const keyed = items.map((item) => ({ item, key: item.group.countedKey }));
  const ordered = keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ item }) => item);
  const seen = new Map<string, number>();
  return ordered.filter(({ group }) => {
    const index = seen.get(group.name) ?? 0;
    seen.set(group.name, index + 1);
    return index >= seriesOffset && (seriesLimit === 0 || index < seriesOffset + seriesLimit);
  });
}
