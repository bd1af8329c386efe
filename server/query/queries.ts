/** SHOW QUERIES and KILL QUERY, of all nodes. */
import type { Statement } from '../influxql/ast.ts';
import { formatClockDuration } from '../influxql/duration.ts';
import type { ResultSeries } from './result.ts';
import type { StatementContext } from './scatter.ts';

export async function showQueries({ backend, tally }: StatementContext): Promise<ResultSeries[]> {
  const { queries, unasked } = await backend.server.queries.list();
  if (unasked.length > 0) tally.warn(`queries of ${unasked.join(', ')} are not listed: no answer`);
  return [
    {
      columns: ['qid', 'query', 'database', 'duration', 'status'],
      timeColumn: -1,
      values: queries.map(({ id, text, database, ms, status }) => [id, text, database, durationText(ms), status]),
    },
  ];
}

export function killQuery(
  { id, host }: Extract<Statement, { kind: 'kill-query' }>,
  { backend }: StatementContext,
): Promise<void> {
  return backend.server.queries.kill(id, host);
}

/** As InfluxDB: whole seconds, milliseconds or microseconds. */
function durationText(ms: number): string {
  const us = BigInt(Math.max(0, Math.floor(ms * 1000)));
  const unit = us >= 1_000_000n ? 1_000_000n : us >= 1_000n ? 1_000n : 1n;
  return formatClockDuration((us - (us % unit)) * 1_000n);
}
