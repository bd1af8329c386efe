/**
 * A connection at the door of plain requests.
 *
 * Its state, and what may come:
 *
 *   waiting  data: a plain head -> body, or busy when its body is there; else -> node:http
 *            end: closed. Nothing for so long as node:http would wait: closed (before the first request with 408)
 *   body     data: until all of it is there -> busy. end: 400, closed. Too late: 408, closed. From the first long body of a
 *            connection on it comes without events (direct-reads.ts)
 *   busy     the request is with the coordinator or the query service. data: left in the socket, which is paused, so
 *            requests of one connection are served one after the other, in order. end: a write is answered, then closed; a
 *            query ends and is closed, as at node:http: who left does not want to know
 *            answered -> waiting; with the answer still in this process -> unread; nothing may follow -> closing
 *   unread   the client does not read its answers. data: left in the socket. Read -> waiting. Too late: closed
 *   closing  the last answer is on its way. data: dropped. Too late: closed
 */
import type { Socket } from 'node:net';
import { Ending } from '../query/ending.ts';
import { QueryError } from '../query/query-error.ts';
import { BodyError, unpackBody } from './body.ts';
import { type BodyReader, DirectReads } from './direct-reads.ts';
import { type Refusal, type WriteApi, type WriteParameters, type WriteResult, writeBody } from './influx-write.ts';
import { PlainBody } from './plain-body.ts';
import type { PlainDoor, PlainDoorTimeouts } from './plain-door.ts';
import type { PlainHead, QueryHead, WriteHead } from './plain-head.ts';
import { PlainSink } from './plain-sink.ts';
import { beginAnswer } from './query-answer.ts';
import { fieldsOfBody } from './query-parameters.ts';
import type { Segment } from './segments.ts';

const TIMED_OUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n';
const CUT_OFF = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

export class PlainConnection implements BodyReader {
  readonly socket: Socket;
  readonly #door: PlainDoor;
  #state: 'waiting' | 'body' | 'busy' | 'unread' | 'closing' = 'waiting';
  /** Of the request that is read or served, or of its predecessor's end. */
  #sinceMs = performance.now();
  #isUsed = false;
  #hasEnded = false;
  #head: PlainHead | null = null;
  #missing = 0;
  #body: PlainBody;
  /** Of the write that is served, until it is answered. */
  #served: PlainBody | null = null;
  /** null before the first long body. */
  #direct: DirectReads | null = null;
  /** Of the query that is served. */
  #leaving: Ending | null = null;

  constructor(door: PlainDoor, socket: Socket) {
    this.#door = door;
    this.#body = new PlainBody(door.segments);
    this.socket = socket;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    socket.on('drain', this.#onDrain);
  }

  sweep(nowMs: number, { headersMs, requestMs, keepAliveMs }: PlainDoorTimeouts): void {
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
      this.#missing = found.bodyBytes;
      this.#sinceMs = performance.now();
      this.#isUsed = true;
      this.#state = 'body';
    }
    const end = Math.min(chunk.length, at + this.#missing);
    if (end === chunk.length) this.#body.own(chunk);
    if (end > at) this.#body.add(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    this.#missing -= end - at;
    if (this.#missing > 0) {
      this.#readDirectly();
      return;
    }
    this.#state = 'busy';
    if (end < chunk.length) this.#putBack(chunk.subarray(end));
    this.#serve();
  };

  #readDirectly(): void {
    const { segments } = this.#door;
    if (this.#direct !== null || this.missingBytes() === 0 || !DirectReads.isLong(this.#missing, segments)) return;
    this.#direct = DirectReads.of(this.socket, this, segments);
  }

  /** What comes next from the socket belongs to the body of a write, as far as so many bytes. */
  missingBytes(): number {
    if (this.#state !== 'body' || this.#head!.kind !== 'write' || this.socket.readableLength > 0) return 0;
    return this.#missing;
  }

  onPiece(piece: Buffer, segment: Segment): void {
    this.#body.addSegment(piece, segment);
    this.#missing -= piece.length;
    if (this.#missing > 0) return;
    this.#state = 'busy';
    this.#serve();
  }

  /** What of the next request is there already waits in the socket. */
  #putBack(bytes: Buffer): void {
    this.socket.pause();
    this.socket.unshift(bytes);
  }

  #serve(): void {
    const body = this.#body;
    const head = this.#head!;
    this.#body = new PlainBody(this.#door.segments);
    if (head.kind === 'query') {
      this.#query(head, body.pieces);
      return;
    }
    this.#served = body;
    this.#write(head, body.pieces);
  }

  #query({ method, fields, contentType, csv }: QueryHead, pieces: readonly Buffer[]): void {
    const { ports, answers } = this.#door;
    if (pieces.length > 0)
      for (const [name, value] of fieldsOfBody(contentType, Buffer.concat(pieces))) fields.set(name, value);
    const leaving = new Ending();
    this.#leaving = leaving;
    const sink = new PlainSink(this.socket, answers, csv, () => this.#door.isClosing);
    const answered = (fault: Error | null): void => {
      if (this.#leaving !== leaving) return;
      if (fault !== null) {
        ports.log.error({ problem: fault.stack }, 'request failed');
        // Without an answer, or with half of one, the next one would be taken for it.
        if (!sink.hasBegun) sink.refuse(500, 'internal error', { csv });
        else if (!sink.hasEnded) sink.breakOff();
      }
      this.#leaving = null;
      this.#observe('query', sink.status);
      this.#answered(sink.isLast);
    };
    try {
      beginAnswer({ method, fields, csv }, sink, leaving, ports.queryService(), ports.queryLimits, answered);
    } catch (error) {
      answered(error as Error);
    }
  }

  #write({ parameters, isPacked }: WriteHead, pieces: readonly Buffer[]): void {
    if (!isPacked) {
      this.#handIn(parameters, pieces);
      return;
    }
    unpackBody(pieces, this.#door.ports.writeLimits.bodyBytesMax).then(
      (body) => {
        this.#served?.own(body);
        this.#handIn(parameters, [body]);
      },
      (error: Error) => {
        if (error instanceof BodyError) this.#answer({ status: error.status, error: error.message });
        else this.#fail(error);
      },
    );
  }

  #handIn(parameters: WriteParameters, body: readonly Buffer[]): void {
    const { ports } = this.#door;
    try {
      writeBody(ports.coordinator(), parameters, body, ports.writeLimits, this.#answer);
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** A fault of ours: it must not end the process. */
  #fail(error: Error): void {
    this.#door.ports.log.error({ problem: error.stack }, 'request failed');
    this.#answer({ status: 500, error: 'internal error; safe to retry' });
  }

  /** An answer that fails half way is none: the client is let go, not left to wait. */
  readonly #answer = (result: WriteResult): void => {
    const served = this.#served;
    if (served === null) return;
    this.#served = null;
    try {
      this.#giveAnswer(result, served);
    } catch (error) {
      this.socket.destroy();
      throw error;
    }
  };

  #giveAnswer(result: WriteResult, served: PlainBody): void {
    served.free();
    const { answers, isClosing } = this.#door;
    const refusal = 'error' in result ? this.#refusalOf(result) : null;
    this.#observe('write', refusal === null ? result.status : refusal.status);
    const { socket } = this;
    if (!socket.writable) return;
    const isLast = this.#hasEnded || isClosing;
    if (refusal !== null) socket.write(answers.error(isLast, refusal.status, refusal.error, refusal));
    else socket.write(answers.noContent(isLast), 'latin1');
    this.#answered(isLast);
  }

  #refusalOf(refused: Refusal): ReturnType<WriteApi['refusalOf']> {
    return (this.#head as WriteHead).api.refusalOf(refused);
  }

  #observe(route: 'write' | 'query', status: number): void {
    const nowMs = performance.now();
    this.#door.ports.observe(route, (nowMs - this.#sinceMs) / 1000, status);
    this.#sinceMs = nowMs;
  }

  #answered(isLast: boolean): void {
    if (!this.socket.writable) return;
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
    else if (this.#leaving !== null) {
      this.#leave();
      this.#end();
    }
  };

  /** The client of the query that is served has left. */
  #leave(): void {
    const leaving = this.#leaving;
    if (leaving === null) return;
    this.#leaving = null;
    this.#observe('query', 200);
    leaving.end(new QueryError('query interrupted'));
  }

  readonly #onError = (): void => {
    this.socket.destroy();
  };

  readonly #onClose = (): void => {
    this.#leave();
    this.#dropBody();
    this.#direct?.close();
    this.#door.forget(this);
  };

  /** A body that was cut off counts as the request with an error that it is. */
  #dropBody(): void {
    if (this.#state === 'body') this.#observe(this.#head!.kind, 400);
    this.#body.free();
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
    this.#door.handOver(this, chunk);
    socket.resume();
  }
}
