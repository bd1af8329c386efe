/**
 * The HTTP front of a node: the door of plain requests (plain-door.ts) for writes and queries, node:http for the rest of
 * what is hot (queries and writes that are not plain, ping, other nodes), Express for what is left.
 *
 * Express costs three times as much per request on Node 20, so it only sees what people and admin programs ask.
 * A request that cannot be answered yet (the node is starting or joining) gets 503 with Retry-After, never a wait.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { ListenAddress } from '../config-values.ts';
import { listenError } from '../listen-error.ts';
import { ClientErrors } from './client-error.ts';
import { answeredByMethod, type ErrorForm, errorAnswer } from './influx-answer.ts';
import { handlePing, setInfluxHeaders } from './influx-ping.ts';
import { handleQuery } from './influx-query.ts';
import { handleWrite, WRITE_V1, type WriteApi } from './influx-write.ts';
import { PlainDoor, type PlainDoorPorts } from './plain-door.ts';
import { Segments } from './segments.ts';
import { WRITE_V2 } from './v2-write.ts';

/** Keep-alive of agents that push every few seconds. */
const KEEP_ALIVE_MS = 65_000;
/** What a member's connection begins with (peers-link.ts). */
const PEER_REQUEST = Buffer.from('GET /internal/peer ');
/** A connection that begins so has to be upgraded within this time, however busy it is. */
const PEER_TIMEOUT_MS = 30_000;
/** Silent connections at the door are looked for so often. */
const SWEEP_MS = 5_000;

/** What the routes need; null parts are not there yet, and their routes answer 503. */
export interface HttpPorts extends PlainDoorPorts {
  internalCall(request: IncomingMessage, response: ServerResponse): Promise<void>;
  internalQuery(request: IncomingMessage, response: ServerResponse): Promise<void>;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface HttpFront {
  readonly app: Express;
  readonly port: number;
  /** No new requests; resolves when those that are served are answered, or cut off a little later. */
  close(): Promise<void>;
  /** Cuts off whoever is left. */
  destroy(): void;
}

/** Listens; throws StartError when the address cannot be had. */
export async function startHttp(listen: ListenAddress, ports: HttpPorts): Promise<HttpFront> {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  const errors = new ClientErrors();
  const makeServer = (): Server =>
    createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
      errors.serving(request, response);
      route(app, ports, request, response);
    }).on('clientError', (error, socket) => errors.refuse(error, socket as Socket));
  const server = makeServer();
  // Of its own, and never listening: a server that can upgrade no longer answers whoever merely offers to (h2c), as some
  // clients do with every request.
  const peers = makeServer();
  // A server that does not listen knows neither its connections nor its own timeouts.
  const notUpgraded = new Map<Duplex, NodeJS.Timeout>();
  const forget = (socket: Duplex): void => {
    clearTimeout(notUpgraded.get(socket));
    notUpgraded.delete(socket);
  };
  peers.on('connection', (socket) => {
    notUpgraded.set(socket, setTimeout(() => socket.destroy(), PEER_TIMEOUT_MS).unref());
    socket.on('close', () => forget(socket));
  });
  peers.on('upgrade', (request, socket, head) => {
    forget(socket);
    ports.upgrade(request, socket, head);
  });
  const door = openPlainDoor(server, ports, (firstBytes) => (isFromPeer(firstBytes) ? peers : server));
  const destroy = (): void => {
    server.closeAllConnections();
    for (const socket of notUpgraded.keys()) socket.destroy();
    door.closeAllConnections();
  };
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, listen)));
    server.listen(listen.port, listen.host, resolve);
  });
  const sweeper = setInterval(() => door.sweep(performance.now()), SWEEP_MS);
  sweeper.unref();
  return {
    app,
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        clearInterval(sweeper);
        server.close(() => resolve());
        server.closeIdleConnections();
        door.close();
        setTimeout(destroy, 2_000).unref();
      }),
    destroy() {
      clearInterval(sweeper);
      destroy();
      server.close();
    },
  };
}

function isFromPeer(firstBytes: Buffer): boolean {
  return firstBytes.subarray(0, PEER_REQUEST.length).equals(PEER_REQUEST);
}

/** The door takes the connections that the server accepts, and gives those that it does not serve itself to `choose`'s. */
export function openPlainDoor(
  server: Server,
  ports: PlainDoorPorts,
  choose: (firstBytes: Buffer) => Server = () => server,
  segments = new Segments(),
): PlainDoor {
  const serve = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners('connection');
  const timeouts = {
    headersMs: server.headersTimeout,
    requestMs: server.requestTimeout,
    keepAliveMs: server.keepAliveTimeout,
  };
  const handOver = (socket: Socket, firstBytes: Buffer): void => {
    const chosen = choose(firstBytes);
    if (chosen !== server) chosen.emit('connection', socket);
    else for (const listener of serve) listener.call(server, socket);
  };
  const door = new PlainDoor(ports, timeouts, handOver, segments);
  server.on('connection', (socket: Socket) => door.take(socket));
  return door;
}

/** To be added behind all routes. */
export function addErrorHandling(app: Express, log: HttpPorts['log']): void {
  app.use((request: Request, response: Response) => {
    sendError(response, 404, 'not found', `no such path: ${request.method} ${request.path}`);
  });
  app.use(
    (error: Error & { status?: number; code?: string }, _request: Request, response: Response, next: NextFunction) => {
      if (response.headersSent) return next(error);
      const status = error.status !== undefined && error.status >= 400 && error.status < 600 ? error.status : 500;
      if (status === 500) log.error({ problem: error.stack }, 'request failed');
      // Of a body that cannot be read nothing but the status says whose fault it is.
      const code = typeof error.code === 'string' ? error.code : status < 500 ? 'invalid' : 'internal error';
      sendError(response, status, code, error.message);
    },
  );
}

/** The admin API's errors: `{code, message}`, the code also as a header. */
export function sendError(response: Response, status: number, code: string, message: string): void {
  response.status(status).set('X-Platform-Error-Code', code).json({ code, message });
}

function route(app: Express, ports: HttpPorts, request: IncomingMessage, response: ServerResponse): void {
  const text = request.url ?? '/';
  const end = text.indexOf('?');
  const path = end < 0 ? text : text.slice(0, end);
  switch (path) {
    case '/write':
      writeDoor(WRITE_V1, ports, request, response);
      return;
    case '/api/v2/write':
      writeDoor(WRITE_V2, ports, request, response);
      return;
    case '/query':
      door('query', {}, ports, request, response, (url) =>
        handleQuery(request, response, url, ports.queryService(), ports.queryLimits),
      );
      return;
    case '/ping': {
      setInfluxHeaders(request, response, ports.version);
      request.resume();
      const url = urlOf(text);
      if (url === null) response.writeHead(400).end();
      else handlePing(request, response, url, ports.version);
      return;
    }
    case '/status':
      setInfluxHeaders(request, response, ports.version);
      request.resume();
      if (!answeredByMethod(request, response, ['GET', 'HEAD'])) response.writeHead(204).end();
      return;
    case '/internal/call':
      guarded(ports, response, ports.internalCall(request, response));
      return;
    case '/internal/query':
      guarded(ports, response, ports.internalQuery(request, response));
      return;
    default:
      app(request, response);
  }
}

function writeDoor(api: WriteApi, ports: HttpPorts, request: IncomingMessage, response: ServerResponse): void {
  door('write', { v2: api === WRITE_V2 }, ports, request, response, (url) =>
    handleWrite(request, response, url, ports.coordinator(), ports.writeLimits, api),
  );
}

function door(
  name: 'write' | 'query',
  form: ErrorForm,
  ports: HttpPorts,
  request: IncomingMessage,
  response: ServerResponse,
  handle: (url: URL) => Promise<void>,
): void {
  const began = performance.now();
  setInfluxHeaders(request, response, ports.version);
  response.on('close', () => ports.observe(name, (performance.now() - began) / 1000, response.statusCode));
  const text = request.url ?? '/';
  const url = name === 'write' ? writeUrlOf(text) : urlOf(text);
  const problem = url === null ? 'bad request' : ports.notReady();
  if (url === null || problem !== null) {
    request.resume();
    const status = url === null ? 400 : 503;
    const { headers, body } = errorAnswer(status, problem!, url === null ? form : { ...form, retryAfterSeconds: 1 });
    for (const [header, value] of headers) response.setHeader(header, value);
    response.writeHead(status).end(Buffer.from(body));
    return;
  }
  guarded(ports, response, handle(url));
}

/** A handler that throws has a fault of ours in it: it is logged, answered with 500, and the process goes on. */
function guarded(ports: HttpPorts, response: ServerResponse, work: Promise<void>): void {
  work.catch((error: Error) => {
    ports.log.error({ problem: error.stack }, 'request failed');
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { 'Content-Type': 'application/json' }).end('{"error":"internal error"}\n');
  });
}

/** Agents repeat the URL of their writes; parsing it takes as long as a line of the body. */
const writeUrls = new Map<string, URL | null>();
const WRITE_URLS_MAX = 256;
const WRITE_URL_LENGTH_MAX = 1024;

function writeUrlOf(text: string): URL | null {
  let url = writeUrls.get(text);
  if (url === undefined) {
    url = urlOf(text);
    if (writeUrls.size >= WRITE_URLS_MAX) writeUrls.clear();
    if (text.length <= WRITE_URL_LENGTH_MAX) writeUrls.set(text, url);
  }
  return url;
}

function urlOf(text: string): URL | null {
  return URL.canParse(text, 'http://node') ? new URL(text, 'http://node') : null;
}
