/** Writes that reach into many shards at once of which there are no files yet. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

let cluster: Cluster;
let node: TestNode;
beforeAll(async () => {
  cluster = await Cluster.make();
  // Making them takes longer than this, as on a busy machine longer than the default.
  node = cluster.node('n1', { workers: '1', 'mail-timeout': '50ms' });
  await node.start();
  await node.ready();
}, 60_000);
afterAll(() => cluster.close());

test('the first write over 240 new shards is answered when they are made', async () => {
  await node.query('CREATE DATABASE t WITH SHARD DURATION 1h');
  const lines = Array.from({ length: 60 }, (_, hour) =>
    Array.from({ length: 20 }, (_, host) => `m,host=h${host} v=1 ${hour * 3_600}`).join('\n'),
  );
  expect(await node.write('t', lines.join('\n'), { precision: 's' })).toMatchObject({ status: 204 });
  const { shards } = await node.json<{ shards: unknown[] }>('/api/shards');
  expect(shards).toHaveLength(240);
  expect(await node.value('SELECT count(v) FROM m', 't')).toBe(60 * 20);
}, 60_000);
