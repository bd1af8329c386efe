/**
 * The door of writes: takes every connection first, and serves plain writes on it straight from the socket.
 *
 * A request of twenty lines costs more in node:http than in everything else on this thread: objects, events, header maps.
 * Here a head is a string that is looked up (write-head.ts) and an answer is one string (write-answers.ts). Anything else,
 * the request line of a query as well as a head that came in two parts, is given to node:http with the bytes read so far,
 * and the connection stays there for its life. So there is one HTTP server, node:http's, which decides all that is not
 * plain: methods, paths, chunked bodies, too large ones, malformed and hostile ones.
 *
 * State of a connection, and what may come:
 *
 *   waiting  data: a plain head -> body, or busy when its body is there; else -> node:http
 *            end: closed. Nothing for so long as node:http would wait: closed (before the first request with 408)
 *   body     data: until all of it is there -> busy. end: 400, closed. Too late: 408, closed
 *   busy     the request is with the coordinator. data: left in the socket, which is paused, so requests of one
 *            connection are served one after the other, in order. end: closed when answered
 *            answered -> waiting; with the answer still in this process -> unread; nothing may follow -> closing
 *   unread   the client does not read its answers. data: left in the socket. Read -> waiting. Too late: closed
 *   closing  the last answer is on its way. data: dropped. Too late: closed
 *
 * Connections are counted and bounded by the server that listens, as if this door did not exist.
 */
import type { Socket } from 'node:net';
import { BodyError, freePieces, unpackBody } from './body.ts';
import { type WriteCoordinator, type WriteLimits, type WriteResult, writeBody } from './influx-write.ts';
import { WriteAnswers } from './write-answers.ts';
import { HEAD_BYTES_MAX, type WriteHead, WriteHeads } from './write-head.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
/** Pieces of a body are joined above this: a body that comes byte by byte must not cost an object for each. */
const PIECES_MAX = 256;
const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';
const CUT_OFF = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

/** As node:http has them. */
export interface WriteDoorTimeouts {
  /** From opening a connection to its first request. */
  readonly headersMs: number;
  /** For a whole request. */
  readonly requestMs: number;
  /** From an answer to the next request. */
  readonly keepAliveMs: number;
}

export interface WriteDoorPorts {
  readonly version: string;
  readonly writeLimits: WriteLimits;
  notReady(): string | null;
  coordinator(): WriteCoordinator;
  observe(route: 'write', seconds: number, status: number): void;
  readonly log: { error(fields: object, text: string): void };
}

export class WriteDoor {
  readonly ports: WriteDoorPorts;
  readonly answers: WriteAnswers;
  readonly #heads: WriteHeads;
  readonly #timeouts: WriteDoorTimeouts;
  readonly #handOver: (socket: Socket) => void;
  readonly #connections = new Set<WriteConnection>();
  #isClosing = false;

  /** `handOver` makes node:http serve the socket. */
  constructor(ports: WriteDoorPorts, timeouts: WriteDoorTimeouts, handOver: (socket: Socket) => void) {
    this.ports = ports;
    this.answers = new WriteAnswers(ports.version, timeouts.keepAliveMs);
    this.#heads = new WriteHeads(ports.writeLimits);
    this.#timeouts = timeouts;
    this.#handOver = handOver;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Connections that node:http does not have. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  take(socket: Socket): void {
    this.#connections.add(new WriteConnection(this, socket));
  }

  /** The head at the beginning of the bytes and its length, if it is one that this door serves now. */
  headOf(bytes: Buffer): { readonly head: WriteHead; readonly length: number } | null {
    // 'P': what other requests begin with costs them no search.
    if (bytes[0] !== 0x50 || this.#isClosing || this.ports.notReady() !== null) return null;
    const end = bytes.indexOf(HEAD_END);
    if (end < 0 || end > HEAD_BYTES_MAX) return null;
    const head = this.#heads.read(bytes.toString('latin1', 0, end));
    return head === null ? null : { head, length: end + HEAD_END.length };
  }

  release(connection: WriteConnection, isForNode: boolean): void {
    this.#connections.delete(connection);
    if (isForNode) this.#handOver(connection.socket);
  }

  /** Closes what has been silent for too long; to be called every few seconds. */
  sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs, this.#timeouts);
  }

  /** No more requests: idle connections are closed, the others when they are answered. */
  close(): void {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.closeIfIdle();
  }

  closeAllConnections(): void {
    for (const { socket } of this.#connections) socket.destroy();
  }
}

class WriteConnection {
  readonly socket: Socket;
  readonly #door: WriteDoor;
  #state: 'waiting' | 'body' | 'busy' | 'unread' | 'closing' = 'waiting';
  /** Of the request that is read or served, or of its predecessor's end. */
  #sinceMs = performance.now();
  #isUsed = false;
  #hasEnded = false;
  #head: WriteHead | null = null;
  #missing = 0;
  #pieces: Buffer[] = [];
  /** What came from the socket for this request alone. */
  #chunks: Buffer[] = [];

  constructor(door: WriteDoor, socket: Socket) {
    this.#door = door;
    this.socket = socket;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
  }

  sweep(nowMs: number, { headersMs, requestMs, keepAliveMs }: WriteDoorTimeouts): void {
    const silentMs = nowMs - this.#sinceMs;
    if (this.#state === 'waiting' && this.#isUsed) {
      if (silentMs > keepAliveMs) this.socket.destroy();
    } else if (this.#state === 'waiting') {
      if (silentMs > headersMs) this.#cutOff(TIMED_OUT);
    } else if (this.#state === 'body') {
      if (silentMs > requestMs) this.#cutOff(TIMED_OUT);
    } else if (this.#state === 'unread' || this.#state === 'closing') {
      if (silentMs > requestMs) this.socket.destroy();
    }
  }

  closeIfIdle(): void {
    if (this.#state === 'waiting') this.socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === 'busy' || this.#state === 'unread') {
      this.#putBack(chunk);
      return;
    }
    if (this.#state === 'closing') return;
    let at = 0;
    if (this.#state === 'waiting') {
      const found = this.#door.headOf(chunk);
      if (found === null) {
        this.#handOver(chunk);
        return;
      }
      at = found.length;
      this.#head = found.head;
      this.#missing = found.head.bodyBytes;
      this.#sinceMs = performance.now();
      this.#isUsed = true;
      this.#state = 'body';
    }
    const end = Math.min(chunk.length, at + this.#missing);
    if (end > at) this.#pieces.push(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    this.#missing -= end - at;
    if (end === chunk.length) this.#chunks.push(chunk);
    if (this.#missing > 0) {
      if (this.#pieces.length > PIECES_MAX) this.#join();
      return;
    }
    this.#state = 'busy';
    if (end < chunk.length) this.#putBack(chunk.subarray(end));
    this.#serve();
  };

  /** What of the next request is there already waits in the socket. */
  #putBack(bytes: Buffer): void {
    this.socket.pause();
    this.socket.unshift(bytes);
  }

  #join(): void {
    const whole = Buffer.concat(this.#pieces);
    freePieces(this.#chunks);
    this.#pieces = [whole];
    this.#chunks = [whole];
  }

  #serve(): void {
    const chunks = this.#chunks;
    const pieces = this.#pieces;
    this.#chunks = [];
    this.#pieces = [];
    try {
      this.#answerWith(this.#write(this.#head!, pieces, chunks), chunks);
    } catch (error) {
      this.#fail(error as Error, chunks);
    }
  }

  #write({ parameters, isPacked }: WriteHead, pieces: readonly Buffer[], chunks: Buffer[]): Promise<WriteResult> {
    const { coordinator, writeLimits } = this.#door.ports;
    if (!isPacked) return writeBody(coordinator(), parameters, pieces, writeLimits);
    return unpackBody(pieces, writeLimits.bodyBytesMax).then((body) => {
      chunks.push(body);
      return writeBody(coordinator(), parameters, [body], writeLimits);
    });
  }

  #answerWith(result: Promise<WriteResult>, chunks: readonly Buffer[]): void {
    result.then(
      (known) => this.#answer(known, chunks),
      (error: Error) => {
        if (error instanceof BodyError) {
          this.#answer({ status: error.status, error: error.message }, chunks);
          return;
        }
        this.#fail(error, chunks);
      },
    );
  }

  /** A fault of ours: it must not end the process. */
  #fail(error: Error, chunks: readonly Buffer[]): void {
    this.#door.ports.log.error({ problem: error.stack }, 'request failed');
    this.#answer({ status: 500, error: 'internal error; safe to retry' }, chunks);
  }

  #answer(result: WriteResult, chunks: readonly Buffer[]): void {
    freePieces(chunks);
    const nowMs = performance.now();
    const { answers, isClosing, ports } = this.#door;
    ports.observe('write', (nowMs - this.#sinceMs) / 1000, result.status);
    this.#sinceMs = nowMs;
    if (!this.socket.writable) return;
    const isLast = this.#hasEnded || isClosing;
    if ('error' in result) this.socket.write(answers.error(isLast, result.status, result.error, result));
    else this.socket.write(answers.noContent(isLast), 'latin1');
    if (isLast) this.#end();
    else if (this.socket.writableNeedDrain) this.#state = 'unread';
    else this.#next();
  }

  #next(): void {
    if (this.#hasEnded) {
      this.#end();
      return;
    }
    this.#state = 'waiting';
    if (this.socket.isPaused()) this.socket.resume();
  }

  readonly #onDrain = (): void => {
    if (this.#state === 'unread') this.#next();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    if (this.#state === 'waiting') this.#end();
    else if (this.#state === 'body') this.#cutOff(CUT_OFF);
  };

  readonly #onError = (): void => {
    this.socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#dropBody();
    this.#door.release(this, false);
  };

  /** A body that was cut off counts as the request with an error that it is. */
  #dropBody(): void {
    if (this.#state === 'body') this.#door.ports.observe('write', (performance.now() - this.#sinceMs) / 1000, 400);
    this.#pieces = [];
    this.#chunks = [];
  }

  #cutOff(answer: string): void {
    this.#dropBody();
    this.#end(answer);
    this.socket.destroySoon();
  }

  /** Nothing is answered any more. */
  #end(answer?: string): void {
    this.#state = 'closing';
    this.#sinceMs = performance.now();
    if (this.socket.isPaused()) this.socket.resume();
    if (!this.socket.writable) return;
    if (answer === undefined) this.socket.end();
    else this.socket.end(answer);
  }

  #handOver(chunk: Buffer): void {
    const { socket } = this;
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.off('drain', this.#onDrain);
    socket.pause();
    socket.unshift(chunk);
    this.#door.release(this, true);
    socket.resume();
  }
}
