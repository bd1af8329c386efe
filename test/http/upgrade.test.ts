/** Offers to upgrade: of a member they are taken, those of other clients are no reason not to answer. */
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type HttpFront, type HttpPorts, startHttp } from '../../server/http/server.ts';
import { LIMITS, QUERY_LIMITS } from './side.ts';

let front: HttpFront;
let upgraded: string[];
const sockets: Socket[] = [];

beforeEach(async () => {
  upgraded = [];
  const ports: Partial<HttpPorts> = {
    version: '1.2.3',
    writeLimits: LIMITS,
    queryLimits: QUERY_LIMITS,
    notReady: () => null,
    observe: () => {},
    upgrade(request, socket) {
      upgraded.push(`${request.url} ${request.headers.upgrade}`);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: starling/2\r\n\r\n');
      socket.on('error', () => {});
      socket.on('end', () => socket.end());
      socket.resume();
    },
    log: { error: () => {} },
  };
  front = await startHttp({ host: '127.0.0.1', port: 0 }, ports as HttpPorts);
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await front.close();
});

/** Sends, and gives the first line of the answer. */
async function ask(path: string, headers: string): Promise<string> {
  const socket = connect(front.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  const answered = new Promise<string>((resolve) => socket.once('data', (chunk: Buffer) => resolve(String(chunk))));
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
  return (await answered).split('\r\n')[0]!;
}

const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n';

test('a client that offers HTTP/2, as some do with every request, is answered as if it had not', async () => {
  expect(await ask('/ping', H2C)).toBe('HTTP/1.1 204 No Content');
  expect(await ask('/ping', 'Connection: Upgrade\r\nUpgrade: websocket\r\n')).toBe('HTTP/1.1 204 No Content');
  expect(upgraded).toEqual([]);
});

test('a member is upgraded', async () => {
  expect(await ask('/internal/peer', 'Connection: Upgrade\r\nUpgrade: starling/2\r\n')).toMatch(/^HTTP\/1\.1 101 /);
  expect(upgraded).toEqual(['/internal/peer starling/2']);
});

test('who asks for the path of members without an upgrade does not keep the server from closing', async () => {
  expect(await ask('/internal/peer', '')).toMatch(/^HTTP\/1\.1 404 /);
  front.destroy();
  await new Promise<void>((resolve) => sockets.at(-1)!.once('close', () => resolve()));
});

test('who begins like a member and is never upgraded is cut off, whatever is sent; a member is not', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    expect(await ask('/internal/peer', 'Connection: Upgrade\r\nUpgrade: starling/2\r\n')).toMatch(/^HTTP\/1\.1 101 /);
    const [member] = sockets;
    const slow = connect(front.port, '127.0.0.1');
    sockets.push(slow);
    slow.on('error', () => {});
    slow.write('GET /internal/peer HTTP/1.1\r\n');
    let isClosed = false;
    slow.on('close', () => {
      isClosed = true;
    });
    // A header each second, and the connection's end as soon as it is seen here.
    for (let n = 0; !isClosed && n < 500; n++) {
      slow.write(`A${n}: 1\r\n`);
      await new Promise(setImmediate);
      vi.advanceTimersByTime(1_000);
    }
    expect([isClosed, member!.destroyed]).toEqual([true, false]);
  } finally {
    vi.useRealTimers();
  }
});
