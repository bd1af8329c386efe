/**
 * The door of plain requests: takes every connection first, and serves plain writes and queries on it straight from the
 * socket.
 *
 * A write of twenty lines costs more in node:http than in everything else on this thread: objects, events, header maps;
 * and a query of one host a tenth of its time. Here a head is a string that is looked up or read by its lines
 * (plain-head.ts), and the head of an answer is one string (plain-answers.ts). Anything else, an unknown header as well as
 * a head that came in two parts, is given to node:http with the bytes read so far, and the connection stays there for its
 * life. So there is one HTTP server, node:http's, which decides all that is not plain: methods, paths, chunked bodies, too
 * large ones, malformed and hostile ones.
 *
 * Connections (plain-connection.ts) are counted and bounded by the server that listens, as if this door did not exist.
 */
import type { Socket } from 'node:net';
import type { QueryService } from '../query/result.ts';
import type { WriteCoordinator, WriteLimits } from './influx-write.ts';
import { PlainAnswers } from './plain-answers.ts';
import { PlainConnection } from './plain-connection.ts';
import { HEAD_BYTES_MAX, PlainHeads, type ReadHead } from './plain-head.ts';
import type { QueryDoorLimits } from './query-answer.ts';
import { Segments } from './segments.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
/** What requests begin with: others cost no search. */
const GET = 0x47;
const POST = 0x50;

/** As node:http has them. */
export interface PlainDoorTimeouts {
  /** From opening a connection to its first request. */
  readonly headersMs: number;
  /** For a whole request. */
  readonly requestMs: number;
  /** From an answer to the next request. */
  readonly keepAliveMs: number;
}

export interface PlainDoorPorts {
  readonly version: string;
  readonly writeLimits: WriteLimits;
  readonly queryLimits: QueryDoorLimits;
  /** null when the node can serve; otherwise why not. */
  notReady(): string | null;
  coordinator(): WriteCoordinator;
  queryService(): QueryService;
  observe(route: 'write' | 'query', seconds: number, status: number): void;
  readonly log: { error(fields: object, text: string): void };
}

export class PlainDoor {
  readonly ports: PlainDoorPorts;
  readonly answers: PlainAnswers;
  readonly segments: Segments;
  readonly #heads: PlainHeads;
  readonly #timeouts: PlainDoorTimeouts;
  readonly #handOver: (socket: Socket, firstBytes: Buffer) => void;
  readonly #connections = new Set<PlainConnection>();
  #isClosing = false;

  /** `handOver` makes node:http serve the socket, in which the bytes read so far are again. */
  constructor(
    ports: PlainDoorPorts,
    timeouts: PlainDoorTimeouts,
    handOver: (socket: Socket, firstBytes: Buffer) => void,
    segments = new Segments(),
  ) {
    this.ports = ports;
    this.segments = segments;
    this.answers = new PlainAnswers(ports.version, timeouts.keepAliveMs);
    this.#heads = new PlainHeads({ write: ports.writeLimits, queryBodyBytesMax: ports.queryLimits.bodyBytesMax });
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
    this.#connections.add(new PlainConnection(this, socket));
  }

  /** The head at the beginning of the bytes and its length, if it is one that this door serves now. */
  headOf(bytes: Buffer): (ReadHead & { readonly length: number }) | null {
    const first = bytes[0];
    if ((first !== GET && first !== POST) || this.#isClosing || this.ports.notReady() !== null) return null;
    const end = bytes.indexOf(HEAD_END);
    if (end < 0 || end > HEAD_BYTES_MAX) return null;
    const found = this.#heads.read(bytes.toString('latin1', 0, end));
    if (found === null) return null;
    return { head: found.head, bodyBytes: found.bodyBytes, length: end + HEAD_END.length };
  }

  forget(connection: PlainConnection): void {
    this.#connections.delete(connection);
  }

  handOver(connection: PlainConnection, firstBytes: Buffer): void {
    this.#connections.delete(connection);
    this.#handOver(connection.socket, firstBytes);
  }

  /** Closes what has been silent for too long; to be called every few seconds. */
  sweep(nowMs: number): void {
    for (const connection of this.#connections) connection.sweep(nowMs, this.#timeouts);
    this.segments.sweep();
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
