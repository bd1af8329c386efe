/** Points that a statement writes (SELECT INTO), through this node's own write path. */
import type { Coordinator } from './coordinator.ts';
import { DEFAULT_CONSISTENCY, type WriteResult } from './http/influx-write.ts';
import { PassingError, QueryError } from './query/query-error.ts';

export async function writeLines(
  coordinator: Coordinator,
  database: string,
  retentionPolicy: string,
  lines: Uint8Array,
): Promise<void> {
  const nowNs = BigInt(Date.now()) * 1_000_000n;
  const request = { database, retentionPolicy, precision: 'n', consistency: DEFAULT_CONSISTENCY, nowNs } as const;
  const result = await new Promise<WriteResult>((answered) => {
    coordinator.write({ ...request, body: [lines] }, answered);
  });
  if ('error' in result) throw new (result.status >= 500 ? PassingError : QueryError)(result.error);
}
