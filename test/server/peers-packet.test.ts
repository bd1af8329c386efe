import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodePacket, type Packet, PacketError, PacketReader } from '../../server/peers-packet.ts';

/** Some messages are large enough to travel as pieces of their own, and some are covered by the CRC in part only. */
const messages = fc
  .record({
    lane: fc.nat(255),
    length: fc.oneof(fc.nat(300), fc.integer({ min: 8_000, max: 9_000 })),
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    seed: fc.nat(255),
  })
  .map(({ lane, length, part, seed }) => ({
    lane,
    bytes: Uint8Array.from({ length }, (_, i) => (seed + i * 7) & 255),
    checked: Math.round(length * part),
  }));
const packets: fc.Arbitrary<Packet> = fc.record({
  sender: fc.stringMatching(/^[0-9a-f]{16}$/),
  stamp: fc.stringMatching(/^[0-9a-f]{16}$/),
  clusterId: fc.stringMatching(/^[0-9a-f]{0,20}$/),
  messages: fc.array(messages, { maxLength: 8 }),
});
/** Arrays of thousands of bytes are slow to compare. */
const readable = (packet: Packet) => ({
  ...packet,
  messages: packet.messages.map((each) => ({ ...each, bytes: Buffer.from(each.bytes).toString('hex') })),
});
const bytesOf = (packet: Packet) => Buffer.concat(encodePacket(packet));

test('packets come out of a stream as they went in, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(packets, { maxLength: 5 }),
      fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 20_000 })), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map(bytesOf));
        const reader = new PacketReader();
        const got: Packet[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + (i < 500 ? cuts[i % cuts.length]! : 20_000);
          got.push(...reader.push(Buffer.from(stream.subarray(at, end))));
          at = end;
        }
        expect(got.map(readable)).toEqual(sent.map(readable));
      },
    ),
  );
});

test('a message that covers itself is sent from where it is', () => {
  const bytes = new Uint8Array(100_000);
  const packet = { sender: 'a'.repeat(16), stamp: '0'.repeat(16), clusterId: 'c' };
  const pieces = encodePacket({ ...packet, messages: [{ lane: 1, bytes, checked: 10 }] });
  expect(pieces.some((piece) => piece === bytes)).toBe(true);
});

test('messages of different packets share no buffer', () => {
  const packet = { sender: 'a'.repeat(16), stamp: '0'.repeat(16), clusterId: 'c' };
  const small = { lane: 1, bytes: Uint8Array.of(1, 2, 3) };
  const stream = bytesOf({ ...packet, messages: [small, { lane: 2, bytes: new Uint8Array(9_000) }, small] });
  const got = new PacketReader().push(Buffer.concat([stream, stream]));
  const [first, second] = got.map((each) => new Set(each.messages.map(({ bytes }) => bytes.buffer)));
  expect([...first!].filter((buffer) => second!.has(buffer))).toEqual([]);
});

test('a flipped bit is an error or an incomplete packet, or lies in bytes that cover themselves', () => {
  fc.assert(
    fc.property(packets, fc.nat(), fc.nat(7), (packet, position, bit) => {
      const bytes = bytesOf(packet);
      bytes[position % bytes.length]! ^= 1 << bit;
      try {
        for (const got of new PacketReader().push(bytes)) {
          const covered = (each: Packet) =>
            each.messages.map(({ lane, bytes: all, checked }) => ({ lane, checked, bytes: all.subarray(0, checked) }));
          expect({ ...got, messages: covered(got) }).toEqual({ ...packet, messages: covered(packet) });
        }
      } catch (error) {
        expect(error).toBeInstanceOf(PacketError);
      }
    }),
  );
});

test('a length beyond the limit is refused before anything is kept', () => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0xffff_ffff, 0);
  expect(() => new PacketReader().push(head)).toThrow(/a packet of 4294967295 bytes/);
});

test.each([
  ['a message that is longer than what is left', 29 + 1, 0xffff],
  ['more messages than fit', 26, 1_000],
  ['more bytes to check than the message has', 29 + 6, 0xff],
])('%s: refused as soon as it is read', (_, at, value) => {
  const packet = { sender: 'a'.repeat(16), stamp: '0'.repeat(16), clusterId: 'c' };
  const bytes = bytesOf({ ...packet, messages: [{ lane: 1, bytes: Uint8Array.of(1, 2, 3) }] });
  bytes.writeUInt16LE(value, at);
  expect(() => new PacketReader().push(bytes.subarray(0, 39))).toThrow(PacketError);
});

test('empty messages, moved to another thread, leave nothing behind that later packets share', () => {
  const empty = { lane: 0, bytes: new Uint8Array(0), checked: 0 };
  const packet = { sender: 'a'.repeat(16), stamp: '0'.repeat(16), clusterId: 'c', messages: [empty, empty] };
  const reader = new PacketReader();
  for (let round = 0; round < 3; round++) {
    const [received] = reader.push(Buffer.from(bytesOf(packet)));
    const buffers = received!.messages.map(({ bytes }) => bytes.buffer as ArrayBuffer);
    structuredClone(null, { transfer: buffers });
    expect(buffers.map(({ byteLength }) => byteLength)).toEqual([0, 0]);
  }
});
