/**
 * CREATE and DROP CONTINUOUS QUERY.
 */
import type { MeasurementSource, SelectStatement, Statement } from './ast.ts';
import { formatDuration } from './duration.ts';
import { parsePolicyDuration } from './parse-schema.ts';
import { parseSelect } from './parse-select.ts';
import { printExpression } from './printer.ts';
import { ParseError, type TokenStream } from './token-stream.ts';

function parseNameOnDatabase(stream: TokenStream): { name: string; database: string } {
  const name = stream.identifier();
  stream.expect(['ON']);
  return { name, database: stream.identifier() };
}

export function parseDropContinuousQuery(stream: TokenStream): Statement {
  return { kind: 'drop-continuous-query', ...parseNameOnDatabase(stream) };
}

export function parseCreateContinuousQuery(stream: TokenStream): Statement {
  const named = parseNameOnDatabase(stream);
  let everyNs = 0n;
  let forNs = 0n;
  if (stream.accept('RESAMPLE')) {
    const first = stream.expect(['EVERY', 'FOR']);
    if (first.kind === 'EVERY') everyNs = parsePolicyDuration(stream);
    if (first.kind === 'FOR' || stream.accept('FOR')) forNs = parsePolicyDuration(stream);
  }
  stream.expectAll('BEGIN', 'SELECT');
  const select = parseSelect(stream, true);
  const intervalNs = intervalOf(select);
  const previous = stream.previous();
  if (isAggregated(select) && intervalNs === 0n && previous !== undefined) {
    throw stream.unexpected(previous, ['GROUP BY time(...)']);
  }
  const leastNs = intervalNs !== 0n && everyNs > intervalNs ? everyNs : intervalNs;
  if (forNs !== 0n && forNs < leastNs) {
    throw new ParseError(
      `FOR duration must be >= GROUP BY time duration: must be a minimum of ${formatDuration(leastNs)}, got ${formatDuration(forNs)}`,
    );
  }
  stream.expect(['END']);
  return {
    kind: 'create-continuous-query',
    ...named,
    ...(everyNs !== 0n && { everyNs }),
    ...(forNs !== 0n && { forNs }),
    select: select as SelectStatement & { readonly into: MeasurementSource },
  };
}

export function isAggregated(select: SelectStatement): boolean {
  return select.fields.some((field) => printExpression(field.expression).includes('('));
}

/** 0: none. */
export function intervalOf(select: SelectStatement): bigint {
  for (const dimension of select.dimensions) if (dimension.kind === 'time') return dimension.intervalNs;
  return 0n;
}
