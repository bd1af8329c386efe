/**
 * Alerts on three real nodes: one node evaluates, a receiver is told, and neither a restart nor the death of the
 * evaluator makes it told twice, or forgets how long something has been pending.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const TAKEN_OVER_MS_MAX = 10_000;

interface WebhookAlert {
  readonly status: 'firing' | 'resolved';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
  readonly generatorURL: string;
  readonly fingerprint: string;
}

interface WebhookBody {
  readonly version: string;
  readonly groupKey: string;
  readonly truncatedAlerts: number;
  readonly status: string;
  readonly receiver: string;
  readonly groupLabels: Readonly<Record<string, string>>;
  readonly commonLabels: Readonly<Record<string, string>>;
  readonly commonAnnotations: Readonly<Record<string, string>>;
  readonly externalURL: string;
  readonly alerts: readonly WebhookAlert[];
}

interface RulePage {
  readonly name: string;
  readonly evaluator: string;
  readonly state: string;
  readonly evaluatedAt: string | null;
  readonly error: string | null;
  readonly rule: { readonly query: string };
  readonly alerts: readonly {
    state: string;
    fingerprint: string;
    activeAt: string;
    startsAt: string | null;
    evaluator: string;
  }[];
}

/** Takes webhooks; while `refusing` it answers 500. */
class Receiver {
  readonly bodies: { readonly path: string; readonly type: string; readonly body: WebhookBody }[] = [];
  refusing = false;
  refused = 0;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Receiver> {
    const server = createServer();
    const receiver = new Receiver(server);
    server.on('request', (request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      request.on('end', () => {
        if (receiver.refusing) {
          receiver.refused++;
          response.writeHead(500).end('not now');
          return;
        }
        const type = String(request.headers['content-type']);
        receiver.bodies.push({ path: request.url ?? '', type, body: JSON.parse(text) as WebhookBody });
        response.writeHead(200).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return receiver;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/${path}`;
  }

  alerts(path: string): WebhookAlert[] {
    return this.bodies.filter((one) => one.path === `/${path}`).flatMap(({ body }) => body.alerts);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

describe('alerts', () => {
  let cluster: Cluster;
  let receiver: Receiver;
  let nodes: [TestNode, TestNode, TestNode];

  beforeAll(async () => {
    cluster = await Cluster.make();
    receiver = await Receiver.start();
    const rules = join(cluster.directory, 'rules');
    await mkdir(rules);
    await writeFile(join(rules, 'one.yml'), ruleText('fromfile', 'fromfile'));
    await writeFile(join(rules, 'two.yaml'), `rules:\n${indent(ruleText('listed', 'listed'))}`);
    await writeFile(
      join(rules, 'wrong.yml'),
      ruleText('wrong', 'wrong').replace('condition: "> 90"', 'condition: high'),
    );
    await writeFile(join(rules, 'ignored.txt'), 'name: ignored');
    nodes = await cluster.startThree({ 'pass-interval': '1s', workers: '2', rules });
    await nodes[0].query('CREATE DATABASE t');
    for (const node of nodes) {
      await eventually('the database is known everywhere', 10_000, async () => {
        const [result] = await node.query('SHOW DATABASES');
        return result?.series?.[0]?.values?.some(([name]) => name === 't');
      });
    }
  });
  afterAll(async () => {
    await cluster.close();
    await receiver.close();
  });
  afterEach(async () => {
    for (const node of nodes) if (!node.running) await (await node.start()).ready();
    await cluster.allLive(3);
  });

  const rule = (measurement: string, path: string, changes: object = {}) => ({
    database: 't',
    query: `SELECT last(v) FROM ${measurement} WHERE time > now() - 10m GROUP BY host`,
    condition: '> 90',
    for: '0s',
    interval: '1s',
    labels: { severity: 'page' },
    annotations: { summary: 'too hot' },
    notify: [{ webhook: receiver.url(path) }],
    ...changes,
  });
  const put = (node: TestNode, name: string, body: object) => node.json(`/api/rules/${name}`, 'PUT', body);
  const page = (node: TestNode, name: string) => node.json<RulePage>(`/api/rules/${name}`);
  const set = async (node: TestNode, measurement: string, value: number) => {
    const answer = await node.write('t', `${measurement},host=a v=${value} ${Date.now()}000000`);
    expect(answer.status, answer.text).toBe(204);
  };
  const others = (name: string) => nodes.filter((node) => node.name !== name);
  const evaluatorOf = async (name: string) => {
    const { evaluator } = await eventually(`the rule ${name} is known`, 10_000, () => page(nodes[0], name));
    return nodes.find((node) => node.name === evaluator)!;
  };

  function ruleText(name: string, path: string): string {
    const notify = `notify: [{webhook: "${receiver.url(path)}"}]`;
    return `name: ${name}\ndatabase: t\nquery: SELECT last(v) FROM ${name} WHERE time > now() - 10m\ncondition: "> 90"\ninterval: 1s\n${notify}\n`;
  }

  function indent(text: string): string {
    return text
      .trimEnd()
      .split('\n')
      .map((line, i) => `${i === 0 ? '  - ' : '    '}${line}\n`)
      .join('');
  }

  test('fires once with Alertmanager’s body, from one node only, and resolves once', async () => {
    await put(nodes[0], 'hot', rule('hot', 'hot'));
    await set(nodes[1], 'hot', 95);
    await eventually('the receiver is told', 15_000, async () => receiver.alerts('hot').length > 0);
    const [first] = receiver.bodies.filter((one) => one.path === '/hot');
    expect(first?.type).toContain('application/json');
    expect(first?.body).toMatchObject({
      version: '4',
      groupKey: expect.stringContaining('hot') as string,
      truncatedAlerts: 0,
      status: 'firing',
      groupLabels: { alertname: 'hot' },
      commonLabels: { alertname: 'hot', host: 'a', severity: 'page' },
      commonAnnotations: { summary: 'too hot' },
      externalURL: expect.stringMatching(/^http:/) as string,
    });
    expect(first?.body.alerts).toHaveLength(1);
    expect(first?.body.alerts[0]).toMatchObject({
      status: 'firing',
      labels: { alertname: 'hot', host: 'a', severity: 'page' },
      annotations: { summary: 'too hot', value: '95' },
      endsAt: '0001-01-01T00:00:00Z',
      fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
    });
    expect(Math.abs(Date.now() - Date.parse(first!.body.alerts[0]!.startsAt))).toBeLessThan(30_000);
    for (const node of nodes) {
      await eventually('every node shows it firing', 10_000, async () => (await page(node, 'hot')).state === 'firing');
    }
    await evaluations('hot', 3);
    expect(receiver.alerts('hot')).toHaveLength(1);
    await set(nodes[2], 'hot', 10);
    await eventually('the receiver is told that it is over', 15_000, async () => receiver.alerts('hot').length > 1);
    const [fired, resolved] = receiver.alerts('hot');
    expect(resolved).toMatchObject({ status: 'resolved', startsAt: fired!.startsAt, fingerprint: fired!.fingerprint });
    expect(Date.parse(resolved!.endsAt)).toBeGreaterThan(Date.parse(fired!.startsAt));
    await evaluations('hot', 3);
    expect(receiver.alerts('hot')).toHaveLength(2);
  });

  test('a killed evaluator is replaced within seconds, and the alert is neither repeated nor begun anew', async () => {
    await put(nodes[0], 'taken', rule('taken', 'taken'));
    await set(nodes[0], 'taken', 95);
    await eventually('the receiver is told', 15_000, async () => receiver.alerts('taken').length > 0);
    const evaluator = await evaluatorOf('taken');
    const left = others(evaluator.name);
    for (const node of left) {
      await eventually('the state is everywhere', 10_000, async () => (await page(node, 'taken')).state === 'firing');
    }
    const killedMs = Date.now();
    await evaluator.kill();
    await eventually('another evaluates', TAKEN_OVER_MS_MAX, async () => {
      const now = await page(left[0]!, 'taken');
      return now.evaluator !== evaluator.name && now.alerts[0]?.state === 'firing' && now.error === null;
    });
    await set(left[0]!, 'taken', 5);
    await eventually('the other node resolves it', TAKEN_OVER_MS_MAX, async () => receiver.alerts('taken').length > 1);
    const alerts = receiver.alerts('taken');
    expect(alerts.map((alert) => alert.status)).toEqual(['firing', 'resolved']);
    expect(alerts[1]!.startsAt).toBe(alerts[0]!.startsAt);
    expect(Date.parse(alerts[1]!.endsAt) - killedMs).toBeLessThan(TAKEN_OVER_MS_MAX);
  });

  test('pending time is kept over the death of the evaluator and over a restart of all nodes', async () => {
    await put(nodes[0], 'patient', rule('patient', 'patient', { for: '12s' }));
    await set(nodes[0], 'patient', 95);
    const evaluator = await evaluatorOf('patient');
    const left = others(evaluator.name);
    const activeAt = await eventually('it is pending everywhere', 15_000, async () => {
      const pages = await Promise.all(left.map((node) => page(node, 'patient')));
      return pages.every((one) => one.state === 'pending') ? pages[0]!.alerts[0]!.activeAt : null;
    });
    await evaluator.kill();
    await Promise.all(left.map((node) => node.stop()));
    await Promise.all(left.map((node) => node.start()));
    await Promise.all(left.map((node) => node.ready()));
    await eventually('it fires', 30_000, async () => receiver.alerts('patient').length > 0);
    const [alert] = receiver.alerts('patient');
    const waitedMs = Date.parse(alert!.startsAt) - Date.parse(activeAt);
    expect(waitedMs).toBeGreaterThanOrEqual(12_000);
    // Had it begun anew at the restart, it would have been pending for as long again.
    expect(waitedMs).toBeLessThan(20_000);
  });

  test('state survives a stop of every node: nothing is told twice', async () => {
    await put(nodes[0], 'kept', rule('kept', 'kept'));
    await set(nodes[0], 'kept', 95);
    await eventually('the receiver is told', 15_000, async () => receiver.alerts('kept').length > 0);
    await evaluations('kept', 1);
    await Promise.all(nodes.map((node) => node.stop()));
    await Promise.all(nodes.map((node) => node.start()));
    await Promise.all(nodes.map((node) => node.ready()));
    await cluster.allLive(3);
    await evaluations('kept', 3);
    expect(receiver.alerts('kept').map((alert) => alert.status)).toEqual(['firing']);
    await set(nodes[1], 'kept', 1);
    await eventually('it is resolved', 15_000, async () => receiver.alerts('kept').length > 1);
    expect(receiver.alerts('kept')[1]).toMatchObject({
      status: 'resolved',
      startsAt: receiver.alerts('kept')[0]!.startsAt,
    });
  });

  test('a receiver that is down is told when it is back', async () => {
    receiver.refusing = true;
    await put(nodes[2], 'late', rule('late', 'late'));
    await set(nodes[0], 'late', 95);
    await eventually('it was tried more than once', 20_000, async () => receiver.refused > 1);
    receiver.refusing = false;
    await eventually('the receiver is told', 15_000, async () => receiver.alerts('late').length > 0);
    await evaluations('late', 2);
    expect(receiver.alerts('late')).toHaveLength(1);
    expect((await nodes[1].request('DELETE', '/api/rules/late')).status).toBe(204);
    await eventually('deleting the rule resolves it', 10_000, async () => receiver.alerts('late').length > 1);
    expect(receiver.alerts('late')[1]?.status).toBe('resolved');
    for (const node of nodes) {
      await eventually('the rule is gone', 10_000, async () => (await node.get('/api/rules/late')).status === 404);
    }
  });

  test('rules of the directory are loaded, a wrong one is reported and passed over', async () => {
    for (const node of nodes) {
      await eventually('both rules are there', 10_000, async () => {
        const names = (await node.json<RulePage[]>('/api/rules')).map(({ name }) => name);
        return names.includes('fromfile') && names.includes('listed') && !names.includes('wrong');
      });
    }
    await set(nodes[0], 'fromfile', 99);
    await set(nodes[0], 'listed', 99);
    await eventually('a rule from a file fires', 15_000, async () => receiver.alerts('fromfile').length > 0);
    await eventually('a listed rule fires', 15_000, async () => receiver.alerts('listed').length > 0);
    expect(receiver.alerts('fromfile')).toHaveLength(1);
    // Each test restarts nodes: the one that said so may have begun a new page.
    const restarted = nodes[0];
    await restarted.stop();
    await (await restarted.start()).ready();
    await eventually('the wrong file is named in the log', 10_000, async () =>
      /"level":50,.*wrong\.yml.*|condition: a comparison/.test(restarted.stderr),
    );
  });

  test.each([
    [{ condition: 'high' }, /condition: a comparison with a number/],
    [{ query: 'DROP DATABASE t' }, /query: expected one SELECT/],
    [{ query: 'SELECT last(v) FRM hot' }, /query: .*found FRM|query: .*FRM/],
    [{ query: 'SELECT last(v) FROM hot; SELECT last(v) FROM hot' }, /query: .*one/],
    [{ interval: 'soon' }, /interval: expected a duration/],
    [{ interval: '1ms' }, /interval: at least 1s/],
    [{ notify: [{ webhook: 'nowhere' }] }, /notify/],
    [{ labels: { 'not-a-label': 'x' } }, /labels/],
    [{ conditon: '> 1' }, /conditon/],
  ])('a rule with %j is 400 and says what is wrong', async (changes, reason) => {
    const answer = await nodes[0].request('PUT', '/api/rules/bad', JSON.stringify(rule('hot', 'bad', changes)));
    expect([answer.status, (JSON.parse(answer.text) as { message: string }).message]).toEqual([
      400,
      expect.stringMatching(reason),
    ]);
    expect((await nodes[0].get('/api/rules/bad')).status).toBe(404);
  });

  /** Waits until the rule was evaluated so many times more. */
  async function evaluations(name: string, count: number): Promise<void> {
    const seen = new Set<string>();
    const evaluator = await evaluatorOf(name);
    await eventually(`${count} more evaluations of ${name}`, 20_000, async () => {
      const { evaluatedAt } = await page(evaluator, name);
      if (evaluatedAt !== null) seen.add(evaluatedAt);
      return seen.size > count;
    });
  }
});
