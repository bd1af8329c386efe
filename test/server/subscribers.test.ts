/** What subscribers get of the writes of a node, over HTTP and UDP, and that none of them holds anything up. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import type { WriteRequest } from '../../server/http/influx-write.ts';
import { openDestination, packed } from '../../server/subscriptions/destination.ts';
import { parseDestination } from '../../server/subscriptions/destination-url.ts';
import { ForwardedWrite } from '../../server/subscriptions/forwarded-write.ts';
import type { Subscription } from '../../server/subscriptions/registry.ts';
import { Subscribers } from '../../server/subscriptions/subscribers.ts';
import { allSteps, type Steps } from '../../shards/steps.ts';

const atOnce = async <T>(steps: Steps<T>): Promise<T> => allSteps(steps);
const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

function request(text: string, more: Partial<WriteRequest> = {}): WriteRequest {
  const body = [Buffer.from(text.slice(0, 5)), Buffer.from(text.slice(5))];
  return {
    database: 'd',
    retentionPolicy: '',
    precision: 's',
    consistency: 'one',
    body,
    nowNs: 1_500_000_007n,
    ...more,
  };
}

class Receiver {
  readonly got: { url: string; body: string; authorization: string | undefined }[] = [];
  /** What answers; first in, first out. Without one it is 204. */
  readonly answers: ((response: ServerResponse) => void)[] = [];
  readonly #server: Server;
  #heard: () => void = () => {};

  constructor() {
    this.#server = createServer(async (incoming, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const { url = '', headers } = incoming;
      this.got.push({ url, body: Buffer.concat(chunks).toString(), authorization: headers.authorization });
      const answer = this.answers.shift() ?? ((each: ServerResponse) => each.writeHead(204).end());
      answer(response);
      this.#heard();
    });
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    ends.push(() => {
      this.#server.closeAllConnections();
      this.#server.close();
    });
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async heard(count: number): Promise<void> {
    while (this.got.length < count) await new Promise<void>((resolve) => (this.#heard = resolve));
  }
}

function subscribersOf(...subscriptions: Pick<Subscription, 'mode' | 'destinations'>[]) {
  const all = subscriptions.map((each, at) => ({
    ...each,
    database: 'd',
    policy: 'autogen',
    name: `s${at}`,
    key: `${at}`,
    createdMs: at,
  }));
  let snapshot = { databases: [{ name: 'd', defaultRetentionPolicy: 'autogen' }] } as unknown as ClusterSnapshot;
  const warnings: object[] = [];
  const subscribers = new Subscribers(
    { all: () => all },
    {
      snapshot: () => snapshot,
      metadataHash: () => JSON.stringify(all),
      turns: { of: atOnce },
      nowMs: () => 0,
      log: { warn: (fields) => void warnings.push(fields) },
    },
  );
  ends.push(() => subscribers.close());
  const changed = () => {
    snapshot = { ...snapshot };
  };
  return { subscribers, all, changed, warnings };
}

test('lines are as they came, with times in nanoseconds, without comments and what could not be read', async () => {
  const text = [
    '# a comment',
    'm,host=a\\ b v=1i,s="two\nlines, \\"quoted\\" " 3',
    '',
    'no fields',
    '  m v=2 -4',
    'm v=3',
    'm v=1 99999999999999999999',
  ].join('\n');
  expect(await new ForwardedWrite(request(text), 3).lines(atOnce)).toEqual([
    'm,host=a\\ b v=1i,s="two\nlines, \\"quoted\\" " 3000000000',
    'm v=2 -4000000000',
    'm v=3 1000000000',
  ]);
});

test('ALL: each destination gets every write; other databases and policies do not count', async () => {
  const [a, b] = [await new Receiver().start(), await new Receiver().start()];
  const { subscribers } = subscribersOf({
    mode: 'ALL',
    destinations: [`http://ann:p%40ss@127.0.0.1:${a.port}/sub/`, `http://127.0.0.1:${b.port}`],
  });
  subscribers.accepted(request('other v=1', { database: 'e' }), 1);
  subscribers.accepted(request('other v=1', { retentionPolicy: 'short' }), 1);
  subscribers.accepted(request('m v=1 1'), 1);
  subscribers.accepted(request('m v=2 2', { retentionPolicy: 'autogen' }), 1);
  await Promise.all([a.heard(1), b.heard(1)]);
  const body = 'm v=1 1000000000\nm v=2 2000000000';
  const parameters = 'write?db=d&rp=autogen&precision=ns&consistency=';
  const authorization = `Basic ${Buffer.from('ann:p@ss').toString('base64')}`;
  expect(a.got).toEqual([{ url: `/sub/${parameters}`, body, authorization }]);
  expect(b.got).toEqual([{ url: `/${parameters}`, body, authorization: undefined }]);
});

test('ANY: destinations take turns, and another one gets what the first does not take', async () => {
  const [a, b] = [await new Receiver().start(), await new Receiver().start()];
  const { subscribers, warnings } = subscribersOf({
    mode: 'ANY',
    destinations: [`http://127.0.0.1:${a.port}`, `http://127.0.0.1:${b.port}`],
  });
  a.answers.push((response) => response.writeHead(500).end());
  subscribers.accepted(request('m v=1 1'), 1);
  await b.heard(1);
  await untilWritten(subscribers, 1);
  subscribers.accepted(request('m v=2 2'), 1);
  await b.heard(2);
  await untilWritten(subscribers, 2);
  subscribers.accepted(request('m v=3 3'), 1);
  await a.heard(2);
  await untilWritten(subscribers, 3);
  expect(subscribers.totals()).toEqual({ pointsWritten: 3, writeFailures: 1, pointsDropped: 0 });
  expect(warnings).toMatchObject([{ database: 'd', subscription: 's0', problem: 'status 500' }]);
  expect(subscribers.statistics().map(({ tags, values }) => [tags.destination, values.pointsWritten])).toEqual([
    [undefined, 3],
    [`http://127.0.0.1:${a.port}`, 1],
    [`http://127.0.0.1:${b.port}`, 2],
  ]);
});

test('a destination that is silent holds nobody up, and what does not fit any more is dropped and counted', async () => {
  const [silent, good] = [await new Receiver().start(), await new Receiver().start()];
  const held: ServerResponse[] = [];
  silent.answers.push((response) => held.push(response));
  const { subscribers } = subscribersOf({
    mode: 'ALL',
    destinations: [`http://127.0.0.1:${silent.port}`, `http://127.0.0.1:${good.port}`],
  });
  const large = `m s="${'x'.repeat(20 * 1024 * 1024)}" 1`;
  subscribers.accepted(request(large), 1);
  await Promise.all([silent.heard(1), good.heard(1)]);
  await untilWritten(subscribers, 1);
  subscribers.accepted(request(large), 1);
  await good.heard(2);
  await untilWritten(subscribers, 2);
  expect(subscribers.totals()).toEqual({ pointsWritten: 2, writeFailures: 0, pointsDropped: 1 });
  held[0]!.writeHead(204).end();
  await untilWritten(subscribers, 3);
});

test('one that nobody answers for is counted, and goes on with the next write', async () => {
  const receiver = await new Receiver().start();
  const { subscribers } = subscribersOf({ mode: 'ALL', destinations: [`http://127.0.0.1:${receiver.port}`] });
  receiver.answers.push((response) => response.destroy());
  subscribers.accepted(request('m v=1 1\nm v=2 1'), 2);
  await receiver.heard(1);
  while (subscribers.totals().pointsDropped < 2) await new Promise((resolve) => setImmediate(resolve));
  subscribers.accepted(request('m v=3 1'), 1);
  await untilWritten(subscribers, 1);
  expect(subscribers.totals()).toEqual({ pointsWritten: 1, writeFailures: 1, pointsDropped: 2 });
});

test('a subscription that is dropped or made takes effect with the next write', async () => {
  const receiver = await new Receiver().start();
  const { subscribers, all, changed } = subscribersOf();
  subscribers.accepted(request('m v=1 1'), 1);
  const destinations = [`http://127.0.0.1:${receiver.port}`];
  all.push({ mode: 'ALL', destinations, database: 'd', policy: 'autogen', name: 's', key: 'k', createdMs: 1 });
  changed();
  subscribers.accepted(request('m v=2 1'), 1);
  await untilWritten(subscribers, 1);
  all.pop();
  changed();
  subscribers.accepted(request('m v=3 1'), 1);
  expect(receiver.got.map(({ body }) => body)).toEqual(['m v=2 1000000000']);
  expect(subscribers.totals().pointsWritten).toBe(1);
});

test('what waits when a subscription goes is dropped, and its destination is not to blame', async () => {
  const silent = await new Receiver().start();
  silent.answers.push(() => {});
  const { subscribers, all, changed, warnings } = subscribersOf({
    mode: 'ALL',
    destinations: [`http://127.0.0.1:${silent.port}`],
  });
  subscribers.accepted(request('m v=1 1'), 1);
  await silent.heard(1);
  subscribers.accepted(request('m v=2 1\nm v=3 1'), 2);
  all.pop();
  changed();
  subscribers.accepted(request('m v=4 1'), 1);
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(subscribers.totals()).toEqual({ pointsWritten: 0, writeFailures: 0, pointsDropped: 2 });
  expect(warnings).toEqual([]);
});

test('UDP: whole lines in datagrams of at most 512 bytes, a longer line in one of its own', async () => {
  const socket: Socket = createSocket('udp4');
  ends.push(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { subscribers } = subscribersOf({ mode: 'ALL', destinations: [`udp://localhost:${socket.address().port}`] });
  const came = once(socket, 'message');
  subscribers.accepted(request('m v=1 1\nm v=2 2'), 2);
  expect(String((await came)[0])).toBe('m v=1 1000000000\nm v=2 2000000000\n');

  const lines = [...Array.from({ length: 40 }, (_, i) => `m v=${i} 1000000000`), 'x'.repeat(600), 'm v=1 1'];
  const texts = packed(lines);
  expect(texts.join('')).toBe(`${lines.join('\n')}\n`);
  expect(texts.filter((text) => text.length > 512)).toEqual([`${'x'.repeat(600)}\n`]);
  expect(texts.length).toBeLessThan(6);
});

test('UDP: a line that no datagram holds is left out and counted, and the others arrive', async () => {
  const socket = createSocket('udp4');
  ends.push(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { subscribers, warnings } = subscribersOf({
    mode: 'ALL',
    destinations: [`udp://127.0.0.1:${socket.address().port}`],
  });
  const got: string[] = [];
  const both = new Promise<void>((resolve) => {
    socket.on('message', (message) => {
      if (got.push(String(message)) === 2) resolve();
    });
  });
  subscribers.accepted(request(`m v=1 1\nm s="${'x'.repeat(70_000)}" 2\nm v=3 3`), 3);
  await both;
  await untilWritten(subscribers, 2);
  expect(got).toEqual(['m v=1 1000000000\n', 'm v=3 3000000000\n']);
  expect(subscribers.totals()).toEqual({ pointsWritten: 2, writeFailures: 0, pointsDropped: 1 });
  expect(warnings).toEqual([]);
});

test('UDP: what was looked up when the subscription went is not sent any more', async () => {
  const socket = createSocket('udp4');
  ends.push(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const destination = openDestination(`udp://localhost:${socket.address().port}`, { database: 'd', policy: 'autogen' });
  const sent = destination.send(['m v=1 1']);
  destination.close();
  await expect(sent).rejects.toThrow('the subscription is gone');
});

test.each([
  ['udp://a:1', 'udp', 'a', 1],
  ['HTTP://a:80', 'http', 'a', 80],
  ['https://[::1]:443/x/', 'https', '::1', 443],
])('%s is a destination', (url, protocol, host, port) => {
  expect(parseDestination(url)).toMatchObject({ protocol, host, port });
});

test.each([
  '',
  'bad',
  'ftp://a:1',
  'http://a',
  'http://',
  'https://b/',
  'udp://a',
  'udp://:1',
  'http://[::1',
  'http://a b:1',
])('%s is none', (url) => {
  expect(parseDestination(url)).toBeNull();
});

async function untilWritten(subscribers: Subscribers, points: number): Promise<void> {
  while (subscribers.totals().pointsWritten < points) await new Promise((resolve) => setImmediate(resolve));
}
