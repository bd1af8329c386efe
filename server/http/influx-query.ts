/**
 * GET and POST /query as InfluxDB 1.x serves it.
 *
 * Without `chunked` all results are gathered before the first byte: clients that do not ask for chunks read one document,
 * and an error must still be able to set the status. With `chunked` every result is sent as it comes; the socket's
 * fullness holds the query back, and a client that leaves ends it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Ending } from '../query/ending.ts';
import { QueryError } from '../query/query-error.ts';
import type { QueryOptions, QueryService, ResultSeries, StatementResult } from '../query/result.ts';
import { BodyError, readBody } from './body.ts';
import { answeredByMethod, sendInfluxError } from './influx-answer.ts';
import { fieldsOfBody, fieldsOfUrl, type QueryParameters, queryParameters } from './query-parameters.ts';
import { CsvPrinter } from './response-csv.ts';
import { indentJson, jsonError, jsonPieces } from './response-json.ts';

export interface QueryDoorLimits {
  /** Of a form or multipart body. */
  readonly bodyBytesMax: number;
  /** Rows of an answer that is not chunked; 0 = unlimited, as InfluxDB's max-row-limit. */
  readonly rowsMax: number;
  readonly nowNs: () => bigint;
}

/** Text gathered before it is given to the socket. */
const WRITE_CHARACTERS_MIN = 64 * 1024;

/** Answers every expected failure itself; rejects only for our own mistakes, after answering 500. */
export async function handleQuery(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  service: QueryService,
  limits: QueryDoorLimits,
): Promise<void> {
  if (answeredByMethod(request, response, ['GET', 'POST'])) return;
  const fields = fieldsOfUrl(url.searchParams);
  try {
    const body = await readBody(request, limits.bodyBytesMax, 'empty');
    if (request.method === 'POST') {
      for (const [name, value] of fieldsOfBody(request.headers['content-type'] ?? '', body)) fields.set(name, value);
    }
  } catch (error) {
    if (!(error instanceof BodyError)) throw error;
    sendInfluxError(response, error.status, error.message);
    return;
  }
  const csv = wantsCsv(request.headers.accept ?? '');
  const parameters = queryParameters(fields);
  if (typeof parameters === 'string') {
    sendInfluxError(response, 400, parameters, { csv, pretty: fields.get('pretty') === 'true' });
    return;
  }
  await answer(request, response, service, parameters, csv, limits);
}

/** The first type that we know decides; what we do not know gets JSON, as in InfluxDB. */
function wantsCsv(accept: string): boolean {
  for (const part of accept.split(',')) {
    const type = (part.split(';', 1)[0] as string).trim().toLowerCase();
    if (type === 'application/csv' || type === 'text/csv') return true;
    if (type === 'application/json') return false;
  }
  return false;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  service: QueryService,
  parameters: QueryParameters,
  csv: boolean,
  limits: QueryDoorLimits,
): Promise<void> {
  const leaving = new Ending();
  response.on('close', () => {
    if (!response.writableFinished) leaving.end(new QueryError('query interrupted'));
  });
  const options: QueryOptions = {
    ...(parameters.database !== undefined && { database: parameters.database }),
    ...(parameters.retentionPolicy !== undefined && { retentionPolicy: parameters.retentionPolicy }),
    ...(parameters.params !== undefined && { params: parameters.params }),
    nowNs: limits.nowNs(),
    readOnly: request.method !== 'POST',
    chunkSize: parameters.chunkSize,
    completeness: parameters.completeness,
    ...(parameters.consistency !== undefined && { consistency: parameters.consistency }),
    ending: leaving,
  };
  const results = service.execute(parameters.text, options);
  const printer = csv ? new CsvPrinter(parameters.epoch) : null;
  const print = (some: readonly StatementResult[]): Iterable<string | Buffer> => {
    if (printer !== null) return printer.pieces(some);
    const pieces = jsonPieces(some, parameters.epoch);
    return parameters.pretty ? [indentJson(Buffer.concat([...pieces]).toString())] : pieces;
  };
  try {
    if (parameters.chunkSize === null) {
      const gathered = await gather(results, limits.rowsMax);
      begin(response, csv);
      await send(response, print(gathered), leaving, true);
    } else {
      for await (const result of results) {
        begin(response, csv);
        await send(response, print([result]), leaving, false);
      }
      // Nothing came: the text held no statement.
      await send(response, response.headersSent ? [] : print([]), leaving, true);
    }
  } catch (error) {
    if (leaving.reason !== null) return;
    fail(response, error, csv, parameters.pretty);
  }
}

function begin(response: ServerResponse, csv: boolean): void {
  if (!response.headersSent) response.setHeader('Content-Type', csv ? 'text/csv' : 'application/json');
}

/** `ends`: nothing follows. What is one piece then leaves in one write, with its length. */
async function send(
  response: ServerResponse,
  pieces: Iterable<string | Buffer>,
  leaving: Ending,
  ends: boolean,
): Promise<void> {
  let held: string | Buffer = '';
  for (const piece of pieces) {
    if (typeof piece === 'string' && typeof held === 'string' && held.length + piece.length < WRITE_CHARACTERS_MIN) {
      held += piece;
      continue;
    }
    if (held.length > 0 && !response.write(held)) await drained(response, leaving);
    held = piece;
  }
  leaving.throwIfEnded();
  if (ends) {
    if (!response.headersSent) response.setHeader('Content-Length', Buffer.byteLength(held));
    response.end(held);
  } else if (held.length > 0 && !response.write(held)) await drained(response, leaving);
}

function drained(response: ServerResponse, leaving: Ending): Promise<void> {
  return new Promise((resolve, reject) => {
    const left = (): void => reject(leaving.reason!);
    leaving.onEnd(left);
    response.once('drain', () => {
      leaving.forget(left);
      resolve();
    });
  });
}

function fail(response: ServerResponse, error: unknown, csv: boolean, pretty: boolean): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  if (code === 'query-parse') {
    const prefix = 'error parsing query: ';
    sendInfluxError(response, 400, message.startsWith(prefix) ? message : prefix + message, { csv, pretty });
    return;
  }
  const status = error instanceof Error && 'status' in error ? Number(error.status) : 500;
  if (!response.headersSent) {
    const retry = status === 503 ? { retryAfterSeconds: 1 } : {};
    sendInfluxError(response, status >= 400 && status <= 599 ? status : 500, message, { csv, pretty, ...retry });
  } else {
    // Chunks are out already: the error is one more document, which every client of chunked answers reads.
    response.end(csv ? '' : jsonError(message));
  }
  if (code === undefined) throw error;
}

/** All results, those of one statement put together again, cut at the row limit. */
async function gather(results: AsyncGenerator<StatementResult>, rowsMax: number): Promise<StatementResult[]> {
  const gathered: StatementResult[] = [];
  let rows = 0;
  for await (const arrived of results) {
    const result = rowsMax > 0 ? cut(arrived, rowsMax - rows) : arrived;
    for (const series of result.series ?? []) rows += series.values.length;
    const last = gathered.at(-1);
    if (last?.statementId === result.statementId && last.partial === true) {
      gathered[gathered.length - 1] = joined(last, result);
    } else gathered.push(result);
    if (rowsMax > 0 && rows >= rowsMax) break;
  }
  // Nothing follows any more: a statement's own `partial` would make the client wait for more.
  const last = gathered.at(-1);
  if (last?.partial === true) gathered[gathered.length - 1] = { ...last, partial: false };
  return gathered;
}

function cut(result: StatementResult, rowsLeft: number): StatementResult {
  const kept: ResultSeries[] = [];
  let left = rowsLeft;
  for (const series of result.series ?? []) {
    const fits = series.values.length <= left;
    kept.push(fits ? series : { ...series, values: series.values.slice(0, left), partial: true });
    left -= Math.min(left, series.values.length);
    if (left === 0) break;
  }
  return result.series === undefined ? result : { ...result, series: kept };
}

function joined(first: StatementResult, second: StatementResult): StatementResult {
  const series = [...(first.series ?? [])];
  const more = [...(second.series ?? [])];
  const open = series.at(-1);
  const next = more[0];
  if (open?.partial === true && next !== undefined && open.name === next.name) {
    const values = [...open.values, ...next.values];
    const { partial: _partial, ...rest } = open;
    series[series.length - 1] = { ...rest, values, ...(next.partial === true && { partial: true }) };
    more.shift();
  }
  const messages = [...(first.messages ?? []), ...(second.messages ?? [])];
  return {
    ...first,
    ...second,
    ...(series.length + more.length > 0 && { series: [...series, ...more] }),
    ...(messages.length > 0 && { messages }),
    partial: second.partial === true,
  };
}
