/**
 * SHOW statements.
 */
import type { ShowClauses, Source, Statement, WithKey } from './ast.ts';
import { parseRegex, requireRegex } from './parse-expression.ts';
import { parseGroupBy, parseLimits, parseOrderBy, parseRowLimits, parseSources, parseWhere } from './parse-select.ts';
import type { TokenStream } from './token-stream.ts';

const SHOWN = [
  'CONTINUOUS',
  'DATABASES',
  'DIAGNOSTICS',
  'FIELD',
  'GRANTS',
  'MEASUREMENT',
  'MEASUREMENTS',
  'QUERIES',
  'RETENTION',
  'SERIES',
  'SHARD',
  'SHARDS',
  'STATS',
  'SUBSCRIPTIONS',
  'TAG',
  'USERS',
];

/** Everything behind SHOW. */
export function parseShow(stream: TokenStream): Statement {
  switch (stream.expect(SHOWN).kind) {
    case 'DATABASES':
      return { kind: 'show-databases' };
    case 'MEASUREMENTS':
      return parseShowMeasurements(stream);
    case 'MEASUREMENT':
      return parseCardinality(stream, 'measurement');
    case 'SERIES':
      return parseShowSeries(stream);
    case 'TAG':
      return parseShowTag(stream);
    case 'FIELD':
      if (stream.expect(['KEY', 'KEYS']).kind === 'KEY') return parseCardinality(stream, 'field-key');
      return { kind: 'show-field-keys', ...parseClauses(stream, false) };
    case 'RETENTION': {
      stream.expect(['POLICIES']);
      const database = parseOn(stream);
      return { kind: 'show-retention-policies', ...(database !== undefined && { database }) };
    }
    case 'CONTINUOUS':
      stream.expect(['QUERIES']);
      return { kind: 'show-continuous-queries' };
    case 'QUERIES':
      return { kind: 'show-queries' };
    case 'GRANTS':
      stream.expect(['FOR']);
      return { kind: 'show-grants', user: stream.identifier() };
    case 'USERS':
      return { kind: 'show-users' };
    case 'SHARD':
      stream.expect(['GROUPS']);
      return { kind: 'show-shard-groups' };
    case 'SHARDS':
      return { kind: 'show-shards' };
    case 'SUBSCRIPTIONS':
      return { kind: 'show-subscriptions' };
    case 'STATS':
      return { kind: 'show-stats', ...parseModule(stream) };
    default:
      return { kind: 'show-diagnostics', ...parseModule(stream) };
  }
}

function parseModule(stream: TokenStream): { module?: string } {
  return stream.accept('FOR') ? { module: stream.string() } : {};
}

function parseOn(stream: TokenStream): string | undefined {
  return stream.accept('ON') ? stream.identifier() : undefined;
}

function parseFrom(stream: TokenStream): Source[] | undefined {
  return stream.accept('FROM') ? parseSources(stream, false) : undefined;
}

function parseClauses(stream: TokenStream, where: boolean): ShowClauses {
  const database = parseOn(stream);
  const sources = parseFrom(stream);
  return {
    ...(database !== undefined && { database }),
    ...(sources !== undefined && { sources }),
    ...parseRest(stream, where),
  };
}

function parseRest(stream: TokenStream, where: boolean): ShowClauses {
  const condition = where ? parseWhere(stream) : undefined;
  parseOrderBy(stream);
  return { ...(condition && { condition }), ...parseLimits(stream) };
}

function parseShowMeasurements(stream: TokenStream): Statement {
  const database = parseOn(stream);
  let measurement: { op: '=' | '=~'; name?: string; regex?: string } | undefined;
  if (stream.accept('WITH')) {
    stream.expect(['MEASUREMENT']);
    stream.expect(['=', '=~']);
    // As in InfluxDB the operator is free: what follows it decides.
    const regex = parseRegex(stream);
    measurement = regex === null ? { op: '=', name: stream.identifier() } : { op: '=~', regex };
  }
  const condition = parseWhere(stream);
  parseOrderBy(stream);
  return {
    kind: 'show-measurements',
    ...(database !== undefined && { database }),
    ...(measurement && { measurement }),
    ...(condition && { condition }),
    ...parseRowLimits(stream),
  };
}

function parseShowSeries(stream: TokenStream): Statement {
  const exact = acceptCardinality(stream);
  if (exact !== null) return parseCounted(stream, 'series', exact);
  return { kind: 'show-series', ...parseClauses(stream, true) };
}

function parseShowTag(stream: TokenStream): Statement {
  const what = stream.expect(['KEY', 'KEYS', 'VALUES']).kind;
  if (what === 'KEY') return parseCardinality(stream, 'tag-key');
  if (what === 'KEYS') return { kind: 'show-tag-keys', ...parseClauses(stream, true) };
  const exact = acceptCardinality(stream);
  const database = parseOn(stream);
  const sources = parseFrom(stream);
  const withKey = parseWithKey(stream);
  const condition = parseWhere(stream);
  const dimensions = exact === null ? [] : parseGroupBy(stream);
  parseOrderBy(stream);
  const clauses = {
    ...(database !== undefined && { database }),
    ...(sources !== undefined && { sources }),
    ...(condition && { condition }),
    ...parseLimits(stream),
  };
  if (exact === null) return { kind: 'show-tag-values', withKey, ...clauses };
  return { kind: 'show-cardinality', of: 'tag-values', exact, withKey, dimensions, ...clauses };
}

/** Whether the exact one is asked for; null: none is. */
function acceptCardinality(stream: TokenStream): boolean | null {
  const exact = stream.accept('EXACT');
  if (exact) stream.expect(['CARDINALITY']);
  return exact || stream.accept('CARDINALITY') ? exact : null;
}

function parseWithKey(stream: TokenStream): WithKey {
  stream.expectAll('WITH', 'KEY');
  const op = stream.expect(['IN', '=', '=~', '!=', '!~'], ['IN', '=', '=~']).kind;
  if (op === '=' || op === '!=') return { op, key: stream.identifier() };
  if (op === '=~' || op === '!~') {
    const regex = requireRegex(stream);
    return { op, regex: regex.kind === 'regex' ? regex.pattern : '' };
  }
  stream.expect(['(']);
  const keys = [stream.identifier()];
  while (stream.accept(',')) keys.push(stream.identifier());
  stream.expect([')']);
  return { op: 'IN', keys };
}

type Counted = Extract<Statement, { kind: 'show-cardinality' }>['of'];

function parseCardinality(stream: TokenStream, of: Counted): Statement {
  const exact = stream.expect(['EXACT', 'CARDINALITY']).kind === 'EXACT';
  if (exact) stream.expect(['CARDINALITY']);
  return parseCounted(stream, of, exact);
}

function parseCounted(stream: TokenStream, of: Counted, exact: boolean): Statement {
  const database = parseOn(stream);
  const sources = parseFrom(stream);
  const condition = parseWhere(stream);
  const dimensions = parseGroupBy(stream);
  return {
    kind: 'show-cardinality',
    of,
    exact,
    dimensions,
    ...(database !== undefined && { database }),
    ...(sources !== undefined && { sources }),
    ...(condition && { condition }),
    ...parseRowLimits(stream),
  };
}
