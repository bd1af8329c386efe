/** InfluxQL text to syntax tree. */
import type { Statement } from './ast.ts';

/** The text is not InfluxQL; the message is InfluxDB's without the prefix `error parsing query: `. */
export class ParseError extends Error {
  readonly code = 'query-parse';
}

export function parseQuery(text: string, params: Readonly<Record<string, unknown>> = {}): Statement[] {
  throw new ParseError(`not ready: ${text} ${Object.keys(params).length}`);
}
