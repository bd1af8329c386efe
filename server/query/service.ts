/**
 * The query service: text in, statement results out.
 */
import type { QueryBackend } from './backend.ts';
import type { QueryLimits } from './limits.ts';
import type { QueryOptions, QueryService, StatementResult } from './result.ts';

export function createQueryService(backend: QueryBackend, limits: QueryLimits): QueryService {
  return {
    async *execute(text: string, options: QueryOptions): AsyncGenerator<StatementResult> {
      yield {
        statementId: 0,
        error: `${text} ${options.chunkSize} ${limits.bucketsMax} ${backend.snapshot().viewHash}`,
      };
    },
  };
}
