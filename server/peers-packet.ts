/**
 * Packets between members: everything that one turn of a node has for one other member, in one piece.
 *
 * Layout, integers little-endian:
 *   0  u32 length of what follows the header        4  u32 CRC-32 of what follows the header
 *   8  sender's number, 8 bytes                    16  sender's clock stamp, 8 bytes
 *  24  u8 length of the cluster's id, then the id   .. u32 count of messages
 *  then per message: u8 lane, u32 length, bytes.
 * A lane is a shard number, which names the worker; lane 255 is membership and metadata (repair/node-core.ts).
 *
 * The other side may be broken or hostile: every length is checked before it is believed, and a packet that does not
 * hold together is an error that closes this connection and nothing else.
 */
import { crc32 } from 'node:zlib';
import type { NodeNumber, Stamp } from '../shards/version.ts';

export const LANE_NODE = 255;
export const PACKET_BYTES_MAX = 64 * 1024 * 1024;
/** A packet is closed above this; one larger message still travels alone. */
export const PACKET_BYTES_TARGET = 4 * 1024 * 1024;
const HEADER_BYTES = 8;
const MESSAGES_MAX = 1_000_000;

export class PacketError extends Error {
  readonly code: 'corrupt-packet' | 'packet-too-large';
  constructor(code: 'corrupt-packet' | 'packet-too-large', message: string) {
    super(message);
    this.code = code;
  }
}

export interface PacketMessage {
  readonly lane: number;
  readonly bytes: Uint8Array;
}

export interface Packet {
  readonly sender: NodeNumber;
  readonly stamp: Stamp;
  readonly clusterId: string;
  readonly messages: readonly PacketMessage[];
}

export function encodePacket(packet: Packet): Uint8Array {
  const id = Buffer.from(packet.clusterId, 'utf8');
  let length = 8 + 8 + 1 + id.length + 4;
  for (const { bytes } of packet.messages) length += 5 + bytes.byteLength;
  if (length > PACKET_BYTES_MAX) throw new PacketError('packet-too-large', `a packet of ${length} bytes`);
  const out = Buffer.allocUnsafeSlow(HEADER_BYTES + length);
  let at = HEADER_BYTES;
  at += out.write(packet.sender, at, 8, 'hex');
  at += out.write(packet.stamp, at, 8, 'hex');
  at = out.writeUInt8(id.length, at);
  at += id.copy(out, at);
  at = out.writeUInt32LE(packet.messages.length, at);
  for (const { lane, bytes } of packet.messages) {
    at = out.writeUInt8(lane, at);
    at = out.writeUInt32LE(bytes.byteLength, at);
    out.set(bytes, at);
    at += bytes.byteLength;
  }
  out.writeUInt32LE(length, 0);
  out.writeUInt32LE(crc32(out.subarray(HEADER_BYTES)), 4);
  return out;
}

function decodePacket(body: Buffer): Packet {
  const corrupt = (what: string) => new PacketError('corrupt-packet', what);
  if (body.length < 21) throw corrupt(`a packet of ${body.length} bytes`);
  const sender = body.toString('hex', 0, 8);
  const stamp = body.toString('hex', 8, 16);
  const idLength = body.readUInt8(16);
  let at = 17 + idLength;
  if (at + 4 > body.length) throw corrupt('the cluster id runs over the end');
  const clusterId = body.toString('utf8', 17, at);
  const count = body.readUInt32LE(at);
  at += 4;
  if (count > MESSAGES_MAX) throw corrupt(`${count} messages`);
  const messages: PacketMessage[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 5 > body.length) throw corrupt(`message ${i} of ${count} runs over the end`);
    const lane = body.readUInt8(at);
    const length = body.readUInt32LE(at + 1);
    at += 5;
    if (at + length > body.length) throw corrupt(`message ${i} of ${count} runs over the end`);
    messages.push({ lane, bytes: new Uint8Array(body.subarray(at, at + length)) });
    at += length;
  }
  if (at !== body.length) throw corrupt(`${body.length - at} bytes behind the last message`);
  return { sender, stamp, clusterId, messages };
}

/** Cuts a byte stream into packets. Holds at most one packet and one chunk. */
export class PacketReader {
  #chunks: Buffer[] = [];
  #held = 0;

  /** The packets that are complete with this chunk; throws PacketError (and is of no further use then). */
  push(chunk: Buffer): Packet[] {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    const packets: Packet[] = [];
    while (this.#held >= HEADER_BYTES) {
      const head = this.#peek();
      const length = head.readUInt32LE(0);
      if (length > PACKET_BYTES_MAX) throw new PacketError('packet-too-large', `a packet of ${length} bytes`);
      if (this.#held < HEADER_BYTES + length) break;
      const whole = this.#take(HEADER_BYTES + length);
      const body = whole.subarray(HEADER_BYTES);
      if (crc32(body) !== whole.readUInt32LE(4))
        throw new PacketError('corrupt-packet', 'the CRC of a packet is wrong');
      packets.push(decodePacket(body));
    }
    return packets;
  }

  #peek(): Buffer {
    if (this.#chunks[0]!.length < HEADER_BYTES) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #take(bytes: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
    const rest = all.subarray(bytes);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#held = rest.length;
    return all.subarray(0, bytes);
  }
}
