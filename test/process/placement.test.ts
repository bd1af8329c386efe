/** Shards with one owner among three nodes: every node answers by asking the owners, and says so when one is gone. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

const SERIES = 200;

describe('replication 1 on three nodes', () => {
  let cluster: Cluster;
  let nodes: [TestNode, TestNode, TestNode];
  const owned = new Map<string, number>();

  beforeAll(async () => {
    cluster = await Cluster.make();
    nodes = await cluster.startThree({ 'pass-interval': '1s', workers: '2' });
    await nodes[0].query('CREATE DATABASE one WITH REPLICATION 1');
    for (const node of nodes) {
      await eventually('the database is known everywhere', 10_000, async () =>
        (await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values?.some(([name]) => name === 'one'),
      );
    }
    const nowMs = Date.now();
    const lines = Array.from({ length: SERIES }, (_, i) => `m,host=h${i} v=${i},n=${i}i ${nowMs - i}000000`);
    expect((await nodes[1].write('one', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
  });
  afterAll(() => cluster.close());

  test('the shards are spread, each on one node', async () => {
    // A shard that was just made is known elsewhere with the next heartbeat: until then others answer without it.
    for (const node of nodes) {
      await eventually(`shard lists have come to ${node.name}`, 10_000, async () => {
        owned.clear();
        const { shards } = await node.json<{
          shards: { id: string; replicas: { name: string; state: string }[] }[];
        }>('/api/shards');
        for (const { replicas } of shards) {
          const holders = replicas.filter(({ state }) => state === 'full');
          if (holders.length === 1) owned.set(holders[0]!.name, (owned.get(holders[0]!.name) ?? 0) + 1);
        }
        return [...owned.values()].reduce((sum, count) => sum + count, 0) === 4;
      });
    }
    expect(owned.size).toBeGreaterThan(1);
  });

  test('every node answers every question alike', async () => {
    for (const question of [
      'SELECT count(v), sum(n), mean(v), last(v) FROM m',
      'SELECT * FROM m WHERE host =~ /^h1/ ORDER BY time DESC LIMIT 7',
      'SELECT max(v) FROM m GROUP BY host SLIMIT 5',
      'SHOW TAG VALUES FROM m WITH KEY = host LIMIT 9',
      'SHOW FIELD KEYS',
    ]) {
      const answers = await Promise.all(nodes.map((node) => node.query(question, 'one')));
      expect(answers[0]![0]!.series, question).toBeDefined();
      expect(answers[1], question).toEqual(answers[0]);
      expect(answers[2], question).toEqual(answers[0]);
    }
    expect(await nodes[0].value('SELECT count(v) FROM m', 'one')).toBe(SERIES);
  });

  test('without the owner of a shard the answer says which shards are missing, and gives the rest when asked to', async () => {
    const victim = nodes.find((node) => (owned.get(node.name) ?? 0) > 0)!;
    const asked = nodes.find((node) => node !== victim)!;
    await victim.kill();
    await cluster.allLive(2);
    const [refused] = await asked.query('SELECT count(v) FROM m', 'one');
    expect(refused!.error).toMatch(/shards unavailable: no owner is up/);
    const [partial] = await asked.query('SELECT count(v) FROM m', 'one', { completeness: '1' });
    expect(partial!.error).toBeUndefined();
    expect(partial!.completeness!.complete).toBe(false);
    expect(partial!.completeness!.missing_shards).toHaveLength(owned.get(victim.name)!);
    expect(partial!.series![0]!.values![0]![1]).toBeLessThan(SERIES);
    await victim.start();
    await victim.ready();
    await eventually(
      'all rows are back',
      20_000,
      async () => (await asked.value('SELECT count(v) FROM m', 'one')) === SERIES,
    );
  });
});
