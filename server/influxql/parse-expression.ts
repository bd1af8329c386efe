/**
 * Expressions of InfluxQL: precedence climbing over unary terms.
 *
 * A minus before a literal belongs to the literal; before anything else it is a multiplication with -1, as in InfluxDB.
 */
import { compileGoRegex } from '../../shards/go-regex.ts';
import type { BinaryOperator, CastType, Expression } from './ast.ts';
import { parseDuration } from './duration.ts';
import type { Token } from './lexer.ts';
import { quoteSegments } from './printer.ts';
import { ParseError, type TokenStream } from './token-stream.ts';

const PRECEDENCE: Readonly<Record<string, number>> = {
  OR: 1,
  AND: 2,
  '=': 3,
  '!=': 3,
  '=~': 3,
  '!~': 3,
  '<': 3,
  '<=': 3,
  '>': 3,
  '>=': 3,
  '+': 4,
  '-': 4,
  '|': 4,
  '^': 4,
  '*': 5,
  '/': 5,
  '%': 5,
  '&': 5,
};

/** A chain such as `a OR b OR c` is a tree as high as it is long, and what walks trees does so by recursion. */
const HEIGHT_MAX = 3_000;
/** Of trees of a text with so many parts that one of them may be too high. */
const heights = new WeakMap<Expression, number>();

function bounded(stream: TokenStream, expression: Expression): Expression {
  // A tree of n parts has n + 1 levels at most: nearly every text needs no look at it.
  if (++stream.parts >= HEIGHT_MAX && heightOf(expression) > HEIGHT_MAX)
    throw new ParseError(`expression has more than ${HEIGHT_MAX} levels`);
  return expression;
}

function heightOf(expression: Expression): number {
  const known = heights.get(expression);
  if (known !== undefined) return known;
  let height = 1;
  for (const child of childrenOf(expression)) height = Math.max(height, 1 + heightOf(child));
  heights.set(expression, height);
  return height;
}

function childrenOf(expression: Expression): readonly Expression[] {
  if (expression.kind === 'binary') return [expression.left, expression.right];
  if (expression.kind === 'paren') return [expression.inner];
  return expression.kind === 'call' ? expression.args : [];
}

const CASTS = ['float', 'integer', 'unsigned', 'string', 'boolean', 'field', 'tag'];
const INT64_MAX = 9_223_372_036_854_775_807n;
const UINT64_MAX = 18_446_744_073_709_551_615n;

export function parseExpression(stream: TokenStream): Expression {
  return stream.nested(() => climb(stream, parseUnary(stream), 1));
}

function climb(stream: TokenStream, first: Expression, precedenceMin: number): Expression {
  let left = first;
  for (;;) {
    const op = stream.next().kind;
    const precedence = PRECEDENCE[op] ?? 0;
    if (precedence < precedenceMin) {
      stream.unscan();
      return left;
    }
    let right = op === '=~' || op === '!~' ? requireRegex(stream) : parseUnary(stream);
    for (;;) {
      const following = PRECEDENCE[stream.next().kind] ?? 0;
      stream.unscan();
      if (following <= precedence) break;
      right = climb(stream, right, following);
    }
    left = bounded(stream, { kind: 'binary', op: op as BinaryOperator, left, right });
  }
}

/** The regular expression that begins here, or null. */
export function parseRegex(stream: TokenStream): string | null {
  const token = stream.regexToken();
  return token === null ? null : checkedPattern(stream, token);
}

export function requireRegex(stream: TokenStream): Expression {
  const pattern = parseRegex(stream);
  if (pattern === null) throw stream.unexpected(stream.next(), ['regex']);
  return { kind: 'regex', pattern };
}

function checkedPattern(stream: TokenStream, token: Token): string {
  if (token.kind === 'BADREGEX') throw stream.failure(`bad regex: ${token.literal}`, token);
  try {
    compileGoRegex(token.literal);
  } catch (error) {
    throw stream.failure(error instanceof Error ? error.message : String(error), token);
  }
  return token.literal;
}

function parseUnary(stream: TokenStream): Expression {
  const token = stream.next();
  switch (token.kind) {
    case '(':
      return parseParenthesis(stream);
    case 'IDENT':
      if (stream.scan().kind === '(') return parseCall(stream, token.literal);
      stream.unscan();
      stream.unscan();
      return parseReference(stream);
    case 'DISTINCT':
      return parseDistinct(stream);
    case '*':
      return parseWildcard(stream);
    case '+':
    case '-':
      return parseSigned(stream, token.kind);
    default:
      return parseLiteral(stream, token);
  }
}

function parseParenthesis(stream: TokenStream): Expression {
  const inner = parseExpression(stream);
  stream.expect([')']);
  return bounded(stream, { kind: 'paren', inner });
}

function parseLiteral(stream: TokenStream, token: Token): Expression {
  switch (token.kind) {
    case 'STRING':
      return { kind: 'string', value: token.literal };
    case 'TRUE':
    case 'FALSE':
      return { kind: 'boolean', value: token.kind === 'TRUE' };
    case 'NUMBER':
      return parseNumber(stream, token);
    case 'INTEGER':
      return parseInteger(stream, token);
    case 'DURATIONVAL': {
      const ns = parseDuration(token.literal);
      if (typeof ns === 'string') throw new ParseError(ns);
      return { kind: 'duration', ns };
    }
    case 'REGEX':
      return { kind: 'regex', pattern: checkedPattern(stream, token) };
    case 'BOUNDPARAM':
      throw new ParseError(token.literal === '' ? 'empty bound parameter' : `missing parameter: ${token.literal}`);
    case 'BOUNDERROR':
      throw new ParseError(token.literal);
    default:
      throw stream.unexpected(token, ['identifier', 'string', 'number', 'bool']);
  }
}

function parseNumber(stream: TokenStream, token: Token): Expression {
  const value = Number(token.literal);
  if (!Number.isFinite(value)) throw stream.failure('unable to parse number', token);
  return { kind: 'number', value };
}

function parseInteger(stream: TokenStream, token: Token): Expression {
  // Twenty digits are the most that an unsigned integer has; BigInt of more would only cost time.
  const digits = token.literal.replace(/^0+(?=\d)/, '');
  if (digits.length > 20) throw stream.failure('unable to parse integer', token);
  const value = BigInt(digits);
  if (value <= INT64_MAX) return { kind: 'integer', value };
  if (value <= UINT64_MAX) return { kind: 'unsigned', value };
  throw stream.failure('unable to parse integer', token);
}

function parseWildcard(stream: TokenStream): Expression {
  if (stream.scan().kind !== '::') {
    stream.unscan();
    return { kind: 'wildcard', of: 'all' };
  }
  const token = stream.scan();
  if (token.kind === 'FIELD') return { kind: 'wildcard', of: 'field' };
  if (token.kind === 'TAG') return { kind: 'wildcard', of: 'tag' };
  throw stream.unexpected(token, ['field', 'tag']);
}

function parseDistinct(stream: TokenStream): Expression {
  const after = stream.scan();
  if (after.kind === '(') return parseCall(stream, 'distinct');
  if (after.kind !== 'WS') throw stream.unexpected(after, ['(', 'identifier']);
  return { kind: 'distinct', name: stream.identifier() };
}

function parseSigned(stream: TokenStream, sign: '+' | '-'): Expression {
  const token = stream.next();
  if (!['NUMBER', 'INTEGER', 'DURATIONVAL', '(', 'IDENT'].includes(token.kind)) {
    throw stream.unexpected(token, ['identifier', 'number', 'duration', '(']);
  }
  stream.unscan();
  const term = parseUnary(stream);
  const negative = sign === '-';
  switch (term.kind) {
    case 'number':
      return negative ? { kind: 'number', value: -term.value } : term;
    case 'integer':
      return negative ? { kind: 'integer', value: -term.value } : term;
    case 'duration':
      return negative ? { kind: 'duration', ns: -term.ns } : term;
    case 'unsigned':
      if (!negative) return term;
      // The least int64 has no positive counterpart and arrives here as an unsigned.
      if (term.value === INT64_MAX + 1n) return { kind: 'integer', value: -term.value };
      throw new ParseError(`constant -${term.value} underflows int64`);
    default:
      return bounded(stream, {
        kind: 'binary',
        op: '*',
        left: { kind: 'integer', value: negative ? -1n : 1n },
        right: term,
      });
  }
}

function parseCall(stream: TokenStream, name: string): Expression {
  const args: Expression[] = [];
  const first = parseRegex(stream);
  if (first !== null) args.push({ kind: 'regex', pattern: first });
  else {
    if (stream.scan().kind === ')') return { kind: 'call', name: name.toLowerCase(), args };
    stream.unscan();
    args.push(parseExpression(stream));
  }
  while (stream.accept(',')) {
    const pattern = parseRegex(stream);
    args.push(pattern === null ? parseExpression(stream) : { kind: 'regex', pattern });
  }
  const close = stream.scan();
  if (close.kind !== ')') throw stream.unexpected(close, [')']);
  return bounded(stream, { kind: 'call', name: name.toLowerCase(), args });
}

function parseReference(stream: TokenStream): Expression {
  const name = parseSegments(stream).join('.');
  if (stream.scan().kind !== '::') {
    stream.unscan();
    return { kind: 'reference', name };
  }
  const token = stream.scan();
  const cast = (token.kind === 'IDENT' ? token.literal : token.kind).toLowerCase();
  if (!CASTS.includes(cast) || token.kind === 'STRING') throw stream.unexpected(token, CASTS);
  return { kind: 'reference', name, cast: cast as CastType };
}

/**
 * `a`, `a.b`, `a..c`, `"a"."b"."c"`. Stops behind a dot that a regular expression or a colon follows.
 * Trailing empty segments are given as ''.
 */
export function parseSegments(stream: TokenStream): string[] {
  const segments = [stream.identifier()];
  for (;;) {
    if (stream.scan().kind !== '.') {
      stream.unscan();
      break;
    }
    const following = stream.peekCharacter();
    if (following === 47 || following === 58) break;
    segments.push(following === 46 ? '' : stream.identifier());
  }
  if (segments.length > 3) {
    throw new ParseError(`too many segments in ${quoteSegments(segments)} at line 1, char 1`);
  }
  return segments;
}
