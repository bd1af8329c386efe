/**
 * What node:http makes of bytes that are no HTTP, or come too slowly: the client is told so, once, and cut off.
 *
 * An error behind a request that was read whole is not that request's: its answer goes first, or the client would take
 * the error for it, in the middle of a body too. Some time is left to read the answer, but not for as long as the client
 * likes: node:http has no more to do with the connection, and nobody else would end it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

const READ_MS_MAX = 2_000;

const ANSWERS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

export class ClientErrors {
  /** The newest response of a connection; those before it leave first. */
  readonly #newest = new WeakMap<Socket, ServerResponse>();
  readonly #refused = new WeakSet<Socket>();

  /** To be called with every request. */
  serving(request: IncomingMessage, response: ServerResponse): void {
    this.#newest.set(request.socket, response);
  }

  /** The listener of 'clientError'. */
  refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    // What a client that was refused goes on sending is an error each time.
    if (error.code === 'ECONNRESET' || !socket.writable || this.#refused.has(socket)) return;
    this.#refused.add(socket);
    const status = ANSWERS[error.code ?? ''] ?? '400 Bad Request';
    const answer = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;
    const response = this.#newest.get(socket);
    if (response === undefined || response.writableFinished) cutOff(socket, answer);
    else if (response.req.complete) response.once('finish', () => cutOff(socket, answer));
    else if (response.headersSent) socket.destroy();
    else cutOff(socket, answer);
  }
}

/** The last that the client is told. The socket's data must be read by somebody, or its end is not seen before the time. */
export function cutOff(socket: Duplex, answer: string): void {
  if (!socket.writable) return;
  socket.end(answer);
  const late = setTimeout(() => socket.destroy(), READ_MS_MAX);
  socket.once('close', () => clearTimeout(late));
}
