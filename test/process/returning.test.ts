/** Nodes that come back, with their disk or without: what they show meanwhile. */
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
  const areProven = async (sinceMs: number): Promise<boolean> => {
    const { shards } = await n1.json<{ shards: { id: string }[] }>('/api/shards');
    const pages = await Promise.all(shards.map(({ id }) => n1.json<ShardPage>(`/api/shards/${id}`)));
    return shards.length > 0 && pages.every((page) => page.equal && (page.converged?.throughMs ?? 0) >= sinceMs);
  };
  // The others are no replicas of yesterday then: as long as they are as young as the one that comes back, its own rows are as good.
  const writtenMs = Date.now();
  await eventually('all are proven equal', 30_000, () => areProven(writtenMs));
  await n3.stop();
  await n1.query('DELETE FROM m WHERE host =~ /h.*/', 'd');
  const startedMs = Date.now();
  await n3.start();
  const seen: unknown[] = [];
  await eventually('all are proven equal again', 30_000, async () => {
    // 503 until it has heard the others.
    const answer = await n3.get(`/query?db=d&q=${encodeURIComponent('SELECT count(v) FROM m')}`);
    if (answer.status === 200) seen.push(JSON.parse(answer.text).results[0].series?.[0].values[0][1] ?? null);
    return seen.length > 0 && (await areProven(startedMs));
  });
  expect(seen.filter((value) => value !== null)).toEqual([]);
});

test('a replica that was made while all others are away does not pass for the shard', async () => {
  cluster = await Cluster.make();
  const [n1, n2, n3] = await cluster.startThree({ 'pass-interval': '1s' });
  await cluster.createDatabase('d');
  const lines = (second: number) =>
    ['a', 'b', 'c', 'd', 'e'].map((host) => `m,host=${host} v=1 170000000${second}000000000`).join('\n');
  for (const second of [1, 2]) await n1.write('d', lines(second), { consistency: 'all' });
  // Proven once, or they are as young as what comes after them.
  const isProven = ({ converged }: ShardPage) => converged !== null;
  await eventually('all is proven', 30_000, async () => {
    const { shards } = await n2.json<{ shards: { id: string }[] }>('/api/shards');
    const pages = await Promise.all(shards.map(({ id }) => n2.json<ShardPage>(`/api/shards/${id}`)));
    return shards.length > 0 && pages.every(isProven);
  });
  // Whoever comes anew gets nothing of it.
  expect((await n1.request('POST', '/api/repairs/pause')).status).toBe(202);
  await n3.kill();
  await n3.wipe();
  await cluster.allLive(2);
  await n3.start({ join: n1.url });
  await n3.ready();
  await eventually('it knows of the others’ shards', 30_000, async () => {
    const [result] = await n3.query('SELECT count(v) FROM m', 'd');
    return result?.series?.[0]?.values?.[0]?.[1] === 10;
  });
  await Promise.all([n1.kill(), n2.kill()]);
  const ask = async () => (await n3.query('SELECT count(v) FROM m', 'd', { completeness: '1' }))[0]!;
  await eventually('nobody has the shards', 30_000, async () => (await ask()).completeness?.complete === false);
  // To each of the shards.
  expect((await n3.write('d', lines(3))).status).toBe(204);
  const { completeness, series } = await ask();
  expect(series?.[0]?.values?.[0]?.[1]).toBe(5);
  expect(completeness).toMatchObject({ complete: false, unheard_members: ['n1', 'n2'] });
}, 120_000);
