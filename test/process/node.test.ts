/** One real node: writes, queries, restarts, refusals. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

const NS = 1_000_000n;

describe('a single node', () => {
  let cluster: Cluster;
  let node: TestNode;
  const nowMs = Date.now();
  const at = (offsetMs: number) => (BigInt(nowMs + offsetMs) * NS).toString();

  beforeAll(async () => {
    cluster = await Cluster.make();
    node = await (await cluster.node('n1', { workers: '2' }).start()).ready();
    await node.query('CREATE DATABASE t');
  });
  afterAll(() => cluster.close());

  test('a written point is read back with its exact time', async () => {
    const answer = await node.write('t', `cpu,host=a usage=42.5,n=7i,s="x y",ok=true ${at(1)}`);
    expect([answer.status, answer.text]).toEqual([204, '']);
    const [result] = await node.query('SELECT * FROM cpu', 't');
    expect(result?.series?.[0]?.columns).toEqual(['time', 'host', 'n', 'ok', 's', 'usage']);
    const text = (await node.get(`/query?db=t&epoch=ns&q=${encodeURIComponent('SELECT usage FROM cpu')}`)).text;
    expect(text).toContain(at(1));
    expect(result?.series?.[0]?.values?.[0]?.slice(1)).toEqual(['a', 7, true, 'x y', 42.5]);
  });

  test('an unknown database is 404, an unknown retention policy 500, with InfluxDB’s texts', async () => {
    const unknown = await node.write('nope', 'a b=1');
    expect([unknown.status, JSON.parse(unknown.text)]).toEqual([404, { error: 'database not found: "nope"' }]);
    const policy = await node.write('t', 'a b=1', { rp: 'bad' });
    expect([policy.status, JSON.parse(policy.text)]).toEqual([500, { error: 'retention policy not found: bad' }]);
  });

  test('bad lines are reported and the good ones of the body are stored', async () => {
    const partial = await node.write('t', `partial,host=a v=1 ${at(2)}\npartial,host=b\n`);
    expect(partial.status).toBe(400);
    expect(JSON.parse(partial.text)).toEqual({
      error: "partial write: unable to parse 'partial,host=b': missing fields dropped=0",
    });
    expect(await node.value('SELECT count(v) FROM partial', 't')).toBe(1);
    const all = await node.write('t', 'partial,host=b');
    expect(JSON.parse(all.text)).toEqual({ error: "unable to parse 'partial,host=b': missing fields" });
  });

  test('a field of another type than before is refused, and the rest of the body is stored', async () => {
    await node.write('t', `typed usage=1.5 ${at(3)}`);
    const conflict = await node.write('t', `typed usage=1i ${at(4)}\ntyped other=2 ${at(5)}`);
    expect([conflict.status, JSON.parse(conflict.text)]).toEqual([
      400,
      {
        error:
          'partial write: field type conflict: input field "usage" on measurement "typed" is type integer, already exists as type float dropped=1',
      },
    ]);
    expect(await node.value('SELECT count(other) FROM typed', 't')).toBe(1);
  });

  test('many writers at once all get their rows', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => node.write('t', `many,host=h${i % 17} v=${i} ${at(1000 + i)}`)),
    );
    expect(answers.filter((answer) => answer.status !== 204)).toEqual([]);
    expect(await node.value('SELECT count(v) FROM many', 't')).toBe(200);
  });

  test('a series is found as soon as it is there, however often nobody had it', async () => {
    const hosts = Array.from({ length: 12 }, (_, i) => `late${i}`);
    for (const host of hosts) {
      const count = () => node.value(`SELECT count(v) FROM late WHERE host = '${host}'`, 't');
      for (let i = 0; i < 3; i++) expect(await count()).toBeNull();
      await node.write('t', `late,host=${host} v=1 ${at(9)}`);
      expect(await count()).toBe(1);
      await node.query(`SELECT count(w) FROM late WHERE host = '${host}'`, 't');
      await node.write('t', `late,host=${host} w=1 ${at(10)}`);
      expect(await node.value(`SELECT count(w) FROM late WHERE host = '${host}'`, 't')).toBe(1);
    }
  });

  test('a deleted row stays away, also after a restart', async () => {
    await node.write('t', `gone,host=a v=1 ${at(10)}\ngone,host=b v=2 ${at(11)}`);
    await node.query(`DELETE FROM gone WHERE host = 'a'`, 't');
    expect(await node.value('SELECT count(v) FROM gone', 't')).toBe(1);
    expect(await node.stop()).toBe(0);
    await (await node.start()).ready();
    expect(await node.value('SELECT count(v) FROM gone', 't')).toBe(1);
  });

  test('after kill -9 every acknowledged row is there', async () => {
    for (let i = 0; i < 20; i++) expect((await node.write('t', `crash v=${i} ${at(i)}`)).status).toBe(204);
    await node.kill();
    await (await node.start()).ready();
    expect(await node.value('SELECT count(v) FROM crash', 't')).toBe(20);
  });

  test('another number of workers finds everything, flushed or not', async () => {
    const before = await node.value('SELECT count(v) FROM many', 't');
    expect((await node.write('t', `many,host=z v=1 ${at(5000)}`)).status).toBe(204);
    await node.kill();
    await (await node.start({ workers: '3' })).ready();
    expect(await node.value('SELECT count(v) FROM many', 't')).toBe(Number(before) + 1);
    expect(await node.stop()).toBe(0);
    await (await node.start({ workers: '1' })).ready();
    expect(await node.value('SELECT count(v) FROM many', 't')).toBe(Number(before) + 1);
  });

  test('a second process on the same directory, port or name ends with one clear line', async () => {
    const twin = cluster.node('n1');
    expect(await twin.runToEnd()).not.toBe(0);
    expect(twin.stderr).toMatch(/starling: another process uses the data directory .*\n$/);
    const port = cluster.node('n9');
    expect(await port.runToEnd({ listen: new URL(node.url).host })).not.toBe(0);
    expect(port.stderr).toMatch(/starling: cannot listen on 127.0.0.1:\d+: the port is in use by another program\n$/);
    const renamed = cluster.node('n8');
    await (await renamed.start()).stop();
    expect(await renamed.runToEnd({ node: 'other' })).not.toBe(0);
    expect(renamed.stderr).toMatch(/belongs to node "n8", not to "other"/);
  });

  test('the page, health and metrics answer; an unknown path is a JSON error', async () => {
    expect((await node.get('/')).text).toContain('<title>Starling</title>');
    expect(JSON.parse((await node.get('/health')).text)).toMatchObject({ name: 'influxdb', status: 'pass' });
    const metrics = (await node.get('/metrics')).text;
    for (const name of [
      'starling_convergence_bound_seconds',
      'starling_fsync_seconds_count',
      'starling_ingested_rows_total',
    ])
      expect(metrics).toContain(name);
    // All threads: each worker's heap alone takes more than this.
    for (const kind of ['heap', 'kernels'])
      expect(
        Number(new RegExp(`^starling_memory_bytes\\{kind="${kind}"\\} (\\d+)$`, 'm').exec(metrics)?.[1]),
      ).toBeGreaterThan(1e6);
    const missing = await node.get('/api/nothing');
    expect([missing.status, JSON.parse(missing.text)]).toEqual([
      404,
      { code: 'not found', message: 'no such path: GET /api/nothing' },
    ]);
  });
});
