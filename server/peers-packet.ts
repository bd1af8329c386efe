/**
 * Packets between members: everything that one turn of a node has for one other member, in one piece.
 *
 * Layout, integers little-endian:
 *   0  u32 length of what follows the header        4  u32 CRC-32, see below
 *   8  sender's number, 8 bytes                    16  sender's clock stamp, 8 bytes
 *  24  u8 length of the cluster's id, then the id   .. u32 count of messages
 *  then per message: u8 lane, u32 length, u32 checked, bytes.
 * A lane is a shard number, which names the worker; lane 255 is membership and metadata (repair/node-core.ts).
 * The CRC covers what follows the header, and of each message the first `checked` bytes: what carries a CRC of its own
 * (the frames of mail, most of all bytes that replicas exchange) is read by whom it is for, and summed once.
 *
 * The other side may be broken or hostile: every length is checked before it is believed, and a packet that does not
 * hold together is an error that closes this connection and nothing else. A packet's messages are taken over as their
 * bytes arrive and believed when the CRC has been: no byte is copied more than once on either side.
 */
import { crc32 } from 'node:zlib';
import type { NodeNumber, Stamp } from '../shards/version.ts';

export const LANE_NODE = 255;
export const PACKET_BYTES_MAX = 64 * 1024 * 1024;
/** A packet is closed above this; one larger message still travels alone. */
export const PACKET_BYTES_TARGET = 4 * 1024 * 1024;
/** Messages below this are copied into the packet, or taken out of it into a buffer with others; larger ones have one. */
const LARGE_BYTES_MIN = 8 * 1024;
const BLOCK_BYTES = 64 * 1024;
const HEADER_BYTES = 8;
const SENDER_BYTES = 17;
const COUNT_BYTES = 4;
const MESSAGE_HEAD_BYTES = 9;
const MESSAGES_MAX = 1_000_000;
const NOTHING = new Uint8Array(0);

export class PacketError extends Error {
  readonly code: 'corrupt-packet' | 'packet-too-large';
  constructor(code: 'corrupt-packet' | 'packet-too-large', message: string) {
    super(message);
    this.code = code;
  }
}

export interface PacketMessage<B extends ArrayBufferLike = ArrayBufferLike> {
  readonly lane: number;
  readonly bytes: Uint8Array<B>;
  /** How many of its first bytes the packet's CRC has to cover; all of them when it is left out. */
  readonly checked?: number;
}

export interface Packet<B extends ArrayBufferLike = ArrayBufferLike> {
  readonly sender: NodeNumber;
  readonly stamp: Stamp;
  readonly clusterId: string;
  readonly messages: readonly PacketMessage<B>[];
}

/** The packet as pieces to be written one after the other; large messages are pieces themselves, not copied. */
export function encodePacket({ sender, stamp, clusterId, messages }: Packet): Uint8Array[] {
  const id = Buffer.from(clusterId, 'utf8');
  let length = SENDER_BYTES + id.length + COUNT_BYTES;
  let apart = 0;
  for (const { bytes } of messages) {
    length += MESSAGE_HEAD_BYTES + bytes.byteLength;
    if (bytes.byteLength >= LARGE_BYTES_MIN) apart += bytes.byteLength;
  }
  if (length > PACKET_BYTES_MAX) throw new PacketError('packet-too-large', `a packet of ${length} bytes`);
  const own = Buffer.allocUnsafe(HEADER_BYTES + length - apart);
  own.writeUInt32LE(length, 0);
  own.write(sender, HEADER_BYTES, 8, 'hex');
  own.write(stamp, HEADER_BYTES + 8, 8, 'hex');
  let at = own.writeUInt8(id.length, HEADER_BYTES + 16);
  at += id.copy(own, at);
  at = own.writeUInt32LE(messages.length, at);
  const pieces: Uint8Array[] = [];
  let crc = 0;
  let unsummed = HEADER_BYTES;
  let pieceAt = 0;
  for (const { lane, bytes, checked = bytes.byteLength } of messages) {
    own[at] = lane;
    own.writeUInt32LE(bytes.byteLength, at + 1);
    at = own.writeUInt32LE(checked, at + 5);
    if (bytes.byteLength < LARGE_BYTES_MIN) {
      own.set(bytes, at);
      if (checked < bytes.byteLength) crc = crc32(own.subarray(unsummed, at + checked), crc);
      at += bytes.byteLength;
      if (checked < bytes.byteLength) unsummed = at;
      continue;
    }
    crc = crc32(own.subarray(unsummed, at), crc);
    crc = crc32(bytes.subarray(0, checked), crc);
    unsummed = at;
    pieces.push(own.subarray(pieceAt, at), bytes);
    pieceAt = at;
  }
  own.writeUInt32LE(crc32(own.subarray(unsummed, at), crc), 4);
  if (pieceAt < at) pieces.push(own.subarray(pieceAt, at));
  return pieces;
}

type Expected = 'header' | 'sender' | 'count' | 'message-head' | 'message';

/**
 * Cuts a byte stream into packets. Holds at most one packet. Buffers of messages belong to whom gets the packet; small
 * messages share some.
 */
export class PacketReader {
  #expected: Expected = 'header';
  /** Of what is expected, unless it is a message. */
  readonly #head = Buffer.alloc(512);
  #headLength = 0;
  #headWanted = HEADER_BYTES;
  /** Bytes of the packet that have not been taken yet. */
  #left = 0;
  #crcSaid = 0;
  #crc = 0;
  #sender: NodeNumber = '';
  #stamp: Stamp = '';
  #clusterId = '';
  #count = 0;
  #messages: PacketMessage<ArrayBuffer>[] = [];
  #filled = 0;
  #block = NOTHING;
  #blockUsed = 0;

  /** The packets that are complete with this chunk; throws PacketError (and is of no further use then). */
  push(chunk: Buffer): Packet<ArrayBuffer>[] {
    const packets: Packet<ArrayBuffer>[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (this.#expected === 'message') at = this.#fill(chunk, at);
      else at = this.#collect(chunk, at);
      if (this.#isComplete()) packets.push(this.#finish());
    }
    return packets;
  }

  /** Takes bytes of a head; acts on it when it is whole. */
  #collect(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#headWanted - this.#headLength);
    this.#headLength += chunk.copy(this.#head, this.#headLength, at, end);
    if (this.#headLength < this.#headWanted) return end;
    const head = this.#head.subarray(0, this.#headWanted);
    this.#headLength = 0;
    if (this.#expected === 'header') {
      this.#begin(head);
      return end;
    }
    this.#left -= head.length;
    this.#crc = crc32(head, this.#crc);
    if (this.#expected === 'sender') this.#takeSender(head);
    else if (this.#expected === 'count') this.#takeCount(head);
    else this.#beginMessage(head);
    return end;
  }

  #expect(what: Expected, bytes: number): void {
    this.#expected = what;
    this.#headWanted = bytes;
  }

  #begin(head: Buffer): void {
    const length = head.readUInt32LE(0);
    if (length > PACKET_BYTES_MAX) throw new PacketError('packet-too-large', `a packet of ${length} bytes`);
    if (length < SENDER_BYTES + COUNT_BYTES) throw corrupt(`a packet of ${length} bytes`);
    this.#left = length;
    this.#crcSaid = head.readUInt32LE(4);
    this.#crc = 0;
    this.#messages = [];
    this.#block = NOTHING;
    this.#blockUsed = 0;
    this.#expect('sender', SENDER_BYTES);
  }

  #takeSender(head: Buffer): void {
    this.#sender = head.toString('hex', 0, 8);
    this.#stamp = head.toString('hex', 8, 16);
    const bytes = head[16]! + COUNT_BYTES;
    if (bytes > this.#left) throw corrupt('the cluster id runs over the end');
    this.#expect('count', bytes);
  }

  #takeCount(head: Buffer): void {
    this.#clusterId = head.toString('utf8', 0, head.length - COUNT_BYTES);
    this.#count = head.readUInt32LE(head.length - COUNT_BYTES);
    if (this.#count > MESSAGES_MAX || this.#count * MESSAGE_HEAD_BYTES > this.#left)
      throw corrupt(`${this.#count} messages`);
    this.#expect('message-head', MESSAGE_HEAD_BYTES);
  }

  #beginMessage(head: Buffer): void {
    const [lane, length, checked] = [head[0]!, head.readUInt32LE(1), head.readUInt32LE(5)];
    const rest = this.#count - this.#messages.length - 1;
    if (length + rest * MESSAGE_HEAD_BYTES > this.#left || checked > length)
      throw corrupt(`message ${this.#messages.length} of ${this.#count} runs over the end`);
    this.#messages.push({ lane, bytes: this.#room(length), checked });
    this.#filled = 0;
    if (length > 0) this.#expect('message', 0);
  }

  #room(length: number): Uint8Array<ArrayBuffer> {
    // Never a part of a shared empty buffer: what is given is moved to another thread.
    if (length === 0) return new Uint8Array(0);
    if (length >= LARGE_BYTES_MIN) return unset(length);
    if (this.#blockUsed + length > this.#block.length) {
      this.#block = unset(Math.max(length, Math.min(this.#left, BLOCK_BYTES)));
      this.#blockUsed = 0;
    }
    const room = this.#block.subarray(this.#blockUsed, this.#blockUsed + length);
    this.#blockUsed += length;
    return room;
  }

  #fill(chunk: Buffer, at: number): number {
    const { bytes, checked = bytes.length } = this.#messages.at(-1)!;
    const end = Math.min(chunk.length, at + bytes.length - this.#filled);
    const part = chunk.subarray(at, end);
    bytes.set(part, this.#filled);
    if (this.#filled < checked) this.#crc = crc32(part.subarray(0, checked - this.#filled), this.#crc);
    this.#filled += part.length;
    this.#left -= part.length;
    if (this.#filled === bytes.length) this.#expect('message-head', MESSAGE_HEAD_BYTES);
    return end;
  }

  #isComplete(): boolean {
    return this.#expected === 'message-head' && this.#headLength === 0 && this.#messages.length === this.#count;
  }

  #finish(): Packet<ArrayBuffer> {
    if (this.#left > 0) throw corrupt(`${this.#left} bytes behind the last message`);
    if (this.#crc !== this.#crcSaid) throw corrupt('the CRC of a packet is wrong');
    this.#expect('header', HEADER_BYTES);
    return { sender: this.#sender, stamp: this.#stamp, clusterId: this.#clusterId, messages: this.#messages };
  }
}

function corrupt(what: string): PacketError {
  return new PacketError('corrupt-packet', what);
}

function unset(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer as ArrayBuffer);
}
