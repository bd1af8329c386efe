/**
 * InfluxQL of InfluxDB 1.8: text to syntax tree, by recursive descent.
 *
 * Mistakes are answered with InfluxDB's texts, because people and programs search for them.
 */
import type { Statement } from './ast.ts';
import { bindParameters } from './bound-parameters.ts';
import { parseCreateContinuousQuery, parseDropContinuousQuery } from './parse-continuous.ts';
import { parseKill, parseUnsigned } from './parse-other.ts';
import {
  parseAlterPolicy,
  parseCreateDatabase,
  parseCreatePolicy,
  parseDeletion,
  parseDropPolicy,
} from './parse-schema.ts';
import { parseSelect } from './parse-select.ts';
import { parseShow } from './parse-show.ts';
import { parseCreateSubscription, parseDropSubscription } from './parse-subscriptions.ts';
import { parseCreateUser, parseGrant, parseSetPassword } from './parse-users.ts';
import { ParseError, TokenStream } from './token-stream.ts';

export { ParseError };

/** Longer texts are refused before they are read, unless somebody says otherwise. */
export const QUERY_CHARACTERS_MAX = 1_048_576;

const FIRST_WORDS = [
  'SELECT',
  'DELETE',
  'SHOW',
  'CREATE',
  'DROP',
  'EXPLAIN',
  'GRANT',
  'REVOKE',
  'ALTER',
  'SET',
  'KILL',
];
const CREATED = ['CONTINUOUS', 'DATABASE', 'USER', 'RETENTION', 'SUBSCRIPTION'];
const DROPPED = ['CONTINUOUS', 'DATABASE', 'MEASUREMENT', 'RETENTION', 'SERIES', 'SHARD', 'SUBSCRIPTION', 'USER'];

/** Statements in order; none for an empty text. Throws ParseError with InfluxDB's text. */
export function parseQuery(
  text: string,
  params: Readonly<Record<string, unknown>> = {},
  charactersMax = QUERY_CHARACTERS_MAX,
): Statement[] {
  if (text.length > charactersMax)
    throw new ParseError(`query of ${text.length} characters is longer than the limit of ${charactersMax}`);
  const stream = new TokenStream(text, bindParameters(params));
  const statements: Statement[] = [];
  let separated = true;
  for (;;) {
    const token = stream.next();
    if (token.kind === 'EOF') return statements;
    if (token.kind === ';') {
      separated = true;
      continue;
    }
    if (!separated) throw stream.unexpected(token, [';']);
    stream.unscan();
    statements.push(parseStatement(stream));
    separated = false;
  }
}

function parseStatement(stream: TokenStream): Statement {
  switch (stream.expect(FIRST_WORDS).kind) {
    case 'SELECT':
      return parseSelect(stream);
    case 'SHOW':
      return parseShow(stream);
    case 'DELETE':
      return { kind: 'delete', ...parseDeletion(stream) };
    case 'CREATE':
      return parseCreate(stream);
    case 'DROP':
      return parseDrop(stream);
    case 'ALTER':
      stream.expectAll('RETENTION', 'POLICY');
      return parseAlterPolicy(stream);
    case 'EXPLAIN': {
      const analyze = stream.accept('ANALYZE');
      stream.expect(['SELECT']);
      return { kind: 'explain', analyze, select: parseSelect(stream) };
    }
    case 'GRANT':
      return parseGrant(stream, 'grant');
    case 'REVOKE':
      return parseGrant(stream, 'revoke');
    case 'SET':
      return parseSetPassword(stream);
    default:
      return parseKill(stream);
  }
}

function parseCreate(stream: TokenStream): Statement {
  switch (stream.expect(CREATED).kind) {
    case 'DATABASE':
      return parseCreateDatabase(stream);
    case 'RETENTION':
      stream.expect(['POLICY']);
      return parseCreatePolicy(stream);
    case 'CONTINUOUS':
      stream.expect(['QUERY']);
      return parseCreateContinuousQuery(stream);
    case 'USER':
      return parseCreateUser(stream);
    default:
      return parseCreateSubscription(stream);
  }
}

function parseDrop(stream: TokenStream): Statement {
  switch (stream.expect(DROPPED).kind) {
    case 'DATABASE':
      return { kind: 'drop-database', name: stream.identifier() };
    case 'MEASUREMENT':
      return { kind: 'drop-measurement', name: stream.identifier() };
    case 'RETENTION':
      stream.expect(['POLICY']);
      return parseDropPolicy(stream);
    case 'SERIES':
      return { kind: 'drop-series', ...parseDeletion(stream) };
    case 'CONTINUOUS':
      stream.expect(['QUERY']);
      return parseDropContinuousQuery(stream);
    case 'SHARD':
      return { kind: 'drop-shard', id: parseUnsigned(stream) };
    case 'SUBSCRIPTION':
      return parseDropSubscription(stream);
    default:
      return { kind: 'drop-user', name: stream.identifier() };
  }
}
