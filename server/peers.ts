/**
 * Transport between members: one outgoing connection to each (peers-link.ts), any number of incoming ones, and plain
 * posts to addresses of nodes whose number is not known yet (joins).
 *
 * What arrives is not trusted: a broken packet, another cluster's id or another sender than the hello named closes that
 * connection, is counted, and changes nothing else. Every packet lifts the clock; when it would be lifted too far
 * (`heard` says no) the frames in it are dropped, since their versions would drag this node's clock along.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { request as undiciRequest } from 'undici';
import type { Member } from '../repair/cluster.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import { FreedLater } from './freed-buffers.ts';
import { cutOff } from './http/client-error.ts';
import type { LinkIdentity } from './peers-link.ts';
import { DEFAULT_LINK_LIMITS, PeerLink } from './peers-link.ts';
import type { Packet, PacketMessage } from './peers-packet.ts';
import { PacketError, PacketReader } from './peers-packet.ts';

const CALL_BYTES_MAX = 16 * 1024 * 1024;
const CALL_TIMEOUT_MS = 3_000;
const INCOMING_MAX = 256;
const LINK_CHECK_MS = 1_000;
/** One byte for each packet that was taken. */
const PACKET_TAKEN = 6;
/** They only have to come well within the sender's `stallMs`: together they cost one write instead of many. */
const ANSWER_DELAY_MS = 50;

/** What came from sockets: the reader has copied it. */
const freed = new FreedLater();

export interface PeersLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface PeersOptions {
  readonly identity: () => LinkIdentity | null;
  readonly stampNow: () => Stamp;
  readonly nowMs: () => number;
  readonly random: () => number;
  /** False: the sender's clock is too far ahead, drop what it says. */
  readonly heard: (from: NodeNumber, stamp: Stamp) => boolean;
  /** The buffers of the messages are the receiver's. */
  readonly onPacket: (packet: Packet<ArrayBuffer>) => void;
  /** An outgoing connection has been made: the member may have restarted meanwhile. */
  readonly onConnected: (member: NodeNumber) => void;
  readonly log: PeersLog;
}

export interface PeerStatus {
  readonly peer: NodeNumber;
  readonly address: string;
  readonly connected: boolean;
  readonly problem: string | null;
  readonly queuedBytes: number;
  readonly sentBytes: number;
  readonly dropped: number;
}

export interface PeersCounters {
  corruptPackets: number;
  refusedConnections: number;
  skewedPackets: number;
  packetsReceived: number;
  bytesReceived: number;
}

export class Peers {
  readonly counters: PeersCounters = {
    corruptPackets: 0,
    refusedConnections: 0,
    skewedPackets: 0,
    packetsReceived: 0,
    bytesReceived: 0,
  };
  #o: PeersOptions;
  #links = new Map<NodeNumber, PeerLink>();
  #incoming = new Set<Duplex>();
  #flushScheduled = false;
  #timer: NodeJS.Timeout;
  #closed = false;

  constructor(options: PeersOptions) {
    this.#o = options;
    this.#timer = setInterval(() => {
      for (const link of this.#links.values()) link.check();
    }, LINK_CHECK_MS);
    this.#timer.unref();
  }

  /** One link per other member that may be spoken to. */
  setMembers(members: readonly Member[]): void {
    const self = this.#o.identity();
    if (self === null || this.#closed) return;
    const wanted = new Map(
      members.filter((m) => m.number !== self.number && m.state !== 'removed').map((m) => [m.number, m]),
    );
    for (const [number, link] of this.#links) {
      if (wanted.get(number)?.address === link.address) continue;
      link.close();
      this.#links.delete(number);
    }
    for (const [number, member] of wanted) {
      if (this.#links.has(number)) continue;
      const link = new PeerLink({
        to: number,
        address: member.address,
        self,
        stampNow: this.#o.stampNow,
        nowMs: this.#o.nowMs,
        random: this.#o.random,
        limits: DEFAULT_LINK_LIMITS,
        onState: (problem) => {
          const fields = { peer: member.name, address: member.address };
          if (problem === null) {
            this.#o.onConnected(number);
            this.#o.log.info(fields, 'connected to member');
          } else this.#o.log.warn({ ...fields, problem }, 'member cannot be reached');
        },
      });
      this.#links.set(number, link);
    }
  }

  /** Queued until the end of this turn, so that all messages of a turn to one member share a packet. */
  send(to: readonly NodeNumber[], message: PacketMessage): void {
    for (const member of to) this.#links.get(member)?.send(message);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    setImmediate(() => {
      this.#flushScheduled = false;
      for (const each of this.#links.values()) each.flush();
    });
  }

  /** Posts to an address; null when nobody answered. */
  async call(
    address: string,
    self: { number: NodeNumber; address: string },
    message: Uint8Array,
  ): Promise<Uint8Array | null> {
    try {
      const response = await undiciRequest(new URL('/internal/call', address), {
        method: 'POST',
        body: Buffer.from(message),
        headers: {
          'content-type': 'application/octet-stream',
          'starling-number': self.number,
          'starling-address': self.address,
          'starling-name': this.#o.identity()?.name ?? '',
        },
        headersTimeout: CALL_TIMEOUT_MS,
        bodyTimeout: CALL_TIMEOUT_MS,
      });
      if (response.statusCode !== 200) {
        await response.body.dump();
        return null;
      }
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of response.body) {
        bytes += (chunk as Buffer).length;
        if (bytes > CALL_BYTES_MAX) throw new Error(`an answer of more than ${CALL_BYTES_MAX} bytes`);
        chunks.push(chunk as Buffer);
      }
      return new Uint8Array(Buffer.concat(chunks));
    } catch (error) {
      this.#o.log.info({ address, problem: (error as Error).message }, 'address does not answer');
      return null;
    }
  }

  /** An HTTP upgrade on /internal/peer. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const problem = this.#refusal(request);
    if (problem !== null) {
      this.counters.refusedConnections++;
      socket.on('error', () => socket.destroy());
      // No more node:http's: nobody else would end it, and a server that stops would wait for it.
      socket.resume();
      cutOff(
        socket,
        `HTTP/1.1 409 Conflict\r\nStarling-Refused: ${problem}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
      );
      return;
    }
    const sender = String(request.headers['starling-number']);
    this.#incoming.add(socket);
    const reader = new PacketReader();
    let unanswered = 0;
    let answering: NodeJS.Timeout | null = null;
    const answer = () => {
      answering = null;
      socket.write(Buffer.alloc(unanswered, PACKET_TAKEN));
      unanswered = 0;
    };
    const take = (chunk: Buffer) => {
      this.counters.bytesReceived += chunk.length;
      try {
        const packets = reader.push(chunk);
        freed.add([chunk]);
        unanswered += packets.length;
        if (unanswered > 0) answering ??= setTimeout(answer, ANSWER_DELAY_MS);
        for (const packet of packets) this.#receive(sender, packet);
      } catch (error) {
        if (!(error instanceof PacketError)) throw error;
        this.counters.corruptPackets++;
        this.#o.log.warn({ peer: sender, problem: error.message }, 'broken packet from member, connection closed');
        socket.destroy();
      }
    };
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (answering !== null) clearTimeout(answering);
      this.#incoming.delete(socket);
    });
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: starling/2\r\n\r\n');
    socket.on('data', take);
    if (head.length > 0) take(head);
  }

  status(): PeerStatus[] {
    return [...this.#links].map(([peer, link]) => ({
      peer,
      address: link.address,
      connected: link.problem === null,
      problem: link.problem,
      queuedBytes: link.queuedBytes,
      sentBytes: link.counters.bytes,
      dropped: link.counters.dropped,
    }));
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const link of this.#links.values()) {
      link.flush();
      link.close();
    }
    this.#links.clear();
    for (const socket of this.#incoming) socket.destroy();
  }

  #refusal(request: IncomingMessage): string | null {
    const self = this.#o.identity();
    if (request.url !== '/internal/peer' || request.headers.upgrade !== 'starling/2')
      return 'not a starling/2 connection';
    if (self === null) return 'this node has not joined a cluster yet';
    if (request.headers['starling-cluster'] !== self.clusterId) return 'this node belongs to another cluster';
    if (request.headers['starling-to'] !== self.number) return 'this address now belongs to another node number';
    if (!/^[0-9a-f]{16}$/.test(String(request.headers['starling-number']))) return 'no node number was given';
    if (this.#incoming.size >= INCOMING_MAX) return 'too many connections';
    return null;
  }

  #receive(sender: NodeNumber, packet: Packet<ArrayBuffer>): void {
    if (packet.sender !== sender || packet.clusterId !== this.#o.identity()?.clusterId) {
      throw new PacketError('corrupt-packet', 'a packet names another sender or cluster than its connection');
    }
    this.counters.packetsReceived++;
    if (!this.#o.heard(sender, packet.stamp)) {
      this.counters.skewedPackets++;
      return;
    }
    this.#o.onPacket(packet);
  }
}
