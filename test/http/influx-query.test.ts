/**
 * /query against a scripted service. Golden texts are InfluxDB 1.x's own answers to the same data.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { handlePing, setInfluxHeaders } from '../../server/http/influx-ping.ts';
import { handleQuery } from '../../server/http/influx-query.ts';
import { type AnswerSink, answerQuery } from '../../server/http/query-answer.ts';
import { queryParameters } from '../../server/http/query-parameters.ts';
import { Ending } from '../../server/query/ending.ts';
import {
  type QueryOptions,
  QueryParseError,
  type QueryService,
  QueryUnavailableError,
  type ResultSeries,
  type StatementResult,
} from '../../server/query/result.ts';
import { type Door, openDoor } from './door.ts';

type Execute = QueryService['execute'];

let door: Door;
let execute: Execute;
let rowsMax = 0;
const asked: { text: string; options: QueryOptions }[] = [];

beforeAll(async () => {
  const service: QueryService = {
    execute: (text, options) => {
      asked.push({ text, options });
      return execute(text, options);
    },
  };
  door = await openDoor((request, response, url) => {
    setInfluxHeaders(request, response, '0.1.0');
    if (url.pathname === '/ping') return handlePing(request, response, url, '0.1.0');
    return handleQuery(request, response, url, service, { bodyBytesMax: 10_000, rowsMax, nowNs: () => 7n });
  });
});
afterAll(() => door.close());
beforeEach(() => {
  asked.length = 0;
  rowsMax = 0;
  answering({ statementId: 0, series: [DATABASES] });
});

function answering(...results: StatementResult[]): void {
  execute = async function* () {
    yield* results;
  };
}

const DATABASES: ResultSeries = { name: 'databases', columns: ['name'], timeColumn: -1, values: [['t'], ['<x>']] };
const ALL: ResultSeries = {
  name: 'm',
  tags: { h: 'a' },
  columns: ['time', 'b', 'f', 'i', 's'],
  timeColumn: 0,
  values: [
    [-1n, null, 1e21, -9223372036854775808n, null],
    [1n, true, 1, 3n, '<a&b> "q", x\ny'],
  ],
};
const TIMES: ResultSeries = {
  name: 'm',
  columns: ['time', 'f'],
  timeColumn: 0,
  values: [
    [-9223372036854775806n, 0.000001],
    [-62135596800n, -0],
    [-1500000000n, 1],
    [-1n, 1e21],
    [1n, 1],
    [1500n, 3],
    [1600000000120000000n, 123456789.5],
    [1600000000123456789n, 1e-7],
    [9223372036854775806n, 100000000000000000000],
  ],
};
const q = (text: string): string => `q=${encodeURIComponent(text)}`;

describe('parameters', () => {
  test('GET is read-only, POST is not; empty parameters are absent', async () => {
    await door.send('GET', `/query?db=t&epoch=&rp=&params=%7B%7D&${q('show databases')}`);
    await door.send('POST', `/query?chunked=true&db=&epoch=ns&params=null&${q(' CREATE DATABASE x\n')}`);
    expect(asked[0]).toMatchObject({
      text: 'show databases',
      options: { database: 't', readOnly: true, chunkSize: null, nowNs: 7n, completeness: false },
    });
    expect(asked[0]?.options).not.toHaveProperty('retentionPolicy');
    expect(asked[1]).toMatchObject({ text: 'CREATE DATABASE x', options: { readOnly: false, chunkSize: 10_000 } });
    expect(asked[1]?.options).not.toHaveProperty('database');
  });

  test('q in a form, the form before the URL, and in a multipart body', async () => {
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    await door.send('POST', '/query?q=no&db=u', { headers: form, body: 'q=show+series&db=t' });
    expect(asked[0]).toMatchObject({ text: 'show series', options: { database: 't' } });
    const body = '--XX\r\nContent-Disposition: form-data; name="q"; filename="a.txt"\r\n\r\nshow\r\nx\r\n--XX--\r\n';
    await door.send('POST', '/query', { headers: { 'Content-Type': 'multipart/form-data; boundary=XX' }, body });
    expect(asked[1]?.text).toBe('show\r\nx');
    await door.send('POST', `/query?${q('show databases')}`, { headers: { 'Content-Type': 'application/json' } });
    expect(asked[2]?.text).toBe('show databases');
  });

  test('params that nobody can mean take no longer than their length asks for', () => {
    const params = (text: string) =>
      queryParameters(
        new Map([
          ['q', 'x'],
          ['params', text],
        ]),
      );
    const began = process.cpuUsage();
    expect(params(`"${'\\"'.repeat(60_000)}`)).toMatch(/^error parsing query parameters: /);
    expect(params('"'.repeat(100_001))).toMatch(/^error parsing query parameters: /);
    const long = 'x'.repeat(12_000_000);
    expect(params(`{"a":"${long}","b":-${'9'.repeat(100_000)}}`)).toMatchObject({ params: { a: long, b: -Infinity } });
    const { user } = process.cpuUsage(began);
    // A search for the end of a string from each of its quotes takes half a minute.
    expect(user / 1e6).toBeLessThan(5);
  });

  test('params are JSON, integers exact', async () => {
    const params = encodeURIComponent(
      '{"a":9007199254740993,"b":"9007199254740993","c":{"integer":2},"d":1.5,"e":[-1234567890123456789],"\\"":12345678901234567.5}',
    );
    await door.send('GET', `/query?${q('x')}&params=${params}`);
    expect(asked[0]?.options.params).toEqual({
      a: 9007199254740993n,
      b: '9007199254740993',
      c: { integer: 2 },
      d: 1.5,
      e: [-1234567890123456789n],
      '"': 12345678901234568,
    });
  });

  test.each([
    ['/query', 'missing required parameter "q"'],
    ['/query?q=+', 'missing required parameter "q"'],
    ['/query?q=x&params=%7B%22h%22%3A', 'error parsing query parameters: unexpected EOF'],
    [
      '/query?q=x&params=%5B1%5D',
      'error parsing query parameters: json: cannot unmarshal array into Go value of type map[string]interface {}',
    ],
  ])('%s: 400 %s', async (path, message) => {
    const answer = await door.send('POST', path);
    expect([answer.status, answer.body]).toEqual([400, `${JSON.stringify({ error: message })}\n`]);
    expect(answer.headers['x-influxdb-error']).toBe(message);
  });

  test('HEAD and other methods: 405 as in InfluxDB', async () => {
    expect((await door.send('HEAD', `/query?${q('x')}`)).status).toBe(405);
    expect((await door.send('DELETE', `/query?${q('x')}`)).headers.allow).toBe('GET, POST, OPTIONS');
  });

  test('a form beyond the limit: 413', async () => {
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
    expect((await door.send('POST', '/query', { headers, body: `q=${'x'.repeat(20_000)}` })).status).toBe(413);
  });
});

describe('JSON', () => {
  test.each([
    [
      '',
      '["1677-09-21T00:12:43.145224194Z",0.000001],["1969-12-31T23:58:57.8644032Z",-0],["1969-12-31T23:59:58.5Z",1],["1969-12-31T23:59:59.999999999Z",1e+21],["1970-01-01T00:00:00.000000001Z",1],["1970-01-01T00:00:00.0000015Z",3],["2020-09-13T12:26:40.12Z",123456789.5],["2020-09-13T12:26:40.123456789Z",1e-7],["2262-04-11T23:47:16.854775806Z",100000000000000000000]',
    ],
    [
      'ns',
      '[-9223372036854775806,0.000001],[-62135596800,-0],[-1500000000,1],[-1,1e+21],[1,1],[1500,3],[1600000000120000000,123456789.5],[1600000000123456789,1e-7],[9223372036854775806,100000000000000000000]',
    ],
    [
      'u',
      '[-9223372036854775,0.000001],[-62135596,-0],[-1500000,1],[0,1e+21],[0,1],[1,3],[1600000000120000,123456789.5],[1600000000123456,1e-7],[9223372036854775,100000000000000000000]',
    ],
    [
      'ms',
      '[-9223372036854,0.000001],[-62135,-0],[-1500,1],[0,1e+21],[0,1],[0,3],[1600000000120,123456789.5],[1600000000123,1e-7],[9223372036854,100000000000000000000]',
    ],
    [
      's',
      '[-9223372036,0.000001],[-62,-0],[-1,1],[0,1e+21],[0,1],[0,3],[1600000000,123456789.5],[1600000000,1e-7],[9223372036,100000000000000000000]',
    ],
    [
      'm',
      '[-153722867,0.000001],[-1,-0],[0,1],[0,1e+21],[0,1],[0,3],[26666666,123456789.5],[26666666,1e-7],[153722867,100000000000000000000]',
    ],
    [
      'h',
      '[-2562047,0.000001],[0,-0],[0,1],[0,1e+21],[0,1],[0,3],[444444,123456789.5],[444444,1e-7],[2562047,100000000000000000000]',
    ],
  ])('times with epoch "%s"', async (epoch, values) => {
    answering({ statementId: 0, series: [TIMES] });
    const answer = await door.send('GET', `/query?epoch=${epoch}&${q('x')}`);
    expect(answer.body).toBe(
      `{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[${values}]}]}]}\n`,
    );
    expect(answer.headers['content-type']).toBe('application/json');
  });

  test('escapes, nulls, tags, several statements, errors, messages', async () => {
    answering(
      { statementId: 0, series: [ALL] },
      { statementId: 1 },
      { statementId: 2, messages: [{ level: 'warning', text: "deprecated use of 'x'" }] },
      { statementId: 3, error: 'database not found: "nope"' },
    );
    expect((await door.send('GET', `/query?${q('x')}`)).body).toBe(
      `{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"h":"a"},"columns":["time","b","f","i","s"],"values":[["1969-12-31T23:59:59.999999999Z",null,1e+21,-9223372036854775808,null],["1970-01-01T00:00:00.000000001Z",true,1,3,"\\u003ca\\u0026b\\u003e \\"q\\", x\\ny"]]}]},{"statement_id":1},{"statement_id":2,"messages":[{"level":"warning","text":"deprecated use of 'x'"}]},{"statement_id":3,"error":"database not found: \\"nope\\""}]}\n`,
    );
  });

  test('a text without statements', async () => {
    answering();
    expect((await door.send('GET', `/query?${q(';;')}`)).body).toBe('{}\n');
    expect((await door.send('GET', `/query?chunked=true&${q(';;')}`)).body).toBe('{}\n');
  });

  test('pretty: four blanks', async () => {
    answering(
      { statementId: 0, series: [{ ...ALL, values: [[-1n, null, 1.5, 3n, 'a: [b], {"c"}']] }] },
      { statementId: 1 },
    );
    const answer = await door.send('GET', `/query?pretty=true&${q('x')}`);
    const expected = {
      results: [
        {
          statement_id: 0,
          series: [
            {
              name: 'm',
              tags: { h: 'a' },
              columns: ['time', 'b', 'f', 'i', 's'],
              values: [['1969-12-31T23:59:59.999999999Z', null, 1.5, 3, 'a: [b], {"c"}']],
            },
          ],
        },
        { statement_id: 1 },
      ],
    };
    expect(answer.body).toBe(`${JSON.stringify(expected, null, 4)}\n`);
  });

  test('completeness is added on request', async () => {
    const completeness = {
      complete: false,
      missing_shards: ['t/autogen/1'],
      converged_through: 1700000000.5,
      live_converged_through: null,
    };
    answering({ statementId: 0, completeness });
    const answer = await door.send('GET', `/query?completeness=1&${q('x')}`);
    expect(asked[0]?.options.completeness).toBe(true);
    expect(JSON.parse(answer.body)).toEqual({ results: [{ statement_id: 0, completeness }] });
  });

  test('results of one statement that come in parts are one again without chunked', async () => {
    const part = (values: ResultSeries['values'], partial: boolean): ResultSeries => ({
      ...DATABASES,
      values,
      partial,
    });
    answering(
      { statementId: 0, partial: true, series: [part([['a']], true)] },
      { statementId: 0, partial: true, series: [part([['b']], false)] },
      { statementId: 0, series: [{ ...DATABASES, name: 'n', values: [['c']] }] },
    );
    expect((await door.send('GET', `/query?${q('x')}`)).body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["a"],["b"]]},{"name":"n","columns":["name"],"values":[["c"]]}]}]}\n',
    );
  });

  test('beyond the row limit the series says partial and the rest is left out', async () => {
    rowsMax = 3;
    const series = [DATABASES, { ...DATABASES, name: 'n' }, { ...DATABASES, name: 'o' }];
    answering({ statementId: 0, series }, { statementId: 1, series });
    expect((await door.send('GET', `/query?${q('x')}`)).body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["t"],["\\u003cx\\u003e"]]},{"name":"n","columns":["name"],"values":[["t"]],"partial":true}]}]}\n',
    );
  });
});

describe('chunked', () => {
  test('one document a line, partial on series and result until the last', async () => {
    const part = (values: ResultSeries['values'], partial: boolean): ResultSeries => ({ ...TIMES, values, partial });
    answering(
      { statementId: 0, partial: true, series: [part([[1n, 1]], true)] },
      { statementId: 0, series: [part([[2n, 2]], false)] },
      { statementId: 1 },
    );
    const answer = await door.send('POST', `/query?chunked=true&chunk_size=1&epoch=ns&${q('x')}`);
    expect(asked[0]?.options.chunkSize).toBe(1);
    expect(answer.body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[[1,1]],"partial":true}],"partial":true}]}\n' +
        '{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[[2,2]]}]}]}\n' +
        '{"results":[{"statement_id":1}]}\n',
    );
  });

  test.each(['x', '-1', '0', ''])('chunk_size "%s" means the default', async (size) => {
    await door.send('GET', `/query?chunked=true&chunk_size=${size}&${q('x')}`);
    expect(asked[0]?.options.chunkSize).toBe(10_000);
  });

  test('an error behind the first chunk is one more document', async () => {
    execute = async function* () {
      yield { statementId: 0, partial: true };
      throw new QueryUnavailableError('shard lost', 503);
    };
    const answer = await door.send('GET', `/query?chunked=true&${q('x')}`);
    expect(answer.body.split('\n')[1]).toBe('{"error":"shard lost"}');
  });

  test('a client that leaves ends the query', async () => {
    const left = new Promise<void>((resolve) => {
      execute = async function* (_text, options) {
        options.ending?.onEnd(() => resolve());
        for (let id = 0; ; id++) yield { statementId: id, series: [{ ...TIMES, values: Array(1_000).fill([1n, 1]) }] };
      };
    });
    const gone = new AbortController();
    const response = await fetch(`http://127.0.0.1:${door.port}/query?chunked=true&${q('x')}`, { signal: gone.signal });
    await response.body?.getReader().read();
    gone.abort();
    await left;
  });
});

describe('CSV', () => {
  test.each(['application/csv', 'text/csv', 'text/csv; q=0.9, */*'])('Accept: %s', async (accept) => {
    answering(
      { statementId: 0, series: [TIMES] },
      { statementId: 1 },
      { statementId: 2, series: [ALL, { ...ALL, tags: { h: 'b c', e: '' } }] },
      { statementId: 3, series: [{ columns: ['key'], timeColumn: -1, values: [['m,h=a']] }] },
      { statementId: 4, error: 'x' },
    );
    const answer = await door.send('GET', `/query?${q('x')}`, { headers: { Accept: accept } });
    expect(answer.headers['content-type']).toBe('text/csv');
    expect(answer.body).toBe(`name,tags,time,f
m,,-9223372036854775806,0.000001
m,,-62135596800,-0
m,,-1500000000,1
m,,-1,1000000000000000000000
m,,1,1
m,,1500,3
m,,1600000000120000000,123456789.5
m,,1600000000123456789,0.0000001
m,,9223372036854775806,100000000000000000000

name,tags,time,b,f,i,s
m,h=a,-1,,1000000000000000000000,-9223372036854775808,
m,h=a,1,true,1,3,"<a&b> ""q"", x
y"
m,h=b\\ c,-1,,1000000000000000000000,-9223372036854775808,
m,h=b\\ c,1,true,1,3,"<a&b> ""q"", x
y"

name,tags,key
,,"m,h=a"
`);
  });

  test('the header comes once per statement, in chunks too', async () => {
    answering({ statementId: 0, partial: true, series: [DATABASES] }, { statementId: 0, series: [DATABASES] });
    const answer = await door.send('GET', `/query?chunked=true&${q('x')}`, { headers: { Accept: 'text/csv' } });
    expect(answer.body).toBe('name,tags,name\ndatabases,,t\ndatabases,,<x>\ndatabases,,t\ndatabases,,<x>\n');
  });

  test('errors', async () => {
    const answer = await door.send('GET', '/query', { headers: { Accept: 'application/csv' } });
    expect([answer.status, answer.body]).toEqual([400, 'error\n"missing required parameter ""q"""\n']);
  });

  test.each(['application/x-msgpack', 'foo/bar', '*/*'])('Accept: %s gets JSON', async (accept) => {
    const answer = await door.send('GET', `/query?${q('x')}`, { headers: { Accept: accept } });
    expect(answer.headers['content-type']).toBe('application/json');
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
    execute = async function* () {
      throw error;
    };
    for (const chunked of ['false', 'true']) {
      const answer = await door.send('GET', `/query?chunked=${chunked}&${q('x')}`);
      expect([answer.status, answer.body]).toEqual([status, `${JSON.stringify({ error: message })}\n`]);
      expect(answer.headers['retry-after']).toBe(status === 503 ? '1' : undefined);
    }
  });
});

describe('/ping', () => {
  test('204, with the version in the headers', async () => {
    for (const [method, path] of [
      ['GET', '/ping'],
      ['HEAD', '/ping'],
      ['GET', '/ping?wait_for_leader=1s'],
      ['GET', '/ping?verbose=false'],
    ] as const) {
      const answer = await door.send(method, path);
      expect([answer.status, answer.body]).toEqual([204, '']);
      expect(answer.headers['x-influxdb-version']).toBe('1.8.10-starling-0.1.0');
    }
  });

  test('verbose: 200 and the version; a given request id comes back', async () => {
    const answer = await door.send('GET', '/ping?verbose=true', {
      headers: { 'X-Request-Id': 'abc', Origin: 'http://g' },
    });
    expect([answer.status, answer.body]).toEqual([200, '{"version":"1.8.10-starling-0.1.0"}\n']);
    expect(answer.headers['request-id']).toBe('abc');
    expect(answer.headers['access-control-allow-origin']).toBe('http://g');
    expect((await door.send('POST', '/ping')).status).toBe(405);
  });
});

test('a large answer arrives whole', async () => {
  const values = Array.from({ length: 100_000 }, (_, row) => [
    1_600_000_000_000_000_000n + BigInt(row) * 1_000_000n,
    row / 8,
  ]);
  answering({ statementId: 0, series: [{ ...TIMES, values }] });
  const answer = await door.send('GET', `/query?${q('x')}`);
  const parsed = JSON.parse(answer.body) as { results: [{ series: [{ values: [string, number][] }] }] };
  const rows = parsed.results[0].series[0].values;
  expect(rows).toHaveLength(100_000);
  expect(rows[99_999]).toEqual(['2020-09-13T12:28:19.999Z', 99_999 / 8]);
});

test('a client that reads nothing for minutes is cut off, and its query ends', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    let goOn: () => void = () => {};
    let written = 0;
    let isBroken = false;
    const sink: AnswerSink = {
      hasBegun: true,
      write: () => {
        written++;
        return false;
      },
      onDrained: (listener) => {
        goOn = listener;
      },
      end: () => {},
      refuse: () => {},
      breakOff: () => {
        isBroken = true;
      },
    };
    const leaving = new Ending();
    const service: QueryService = {
      async *execute() {
        for (let statementId = 0; ; statementId++) yield { statementId };
      },
    };
    const fields = new Map([
      ['q', 'x'],
      ['chunked', 'true'],
    ]);
    const limits = { bodyBytesMax: 1, rowsMax: 0, nowNs: () => 0n };
    const answered = answerQuery({ method: 'GET', fields, csv: false }, sink, leaving, service, limits);
    for (let n = 1; n <= 3; n++) {
      while (written < n) await new Promise(setImmediate);
      vi.advanceTimersByTime(299_000);
      goOn();
    }
    while (written < 4) await new Promise(setImmediate);
    expect([isBroken, leaving.reason]).toEqual([false, null]);
    vi.advanceTimersByTime(301_000);
    await answered;
    expect([isBroken, written, leaving.reason?.message]).toEqual([true, 4, 'the client does not read its answer']);
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
