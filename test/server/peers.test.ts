/** Two ends of the transport over loopback. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Member } from '../../repair/cluster.ts';
import { Peers } from '../../server/peers.ts';
import { encodePacket, type Packet } from '../../server/peers-packet.ts';

const A = 'a'.repeat(16);
const B = 'b'.repeat(16);
const quiet = { info: () => {}, warn: () => {} };

interface End {
  readonly peers: Peers;
  readonly server: Server;
  readonly url: string;
  readonly got: Packet[];
  skewed: boolean;
}

const ends: End[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) {
    end.peers.close();
    end.server.closeAllConnections();
    await new Promise((done) => end.server.close(done));
  }
});

async function makeEnd(number: string, clusterId: string, onPacket: () => void = () => {}): Promise<End> {
  const server = createServer((_request, response) => response.writeHead(404).end());
  const got: Packet[] = [];
  const end: End = {
    server,
    got,
    skewed: false,
    url: '',
    peers: new Peers({
      identity: () => ({ number, name: number[0]!, clusterId }),
      stampNow: () => '0'.repeat(16),
      nowMs: Date.now,
      random: Math.random,
      heard: () => !end.skewed,
      onPacket: (packet) => {
        got.push(packet);
        onPacket();
      },
      onConnected: () => {},
      log: quiet,
    }),
  };
  server.on('upgrade', (request, socket, head) => end.peers.accept(request, socket, head));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const made = Object.assign(end, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
  ends.push(made);
  return made;
}

function member(number: string, address: string): Member {
  return { number, name: number[0]!, address, state: 'up' };
}

test('messages of one turn travel in one packet, in order', async () => {
  let done = () => {};
  const arrived = new Promise<void>((resolve) => {
    done = resolve;
  });
  const b = await makeEnd(B, 'c', () => done());
  const a = await makeEnd(A, 'c');
  a.peers.setMembers([member(A, a.url), member(B, b.url)]);
  for (let i = 0; i < 5; i++) a.peers.send([B], { lane: i, bytes: Uint8Array.of(i, i) });
  await arrived;
  expect(b.got).toHaveLength(1);
  expect(b.got[0]).toMatchObject({ sender: A, clusterId: 'c' });
  expect(b.got[0]!.messages.map(({ lane, bytes }) => [lane, ...bytes])).toEqual([0, 1, 2, 3, 4].map((i) => [i, i, i]));
});

test.each([
  ['another cluster', 'other', B, /another cluster/],
  ['an address that belongs to another node now', 'c', 'd'.repeat(16), /another node number/],
])('a connection to %s is refused with the reason', async (_what, clusterId, to, reason) => {
  const b = await makeEnd(B, 'c');
  const a = await makeEnd(A, clusterId);
  a.peers.setMembers([member(to, b.url)]);
  await expect.poll(() => a.peers.status()[0]?.problem).toMatch(reason);
  expect(b.peers.counters.refusedConnections).toBeGreaterThan(0);
});

test('who is refused is cut off although it stays, and keeps no server from closing', async () => {
  const { server } = await makeEnd(B, 'c');
  const stays = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  stays.on('error', () => {});
  const told = new Promise<string>((done) => stays.once('data', (chunk: Buffer) => done(String(chunk))));
  stays.write('GET /any HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n');
  expect(await told).toMatch(/^HTTP\/1\.1 409 /);
  await new Promise((done) => server.close(done));
  stays.destroy();
});

test('frames of a member whose clock is far ahead are dropped and counted', async () => {
  const b = await makeEnd(B, 'c');
  b.skewed = true;
  const a = await makeEnd(A, 'c');
  a.peers.setMembers([member(B, b.url)]);
  a.peers.send([B], { lane: 1, bytes: Uint8Array.of(1) });
  await expect.poll(() => b.peers.counters.skewedPackets).toBe(1);
  expect(b.got).toEqual([]);
});

test('a packet with a broken CRC, or from somebody else than the hello said, closes that connection only', async () => {
  const b = await makeEnd(B, 'c');
  const a = await makeEnd(A, 'c');
  const empty = { stamp: '0'.repeat(16), clusterId: 'c', messages: [] };
  const broken = Buffer.concat(encodePacket({ sender: A, ...empty }));
  broken[broken.length - 1]! ^= 1;
  const forged = Buffer.concat(encodePacket({ sender: 'f'.repeat(16), ...empty }));
  for (const bytes of [broken, forged]) {
    await new Promise<void>((done, reject) => {
      const socket = connect((b.server.address() as AddressInfo).port, '127.0.0.1', () => {
        socket.write(
          `GET /internal/peer HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: starling/2\r\nStarling-Cluster: c\r\nStarling-Number: ${A}\r\nStarling-To: ${B}\r\n\r\n`,
        );
        socket.write(bytes);
      });
      socket.resume();
      socket.on('close', () => done());
      socket.on('error', reject);
    });
  }
  expect(b.peers.counters.corruptPackets).toBe(2);
  a.peers.setMembers([member(B, b.url)]);
  a.peers.send([B], { lane: 1, bytes: Uint8Array.of(1) });
  await expect.poll(() => b.got.length).toBe(1);
});

test('megabytes arrive whole, though what the socket gave is given back meanwhile', async () => {
  const b = await makeEnd(B, 'c');
  const a = await makeEnd(A, 'c');
  a.peers.setMembers([member(B, b.url)]);
  await expect.poll(() => a.peers.status()[0]?.connected).toBe(true);
  const sent = [3 << 20, 100, 9_000, 5, 2 << 20].map((length, i) =>
    Uint8Array.from({ length }, (_, at) => (at * 31 + i) % 251),
  );
  for (const [lane, bytes] of sent.entries()) a.peers.send([B], { lane, bytes });
  const arrived = () => b.got.flatMap(({ messages }) => messages);
  await expect.poll(() => arrived().length, { timeout: 5_000 }).toBe(sent.length);
  expect(arrived().map(({ bytes }, i) => Buffer.compare(bytes, sent[i]!))).toEqual(sent.map(() => 0));
});

test('a member that comes back later gets what is sent then', async () => {
  const b = await makeEnd(B, 'c');
  const address = b.url;
  const port = (b.server.address() as AddressInfo).port;
  ends.splice(ends.indexOf(b), 1);
  b.peers.close();
  await new Promise((done) => b.server.close(done));
  const a = await makeEnd(A, 'c');
  a.peers.setMembers([member(B, address)]);
  await expect.poll(() => a.peers.status()[0]?.problem).toMatch(/ECONNREFUSED/);
  a.peers.send([B], { lane: 1, bytes: Uint8Array.of(1) });
  const back = await makeEnd(B, 'c');
  await new Promise((done) => back.server.close(done));
  await new Promise<void>((done) => back.server.listen(port, '127.0.0.1', done));
  await expect.poll(() => a.peers.status()[0]?.connected, { timeout: 5_000 }).toBe(true);
  a.peers.send([B], { lane: 2, bytes: Uint8Array.of(2) });
  await expect.poll(() => back.got.at(-1)?.messages.at(-1)?.lane).toBe(2);
});
