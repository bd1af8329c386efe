/**
 * CREATE, ALTER and DROP of databases, retention policies and measurements, and deletion of points.
 */
import type { ConflictRule } from '../../shards/row-settle.ts';
import type { Expression, RetentionPolicyOptions, Source, Statement } from './ast.ts';
import { parseDuration } from './duration.ts';
import { parseSources, parseWhere } from './parse-select.ts';
import { ParseError, type TokenStream } from './token-stream.ts';

const CONFLICT_RULES: readonly ConflictRule[] = ['last-write-wins', 'first-write-wins'];
const REPLICATION_MAX = 2_147_483_647;

interface PolicyOptions {
  durationNs?: bigint;
  replication?: number;
  shardDurationNs?: bigint;
  isDefault?: boolean;
}

export function parseCreateDatabase(stream: TokenStream): Statement {
  const name = stream.identifier();
  if (!stream.accept('WITH')) return { kind: 'create-database', name };
  const only = parseConflict(stream);
  if (only !== undefined) return { kind: 'create-database', name, conflict: only };
  const first = stream.expect(['DURATION', 'NAME', 'REPLICATION', 'SHARD']);
  stream.unscan();
  const policy: PolicyOptions & { name?: string } = {};
  if (stream.accept('DURATION')) policy.durationNs = parsePolicyDuration(stream);
  if (stream.accept('REPLICATION')) policy.replication = parseReplication(stream);
  if (stream.accept('SHARD')) policy.shardDurationNs = parseShardDuration(stream, false);
  if (stream.accept('NAME')) policy.name = stream.identifier();
  if (Object.keys(policy).length === 0) throw stream.unexpected(first, ['DURATION', 'NAME', 'REPLICATION', 'SHARD']);
  const conflict = parseConflict(stream);
  return { kind: 'create-database', name, policy, ...(conflict && { conflict }) };
}

/** `CONFLICT 'first-write-wins'`, which InfluxDB does not have; the word is no keyword, and may be a name elsewhere. */
function parseConflict(stream: TokenStream): ConflictRule | undefined {
  const word = stream.next();
  if (word.kind !== 'IDENT' || word.literal.toUpperCase() !== 'CONFLICT') {
    stream.unscan();
    return undefined;
  }
  const token = stream.expect(['STRING'], ['string']);
  const rule = CONFLICT_RULES.find((each) => each === token.literal);
  if (rule === undefined) throw stream.failure(`conflict rule must be one of ${CONFLICT_RULES.join(', ')}`, token);
  return rule;
}

/** `name ON database` */
function parseNameOn(stream: TokenStream): { name: string; database: string } {
  const name = stream.identifier();
  stream.expect(['ON']);
  return { name, database: stream.identifier() };
}

export function parseCreatePolicy(stream: TokenStream): Statement {
  const { name, database } = parseNameOn(stream);
  stream.expect(['DURATION']);
  const durationNs = parsePolicyDuration(stream);
  stream.expect(['REPLICATION']);
  const replication = parseReplication(stream);
  const shardDurationNs = stream.accept('SHARD') ? parseShardDuration(stream, true) : undefined;
  const options: RetentionPolicyOptions = {
    durationNs,
    replication,
    ...(shardDurationNs !== undefined && { shardDurationNs }),
    isDefault: stream.accept('DEFAULT'),
  };
  return { kind: 'create-retention-policy', name, database, ...options };
}

export function parseAlterPolicy(stream: TokenStream): Statement {
  // DEFAULT is a keyword, and a frequent policy name.
  const word = stream.expect(['IDENT', 'DEFAULT'], ['identifier']);
  const name = word.kind === 'DEFAULT' ? 'default' : word.literal;
  stream.expect(['ON']);
  const database = stream.identifier();
  const options: PolicyOptions = {};
  const kinds = ['DURATION', 'REPLICATION', 'SHARD', 'DEFAULT'];
  const seen = new Set<string>();
  for (;;) {
    const token = stream.next();
    if (!kinds.includes(token.kind)) {
      if (seen.size === 0) throw stream.unexpected(token, kinds);
      stream.unscan();
      return { kind: 'alter-retention-policy', name, database, ...options };
    }
    if (seen.has(token.kind)) throw stream.failure(`found duplicate ${token.kind} option`, token);
    seen.add(token.kind);
    if (token.kind === 'DURATION') options.durationNs = parsePolicyDuration(stream);
    else if (token.kind === 'REPLICATION') options.replication = parseReplication(stream);
    else if (token.kind === 'SHARD') options.shardDurationNs = parseShardDuration(stream, true);
    else options.isDefault = true;
  }
}

export function parseDropPolicy(stream: TokenStream): Statement {
  const { name, database } = parseNameOn(stream);
  return { kind: 'drop-retention-policy', name, database };
}

/** INF is 0, for ever. */
export function parsePolicyDuration(stream: TokenStream): bigint {
  const token = stream.expect(['DURATIONVAL', 'INF'], ['duration']);
  if (token.kind === 'INF') return 0n;
  const ns = parseDuration(token.literal);
  if (typeof ns === 'string') throw stream.failure(ns, token);
  return ns;
}

function parseShardDuration(stream: TokenStream, finite: boolean): bigint {
  stream.expect(['DURATION']);
  const token = stream.upcoming();
  if (finite && token.kind === 'INF') throw stream.failure('invalid duration INF for shard duration', token);
  return parsePolicyDuration(stream);
}

function parseReplication(stream: TokenStream): number {
  const token = stream.expect(['INTEGER'], ['integer']);
  const value = Number(token.literal);
  if (value >= 2 ** 63) throw stream.failure(`strconv.Atoi: parsing "${token.literal}": value out of range`, token);
  if (value < 1 || value > REPLICATION_MAX) {
    throw stream.failure(`invalid value ${token.literal}: must be 1 <= n <= ${REPLICATION_MAX}`, token);
  }
  return value;
}

/** What follows DELETE and DROP SERIES: `FROM sources WHERE condition`, at least one of the two. */
export function parseDeletion(stream: TokenStream): { sources: readonly Source[]; condition?: Expression } {
  const first = stream.expect(['FROM', 'WHERE']);
  const sources = first.kind === 'FROM' ? parseSources(stream, false) : [];
  if (first.kind === 'WHERE') stream.unscan();
  for (const source of sources) {
    if (source.kind !== 'measurement') continue;
    if (source.retentionPolicy !== undefined) {
      throw new ParseError('retention policy not supported at line 1, char 1');
    }
    if (source.database !== undefined) throw new ParseError('database not supported at line 1, char 1');
  }
  const condition = parseWhere(stream);
  return { sources, ...(condition && { condition }) };
}
