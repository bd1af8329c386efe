/**
 * Short answers of the InfluxDB door: errors, wrong methods.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { csvError } from './response-csv.ts';
import { indentJson, jsonError } from './response-json.ts';
import { v2ErrorAnswer } from './v2-answer.ts';

const HEADER_CHARACTERS_MAX = 1_000;

/** UTF-8 bytes as Go sends them, without what a header cannot hold. */
function headerText(text: string): string {
  const bytes = Buffer.from(text.slice(0, HEADER_CHARACTERS_MAX)).toString('latin1');
  return bytes.replace(/[\x00-\x1f\x7f]/g, ' ');
}

export interface ErrorForm {
  readonly csv?: boolean;
  readonly pretty?: boolean;
  readonly retryAfterSeconds?: number;
  /** As 2.x tells errors. */
  readonly v2?: boolean;
  /** There: what the status alone does not say. */
  readonly code?: string;
  /** Beside the error, in JSON. */
  readonly more?: Readonly<Record<string, unknown>>;
}

export interface ErrorAnswer {
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

export function errorAnswer(status: number, message: string, form: ErrorForm): ErrorAnswer {
  if (form.v2 === true) return v2ErrorAnswer(status, message, form);
  const headers: [string, string][] = [];
  if (status !== 401) headers.push(['X-Influxdb-Error', headerText(message)]);
  if (form.retryAfterSeconds !== undefined) headers.push(['Retry-After', String(form.retryAfterSeconds)]);
  headers.push(['Content-Type', form.csv === true ? 'text/csv' : 'application/json']);
  const json = form.more === undefined ? jsonError(message) : `${JSON.stringify({ error: message, ...form.more })}\n`;
  return { headers, body: form.csv === true ? csvError(message) : form.pretty === true ? indentJson(json) : json };
}

export function sendInfluxError(response: ServerResponse, status: number, message: string, form: ErrorForm = {}): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { headers, body } = errorAnswer(status, message, form);
  response.statusCode = status;
  for (const [name, value] of headers) response.setHeader(name, value);
  // What of the body is still under way would be taken for the next request.
  if (!response.req.complete) response.setHeader('Connection', 'close');
  // As bytes: Node would encode the headers like a body that is text, and theirs are bytes already.
  response.end(Buffer.from(body));
}

/** True when the request was answered here: OPTIONS, or a method that the path does not have. */
export function answeredByMethod(
  request: IncomingMessage,
  response: ServerResponse,
  allowed: readonly string[],
): boolean {
  if (allowed.includes(request.method ?? '')) return false;
  request.resume();
  response.setHeader('Allow', [...allowed, 'OPTIONS'].join(', '));
  if (request.method === 'OPTIONS') {
    response.writeHead(204).end();
    return true;
  }
  response.statusCode = 405;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.end('Method Not Allowed\n');
  return true;
}
