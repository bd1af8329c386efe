/**
 * Asks a server many statements in few requests. What follows a statement that fails is not executed, and asked again.
 */
import { errors, request } from 'undici';

export interface Series {
  readonly name?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly columns: readonly string[];
  readonly values?: readonly (readonly (string | number | boolean | null)[])[];
}

export interface Result {
  readonly error?: string;
  readonly series?: readonly Series[];
}

interface Body {
  readonly results?: readonly Result[];
  readonly error?: string;
}

/** Some queries have InfluxDB work for ever. */
const ANSWER_MS_MAX = 15_000;
export const NO_ANSWER = 'no answer in time';
const WRITES_MAX = 3;
const NOT_EXECUTED = 'not executed';

/** What is not finite cannot be JSON: InfluxDB says so instead of all answers. */
function parsed(text: string): Body {
  try {
    return JSON.parse(text) as Body;
  } catch {
    return { error: text.trim() };
  }
}

export class Server {
  readonly #url: string;

  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  async #post(
    path: string,
    parameters: Record<string, string>,
    body?: string,
  ): Promise<{ status: number; text: string }> {
    const form = body === undefined;
    const target = form ? `${this.#url}${path}` : `${this.#url}${path}?${new URLSearchParams(parameters)}`;
    const answer = await request(target, {
      headersTimeout: path === '/query' && 'db' in parameters ? ANSWER_MS_MAX : 0,
      bodyTimeout: path === '/query' && 'db' in parameters ? ANSWER_MS_MAX : 0,
      method: 'POST',
      body: form ? new URLSearchParams(parameters).toString() : body,
      headers: form ? { 'content-type': 'application/x-www-form-urlencoded' } : {},
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  }

  /** For statements that must succeed. */
  async order(q: string): Promise<void> {
    const { status, text } = await this.#post('/query', { q });
    if (status !== 200 || text.includes('"error"')) throw new Error(`${q}: ${status} ${text}`);
  }

  async write(database: string, policy: string, lines: readonly string[]): Promise<void> {
    for (let tries = 1; ; tries++) {
      const { status, text } = await this.#post('/write', { db: database, rp: policy }, lines.join('\n'));
      if (status === 204) return;
      // A busy machine may be late, and the same may be sent again.
      const isLate = status === 503 || text.includes('timeout');
      if (!isLate || tries === WRITES_MAX) throw new Error(`write: ${status} ${text}`);
    }
  }

  async ask(database: string, queries: readonly string[], epoch: string): Promise<Result[]> {
    const results: Result[] = [];
    while (results.length < queries.length) {
      const asked = queries.slice(results.length);
      const parameters = { db: database, q: asked.join(';\n'), ...(epoch === '' ? {} : { epoch }) };
      const { text } = await this.#post('/query', parameters).catch((error: unknown) => {
        if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError)
          return { text: NO_ANSWER };
        throw error;
      });
      const body = parsed(text);
      // One that makes InfluxDB panic takes the others with it.
      const panicked = body.results?.some(({ error }) => error?.includes('[panic:') === true) === true;
      if (body.results === undefined || (panicked && asked.length > 1)) {
        if (asked.length === 1) results.push({ error: body.error ?? text.trim() });
        else for (const query of asked) results.push(...(await this.ask(database, [query], epoch)));
        continue;
      }
      const ended = body.results.findIndex(({ error }) => error !== undefined);
      if (ended < 0) results.push(...body.results);
      else {
        results.push(...body.results.slice(0, ended));
        // InfluxDB puts `not executed` in the place of the error when more statements follow.
        const failed = body.results[ended]!;
        const [query] = queries.slice(results.length);
        results.push(
          failed.error === NOT_EXECUTED && asked.length > 1 ? (await this.ask(database, [query!], epoch))[0]! : failed,
        );
      }
    }
    return results;
  }
}
