/**
 * Statements about the cluster itself, on three nodes. Users: known everywhere, over restarts, and no password in what the
 * nodes keep or say. Shards: the same table everywhere, and dropping one.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, eventually, type QueryResult, type TestNode } from './harness.ts';

const PASSWORDS = ['Clair-de-lune-1', 'Clair-de-lune-2', 'Clair-de-lune-3'];

let cluster: Cluster;
let nodes: [TestNode, TestNode, TestNode];
beforeAll(async () => {
  cluster = await Cluster.make();
  nodes = await cluster.startThree({ workers: '1', 'log-level': 'trace' });
  await cluster.createDatabase('d');
}, 60_000);
afterAll(() => cluster.close());

async function users(node: TestNode): Promise<unknown> {
  return (await node.query('SHOW USERS'))[0]!.series![0]!.values ?? [];
}

async function expectUsers(nodes: readonly TestNode[], expected: unknown): Promise<void> {
  for (const node of nodes)
    await eventually(
      `${node.name} lists ${JSON.stringify(expected)}`,
      10_000,
      async () => JSON.stringify(await users(node)) === JSON.stringify(expected),
    );
}

test('a user that one node made is known to all, and stays; no password is on a disk or in a log', async () => {
  const [n1, n2, n3] = nodes;
  const logs: string[] = [];
  const answers = [
    await n1.get(
      `/query?${new URLSearchParams({ q: `CREATE USER ann WITH PASSWORD '${PASSWORDS[0]}' WITH ALL PRIVILEGES` })}`,
    ),
    await n1.request('POST', `/query?${new URLSearchParams({ q: `CREATE USER bob WITH PASSWORD '${PASSWORDS[1]}'` })}`),
    await n1.request('POST', '/query', `q=${encodeURIComponent(`CREATE USER ann WITH PASSWORD '${PASSWORDS[2]}'`)}`, {
      'Content-Type': 'application/x-www-form-urlencoded',
    }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(answers[2]!.text).toContain('user already exists');
  await expectUsers(nodes, [
    ['ann', true],
    ['bob', false],
  ]);

  expect((await n2.query('GRANT READ ON d TO bob'))[0]!.error).toBeUndefined();
  expect((await n3.query(`SET PASSWORD FOR bob = '${PASSWORDS[2]}'`))[0]!.error).toBeUndefined();
  for (const node of nodes)
    await eventually(`${node.name} knows what bob may do, and his password`, 10_000, async () => {
      const [grants] = await node.query('SHOW GRANTS FOR bob');
      const [same] = await node.query(`CREATE USER bob WITH PASSWORD '${PASSWORDS[2]}'`);
      return grants!.series![0]!.values?.[0]?.[1] === 'READ' && same!.error === undefined;
    });

  for (const node of nodes) {
    logs.push(node.stdout + node.stderr);
    await node.kill();
  }
  const kept = nodes.flatMap(({ data }) => filesUnder(data).map((file) => readFileSync(file, 'latin1')));
  expect(kept.some((text) => text.includes('$scrypt$'))).toBe(true);
  for (const password of PASSWORDS)
    for (const text of [...kept, ...logs, ...answers.map((answer) => answer.text)])
      expect(text.includes(password)).toBe(false);

  await Promise.all(nodes.map((node) => node.start()));
  await Promise.all(nodes.map((node) => node.ready()));
  await expectUsers(nodes, [
    ['ann', true],
    ['bob', false],
  ]);
  expect((await n3.query('DROP USER ann'))[0]!.error).toBeUndefined();
  await expectUsers(nodes, [['bob', false]]);
}, 120_000);

test('all nodes list the same shards, and one that is dropped on one node is empty on all', async () => {
  const [n1, n2, n3] = nodes;
  const lines = Array.from({ length: 40 }, (_, i) => `m,host=h${i} v=${i} ${1_700_000_000 + i}000000000`);
  expect((await n1.write('d', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
  const shards = async (node: TestNode) => (await node.query('SHOW SHARDS'))[0]!.series![0]!.values ?? [];
  for (const node of nodes)
    await eventually(`${node.name} lists all shards`, 10_000, async () => (await shards(node)).length === 4);
  const listed = await shards(n1);
  for (const node of nodes) expect(await shards(node)).toEqual(listed);
  const { members } = await n1.json<{ members: { number: string }[] }>('/api/cluster');
  for (const row of listed)
    expect((row.at(-1) as string).split(',').sort()).toEqual(members.map(({ number }) => number).sort());

  const counted = (node: TestNode) => node.value('SELECT count(v) FROM m', 'd');
  expect((await n2.query(`DROP SHARD ${listed[0]![0]}`))[0]!.error).toBeUndefined();
  const left = await counted(n3);
  expect(left).toBeGreaterThan(0);
  expect(left).toBeLessThan(40);
  for (const node of nodes) expect(await counted(node)).toBe(left);
  // What is written anew is kept.
  expect((await n1.write('d', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
  expect(await counted(n2)).toBe(40);
}, 60_000);

test('the server tells of itself by InfluxDB’s names, and of what only a cluster has', async () => {
  const [n1] = nodes;
  expect((await n1.write('d', 'cpu v=1')).status).toBe(204);
  const [stats] = await n1.query('SHOW STATS');
  const names = stats!.series!.map(({ name }) => name);
  for (const name of ['runtime', 'queryExecutor', 'database', 'shard', 'write', 'httpd', 'cluster', 'repair'])
    expect(names).toContain(name);
  for (const { columns, values } of stats!.series!) {
    expect(columns).toEqual([...columns].sort());
    expect(values).toHaveLength(1);
    expect(values![0]!.every(Number.isFinite)).toBe(true);
  }
  const cellOf = ([result]: QueryResult[], column: string): unknown =>
    result!.series![0]!.values![0]![result!.series![0]!.columns.indexOf(column)];
  expect(cellOf(await n1.query("SHOW STATS FOR 'write'"), 'writeOk')).toBeGreaterThan(0);
  expect(cellOf(await n1.query("SHOW STATS FOR 'cluster'"), 'members')).toBe(3);
  const ids = (await n1.query('SHOW SHARDS'))[0]!.series![0]!.values!.map(([id]) => String(id));
  const shards = (await n1.query("SHOW STATS FOR 'shard'"))[0]!.series!.map(({ tags }) => tags!.id);
  expect(shards.sort()).toEqual(ids.sort());

  const diagnostics = await n1.query('SHOW DIAGNOSTICS');
  const parts = diagnostics[0]!.series!.map(({ name }) => name!);
  expect(parts).toEqual([...parts].sort());
  expect(parts).toEqual(expect.arrayContaining(['build', 'config', 'network', 'runtime', 'system']));
  expect(cellOf(await n1.query("SHOW DIAGNOSTICS FOR 'build'"), 'Version')).toBe(
    (await n1.get('/ping')).headers.get('x-influxdb-version'),
  );
  expect(cellOf(await n1.query("SHOW DIAGNOSTICS FOR 'system'"), 'PID')).toBe(n1.pid);
}, 60_000);

test('a subscription that one node made is served by whichever takes the write', async () => {
  const [n1, n2, n3] = nodes;
  const got: string[] = [];
  const receiver = createServer(async (incoming, response) => {
    for await (const chunk of incoming) got.push(`${incoming.url} ${String(chunk)}`);
    response.writeHead(204).end();
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  try {
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    const [made] = await n1.query(`CREATE SUBSCRIPTION sub ON d.autogen DESTINATIONS ALL '${url}'`);
    expect(made!.error).toBeUndefined();
    const listed = async (node: TestNode) => (await node.query('SHOW SUBSCRIPTIONS'))[0]!.series?.[0]?.values;
    for (const node of nodes)
      await eventually(`${node.name} has the subscription`, 10_000, async () => (await listed(node))?.length === 1);
    expect((await n2.write('d', 'sub v=2 2', { precision: 's' })).status).toBe(204);
    expect((await n3.write('d', 'sub v=3 3', { precision: 's' })).status).toBe(204);
    await eventually('both points have come', 10_000, async () => got.length === 2);
    const path = '/write?db=d&rp=autogen&precision=ns&consistency=';
    expect(got.sort()).toEqual([`${path} sub v=2 2000000000`, `${path} sub v=3 3000000000`]);
    expect((await n3.get('/metrics')).text).toContain('starling_subscription_points_total 1');
    expect((await n2.query('DROP SUBSCRIPTION sub ON d.autogen'))[0]!.error).toBeUndefined();
    for (const node of nodes)
      await eventually(`${node.name} has dropped it`, 10_000, async () => (await listed(node)) === undefined);
  } finally {
    receiver.close();
  }
}, 60_000);

test('what runs on one node is listed by all, and killed from any', async () => {
  const [n1, n2, n3] = nodes;
  const rows = 400_000;
  const lines = Array.from({ length: rows }, (_, i) => `big v="${'x'.repeat(20)}" ${i + 1}`);
  expect((await n1.write('d', lines.join('\n'))).status).toBe(204);
  const leaving = new AbortController();
  const asked = new URLSearchParams({ q: 'SELECT v FROM big', db: 'd', chunked: 'true', chunk_size: '1000' });
  // More than the sockets hold, and nobody reads: it runs until it is read or killed.
  const answer = await fetch(`${n1.url}/query?${asked}`, { signal: leaving.signal });
  const [queries] = await n2.query('SHOW QUERIES');
  const listed = queries!.series![0]!.values!.map(([id, text, database, , status]) => [id, text, database, status]);
  expect(listed.sort((a, b) => (a[1]! < b[1]! ? -1 : 1))).toEqual([
    [expect.any(Number), 'SELECT v FROM big', 'd', 'running'],
    [expect.any(Number), 'SHOW QUERIES', '', 'running'],
  ]);
  const [[id]] = listed as [[number]];
  const elsewhere = new URL(n2.url).host;
  expect((await n3.query(`KILL QUERY ${id} ON "${elsewhere}"`))[0]!.error).toBe(`no such query id: ${id}`);
  expect((await n3.query(`KILL QUERY ${id} ON "${new URL(n1.url).host}"`))[0]!.error).toBeUndefined();
  const text = await answer.text();
  expect(text.trimEnd().split('\n').at(-1)).toBe('{"results":[{"statement_id":0,"error":"query interrupted"}]}');
  expect((await n2.query(`KILL QUERY ${id}`))[0]!.error).toBe(`no such query id: ${id}`);

  await n3.kill();
  await eventually('the member that is gone is named', 30_000, async () => {
    const [left] = await n1.query('SHOW QUERIES');
    return JSON.stringify(left).includes('queries of n3 are not listed: no answer');
  });
  await (await n3.start()).ready();
}, 120_000);

function filesUnder(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
