/**
 * SELECT and the clauses that other statements share with it.
 */
import type { Dimension, Expression, Fill, MeasurementSource, SelectField, SelectStatement, Source } from './ast.ts';
import { durationIn } from './constants.ts';
import { parseExpression, parseRegex, parseSegments } from './parse-expression.ts';
import { printExpression } from './printer.ts';
import { ParseError, type TokenStream } from './token-stream.ts';

/** Everything behind SELECT. `mustWrite`: INTO is not optional. */
export function parseSelect(stream: TokenStream, mustWrite = false): SelectStatement {
  return stream.nested(() => {
    const fields = parseFields(stream);
    const into = parseInto(stream, mustWrite);
    stream.expect(['FROM']);
    const sources = parseSources(stream, true);
    const condition = parseWhere(stream);
    const dimensions = parseGroupBy(stream);
    const fill = parseFill(stream);
    const order = parseOrderBy(stream);
    const limits = parseLimits(stream);
    const timeZone = parseTimeZone(stream);
    return {
      kind: 'select',
      fields,
      ...(into && { into }),
      sources,
      ...(condition && { condition }),
      dimensions,
      ...(fill && { fill }),
      descending: order === 'DESC',
      ...(order === 'ASC' && { ascending: true }),
      ...limits,
      ...(timeZone !== undefined && { timeZone }),
    };
  });
}

function parseFields(stream: TokenStream): SelectField[] {
  const fields: SelectField[] = [];
  do {
    const start = stream.here();
    const pattern = parseRegex(stream);
    const expression: Expression = pattern === null ? parseExpression(stream) : { kind: 'regex', pattern };
    const comparison = findComparison(expression);
    if (comparison !== null) {
      const place = '; operator is intended for WHERE clause';
      throw stream.failure(`invalid operator ${comparison} in SELECT clause`, start, place);
    }
    const alias = stream.accept('AS') ? stream.identifier() : undefined;
    fields.push({ expression, ...(alias !== undefined && { alias }) });
  } while (stream.accept(','));
  return fields;
}

const ARITHMETIC = new Set(['+', '-', '*', '/', '%', '&', '|', '^']);

/** The first operator that is no arithmetic, or null. */
function findComparison(expression: Expression): string | null {
  if (expression.kind === 'paren') return findComparison(expression.inner);
  if (expression.kind === 'call') {
    for (const argument of expression.args) {
      const found = findComparison(argument);
      if (found !== null) return found;
    }
    return null;
  }
  if (expression.kind !== 'binary') return null;
  if (!ARITHMETIC.has(expression.op)) return expression.op;
  return findComparison(expression.left) ?? findComparison(expression.right);
}

function parseInto(stream: TokenStream, mustWrite: boolean): MeasurementSource | undefined {
  if (mustWrite) stream.expect(['INTO']);
  else if (!stream.accept('INTO')) return undefined;
  const segments = parseSegments(stream);
  if (segments.length < 3 && stream.peekCharacter() === 58) {
    stream.expectAll(':', 'MEASUREMENT');
    segments.push('');
  }
  return measurementOf(segments);
}

function measurementOf(segments: readonly string[]): MeasurementSource {
  const [name = '', retentionPolicy = '', database = ''] = [...segments].reverse();
  return {
    kind: 'measurement',
    ...(database !== '' && { database }),
    ...(retentionPolicy !== '' && { retentionPolicy }),
    name,
  };
}

export function parseSources(stream: TokenStream, subqueries: boolean): Source[] {
  const sources: Source[] = [];
  do sources.push(parseSource(stream, subqueries));
  while (stream.accept(','));
  return sources;
}

function parseSource(stream: TokenStream, subqueries: boolean): Source {
  const regex = parseRegex(stream);
  if (regex !== null) return { kind: 'measurement', regex };
  if (subqueries && stream.accept('(')) {
    stream.expect(['SELECT']);
    const select = parseSelect(stream);
    stream.expect([')']);
    return { kind: 'subquery', select };
  }
  const segments = parseSegments(stream);
  if (segments.length === 3 || stream.peekCharacter() !== 47) return measurementOf(segments);
  const pattern = parseRegex(stream);
  if (pattern === null) return measurementOf(segments);
  const { name, retentionPolicy } = measurementOf(segments);
  return {
    kind: 'measurement',
    ...(retentionPolicy !== undefined && { database: retentionPolicy }),
    ...(name !== '' && { retentionPolicy: name as string }),
    regex: pattern,
  };
}

export function parseWhere(stream: TokenStream): Expression | undefined {
  return stream.accept('WHERE') ? parseExpression(stream) : undefined;
}

export function parseGroupBy(stream: TokenStream): Dimension[] {
  if (!stream.accept('GROUP')) return [];
  stream.expect(['BY']);
  const dimensions: Dimension[] = [];
  do {
    const pattern = parseRegex(stream);
    dimensions.push(pattern === null ? dimensionOf(parseExpression(stream)) : { kind: 'regex', pattern });
  } while (stream.accept(','));
  return dimensions;
}

/** What is no dimension stays in the tree: InfluxDB refuses it in the statement's result, not as a parse error. */
function dimensionOf(expression: Expression): Dimension {
  if (expression.kind === 'paren') return dimensionOf(expression.inner);
  if (expression.kind === 'reference' && expression.name.toLowerCase() !== 'time') {
    return { kind: 'tag', name: expression.name };
  }
  if (expression.kind === 'wildcard') return { kind: 'wildcard' };
  if (expression.kind === 'regex') return { kind: 'regex', pattern: expression.pattern };
  if (expression.kind !== 'call' || expression.name !== 'time') return { kind: 'invalid', expression };
  const [interval, offset, ...more] = expression.args;
  const intervalNs = interval === undefined ? null : durationIn(interval);
  if (intervalNs === null || more.length > 0) return { kind: 'invalid', expression };
  if (offset === undefined) return { kind: 'time', intervalNs };
  const offsetNs = durationIn(offset);
  return { kind: 'time', intervalNs, offset: offsetNs === null ? offset : { kind: 'duration', ns: offsetNs } };
}

function acceptCall(stream: TokenStream, name: string): Expression | null {
  const token = stream.next();
  stream.unscan();
  return token.kind === 'IDENT' && token.literal.toLowerCase() === name ? parseExpression(stream) : null;
}

function parseFill(stream: TokenStream): Fill | undefined {
  const call = acceptCall(stream, 'fill');
  if (call === null) return undefined;
  if (call.kind !== 'call') throw new ParseError('fill must be a function call');
  const [argument] = call.args;
  if (argument === undefined || call.args.length !== 1) {
    throw new ParseError('fill requires an argument, e.g.: 0, null, none, previous, linear');
  }
  if (argument.kind === 'integer' || argument.kind === 'number') return { kind: 'value', value: argument.value };
  const word = printExpression(argument);
  if (word === 'null' || word === 'none' || word === 'previous' || word === 'linear') return { kind: word };
  throw new ParseError('expected number argument in fill()');
}

/** null: not written. Only time may be named, and only once. */
export function parseOrderBy(stream: TokenStream): 'ASC' | 'DESC' | null {
  if (!stream.accept('ORDER')) return null;
  stream.expect(['BY']);
  const token = stream.expect(['IDENT', 'ASC', 'DESC'], ['identifier', 'ASC', 'DESC']);
  let descending = token.kind === 'DESC';
  if (token.kind === 'IDENT') {
    descending = parseDirection(stream);
    if (token.literal !== 'time') throw new ParseError('only ORDER BY time supported at this time');
  }
  let fields = 1;
  for (; stream.accept(','); fields++) {
    stream.identifier();
    parseDirection(stream);
  }
  if (fields > 1) throw new ParseError('only ORDER BY time supported at this time');
  return descending ? 'DESC' : 'ASC';
}

function parseDirection(stream: TokenStream): boolean {
  if (stream.accept('ASC')) return false;
  return stream.accept('DESC');
}

export interface Limits {
  limit?: number;
  offset?: number;
  seriesLimit?: number;
  seriesOffset?: number;
}

export function parseLimits(stream: TokenStream): Limits {
  const limits: Limits = parseRowLimits(stream);
  const seriesLimit = parseCount(stream, 'SLIMIT');
  const seriesOffset = parseCount(stream, 'SOFFSET');
  return {
    ...limits,
    ...(seriesLimit !== undefined && { seriesLimit }),
    ...(seriesOffset !== undefined && { seriesOffset }),
  };
}

export function parseRowLimits(stream: TokenStream): Limits {
  const limit = parseCount(stream, 'LIMIT');
  const offset = parseCount(stream, 'OFFSET');
  return { ...(limit !== undefined && { limit }), ...(offset !== undefined && { offset }) };
}

function parseCount(stream: TokenStream, keyword: string): number | undefined {
  if (!stream.accept(keyword)) return undefined;
  const token = stream.expect(['INTEGER'], ['integer']);
  const value = Number(token.literal);
  if (value < 0) throw stream.failure(`${keyword} must be >= 0`, token);
  // Beyond what a number counts exactly there are no rows anyway.
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

function parseTimeZone(stream: TokenStream): string | undefined {
  const call = acceptCall(stream, 'tz');
  if (call === null) return undefined;
  if (call.kind !== 'call') throw new ParseError('tz must be a function call');
  const [argument] = call.args;
  if (argument === undefined || call.args.length !== 1) throw new ParseError('tz requires exactly one argument');
  if (argument.kind !== 'string') throw new ParseError('expected string argument in tz()');
  if (!timeZoneExists(argument.value)) throw new ParseError(`unable to find time zone ${argument.value}`);
  return argument.value;
}

function timeZoneExists(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name === '' ? 'UTC' : name }) !== null;
  } catch {
    return false;
  }
}
