/** Queries with a consistency: what any owner has is in the answer, or the answer says who is missing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, eventually, type QueryResult, type TestNode } from './harness.ts';
import { Relay } from './proxy.ts';

const COUNT = 'SELECT count(v) FROM m';

describe('reading with a consistency on three nodes, one of them behind a relay', () => {
  let cluster: Cluster;
  let relay: Relay;
  let nodes: [TestNode, TestNode, TestNode];
  let written = 0;

  beforeAll(async () => {
    cluster = await Cluster.make();
    relay = await Relay.start();
    // No pass comes to the help of the reads.
    const options = { 'pass-interval': '10m', workers: '2', 'read-repair-timeout': '2s' };
    const [n1, n2] = [cluster.node('n1', options), cluster.node('n2', options)];
    const n3 = cluster.node('n3', { ...options, advertise: relay.url });
    nodes = [n1, n2, n3];
    await (await n1.start()).ready();
    await Promise.all([n2.start({ join: n1.url }), n3.start({ join: n1.url })]);
    relay.target = n3.url;
    await Promise.all([n2.ready(), n3.ready()]);
    await cluster.allLive(3);
    await n1.query('CREATE DATABASE d');
    for (const node of nodes)
      await eventually(`${node.name} knows the database`, 10_000, async () =>
        (await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values?.some(([name]) => name === 'd'),
      );
  });
  afterAll(async () => {
    await cluster.close();
    await relay.close();
  });

  const write = async (node: TestNode): Promise<void> => {
    const at = written++;
    const answer = await node.write('d', `m,host=h${at % 5} v=${at} ${1_700_000_000_000 + at}`, { precision: 'ms' });
    expect(answer.status).toBe(204);
  };
  const read = async (node: TestNode, consistency: string): Promise<QueryResult> =>
    (await node.query(COUNT, 'd', { consistency, completeness: '1' }))[0]!;
  const countOf = (result: QueryResult) => result.series?.[0]?.values?.[0]?.[1];

  test('a write that one node has acknowledged is in the answer of every other node at once', async () => {
    for (let round = 0; round < 15; round++) {
      await write(nodes[round % 3]!);
      const result = await read(nodes[(round + 1) % 3]!, 'all');
      expect(result.error).toBeUndefined();
      expect(countOf(result)).toBe(written);
      expect(result.completeness).toMatchObject({
        complete: true,
        consistency: 'all',
        members: ['n1', 'n2', 'n3'],
      });
    }
    expect((await nodes[0].get('/metrics')).text).toMatch(/starling_events\{event="read_repairs"\} [1-9]/);
  });

  test('without one of three: `all` names it, `quorum` and plain queries answer', async () => {
    relay.cut();
    await eventually('n3 is missed', 20_000, async () =>
      /consistency level "all" cannot be met.*n3 \((not live|no answer)\)/.test(
        (await read(nodes[0], 'all')).error ?? '',
      ),
    );
    for (let i = 0; i < 5; i++) {
      await write(nodes[i % 2]!);
      const result = await read(nodes[(i + 1) % 2]!, 'quorum');
      expect(result.error).toBeUndefined();
      expect(countOf(result)).toBe(written);
      expect(result.completeness?.members).toEqual(['n1', 'n2']);
    }
    expect((await nodes[0].query(COUNT, 'd'))[0]!.error).toBeUndefined();
    // The other side hears nobody's answers.
    expect((await read(nodes[2], 'quorum')).error).toMatch(/consistency level "quorum" cannot be met.*n[12] \(/);
  });

  test('back again, it is levelled by the first query that reaches it, with what was deleted meanwhile', async () => {
    expect((await nodes[0].query("DELETE FROM m WHERE host = 'h0'", 'd'))[0]!.error).toBeUndefined();
    const deleted = Math.ceil(written / 5);
    relay.mend();
    let result: QueryResult | undefined;
    await eventually('all take part', 20_000, async () => {
      result = await read(nodes[2], 'all');
      return result.error === undefined;
    });
    expect(countOf(result!)).toBe(written - deleted);
    const { shards } = result!.completeness!.levelled!;
    expect(result!.completeness!.levelled!.delete_shards).toBe(shards);
  });

  test('levels that there are not, and SHOW', async () => {
    const refused = await nodes[0].get(`/query?db=d&consistency=most&q=${encodeURIComponent(COUNT)}`);
    expect(refused.status).toBe(400);
    expect(JSON.parse(refused.text)).toEqual({ error: 'invalid consistency level' });
    const [shown] = await nodes[1].query('SHOW FIELD KEYS', 'd', { consistency: 'all' });
    expect(shown!.series![0]!.values).toEqual([['v', 'float']]);
  });
});

test('shards with one owner are levelled where they are', async () => {
  const cluster = await Cluster.make();
  try {
    const nodes = await cluster.startThree({ 'pass-interval': '10m', workers: '2' });
    await nodes[0].query('CREATE DATABASE one WITH REPLICATION 1');
    for (const node of nodes)
      await eventually('the database is known', 10_000, async () =>
        (await node.query('SHOW DATABASES'))[0]?.series?.[0]?.values?.some(([name]) => name === 'one'),
      );
    const lines = Array.from({ length: 50 }, (_, i) => `m,host=h${i} v=${i} ${1_700_000_000_000 + i}`).join('\n');
    expect((await nodes[0].write('one', lines, { precision: 'ms' })).status).toBe(204);
    // Shards that were made a moment ago, which no heartbeat has told of yet.
    for (const node of nodes) {
      const [result] = await node.query(COUNT, 'one', { consistency: 'all', completeness: '1' });
      expect(result!.error).toBeUndefined();
      expect(result!.series![0]!.values![0]![1]).toBe(50);
      expect(result!.completeness).toMatchObject({ complete: true, levelled: { shards: 4 } });
    }
  } finally {
    await cluster.close();
  }
});
