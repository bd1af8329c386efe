/** GET and POST /query for the requests that node:http reads; plain ones are served by plain-door.ts. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Ending } from '../query/ending.ts';
import { QueryError } from '../query/query-error.ts';
import type { QueryService } from '../query/result.ts';
import { BodyError, readBody } from './body.ts';
import { answeredByMethod, type ErrorForm, sendInfluxError } from './influx-answer.ts';
import { type AnswerSink, answerQuery, type QueryDoorLimits, wantsCsv } from './query-answer.ts';
import { fieldsOfBody, fieldsOfQuery } from './query-parameters.ts';

/** Answers every expected failure itself; rejects only for our own mistakes, after answering 500. */
export async function handleQuery(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  service: QueryService,
  limits: QueryDoorLimits,
): Promise<void> {
  if (answeredByMethod(request, response, ['GET', 'POST'])) return;
  const fields = fieldsOfQuery(url.search.slice(1));
  const method = request.method!;
  try {
    const body = await readBody(request, limits.bodyBytesMax, 'empty');
    if (method === 'POST') {
      for (const [name, value] of fieldsOfBody(request.headers['content-type'] ?? '', body)) fields.set(name, value);
    }
  } catch (error) {
    if (!(error instanceof BodyError)) throw error;
    sendInfluxError(response, error.status, error.message);
    return;
  }
  const csv = wantsCsv(request.headers.accept ?? '');
  const leaving = new Ending();
  response.on('close', () => {
    if (!response.writableFinished) leaving.end(new QueryError('query interrupted'));
  });
  await answerQuery({ method, fields, csv }, new ResponseSink(response, csv), leaving, service, limits);
}

class ResponseSink implements AnswerSink {
  readonly #response: ServerResponse;
  readonly #type: string;

  constructor(response: ServerResponse, csv: boolean) {
    this.#response = response;
    this.#type = csv ? 'text/csv' : 'application/json';
  }

  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  write(piece: string | Buffer): boolean {
    this.#begin();
    return this.#response.write(piece);
  }

  onDrained(listener: () => void): void {
    this.#response.once('drain', listener);
  }

  end(piece: string | Buffer): void {
    this.#begin();
    if (!this.hasBegun) this.#response.setHeader('Content-Length', Buffer.byteLength(piece));
    this.#response.end(piece);
  }

  noContent(): void {
    this.#response.writeHead(204, { 'Content-Type': 'application/json' }).end();
  }

  breakOff(): void {
    this.#response.destroy();
  }

  refuse(status: number, message: string, form: ErrorForm): void {
    sendInfluxError(this.#response, status, message, form);
  }

  #begin(): void {
    if (!this.hasBegun) this.#response.setHeader('Content-Type', this.#type);
  }
}
