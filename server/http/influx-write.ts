/**
 * POST /write as InfluxDB 1.x serves it, for the requests that node:http reads; plain ones are served by write-door.ts.
 *
 * The type of the body is not looked at: agents send text/plain, octet-stream, an empty type or none. Credentials in the
 * URL (`u`, `p`) are accepted and go nowhere.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { BodyError, freePieces, readPieces } from './body.ts';
import { answeredByMethod, sendInfluxError } from './influx-answer.ts';

/** As the line-protocol parser knows them; the door maps '' and 'ns' to 'n'. */
export type WritePrecision = 'n' | 'u' | 'ms' | 's' | 'm' | 'h';
export type WriteConsistency = 'any' | 'one' | 'quorum' | 'all';

export interface WriteRequest {
  readonly database: string;
  /** '' means the database's default. */
  readonly retentionPolicy: string;
  readonly precision: WritePrecision;
  readonly consistency: WriteConsistency;
  /** In pieces as they came, in order. */
  readonly body: readonly Uint8Array[];
  readonly nowNs: bigint;
}

export type WriteResult =
  | { readonly status: 204 }
  | { readonly status: number; readonly error: string; readonly retryAfterSeconds?: number };

export interface WriteCoordinator {
  write(request: WriteRequest): Promise<WriteResult>;
}

export interface WriteLimits {
  /** Of the body, before and after decompression. */
  readonly bodyBytesMax: number;
  /** When the request names none. */
  readonly defaultConsistency: WriteConsistency;
  readonly nowNs: () => bigint;
}

const PRECISIONS: Readonly<Record<string, WritePrecision>> = {
  '': 'n',
  n: 'n',
  ns: 'n',
  u: 'u',
  µ: 'u',
  us: 'u',
  ms: 'ms',
  s: 's',
  m: 'm',
  h: 'h',
};
const CONSISTENCIES: readonly string[] = ['any', 'one', 'quorum', 'all'];

export type WriteParameters = Pick<WriteRequest, 'database' | 'retentionPolicy' | 'precision' | 'consistency'>;

/** What the URL says, or the error to answer. */
export function parametersOf(url: URL, limits: WriteLimits): WriteParameters | string {
  const get = (name: string): string => url.searchParams.get(name) ?? '';
  const database = get('db');
  if (database === '') return 'database is required';
  const precision = Object.hasOwn(PRECISIONS, get('precision')) ? PRECISIONS[get('precision')] : undefined;
  if (precision === undefined) return `invalid precision "${get('precision')}" (use n, u, ms, s, m or h)`;
  const consistency = get('consistency').toLowerCase() || limits.defaultConsistency;
  if (!CONSISTENCIES.includes(consistency)) return 'invalid consistency level';
  return { database, retentionPolicy: get('rp'), precision, consistency: consistency as WriteConsistency };
}

export function writeBody(
  coordinator: WriteCoordinator,
  parameters: WriteParameters,
  body: readonly Uint8Array[],
  limits: WriteLimits,
): Promise<WriteResult> {
  // Spreading the parameters would take as long as all the rest here.
  const { database, retentionPolicy, precision, consistency } = parameters;
  return coordinator.write({ database, retentionPolicy, precision, consistency, body, nowNs: limits.nowNs() });
}

/** Answers every expected failure itself; rejects only for our own mistakes, after answering 500. */
export async function handleWrite(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  coordinator: WriteCoordinator,
  limits: WriteLimits,
): Promise<void> {
  if (answeredByMethod(request, response, ['POST'])) return;
  const parameters = parametersOf(url, limits);
  let body: readonly Uint8Array[];
  try {
    body = await readPieces(request, limits.bodyBytesMax);
  } catch (error) {
    if (!(error instanceof BodyError)) throw error;
    sendInfluxError(response, error.status, error.message);
    return;
  }
  if (typeof parameters === 'string') {
    sendInfluxError(response, 400, parameters);
    return;
  }
  let result: WriteResult;
  try {
    result = await writeBody(coordinator, parameters, body, limits);
  } catch (error) {
    sendInfluxError(response, 500, 'internal error; safe to retry');
    throw error;
  } finally {
    freePieces(body);
  }
  if ('error' in result) {
    sendInfluxError(response, result.status, result.error, result);
    return;
  }
  response.setHeader('Content-Type', 'application/json');
  response.writeHead(204).end();
}
