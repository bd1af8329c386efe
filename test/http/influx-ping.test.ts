/** /ping: whether a node is there, and its version, as InfluxDB says them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ScriptedQuery } from './scripted-query.ts';

let scripted: ScriptedQuery;

beforeAll(async () => {
  scripted = await ScriptedQuery.open();
});
afterAll(() => scripted.close());

test('204, with the version in the headers', async () => {
  for (const [method, path] of [
    ['GET', '/ping'],
    ['HEAD', '/ping'],
    ['GET', '/ping?wait_for_leader=1s'],
    ['GET', '/ping?verbose=false'],
  ] as const) {
    const answer = await scripted.send(method, path);
    expect([answer.status, answer.body]).toEqual([204, '']);
    expect(answer.headers['x-influxdb-version']).toBe('1.8.10-starling-0.1.0');
  }
});

test('verbose: 200 and the version; a given request id comes back', async () => {
  const answer = await scripted.send('GET', '/ping?verbose=true', {
    headers: { 'X-Request-Id': 'abc', Origin: 'http://g' },
  });
  expect([answer.status, answer.body]).toEqual([200, '{"version":"1.8.10-starling-0.1.0"}\n']);
  expect(answer.headers['request-id']).toBe('abc');
  expect(answer.headers['access-control-allow-origin']).toBe('http://g');
  expect((await scripted.send('POST', '/ping')).status).toBe(405);
});
