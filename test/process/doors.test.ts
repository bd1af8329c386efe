/**
 * The doors beside /write and /query on a real node: 2.x's API as its clients use it, line protocol over UDP, and what the
 * node tells of itself in InfluxDB's shape.
 */
import { createSocket } from 'node:dgram';
import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const T0 = 1_700_000_000;

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  const udp = 'bind-address=127.0.0.1:0,database=collectd,precision=ms,batch-timeout=10ms';
  node = await (await cluster.node('n1', { workers: '2', udp }).start()).ready();
});
afterAll(() => cluster.close());

/** Packed and without a length, as the client of 2.x for JavaScript writes. */
function writeInChunks(path: string, lines: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = {
      'Content-Encoding': 'gzip',
      'Content-Type': 'text/plain; charset=utf-8',
      Authorization: 'Token t',
    };
    const sent = request(node.url + path, { method: 'POST', headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode!));
    });
    sent.on('error', reject);
    sent.write(gzipSync(lines));
    sent.end();
  });
}

test('2.x: a bucket is made, written to, deleted from and deleted', async () => {
  const made = await node.request('POST', '/api/v2/buckets', JSON.stringify({ orgID: 'o', name: 'v2/short' }));
  expect([made.status, JSON.parse(made.text).id]).toEqual([201, 'v2/short']);
  const path = '/api/v2/write?org=o&bucket=v2%2Fshort&precision=s';
  const lines = `cpu,host=a v=1 ${T0}\ncpu,host=b v=2 ${T0}\ncpu,host=b v=3 ${T0 + 1}\nmem,host=b v=4 ${T0}`;
  expect(await writeInChunks(path, lines)).toBe(204);
  expect((await node.request('POST', path, `cpu,host=c v=5 ${T0}`)).status).toBe(204);
  expect(await node.value('SELECT sum(v) FROM cpu', 'v2')).toBe(11);

  const conflict = await node.request('POST', path, `cpu,host=a v="x" ${T0}\ncpu,host=d v=6 ${T0}`);
  expect([conflict.status, JSON.parse(conflict.text).code]).toEqual([422, 'unprocessable entity']);
  const nowhere = await node.request('POST', '/api/v2/write?bucket=nope', `cpu v=1 ${T0}`);
  expect([nowhere.status, JSON.parse(nowhere.text).code]).toEqual([404, 'not found']);

  const second = new Date(T0 * 1000).toISOString();
  const deletion = { start: second, stop: second, predicate: '_measurement="cpu" AND host="b"' };
  const deleted = await node.request('POST', '/api/v2/delete?org=o&bucket=v2/short', JSON.stringify(deletion));
  expect(deleted.status).toBe(204);
  expect(await node.query('SELECT v FROM cpu, mem GROUP BY host', 'v2')).toMatchObject([
    {
      series: [
        { name: 'cpu', tags: { host: 'a' }, values: [[T0 * 1e9, 1]] },
        { name: 'cpu', tags: { host: 'b' }, values: [[(T0 + 1) * 1e9, 3]] },
        { name: 'cpu', tags: { host: 'c' }, values: [[T0 * 1e9, 5]] },
        { name: 'cpu', tags: { host: 'd' }, values: [[T0 * 1e9, 6]] },
        { name: 'mem', tags: { host: 'b' }, values: [[T0 * 1e9, 4]] },
      ],
    },
  ]);
  expect((await node.request('DELETE', '/api/v2/buckets/v2%2Fshort')).status).toBe(204);
  expect(JSON.parse((await node.get('/api/v2/buckets?name=v2')).text).buckets).toEqual([]);
});

test('UDP: datagrams are stored with the precision of the listener, nonsense in them harms nobody', async () => {
  const { bind } = /"bind":"(?<bind>[^"]+)"/.exec(node.stderr)!.groups!;
  expect(await node.query('SHOW DATABASES')).toMatchObject([
    { series: [{ values: expect.arrayContaining([['collectd']]) }] },
  ]);
  const client = createSocket('udp4');
  const send = (text: string): void => client.send(text, Number(bind!.split(':')[1]), '127.0.0.1');
  try {
    send('\x00\xff nonsense "\n');
    send(`load,host=a v=1 ${T0}000\nbad line\nload,host=b v=2 ${T0}000\n`);
    send(`load,host=c v=3 ${T0 + 1}500`);
    await eventually(
      'the datagrams are stored',
      10_000,
      async () => (await node.value('SELECT sum(v) FROM load', 'collectd')) === 6,
    );
  } finally {
    client.close();
  }
  const [result] = await node.query("SELECT v FROM load WHERE host = 'c'", 'collectd');
  expect(result!.series).toMatchObject([{ values: [[(T0 + 1) * 1e9 + 5e8, 3]] }]);
  expect((await node.get('/metrics')).text).toContain(`starling_udp_refused_datagrams_total{bind="${bind}"} 2`);
  const vars = await node.json<Record<string, { values: Record<string, number> }>>('/debug/vars');
  expect(vars[`udp:${bind}`]!.values).toMatchObject({ pointsParseFail: 2, pointsTx: 1, pointsDropped: 0 });
});

test('/debug/vars has what Telegraf reads: points with names, tags and values, memory by Go’s names', async () => {
  expect((await node.write('collectd', `disk v=1 ${T0}000000000`)).status).toBe(204);
  const vars = await node.json<Record<string, never>>('/debug/vars');
  const points = Object.entries(vars).filter(([key]) => !['system', 'cmdline', 'memstats'].includes(key));
  for (const [, point] of points) {
    const { name, tags, values } = point as { name: string; tags: object; values: object };
    expect([typeof name, typeof tags]).toEqual(['string', 'object']);
    expect(Object.keys(values)).not.toEqual([]);
    for (const value of Object.values(values)) expect(Number.isInteger(value)).toBe(true);
  }
  const names = new Set(points.map(([, { name }]) => name));
  for (const name of ['runtime', 'database', 'shard', 'write', 'httpd', 'queryExecutor', 'udp'])
    expect(names).toContain(name);
  const { HeapAlloc, Sys } = vars.memstats as { HeapAlloc: number; Sys: number };
  expect(HeapAlloc).toBeGreaterThan(1e6);
  expect(Sys).toBeGreaterThan(HeapAlloc);
  const httpd = points.find(([key]) => key.startsWith('httpd:127.0.0.1:'))![1] as { values: Record<string, number> };
  expect(httpd.values).toMatchObject({ writeReq: expect.any(Number), pointsWrittenOK: expect.any(Number) });
  expect(httpd.values.pointsWrittenOK).toBeGreaterThan(0);
  expect(httpd.values.writeReqDurationNs).toBeGreaterThan(0);
});

test('numMeasurements of a database counts each once, whatever shards it is in', async () => {
  await node.query('CREATE DATABASE counted');
  const lines = Array.from({ length: 20 }, (_, i) => `${i % 2 === 0 ? 'even' : 'odd'},host=h${i} v=1 ${T0 + i * 1e6}`);
  expect((await node.write('counted', lines.join('\n'), { precision: 's' })).status).toBe(204);
  const vars = await node.json<Record<string, { values: object }>>('/debug/vars');
  expect(vars['database:counted']!.values).toMatchObject({ numMeasurements: 2 });
});

test('async=true is answered before the query runs', async () => {
  await node.query('CREATE DATABASE behind');
  expect((await node.write('behind', 'm v=1 1')).status).toBe(204);
  const q = new URLSearchParams({ db: 'behind', q: 'SELECT v INTO n FROM m', async: 'true' });
  expect(await node.request('POST', `/query?${q}`)).toMatchObject({ status: 204, text: '' });
  await eventually('it has run', 10_000, async () => (await node.value('SELECT v FROM n', 'behind')) === 1);
  expect(await node.get('/query?db=behind&async=true&q=SELECT')).toMatchObject({ status: 400 });
  // What fails is logged, and nobody is told.
  expect(await node.get('/query?db=gone&async=true&q=SELECT+v+FROM+m')).toMatchObject({ status: 204 });
  await eventually('it is logged', 10_000, async () => node.stderr.includes('database not found: gone'));
  // Any other word is not looked at, as in InfluxDB.
  expect(await node.get('/query?db=behind&async=1&q=SELECT+v+FROM+m')).toMatchObject({ status: 200 });
});

test('there are no organisations', async () => {
  expect((await node.get('/api/v2/orgs')).status).toBe(404);
});

test('/status, /ping and /health, with HEAD', async () => {
  for (const method of ['GET', 'HEAD']) {
    for (const [path, status] of Object.entries({
      '/status': 204,
      '/ping': 204,
      '/ping?verbose=true': 200,
      '/health': 200,
      '/ready': 200,
    })) {
      const answer = await node.request(method, path);
      expect([path, answer.status, answer.headers.get('x-influxdb-version')]).toEqual([
        path,
        status,
        expect.stringMatching(/^1\.8\./),
      ]);
    }
  }
  expect((await node.request('POST', '/status')).status).toBe(405);
});

test('what came over UDP before a stop is stored', async () => {
  const slow = cluster.node('n2', { udp: 'bind-address=127.0.0.1:0,database=late,batch-timeout=60s' });
  await (await slow.start()).ready();
  const { bind } = /"bind":"(?<bind>[^"]+)"/.exec(slow.stderr)!.groups!;
  const client = createSocket('udp4');
  client.send(`load v=1 ${T0}000000000`, Number(bind!.split(':')[1]), '127.0.0.1');
  await eventually('it has come', 10_000, async () =>
    (await slow.get('/metrics')).text.includes(`starling_udp_lines_total{bind="${bind}"} 1`),
  );
  client.close();
  expect(await slow.stop()).toBe(0);
  await (await slow.start()).ready();
  expect(await slow.value('SELECT sum(v) FROM load', 'late')).toBe(1);
});
