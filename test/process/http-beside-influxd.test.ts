/**
 * The same requests, byte by byte, to a real node and to an installed InfluxDB 1.6: status, headers that clients read and body
 * must be equal. What is meant to differ (docs/compatibility.md) is not asked here.
 */
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findPrograms } from '../../scripts/bench/programs.ts';
import { RunningSystem } from '../../scripts/bench/system.ts';

const [influxd] = findPrograms({}, ['influxdb']).programs;
const path = resolve(import.meta.dirname, '../../dist/server/cli/main.js');
const starling = { name: 'starling', path, version: '' } as const;
if (influxd === undefined) console.info('http-beside-influxd: influxd is not installed, its tests are skipped');

const ANSWER_MS_MAX = 20_000;
const HEADERS = ['content-type', 'x-influxdb-error', 'x-influxdb-build', 'www-authenticate'] as const;

interface Asked {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  readonly version?: '1.0' | '1.1';
}

type Case = readonly [method: string, path: string, asked?: Asked];

function bytesOf([method, target, { headers = {}, body = '', version = '1.1' } = {}]: Case): Buffer {
  const content = Buffer.from(body);
  const isChunked = headers['Transfer-Encoding'] !== undefined;
  const length = method === 'POST' && !isChunked ? { 'Content-Length': String(content.length) } : {};
  const lines = Object.entries({ Host: 'x', ...headers, ...length, Connection: 'close' });
  const head = `${method} ${target} HTTP/${version}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), content]);
}

/** All that comes until the server closes. */
function exchange(port: number, bytes: Buffer): Promise<string> {
  return new Promise((done, failed) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.setTimeout(ANSWER_MS_MAX, () => socket.destroy(new Error(`no answer to ${bytes.toString().slice(0, 200)}`)));
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('close', () => done(text));
    socket.on('error', failed);
  });
}

/** Without chunks of the transfer, which are as large as servers like. */
function bodyOf(text: string, headers: ReadonlyMap<string, string>): string {
  if (headers.get('transfer-encoding') !== 'chunked') return text;
  let bytes = Buffer.from(text);
  let body = '';
  for (let end = bytes.indexOf('\r\n'); end > 0; end = bytes.indexOf('\r\n')) {
    const length = Number.parseInt(bytes.toString('utf8', 0, end), 16);
    body += bytes.toString('utf8', end + 2, end + 2 + length);
    bytes = bytes.subarray(end + 4 + length);
  }
  return body;
}

function shown(answer: string): object {
  const end = answer.indexOf('\r\n\r\n');
  const [status = '', ...lines] = answer.slice(0, end).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const id = headers.get('request-id') ?? 'none';
  return {
    status: status.split(' ')[1],
    ...Object.fromEntries(HEADERS.map((name) => [name, headers.get(name)])),
    hasVersion: headers.has('x-influxdb-version'),
    id:
      headers.get('x-request-id') !== id ? 'two' : /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) ? 'UUID' : id,
    body: bodyOf(answer.slice(end + 4), headers),
  };
}

const q = (text: string, more = ''): string => `/query?db=t&q=${encodeURIComponent(text)}${more}`;
const ALL = 'SELECT * FROM cpu';
const BY_HOST = 'SELECT usage FROM cpu GROUP BY host';
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };
const GZIP = { 'Content-Encoding': 'gzip' };
const part = (disposition: string): string =>
  `--B\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${ALL}\r\n--B--\r\n`;
const packed = gzipSync('gz v=1 1');

const SET_UP: readonly Case[] = [
  ['POST', q('CREATE DATABASE t WITH REPLICATION 1')],
  ['POST', q('CREATE RETENTION POLICY two ON t DURATION 0s REPLICATION 1')],
  ['POST', q('CREATE DATABASE short WITH DURATION 1h REPLICATION 1 NAME hour')],
  [
    'POST',
    '/write?db=t',
    {
      body: 'cpu,host=a usage=1.5,n=1i 1700000000000000000\ncpu,host=b usage=2.5,n=2i 1700000000000000001\ncpu,host=a usage=3,s="x,y",ok=true 1700000001123456789\n',
    },
  ],
  ['POST', '/write?db=t&rp=two', { body: 'cpu,host=z usage=9 1700000000000000000' }],
];

const WRITES: readonly Case[] = [
  ['POST', '/write?db=t'],
  ['POST', '/write?db=t', { body: '\n \n# nothing\n' }],
  ['POST', '/write?db=nope', { body: 'a v=1' }],
  ['POST', '/write', { body: 'a v=1' }],
  ['POST', '/write?db=', { body: 'a v=1' }],
  ['POST', '/write', { body: 'db=t', headers: FORM }],
  ['POST', '/write?db=t', { body: 'ok v=1 1\ncpu,host=a\n' }],
  ['POST', '/write?db=t', { body: 'cpu,host=a\ncpu' }],
  ['POST', '/write?db=t', { body: 'cpu,host=a usage=1i 1700000000000000000' }],
  ['POST', '/write?db=t', { body: 'cpu,host=a usage="x" 1700000000000000000\ncpu,host=q usage=4 1700000000000000000' }],
  ['POST', '/write?db=short', { body: 'a v=1 1' }],
  ['POST', '/write?db=t&rp=bad', { body: 'a v=1' }],
  ['POST', '/write?db=t&consistency=x', { body: 'a v=1' }],
  ['POST', '/write?db=t&consistency=ALL', { body: 'a v=1 1' }],
  ['POST', '/write?db=t', { body: 'xx', headers: GZIP }],
  ['POST', '/write?db=t', { body: 'x'.repeat(100), headers: GZIP }],
  ['POST', '/write?db=t', { headers: GZIP }],
  ['POST', '/write?db=t', { body: packed.subarray(0, 15), headers: GZIP }],
  ['POST', '/write?db=t', { body: packed, headers: GZIP }],
  ['POST', '/write?precision=s&db=t&u=a&p=b', { body: 'ic v=1 1700000000', version: '1.0' }],
  ['POST', '/write?consistency=all&db=t&precision=ns&rp=', { body: ' ct v=1 1', headers: { 'Content-Type': '' } }],
  ['POST', '/write?db=t', { body: '7\r\na v=1 1\r\n0\r\n\r\n', headers: { 'Transfer-Encoding': 'chunked' } }],
  ['POST', '/write?db=t', { body: 'a v=1 1', headers: { 'X-Request-Id': 'mine' } }],
  ['POST', '/write?db=t', { body: 'a v=1 1', headers: { 'Request-Id': 'mine' } }],
];

const epochs = ['ns', 'n', 'u', 'us', 'µ', 'ms', 's', 'm', 'h', '', 'x', 'NS', '1'];
const params = [
  'null',
  '{}',
  '',
  '[]',
  '1',
  '"a"',
  'true',
  '{',
  '{"a":',
  '{"h":"a"}',
  '{"h":1}',
  '{"h":1.5}',
  '{"h":true}',
  '{"h":12345678901234567890}',
  '{"h":1e3}',
  '{"h":9007199254740993}',
];
const accepts = [
  'application/csv',
  'text/csv',
  'application/json',
  '*/*',
  'text/plain',
  'application/csv;q=0.1, application/json',
];

/** With GET and with POST and everything in the URL. */
const QUERIES: readonly (readonly [path: string, asked?: Asked])[] = [
  ...epochs.map((epoch) => [q(ALL, `&epoch=${encodeURIComponent(epoch)}`)] as const),
  ...params.flatMap((given) => [
    [q(ALL, `&params=${encodeURIComponent(given)}`)] as const,
    [q('SELECT usage FROM cpu WHERE host = $h', `&params=${encodeURIComponent(given)}`)] as const,
  ]),
  ...accepts.flatMap((accept) =>
    [
      q(ALL),
      q(ALL, '&epoch=s'),
      q(`${ALL}; ${BY_HOST}`, '&chunked=true&chunk_size=1'),
      q('SELEC'),
      q('SELECT a FROM t9..x'),
    ].map((target) => [target, { headers: { Accept: accept } }] as const),
  ),
  ...['true', '1', 'True', 'false', ''].map((pretty) => [q(ALL, `&pretty=${pretty}`)] as const),
  [q(ALL, '&pretty=true&chunked=true&chunk_size=1')],
  ...['1', '2', '0', '-1', 'x', ''].map(
    (size) => [q(`${ALL}; ${BY_HOST}`, `&chunked=true&chunk_size=${size}`)] as const,
  ),
  [q(ALL, '&chunk_size=1')],
  [q(ALL, '&chunked=1&chunk_size=1')],
  ...['SHOW SERIES', 'SHOW FIELD KEYS', 'SHOW TAG KEYS', 'SHOW TAG VALUES WITH KEY = host', 'SHOW measurements'].map(
    (text) => [q(text, '&chunked=true&chunk_size=2')] as const,
  ),
  [q(ALL, '&epoch=&rp=&params=%7B%7D')],
  [q(ALL, '&rp=two')],
  [q(ALL, '&rp=bad')],
  ['/query?db=t'],
  ['/query?db=t&q='],
  ['/query?db=t&q=%20'],
  ['/query?db=t&pretty=true'],
  [q(';')],
  [q('SELEC')],
  [q('SELEC', '&pretty=true')],
  [q('SELECT *\n FROM')],
  [`/query?q=${encodeURIComponent(ALL)}`],
  [`/query?db=nope&q=${encodeURIComponent(ALL)}`],
  [q('SELECT * FROM nope')],
  [q(`${ALL}; SELECT * FROM nope`)],
  [q('CREATE DATABASE t WITH REPLICATION 1\n')],
  [q('DROP DATABASE nope')],
  [q("DELETE FROM nope WHERE time < '2000-01-01'")],
  [q('DROP MEASUREMENT nope')],
  [q('DROP SERIES FROM nope')],
  [`${q(ALL)}&q=SHOW+DATABASES`],
  ['/query?db=t&q=SELECT+usage+FROM+cpu+LIMIT+1'],
  [q(ALL), { version: '1.0' }],
  [q(ALL, '&chunked=true&chunk_size=1'), { version: '1.0' }],
  [q(ALL), { headers: { 'X-Request-Id': 'mine' } }],
];

const FORMS: readonly Case[] = [
  ['POST', '/query', { body: `q=${encodeURIComponent(ALL)}&db=t`, headers: FORM }],
  ['POST', '/query?db=nope&epoch=ms', { body: `q=${encodeURIComponent(ALL)}&db=t&epoch=s`, headers: FORM }],
  ['POST', '/query?db=t', { body: `q=${encodeURIComponent(ALL)}&chunked=true&chunk_size=1`, headers: FORM }],
  ['POST', '/query?db=t', { body: `q=${encodeURIComponent(ALL)}` }],
  ['POST', '/query?db=t', { body: `q=${encodeURIComponent(ALL)}`, headers: { 'Content-Type': 'application/json' } }],
  ['POST', q(ALL), { headers: { 'Content-Type': 'application/json' } }],
  ['POST', q(ALL), { headers: { 'Content-Type': '' } }],
  ['POST', q(ALL), { headers: FORM }],
  ['POST', q(ALL), { body: 'q=', headers: FORM }],
  ['POST', '/query?db=t', { body: part('name="q"'), headers: { 'Content-Type': 'multipart/form-data; boundary=B' } }],
  [
    'POST',
    '/query?db=t',
    { body: part('name="q"; filename="q.txt"'), headers: { 'Content-Type': 'multipart/form-data; boundary=B' } },
  ],
];

const ABOUT_USERS: readonly Case[] = [
  'SHOW USERS',
  `CREATE USER ann WITH PASSWORD 'a' WITH ALL PRIVILEGES`,
  `CREATE USER bob WITH PASSWORD 'b'`,
  `CREATE USER bob WITH PASSWORD 'b'`,
  `CREATE USER bob WITH PASSWORD 'c'`,
  `CREATE USER bob WITH PASSWORD 'b' WITH ALL PRIVILEGES`,
  `CREATE USER "" WITH PASSWORD 'b'`,
  'CREATE USER bob WITH PASSWORD "b"',
  'GRANT READ ON t TO bob',
  'GRANT ALL ON nope TO bob',
  'GRANT ALL ON nope TO nobody',
  'SHOW GRANTS FOR bob',
  'GRANT WRITE ON t TO bob',
  'SHOW GRANTS FOR bob',
  'GRANT ALL PRIVILEGES ON t TO bob',
  'REVOKE READ ON t FROM bob',
  'SHOW GRANTS FOR bob; SHOW USERS',
  'SHOW GRANTS FOR nobody',
  'REVOKE ALL ON t FROM bob',
  'REVOKE READ ON t FROM nobody',
  'REVOKE READ ON nope FROM bob',
  'SHOW GRANTS FOR bob',
  'REVOKE ALL PRIVILEGES FROM ann',
  'GRANT ALL TO bob',
  'GRANT ALL TO nobody',
  'SHOW USERS',
  `SET PASSWORD FOR bob = 'd'`,
  `SET PASSWORD FOR nobody = 'd'`,
  'DROP USER ann',
  'DROP USER ann',
  'SHOW USERS',
].map((text) => ['POST', q(text)]);
const ABOUT_SUBSCRIPTIONS: readonly Case[] = [
  'SHOW SUBSCRIPTIONS',
  `CREATE SUBSCRIPTION s ON nope.autogen DESTINATIONS ALL 'bad'`,
  `CREATE SUBSCRIPTION s ON nope.autogen DESTINATIONS ALL 'udp://127.0.0.1:9'`,
  `CREATE SUBSCRIPTION s ON t.nope DESTINATIONS ALL 'udp://127.0.0.1:9'`,
  `CREATE SUBSCRIPTION s ON t.autogen DESTINATIONS ALL 'udp://127.0.0.1:9', 'http://127.0.0.1'`,
  `CREATE SUBSCRIPTION s ON t.autogen DESTINATIONS ALL 'udp://127.0.0.1:9', 'http://127.0.0.1:9/x'`,
  `CREATE SUBSCRIPTION s ON t.autogen DESTINATIONS ANY 'udp://127.0.0.1:9'`,
  `CREATE SUBSCRIPTION "a b" ON t.two DESTINATIONS ANY 'https://127.0.0.1:9'`,
  'SHOW SUBSCRIPTIONS',
  'DROP SUBSCRIPTION nope ON t.autogen',
  'DROP SUBSCRIPTION s ON t.nope',
  'DROP SUBSCRIPTION s ON nope.autogen',
  'DROP SUBSCRIPTION s ON t.autogen',
  'DROP SUBSCRIPTION "a b" ON t.two',
  'SHOW SUBSCRIPTIONS',
  'DROP SHARD 77',
].map((text) => ['POST', q(text)]);
const WARNED_OF: readonly Case[] = [
  `CREATE USER "c d" WITH PASSWORD 'a' WITH ALL PRIVILEGES`,
  `SET PASSWORD FOR "c d" = 'x'`,
  'GRANT ALL ON t TO "c d"',
  'REVOKE WRITE ON t FROM "c d"',
  'GRANT ALL TO "c d"',
  'REVOKE ALL FROM "c d"',
  'DROP USER "c d"',
  `CREATE SUBSCRIPTION w ON t.two DESTINATIONS ANY 'udp://127.0.0.1:9','udp://127.0.0.1:10'`,
  'DROP SUBSCRIPTION w ON t.two',
  'DROP SHARD 0',
].map((text) => ['GET', q(text)]);

const REST: readonly Case[] = ['GET', 'HEAD'].flatMap((method) =>
  ['/ping', '/ping?verbose=0', '/ping?verbose=', '/ping?wait_for_leader=1s'].map((target) => [method, target] as const),
);

describe.skipIf(influxd === undefined)('beside influxd', () => {
  const systems: RunningSystem[] = [];

  async function expectSame(cases: readonly Case[]): Promise<void> {
    for (const each of cases) {
      const bytes = bytesOf(each);
      const [expected, given] = await Promise.all(systems.map(({ ports }) => exchange(ports[0]!, bytes)));
      expect({ each, answer: shown(given!) }).toEqual({ each, answer: shown(expected!) });
    }
  }

  beforeAll(async () => {
    systems.push(
      new RunningSystem(influxd!),
      new RunningSystem(starling, { serve: ['--warm-up', 'off', '--workers', '2'] }),
    );
    for (const system of systems) await system.start();
    await expectSame(SET_UP);
  });

  afterAll(async () => {
    for (const system of systems) await system.remove();
  });

  test.each(Object.entries({ WRITES, FORMS, REST, ABOUT_USERS, ABOUT_SUBSCRIPTIONS, WARNED_OF }))(
    '%s',
    async (_name, cases) => {
      await expectSame(cases);
    },
  );

  test.each(['GET', 'POST'])('queries with %s', async (method) => {
    await expectSame(QUERIES.map(([target, asked]) => [method, target, asked ?? {}]));
  });
});
