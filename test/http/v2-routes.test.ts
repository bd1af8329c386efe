/**
 * Buckets, deletes and Flux of 2.x's API, before metadata in memory and a recorded backend.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import express from 'express';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addErrorHandling } from '../../server/http/server.ts';
import { addV2Routes } from '../../server/http/v2-routes.ts';
import type { QueryBackend } from '../../server/query/backend.ts';
import { MemoryBackend } from '../query/memory-backend.ts';

const DAY_NS = 86_400_000_000_000n;
let server: Server;
let url = '';
let problem: string | null = null;
let node: QueryBackend;
const deleted: unknown[] = [];

beforeAll(async () => {
  const app = express();
  const backend: Pick<QueryBackend, 'snapshot' | 'deleteRows' | 'metadata'> = {
    snapshot: () => node.snapshot(),
    get metadata() {
      return node.metadata;
    },
    deleteRows: async (database, policy, predicate, minNs, maxNs) => {
      deleted.push([`${database.name}/${policy.name}`, predicate, minNs, maxNs]);
    },
  };
  addV2Routes(app, { version: '0.1.0', backend, notReady: () => problem });
  addErrorHandling(app, { error: () => {} });
  server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));
beforeEach(() => {
  node = new MemoryBackend().backend;
  node.metadata.createDatabase('t', null);
  node.metadata.createRetentionPolicy('t', 'two', { durationNs: 2n * DAY_NS });
  deleted.length = 0;
  problem = null;
});

async function ask(method: string, path: string, body?: unknown) {
  const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
  const response = await fetch(`${url}${path}`, { method, headers: { Authorization: 'Token x' }, ...sent });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
}

async function refused(method: string, path: string, body?: unknown) {
  const answer = await ask(method, path, body);
  expect(answer.headers.get('x-platform-error-code')).toBe(answer.body.code);
  return [answer.status, answer.body.code, answer.body.message];
}

const names = async (query = '') =>
  (await ask('GET', `/api/v2/buckets${query}`)).body.buckets.map(({ name }: { name: string }) => name);

describe('buckets', () => {
  test('are retention policies, listed with what clients read of them', async () => {
    const { status, headers, body } = await ask('GET', '/api/v2/buckets?org=o');
    expect([status, headers.get('x-influxdb-version')]).toEqual([200, '1.8.10-starling-0.1.0']);
    expect(body.buckets).toMatchObject([
      { id: 't/autogen', name: 't/autogen', type: 'user', retentionRules: [{ type: 'expire', everySeconds: 0 }] },
      { id: 't/two', name: 't/two', retentionRules: [{ everySeconds: 172_800, shardGroupDurationSeconds: 86_400 }] },
    ]);
  });

  test('by name, by id, in pages', async () => {
    for (let i = 0; i < 25; i++) node.metadata.createDatabase(`u${String(i).padStart(2, '0')}`, null);
    expect(await names('?name=t')).toEqual(['t/autogen']);
    expect(await names('?name=t/two')).toEqual(['t/two']);
    expect(await names('?id=t%2Ftwo')).toEqual(['t/two']);
    expect(await names('?name=nope')).toEqual([]);
    expect(await names()).toHaveLength(20);
    expect(await names('?limit=-1')).toHaveLength(27);
    expect(await names('?limit=2&offset=1')).toEqual(['t/two', 'u00/autogen']);
    expect(await names('?limit=1&after=t/two')).toEqual(['u00/autogen']);
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?offset=1.5'])
      expect((await refused('GET', `/api/v2/buckets${query}`)).slice(0, 2)).toEqual([400, 'invalid']);
    expect((await ask('GET', '/api/v2/buckets/t/two')).body.name).toBe('t/two');
    expect((await ask('GET', '/api/v2/buckets/t%2Ftwo')).body.name).toBe('t/two');
    expect((await ask('GET', '/api/v2/buckets/t')).body.name).toBe('t/autogen');
    expect(await refused('GET', '/api/v2/buckets/t%2Fnope')).toEqual([404, 'not found', 'bucket "t/nope" not found']);
  });

  test('are made: a database, a database with its first policy, a policy', async () => {
    const rules = [{ type: 'expire', everySeconds: 3_600 }];
    const made = await ask('POST', '/api/v2/buckets', { orgID: 'o', name: 'a', retentionRules: rules });
    expect([made.status, made.body.name]).toEqual([201, 'a/autogen']);
    expect(made.body.retentionRules[0].everySeconds).toBe(3_600);
    expect((await ask('POST', '/api/v2/buckets', { name: 'b/first', retentionRules: [] })).body.name).toBe('b/first');
    expect((await ask('POST', '/api/v2/buckets', { name: 'b/second' })).status).toBe(201);
    const [, b] = node.snapshot().databases;
    expect([b!.defaultRetentionPolicy, b!.retentionPolicies.map(({ name }) => name)]).toEqual([
      'first',
      ['first', 'second'],
    ]);
  });

  test('are not made twice, without a name, or with a rule that cannot be', async () => {
    const conflict = [422, 'conflict', 'bucket with name t already exists'];
    expect(await refused('POST', '/api/v2/buckets', { name: 't' })).toEqual(conflict);
    expect((await refused('POST', '/api/v2/buckets', { name: 't/two' })).slice(0, 2)).toEqual([422, 'conflict']);
    expect((await refused('POST', '/api/v2/buckets', { name: '/x' })).slice(0, 2)).toEqual([400, 'invalid']);
    expect((await refused('POST', '/api/v2/buckets', {})).slice(0, 2)).toEqual([400, 'invalid']);
    expect((await refused('POST', '/api/v2/buckets', '{"name":')).slice(0, 2)).toEqual([400, 'invalid']);
    expect((await refused('POST', '/api/v2/buckets', '')).slice(0, 2)).toEqual([400, 'invalid']);
    const short = { name: 'c', retentionRules: [{ everySeconds: 1 }] };
    expect((await refused('POST', '/api/v2/buckets', short)).slice(0, 2)).toEqual([400, 'invalid']);
    const negative = { name: 'c', retentionRules: [{ everySeconds: -1 }] };
    expect((await refused('POST', '/api/v2/buckets', negative)).slice(0, 2)).toEqual([400, 'invalid']);
    expect(node.snapshot().databases.map(({ name }) => name)).toEqual(['t']);
  });

  test('their retention changes, their name does not', async () => {
    const rules = { retentionRules: [{ everySeconds: 7_200 }] };
    const changed = await ask('PATCH', '/api/v2/buckets/t/two', rules);
    expect([changed.status, changed.body.retentionRules[0].everySeconds]).toEqual([200, 7_200]);
    expect((await refused('PATCH', '/api/v2/buckets/t/two', { name: 'other' }))[0]).toBe(422);
  });

  test('are deleted: a policy, the last one with its database, a database', async () => {
    expect((await ask('DELETE', '/api/v2/buckets/t%2Ftwo')).status).toBe(204);
    expect(node.snapshot().databases[0]!.retentionPolicies.map(({ name }) => name)).toEqual(['autogen']);
    expect((await ask('DELETE', '/api/v2/buckets/t/autogen')).status).toBe(204);
    expect(node.snapshot().databases).toEqual([]);
    expect((await refused('DELETE', '/api/v2/buckets/t'))[0]).toBe(404);
    node.metadata.createDatabase('u', null);
    node.metadata.createRetentionPolicy('u', 'two', {});
    expect((await ask('DELETE', '/api/v2/buckets/u')).status).toBe(204);
    expect(node.snapshot().databases).toEqual([]);
  });
});

describe('deletes', () => {
  const range = { start: '1970-01-01T00:00:00Z', stop: '1970-01-01T00:00:01.5Z' };

  test('pick series of one policy, in a range with both ends', async () => {
    const predicate = '_measurement="cpu" AND host="a"';
    expect((await ask('POST', '/api/v2/delete?org=o&bucket=t%2Ftwo', { ...range, predicate })).status).toBe(204);
    const condition = { op: 'and', terms: [{ op: '=', key: 'host', value: 'a' }] };
    expect(deleted).toEqual([['t/two', { measurement: { name: 'cpu' }, condition }, 0n, 1_500_000_000n]]);
    expect((await ask('POST', '/api/v2/delete?bucket=t', range)).status).toBe(204);
    expect(deleted[1]).toEqual(['t/autogen', { measurement: null, condition: null }, 0n, 1_500_000_000n]);
  });

  test('a packed body', async () => {
    const response = await fetch(`${url}/api/v2/delete?bucket=t`, {
      method: 'POST',
      headers: { 'Content-Encoding': 'gzip', 'Content-Type': 'application/json' },
      body: gzipSync(JSON.stringify(range)),
    });
    expect([response.status, deleted.length]).toEqual([204, 1]);
  });

  test('times beyond what can be stored mean all there is', async () => {
    const ever = { start: '0001-01-01T00:00:00Z', stop: '9999-12-31T23:59:59Z' };
    expect((await ask('POST', '/api/v2/delete?bucket=t', ever)).status).toBe(204);
    expect(deleted[0]).toEqual([
      't/autogen',
      { measurement: null, condition: null },
      -9223372036854775806n,
      9223372036854775806n,
    ]);
  });

  test.each<[string, unknown, number, string]>([
    ['bucket=nope', range, 404, 'bucket "nope" not found'],
    ['bucket=t/nope', range, 404, 'bucket "t/nope" not found'],
    ['org=o', range, 400, 'bucket is required'],
    ['bucket=t', { start: range.start }, 400, 'expected {"start"'],
    ['bucket=t', 'nonsense', 400, 'not JSON'],
    ['bucket=t', { start: 'soon', stop: range.stop }, 400, 'start: "soon" is not a time'],
    ['bucket=t', { start: range.stop, stop: range.start }, 400, 'start must not be later than stop'],
    ['bucket=t', { ...range, predicate: 'a="1" OR b="2"' }, 400, 'OR is not supported'],
  ])('%s %j: %s', async (query, body, status, message) => {
    const [got, , text] = await refused('POST', `/api/v2/delete?${query}`, body);
    expect(got).toBe(status);
    expect(text).toContain(message);
    expect(deleted).toEqual([]);
  });
});

test('Flux is refused clearly', async () => {
  for (const path of ['/api/v2/query?org=o', '/api/v2/query/analyze']) {
    const [status, code, message] = await refused('POST', path, { query: 'from(bucket: "t")' });
    expect([status, code]).toEqual([501, 'not implemented']);
    expect(message).toMatch(/^Flux is not implemented/);
  }
});

test('a node that is not ready says so, with a time to try again', async () => {
  problem = 'starting: this node is still recovering its shards';
  const answer = await ask('GET', '/api/v2/buckets');
  expect([answer.status, answer.body.code, answer.headers.get('retry-after')]).toEqual([503, 'unavailable', '1']);
});

test('what there is not', async () => {
  expect((await refused('GET', '/api/v2/orgs')).slice(0, 2)).toEqual([404, 'not found']);
  expect((await fetch(`${url}/api/v2/delete`, { method: 'OPTIONS', headers: { Origin: 'http://page' } })).status).toBe(
    204,
  );
});
