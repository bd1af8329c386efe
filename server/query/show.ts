/**
 * SHOW statements: what is stored, in InfluxDB's shapes.
 */
import { FIELD_TYPE_NAMES } from '../../shards/column.ts';
import { cachedRegex, type RegexCache, type RowFilter } from '../../shards/query/filter.ts';
import { textBytes } from '../../shards/query/held-bytes.ts';
import type { CatalogRequest, MeasurementPick } from '../../shards/query/partial.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Expression, ShowClauses, Source, Statement, WithKey } from '../influxql/ast.ts';
import type { ShardTarget } from './backend.ts';
import { rowFilter, tagPart } from './condition.ts';
import { Held } from './held.ts';
import { targetsOf } from './plan.ts';
import { QueryError } from './query-error.ts';
import type { ResultSeries, Value } from './result.ts';
import { findDatabase, findPolicy, partialLimits, runOn, type StatementContext } from './scatter.ts';
import { SourceSchema } from './schema.ts';
import { isTime, splitCondition } from './time-range.ts';

type Show<K extends Statement['kind']> = Extract<Statement, { kind: K }>;

const table = (name: string | undefined, columns: string[], values: Value[][]): ResultSeries => ({
  ...(name === undefined ? {} : { name }),
  columns,
  timeColumn: -1,
  values,
});

function page<T>(items: readonly T[], limit: number | undefined, offset: number | undefined): readonly T[] {
  const from = offset ?? 0;
  return items.slice(from, limit === undefined || limit === 0 ? undefined : from + limit);
}

export function showDatabases(context: StatementContext): ResultSeries[] {
  const names = context.backend.snapshot().databases.map((database) => database.name);
  return [
    table(
      'databases',
      ['name'],
      names.sort().map((name) => [name]),
    ),
  ];
}

export function showRetentionPolicies(
  statement: Show<'show-retention-policies'>,
  context: StatementContext,
): ResultSeries[] {
  const database = findDatabase(context.backend.snapshot(), statement.database ?? context.database);
  const rows = database.retentionPolicies.map((policy): Value[] => [
    policy.name,
    goDuration(policy.durationNs),
    goDuration(policy.shardDurationNs),
    policy.replication,
    policy.name === database.defaultRetentionPolicy,
  ]);
  return [table(undefined, ['name', 'duration', 'shardGroupDuration', 'replicaN', 'default'], rows)];
}

/** Go's String() of a duration. */
export function goDuration(ns: bigint): string {
  if (ns === 0n) return '0s';
  const seconds = ns / 1_000_000_000n;
  if (seconds === 0n) {
    if (ns >= 1_000_000n) return `${Number(ns) / 1e6}ms`;
    return ns >= 1000n ? `${Number(ns) / 1e3}µs` : `${ns}ns`;
  }
  const fraction = ns % 1_000_000_000n;
  const rest = fraction === 0n ? '' : `.${fraction.toString().padStart(9, '0').replace(/0+$/, '')}`;
  const tail = `${seconds % 60n}${rest}s`;
  if (seconds < 60n) return tail;
  const minutes = seconds / 60n;
  return minutes < 60n ? `${minutes}m${tail}` : `${minutes / 60n}h${minutes % 60n}m${tail}`;
}

export async function showMeasurements(
  statement: Show<'show-measurements'>,
  context: StatementContext,
): Promise<ResultSeries[]> {
  if (mentionsTime(statement.condition)) throw new QueryError("SHOW MEASUREMENTS doesn't support time in WHERE clause");
  const pick: MeasurementPick =
    statement.measurement === undefined
      ? null
      : statement.measurement.op === '=~'
        ? { regex: statement.measurement.regex! }
        : { names: [statement.measurement.name!] };
  const reach = reachOf({ ...statement, sources: undefined }, context);
  const what = statement.condition === undefined ? 'measurements' : 'tag-values';
  const found = await list(
    reach.targets,
    { what, measurements: pick, condition: null, filter: null, tagKeys: null },
    context,
  );
  const regexes: RegexCache = new Map();
  const filter = statement.condition === undefined ? null : rowFilter(statement.condition, () => 'tag');
  const names = [...found.keys()]
    .sort()
    .filter((name) => filter === null || hasTags(filter, found.get(name)!, regexes));
  const rows = page(names, statement.limit, statement.offset).map((name) => [name]);
  return rows.length === 0 ? [] : [table('measurements', ['name'], rows)];
}

/**
 * InfluxDB filters whole measurements: a comparison holds if the measurement has the tag and one of its values matches
 * (for != and !~: none does).
 */
function hasTags(filter: RowFilter, pairs: ReadonlySet<string>, regexes: RegexCache): boolean {
  switch (filter.kind) {
    case 'and':
      return filter.terms.every((term) => hasTags(term, pairs, regexes));
    case 'or':
      return filter.terms.some((term) => hasTags(term, pairs, regexes));
    case 'constant':
      return filter.value;
    case 'truth':
      return false;
    case 'compare': {
      const { left, right, op } = filter;
      if (left.kind !== 'tag' || right.kind !== 'literal' || typeof right.value !== 'string') return false;
      const wanted = right.value;
      const values = [...pairs].map(readPair).filter(([key]) => key === left.name);
      if (values.length === 0) return false;
      const matches = values.some(([, value]) =>
        op === '=' || op === '!=' ? value === wanted : cachedRegex(regexes, wanted).test(value),
      );
      return matches === (op === '=' || op === '=~');
    }
  }
}

export function readPair(pair: string): [string, string] {
  const colon = pair.indexOf(':');
  const length = Number(pair.slice(0, colon));
  return [pair.slice(colon + 1, colon + 1 + length), pair.slice(colon + 1 + length)];
}

export async function showTagKeys(
  statement: Show<'show-tag-keys'>,
  context: StatementContext,
): Promise<ResultSeries[]> {
  const reach = reachOf(statement, context);
  const found = await list(reach.targets, { what: 'tag-keys', ...reach, tagKeys: null }, context);
  return perMeasurement(found, statement, ['tagKey'], (keys) => [...keys].sort().map((key) => [key]));
}

export async function showSeries(statement: Show<'show-series'>, context: StatementContext): Promise<ResultSeries[]> {
  const reach = reachOf(statement, context);
  const found = await list(reach.targets, { what: 'series', ...reach, tagKeys: null }, context);
  const keys = [...found.values()].flatMap((items) => [...items]).sort();
  const rows = page(keys, statement.limit, statement.offset).map((key) => [key]);
  return rows.length === 0 ? [] : [table(undefined, ['key'], rows)];
}

export async function showTagValues(
  statement: Show<'show-tag-values'>,
  context: StatementContext,
): Promise<ResultSeries[]> {
  // `value` in the condition is the tag value itself.
  const { ofValue, rest } = splitValue(statement.condition);
  const reach = reachOf({ ...statement, condition: rest ?? undefined }, context);
  const request = { what: 'tag-values' as const, ...reach, tagKeys: keyCondition(statement.withKey) };
  const found = await list(reach.targets, request, context);
  const regexes: RegexCache = new Map();
  return perMeasurement(found, statement, ['key', 'value'], (pairs) =>
    [...pairs]
      .map(readPair)
      .filter(([, value]) => ofValue === null || valueMatches(ofValue, value, regexes))
      .sort((a, b) => (a[0] !== b[0] ? (a[0] < b[0] ? -1 : 1) : a[1] < b[1] ? -1 : 1)),
  );
}

function splitValue(condition: Expression | undefined): { ofValue: RowFilter | null; rest: Expression | null } {
  if (condition === undefined) return { ofValue: null, rest: null };
  if (condition.kind === 'paren') return splitValue(condition.inner);
  if (condition.kind === 'binary' && condition.op === 'AND') {
    const left = splitValue(condition.left);
    const right = splitValue(condition.right);
    return {
      ofValue:
        left.ofValue === null || right.ofValue === null
          ? (left.ofValue ?? right.ofValue)
          : { kind: 'and', terms: [left.ofValue, right.ofValue] },
      rest:
        left.rest === null || right.rest === null
          ? (left.rest ?? right.rest)
          : { kind: 'binary', op: 'AND', left: left.rest, right: right.rest },
    };
  }
  if (condition.kind === 'binary' && condition.left.kind === 'reference' && condition.left.name === 'value')
    return { ofValue: rowFilter(condition, () => 'tag'), rest: null };
  return { ofValue: null, rest: condition };
}

function valueMatches(filter: RowFilter, value: string, regexes: RegexCache): boolean {
  return hasTags(filter, new Set([`5:value${value}`]), regexes);
}

export function keyCondition(withKey: WithKey): TagCondition {
  const key = '_tagKey';
  switch (withKey.op) {
    case '=':
    case '!=':
      return { op: withKey.op, key, value: withKey.key };
    case '=~':
    case '!~':
      return { op: withKey.op, key, regex: withKey.regex };
    case 'IN':
      return { op: 'or', terms: withKey.keys.map((value) => ({ op: '=', key, value })) };
  }
}

export async function showFieldKeys(
  statement: Show<'show-field-keys'>,
  context: StatementContext,
): Promise<ResultSeries[]> {
  const found = await fieldsOf(reachOf(statement, context, true), context);
  return perMeasurement(found, statement, ['fieldKey', 'fieldType'], (fields) =>
    [...fields].sort((a, b) => (a[0] < b[0] ? -1 : 1)).map(([name, type]) => [name, FIELD_TYPE_NAMES[type]!]),
  );
}

/** What names stand for in all of the measurements together. */
export async function schemaOn(
  { targets, measurements }: Pick<Reach, 'targets' | 'measurements'>,
  context: StatementContext,
): Promise<SourceSchema> {
  const schema = new SourceSchema();
  for (const result of await runOn(context, targets, { kind: 'schema', measurements }))
    if (result.kind === 'schema')
      for (const { schemas } of result.shards) for (const measured of schemas) schema.addMeasurement(measured);
  return schema;
}

/** Fields of each measurement with their types. */
export async function fieldsOf(
  { targets, measurements }: Reach,
  context: StatementContext,
): Promise<Map<string, Map<string, number>>> {
  const found = new Map<string, Map<string, number>>();
  for (const result of await runOn(context, targets, { kind: 'schema', measurements })) {
    if (result.kind !== 'schema') continue;
    for (const schema of result.shards.flatMap((shard) => shard.schemas)) {
      const fields = found.get(schema.measurement) ?? new Map<string, number>();
      found.set(schema.measurement, fields);
      for (const field of schema.fields)
        fields.set(field.name, Math.min(fields.get(field.name) ?? field.types[0]!, field.types[0]!));
    }
  }
  return found;
}

/** One table per measurement; LIMIT and OFFSET count rows of each, SLIMIT and SOFFSET tables. */
function perMeasurement<T>(
  found: ReadonlyMap<string, T>,
  clauses: ShowClauses,
  columns: string[],
  rowsOf: (items: T) => Value[][],
): ResultSeries[] {
  const names = page([...found.keys()].sort(), clauses.seriesLimit, clauses.seriesOffset);
  return names.flatMap((name) => {
    const rows = page(rowsOf(found.get(name)!), clauses.limit, clauses.offset);
    return rows.length === 0 ? [] : [table(name, columns, [...rows])];
  });
}

export interface Reach {
  readonly targets: readonly ShardTarget[];
  readonly measurements: MeasurementPick;
  readonly condition: TagCondition | null;
  readonly filter: RowFilter | null;
}

/** Which shards, measurements and series a SHOW statement is about; where no policy is named that is all, or the default one. */
export function reachOf(clauses: ShowClauses, context: StatementContext, isDefaultOnly = false): Reach {
  const database = findDatabase(context.backend.snapshot(), clauses.database ?? context.database);
  const { range, rest } = splitCondition(clauses.condition, context.nowNs, null);
  const named = measurementSources(clauses.sources);
  const policies = [...new Set(named.map((source) => source.retentionPolicy).filter((name) => name !== undefined))];
  const unnamed = isDefaultOnly ? [findPolicy(database, undefined)] : database.retentionPolicies;
  const chosen = policies.length === 0 ? unnamed : policies.map((name) => findPolicy(database, name));
  const targets = chosen.flatMap((policy) => targetsOf(context, database, policy, range));
  const filter = rest === null ? null : rowFilter(rest, () => 'tag');
  const part = filter === null ? null : tagPart(filter);
  return {
    targets,
    measurements: pickOf(named),
    condition: part?.condition ?? null,
    filter: part === null || part.exact ? null : filter,
  };
}

type MeasurementSource = Extract<Source, { kind: 'measurement' }>;

export function measurementSources(sources: readonly Source[] | undefined): MeasurementSource[] {
  return (sources ?? []).filter((source) => source.kind === 'measurement');
}

function pickOf(sources: readonly MeasurementSource[]): MeasurementPick {
  if (sources.length === 0) return null;
  if (sources.every((source) => source.name !== undefined)) return { names: sources.map((source) => source.name!) };
  const alternatives = sources.map(
    (source) => source.regex ?? `^${source.name!.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`,
  );
  return { regex: alternatives.length === 1 ? alternatives[0]! : alternatives.map((part) => `(?:${part})`).join('|') };
}

export async function list(
  targets: readonly ShardTarget[],
  request: Omit<CatalogRequest, 'kind' | 'limits'>,
  context: StatementContext,
): Promise<Map<string, Set<string>>> {
  const { what, measurements, condition, filter, tagKeys } = request;
  const limits = partialLimits(context.limits);
  const full: CatalogRequest = { kind: 'catalog', what, measurements, condition, filter, tagKeys, limits };
  const found = new Map<string, Set<string>>();
  const held = new Held(context.limits);
  for (const result of await runOn(context, targets, full)) {
    if (result.kind !== 'catalog') continue;
    for (const { measurement, items } of result.entries) {
      const all = found.get(measurement) ?? new Set<string>();
      found.set(measurement, all);
      for (const item of items) {
        if (!all.has(item)) held.bytes += textBytes(item);
        all.add(item);
      }
    }
    held.require();
  }
  return found;
}

export function mentionsTime(expression: Expression | undefined): boolean {
  if (expression === undefined) return false;
  if (expression.kind === 'binary') return mentionsTime(expression.left) || mentionsTime(expression.right);
  if (expression.kind === 'paren') return mentionsTime(expression.inner);
  return isTime(expression);
}
