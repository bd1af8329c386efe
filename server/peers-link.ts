/**
 * The outgoing connection to one other member. Bytes only flow this way; the member answers over its own connection.
 *
 * States: connecting -> open -> waiting (back-off) -> connecting. Messages are dropped while waiting and above
 * `queueBytesMax`: every protocol above repeats what was not answered, so a bounded loss is better than old news and
 * memory without end. The receiver returns one byte per packet; when the oldest unanswered packet is older than
 * `stallMs`, the connection is taken for dead, since TCP alone may take minutes to notice and to recover.
 */
import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { PacketMessage } from './peers-packet.ts';
import { encodePacket, PACKET_BYTES_MAX, PACKET_BYTES_TARGET } from './peers-packet.ts';

export interface LinkLimits {
  readonly queueBytesMax: number;
  readonly stallMs: number;
  readonly connectTimeoutMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

export const DEFAULT_LINK_LIMITS: LinkLimits = {
  // Several seconds of replication at full speed; beyond it the outbox is the better queue.
  queueBytesMax: 128 * 1024 * 1024,
  stallMs: 5_000,
  connectTimeoutMs: 2_000,
  backoffMinMs: 50,
  // A member that is back must be found within about a second: the bound counts from its return.
  backoffMaxMs: 1_000,
};

export interface LinkIdentity {
  readonly number: NodeNumber;
  readonly name: string;
  readonly clusterId: string;
}

/** Null before the node has joined. */
export function linkIdentityOf(node: {
  number: NodeNumber;
  name: string;
  clusterId: string | null;
}): LinkIdentity | null {
  const { number, name, clusterId } = node;
  return clusterId === null ? null : { number, name, clusterId };
}

export interface LinkCounters {
  packets: number;
  bytes: number;
  dropped: number;
  connects: number;
  failures: number;
}

export interface LinkOptions {
  readonly to: NodeNumber;
  readonly address: string;
  readonly self: LinkIdentity;
  readonly stampNow: () => Stamp;
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly limits: LinkLimits;
  /** Once per change: null when open, otherwise why not. */
  readonly onState: (problem: string | null) => void;
}

export class PeerLink {
  readonly counters: LinkCounters = { packets: 0, bytes: 0, dropped: 0, connects: 0, failures: 0 };
  #o: LinkOptions;
  #state: 'connecting' | 'open' | 'waiting' | 'closed' = 'waiting';
  #socket: Socket | null = null;
  #abort: (() => void) | null = null;
  #pending: PacketMessage[] = [];
  #pendingBytes = 0;
  #unansweredSince: number[] = [];
  #backoffMs: number;
  #timer: NodeJS.Timeout | null = null;
  #problem: string | null = 'not connected yet';

  constructor(options: LinkOptions) {
    this.#o = options;
    this.#backoffMs = options.limits.backoffMinMs;
    this.#connect();
  }

  get address(): string {
    return this.#o.address;
  }

  get problem(): string | null {
    return this.#problem;
  }

  get queuedBytes(): number {
    return this.#pendingBytes + (this.#socket?.writableLength ?? 0);
  }

  /** Queues until the next flush. The bytes are sent from where they are: they must not change any more. */
  send(message: PacketMessage): void {
    const { bytes } = message;
    const fits = this.queuedBytes + bytes.byteLength <= this.#o.limits.queueBytesMax;
    if (this.#state === 'waiting' || this.#state === 'closed' || !fits || bytes.byteLength > PACKET_BYTES_MAX - 1024) {
      this.counters.dropped++;
      return;
    }
    this.#pending.push(message);
    this.#pendingBytes += bytes.byteLength;
  }

  /** Everything queued goes out in as few packets as fit. */
  flush(): void {
    if (this.#state !== 'open' || this.#pending.length === 0) return;
    const messages = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    let first = 0;
    let bytes = 0;
    for (let i = 0; i < messages.length; i++) {
      const size = messages[i]!.bytes.byteLength;
      if (i > first && bytes + size > PACKET_BYTES_TARGET) {
        this.#write(messages.slice(first, i));
        first = i;
        bytes = 0;
      }
      bytes += size;
    }
    this.#write(messages.slice(first));
  }

  /** To be called about every second: notices a connection that is only half there. */
  check(): void {
    const oldest = this.#unansweredSince[0];
    if (this.#state === 'open' && oldest !== undefined && this.#o.nowMs() - oldest > this.#o.limits.stallMs) {
      this.#fail(`no answer for ${this.#o.limits.stallMs} ms`);
    }
  }

  close(): void {
    this.#state = 'closed';
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#abort?.();
    this.#socket?.destroy();
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #write(messages: readonly PacketMessage[]): void {
    const { self } = this.#o;
    const pieces = encodePacket({
      sender: self.number,
      stamp: this.#o.stampNow(),
      clusterId: self.clusterId,
      messages,
    });
    this.counters.packets++;
    this.#unansweredSince.push(this.#o.nowMs());
    const socket = this.#socket!;
    // One writev for all pieces.
    socket.cork();
    for (const piece of pieces) {
      this.counters.bytes += piece.byteLength;
      socket.write(piece);
    }
    socket.uncork();
  }

  #connect(): void {
    if (this.#state === 'closed') return;
    this.#state = 'connecting';
    const { address, self, to, limits } = this.#o;
    const url = new URL('/internal/peer', address);
    const request = httpRequest(url, {
      agent: false,
      timeout: limits.connectTimeoutMs,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'starling/2',
        'Starling-Cluster': self.clusterId,
        'Starling-Number': self.number,
        'Starling-Name': self.name,
        'Starling-To': to,
      },
    });
    this.#abort = () => request.destroy();
    request.on('timeout', () => request.destroy(new Error(`no connection within ${limits.connectTimeoutMs} ms`)));
    request.on('error', (error) => this.#fail(error.message));
    request.on('response', (response) => {
      const reason = response.headers['starling-refused'];
      response.resume();
      request.destroy();
      this.#fail(`refused (${response.statusCode}): ${typeof reason === 'string' ? reason : 'no reason given'}`);
    });
    request.on('upgrade', (_response, socket) => this.#opened(socket as Socket));
    request.end();
  }

  #opened(socket: Socket): void {
    if (this.#state !== 'connecting') {
      socket.destroy();
      return;
    }
    this.#abort = null;
    this.#socket = socket;
    this.#state = 'open';
    this.#backoffMs = this.#o.limits.backoffMinMs;
    this.#unansweredSince = [];
    this.counters.connects++;
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on('data', (answers: Buffer) => {
      this.#unansweredSince.splice(0, answers.length);
    });
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('close', () => {
      if (this.#socket === socket) this.#fail('the connection was closed');
    });
    this.#report(null);
    this.flush();
  }

  #fail(problem: string): void {
    if (this.#state === 'waiting' || this.#state === 'closed') return;
    this.#state = 'waiting';
    this.counters.failures++;
    this.counters.dropped += this.#pending.length;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#abort?.();
    this.#abort = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
    this.#report(problem);
    const waitMs = this.#backoffMs * (0.5 + this.#o.random() / 2);
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#o.limits.backoffMaxMs);
    this.#timer = setTimeout(() => this.#connect(), waitMs);
    this.#timer.unref();
  }

  #report(problem: string | null): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#o.onState(problem);
  }
}
