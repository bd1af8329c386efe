/**
 * A UDP listener on the loopback before a coordinator that is told what to answer: what arrives there, and what is counted.
 */
import { createSocket, type Socket } from 'node:dgram';
import { afterEach, describe, expect, test } from 'vitest';
import type { WriteRequest, WriteResult } from '../../server/http/influx-write.ts';
import { UdpListener } from '../../server/udp-listener.ts';
import type { UdpSettings } from '../../server/udp-settings.ts';

const SETTINGS: UdpSettings = {
  bindAddress: { host: '127.0.0.1', port: 0 },
  database: 'collectd',
  retentionPolicy: '',
  precision: 'ms',
  readBufferBytes: 0,
  batchSize: 3,
  batchPending: 2,
  // Longer than any test: batches are closed by their size.
  batchTimeoutMs: 60_000,
};

class Setup {
  problem: string | null = null;
  readonly databases = new Set<string>();
  readonly arrived: { request: WriteRequest; answered: (result: WriteResult) => void }[] = [];
  readonly logged: string[] = [];
  /** null: answered by the test. */
  result: WriteResult | null = { status: 204 };
  listener!: UdpListener;
  readonly #client: Socket = createSocket('udp4');
  #changed: () => void = () => {};

  async start(more: Partial<UdpSettings> = {}): Promise<this> {
    this.listener = await UdpListener.start(
      { ...SETTINGS, ...more },
      {
        notReady: () => this.problem,
        coordinator: () => ({
          write: (request, answered) => {
            this.arrived.push({ request, answered });
            if (this.result !== null) answered(this.result);
            this.#changed();
          },
        }),
        hasDatabase: (name) => this.databases.has(name),
        createDatabase: (name) => this.databases.add(name),
        nowMs: () => 1_000,
        log: {
          info: () => {},
          warn: (_fields, text) => {
            this.logged.push(text);
            this.#changed();
          },
        },
      },
    );
    return this;
  }

  /** Datagrams on the loopback arrive, and in order. */
  async send(...datagrams: string[]): Promise<void> {
    const port = Number(/:(\d+)$/.exec(this.listener.bind)![1]);
    for (const datagram of datagrams) {
      const before = this.listener.counts.datagrams;
      this.#client.send(datagram, port, '127.0.0.1');
      while (this.listener.counts.datagrams === before) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }

  texts(): string[] {
    return this.arrived.map(({ request }) => Buffer.concat(request.body).toString());
  }

  close(): void {
    this.listener.close();
    this.#client.close();
  }
}

let setup: Setup;
afterEach(() => setup.close());

describe('a UDP listener', () => {
  test('makes its database, and hands datagrams to the writer when so many lines have come', async () => {
    setup = await new Setup().start({ retentionPolicy: 'two' });
    expect([...setup.databases]).toEqual(['collectd']);
    await setup.send('a v=1 1\n', 'b v=1 1\n\n');
    expect(setup.arrived).toEqual([]);
    await setup.send('c v="x\n');
    // Each by itself: what is unfinished in one swallows nothing of the next.
    expect(setup.texts()).toEqual(['a v=1 1\n', 'b v=1 1\n\n', 'c v="x\n']);
    expect(setup.arrived[0]!.request).toMatchObject({
      database: 'collectd',
      retentionPolicy: 'two',
      precision: 'ms',
      consistency: 'any',
      nowNs: 1_000_000_000n,
    });
    expect(setup.listener.counts).toMatchObject({
      datagrams: 3,
      lines: 3,
      linesWritten: 3,
      batches: 1,
      linesDropped: 0,
    });
  });

  test('a batch that is not full leaves after its time', async () => {
    setup = await new Setup().start({ batchTimeoutMs: 5 });
    await setup.send('a v=1');
    await setup.until(() => setup.arrived.length === 1);
    expect(setup.listener.counts.linesWritten).toBe(1);
  });

  test('empty datagrams are nothing', async () => {
    setup = await new Setup().start({ batchSize: 1 });
    await setup.send('', '\n\n', 'a v=1');
    expect(setup.texts()).toEqual(['a v=1']);
  });

  test('lines that are refused are counted and logged once, and the next ones are taken', async () => {
    setup = await new Setup().start({ batchSize: 1 });
    setup.result = { status: 400, error: "unable to parse 'x': missing fields" };
    await setup.send('x', 'x', 'x');
    setup.result = { status: 204 };
    await setup.send('a v=1');
    expect(setup.listener.counts).toMatchObject({ datagramsRefused: 3, linesWritten: 1, linesDropped: 0 });
    expect(setup.logged).toEqual(['lines of a datagram were refused']);
  });

  test('what cannot be written is lost, and counted as that', async () => {
    setup = await new Setup().start({ batchSize: 2 });
    setup.result = { status: 503, error: 'overloaded' };
    await setup.send('a v=1\nb v=1');
    expect(setup.listener.counts).toMatchObject({ linesDropped: 2, batchesFailed: 1, linesWritten: 0 });
    expect(setup.logged).toEqual(['a datagram could not be written']);
  });

  test('a writer that fails by a fault of ours does not end anything', async () => {
    setup = await new Setup().start({ batchSize: 1 });
    const { arrived } = setup;
    Object.defineProperty(arrived, 'push', {
      value: () => {
        throw new Error('a mistake');
      },
      configurable: true,
    });
    await setup.send('a v=1');
    delete (arrived as { push?: unknown }).push;
    await setup.send('b v=1');
    expect(setup.listener.counts).toMatchObject({ linesDropped: 1, linesWritten: 1 });
  });

  test('batches wait while the node is not ready, the oldest are dropped, and then the database is made', async () => {
    const starting = new Setup();
    starting.problem = 'starting';
    setup = await starting.start({ batchSize: 1 });
    await setup.send('a v=1', 'b v=1', 'c v=1');
    expect([[...setup.databases], setup.texts()]).toEqual([[], []]);
    expect(setup.listener.counts.linesDropped).toBe(1);
    expect(setup.logged).toEqual(['datagrams were dropped: too many batches wait']);
    setup.problem = null;
    await setup.send('d v=1');
    expect([[...setup.databases], setup.texts()]).toEqual([['collectd'], ['b v=1', 'c v=1', 'd v=1']]);
  });

  test('a slow writer is given so many batches, and the next when it has answered', async () => {
    setup = await new Setup().start({ batchSize: 1 });
    setup.result = null;
    await setup.send('a v=1', 'b v=1', 'c v=1', 'd v=1', 'e v=1');
    expect(setup.texts()).toEqual(['a v=1', 'b v=1']);
    expect(setup.listener.counts.linesDropped).toBe(1);
    setup.arrived[0]!.answered({ status: 204 });
    expect(setup.texts()).toEqual(['a v=1', 'b v=1', 'd v=1']);
  });

  test('when it is closed it hands in what has come', async () => {
    setup = await new Setup().start();
    await setup.send('a v=1');
    setup.listener.close();
    expect(setup.texts()).toEqual(['a v=1']);
  });

  test('an address that is in use is one line', async () => {
    setup = await new Setup().start();
    const port = Number(/:(\d+)$/.exec(setup.listener.bind)![1]);
    await expect(new Setup().start({ bindAddress: { host: '127.0.0.1', port } })).rejects.toThrow(
      /^cannot listen on UDP 127\.0\.0\.1:\d+: the port is in use by another program$/,
    );
  });
});
