/**
 * Reading the long bodies of a connection into segments (segments.ts), instead of into new memory for every 64 KiB.
 *
 * Node does so for sockets that a program opens itself (`onread` of net.connect). For those that a server accepts it is the
 * same machinery, which has to be set by hand: three properties of the socket, whose keys are found on one that was made
 * with `onread`, and a method of its handle. Where any of them is missing, sockets are read as ever.
 *
 * Once set it stays so for the life of the connection. What does not go into a segment goes into memory that all
 * connections share, and from there as a copy into the stream: events, their order and bounds are those of any socket.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { Segment, Segments } from './segments.ts';

/** As much as a socket reads at a time otherwise. */
const SHARED_BYTES = 64 << 10;
/** The same where a request may begin: what is read with a head is copied, and the rest of a long body is not. */
const BEGINNING_BYTES = 16 << 10;

export interface BodyReader {
  /** Of the body that is read; 0 when what comes next is something else, or is for nobody. */
  missingBytes(): number;
  /** The next piece of the body. The segment that it lies in is the reader's, which gives it back. */
  onPiece(piece: Buffer, segment: Segment): void;
}

interface Keys {
  readonly buffer: symbol;
  readonly give: symbol;
  readonly callback: symbol;
}

interface Handle {
  useUserBuffer?(buffer: Uint8Array): void;
}

type Fields = Record<symbol, unknown>;

const keys = process.platform === 'win32' ? null : keysOfOnread();
/** A read fills it and is taken out of it in one step. Not so on Windows, where many reads are under way at a time. */
const shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
const beginning = shared.subarray(0, BEGINNING_BYTES);

function keysOfOnread(): Keys | null {
  const one = new Uint8Array(1);
  const giveOne = () => one;
  const callback = () => true;
  const keyOf = (onread: OnReadOpts | { buffer: () => Uint8Array; callback: () => boolean }, value: unknown) => {
    const socket = new Socket({ onread } as SocketConstructorOpts) as unknown as Fields;
    return Object.getOwnPropertySymbols(socket).find((key) => socket[key] === value);
  };
  const buffer = keyOf({ buffer: one, callback }, one);
  const give = keyOf({ buffer: giveOne, callback }, giveOne);
  const called = keyOf({ buffer: one, callback }, callback);
  return buffer === undefined || give === undefined || called === undefined ? null : { buffer, give, callback: called };
}

export class DirectReads {
  readonly #socket: Socket;
  readonly #reader: BodyReader;
  readonly #segments: Segments;
  /** Where the body is read into; null when the next read goes into what is shared. */
  #segment: Segment | null = null;
  #filled = 0;
  /** How much of the segment the body will fill. */
  #wanted = 0;

  /** null: this socket cannot be read so. */
  static of(socket: Socket, reader: BodyReader, segments: Segments): DirectReads | null {
    const handle = (socket as unknown as { _handle?: Handle | null })._handle;
    // Not those of other kinds: what a TLS socket reads is decrypted elsewhere.
    if (keys === null || Object.getPrototypeOf(socket) !== Socket.prototype || !handle?.useUserBuffer) return null;
    const reads = new DirectReads(socket, reader, segments);
    const fields = socket as unknown as Fields;
    const first = reads.#next();
    fields[keys.buffer] = first;
    fields[keys.give] = reads.#next;
    fields[keys.callback] = reads.#onRead;
    handle.useUserBuffer(first);
    return reads;
  }

  /** Worth a segment, of which it fills a quarter at least. */
  static isLong(bytes: number, segments: Segments): boolean {
    return bytes * 4 >= segments.bytes;
  }

  private constructor(socket: Socket, reader: BodyReader, segments: Segments) {
    this.#socket = socket;
    this.#reader = reader;
    this.#segments = segments;
  }

  /** The socket is closed: it reads nothing any more. */
  close(): void {
    if (this.#segment !== null) this.#segments.give(this.#segment);
    this.#segment = null;
  }

  readonly #onRead = (bytes: number): boolean => {
    const segment = this.#segment;
    if (segment === null) return this.#socket.push(Buffer.from(shared.subarray(0, bytes)));
    this.#filled += bytes;
    if (this.#filled < this.#wanted || this.#reader.missingBytes() === 0) return true;
    this.#segment = null;
    this.#reader.onPiece(segment.subarray(0, this.#filled), segment);
    return true;
  };

  /** Where to read next. A segment that is read into is kept until here: a body may end unread while Node still has it. */
  readonly #next = (): Buffer => {
    const missing = this.#reader.missingBytes();
    if (missing === 0) {
      this.close();
      return beginning;
    }
    if (this.#segment === null) {
      this.#segment = DirectReads.isLong(missing, this.#segments) ? this.#segments.take() : null;
      if (this.#segment === null) return shared;
      this.#filled = 0;
      this.#wanted = Math.min(missing, this.#segment.length);
    }
    return this.#segment.subarray(this.#filled, this.#wanted);
  };
}
