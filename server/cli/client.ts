/**
 * The HTTP side of the command line: one place that turns a missing node, an error answer or a cut connection into one
 * clear line.
 */
import { type Command, Option } from 'commander';

export const DEFAULT_URL = 'http://127.0.0.1:8086';
const REQUEST_TIMEOUT_MS = 120_000;

export class CliError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Adds `--url`, which every command but `serve` takes. */
export function withUrl(command: Command): Command {
  return command.addOption(new Option('--url <url>', 'a node of the cluster').env('STARLING_URL').default(DEFAULT_URL));
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

export async function call(
  base: string,
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer> | object,
): Promise<Answer> {
  const isPlain = typeof body === 'string' || body instanceof Uint8Array || body === undefined;
  const url = urlOf(base, path);
  try {
    const response = await fetch(url, {
      method,
      body: isPlain ? body : JSON.stringify(body),
      headers: isPlain ? {} : { 'content-type': 'application/json' },
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return { status: response.status, text: await response.text(), headers: response.headers };
  } catch (error) {
    throw new CliError(unreachable(url, error));
  }
}

/** The JSON answer of a request that must succeed. */
export async function callJson<T>(base: string, method: string, path: string, body?: object): Promise<T> {
  const answer = await call(base, method, path, body);
  if (answer.status < 200 || answer.status > 299) throw new CliError(errorText(answer));
  return JSON.parse(answer.text) as T;
}

/** What an error body says: `{"error": ...}` of the 1.x doors, `{"message": ...}` of the admin API, or the text. */
export function errorText(answer: Answer): string {
  try {
    const parsed = JSON.parse(answer.text) as { error?: string; message?: string };
    const text = parsed.error ?? parsed.message;
    if (text !== undefined) return text;
  } catch {
    // Not JSON: a proxy's page, say. The text itself is the best there is.
  }
  return `${answer.status} ${answer.text.slice(0, 300)}`.trim();
}

export function urlOf(base: string, path: string): URL {
  const withScheme = /^https?:\/\//.test(base) ? base : `http://${base}`;
  if (!URL.canParse(withScheme)) throw new CliError(`--url ${base}: not a URL`, 2);
  return new URL(path, withScheme);
}

export function unreachable(url: URL, error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const why = cause?.code === 'ECONNREFUSED' ? 'nothing listens there' : (cause?.message ?? (error as Error).message);
  return `no answer from ${url.origin}: ${why} (is the node running? --url names another)`;
}
