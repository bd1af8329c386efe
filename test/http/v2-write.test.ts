/**
 * /api/v2/write against a recorded coordinator: what arrives there, and 2.x's answers.
 */
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleWrite, type WriteRequest, type WriteResult } from '../../server/http/influx-write.ts';
import { WRITE_V2 } from '../../server/http/v2-write.ts';
import { type Door, openDoor, type SendOptions } from './door.ts';

const LIMITS = { bodyBytesMax: 1_000, defaultConsistency: 'one', nowNs: () => 42n, receiptOf: () => 'token' } as const;
const POINT = 'cpu,host=a usage=1';

let door: Door;
let result: WriteResult = { status: 204 };
const arrived: (WriteRequest & { text: string })[] = [];

beforeAll(async () => {
  const coordinator = {
    write: (request: WriteRequest, answered: (result: WriteResult) => void): void => {
      arrived.push({ ...request, text: Buffer.concat(request.body).toString() });
      answered(result);
    },
  };
  door = await openDoor((request, response, url) => {
    setInfluxHeaders(request, response, '0.1.0');
    return handleWrite(request, response, url, coordinator, LIMITS, WRITE_V2);
  });
});
afterAll(() => door.close());
beforeEach(() => {
  arrived.length = 0;
  result = { status: 204 };
});

const send = (query: string, options: SendOptions = { body: POINT }) =>
  door.send('POST', `/api/v2/write?${query}`, options);

describe('accepted writes', () => {
  test.each([
    ['bucket=t', 't', ''],
    ['org=o&bucket=t/two', 't', 'two'],
    ['orgID=0123&bucket=t%2Ftwo', 't', 'two'],
    ['bucket=t/', 't', ''],
    ['bucket=t/a/b', 't', 'a/b'],
  ])('%s', async (query, database, retentionPolicy) => {
    const answer = await send(query, { body: POINT, headers: { Authorization: 'Token secret' } });
    expect([answer.status, answer.body]).toEqual([204, '']);
    expect(arrived[0]).toMatchObject({ database, retentionPolicy, precision: 'n', consistency: 'one', text: POINT });
  });

  test.each([
    ['', 'n'],
    ['ns', 'n'],
    ['us', 'u'],
    ['ms', 'ms'],
    ['s', 's'],
  ])('precision "%s" arrives as %s', async (precision, expected) => {
    expect((await send(`bucket=t&precision=${precision}`)).status).toBe(204);
    expect(arrived[0]?.precision).toBe(expected);
  });

  test('gzip in chunks, as the client for JavaScript sends it', async () => {
    const headers = { 'Content-Encoding': 'gzip', 'Transfer-Encoding': 'chunked' };
    expect((await send('org=&bucket=t', { body: gzipSync(POINT), headers })).status).toBe(204);
    expect(arrived[0]?.text).toBe(POINT);
  });

  test('consistency and receipts, as with /write', async () => {
    result = { status: 204, batches: [] };
    expect((await send('bucket=t&consistency=ALL&receipt=1')).status).toBe(200);
    expect(arrived[0]).toMatchObject({ consistency: 'all', receipt: true });
  });
});

describe('refused writes', () => {
  async function refused(query: string, options?: SendOptions) {
    const answer = await send(query, options);
    expect(answer.headers['x-influxdb-error']).toBeUndefined();
    const body = JSON.parse(answer.body) as { code: string; message: string };
    expect(answer.headers['x-platform-error-code']).toBe(body.code);
    return [answer.status, body.code, body.message, answer.headers['retry-after']];
  }

  test.each([
    ['org=o', 'bucket is required'],
    ['bucket=', 'bucket is required'],
    ['bucket=/rp', 'bucket is required'],
    ['bucket=t&precision=h', 'invalid precision "h" (use ns, us, ms or s)'],
    ['bucket=t&precision=n', 'invalid precision "n"'],
    ['bucket=t&consistency=some', 'invalid consistency level'],
  ])('%s: 400, and nothing arrives', async (query, message) => {
    const [status, code, text] = await refused(query);
    expect([status, code]).toEqual([400, 'invalid']);
    expect(text).toContain(message);
    expect(arrived).toEqual([]);
  });

  test.each<[WriteResult, number, string, string]>([
    [{ status: 404, error: 'database not found: "t"' }, 404, 'not found', 'bucket not found: database not found: "t"'],
    [
      { status: 500, error: 'retention policy not found: two' },
      404,
      'not found',
      'bucket not found: retention policy not found: two',
    ],
    [
      { status: 400, error: "unable to parse 'x': missing fields" },
      400,
      'invalid',
      "unable to parse 'x': missing fields",
    ],
    [
      { status: 400, error: 'partial write: points beyond retention policy dropped=1' },
      422,
      'unprocessable entity',
      'failure writing points to database: partial write: points beyond retention policy dropped=1',
    ],
    [{ status: 500, error: 'broken' }, 500, 'internal error', 'broken'],
  ])('%j', async (given, status, code, message) => {
    result = given;
    expect(await refused('bucket=t')).toEqual([status, code, message, undefined]);
  });

  test('what can be put off says for how long, and nothing that an agent takes for permanent', async () => {
    result = { status: 503, error: 'write not acknowledged: 1 of 2 replicas; safe to retry', retryAfterSeconds: 1 };
    const answer = await refused('bucket=t');
    expect(answer).toEqual([503, 'unavailable', 'write not acknowledged: 1 of 2 replicas; safe to retry', '1']);
  });

  test('a body that is too large: 413; a damaged one: 400', async () => {
    expect((await refused('bucket=t', { body: 'x'.repeat(1_001) })).slice(0, 2)).toEqual([413, 'request too large']);
    const headers = { 'Content-Encoding': 'gzip' };
    expect((await refused('bucket=t', { body: 'no gzip at all', headers })).slice(0, 2)).toEqual([400, 'invalid']);
  });

  test('the good lines of a write in part keep their receipt', async () => {
    const shard = { database: 't' } as never;
    result = { status: 400, error: 'partial write: x dropped=1', batches: [{ shard, version: '0' }] };
    const answer = await send('bucket=t&receipt=1');
    expect([answer.status, JSON.parse(answer.body)]).toMatchObject([422, { receipt: 'token', batches: 1 }]);
  });

  test('only POST', async () => {
    expect((await door.send('GET', '/api/v2/write?bucket=t')).status).toBe(405);
    expect((await door.send('OPTIONS', '/api/v2/write?bucket=t')).status).toBe(204);
  });
});
