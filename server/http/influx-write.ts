/** POST /write as InfluxDB 1.x serves it. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** As the line-protocol parser knows them; the door maps '' and 'ns' to 'n'. */
export type WritePrecision = 'n' | 'u' | 'ms' | 's' | 'm' | 'h';
export type WriteConsistency = 'any' | 'one' | 'quorum' | 'all';

export interface WriteRequest {
  readonly database: string;
  /** '' means the database's default. */
  readonly retentionPolicy: string;
  readonly precision: WritePrecision;
  readonly consistency: WriteConsistency;
  readonly body: Uint8Array;
  readonly nowNs: bigint;
}

export type WriteResult =
  | { readonly status: 204 }
  | { readonly status: number; readonly error: string; readonly retryAfterSeconds?: number };

export interface WriteCoordinator {
  write(request: WriteRequest): Promise<WriteResult>;
}

export interface WriteLimits {
  /** Of the body after decompression. */
  readonly bodyBytesMax: number;
  /** When the request names none. */
  readonly defaultConsistency: WriteConsistency;
  readonly nowNs: () => bigint;
}

export async function handleWrite(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  coordinator: WriteCoordinator,
  limits: WriteLimits,
): Promise<void> {
  throw new Error(`not ready: ${request.url} ${response.statusCode} ${url.href} ${coordinator} ${limits.bodyBytesMax}`);
}
