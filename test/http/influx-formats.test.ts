/**
 * What answers of /query look like, against a scripted service. Golden texts are InfluxDB 1.x's own answers to the same data.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ResultSeries, TableRows } from '../../server/query/result.ts';
import { ALL, DATABASES, q, ScriptedQuery, TIMES } from './scripted-query.ts';

let scripted: ScriptedQuery;

beforeAll(async () => {
  scripted = await ScriptedQuery.open();
});
afterAll(() => scripted.close());
beforeEach(() => scripted.reset());

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
    scripted.answering({ statementId: 0, series: [TIMES] });
    const answer = await scripted.send('GET', `/query?epoch=${epoch}&${q('x')}`);
    expect(answer.body).toBe(
      `{"results":[{"statement_id":0,"series":[{"name":"m","columns":["time","f"],"values":[${values}]}]}]}\n`,
    );
    expect(answer.headers['content-type']).toBe('application/json');
  });

  test.each([
    ['', '"2020-03-29T01:59:59+01:00",1],["2020-03-29T03:00:00+02:00",2],["2020-10-25T02:30:00.5+01:00",3'],
    ['s', '1585443599,1],[1585443600,2],[1603589400,3'],
  ])('dates are those of tz(), with epoch "%s" times are as ever', async (epoch, values) => {
    const times = BigInt64Array.of(
      1585443599n * 10n ** 9n,
      1585443600n * 10n ** 9n,
      1603589400n * 10n ** 9n + 500_000_000n,
    );
    const rows = new TableRows({ times, columns: [Float64Array.of(1, 2, 3)] }, 0, 3);
    const series = { name: 'm', columns: ['time', 'f'], timeColumn: 0, values: rows };
    // What comes behind it in UTC is not in that zone.
    const utc = epoch === '' ? '"2020-03-29T00:59:59Z"' : '1585443599';
    scripted.answering({
      statementId: 0,
      series: [
        { ...series, timeZone: 'Europe/Berlin' },
        { ...series, values: rows.slice(0, 1) },
      ],
    });
    const answer = await scripted.send('GET', `/query?epoch=${epoch}&${q('x')}`);
    const head = '{"name":"m","columns":["time","f"],"values":[[';
    expect(answer.body).toBe(`{"results":[{"statement_id":0,"series":[${head}${values}]]},${head}${utc},1]]}]}]}\n`);
  });

  test('escapes, nulls, tags, several statements, errors, messages', async () => {
    scripted.answering(
      { statementId: 0, series: [ALL] },
      { statementId: 1 },
      { statementId: 2, messages: [{ level: 'warning', text: "deprecated use of 'x'" }] },
      { statementId: 3, error: 'database not found: "nope"' },
    );
    expect((await scripted.send('GET', `/query?${q('x')}`)).body).toBe(
      `{"results":[{"statement_id":0,"series":[{"name":"m","tags":{"h":"a"},"columns":["time","b","f","i","s"],"values":[["1969-12-31T23:59:59.999999999Z",null,1e+21,-9223372036854775808,null],["1970-01-01T00:00:00.000000001Z",true,1,3,"\\u003ca\\u0026b\\u003e \\"q\\", x\\ny"]]}]},{"statement_id":1},{"statement_id":2,"messages":[{"level":"warning","text":"deprecated use of 'x'"}]},{"statement_id":3,"error":"database not found: \\"nope\\""}]}\n`,
    );
  });

  test('a text without statements', async () => {
    scripted.answering();
    expect((await scripted.send('GET', `/query?${q(';;')}`)).body).toBe('{}\n');
    expect((await scripted.send('GET', `/query?chunked=true&${q(';;')}`)).body).toBe('{}\n');
  });

  test('pretty: four blanks', async () => {
    scripted.answering(
      { statementId: 0, series: [{ ...ALL, values: [[-1n, null, 1.5, 3n, 'a: [b], {"c"}']] }] },
      { statementId: 1 },
    );
    const answer = await scripted.send('GET', `/query?pretty=true&${q('x')}`);
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
    scripted.answering({ statementId: 0, completeness });
    const answer = await scripted.send('GET', `/query?completeness=1&${q('x')}`);
    expect(scripted.asked[0]?.options.completeness).toBe(true);
    expect(JSON.parse(answer.body)).toEqual({ results: [{ statement_id: 0, completeness }] });
  });

  test('results of one statement that come in parts are one again without chunked', async () => {
    const part = (values: ResultSeries['values'], partial: boolean): ResultSeries => ({
      ...DATABASES,
      values,
      partial,
    });
    scripted.answering(
      { statementId: 0, partial: true, series: [part([['a']], true)] },
      { statementId: 0, partial: true, series: [part([['b']], false)] },
      { statementId: 0, series: [{ ...DATABASES, name: 'n', values: [['c']] }] },
    );
    expect((await scripted.send('GET', `/query?${q('x')}`)).body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["a"],["b"]]},{"name":"n","columns":["name"],"values":[["c"]]}]}]}\n',
    );
  });

  test('beyond the row limit the series says partial and the rest is left out', async () => {
    scripted.rowsMax = 3;
    const series = [DATABASES, { ...DATABASES, name: 'n' }, { ...DATABASES, name: 'o' }];
    scripted.answering({ statementId: 0, series }, { statementId: 1, series });
    expect((await scripted.send('GET', `/query?${q('x')}`)).body).toBe(
      '{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["t"],["\\u003cx\\u003e"]]},{"name":"n","columns":["name"],"values":[["t"]],"partial":true}]}]}\n',
    );
  });
});

describe('CSV', () => {
  test.each([
    'application/csv',
    'text/csv',
    'text/csv; q=0.9, */*',
    'application/json; q=0.5, text/csv',
    'text/html, application/csv;q=0.8, application/json;q=0.8',
  ])('Accept: %s', async (accept) => {
    scripted.answering(
      { statementId: 0, series: [TIMES] },
      { statementId: 1 },
      { statementId: 2, series: [ALL, { ...ALL, tags: { h: 'b c', e: '' } }] },
      { statementId: 3, series: [{ columns: ['key'], timeColumn: -1, values: [['m,h=a']] }] },
      { statementId: 4, error: 'x' },
    );
    const answer = await scripted.send('GET', `/query?${q('x')}`, { headers: { Accept: accept } });
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
    scripted.answering({ statementId: 0, partial: true, series: [DATABASES] }, { statementId: 0, series: [DATABASES] });
    const answer = await scripted.send('GET', `/query?chunked=true&${q('x')}`, { headers: { Accept: 'text/csv' } });
    expect(answer.body).toBe('name,tags,name\ndatabases,,t\ndatabases,,<x>\ndatabases,,t\ndatabases,,<x>\n');
  });

  test('errors', async () => {
    const answer = await scripted.send('GET', '/query', { headers: { Accept: 'application/csv' } });
    expect([answer.status, answer.body]).toEqual([400, 'error\n"missing required parameter ""q"""\n']);
  });

  test.each([
    'application/x-msgpack',
    'foo/bar',
    '*/*',
    'application/csv;q=0.1, application/json',
    'text/csv; q=0',
    'text/csv; q=x',
    'application/x-msgpack, text/csv',
  ])('Accept: %s gets JSON', async (accept) => {
    const answer = await scripted.send('GET', `/query?${q('x')}`, { headers: { Accept: accept } });
    expect(answer.headers['content-type']).toBe('application/json');
  });
});

test('a large answer arrives whole', async () => {
  const values = Array.from({ length: 100_000 }, (_, row) => [
    1_600_000_000_000_000_000n + BigInt(row) * 1_000_000n,
    row / 8,
  ]);
  scripted.answering({ statementId: 0, series: [{ ...TIMES, values }] });
  const answer = await scripted.send('GET', `/query?${q('x')}`);
  const parsed = JSON.parse(answer.body) as { results: [{ series: [{ values: [string, number][] }] }] };
  const rows = parsed.results[0].series[0].values;
  expect(rows).toHaveLength(100_000);
  expect(rows[99_999]).toEqual(['2020-09-13T12:28:19.999Z', 99_999 / 8]);
});
