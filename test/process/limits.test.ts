/** What an operator limits holds at the doors of a real node, in InfluxDB's words where it has some. */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  node = cluster.node('n1');
  await node.start({
    workers: '2',
    'body-bytes-max': '8KiB',
    'line-bytes-max': '1KiB',
    'key-bytes-max': '64',
    'string-bytes-max': '300',
    'fields-max': '3',
    'body-series-max': '10',
    'query-series-max': '9',
    'query-buckets-max': '5',
    'query-points-read-max': '100',
    'query-points-max': '50',
    'query-characters-max': '300',
    'query-statements-max': '4',
    'query-nesting-max': '2',
    'max-row-limit': '10',
  });
  await node.ready();
  await cluster.createDatabase('d');
  const lines = (name: string, hosts: number, rows: number): string =>
    Array.from({ length: rows }, (_, i) => `${name},host=h${i % hosts} v=${i} ${i}000000000`).join('\n');
  for (const body of [lines('few', 1, 11), lines('held', 1, 60), lines('scanned', 1, 120), lines('many', 10, 20)])
    expect((await node.write('d', body)).status).toBe(204);
}, 60_000);
afterAll(() => cluster.close());

test.each([
  ['SELECT count(v) FROM many', 'max-select-series limit exceeded: (10/9)'],
  [
    'SELECT mean(v) FROM few WHERE time >= 0 AND time < 6s GROUP BY time(1s)',
    'max-select-buckets limit exceeded: (6/5)',
  ],
  ['SELECT v FROM held', 'query reads more than 50 rows at once; narrow the time range or use LIMIT'],
  ['SELECT stddev(v) FROM scanned', 'max-select-point limit exceeded: (120/100)'],
])('%s: %s', async (text, error) => {
  expect(await node.query(text, 'd')).toEqual([{ statement_id: 0, error }]);
});

test('an answer of more rows than max-row-limit is cut and says so, unless it is chunked', async () => {
  const [whole] = await node.query('SELECT v FROM few; SHOW DATABASES', 'd');
  expect(whole!.series).toMatchObject([{ name: 'few', partial: true }]);
  expect(whole!.series![0]!.values).toHaveLength(10);
  expect(await node.query('SELECT v FROM few; SHOW DATABASES', 'd')).toHaveLength(1);
  const [fits] = await node.query('SELECT v FROM few LIMIT 9', 'd');
  expect(fits!.series![0]).not.toHaveProperty('partial');
  const chunked = await node.get(`/query?${new URLSearchParams({ q: 'SELECT v FROM few', db: 'd', chunked: 'true' })}`);
  expect(JSON.parse(chunked.text).results[0].series[0].values).toHaveLength(11);
});

test('bodies, lines and fields', async () => {
  const long = 'x'.repeat(9_000);
  const tooLarge = { status: 413, text: '{"error":"Request Entity Too Large"}\n' };
  expect(await node.write('d', long)).toMatchObject(tooLarge);
  const packed = gzipSync(long);
  const headers = { 'Content-Encoding': 'gzip' };
  expect(await node.request('POST', '/write?db=d', packed, headers)).toMatchObject(tooLarge);

  const line = `m v="${'y'.repeat(1_100)}"`;
  const refused = await node.write('d', `good v=1 1\n${line}\ngood v=2 2`);
  expect(refused.status).toBe(400);
  expect(refused.text).toContain(`line of ${line.length} bytes exceeds 1024`);
  expect(await node.value('SELECT count(v) FROM good', 'd')).toBe(2);

  const wide = await node.write('d', 'wide a=1,b=1,c=1 1\nwide d=1 2');
  expect(wide.status).toBe(400);
  expect(wide.text).toContain('more than 3 fields in one measurement');
  expect(await node.value('SELECT count(a) FROM wide', 'd')).toBe(1);
});

test('series of a body', async () => {
  const lines = (hosts: readonly number[], more: string) => hosts.map((host) => `b,h=${host} ${more}`).join('\n');
  const ten = Array.from({ length: 10 }, (_, i) => i);
  expect((await node.write('d', lines(ten, 'v=1 1'))).status).toBe(204);
  // As many series, in more rows.
  expect((await node.write('d', `${lines(ten, 'v=2 2')}\n${lines(ten, 'v=3 3')}`)).status).toBe(204);
  expect(await node.write('d', `${lines([...ten, 10], 'v=4 4')}\n${lines([9, 10], 'v=5 5')}`)).toMatchObject({
    status: 400,
    text: '{"error":"partial write: max-series-per-request limit exceeded: (10) dropped=2"}\n',
  });
  expect(await node.value("SELECT count(v) FROM b WHERE h = '9'", 'd')).toBe(5);
  expect(await node.query("SELECT count(v) FROM b WHERE h = '10'", 'd')).toEqual([{ statement_id: 0 }]);
});

test('keys and strings', async () => {
  const key = (bytes: number) => `k,t=${'x'.repeat(bytes - 4)}`;
  expect((await node.write('d', `${key(64)} v=1 1`)).status).toBe(204);
  const long = await node.write('d', `${key(64)} v=1 2\n${key(65)} v=1 3\n${key(65)} v=1 4`);
  expect(long.status).toBe(400);
  expect(JSON.parse(long.text).error).toContain(`unable to parse '${key(65)} v=1 3': max key length exceeded: 65 > 64`);
  expect(await node.value('SELECT count(v) FROM k', 'd')).toBe(2);

  const string = (bytes: number) => `"${'é'.repeat(bytes / 2)}"`;
  expect(await node.write('d', `s v=${string(300)} 1\ns v=${string(302)} 2\ns v="x" 3`)).toMatchObject({
    status: 400,
    text: '{"error":"partial write: input field \\"v\\" on measurement \\"s\\" is too long, 302 \\u003e 300 dropped=1"}\n',
  });
  expect(await node.value('SELECT count(v) FROM s', 'd')).toBe(2);
});

test('texts, statements and subqueries', async () => {
  const refused = async (q: string) =>
    JSON.parse((await node.get(`/query?${new URLSearchParams({ q, db: 'd' })}`)).text);
  const show = 'SHOW DATABASES';
  const wide = `SELECT v FROM few WHERE host = '${'x'.repeat(300)}'`;
  const tooLong = `error parsing query: query of ${wide.length} characters is longer than the limit of 300`;
  expect(await refused(wide)).toEqual({ error: tooLong });
  // The same in a form that was read before.
  await node.query("SELECT v FROM few WHERE host = 'x'", 'd');
  expect(await refused(wide)).toEqual({ error: tooLong });
  expect(await node.query(Array(4).fill(show).join(';'))).toHaveLength(4);
  expect(await refused(Array(5).fill(show).join(';'))).toEqual({
    error: 'error parsing query: more than 4 statements',
  });
  const nested = (depth: number) => `SELECT v FROM ${'(SELECT v FROM '.repeat(depth)}few${')'.repeat(depth)}`;
  expect((await node.query(`${nested(2)} LIMIT 1`, 'd'))[0]).toHaveProperty('series');
  expect(await node.query(`${nested(3)} LIMIT 1`, 'd')).toEqual([
    { statement_id: 0, error: 'subqueries nest deeper than 2' },
  ]);
});
