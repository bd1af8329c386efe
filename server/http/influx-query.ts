/** GET and POST /query as InfluxDB 1.x serves it. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { QueryService } from '../query/result.ts';

export interface QueryDoorLimits {
  /** Of a form or multipart body. */
  readonly bodyBytesMax: number;
  /** Rows of an answer that is not chunked; 0 = unlimited, as InfluxDB's max-row-limit. */
  readonly rowsMax: number;
  readonly nowNs: () => bigint;
}

export async function handleQuery(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  service: QueryService,
  limits: QueryDoorLimits,
): Promise<void> {
  throw new Error(`not ready: ${request.url} ${response.statusCode} ${url.href} ${service} ${limits.bodyBytesMax}`);
}
