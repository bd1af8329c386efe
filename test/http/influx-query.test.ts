/**
 * /query against a scripted service: what is asked of it, answers in parts, and failures.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { QueryParseError, QueryUnavailableError, type ResultSeries } from '../../server/query/result.ts';
import { q, ScriptedQuery, TIMES } from './scripted-query.ts';

let scripted: ScriptedQuery;

beforeAll(async () => {
  scripted = await ScriptedQuery.open();
});
afterAll(() => scripted.close());
beforeEach(() => scripted.reset());

describe('parameters', () => {
  test('GET is read-only, POST is not; empty parameters are absent', async () => {
    await scripted.send('GET', `/query?db=t&epoch=&rp=&params=%7B%7D&${q('show databases')}`);
    await scripted.send('POST', `/query?chunked=true&db=&epoch=ns&params=null&${q(' CREATE DATABASE x\n')}`);
    expect(scripted.asked[0]).toMatchObject({
      text: 'show databases',
      options: { database: 't', readOnly: true, chunkSize: null, nowNs: 7n, completeness: false },
    });
    expect(scripted.asked[0]!.options.retentionPolicy).toBeUndefined();
    expect(scripted.asked[1]).toMatchObject({
      text: 'CREATE DATABASE x',
      options: { readOnly: false, chunkSize: 10_000 },
    });
    expect(scripted.asked[1]!.options.database).toBeUndefined();
  });

  test('q in a form, the form before the URL, and in a multipart body', async () => {
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    await scripted.send('POST', '/query?q=no&db=u', { headers: form, body: 'q=show+series&db=t' });
    expect(scripted.asked[0]).toMatchObject({ text: 'show series', options: { database: 't' } });
    const body = '--XX\r\nContent-Disposition: form-data; name="q"; filename="a.txt"\r\n\r\nshow\r\nx\r\n--XX--\r\n';
    await scripted.send('POST', '/query', { headers: { 'Content-Type': 'multipart/form-data; boundary=XX' }, body });
    expect(scripted.asked[1]?.text).toBe('show\r\nx');
    await scripted.send('POST', `/query?${q('show databases')}`, { headers: { 'Content-Type': 'application/json' } });
    expect(scripted.asked[2]?.text).toBe('show databases');
  });

  test('params are JSON, integers exact', async () => {
    const params = encodeURIComponent(
      '{"a":9007199254740993,"b":"9007199254740993","c":{"integer":2},"d":1.5,"e":[-1234567890123456789],"\\"":12345678901234567.5,"f":2.0,"g":-7,"h":{"float":1e3},"i":"1e3"}',
    );
    await scripted.send('GET', `/query?${q('x')}&params=${params}`);
    expect(scripted.asked[0]?.options.params).toEqual({
      a: 9007199254740993n,
      b: '9007199254740993',
      c: { integer: 2n },
      d: 1.5,
      e: [-1234567890123456789n],
      '"': 12345678901234568,
      f: 2,
      g: -7n,
      h: { float: 1000 },
      i: '1e3',
    });
  });

  test.each([
    ['/query', 'missing required parameter "q"'],
    ['/query?q=+', 'missing required parameter "q"'],
    ['/query?q=SELECT+%E9', 'invalid UTF-8 in parameter "q"'],
    ['/query?q=x&params=%7B%22h%22%3A', 'error parsing query parameters: unexpected EOF'],
    ['/query?q=x&params=%7B', 'error parsing query parameters: unexpected EOF'],
    ['/query?q=x&params=%7B1:2}', 'error parsing query parameters: invalid JSON'],
    ['/query?q=x&params=%7B%22h%22:012}', 'error parsing query parameters: invalid JSON'],
    [
      '/query?q=x&params=12345678901234567890',
      'error parsing query parameters: json: cannot unmarshal number into Go value of type map[string]interface {}',
    ],
    [
      '/query?q=x&params=%7B%22h%22:9223372036854775808}',
      'error parsing json value: strconv.ParseInt: parsing "9223372036854775808": value out of range',
    ],
    ['/query?q=x&params=%7B%22h%22:1e3}', 'error parsing json value: strconv.ParseInt: parsing "1e3": invalid syntax'],
    [
      '/query?q=x&params=%5B1%5D',
      'error parsing query parameters: json: cannot unmarshal array into Go value of type map[string]interface {}',
    ],
  ])('%s: 400 %s', async (path, message) => {
    const answer = await scripted.send('POST', path);
    expect([answer.status, answer.body]).toEqual([400, `${JSON.stringify({ error: message })}\n`]);
    expect(answer.headers['x-influxdb-error']).toBe(message);
  });

  test('HEAD and other methods: 405 as in InfluxDB', async () => {
    expect((await scripted.send('HEAD', `/query?${q('x')}`)).status).toBe(405);
    expect((await scripted.send('DELETE', `/query?${q('x')}`)).headers.allow).toBe('GET, POST, OPTIONS');
  });

  test('a form beyond the limit: 413', async () => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    expect((await scripted.send('POST', '/query', { headers, body: `q=${'x'.repeat(20_000)}` })).status).toBe(413);
  });
});

describe('chunked', () => {
  test('one document a line, partial on series and result until the last', async () => {
    const part = (values: ResultSeries['values'], partial: boolean): ResultSeries => ({ ...TIMES, values, partial });
    scripted.answering(
      { statementId: 0, partial: true, series: [part([[1n, 1]], true)] },
      { statementId: 0, series: [part([[2n, 2]], false)] },
      { statementId: 1 },
    );
    const answer = await scripted.send('POST', `/query?chunked=true&chunk_size=1&epoch=ns&${q('x')}`);
    expect(scripted.asked[0]?.options.chunkSize).toBe(1);
    expect(answer.body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[[1,1]],"partial":true}],"partial":true}]}\n' +
        '{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[[2,2]]}]}]}\n' +
        '{"results":[{"statement_id":1}]}\n',
    );
  });

  test.each(['x', '-1', '0', ''])('chunk_size "%s" means the default', async (size) => {
    await scripted.send('GET', `/query?chunked=true&chunk_size=${size}&${q('x')}`);
    expect(scripted.asked[0]?.options.chunkSize).toBe(10_000);
  });

  test('an error behind the first chunk is one more document', async () => {
    scripted.execute = async function* () {
      yield { statementId: 0, partial: true };
      throw new QueryUnavailableError('shard lost', 503);
    };
    const answer = await scripted.send('GET', `/query?chunked=true&${q('x')}`);
    expect(answer.body.split('\n')[1]).toBe('{"error":"shard lost"}');
  });

  test('a client that leaves ends the query', async () => {
    const left = new Promise<void>((resolve) => {
      scripted.execute = async function* (_text, options) {
        options.ending?.onEnd(() => resolve());
        for (let id = 0; ; id++) yield { statementId: id, series: [{ ...TIMES, values: Array(1_000).fill([1n, 1]) }] };
      };
    });
    const gone = new AbortController();
    const response = await fetch(`http://127.0.0.1:${scripted.port}/query?chunked=true&${q('x')}`, {
      signal: gone.signal,
    });
    await response.body?.getReader().read();
    gone.abort();
    await left;
  });
});

describe('failures before the first result', () => {
  const cases: readonly [Error, number, string][] = [
    [new QueryParseError('found SELEC, expected ;'), 400, 'error parsing query: found SELEC, expected ;'],
    [new QueryParseError('error parsing query: found é\n'), 400, 'error parsing query: found é\n'],
    [new QueryUnavailableError('joining', 503), 503, 'joining'],
    [new Error('a bug'), 500, 'a bug'],
  ];
  test.each(cases)('%s', async (error, status, message) => {
    // biome-ignore lint/correctness/useYield: fails before it has anything to yield
    scripted.execute = async function* () {
      throw error;
    };
    for (const chunked of ['false', 'true']) {
      const answer = await scripted.send('GET', `/query?chunked=${chunked}&${q('x')}`);
      expect([answer.status, answer.body]).toEqual([status, `${JSON.stringify({ error: message })}\n`]);
      expect(answer.headers['retry-after']).toBe(status === 503 ? '1' : undefined);
    }
  });
});
