/**
 * Statements that are read, so that their mistakes are answered as InfluxDB does, and not carried out by this server:
 * continuous queries, subscriptions, shards, running queries.
 */

import type { SelectStatement } from './ast.ts';
import { formatDuration } from './duration.ts';
import { parsePolicyDuration } from './parse-schema.ts';
import { parseSelect } from './parse-select.ts';
import { printExpression } from './printer.ts';
import { ParseError, type TokenStream } from './token-stream.ts';

export function parseKill(stream: TokenStream): void {
  stream.expect(['QUERY']);
  parseUnsigned(stream);
  if (stream.accept('ON')) stream.identifier();
}

export function parseUnsigned(stream: TokenStream): bigint {
  const token = stream.expect(['INTEGER'], ['integer']);
  const value = BigInt(token.literal);
  if (value >= 2n ** 64n) {
    throw stream.failure(`strconv.ParseUint: parsing "${token.literal}": value out of range`, token);
  }
  return value;
}

/** `name ON "db"."rp"` */
export function parseSubscriptionName(stream: TokenStream): void {
  stream.identifier();
  stream.expect(['ON']);
  stream.identifier();
  stream.expect(['.']);
  stream.identifier();
}

export function parseCreateSubscription(stream: TokenStream): void {
  parseSubscriptionName(stream);
  stream.expect(['DESTINATIONS']);
  stream.expect(['ALL', 'ANY']);
  do stream.string();
  while (stream.accept(','));
}

export function parseNameOnDatabase(stream: TokenStream): void {
  stream.identifier();
  stream.expect(['ON']);
  stream.identifier();
}

export function parseCreateContinuousQuery(stream: TokenStream): void {
  parseNameOnDatabase(stream);
  let everyNs: bigint | null = null;
  let forNs: bigint | null = null;
  if (stream.accept('RESAMPLE')) {
    const first = stream.expect(['EVERY', 'FOR']);
    if (first.kind === 'EVERY') everyNs = parsePolicyDuration(stream);
    if (first.kind === 'FOR' || stream.accept('FOR')) forNs = parsePolicyDuration(stream);
  }
  stream.expectAll('BEGIN', 'SELECT');
  const select = parseSelect(stream, true);
  const aggregated = select.fields.some((field) => printExpression(field.expression).includes('('));
  const intervalNs = intervalOf(select);
  const previous = stream.previous();
  if (aggregated && intervalNs === null && previous !== undefined) {
    throw stream.unexpected(previous, ['GROUP BY time(...)']);
  }
  const leastNs = everyNs !== null && intervalNs !== null && everyNs > intervalNs ? everyNs : (intervalNs ?? 0n);
  if (forNs !== null && forNs < leastNs) {
    throw new ParseError(
      `FOR duration must be >= GROUP BY time duration: must be a minimum of ${formatDuration(leastNs)}, got ${formatDuration(forNs)}`,
    );
  }
  stream.expect(['END']);
}

function intervalOf(select: SelectStatement): bigint | null {
  for (const dimension of select.dimensions) if (dimension.kind === 'time') return dimension.intervalNs;
  return null;
}
