/**
 * Requests as Telegraf and Grafana send them, which cannot be installed here: test/golden/clients/ has each request and
 * what must come back, and what agents make of every error.
 *
 * In answers `<number>` and `<array>` stand for any of that type, `*` in a text for anything, `~` before a number for one
 * that is as good as equal; what an object has more is not looked at, of lists all.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { createGunzip, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { influxdbClient, type Outcome, telegrafV1, telegrafV2 } from './agent-rules.ts';
import { type Answer, Cluster, eventually, type TestNode } from './harness.ts';

const FOLDER = resolve(import.meta.dirname, '../golden/clients');

interface Exchange {
  readonly name: string;
  /** Method and target. */
  readonly request: string;
  /** Besides those of the client. */
  readonly headers?: readonly string[];
  readonly body?: string;
  /** So many times the body. */
  readonly repeated?: number;
  readonly gzip?: boolean;
  /** Without a length. */
  readonly chunked?: boolean;
  readonly status: number;
  readonly answer: unknown;
  /** What an agent makes of it. */
  readonly agent?: Outcome;
}

interface Recording {
  readonly client: string;
  readonly headers: readonly string[];
  /** Statements, and lines as `write DATABASE LINE`. */
  readonly before?: readonly string[];
  readonly exchanges: readonly Exchange[];
}

let cluster: Cluster;
let node: TestNode;
/** One connection, as those clients keep it. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const seconds = String(Math.floor(Date.now() / 1000));

beforeAll(async () => {
  cluster = await Cluster.make();
  node = await (await cluster.node('n1', { workers: '2', 'body-bytes-max': '100000' }).start()).ready();
});
afterAll(async () => {
  agent.destroy();
  await cluster.close();
});

interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Headers in this order and spelling, and no others. */
function exchange(recording: Recording, { request: line, headers = [], ...sent }: Exchange): Promise<Told> {
  const [method, target] = line.split(' ') as [string, string];
  const plain = (sent.body ?? '').repeat(sent.repeated ?? 1);
  const body = sent.gzip === true ? gzipSync(plain) : Buffer.from(plain);
  const length = method === 'GET' || sent.chunked === true ? [] : [`Content-Length: ${body.length}`];
  const raw = [...recording.headers, ...headers, ...length].flatMap((header) => {
    const colon = header.indexOf(': ');
    return [header.slice(0, colon), header.slice(colon + 2).replace('{{host}}', new URL(node.url).host)];
  });
  return new Promise((done, failed) => {
    const asked = request(node.url, { method, path: target, headers: raw, agent, timeout: 20_000 }, (answer) => {
      const packed = answer.headers['content-encoding'] === 'gzip';
      text(packed ? answer.pipe(createGunzip()) : answer).then(
        (told) => done({ status: answer.statusCode!, headers: answer.headers, body: told }),
        failed,
      );
    });
    asked.on('timeout', () => asked.destroy(new Error(`no answer to ${line}`)));
    asked.on('error', failed);
    asked.end(method === 'GET' ? undefined : body);
  });
}

/** What `expected` stands for, for vitest. */
function meant(expected: unknown): unknown {
  if (expected === '<number>') return expect.any(Number);
  if (expected === '<array>') return expect.any(Array);
  if (typeof expected === 'string' && expected.startsWith('~')) return expect.closeTo(Number(expected.slice(1)), 9);
  if (typeof expected === 'string' && expected.includes('*')) {
    const parts = expected.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return expect.stringMatching(new RegExp(`^${parts.join('.*')}$`, 's'));
  }
  if (Array.isArray(expected)) return expected.map(meant);
  if (expected === null || typeof expected !== 'object') return expected;
  return Object.fromEntries(Object.entries(expected).map(([key, value]) => [key, meant(value)]));
}

for (const file of readdirSync(FOLDER).toSorted()) {
  const recording = JSON.parse(readFileSync(join(FOLDER, file), 'utf8').replaceAll('{{now}}', seconds)) as Recording;
  describe(recording.client, () => {
    beforeAll(async () => {
      for (const step of recording.before ?? []) {
        const [, database, line] = /^write (\S+) (.*)$/.exec(step) ?? [];
        if (database === undefined) await node.query(step);
        else expect((await node.write(database, line!)).status).toBe(204);
      }
    });
    test.each(recording.exchanges)('$name', async (sent) => {
      const { status, headers, body } = await exchange(recording, sent);
      expect({ status, body }).toMatchObject({ status: sent.status });
      expect(headers['x-influxdb-version']).toMatch(/^1\.8\./);
      if (sent.answer === '') expect(body).toBe('');
      else expect(JSON.parse(body)).toMatchObject(meant(sent.answer) as object);
      if (status >= 400 && sent.request.includes('/write?')) {
        const said = JSON.parse(body) as { error?: string };
        if (said.error !== undefined) expect(headers['x-influxdb-error']).toBe(said.error);
      }
      if (sent.agent === undefined) return;
      const outcome = sent.request.includes('/api/v2/') ? telegrafV2(status) : telegrafV1(status, body);
      expect(outcome).toBe(sent.agent);
    });
  });
}

test('what may succeed later, no agent takes for lost: too few owners answer, a node that only just starts', async () => {
  const options = {
    workers: '1',
    'heartbeat-interval': '100ms',
    'write-timeout': '2s',
  };
  const [n1, n2] = [cluster.node('r1', options), cluster.node('r2', options)];
  await (await n1.start()).ready();
  await (await n2.start({ join: n1.url })).ready();
  await eventually('both are heard', 20_000, async () => {
    const { members } = await n1.json<{ members: { live: boolean }[] }>('/api/cluster');
    return members.filter(({ live }) => live).length === 2;
  });
  await n1.query('CREATE DATABASE kept WITH REPLICATION 2');
  await n2.kill();
  const line = 'cpu v=1 1700000000000000000';
  const paths = ['/write?db=kept', '/api/v2/write?org=o&bucket=kept'];
  const judge = ({ status, text: said }: Answer) => [
    telegrafV1(status, said),
    telegrafV2(status),
    influxdbClient(status),
  ];
  const retried = ['retried', 'retried', 'retried'];
  const refused = async (path: string, lines: string): Promise<void> => {
    const answer = await n1.request('POST', path, lines);
    expect([path, answer.text, judge(answer)]).toEqual([path, answer.text, retried]);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  };
  for (const path of paths) {
    await refused(`${path}&consistency=quorum`, line);
    await refused(`${path}&consistency=all`, line);
    // That a line is bad is not worth losing the others.
    await refused(`${path}&consistency=all`, `${line}\ncpu,host=a`);
    expect((await n1.request('POST', path, line)).status).toBe(204);
  }
  await n1.kill();
  await n1.start();
  for (const path of paths) {
    const refusals: Answer[] = [];
    await eventually('a node that came back takes writes', 20_000, async () => {
      const answer = await n1.request('POST', path, line);
      if (answer.status !== 204) refusals.push(answer);
      return answer.status === 204;
    });
    for (const answer of refusals) expect([answer.text, judge(answer)]).toEqual([answer.text, retried]);
  }
});
