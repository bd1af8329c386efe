/** What node:http cannot read, behind `ClientErrors`: told once, in order, and the connection ends. */
import { createServer, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClientErrors } from '../../server/http/client-error.ts';

const NOISE = 'no HTTP at all\r\n\r\n';

let server: Server;
let port: number;
let handle: (response: ServerResponse) => void;
/** Called with each error that node:http reports. */
let onError: () => void;

async function listen(options: ServerOptions): Promise<void> {
  const errors = new ClientErrors();
  handle = (response) => response.end('done');
  onError = () => {};
  server = createServer(options, (request, response) => {
    errors.serving(request, response);
    handle(response);
  });
  server.on('clientError', (error, socket) => {
    errors.refuse(error, socket as Socket);
    onError();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
}

function close(): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

beforeEach(() => listen({}));
afterEach(close);

/** A client that closes nothing by itself. */
function open(): { readonly socket: Socket; readonly closed: Promise<unknown>; readonly text: Promise<string> } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.on('close', resolve));
  const text = new Promise<string>((resolve) => socket.on('end', () => resolve(received)));
  return { socket, closed, text };
}

describe('clients that speak no HTTP', () => {
  test('are told so once, and cut off although they go on', async () => {
    const { socket, text, closed } = open();
    socket.write(NOISE);
    expect(await text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n.*\r\n\r\n$/s);
    const more = setInterval(() => socket.write(NOISE), 20);
    await closed;
    clearInterval(more);
  });

  test('are told when they are too slow', async () => {
    await close();
    // Of this server only: on a busy machine any client may be as slow.
    await listen({ headersTimeout: 40, connectionsCheckingInterval: 10 });
    const { socket, text } = open();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
    expect(await text).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    socket.destroy();
  });

  test('get the answer to what they asked before it first', async () => {
    let response!: ServerResponse;
    handle = (each) => {
      response = each;
    };
    onError = () => response.end('first');
    const { socket, text } = open();
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n\r\n${NOISE}`);
    expect(await text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\n\r\nfirstHTTP\/1\.1 400 Bad Request\r\n/s);
    socket.destroy();
  });

  test('get an answer that has begun as a whole first', async () => {
    let response!: ServerResponse;
    handle = (each) => {
      response = each;
      response.write('one');
    };
    onError = () => response.end('two');
    const { socket, text } = open();
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\n\r\n${NOISE}${NOISE}`);
    expect(await text).toMatch(/\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP\/1\.1 400 Bad Request\r\n/);
    socket.destroy();
  });

  test('are refused within a body as well', async () => {
    handle = () => {};
    const { socket, text } = open();
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n');
    expect(await text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    socket.destroy();
  });
});
