/**
 * The door of writes beside node:http on the same handlers: whatever bytes come, in whatever pieces, both must say the
 * same (ids and dates apart), and the coordinator must be given the same bodies.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleWrite, type WriteRequest, type WriteResult } from '../../server/http/influx-write.ts';
import { openWriteDoor } from '../../server/http/server.ts';
import type { WriteDoor } from '../../server/http/write-door.ts';

const LIMITS = { bodyBytesMax: 5_000, defaultConsistency: 'one', nowNs: () => 42n, receiptOf: () => null } as const;
const KEEP_ALIVE_MS = 65_000;
const VERSION = '0.1.0';
/** More answers than come. */
const UNTIL_CLOSED = Number.POSITIVE_INFINITY;

/** A server with or without the door, and what its coordinator was given. */
class Side {
  readonly server: Server;
  readonly door: WriteDoor | null;
  readonly arrived: string[] = [];
  readonly observed: number[] = [];
  /** Requests that node:http was given. */
  slow = 0;
  problem: string | null = null;
  answer: (body: string) => Promise<WriteResult> = async (body) =>
    body.startsWith('bad') ? { status: 400, error: `unable to parse '${body}': ä` } : { status: 204 };

  constructor(hasDoor: boolean) {
    const coordinator = {
      write: ({ database, precision, body }: WriteRequest) => {
        const text = Buffer.concat(body).toString('latin1');
        this.arrived.push(`${database} ${precision} ${text}`);
        return this.answer(text);
      },
    };
    this.server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
      this.slow++;
      this.#serve(request, response, coordinator);
    });
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET' || !socket.writable) return;
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    });
    const ports = {
      version: VERSION,
      writeLimits: LIMITS,
      notReady: () => this.problem,
      coordinator: () => coordinator,
      observe: (_route: string, _seconds: number, status: number) => this.observed.push(status),
      log: { error: () => {} },
    };
    this.door = hasDoor ? openWriteDoor(this.server, ports) : null;
  }

  #serve(
    request: IncomingMessage,
    response: ServerResponse,
    coordinator: { write(request: WriteRequest): Promise<WriteResult> },
  ): void {
    setInfluxHeaders(request, response, VERSION);
    const url = new URL(request.url ?? '/', 'http://x');
    if (url.pathname === '/write') {
      void handleWrite(request, response, url, coordinator, LIMITS).catch(() => {});
      return;
    }
    request.resume();
    response.setHeader('Content-Type', 'text/plain');
    response.end(`${request.method} ${request.url}\n`);
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      this.server.closeAllConnections();
      this.door?.closeAllConnections();
    });
  }

  connect(): Socket {
    return connect({ port: (this.server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  }
}

/** What cannot be the same twice is made so. */
function masked(text: string): string {
  return text
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
    .replace(/Date: [^\r]*/g, 'Date: D');
}

/** How many whole answers are in the text; all of them have a length or are 204. */
function answersIn(text: string): number {
  let count = 0;
  for (let at = 0; ; count++) {
    const end = text.indexOf('\r\n\r\n', at);
    if (end < 0) return count;
    const head = text.slice(at, end);
    at = end + 4 + Number(/Content-Length: (\d+)/i.exec(head)?.[1] ?? 0);
    if (at > text.length) return count;
  }
}

interface Part {
  readonly pieces: readonly Buffer[];
  /** To be had before the next part is sent; after the last, before the connection is closed. */
  readonly answers: number;
}

/** Sends pieces one by one, each when the last has left; resolves with all that came back. */
function exchange(side: Side, parts: readonly Part[]): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    let part = 0;
    let expected = 0;
    const socket = side.connect();
    const send = ([piece, ...others]: readonly Buffer[]): void => {
      // A turn of the loop between pieces, so that they arrive apart as a rule.
      if (piece !== undefined && !socket.destroyed) socket.write(piece, () => setImmediate(send, others));
    };
    const begin = (): void => {
      expected += parts[part]!.answers;
      send(parts[part]!.pieces);
    };
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (answersIn(text) < expected) return;
      if (++part < parts.length) begin();
      else socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(masked(text)));
    begin();
  });
}

function splitAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
  return [0, ...cuts].map((from, i) => bytes.subarray(from, cuts[i])).filter((piece) => piece.length > 0);
}

function write(body: string | Buffer, headers = '', query = 'db=t'): Buffer {
  const bytes = Buffer.from(body as string, 'latin1');
  const head = `POST /write?${query} HTTP/1.1\r\nHost: x\r\n${headers}Content-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

const POINT = 'cpu,host=a usage=1';
const chunked = (text: string) =>
  Buffer.from(
    `POST /write?db=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`,
  );

/** Requests after which a connection goes on. */
const KINDS: Readonly<Record<string, (n: number) => Buffer>> = {
  plain: (n) => write(`${POINT} ${n}`),
  empty: () => write(''),
  long: (n) => write(`${POINT} ${n}\n`.repeat(150)),
  gzip: (n) => write(gzipSync(`${POINT} ${n}`), 'Content-Encoding: gzip\r\n'),
  'bad gzip': () => write('no gzip at all', 'Content-Encoding: gzip\r\n'),
  'bad line': (n) => write(`bad ${n}`),
  'all headers': (n) =>
    write(
      `${POINT} ${n}`,
      'User-Agent: Telegraf/1.30\r\nContent-Type: text/plain; charset=utf-8\r\nAccept: */*\r\nAuthorization: Token x\r\nconnection: keep-alive\r\n',
    ),
  seconds: (n) => write(`${POINT} ${n}`, '', 'db=t&precision=s&rp=x'),
  'given id': (n) => write(`${POINT} ${n}`, 'X-Request-Id: mine\r\n'),
  origin: (n) => write(`${POINT} ${n}`, 'Origin: http://page\r\n'),
  unknown: (n) => write(`${POINT} ${n}`, 'X-Anything: 1\r\n'),
  'no database': (n) => write(`${POINT} ${n}`, '', 'precision=s'),
  'bad precision': (n) => write(`${POINT} ${n}`, '', 'db=t&precision=x'),
  chunked: (n) => chunked(`${POINT} ${n}`),
  query: (n) => Buffer.from(`GET /query?q=${n} HTTP/1.1\r\nHost: x\r\n\r\n`),
  post: (n) => Buffer.from(`POST /other/${n} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`),
};

/** What ends a connection. */
const ENDS: Readonly<Record<string, () => Buffer>> = {
  'two lengths': () => write(POINT, 'Content-Length: 5\r\n'),
  'length and chunks': () => write(POINT, 'Transfer-Encoding: chunked\r\n'),
  'signed length': () => Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nm v=1'),
  'length in hexadecimal': () =>
    Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nm v=1'),
  'blank before the colon': () =>
    Buffer.from('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nm v=1'),
  'no host': () => Buffer.from('POST /write?db=t HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nm v=1'),
  'version 1.0': () => Buffer.from('POST /write?db=t HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n\r\nm v=1'),
  'to be closed': () => write(POINT, 'Connection: close\r\n'),
  noise: () => Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 noise\r\n\r\n', 'latin1'),
  'control character': () => write(POINT, 'User-Agent: a\x01b\r\n'),
};

let plain: Side;
let door: Side;
beforeAll(async () => {
  plain = new Side(false);
  door = new Side(true);
  await Promise.all([plain.open(), door.open()]);
});
afterAll(() => Promise.all([plain.close(), door.close()]));
beforeEach(() => {
  for (const side of [plain, door]) {
    side.arrived.length = 0;
    side.observed.length = 0;
    side.slow = 0;
    side.problem = null;
  }
});

async function expectSame(parts: readonly Part[]): Promise<void> {
  const [expected, got] = await Promise.all([exchange(plain, parts), exchange(door, parts)]);
  expect(got).toBe(expected);
  // Requests of one connection are served in order behind the door; node:http serves them at once.
  expect([...door.arrived].sort()).toEqual([...plain.arrived].sort());
  plain.arrived.length = 0;
  door.arrived.length = 0;
}

describe('the door of writes', () => {
  test.each(Object.keys(KINDS))('answers as node:http does: %s', async (kind) => {
    await expectSame([{ pieces: [KINDS[kind]!(1)], answers: 1 }]);
  });

  test.each(Object.keys(ENDS))('leaves to node:http what is not plain: %s', async (kind) => {
    await expectSame([{ pieces: [ENDS[kind]!()], answers: UNTIL_CLOSED }]);
  });

  test('serves what is plain itself, and the rest of a connection that it gave away is not its own', async () => {
    await exchange(door, [{ pieces: [write(POINT), write(POINT, 'User-Agent: a\r\n'), KINDS.gzip!(1)], answers: 3 }]);
    expect([door.slow, door.arrived.length, door.observed]).toEqual([0, 3, [204, 204, 204]]);
    await exchange(door, [{ pieces: [write(POINT), KINDS.query!(1), write(POINT)], answers: 3 }]);
    expect([door.slow, door.arrived.length]).toEqual([2, 5]);
  });

  test('any requests, one after the other on one connection, in any pieces', async () => {
    const requests = fc.array(fc.constantFrom(...Object.keys(KINDS)), { minLength: 1, maxLength: 6 });
    const places = fc.array(fc.nat(20_000), { maxLength: 12 });
    const last = fc.option(fc.constantFrom(...Object.keys(ENDS)), { nil: null });
    await fc.assert(
      fc.asyncProperty(requests, places, last, async (kinds, cuts, end) => {
        const all = kinds.map((kind, i) => KINDS[kind]!(i));
        const parts = [{ pieces: splitAt(Buffer.concat(all), cuts), answers: kinds.length }];
        // node:http refuses what is malformed at once, before it has answered what came earlier.
        if (end !== null) parts.push({ pieces: splitAt(ENDS[end]!(), cuts), answers: UNTIL_CLOSED });
        await expectSame(parts);
      }),
      { numRuns: 150 },
    );
  }, 60_000);

  test('a body that comes byte by byte', async () => {
    const bytes = write(`${POINT}\n`.repeat(60));
    const pieces = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    await expectSame([{ pieces, answers: 1 }]);
  }, 20_000);

  test('a body beyond the limit is node:http’s to refuse', async () => {
    const body = 'x'.repeat(LIMITS.bodyBytesMax + 1);
    for (const bytes of [write(body), write(gzipSync(body), 'Content-Encoding: gzip\r\n')])
      await expectSame([{ pieces: splitAt(bytes, [100]), answers: 1 }]);
    expect(door.arrived).toEqual([]);
  });

  test('a node that is not ready leaves all to node:http', async () => {
    door.problem = 'starting';
    await exchange(door, [{ pieces: [write(POINT)], answers: 1 }]);
    expect(door.slow).toBe(1);
  });

  test('a coordinator that fails is answered with 500, and the connection goes on', async () => {
    const answer = door.answer;
    door.answer = () => Promise.reject(new Error('a mistake'));
    try {
      const answers = await exchange(door, [{ pieces: [write(POINT), write(POINT)], answers: 2 }]);
      expect(answers.match(/^HTTP\/1\.1 500 /gm)).toHaveLength(2);
    } finally {
      door.answer = answer;
    }
    expect(door.observed).toEqual([500, 500]);
  });
});

describe('silent and rude clients', () => {
  const closed = (socket: Socket): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  /** Sends, and resolves when the door holds the connection and `isSo`. */
  const sent = async (socket: Socket, bytes: Buffer | string, isSo: () => boolean): Promise<void> => {
    await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
  };
  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  const { headersTimeout, requestTimeout } = createServer();

  afterEach(async () => {
    door.door!.closeAllConnections();
    while (door.door!.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test('who sends nothing at all gets 408 when node:http would say it', async () => {
    const socket = door.connect();
    const end = closed(socket);
    while (door.door!.connectionCount < 1) await new Promise((resolve) => setImmediate(resolve));
    door.door!.sweep(performance.now() + headersTimeout - 1_000);
    await settled();
    expect(socket.destroyed).toBe(false);
    door.door!.sweep(performance.now() + headersTimeout + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('a body that does not end gets 408, and is stored nowhere', async () => {
    const socket = door.connect();
    const end = closed(socket);
    await sent(socket, write(POINT).subarray(0, -3), () => door.door!.connectionCount > 0);
    await settled();
    door.door!.sweep(performance.now() + requestTimeout + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 408 /);
    expect([door.arrived, door.observed]).toEqual([[], [400]]);
  });

  test('an idle connection is closed after the time of keep-alive, and not before', async () => {
    const socket = door.connect();
    const end = closed(socket);
    await sent(socket, write(POINT), () => door.observed.length === 1);
    door.door!.sweep(performance.now() + KEEP_ALIVE_MS - 1_000);
    await settled();
    expect(socket.destroyed).toBe(false);
    door.door!.sweep(performance.now() + KEEP_ALIVE_MS + 1);
    expect(await end).toMatch(/^HTTP\/1\.1 204 /);
  });

  test('a body that is cut off is 400 and stored nowhere; a half-closed connection still gets its answer', async () => {
    const cut = door.connect();
    const cutEnd = closed(cut);
    cut.end(write(POINT).subarray(0, -3));
    expect(await cutEnd).toMatch(/^HTTP\/1\.1 400 /);
    expect([door.arrived, door.observed]).toEqual([[], [400]]);
    const half = door.connect();
    const halfEnd = closed(half);
    half.end(write(POINT));
    expect(await halfEnd).toMatch(/^HTTP\/1\.1 204 /);
    expect(door.arrived).toHaveLength(1);
  });

  test('who never reads answers is not read from any more, and is closed in the end', async () => {
    const socket = door.connect();
    socket.pause();
    socket.on('error', () => {});
    const flood = Buffer.concat(Array.from({ length: 200 }, () => write('bad')));
    let before = -1;
    // Until the buffers on both ways are full: then nothing is served any more.
    for (let quiet = 0; quiet < 50; ) {
      if (socket.writableLength < 1_000_000) socket.write(flood);
      await new Promise((resolve) => setImmediate(resolve));
      quiet = before === door.arrived.length ? quiet + 1 : 0;
      before = door.arrived.length;
    }
    const closing = new Promise((resolve) => socket.on('close', resolve));
    door.door!.sweep(performance.now() + requestTimeout + 1);
    socket.resume();
    await closing;
  }, 30_000);

  test('closing: idle connections are closed, and one that is served gets its answer first', async () => {
    const side = new Side(true);
    await side.open();
    let release = (_: WriteResult): void => {};
    side.answer = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const idle = side.connect();
    const busy = side.connect();
    const ends = [closed(idle), closed(busy)];
    await sent(busy, write(POINT), () => side.arrived.length === 1 && side.door!.connectionCount === 2);
    side.door!.close();
    expect(await ends[0]).toBe('');
    release({ status: 204 });
    expect(await ends[1]).toMatch(/^HTTP\/1\.1 204 .*\r\nConnection: close\r\n/s);
    await side.close();
  });
});
