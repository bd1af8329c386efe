/**
 * First step of a SELECT: what it reads, in which windows, and what has to be computed.
 *
 * Names become fields or tags by the schema of the shards in the range; wildcards are expanded; the condition is split
 * into time range and row filter; each function that needs data becomes a call. Subqueries are planned the same way and
 * act as sources whose columns are their fields and whose tags are their dimensions.
 */
import type { RowFilter } from '../../shards/query/filter.ts';
import type { MeasurementPick, PlannedSchemas } from '../../shards/query/partial.ts';
import type { Windows } from '../../shards/query/windows.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Expression, Fill, SelectStatement } from '../influxql/ast.ts';
import type { ShardTarget } from './backend.ts';
import { type Call, callsOf, isOfTags, lookbackOf, readBackOf, typeOf } from './calls.ts';
import { rowFilter } from './condition.ts';
import { gridOf, type Interval } from './grid.ts';
import { QueryError } from './query-error.ts';
import { findDatabase, findPolicy, type StatementContext } from './scatter.ts';
import { SourceSchema, typeByName } from './schema.ts';
import { hasCalls, requireValid, type SelectShape, shapeOf } from './select-shape.ts';
import { intersect, splitCondition, type TimeRange, timeValue } from './time-range.ts';
import { zoneOffset } from './time-zone.ts';
import { isForecast } from './transformations.ts';

export type PlannedSource =
  | {
      readonly kind: 'shards';
      readonly targets: readonly ShardTarget[];
      readonly measurements: readonly string[];
      /** Schemas from memory, which each shard is to confirm. */
      readonly planned: PlannedSchemas | null;
    }
  /** By the windows before the range that calls look back to, which are a longer range for the subquery. */
  | { readonly kind: 'subquery'; readonly plans: ReadonlyMap<number, SelectPlan> };

export interface SelectPlan extends SelectShape {
  readonly sources: readonly PlannedSource[];
  readonly schema: SourceSchema;
  readonly range: TimeRange;
  /** Outside of it shards are not read, however far calls look back. */
  readonly readable: TimeRange;
  readonly interval: Interval | null;
  /** Windows of the whole range; null without interval, or when nothing can be in range. */
  readonly windows: Windows | null;
  readonly filter: RowFilter | null;
  /** Which of its groups are read; null: all. */
  readonly groups: TagCondition | null;
  readonly fill: Fill;
  readonly descending: boolean;
  readonly limit: number;
  readonly offset: number;
  readonly seriesLimit: number;
  readonly seriesOffset: number;
}

/** What a subquery takes over from the query around it. */
export interface Scope {
  readonly range: TimeRange;
  /** As in InfluxDB, what the outermost query reads; null: this is the one. */
  readonly readable: TimeRange | null;
  readonly intervalNs: { readonly durationNs: bigint; readonly offset: Expression | undefined } | null;
  readonly descending: boolean | null;
  readonly depth: number;
  /** Of the statement; null: this is the outermost query. */
  readonly subqueries: { planned: number } | null;
}

export const OUTERMOST: Scope = {
  range: { minNs: null, maxNs: null },
  readable: null,
  intervalNs: null,
  descending: null,
  depth: 0,
  subqueries: null,
};

/**
 * A subquery is planned, and read, for each number of windows that functions around it look back, and so are those in it:
 * with three such functions at each of sixteen levels that would be 43 million.
 */
const SUBQUERIES_MAX = 2_000;

/** A plan needs schemas that nobody remembers. */
class SchemaUnknown extends Error {
  readonly targets: readonly ShardTarget[];
  readonly pick: MeasurementPick;

  constructor(targets: readonly ShardTarget[], pick: MeasurementPick) {
    super('a schema has to be asked for');
    this.targets = targets;
    this.pick = pick;
  }
}

/** The plan of a statement; what is not remembered is asked for. */
export async function planSelect(statement: SelectStatement, context: StatementContext): Promise<SelectPlan> {
  for (;;) {
    try {
      return planNow(statement, OUTERMOST, context);
    } catch (error) {
      if (!(error instanceof SchemaUnknown)) throw error;
      await context.planning.ask(context, error.targets, error.pick);
    }
  }
}

/** Planned from memory first; what was not confirmed by the shards is planned again from what they say. */
export async function confirmed<T>(
  statement: SelectStatement,
  plan: SelectPlan | null,
  context: StatementContext,
  run: (plan: SelectPlan, context: StatementContext) => Promise<T>,
): Promise<T> {
  const { planning } = context;
  try {
    const answer = await run(plan ?? (await planSelect(statement, context)), context);
    if (planning.isConfirmed) return answer;
  } catch (error) {
    if (planning.isConfirmed) throw error;
  }
  context.tally.clear();
  const again = { ...context, planning: planning.again() };
  return run(await planSelect(statement, again), again);
}

/** Throws SchemaUnknown as well as QueryError. */
export function planNow(statement: SelectStatement, scope: Scope, context: StatementContext): SelectPlan {
  if (scope.depth > context.limits.nestingMax)
    throw new QueryError(`subqueries nest deeper than ${context.limits.nestingMax}`);
  if (scope.depth === 0) {
    requireValid(statement);
  }
  // Not that of the query around it, as in InfluxDB.
  const zone = zoneOffset(statement.timeZone);
  const { range: ownRange, rest } = splitCondition(statement.condition, context.nowNs, zone);
  let range = intersect(scope.range, ownRange);
  const grouping = statement.dimensions.find((dimension) => dimension.kind === 'time');
  // time(0s) is none, with an offset as well.
  if (grouping?.kind === 'time' && grouping.intervalNs < 0n)
    throw new QueryError('time dimension must not be negative');
  const isGrouped = grouping?.kind === 'time' && grouping.intervalNs !== 0n;
  const grouped = isGrouped ? { durationNs: grouping.intervalNs, offset: grouping.offset } : null;
  const spacing = grouped ?? (hasCalls(statement) ? scope.intervalNs : null);
  const interval: Interval | null =
    spacing === null
      ? null
      : {
          durationNs: spacing.durationNs,
          offsetNs:
            (spacing.offset === undefined ? 0n : (timeValue(spacing.offset, context.nowNs, zone) ?? 0n)) %
            spacing.durationNs,
          zone,
        };
  if (interval !== null && range.maxNs === null) range = { minNs: range.minNs, maxNs: context.nowNs };
  const descending = scope.descending ?? statement.descending;
  const spacingNs = spacing?.durationNs ?? 0n;
  const calls = spacing === null ? [] : statement.fields.flatMap(({ expression }) => callsOf(expression));
  const readable = scope.readable ?? withWindows(range, most(calls, readBackOf) * spacingNs, descending);
  const read = intersect(readable, withWindows(range, most(calls, lookbackOf) * spacingNs, descending));
  const subqueries = scope.subqueries ?? { planned: 0 };
  const inner = (lookback: number): Scope => ({
    range: withWindows(range, BigInt(lookback) * spacingNs, descending),
    readable,
    // Through a query without functions, too.
    intervalNs: grouped ?? scope.intervalNs,
    descending,
    depth: scope.depth + 1,
    subqueries,
  });
  let schema = new SourceSchema();
  const sources: PlannedSource[] = [];
  for (const source of statement.sources) {
    if (source.kind === 'subquery') {
      const lookbacks = new Set(calls.length === 0 ? [0] : calls.map(lookbackOf));
      subqueries.planned += lookbacks.size;
      if (subqueries.planned > SUBQUERIES_MAX)
        throw new QueryError(
          `more than ${SUBQUERIES_MAX} subqueries, each counted as often as functions around it look back`,
        );
      const plans = new Map([...lookbacks].map((back) => [back, planNow(source.select, inner(back), context)]));
      for (const plan of plans.values()) addSubquerySchema(schema, plan);
      sources.push({ kind: 'subquery', plans });
    } else {
      const database = findDatabase(context.backend.snapshot(), source.database ?? context.database);
      // The request's policy belongs to the request's database.
      const policyName =
        source.retentionPolicy ?? (source.database === undefined ? context.retentionPolicy : undefined);
      const policy = findPolicy(database, policyName);
      const targets = targetsOf(context, database, policy, read);
      const pick: MeasurementPick = source.regex !== undefined ? { regex: source.regex } : { names: [source.name!] };
      const schemas = context.planning.recall(targets, pick);
      if (schemas === null) throw new SchemaUnknown(targets, pick);
      const { source: measured, planned } = schemas;
      if (statement.sources.length === 1) schema = measured.schema;
      else schema.addAll(measured.schema);
      addShardSource(sources, targets, measured.measurements, planned);
    }
  }
  const shape = shapeOf(statement, schema);
  for (const call of shape.calls) requireFewToCome(call, context);
  // Empty windows of a subquery are filled with something or not at all, as in InfluxDB, and none is written.
  const isWritten = scope.depth === 0 && statement.into !== undefined;
  const isNull = statement.fill === undefined || statement.fill.kind === 'null';
  const fill: Fill = isNull ? { kind: isWritten || scope.depth > 0 ? 'none' : 'null' } : statement.fill;
  // Named one by one, as in all that each query passes: behind a spread every member costs a call into the runtime.
  return {
    fields: shape.fields,
    columns: shape.columns,
    timeName: shape.timeName,
    calls: shape.calls,
    references: shape.references,
    selector: shape.selector,
    dimensions: shape.dimensions,
    sources,
    schema,
    range,
    readable,
    interval,
    windows: planWindows(interval, range, sources, shape.calls, fill, context),
    filter: rest === null ? null : rowFilter(rest, (name) => schema.kindOf(name) ?? 'tag'),
    groups: null,
    fill,
    descending,
    limit: statement.limit ?? 0,
    offset: statement.offset ?? 0,
    seriesLimit: statement.seriesLimit ?? 0,
    seriesOffset: statement.seriesOffset ?? 0,
  };
}

/** Points that a forecast makes, whatever is there. */
function requireFewToCome(call: Call, context: StatementContext): void {
  const { bucketsMax } = context.limits;
  if (isForecast(call) && call.parameter > bucketsMax)
    throw new QueryError(`max-select-buckets limit exceeded: (${call.parameter}/${bucketsMax})`);
  if (call.input.kind === 'call') requireFewToCome(call.input.call, context);
}

const most = (calls: readonly Call[], of: (call: Call) => number): bigint => BigInt(Math.max(0, ...calls.map(of)));

/** Longer at the end at which the query begins. */
export function withWindows({ minNs, maxNs }: TimeRange, moreNs: bigint, descending: boolean): TimeRange {
  if (descending) return { minNs, maxNs: maxNs === null ? null : maxNs + moreNs };
  return { minNs: minNs === null ? null : minNs - moreNs, maxNs };
}

export function targetsOf(
  context: StatementContext,
  database: ReturnType<typeof findDatabase>,
  policy: ReturnType<typeof findPolicy>,
  range: TimeRange,
): readonly ShardTarget[] {
  const minNs = range.minNs ?? TIME_MIN_NS;
  const maxNs = range.maxNs ?? TIME_MAX_NS;
  if (minNs > maxNs) return [];
  context.tally.addUnheard(context.backend.unheard(policy));
  return context.backend.targets(database, policy, minNs, maxNs);
}

/** The same measurement of the same shards, named twice, is read once. */
function addShardSource(
  sources: PlannedSource[],
  targets: readonly ShardTarget[],
  measurements: readonly string[],
  planned: PlannedSchemas | null,
): void {
  const first = targets[0]?.id;
  const fresh = measurements.filter(
    (name) =>
      !sources.some(
        (source) => source.kind === 'shards' && source.targets[0]?.id === first && source.measurements.includes(name),
      ),
  );
  if (fresh.length > 0) sources.push({ kind: 'shards', targets, measurements: fresh, planned });
}

function addSubquerySchema(schema: SourceSchema, plan: SelectPlan): void {
  plan.fields.forEach(({ expression, isImplied }, i) => {
    const cast = expression.kind === 'reference' ? expression.cast : undefined;
    // A column that is written with a type has it, whether or not there is anything.
    const type = typeOf(expression, plan.schema) ?? (cast === undefined ? null : typeByName(cast));
    const name = plan.columns[i]!;
    if (type === null) schema.untyped.add(name);
    else schema.addField(name, type);
    if (isImplied === true) schema.unlisted.add(name);
    else if (isOfTags(expression, plan.schema)) schema.tagColumns.add(name);
  });
  for (const dimension of plan.dimensions) {
    schema.tags.add(dimension);
    schema.dimensions.add(dimension);
  }
}

function planWindows(
  interval: Interval | null,
  range: TimeRange,
  sources: readonly PlannedSource[],
  calls: readonly Call[],
  fill: Fill,
  context: StatementContext,
): Windows | null {
  if (interval === null || calls.length === 0) return null;
  // Where nothing is stored no window can have a value, so an open range begins with the first shard.
  const extent = extentOf(sources);
  const minNs = range.minNs ?? extent?.minNs ?? null;
  const maxNs = range.maxNs ?? extent?.maxNs ?? null;
  if (minNs === null || maxNs === null) return null;
  if (minNs > maxNs) return null;
  return gridOf(interval, minNs, maxNs, bucketsMax(fill, context));
}

/** Without fill empty windows cost nothing outside of shards, which have their own limit. */
export function bucketsMax(fill: Fill, context: StatementContext): number {
  return fill.kind === 'none' ? Number.POSITIVE_INFINITY : context.limits.bucketsMax;
}

/** First and last nanosecond of the shards that are read. */
export function extentOf(sources: readonly PlannedSource[]): { minNs: bigint; maxNs: bigint } | null {
  let extent: { minNs: bigint; maxNs: bigint } | null = null;
  const widen = (minNs: bigint, maxNs: bigint): void => {
    extent =
      extent === null
        ? { minNs, maxNs }
        : { minNs: minNs < extent.minNs ? minNs : extent.minNs, maxNs: maxNs > extent.maxNs ? maxNs : extent.maxNs };
  };
  for (const source of sources) {
    if (source.kind === 'shards') for (const { key } of source.targets) widen(key.startNs, key.endNs - 1n);
    else
      for (const plan of source.plans.values()) {
        const inner = extentOf(plan.sources);
        if (inner !== null) widen(inner.minNs, inner.maxNs);
      }
  }
  return extent;
}
