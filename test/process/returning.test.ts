/** A node that was away while rows were deleted: from its first answer on it shows none of them. */
import { afterEach, expect, test } from 'vitest';
import { Cluster, eventually } from './harness.ts';

interface ShardPage {
  readonly equal: boolean;
  readonly converged: { throughMs: number } | null;
}

let cluster: Cluster;
afterEach(() => cluster.close());

test.each([
  ['in a policy that had deletes before', true],
  ['by the first delete of their policy', false],
])('rows that were deleted %s', async (_, hadDeletes) => {
  cluster = await Cluster.make();
  const [n1, n2, n3] = await cluster.startThree({ 'pass-interval': '1s' });
  await cluster.createDatabase('d');
  const count = (node: typeof n1) => node.value('SELECT count(v) FROM m', 'd');
  const lines = Array.from({ length: 5 }, (_each, i) => `m,host=h${i} v=1 ${1_700_000_000_000 + i}000000`).join('\n');
  expect((await n2.write('d', lines, { consistency: 'all' })).status).toBe(204);
  if (hadDeletes) await n1.query("DELETE FROM m WHERE host = 'nobody'", 'd');
  await eventually('all count them', 20_000, async () => (await count(n3)) === 5);
  await n3.stop();
  await n1.query('DELETE FROM m WHERE host =~ /h.*/', 'd');
  const startedMs = Date.now();
  await n3.start();
  const seen: unknown[] = [];
  await eventually('all are proven equal again', 30_000, async () => {
    // 503 until it has heard the others.
    const answer = await n3.get(`/query?db=d&q=${encodeURIComponent('SELECT count(v) FROM m')}`);
    if (answer.status === 200) seen.push(JSON.parse(answer.text).results[0].series?.[0].values[0][1] ?? null);
    const { shards } = await n1.json<{ shards: { id: string }[] }>('/api/shards');
    const pages = await Promise.all(shards.map(({ id }) => n1.json<ShardPage>(`/api/shards/${id}`)));
    return seen.length > 0 && pages.every((page) => page.equal && (page.converged?.throughMs ?? 0) >= startedMs);
  });
  expect(seen.filter((value) => value !== null)).toEqual([]);
});
