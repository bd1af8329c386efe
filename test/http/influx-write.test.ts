/**
 * /write against a recorded coordinator: what arrives there, and InfluxDB's answers.
 */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleWrite, type WriteRequest, type WriteResult } from '../../server/http/influx-write.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import { type Door, openDoor } from './door.ts';

const LIMITS = {
  bodyBytesMax: 100_000,
  defaultConsistency: 'one',
  nowNs: () => 42n,
  receiptOf: (batches: readonly unknown[]) => (batches.length < 3 ? 'token' : null),
} as const;
const SHARD: ShardKey = {
  database: 't',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 1n,
  number: 0,
};
const POINT = 'cpu,host=a usage=1';

let door: Door;
let result: WriteResult = { status: 204 };
const arrived: WriteRequest[] = [];

beforeAll(async () => {
  const coordinator = {
    write: (request: WriteRequest, answered: (result: WriteResult) => void): void => {
      // The door takes the pieces back when it has answered.
      arrived.push({ ...request, body: request.body.map((piece) => Buffer.from(piece)) });
      answered(result);
    },
  };
  door = await openDoor((request, response, url) => {
    setInfluxHeaders(request, response, '0.1.0');
    return handleWrite(request, response, url, coordinator, LIMITS);
  });
});
afterAll(() => door.close());
beforeEach(() => {
  arrived.length = 0;
  result = { status: 204 };
});

const bodyOf = (request: WriteRequest | undefined): string => Buffer.concat(request?.body ?? []).toString();

describe('accepted writes', () => {
  test('answer 204 without a body, with the common headers', async () => {
    const answer = await door.send('POST', '/write?db=t', { body: POINT });
    expect([answer.status, answer.body]).toEqual([204, '']);
    expect(answer.headers['x-influxdb-version']).toBe('1.8.10-starling-0.1.0');
    expect(answer.headers['x-influxdb-build']).toBe('OSS');
    expect(answer.headers['request-id']).toBe(answer.headers['x-request-id']);
    expect(answer.headers.date).toBeDefined();
    expect(arrived[0]).toMatchObject({
      database: 't',
      retentionPolicy: '',
      precision: 'n',
      consistency: 'one',
      nowNs: 42n,
    });
    expect(bodyOf(arrived[0])).toBe(POINT);
  });

  test('with receipt=1 answer 200 and a token, also for the good lines of a write in part; not without', async () => {
    const batch = { shard: SHARD, version: '0'.repeat(32) };
    result = { status: 204, batches: [batch] };
    const answer = await door.send('POST', '/write?db=t&receipt=1', { body: POINT });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, { receipt: 'token', batches: 1 }]);
    expect(arrived[0]?.receipt).toBe(true);
    result = { status: 204, batches: [batch, batch, batch] };
    const many = await door.send('POST', '/write?db=t&receipt=true', { body: POINT });
    expect(JSON.parse(many.body)).toMatchObject({
      receipt: null,
      batches: 3,
      message: expect.stringMatching(/at most/),
    });
    result = { status: 204, batches: [] };
    expect(JSON.parse((await door.send('POST', '/write?db=t&receipt=1', { body: '' })).body)).toMatchObject({
      receipt: null,
    });
    result = { status: 400, error: 'partial write: x dropped=1', batches: [batch] };
    const partly = await door.send('POST', '/write?db=t&receipt=1', { body: POINT });
    expect([partly.status, JSON.parse(partly.body)]).toEqual([
      400,
      { error: 'partial write: x dropped=1', receipt: 'token', batches: 1 },
    ]);
    result = { status: 204 };
    expect((await door.send('POST', '/write?db=t', { body: POINT })).status).toBe(204);
    expect(arrived.at(-1)?.receipt).toBe(false);
  });

  test.each([
    ['', 'n'],
    ['n', 'n'],
    ['ns', 'n'],
    ['u', 'u'],
    ['us', 'u'],
    ['ms', 'ms'],
    ['s', 's'],
    ['m', 'm'],
    ['h', 'h'],
  ])('precision "%s" arrives as %s', async (precision, expected) => {
    expect((await door.send('POST', `/write?db=t&precision=${precision}`, { body: POINT })).status).toBe(204);
    expect(arrived[0]?.precision).toBe(expected);
  });

  test.each(['any', 'one', 'quorum', 'all', 'ALL'])('consistency %s', async (consistency) => {
    await door.send('POST', `/write?consistency=${consistency}&db=t&rp=two`, { body: POINT });
    expect(arrived[0]).toMatchObject({ consistency: consistency.toLowerCase(), retentionPolicy: 'two' });
  });

  test.each([
    ['text/plain; charset=utf-8'],
    ['application/octet-stream'],
    ['application/x-www-form-urlencoded'],
    ['application/json'],
    [''],
  ])('the type of the body does not matter: "%s"', async (type) => {
    expect((await door.send('POST', '/write?db=t', { body: POINT, headers: { 'Content-Type': type } })).status).toBe(
      204,
    );
    expect(bodyOf(arrived[0])).toBe(POINT);
  });

  test('gzip, chunked transfer, several gzip members', async () => {
    const packed = Buffer.concat([gzipSync(`${POINT}\n`), gzipSync(POINT)]);
    const headers = { 'Content-Encoding': 'gzip', 'Transfer-Encoding': 'chunked' };
    expect((await door.send('POST', '/write?db=t', { body: packed, headers })).status).toBe(204);
    expect(bodyOf(arrived[0])).toBe(`${POINT}\n${POINT}`);
  });

  test('HTTP/1.0 with credentials in the URL, as icinga2 sends', async () => {
    const head = `POST /write?precision=s&db=icinga&u=me&p=secret HTTP/1.0\r\nContent-Length: ${POINT.length}\r\n\r\n`;
    expect(await door.raw(head + POINT)).toMatch(/^HTTP\/1\.1 204 No Content\r\n/);
    expect(bodyOf(arrived[0])).toBe(POINT);
    expect(JSON.stringify({ ...arrived[0], nowNs: 0, body: '' })).not.toContain('secret');
  });

  test('an empty body reaches the coordinator, which knows the database', async () => {
    expect((await door.send('POST', '/write?db=t')).status).toBe(204);
    expect(bodyOf(arrived[0])).toBe('');
  });
});

describe('refused writes', () => {
  test.each([
    ['/write', 'database is required'],
    ['/write?db=', 'database is required'],
    ['/write?db=t&consistency=bad', 'invalid consistency level'],
    ['/write?db=t&precision=x', 'invalid precision "x" (use n, u, ms, s, m or h)'],
  ])('%s: 400 %s', async (path, message) => {
    const answer = await door.send('POST', path, { body: POINT });
    expect([answer.status, answer.body]).toEqual([400, `${JSON.stringify({ error: message })}\n`]);
    expect(answer.headers['x-influxdb-error']).toBe(message);
    expect(answer.headers['content-type']).toBe('application/json');
    expect(arrived).toHaveLength(0);
  });

  test.each<[WriteResult, string]>([
    [{ status: 404, error: 'database not found: "nope"' }, '{"error":"database not found: \\"nope\\""}\n'],
    [{ status: 500, error: 'retention policy not found: bad' }, '{"error":"retention policy not found: bad"}\n'],
    [
      { status: 400, error: "partial write: unable to parse 'é\n<': missing fields dropped=0" },
      `{"error":"partial write: unable to parse 'é\\n\\u003c': missing fields dropped=0"}\n`,
    ],
    [
      { status: 503, error: 'write not acknowledged: 1 of 2 replicas; safe to retry', retryAfterSeconds: 3 },
      '{"error":"write not acknowledged: 1 of 2 replicas; safe to retry"}\n',
    ],
  ])('the coordinator says %j', async (given, body) => {
    result = given;
    const answer = await door.send('POST', '/write?db=t', { body: POINT });
    expect([answer.status, answer.body]).toEqual([given.status, body]);
    expect(answer.headers['retry-after']).toBe('retryAfterSeconds' in given ? '3' : undefined);
  });

  test('other methods: 405', async () => {
    const answer = await door.send('GET', '/write?db=t');
    expect([answer.status, answer.headers.allow, answer.body]).toEqual([405, 'POST, OPTIONS', 'Method Not Allowed\n']);
    expect((await door.send('OPTIONS', '/write')).status).toBe(204);
  });
});

describe('damaged and large bodies', () => {
  const packed = gzipSync(POINT.repeat(100));
  const damaged = Buffer.from(packed);
  damaged[damaged.length - 6]! ^= 0xff;

  test.each([
    ['cut off', packed.subarray(0, packed.length - 3), 'unexpected EOF'],
    ['cut in its header', packed.subarray(0, 5), 'unexpected EOF'],
    ['empty', Buffer.alloc(0), 'EOF'],
    ['no gzip at all', Buffer.from('cpu,host=a usage=1'), 'gzip: invalid header'],
    ['with a wrong checksum', damaged, 'gzip: invalid checksum'],
  ])('gzip %s: 400', async (_what, body, message) => {
    const answer = await door.send('POST', '/write?db=t', { body, headers: { 'Content-Encoding': 'gzip' } });
    expect([answer.status, answer.body]).toEqual([400, `{"error":"${message}"}\n`]);
    expect(arrived).toHaveLength(0);
  });

  test.each([
    ['a little over the limit', LIMITS.bodyBytesMax + 1],
    ['of many times the limit', LIMITS.bodyBytesMax * 20],
  ])('a body %s: 413', async (_what, bytes) => {
    // Announced only: the server must not need the bytes of what it refuses.
    const head = `POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\nConnection: close\r\n\r\n`;
    const sent = bytes > LIMITS.bodyBytesMax * 8 ? '' : '#'.repeat(bytes);
    const answer = await door.raw(head + sent);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('{"error":"Request Entity Too Large"}\n');
    expect(arrived).toHaveLength(0);
  });

  test('a body at the limit is taken', async () => {
    expect((await door.send('POST', '/write?db=t', { body: '#'.repeat(LIMITS.bodyBytesMax) })).status).toBe(204);
  });

  test('gzip that unpacks beyond the limit: 413', async () => {
    const body = gzipSync('#'.repeat(LIMITS.bodyBytesMax + 1));
    const answer = await door.send('POST', '/write?db=t', { body, headers: { 'Content-Encoding': 'gzip' } });
    expect(answer.status).toBe(413);
  });

  test('a client that leaves in the middle of its body stores nothing and harms nobody', async () => {
    await door.raw('POST /write?db=t HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ncpu usage=1', true);
    expect(arrived).toHaveLength(0);
    expect((await door.send('POST', '/write?db=t', { body: POINT })).status).toBe(204);
  });
});
