/** `npm start`: three nodes, an agent and a rule; a second start goes on with the same data; obstacles are one line each. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from './harness.ts';

const PROGRAM = resolve(import.meta.dirname, '../../dist/scripts/start.js');

async function listen(port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  return { server, port: (server.address() as { port: number }).port };
}

async function freePorts(count: number): Promise<number[]> {
  const open = await Promise.all(Array.from({ length: count }, () => listen()));
  await Promise.all(open.map(({ server }) => new Promise((done) => server.close(done))));
  return open.map(({ port }) => port);
}

class Start {
  output = '';
  readonly #child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(data: string, ports: readonly number[]) {
    this.#child = spawn(process.execPath, [PROGRAM, '--data', data, '--ports', ports.join(',')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
    this.ended = new Promise((done) => this.#child.once('exit', done));
  }

  async welcomed(): Promise<void> {
    await eventually(`npm start says that it runs: ${this.output}`, 40_000, async () =>
      this.output.includes('Starling runs'),
    );
  }

  async stop(): Promise<number | null> {
    this.#child.kill('SIGINT');
    return this.ended;
  }
}

async function rowsAt(port: number): Promise<number> {
  const q = encodeURIComponent('SELECT count(load1) FROM system');
  const response = await fetch(`http://127.0.0.1:${port}/query?db=machine&q=${q}`);
  const { results } = (await response.json()) as { results: { series?: { values: [string, number][] }[] }[] };
  return results[0]?.series?.[0]?.values[0]?.[1] ?? 0;
}

describe('npm start', () => {
  let data: string;
  let ports: number[];
  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'starling-start-'));
    ports = await freePorts(3);
  });
  afterAll(() => rm(data, { recursive: true, force: true }));

  test('runs three nodes that take this machine’s metrics and have a rule; a second start goes on with the data', async () => {
    const first = new Start(data, ports);
    await first.welcomed();
    for (const port of ports) {
      await eventually('the metrics are on every node', 20_000, async () => (await rowsAt(port)) >= 2);
      const rules = await fetch(`http://127.0.0.1:${port}/api/rules`);
      expect(((await rules.json()) as { name: string }[]).map(({ name }) => name)).toEqual(['cpu-busy']);
    }
    const before = await rowsAt(ports[0]!);
    expect(await first.stop()).toBe(0);
    for (const port of ports) await expect(fetch(`http://127.0.0.1:${port}/ping`)).rejects.toThrow();

    const second = new Start(data, ports);
    await second.welcomed();
    await eventually('more metrics come in', 20_000, async () => (await rowsAt(ports[2]!)) > before);
    expect(await second.stop()).toBe(0);
  });

  test('a port that is in use is named in one line', async () => {
    const { server, port } = await listen();
    const start = new Start(data, [port, ...(await freePorts(2))]);
    expect(await start.ended).toBe(1);
    expect(start.output).toMatch(new RegExp(`^npm start: port ${port} is in use.*\n$`));
    await new Promise((done) => server.close(done));
  });

  test('a data directory that cannot be made is named in one line', async () => {
    const start = new Start('/dev/null/data', await freePorts(3));
    expect(await start.ended).toBe(1);
    expect(start.output).toMatch(/^npm start: cannot make \/dev\/null\/data: .*\n$/);
  });
});
