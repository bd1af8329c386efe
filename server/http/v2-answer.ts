/** Errors as InfluxDB 2.x tells them: `{code, message}`, the code also as a header. */
import type { ErrorAnswer, ErrorForm } from './influx-answer.ts';

/** What clients of 2.x go by; the admin API has the same (server.ts). */
const CODES: Readonly<Record<number, string>> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not found',
  405: 'method not allowed',
  413: 'request too large',
  422: 'unprocessable entity',
  429: 'too many requests',
  501: 'not implemented',
  503: 'unavailable',
};

export function v2ErrorAnswer(status: number, message: string, form: ErrorForm): ErrorAnswer {
  const code = form.code ?? CODES[status] ?? (status < 500 ? 'invalid' : 'internal error');
  const headers: [string, string][] = [['X-Platform-Error-Code', code]];
  if (form.retryAfterSeconds !== undefined) headers.push(['Retry-After', String(form.retryAfterSeconds)]);
  headers.push(['Content-Type', 'application/json; charset=utf-8']);
  return { headers, body: `${JSON.stringify({ code, message, ...form.more })}\n` };
}
