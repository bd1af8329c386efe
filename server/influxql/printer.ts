/**
 * Syntax tree to the text that InfluxDB gives it: names of columns, messages, and what one node asks another.
 *
 * The printed text of a statement parses to the same tree, except that passwords are left out of it.
 */

import { withoutPassword } from '../subscriptions/destination-url.ts';
import type {
  ContinuousQueryStatement,
  Dimension,
  Expression,
  Fill,
  MeasurementSource,
  RetentionPolicyOptions,
  SelectStatement,
  ShowClauses,
  Source,
  Statement,
  SubscriptionName,
  WithKey,
} from './ast.ts';
import { formatClockDuration, formatDuration } from './duration.ts';
import { isKeyword } from './lexer.ts';

/** In the place of a password: printed statements go into answers, lists and logs. */
const REDACTED = '[REDACTED]';
const BARE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\\': '\\\\', '"': '\\"', "'": "\\'" };

/** A name, in double quotes when it would not be read back as it is. */
export function quoteIdentifier(name: string): string {
  return BARE.test(name) && !isKeyword(name) ? name : alwaysQuoted(name);
}

function alwaysQuoted(name: string): string {
  return `"${name.replace(/[\n\\"]/g, (character) => ESCAPES[character] as string)}"`;
}

/** `"db"."rp".name`: all but the last are always quoted. */
export function quoteSegments(segments: readonly string[]): string {
  return segments
    .map((segment, index) => {
      if (index === segments.length - 1) return quoteIdentifier(segment);
      return segment === '' ? '' : alwaysQuoted(segment);
    })
    .join('.');
}

export function quoteString(text: string): string {
  return `'${text.replace(/[\n\\']/g, (character) => ESCAPES[character] as string)}'`;
}

export function printRegex(pattern: string): string {
  return `/${pattern.replaceAll('/', '\\/')}/`;
}

/** As InfluxDB prints it in messages: numbers have three decimals. */
export function expressionInMessage(expression: Expression): string {
  return printExpression(expression, (value) => value.toFixed(3));
}

export function printExpression(expression: Expression, numberText = printNumber): string {
  const print = (inner: Expression): string => printExpression(inner, numberText);
  switch (expression.kind) {
    case 'reference':
      return quoteIdentifier(expression.name) + (expression.cast === undefined ? '' : `::${expression.cast}`);
    case 'call':
      return `${expression.name}(${expression.args.map(print).join(', ')})`;
    case 'binary':
      return `${print(expression.left)} ${expression.op} ${print(expression.right)}`;
    case 'paren':
      return `(${print(expression.inner)})`;
    case 'number':
      return numberText(expression.value);
    case 'integer':
    case 'unsigned':
    case 'boolean':
      return String(expression.value);
    case 'string':
      return quoteString(expression.value);
    case 'duration':
      return formatDuration(expression.ns);
    case 'regex':
      return printRegex(expression.pattern);
    case 'wildcard':
      return expression.of === 'all' ? '*' : `*::${expression.of}`;
    case 'distinct':
      return `DISTINCT ${quoteIdentifier(expression.name)}`;
  }
}

/** Decimal, never with an exponent (InfluxQL has none), and with a point so that it stays a float. */
function printNumber(value: number): string {
  const text = String(value);
  const exponent = /^(-?)(\d+)(?:\.(\d+))?e([+-]\d+)$/.exec(text);
  if (exponent === null) return text.includes('.') ? text : `${text}.0`;
  const [, sign, whole = '', fraction = '', power] = exponent;
  const digits = whole + fraction;
  const point = whole.length + Number(power);
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`;
  return `${sign}${digits.padEnd(point, '0')}.0`;
}

function printMeasurement(source: MeasurementSource): string {
  const { database = '', retentionPolicy = '' } = source;
  let prefix = '';
  if (database !== '') prefix = `${quoteIdentifier(database)}.`;
  if (retentionPolicy !== '') prefix += quoteIdentifier(retentionPolicy);
  if (prefix !== '') prefix += '.';
  return prefix + (source.regex === undefined ? quoteIdentifier(source.name ?? '') : printRegex(source.regex));
}

function printInto(target: MeasurementSource): string {
  if (target.name !== '') return printMeasurement(target);
  return printMeasurement(target).replace(/""$/, ':MEASUREMENT');
}

function printSource(source: Source): string {
  return source.kind === 'subquery' ? `(${printSelect(source.select)})` : printMeasurement(source);
}

function printDimension(dimension: Dimension): string {
  switch (dimension.kind) {
    case 'tag':
      return quoteIdentifier(dimension.name);
    case 'regex':
      return printRegex(dimension.pattern);
    case 'wildcard':
      return '*';
    case 'invalid':
      return printExpression(dimension.expression);
    case 'time': {
      const offset = dimension.offset === undefined ? '' : `, ${printExpression(dimension.offset)}`;
      return `time(${formatDuration(dimension.intervalNs)}${offset})`;
    }
  }
}

function printGroupBy(dimensions: readonly Dimension[]): string {
  return `GROUP BY ${dimensions.map(printDimension).join(', ')}`;
}

function printFill(fill: Fill): string {
  return fill.kind === 'value' ? `fill(${printFillValue(fill.value)})` : `fill(${fill.kind})`;
}

function printFillValue(value: number | bigint): string {
  return typeof value === 'bigint' ? String(value) : printNumber(value);
}

export function printSelect(select: SelectStatement): string {
  const fields = select.fields.map(
    (field) =>
      printExpression(field.expression) + (field.alias === undefined ? '' : ` AS ${quoteIdentifier(field.alias)}`),
  );
  const parts = [`SELECT ${fields.join(', ')}`];
  if (select.into) parts.push(`INTO ${printInto(select.into)}`);
  parts.push(`FROM ${select.sources.map(printSource).join(', ')}`);
  if (select.condition) parts.push(`WHERE ${printExpression(select.condition)}`);
  if (select.dimensions.length > 0) parts.push(printGroupBy(select.dimensions));
  if (select.fill) parts.push(printFill(select.fill));
  if (select.descending) parts.push('ORDER BY time DESC');
  if (select.ascending) parts.push('ORDER BY time ASC');
  parts.push(...printLimits(select));
  if (select.timeZone !== undefined) parts.push(`TZ(${quoteString(select.timeZone)})`);
  return parts.join(' ');
}

function printLimits(clauses: Pick<ShowClauses, 'limit' | 'offset' | 'seriesLimit' | 'seriesOffset'>): string[] {
  const parts: string[] = [];
  // InfluxDB leaves out a limit of 0, which means none.
  if (clauses.limit) parts.push(`LIMIT ${clauses.limit}`);
  if (clauses.offset) parts.push(`OFFSET ${clauses.offset}`);
  if (clauses.seriesLimit) parts.push(`SLIMIT ${clauses.seriesLimit}`);
  if (clauses.seriesOffset) parts.push(`SOFFSET ${clauses.seriesOffset}`);
  return parts;
}

function printShow(
  what: string,
  clauses: ShowClauses,
  withKey?: string,
  dimensions: readonly Dimension[] = [],
): string {
  const parts = [`SHOW ${what}`];
  if (clauses.database !== undefined) parts.push(`ON ${quoteIdentifier(clauses.database)}`);
  if (clauses.sources) parts.push(`FROM ${clauses.sources.map(printSource).join(', ')}`);
  if (withKey !== undefined) parts.push(withKey);
  if (clauses.condition) parts.push(`WHERE ${printExpression(clauses.condition)}`);
  if (dimensions.length > 0) parts.push(printGroupBy(dimensions));
  return [...parts, ...printLimits(clauses)].join(' ');
}

function printWithKey(withKey: WithKey): string {
  switch (withKey.op) {
    case 'IN':
      return `WITH KEY IN (${withKey.keys.map(quoteIdentifier).join(', ')})`;
    case '=':
    case '!=':
      return `WITH KEY ${withKey.op} ${quoteIdentifier(withKey.key)}`;
    default:
      return `WITH KEY ${withKey.op} ${printRegex(withKey.regex)}`;
  }
}

function printPolicyOptions(options: RetentionPolicyOptions, printDuration = formatDuration): string {
  const parts: string[] = [];
  if (options.durationNs !== undefined) parts.push(` DURATION ${printDuration(options.durationNs)}`);
  if (options.replication !== undefined) parts.push(` REPLICATION ${options.replication}`);
  if (options.shardDurationNs !== undefined) parts.push(` SHARD DURATION ${printDuration(options.shardDurationNs)}`);
  if (options.isDefault === true) parts.push(' DEFAULT');
  return parts.join('');
}

function printDeletion(start: string, sources: readonly Source[], condition: Expression | undefined): string {
  const from = sources.length > 0 ? ` FROM ${sources.map(printSource).join(', ')}` : '';
  return `${start}${from}${condition ? ` WHERE ${printExpression(condition)}` : ''}`;
}

function printMeasurementFilter(filter: { readonly name?: string; readonly regex?: string }): string {
  if (filter.regex !== undefined) return `WITH MEASUREMENT =~ ${printRegex(filter.regex)}`;
  return `WITH MEASUREMENT = ${quoteIdentifier(filter.name ?? '')}`;
}

function printSubscriptionName({ name, database, retentionPolicy }: SubscriptionName): string {
  return `${quoteIdentifier(name)} ON ${quoteIdentifier(database)}.${quoteIdentifier(retentionPolicy)}`;
}

function printGrant(kind: 'grant' | 'revoke', user: string, privilege = 'ALL', database?: string): string {
  const what = privilege === 'ALL' ? 'ALL PRIVILEGES' : privilege;
  const where = database === undefined ? '' : ` ON ${quoteIdentifier(database)}`;
  return `${kind === 'grant' ? 'GRANT' : 'REVOKE'} ${what}${where} ${kind === 'grant' ? 'TO' : 'FROM'} ${quoteIdentifier(user)}`;
}

function printContinuousQuery({ name, database, everyNs, forNs, select }: ContinuousQueryStatement): string {
  const every = everyNs === undefined ? '' : ` EVERY ${formatDuration(everyNs)}`;
  const span = forNs === undefined ? '' : ` FOR ${formatDuration(forNs)}`;
  const resample = every + span === '' ? '' : ` RESAMPLE${every}${span}`;
  const head = `CREATE CONTINUOUS QUERY ${quoteIdentifier(name)} ON ${quoteIdentifier(database)}`;
  return `${head}${resample} BEGIN ${printSelect(select)} END`;
}

export function printStatement(statement: Statement): string {
  switch (statement.kind) {
    case 'select':
      return printSelect(statement);
    case 'explain':
      return `EXPLAIN ${statement.analyze ? 'ANALYZE ' : ''}${printSelect(statement.select)}`;
    case 'show-databases':
      return 'SHOW DATABASES';
    case 'show-measurements':
      return printShow(
        'MEASUREMENTS',
        statement,
        statement.measurement && printMeasurementFilter(statement.measurement),
      );
    case 'show-tag-keys':
      return printShow('TAG KEYS', statement);
    case 'show-tag-values':
      return printShow('TAG VALUES', statement, printWithKey(statement.withKey));
    case 'show-field-keys':
      return printShow('FIELD KEYS', statement);
    case 'show-series':
      return printShow('SERIES', statement);
    case 'show-cardinality': {
      const { of, exact, withKey, dimensions } = statement;
      const what = `${of.replace('-', ' ').toUpperCase()} ${exact ? 'EXACT ' : ''}CARDINALITY`;
      return printShow(what, statement, withKey && printWithKey(withKey), dimensions);
    }
    case 'show-retention-policies':
      return `SHOW RETENTION POLICIES${statement.database === undefined ? '' : ` ON ${quoteIdentifier(statement.database)}`}`;
    case 'create-database': {
      const { policy, conflict } = statement;
      const name = policy?.name === undefined ? '' : ` NAME ${quoteIdentifier(policy.name)}`;
      const options = policy === undefined ? '' : `${printPolicyOptions(policy, formatClockDuration)}${name}`;
      const rule = conflict === undefined ? '' : ` CONFLICT ${quoteString(conflict)}`;
      const all = `${options}${rule}`;
      return `CREATE DATABASE ${quoteIdentifier(statement.name)}${all === '' ? '' : ` WITH${all}`}`;
    }
    case 'drop-database':
      return `DROP DATABASE ${quoteIdentifier(statement.name)}`;
    case 'create-retention-policy':
    case 'alter-retention-policy': {
      const verb = statement.kind === 'create-retention-policy' ? 'CREATE' : 'ALTER';
      const name = quoteIdentifier(statement.name);
      const database = quoteIdentifier(statement.database);
      return `${verb} RETENTION POLICY ${name} ON ${database}${printPolicyOptions(statement)}`;
    }
    case 'drop-retention-policy':
      return `DROP RETENTION POLICY ${quoteIdentifier(statement.name)} ON ${quoteIdentifier(statement.database)}`;
    case 'delete':
      return printDeletion('DELETE', statement.sources, statement.condition);
    case 'drop-series':
      return printDeletion('DROP SERIES', statement.sources, statement.condition);
    case 'drop-measurement':
      return `DROP MEASUREMENT ${quoteIdentifier(statement.name)}`;
    case 'create-user': {
      const admin = statement.admin ? ' WITH ALL PRIVILEGES' : '';
      return `CREATE USER ${quoteIdentifier(statement.name)} WITH PASSWORD ${REDACTED}${admin}`;
    }
    case 'drop-user':
      return `DROP USER ${quoteIdentifier(statement.name)}`;
    case 'set-password':
      return `SET PASSWORD FOR ${quoteIdentifier(statement.name)} = ${REDACTED}`;
    case 'grant':
    case 'revoke':
      return printGrant(statement.kind, statement.user, statement.privilege, statement.database);
    case 'grant-admin':
      return printGrant('grant', statement.user);
    case 'revoke-admin':
      return printGrant('revoke', statement.user);
    case 'show-users':
      return 'SHOW USERS';
    case 'show-grants':
      return `SHOW GRANTS FOR ${quoteIdentifier(statement.user)}`;
    case 'show-shards':
      return 'SHOW SHARDS';
    case 'show-shard-groups':
      return 'SHOW SHARD GROUPS';
    case 'show-queries':
      return 'SHOW QUERIES';
    case 'kill-query':
      return `KILL QUERY ${statement.id}${statement.host === undefined ? '' : ` ON ${quoteIdentifier(statement.host)}`}`;
    case 'drop-shard':
      return `DROP SHARD ${statement.id}`;
    case 'show-stats':
    case 'show-diagnostics': {
      const what = statement.kind === 'show-stats' ? 'STATS' : 'DIAGNOSTICS';
      return `SHOW ${what}${statement.module === undefined ? '' : ` FOR ${quoteString(statement.module)}`}`;
    }
    case 'create-continuous-query':
      return printContinuousQuery(statement);
    case 'drop-continuous-query':
      return `DROP CONTINUOUS QUERY ${quoteIdentifier(statement.name)} ON ${quoteIdentifier(statement.database)}`;
    case 'show-continuous-queries':
      return 'SHOW CONTINUOUS QUERIES';
    case 'show-subscriptions':
      return 'SHOW SUBSCRIPTIONS';
    case 'create-subscription': {
      const urls = statement.destinations.map((url) => quoteString(withoutPassword(url))).join(', ');
      return `CREATE SUBSCRIPTION ${printSubscriptionName(statement)} DESTINATIONS ${statement.mode} ${urls}`;
    }
    case 'drop-subscription':
      return `DROP SUBSCRIPTION ${printSubscriptionName(statement)}`;
  }
}
