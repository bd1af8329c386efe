/**
 * DELETE, DROP SERIES and DROP MEASUREMENT: all three delete rows by measurement, tags and time, in all shards of the
 * policies, whether they are known here or not. What is known decides only whether a condition is on tags.
 */
import type { DeletePredicate } from '../../shards/batch.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Expression, Statement } from '../influxql/ast.ts';
import type { ShardTarget } from './backend.ts';
import { rowFilter, tagPart } from './condition.ts';
import { targetsOf } from './plan.ts';
import { QueryError } from './query-error.ts';
import { findDatabase, findPolicy, type StatementContext } from './scatter.ts';
import { measurementSources, mentionsTime, schemaOn } from './show.ts';
import { splitCondition } from './time-range.ts';

type Measurement = DeletePredicate['measurement'];

export async function runDeletion(
  statement: Extract<Statement, { kind: 'delete' | 'drop-series' | 'drop-measurement' }>,
  context: StatementContext,
): Promise<void> {
  if (statement.kind === 'drop-measurement') {
    await deleteFrom(undefined, undefined, [{ name: statement.name }], undefined, context);
    return;
  }
  if (statement.kind === 'drop-series' && mentionsTime(statement.condition))
    throw new QueryError("DROP SERIES doesn't support time in WHERE clause");
  const sources = measurementSources(statement.sources);
  if (sources.length === 0) {
    await deleteFrom(undefined, undefined, [null], statement.condition, context);
    return;
  }
  for (const source of sources) {
    const measurement: Measurement = source.regex !== undefined ? { regex: source.regex } : { name: source.name! };
    await deleteFrom(source.database, source.retentionPolicy, [measurement], statement.condition, context);
  }
}

async function deleteFrom(
  databaseName: string | undefined,
  policyName: string | undefined,
  measurements: readonly Measurement[],
  where: Expression | undefined,
  context: StatementContext,
): Promise<void> {
  const database = findDatabase(context.backend.snapshot(), databaseName ?? context.database);
  const { range, rest } = splitCondition(where, context.nowNs, null);
  const policies = policyName === undefined ? database.retentionPolicies : [findPolicy(database, policyName)];
  for (const measurement of measurements) {
    const targets = policies.flatMap((policy) => targetsOf(context, database, policy, range));
    const condition = rest === null ? null : await onlyTags(rest, measurement, targets, context);
    const [minNs, maxNs] = [range.minNs ?? TIME_MIN_NS, range.maxNs ?? TIME_MAX_NS];
    if (minNs > maxNs) continue;
    // One after the other: the metadata hear of each policy once.
    for (const policy of policies)
      await context.backend.deleteRows(database, policy, { measurement, condition }, minNs, maxNs);
  }
}

/** A delete picks series, so its condition may only be on tags. */
async function onlyTags(
  rest: Expression,
  measurement: Measurement,
  targets: readonly ShardTarget[],
  context: StatementContext,
): Promise<TagCondition> {
  const measurements =
    measurement === null ? null : 'name' in measurement ? { names: [measurement.name] } : measurement;
  const schema = await schemaOn({ targets, measurements }, context);
  const part = tagPart(rowFilter(rest, (name) => schema.kindOf(name) ?? 'tag'));
  // InfluxDB says it per shard, and nothing where nothing is stored.
  if (!part.exact && targets.length > 0)
    throw new QueryError(`shard ${targets[0]!.key.number + 1}: fields not supported in WHERE clause during deletion`);
  return part.condition;
}
