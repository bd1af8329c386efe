/** The answer to a plain query, written to its socket: whole with its length, or in chunks. */
import type { Socket } from 'node:net';
import { FreedLater } from '../freed-buffers.ts';
import type { ErrorForm } from './influx-answer.ts';
import type { PlainAnswers } from './plain-answers.ts';
import type { AnswerSink } from './query-answer.ts';

/** Up to here a copy costs less than a system call with two buffers. */
const JOINED_BYTES_MAX = 32 * 1024;
const LAST_CHUNK = '0\r\n\r\n';

/** Pieces of answers that have left, from this size on. */
const freed = new FreedLater();
const FREED_BYTES_MIN = 16 * 1024;

export class PlainSink implements AnswerSink {
  hasBegun = false;
  hasEnded = false;
  status = 200;
  /** As the head says: nothing follows on this connection. */
  isLast = false;
  readonly #socket: Socket;
  readonly #answers: PlainAnswers;
  readonly #csv: boolean;
  readonly #isClosing: () => boolean;

  constructor(socket: Socket, answers: PlainAnswers, csv: boolean, isClosing: () => boolean) {
    this.#socket = socket;
    this.#answers = answers;
    this.#csv = csv;
    this.#isClosing = isClosing;
  }

  write(piece: string | Buffer): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    socket.cork();
    if (!this.hasBegun) socket.write(this.#head(null), 'latin1');
    this.#chunk(piece);
    socket.uncork();
    return !socket.writableNeedDrain;
  }

  onDrained(listener: () => void): void {
    this.#socket.once('drain', listener);
  }

  end(piece: string | Buffer): void {
    const socket = this.#socket;
    if (!socket.writable) return;
    this.hasEnded = true;
    if (!this.hasBegun) {
      this.#whole(typeof piece === 'string' ? Buffer.from(piece) : piece);
      return;
    }
    socket.cork();
    if (piece.length > 0) this.#chunk(piece);
    socket.write(LAST_CHUNK);
    socket.uncork();
  }

  noContent(): void {
    if (!this.#socket.writable) return;
    this.hasBegun = true;
    this.hasEnded = true;
    this.status = 204;
    this.isLast = this.#isClosing();
    this.#socket.write(this.#answers.noContent(this.isLast));
  }

  breakOff(): void {
    this.#socket.destroy();
  }

  refuse(status: number, message: string, form: ErrorForm): void {
    if (!this.#socket.writable) return;
    const isLast = this.#isClosing();
    // First: it fails for texts that are too long to be indented.
    const answer = this.#answers.error(isLast, status, message, form);
    this.hasBegun = true;
    this.hasEnded = true;
    this.status = status;
    this.isLast = isLast;
    this.#socket.write(answer);
  }

  #head(bytes: number | null): string {
    this.hasBegun = true;
    this.isLast = this.#isClosing();
    return this.#answers.head(this.isLast, this.#csv ? 'text/csv' : 'application/json', bytes);
  }

  #whole(body: Buffer): void {
    const socket = this.#socket;
    const head = this.#head(body.length);
    if (body.length > JOINED_BYTES_MAX) {
      socket.cork();
      socket.write(head, 'latin1');
      writeFreed(socket, body);
      socket.uncork();
      return;
    }
    const bytes = Buffer.allocUnsafe(head.length + body.length);
    bytes.write(head, 0, 'latin1');
    bytes.set(body, head.length);
    socket.write(bytes);
  }

  #chunk(piece: string | Buffer): void {
    const socket = this.#socket;
    socket.write(`${Buffer.byteLength(piece).toString(16)}\r\n`, 'latin1');
    if (typeof piece === 'string') socket.write(piece);
    else writeFreed(socket, piece);
    socket.write('\r\n', 'latin1');
  }
}

/** Of a write that failed the system may still hold the bytes. */
function writeFreed(socket: Socket, bytes: Buffer): void {
  if (bytes.length < FREED_BYTES_MIN) socket.write(bytes);
  else
    socket.write(bytes, (error) => {
      if (error == null) freed.add([bytes]);
    });
}
