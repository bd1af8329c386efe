/**
 * Statements that are read, so that their mistakes are answered as InfluxDB does, and not carried out by this server:
 * running queries.
 */

import type { TokenStream } from './token-stream.ts';

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
