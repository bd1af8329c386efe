/**
 * EXPLAIN: what a SELECT would read, and in which form the shards hand it over, without reading rows.
 *
 * InfluxDB's lines as far as they mean something here: there are no files and blocks that belong to one statement, but there are
 * members that are asked, and two forms of what they hand over. All functions of a SELECT are read in one request, so they
 * share a block; a source that is read by itself has one of its own, and so have subqueries.
 */
import type { Expression, SelectStatement } from '../influxql/ast.ts';
import { printExpression } from '../influxql/printer.ts';
import { typeOf, withTypes } from './calls.ts';
import { tagPart } from './condition.ts';
import { needsOf, rawNeeds, type Wanted } from './data.ts';
import { type PlannedSource, planSelect, type SelectPlan } from './plan.ts';
import type { ResultSeries } from './result.ts';
import { partialLimits, runOn, type StatementContext } from './scatter.ts';
import { knownCalls } from './select.ts';

type ShardSource = Extract<PlannedSource, { kind: 'shards' }>;

export async function explain(select: SelectStatement, context: StatementContext): Promise<ResultSeries[]> {
  const blocks = await blocksOf(await planSelect(select, context), context);
  const lines = blocks.flatMap((block, i) => (i === 0 ? block : ['', ...block]));
  return [{ columns: ['QUERY PLAN'], timeColumn: -1, values: lines.map((line) => [line]) }];
}

async function blocksOf(plan: SelectPlan, context: StatementContext): Promise<string[][]> {
  const blocks: string[][] = [];
  for (const source of plan.sources)
    if (source.kind === 'subquery')
      for (const inner of source.plans.values()) blocks.push(...(await blocksOf(inner, context)));
    else blocks.push(await blockOf(plan, source, context));
  return blocks;
}

async function blockOf(plan: SelectPlan, source: ShardSource, context: StatementContext): Promise<string[]> {
  const { schema } = plan;
  const calls = knownCalls(plan);
  const typed = (expression: Expression): string => printExpression(withTypes(expression, schema));
  const expressions = calls.map((call) => `EXPRESSION: ${typed(call.expression)}`);
  const named = plan.references.filter((reference) => typeOf(reference, schema) !== null);
  const { wanted } = plan.calls.length === 0 ? rawNeeds(plan) : needsOf(plan, calls);
  const places = context.backend.placesOf(source.targets);
  return [
    ...(plan.calls.length === 0 ? ['EXPRESSION: <nil>'] : expressions),
    ...(named.length === 0 ? [] : [`AUXILIARY FIELDS: ${named.map(typed).join(', ')}`]),
    `MEASUREMENTS: ${source.measurements.join(', ')}`,
    `PARTIAL FORM: ${formOf(wanted)}`,
    `NUMBER OF SHARDS: ${source.targets.length}`,
    `NUMBER OF SERIES: ${await seriesIn(plan, source, context)}`,
    `NODES: ${places.map(({ member, shards }) => `${member} (${shards})`).join(', ')}`,
  ];
}

function formOf({ states, columns }: Wanted): string {
  const parts = [...(states.length > 0 ? ['states'] : []), ...(columns.length > 0 ? ['rows'] : [])];
  return parts.length === 0 ? 'nothing' : parts.join(' and ');
}

/** Those that match by their tags, each counted in every shard that it is in, as InfluxDB does. */
async function seriesIn(
  plan: SelectPlan,
  { targets, measurements }: ShardSource,
  context: StatementContext,
): Promise<number> {
  const condition = plan.filter === null ? null : tagPart(plan.filter).condition;
  const limits = partialLimits(context.limits);
  const request = {
    kind: 'cardinality',
    measurements: { names: measurements },
    condition,
    filter: null,
    limits,
  } as const;
  const results = await runOn(context, targets, request);
  return results
    .flatMap((result) => (result.kind === 'cardinality' ? result.shards : []))
    .reduce((sum, shard) => sum + shard.series, 0);
}
