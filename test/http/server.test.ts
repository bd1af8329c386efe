/** What the front itself answers, whatever stands behind it: a node that is not ready, paths that are not hot. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addErrorHandling, type HttpFront, type HttpPorts, startHttp } from '../../server/http/server.ts';
import { LIMITS, QUERY_LIMITS } from './side.ts';

const PROBLEM = 'joining: this node is not a member of a cluster yet';
/** Telegraf throws a batch away when it reads one of these, whatever the status. */
const PERMANENT =
  /database not found|retention policy not found|hinted handoff queue not empty|partial write|points beyond retention policy|unable to parse/;

let front: HttpFront;
const observed: string[] = [];

beforeEach(async () => {
  observed.length = 0;
  const ports: Partial<HttpPorts> = {
    version: '1.2.3',
    writeLimits: LIMITS,
    queryLimits: QUERY_LIMITS,
    notReady: () => PROBLEM,
    observe: (route, _seconds, status) => observed.push(`${route} ${status}`),
    log: { error: () => {} },
  };
  front = await startHttp({ host: '127.0.0.1', port: 0 }, ports as HttpPorts);
  addErrorHandling(front.app, { error: () => {} });
});
afterEach(() => front.close());

async function ask(method: string, path: string, body?: string) {
  const response = await fetch(`http://127.0.0.1:${front.port}${path}`, { method, body: body ?? null });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

test('a node that is not ready puts writes and queries off, in the words of 1.x and of 2.x', async () => {
  const [write, query, v2] = [
    await ask('POST', '/write?db=t', 'm v=1'),
    await ask('GET', '/query?q=x'),
    await ask('POST', '/api/v2/write?bucket=t', 'm v=1'),
  ];
  for (const { status, headers, text } of [write, query, v2]) {
    expect([status, headers.get('retry-after')]).toEqual([503, '1']);
    expect(headers.get('x-influxdb-version')).toBe('1.8.10-starling-1.2.3');
    expect(text).not.toMatch(PERMANENT);
  }
  for (const { headers, text } of [write, query]) {
    expect(JSON.parse(text)).toEqual({ error: PROBLEM });
    expect(headers.get('x-influxdb-error')).toBe(PROBLEM);
  }
  expect(JSON.parse(v2.text)).toEqual({ code: 'unavailable', message: PROBLEM });
  expect(v2.headers.get('x-platform-error-code')).toBe('unavailable');
  expect(observed).toEqual(['write 503', 'query 503', 'write 503']);
});

test('/ping and /status answer all the same', async () => {
  for (const path of ['/ping', '/status'])
    for (const method of ['GET', 'HEAD']) expect((await ask(method, path)).status).toBe(204);
  const verbose = await ask('GET', '/ping?verbose=true');
  expect([verbose.status, JSON.parse(verbose.text)]).toEqual([200, { version: '1.8.10-starling-1.2.3' }]);
  expect((await ask('POST', '/status')).status).toBe(405);
});

test('what there is not', async () => {
  const { status, headers, text } = await ask('GET', '/api/v2/nothing');
  expect([status, JSON.parse(text).code, headers.get('x-platform-error-code')]).toEqual([
    404,
    'not found',
    'not found',
  ]);
});
