import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodePacket, type Packet, PacketError, PacketReader } from '../../server/peers-packet.ts';

const packets: fc.Arbitrary<Packet> = fc.record({
  sender: fc.stringMatching(/^[0-9a-f]{16}$/),
  stamp: fc.stringMatching(/^[0-9a-f]{16}$/),
  clusterId: fc.stringMatching(/^[0-9a-f]{0,20}$/),
  messages: fc.array(fc.record({ lane: fc.nat(255), bytes: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 8 }),
});

test('packets come out of a stream as they went in, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(packets, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }),
      (sent, cuts) => {
        const stream = Buffer.concat(sent.map(encodePacket));
        const reader = new PacketReader();
        const got: Packet[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = at + cuts[i % cuts.length]!;
          got.push(...reader.push(stream.subarray(at, end)));
          at = end;
        }
        expect(got).toEqual(sent);
      },
    ),
  );
});

test('a flipped bit anywhere is an error or an incomplete packet, never another packet', () => {
  fc.assert(
    fc.property(packets, fc.nat(), fc.nat(7), (packet, position, bit) => {
      const bytes = encodePacket(packet);
      bytes[position % bytes.length]! ^= 1 << bit;
      try {
        expect(new PacketReader().push(Buffer.from(bytes))).toEqual([]);
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
