/** KILL QUERY, and the ids of queries and shards. */
import type { Statement } from './ast.ts';
import type { TokenStream } from './token-stream.ts';

export function parseKill(stream: TokenStream): Statement {
  stream.expect(['QUERY']);
  const id = parseUnsigned(stream);
  return { kind: 'kill-query', id, ...(stream.accept('ON') && { host: stream.identifier() }) };
}

export function parseUnsigned(stream: TokenStream): bigint {
  const token = stream.expect(['INTEGER'], ['integer']);
  const value = BigInt(token.literal);
  if (value >= 2n ** 64n) {
    throw stream.failure(`strconv.ParseUint: parsing "${token.literal}": value out of range`, token);
  }
  return value;
}
