/** Support: a server with or without the door of plain requests, and requests to it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleQuery } from '../../server/http/influx-query.ts';
import {
  handleWrite,
  WRITE_V1,
  type WriteCoordinator,
  type WriteLimits,
  type WriteRequest,
  type WriteResult,
} from '../../server/http/influx-write.ts';
import type { PlainDoor } from '../../server/http/plain-door.ts';
import type { Segments } from '../../server/http/segments.ts';
import { openPlainDoor } from '../../server/http/server.ts';
import { WRITE_V2 } from '../../server/http/v2-write.ts';
import {
  type QueryOptions,
  QueryParseError,
  type QueryService,
  QueryUnavailableError,
  type StatementResult,
} from '../../server/query/result.ts';

export const LIMITS = {
  bodyBytesMax: 5_000,
  defaultConsistency: 'one',
  nowNs: () => 42n,
  receiptOf: () => null,
} as const;
export const QUERY_LIMITS = { bodyBytesMax: 5_000, rowsMax: 0, nowNs: LIMITS.nowNs };
export const KEEP_ALIVE_MS = 65_000;
const VERSION = '0.1.0';

/** A server with or without the door, and what its coordinator was given. */
export class Side {
  readonly server: Server;
  readonly door: PlainDoor | null;
  readonly arrived: string[] = [];
  readonly observed: number[] = [];
  /** Requests that node:http was given. */
  slow = 0;
  problem: string | null = null;
  answer: (body: string) => Promise<WriteResult> = async (body) =>
    body.startsWith('bad') ? { status: 400, error: `unable to parse '${body}': ä` } : { status: 204 };

  answered = (result: WriteResult, answered: (result: WriteResult) => void): void => answered(result);

  /** What statements answer. */
  results: (text: string, options: QueryOptions) => AsyncGenerator<StatementResult> = scripted;
  readonly #service: QueryService = {
    execute: (text, options) => {
      const { ending: _ending, params: _params, ...said } = options;
      const shown = JSON.stringify({ text, ...said }, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
      this.arrived.push(shown);
      return this.results(text, options);
    },
  };

  /** `segments`: what the door reads long bodies into. */
  constructor(hasDoor: boolean, segments?: Segments, limits: WriteLimits = LIMITS) {
    const coordinator = {
      write: ({ database, precision, body }: WriteRequest, answered: (result: WriteResult) => void) => {
        const text = Buffer.concat(body).toString('latin1');
        this.arrived.push(`${database} ${precision} ${text}`);
        void this.answer(text).then((result) => this.answered(result, answered));
      },
    };
    this.server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
      this.slow++;
      this.#serve(request, response, coordinator, limits);
    });
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET' || !socket.writable) return;
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    });
    const ports = {
      version: VERSION,
      writeLimits: limits,
      queryLimits: QUERY_LIMITS,
      queryService: () => this.#service,
      notReady: () => this.problem,
      coordinator: () => coordinator,
      observe: (_route: string, _seconds: number, status: number) => this.observed.push(status),
      log: { error: () => {} },
    };
    this.door = hasDoor ? openPlainDoor(this.server, ports, undefined, segments) : null;
  }

  #serve(request: IncomingMessage, response: ServerResponse, coordinator: WriteCoordinator, limits: WriteLimits): void {
    setInfluxHeaders(request, response, VERSION);
    const url = new URL(request.url ?? '/', 'http://x');
    if (url.pathname === '/write' || url.pathname === '/api/v2/write') {
      const api = url.pathname === '/write' ? WRITE_V1 : WRITE_V2;
      void handleWrite(request, response, url, coordinator, limits, api).catch(() => {});
      return;
    }
    if (url.pathname === '/query') {
      void handleQuery(request, response, url, this.#service, QUERY_LIMITS).catch(() => {});
      return;
    }
    request.resume();
    response.setHeader('Content-Type', 'text/plain');
    response.end(`${request.method} ${request.url}\n`);
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
      this.door?.closeAllConnections();
    });
  }

  connect(): Socket {
    return connect({ port: (this.server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  }
}

/** One series, with as many rows as the text asks for. */
async function* scripted(text: string): AsyncGenerator<StatementResult> {
  if (text.startsWith('bad')) throw new QueryParseError(`error parsing query: ${text} ä`);
  if (text.startsWith('busy')) throw new QueryUnavailableError('not now', 503);
  if (text === 'mistake') throw new Error('a mistake');
  const values = Array.from({ length: Number(/rows (\d+)/.exec(text)?.[1] ?? 1) }, (_, row) => [BigInt(row), text]);
  const statements = text.split(';').length;
  for (let statementId = 0; statementId < statements; statementId++)
    yield { statementId, series: [{ name: 'm', columns: ['time', 'text'], timeColumn: 0, values }] };
}

export function query(parameters: string, headers = ''): Buffer {
  return Buffer.from(`GET /query?${parameters} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`, 'latin1');
}

export function form(body: string, headers = '', parameters = 'db=t'): Buffer {
  const type = 'Content-Type: application/x-www-form-urlencoded\r\n';
  const head = `POST /query?${parameters} HTTP/1.1\r\nHost: x\r\n${type}${headers}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.from(head + body, 'latin1');
}

/** How many whole answers are in the text: with a length, in chunks, or 204. */
export function answersIn(text: string): number {
  let count = 0;
  for (let at = 0; ; count++) {
    const headEnd = text.indexOf('\r\n\r\n', at);
    if (headEnd < 0) return count;
    const head = text.slice(at, headEnd);
    at = headEnd + 4;
    if (/Transfer-Encoding: chunked/i.test(head)) {
      const end = text.indexOf('0\r\n\r\n', at);
      if (end < 0) return count;
      at = end + 5;
    } else at += Number(/Content-Length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (at > text.length) return count;
  }
}

export function write(body: string | Buffer, headers = '', query = 'db=t', path = '/write'): Buffer {
  const bytes = Buffer.from(body as string, 'latin1');
  const head = `POST ${path}?${query} HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

export const POINT = 'cpu,host=a usage=1';
