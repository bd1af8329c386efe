/**
 * Real nodes: child processes of the build, each with a data directory of its own, on ports that the system picks.
 *
 * A node that was restarted comes back on its old port, so that the others find it. Everything is ended by process id,
 * and directories are removed, in `Cluster.close`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Completeness } from '../../server/query/result.ts';

/** STARLING_TEST_DIST: another build than the usual one, in which this file lies itself when it is compiled. */
const IS_COMPILED = import.meta.filename.endsWith('.js');
const BUILD = process.env.STARLING_TEST_DIST ?? resolve(import.meta.dirname, IS_COMPILED ? '../..' : '../../dist');
const PROGRAM = join(BUILD, 'server/cli/main.js');
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 20_000;
const POLL_MS = 50;

export interface QueryResult {
  readonly statement_id: number;
  readonly series?: readonly {
    readonly name?: string;
    readonly tags?: Record<string, string>;
    readonly columns: readonly string[];
    readonly values?: readonly (readonly (string | number | boolean | null)[])[];
  }[];
  readonly error?: string;
  readonly completeness?: Completeness;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

/** Waits until `condition` gives something true; fails with what it gave last. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  condition: () => Promise<T>,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what} (last: ${String(last)})`);
    await wait(POLL_MS);
  }
}

export class TestNode {
  readonly name: string;
  readonly data: string;
  /** Variables that the process gets beside this one's. */
  environment: Readonly<Record<string, string>> = {};
  #options: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;
  #port = 0;
  stdout = '';
  stderr = '';

  constructor(name: string, data: string, options: Readonly<Record<string, string>>) {
    this.name = name;
    this.data = data;
    this.#options = options;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get #exit(): number | string | null {
    return this.#child?.exitCode ?? this.#child?.signalCode ?? null;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves when it listens; `ready` waits until it serves as well. */
  async start(more: Readonly<Record<string, string>> = {}): Promise<this> {
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: run node scripts/setup.mjs`);
    const options = { node: this.name, data: this.data, listen: `127.0.0.1:${this.#port}`, ...this.#options, ...more };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn(process.execPath, [PROGRAM, 'serve', ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.environment },
    });
    this.#child = child;
    this.stdout = '';
    this.stderr = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-200_000);
    });
    await eventually(`${this.name} listens`, START_MS_MAX, async () => {
      if (!this.running) return true;
      const match = /listening on http:\/\/[^\s:]+:(\d+)/.exec(this.stdout);
      if (match !== null) this.#port = Number(match[1]);
      return match !== null;
    });
    if (!this.running) throw new Error(`${this.name} ended (${this.#exit}): ${this.stderr.slice(-2_000)}`);
    return this;
  }

  async ready(timeoutMs = START_MS_MAX): Promise<this> {
    await eventually(`${this.name} is ready`, timeoutMs, async () => {
      if (!this.running) return true;
      return (await this.get('/health')).status === 200;
    });
    if (!this.running) throw new Error(`${this.name} ended (${this.#exit}): ${this.stderr.slice(-2_000)}`);
    return this;
  }

  /** Runs it expecting that it ends by itself; its exit code. */
  async runToEnd(more: Readonly<Record<string, string>> = {}): Promise<number | null> {
    try {
      await this.start(more);
    } catch {
      // It ended before it listened, as expected.
    }
    return this.#ended(STOP_MS_MAX);
  }

  /** SIGTERM and the exit code. */
  async stop(): Promise<number | null> {
    if (this.running) this.#child!.kill('SIGTERM');
    return this.#ended(STOP_MS_MAX);
  }

  /** SIGKILL: nothing is flushed, nothing is said. */
  async kill(): Promise<void> {
    if (this.running) this.#child!.kill('SIGKILL');
    await this.#ended(STOP_MS_MAX);
  }

  async wipe(): Promise<void> {
    await rm(this.data, { recursive: true, force: true });
  }

  async request(
    method: string,
    path: string,
    body?: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      body: body ?? null,
      headers,
      signal: AbortSignal.timeout(30_000),
    });
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  get(path: string): Promise<Answer> {
    return this.request('GET', path);
  }

  async json<T>(path: string, method = 'GET', body?: object): Promise<T> {
    const answer = await this.request(method, path, body === undefined ? undefined : JSON.stringify(body));
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text) as T;
  }

  write(database: string, lines: string, parameters: Record<string, string> = {}): Promise<Answer> {
    return this.request('POST', `/write?${new URLSearchParams({ db: database, ...parameters })}`, lines);
  }

  async query(q: string, database = '', parameters: Record<string, string> = {}): Promise<QueryResult[]> {
    const answer = await this.request(
      'POST',
      `/query?${new URLSearchParams({ q, db: database, epoch: 'ns', ...parameters })}`,
    );
    if (answer.status !== 200) throw new Error(`${q}: ${answer.status} ${answer.text}`);
    return (JSON.parse(answer.text) as { results: QueryResult[] }).results;
  }

  /** The only value of a query with one row and one column beside the time. */
  async value(q: string, database: string): Promise<string | number | boolean | null> {
    const [result] = await this.query(q, database);
    if (result?.error !== undefined) throw new Error(`${q}: ${result.error}`);
    return result?.series?.[0]?.values?.[0]?.[1] ?? null;
  }

  #ended(timeoutMs: number): Promise<number | null> {
    const child = this.#child;
    if (child === null) return Promise.resolve(null);
    return new Promise((done, reject) => {
      if (child.exitCode !== null || child.signalCode !== null) return done(child.exitCode);
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`${this.name} did not end within ${timeoutMs} ms: ${this.stderr.slice(-2_000)}`));
      }, timeoutMs);
      child.once('exit', (code) => {
        clearTimeout(timer);
        done(code);
      });
    });
  }
}

export class Cluster {
  readonly directory: string;
  readonly nodes: TestNode[] = [];

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(): Promise<Cluster> {
    return new Cluster(await mkdtemp(join(tmpdir(), 'starling-test-')));
  }

  /** A node that is not started yet. */
  node(name: string, options: Readonly<Record<string, string>> = {}): TestNode {
    // Most tests start many nodes and measure nothing.
    // Two workers, whatever the machine: rows and answers then come from several threads.
    const defaults = { 'log-level': 'info', 'warm-up': 'off', workers: '2' };
    const node = new TestNode(name, join(this.directory, name), { ...defaults, ...options });
    this.nodes.push(node);
    return node;
  }

  /** n1 founds; the others join it; all are ready and hear each other. */
  async startThree(options: Readonly<Record<string, string>> = {}): Promise<[TestNode, TestNode, TestNode]> {
    const [n1, n2, n3] = ['n1', 'n2', 'n3'].map((name) => this.node(name, options)) as [TestNode, TestNode, TestNode];
    await (await n1.start()).ready();
    await Promise.all([n2.start({ join: n1.url }), n3.start({ join: n1.url })]);
    await Promise.all([n2.ready(), n3.ready()]);
    await this.allLive(3);
    return [n1, n2, n3];
  }

  /** Made at the first node, and known to all. */
  async createDatabase(name: string): Promise<void> {
    await this.nodes[0]!.query(`CREATE DATABASE ${name}`);
    for (const node of this.nodes)
      await eventually(`${node.name} knows the database`, 10_000, async () =>
        (await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values?.some(([known]) => known === name),
      );
  }

  /** Every running node counts `count` live members. */
  async allLive(count: number, timeoutMs = 30_000): Promise<void> {
    for (const node of this.nodes.filter((each) => each.running)) {
      await eventually(`${node.name} hears ${count} members`, timeoutMs, async () => {
        const { members } = await node.json<{ members: { live: boolean }[] }>('/api/cluster');
        return members.filter((member) => member.live).length === count;
      });
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    await rm(this.directory, { recursive: true, force: true });
  }
}
