/** Long bodies that the door of plain requests reads straight into segments: what arrives, and whose memory it lies in. */
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { DirectReads } from '../../server/http/direct-reads.ts';
import type { WriteResult } from '../../server/http/influx-write.ts';
import { Segments } from '../../server/http/segments.ts';
import { answersIn, LIMITS, POINT, query, Side, write } from './side.ts';

const SEGMENT_BYTES = 1_000;
let side: Side;
let segments: Segments;
afterEach(() => side.close());

async function open(most = 16, bytes = SEGMENT_BYTES, bodyBytesMax = 10_000_000): Promise<void> {
  segments = new Segments(bytes, most);
  side = new Side(true, segments, { ...LIMITS, bodyBytesMax });
  await side.open();
}

/** Different in every place, and from any other. */
const bodyOf = (name: string, bytes: number): string => {
  let text = '';
  for (let i = 0; text.length < bytes; i++) text += `${name},n=${i} v=${i}\n`;
  return text.slice(0, bytes);
};

class Client {
  readonly socket: Socket;
  text = '';
  isClosed = false;

  constructor() {
    this.socket = side.connect();
    this.socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  async send(bytes: Buffer | string): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** In two parts with a pause in between, so that the door has the first one before the second comes. */
  async sendInTwo(bytes: Buffer, at: number): Promise<void> {
    await this.send(bytes.subarray(0, at));
    await settled();
    await this.send(bytes.subarray(at));
  }

  answers(count: number): Promise<void> {
    return until(() => answersIn(this.text) === count);
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns++) await turn();
}

/** A connection that has had a long body, so that it is read directly. */
async function directClient(): Promise<Client> {
  const client = new Client();
  await client.sendInTwo(write(bodyOf('first', 3 * SEGMENT_BYTES)), 200);
  await client.answers(1);
  expect(side.arrived).toEqual([`t n ${bodyOf('first', 3 * SEGMENT_BYTES)}`]);
  expect(segments.idle).toBeGreaterThan(0);
  side.arrived.length = 0;
  side.observed.length = 0;
  client.text = '';
  return client;
}

/** Holds the answers of writes back. */
function held(): () => void {
  const waiting: (() => void)[] = [];
  side.answer = () => new Promise<WriteResult>((resolve) => waiting.push(() => resolve({ status: 204 })));
  return () => {
    for (const answer of waiting.splice(0)) answer();
  };
}

describe('long bodies', () => {
  test('sockets of this version of Node can be read directly', async () => {
    await open();
    const socket = await new Promise<Socket>((resolve) => {
      side.server.prependOnceListener('connection', resolve);
      new Client();
    });
    const reader = { missingBytes: () => 0, onPiece: () => {} };
    expect(DirectReads.of(socket, reader, segments)).not.toBe(null);
  });

  test('come whole, with every size of segments, on several connections at a time', async () => {
    const sizes = [1, 199, 200, 201, 999, 1_000, 1_001, 4_000, 65_536, 300_000, 1_000_000];
    for (const bytes of [1_000, 256 << 10]) {
      await open(64, bytes);
      const clients = Array.from({ length: 5 }, () => new Client());
      const bodies = clients.map((_, i) => sizes.map((size) => bodyOf(`m${i}`, size)));
      await Promise.all(
        clients.map(async (client, i) => {
          for (const [count, body] of bodies[i]!.entries()) {
            await client.send(write(body));
            await client.answers(count + 1);
          }
          client.socket.destroy();
        }),
      );
      expect([...side.arrived].sort()).toEqual(bodies.flatMap((of) => of.map((body) => `t n ${body}`)).sort());
      expect([side.slow, segments.taken, segments.idle > 0]).toEqual([0, 0, true]);
      if (bytes === 1_000) await side.close();
    }
  }, 30_000);

  test('keep their memory until they are answered, and no longer', async () => {
    await open();
    const client = await directClient();
    const answer = held();
    await client.sendInTwo(write(bodyOf('a', 2_500)), 150);
    await until(() => side.arrived.length === 1);
    expect(segments.taken).toBe(3);
    answer();
    await client.answers(1);
    expect(segments.taken).toBe(0);
  });

  test('sent one behind the other are served one after the other', async () => {
    await open();
    const client = await directClient();
    const bodies = Array.from({ length: 9 }, (_, i) => bodyOf(`m${i}`, 10 + i * 700));
    await client.sendInTwo(Buffer.concat(bodies.map((body) => write(body))), 5_000);
    await client.answers(9);
    expect(side.arrived).toEqual(bodies.map((body) => `t n ${body}`));
    expect([side.slow, segments.taken]).toEqual([0, 0]);
  });

  test('come as ever where no segment is left, and announcing one takes no more than one', async () => {
    await open(3);
    const clients: Client[] = [];
    for (let i = 0; i < 4; i++) clients.push(await directClient());
    const body = bodyOf('long', 90_000);
    for (const client of clients) await client.send(write(body).subarray(0, 150));
    await until(() => segments.taken === 3);
    await settled();
    for (const client of clients) await client.send(write(body).subarray(150));
    await Promise.all(clients.map((client) => client.answers(1)));
    expect(side.arrived).toEqual(clients.map(() => `t n ${body}`));
    expect([side.slow, segments.taken]).toEqual([0, 0]);
  });

  test('that do not end keep the memory that the socket may still read into, until it is closed', async () => {
    await open();
    const client = await directClient();
    client.socket.pause();
    await client.sendInTwo(write(bodyOf('a', 5_000)).subarray(0, 3_500), 200);
    await until(() => segments.taken === 4);
    side.door!.sweep(performance.now() + 10 * 60_000);
    expect([side.observed, segments.taken <= 1]).toEqual([[400], true]);
    await client.send(bodyOf('b', 5_000));
    client.socket.resume();
    await until(() => client.isClosed && side.door!.connectionCount === 0);
    expect([side.arrived, segments.taken]).toEqual([[], 0]);
    expect(client.text).toMatch(/^HTTP\/1\.1 408 /);
  });

  test.each(['end', 'destroy', 'resetAndDestroy'] as const)('that are cut off (%s) give all back', async (how) => {
    await open();
    const client = await directClient();
    await client.sendInTwo(write(bodyOf('a', 5_000)).subarray(0, 3_500), 200);
    await until(() => segments.taken === 4);
    client.socket[how]();
    await until(() => client.isClosed && side.door!.connectionCount === 0);
    expect([side.arrived, side.observed, segments.taken]).toEqual([[], [400], 0]);
    if (how === 'end') expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
  });

  test.each(['end', 'destroy', 'resetAndDestroy'] as const)(
    'and then node:http, on the same connection, which ends (%s)',
    async (how) => {
      await open();
      const client = await directClient();
      await client.send(write(POINT, 'X-Anything: 1\r\n'));
      await client.answers(1);
      const body = bodyOf('b', 70_000);
      await client.sendInTwo(write(body), 20_000);
      await client.answers(2);
      expect([side.slow, side.arrived, side.door!.connectionCount]).toEqual([2, [`t n ${POINT}`, `t n ${body}`], 0]);
      client.socket[how]();
      await until(() => client.isClosed);
      await new Promise<void>((resolve, reject) =>
        side.server.getConnections((error, count) =>
          error === null && count === 0 ? resolve() : reject(error ?? count),
        ),
      );
      expect(segments.taken).toBe(0);
    },
  );

  test('and then a query that the client leaves, having sent the next request', async () => {
    await open();
    const client = await directClient();
    let ended: Error | null = null;
    side.results = async function* (_text, { ending }) {
      await new Promise<void>((resolve) => ending!.onEnd(resolve));
      ended = ending!.reason;
      yield { statementId: 0 };
    };
    await client.send(query('db=t&q=slow'));
    await until(() => side.arrived.length === 1);
    await client.send(write(POINT));
    await settled();
    client.socket.resetAndDestroy();
    await until(() => side.door!.connectionCount === 0);
    expect(ended).toMatchObject({ message: 'query interrupted' });
  });

  test('many small requests in one go on a connection that is read directly', async () => {
    await open();
    const client = await directClient();
    const requests = Array.from({ length: 2_000 }, (_, i) => write(`${POINT} ${i}`));
    await client.send(Buffer.concat(requests));
    await client.answers(requests.length);
    expect(side.arrived).toEqual(requests.map((_, i) => `t n ${POINT} ${i}`));
  });
});

describe('segments', () => {
  test('are lent, those that were used last first, and no more than there may be', () => {
    segments = new Segments(10, 2);
    const [a, b] = [segments.take()!, segments.take()!];
    expect([a.length, b.length, segments.take(), segments.taken]).toEqual([10, 10, null, 2]);
    segments.give(a);
    segments.give(b);
    expect(segments.take()).toBe(b);
    expect(segments.take()).toBe(a);
  });

  test('that nobody has needed between two sweeps are let go', () => {
    segments = new Segments(10, 9);
    const all = [segments.take()!, segments.take()!, segments.take()!];
    for (const segment of all) segments.give(segment);
    segments.sweep();
    expect(segments.idle).toBe(3);
    const used = segments.take()!;
    segments.give(used);
    segments.sweep();
    expect([segments.idle, used.length, all.map(({ length }) => length)]).toEqual([1, 10, [0, 0, 10]]);
    segments.sweep();
    expect([segments.idle, segments.taken]).toEqual([0, 0]);
  });
});
