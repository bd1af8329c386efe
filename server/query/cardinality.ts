/**
 * SHOW ... CARDINALITY. Exact ones count what the other SHOW statements list. How many series a whole database has is estimated
 * from sketches of its shards, which name no series (shards/query/sketch.ts), unless they are few. A series that is in several shards, or whose shards
 * are on several nodes, counts once either way.
 */

import { estimateOf, mergeSketch, SKETCH_BYTES } from '../../shards/query/sketch.ts';
import { parseSeriesKey } from '../../shards/series-key.ts';
import { compileTagCondition } from '../../shards/tag-matcher.ts';
import type { Statement } from '../influxql/ast.ts';
import { Group, sortGroups } from './groups.ts';
import { QueryError } from './query-error.ts';
import type { ResultSeries } from './result.ts';
import { dimensionNames } from './rewrite.ts';
import { partialLimits, runOn, type StatementContext } from './scatter.ts';
import { fieldsOf, keyCondition, list, mentionsTime, type Reach, reachOf, readPair, schemaOn } from './show.ts';

type ShowCardinality = Extract<Statement, { kind: 'show-cardinality' }>;

/** As InfluxDB names the statements in its errors. */
const TITLES: Readonly<Record<ShowCardinality['of'], string>> = {
  series: 'SERIES EXACT',
  measurement: 'MEASUREMENT EXACT',
  'tag-key': 'TAG KEY EXACT',
  'tag-values': 'TAG VALUES EXACT',
  'field-key': 'FIELD KEY',
};

/** Of so few series an error of one is seen, and naming them costs little. */
const COUNTED_BELOW = 1_000;

export async function showCardinality(statement: ShowCardinality, context: StatementContext): Promise<ResultSeries[]> {
  if (isEstimated(statement)) return [await estimated(statement, context)];
  // Of tag values InfluxDB says nothing of it.
  if (statement.of !== 'tag-values' && mentionsTime(statement.condition))
    throw new QueryError(`SHOW ${TITLES[statement.of]} CARDINALITY doesn't support time in WHERE clause`);
  if (statement.dimensions.some(({ kind }) => kind === 'time' || kind === 'invalid'))
    throw new QueryError(`SHOW ${TITLES[statement.of]} CARDINALITY supports tags only in GROUP BY clause`);
  // Each group has one row.
  if ((statement.offset ?? 0) > 0) return [];
  const reach = reachOf(statement, context);
  return statement.dimensions.length === 0
    ? counted(statement, reach, context)
    : countedByTags(statement, reach, context);
}

/** Of a whole database; whatever narrows it is counted exactly. */
function isEstimated({ of, exact, sources, condition, dimensions, limit, offset }: ShowCardinality): boolean {
  if (exact || (of !== 'series' && of !== 'measurement')) return false;
  return sources === undefined && condition === undefined && dimensions.length === 0 && !limit && !offset;
}

/** Of a database that there is not InfluxDB says 0. */
async function estimated(statement: ShowCardinality, context: StatementContext): Promise<ResultSeries> {
  const name = statement.database ?? context.database;
  const isThere = !name || context.backend.snapshot().databases.some((database) => database.name === name);
  const count = isThere ? await estimatedCount(statement, reachOf(statement, context), context) : 0;
  return { columns: ['cardinality estimation'], timeColumn: -1, values: [[count]] };
}

async function estimatedCount({ of }: ShowCardinality, reach: Reach, context: StatementContext): Promise<number> {
  if (of === 'series') return estimatedSeries(reach, context);
  return (await list(reach.targets, listing('measurements', reach), context)).size;
}

async function estimatedSeries(reach: Reach, context: StatementContext): Promise<number> {
  const sketch = new Uint8Array(SKETCH_BYTES);
  const { targets, measurements, condition, filter } = reach;
  const request = {
    kind: 'cardinality',
    measurements,
    condition,
    filter,
    limits: partialLimits(context.limits),
  } as const;
  for (const result of await runOn(context, targets, request))
    if (result.kind === 'cardinality') mergeSketch(sketch, result.sketch);
  const estimate = estimateOf(sketch);
  if (estimate >= COUNTED_BELOW) return estimate;
  let count = 0;
  for (const keys of (await list(targets, listing('series', reach), context)).values()) count += keys.size;
  return count;
}

async function counted(
  { of, withKey }: ShowCardinality,
  reach: Reach,
  context: StatementContext,
): Promise<ResultSeries[]> {
  switch (of) {
    case 'measurement':
      return [countOf(undefined, (await list(reach.targets, listing('measurements', reach), context)).size)].filter(
        isSome,
      );
    case 'series':
      return perMeasurement(await list(reach.targets, listing('series', reach), context), (keys) => keys.size);
    case 'tag-key':
      return perMeasurement(await list(reach.targets, listing('tag-keys', reach), context), (keys) => keys.size);
    case 'tag-values': {
      const request = { ...listing('tag-values', reach), tagKeys: keyCondition(withKey!) };
      // The same value of two keys is one.
      return perMeasurement(
        await list(reach.targets, request, context),
        (pairs) => new Set([...pairs].map((pair) => readPair(pair)[1])).size,
      );
    }
    case 'field-key': {
      const fields = await fieldsOf(reach, context);
      if (reach.condition === null && reach.filter === null) return perMeasurement(fields, ({ size }) => size);
      const matching = await list(reach.targets, listing('measurements', reach), context);
      return perMeasurement(fields, ({ size }, name) => (matching.has(name) ? size : 0));
    }
  }
}

function listing<W extends string>(what: W, { measurements, condition, filter }: Reach) {
  return { what, measurements, condition, filter, tagKeys: null };
}

const isSome = ({ values }: ResultSeries): boolean => values.length > 0;

/** Without a row where there is nothing. */
function countOf(name: string | undefined, count: number, tags?: ResultSeries['tags']): ResultSeries {
  return {
    ...(name === undefined ? {} : { name }),
    ...(tags === undefined ? {} : { tags }),
    columns: ['count'],
    timeColumn: -1,
    values: count === 0 ? [] : [[count]],
  };
}

function perMeasurement<T>(found: ReadonlyMap<string, T>, count: (items: T, name: string) => number): ResultSeries[] {
  return [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, items]) => countOf(name, count(items, name)))
    .filter(isSome);
}

/** What is counted of each series goes to its group. */
async function countedByTags(
  statement: ShowCardinality,
  reach: Reach,
  context: StatementContext,
): Promise<ResultSeries[]> {
  const { of, dimensions, withKey } = statement;
  const keys = await list(reach.targets, listing('series', reach), context);
  const fields = of === 'field-key' ? await fieldsOf(reach, context) : null;
  const isWanted = withKey === undefined ? null : compileTagCondition(keyCondition(withKey));
  const series = [...keys].flatMap(([name, of]) =>
    [...of].map((key) => ({ name, key, tags: parseSeriesKey(key).tags })),
  );
  // `*` is all tags of the measurements, also those that no series has that matches.
  const names = dimensionNames(dimensions, await schemaOn(reach, context));
  const itemsOf = ({ name, key, tags }: (typeof series)[number]): Iterable<string> => {
    switch (of) {
      case 'series':
        return [key];
      case 'measurement':
        return [name];
      case 'tag-key':
        return tags.map((tag) => tag.key);
      case 'tag-values':
        return tags.filter((tag) => isWanted!(name, [{ key: '_tagKey', value: tag.key }])).map((tag) => tag.value);
      case 'field-key':
        return fields!.get(name)?.keys() ?? [];
    }
  };
  const groups = new Map<string, { readonly group: Group; readonly items: Set<string> }>();
  for (const { name, key, tags } of series) {
    const values = names.map((wanted) => [tags.find((tag) => tag.key === wanted)?.value ?? '']);
    // Of measurements the count has no name.
    const group = new Group(of === 'measurement' ? '' : name, names, values, 0);
    let counted = groups.get(group.key);
    if (counted === undefined) {
      counted = { group, items: new Set() };
      groups.set(group.key, counted);
    }
    for (const item of itemsOf({ name, key, tags })) counted.items.add(item);
  }
  return sortGroups([...groups.values()], false)
    .map(({ group, items }) => countOf(group.name === '' ? undefined : group.name, items.size, group.tags))
    .filter(isSome);
}
