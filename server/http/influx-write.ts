/**
 * POST /write as InfluxDB 1.x serves it, for the requests that node:http reads; plain ones are served by plain-door.ts.
 *
 * What /api/v2/write (v2-write.ts) has in other words is a `WriteApi`; all else is the same.
 *
 * `receipt=1` asks for a token that names the batches of the write (receipt.ts): 200 and JSON instead of 204.
 * The type of the body is not looked at: agents send text/plain, octet-stream, an empty type or none. Credentials in the
 * URL (`u`, `p`) are accepted and go nowhere.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { RECEIPT_BATCHES_MAX, type ReceiptBatch } from '../receipt.ts';
import { BodyError, freePieces, readPieces } from './body.ts';
import { answeredByMethod, type ErrorForm, sendInfluxError } from './influx-answer.ts';

/** As the line-protocol parser knows them; the door maps '' and 'ns' to 'n'. */
export type WritePrecision = 'n' | 'u' | 'ms' | 's' | 'm' | 'h';
export type WriteConsistency = 'any' | 'one' | 'quorum' | 'all';
/** Where a request names none. */
export const DEFAULT_CONSISTENCY: WriteConsistency = 'one';

export interface WriteRequest {
  readonly database: string;
  /** '' means the database's default. */
  readonly retentionPolicy: string;
  readonly precision: WritePrecision;
  readonly consistency: WriteConsistency;
  /** In pieces as they came, in order. */
  readonly body: readonly Uint8Array[];
  readonly nowNs: bigint;
  /** The batches are to be named in the result. */
  readonly receipt?: boolean;
}

export interface Refusal {
  readonly status: number;
  readonly error: string;
  readonly retryAfterSeconds?: number;
  /** Of the good lines of a write that was taken in part. */
  readonly batches?: readonly ReceiptBatch[];
}

export type WriteResult = { readonly status: 204; readonly batches?: readonly ReceiptBatch[] } | Refusal;

export interface WriteCoordinator {
  /** `answered` is called once, at once or later. */
  write(request: WriteRequest, answered: (result: WriteResult) => void): void;
}

export interface WriteLimits {
  /** Of the body, before and after decompression. */
  readonly bodyBytesMax: number;
  /** When the request names none. */
  readonly defaultConsistency: WriteConsistency;
  readonly nowNs: () => bigint;
  /** null: more batches than a receipt holds. */
  receiptOf(batches: readonly ReceiptBatch[]): string | null;
}

/** By the names that clients give them; without one it is nanoseconds. */
export const WRITE_PRECISIONS: ReadonlyMap<string, WritePrecision> = new Map([
  ['', 'n'],
  ['n', 'n'],
  ['ns', 'n'],
  ['u', 'u'],
  ['µ', 'u'],
  ['us', 'u'],
  ['ms', 'ms'],
  ['s', 's'],
  ['m', 'm'],
  ['h', 'h'],
]);
const CONSISTENCIES: readonly string[] = ['any', 'one', 'quorum', 'all'];

export type WriteParameters = Pick<WriteRequest, 'database' | 'retentionPolicy' | 'precision' | 'consistency'> & {
  readonly receipt: boolean;
};

/** What the paths that take line protocol differ in. */
export interface WriteApi {
  /** What the URL says, or the error to answer. */
  parametersOf(url: URL, limits: WriteLimits): WriteParameters | string;
  /** How it is told. */
  refusalOf(refused: Refusal): Refusal & ErrorForm;
}

export const WRITE_V1: WriteApi = { parametersOf, refusalOf: (refused) => refused };

function parametersOf({ searchParams }: URL, limits: WriteLimits): WriteParameters | string {
  const get = (name: string): string => searchParams.get(name) ?? '';
  const database = get('db');
  if (database === '') return 'database is required';
  const precision = WRITE_PRECISIONS.get(get('precision'));
  if (precision === undefined) return `invalid precision "${get('precision')}" (use n, u, ms, s, m or h)`;
  return writtenAs(searchParams, { database, retentionPolicy: get('rp'), precision }, limits);
}

/** With those parameters that all paths have. */
export function writtenAs(
  searchParams: URLSearchParams,
  { database, retentionPolicy, precision }: Pick<WriteRequest, 'database' | 'retentionPolicy' | 'precision'>,
  limits: WriteLimits,
): WriteParameters | string {
  const consistency = (searchParams.get('consistency') ?? '').toLowerCase() || limits.defaultConsistency;
  if (!CONSISTENCIES.includes(consistency)) return 'invalid consistency level';
  const wanted = searchParams.get('receipt');
  const receipt = wanted === '1' || wanted === 'true';
  return { database, retentionPolicy, precision, consistency: consistency as WriteConsistency, receipt };
}

export function writeBody(
  coordinator: WriteCoordinator,
  parameters: WriteParameters,
  body: readonly Uint8Array[],
  limits: WriteLimits,
  answered: (result: WriteResult) => void,
): void {
  // Spreading the parameters would take as long as all the rest here.
  const { database, retentionPolicy, precision, consistency, receipt } = parameters;
  const nowNs = limits.nowNs();
  coordinator.write({ database, retentionPolicy, precision, consistency, body, nowNs, receipt }, answered);
}

/** Answers every expected failure itself; rejects only for our own mistakes, after answering 500. */
export async function handleWrite(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  coordinator: WriteCoordinator,
  limits: WriteLimits,
  api: WriteApi = WRITE_V1,
): Promise<void> {
  if (answeredByMethod(request, response, ['POST'])) return;
  const refuse = (refused: Refusal, more: ErrorForm = {}): void => {
    const refusal = api.refusalOf(refused);
    sendInfluxError(response, refusal.status, refusal.error, { ...refusal, ...more });
  };
  const parameters = api.parametersOf(url, limits);
  let body: readonly Uint8Array[];
  try {
    body = await readPieces(request, limits.bodyBytesMax);
  } catch (error) {
    if (!(error instanceof BodyError)) throw error;
    refuse({ status: error.status, error: error.message });
    return;
  }
  if (typeof parameters === 'string') {
    refuse({ status: 400, error: parameters });
    return;
  }
  let result: WriteResult;
  try {
    result = await new Promise((answered) => {
      writeBody(coordinator, parameters, body, limits, answered);
    });
  } catch (error) {
    refuse({ status: 500, error: 'internal error; safe to retry' });
    throw error;
  } finally {
    freePieces(body);
  }
  const { batches } = result;
  if ('error' in result) {
    refuse(result, batches === undefined || batches.length === 0 ? {} : { more: receiptFor(batches, limits) });
    return;
  }
  response.setHeader('Content-Type', 'application/json');
  if (batches !== undefined) {
    response.writeHead(200).end(`${JSON.stringify(receiptFor(batches, limits))}\n`);
    return;
  }
  response.writeHead(204).end();
}

function receiptFor(batches: readonly ReceiptBatch[], limits: WriteLimits): Record<string, unknown> {
  if (batches.length === 0) return { receipt: null, batches: 0, message: 'nothing was written' };
  const receipt = limits.receiptOf(batches);
  if (receipt !== null) return { receipt, batches: batches.length };
  const message = `written; a receipt holds at most ${RECEIPT_BATCHES_MAX} batches: write fewer time ranges at once`;
  return { receipt, batches: batches.length, message };
}
