/** The limit of series of a database, at real nodes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster, type TestNode } from './harness.ts';

const MAX = 6;
const exceeded = (dropped: number) => ({
  status: 400,
  text: `{"error":"partial write: max-series-per-database limit exceeded: (${MAX}) dropped=${dropped}"}\n`,
});
const lines = (hosts: readonly (number | string)[], more = 'v=1 1') =>
  hosts.map((host) => `m,host=h${host} ${more}`).join('\n');

async function hosts(node: TestNode, database: string): Promise<string[]> {
  const [answer] = await node.query('SHOW TAG VALUES WITH KEY = host', database);
  return (answer!.series?.[0]?.values ?? []).map(([, host]) => String(host)).sort();
}

describe('one node', () => {
  let cluster: Cluster;
  let node: TestNode;
  beforeAll(async () => {
    cluster = await Cluster.make();
    node = cluster.node('n1', { workers: '2', 'series-max': String(MAX) });
    await node.start();
    await node.ready();
  }, 60_000);
  afterAll(() => cluster.close());

  test('points of series beyond it are refused, all others are stored, also after a restart', async () => {
    await cluster.createDatabase('a');
    expect(await node.write('a', lines([1, 2, 3, 4]))).toMatchObject({ status: 204 });
    // Two of the three new ones have room.
    expect(await node.write('a', lines([4, 5, 6, 7], 'v=2 2'))).toMatchObject(exceeded(1));
    expect(await hosts(node, 'a')).toEqual(['h1', 'h2', 'h3', 'h4', 'h5', 'h6']);
    expect(await node.value('SELECT count(v) FROM m', 'a')).toBe(7);
    expect(await node.write('a', lines([1, 2, 3, 4, 5, 6], 'v=3 3'))).toMatchObject({ status: 204 });
    expect(await node.write('a', lines([7, 7, 1], 'v=4 4'))).toMatchObject(exceeded(2));
    await node.stop();
    await node.start();
    await node.ready();
    expect(await node.write('a', lines([8, 1, 2, 3, 4, 5, 6], 'v=5 5'))).toMatchObject(exceeded(1));
    expect(await node.write('a', lines([1, 2, 3, 4, 5, 6], 'v=6 6'))).toMatchObject({ status: 204 });
    expect(await node.value('SELECT count(v) FROM m', 'a')).toBe(7 + 6 + 1 + 6 + 6);
    expect(await hosts(node, 'a')).toEqual(['h1', 'h2', 'h3', 'h4', 'h5', 'h6']);
  });

  test('each shard group has room for as many', async () => {
    await cluster.createDatabase('b');
    const week = 604_800_000_000_000;
    expect(await node.write('b', lines([1, 2, 3, 4, 5, 6]))).toMatchObject({ status: 204 });
    const both = await node.write('b', `${lines([7, 8])}\n${lines([7, 8], `v=1 ${week}`)}`);
    expect(both).toMatchObject(exceeded(2));
    expect(await node.value('SELECT count(v) FROM m WHERE time > 1d', 'b')).toBe(2);
  });

  test('rows that are judged one by one are held to it, and so are those with another reason to be refused', async () => {
    await cluster.createDatabase('c');
    expect(await node.write('c', lines([1, 2, 3, 4, 5]))).toMatchObject({ status: 204 });
    // Two rows of one series and time.
    expect(await node.write('c', `${lines([6, 6])}\n${lines([7])}`)).toMatchObject(exceeded(1));
    const conflict = await node.write('c', `${lines([1], 'v="x" 9')}\n${lines([8, 2], 'v=2 9')}`);
    expect(conflict).toMatchObject(exceeded(2));
    expect(await node.value('SELECT count(v) FROM m', 'c')).toBe(7);
    expect(await hosts(node, 'c')).toEqual(['h1', 'h2', 'h3', 'h4', 'h5', 'h6']);
  });

  test('writers at the same time take the room that there is, and not more', async () => {
    await cluster.createDatabase('d');
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => node.write('d', lines([`${i}a`, `${i % 4}b`], `v=1 ${i}`))),
    );
    expect((await hosts(node, 'd')).length).toBe(MAX);
    const dropped = answers
      .filter(({ status }) => status === 400)
      .map(({ text }) => Number(/dropped=(\d+)/.exec(text)![1]));
    const stored = Number(await node.value('SELECT count(v) FROM m', 'd'));
    expect(stored + dropped.reduce((sum, each) => sum + each, 0)).toBe(60);
  });
});

describe('two nodes', () => {
  let cluster: Cluster;
  let bounded: TestNode;
  let open: TestNode;
  beforeAll(async () => {
    cluster = await Cluster.make();
    bounded = cluster.node('n1');
    open = cluster.node('n2');
    await bounded.start({ 'series-max': String(MAX) });
    await open.start({ 'series-max': '0', join: bounded.url });
    await cluster.allLive(2);
  }, 60_000);
  afterAll(() => cluster.close());

  test('what another node has acknowledged is stored, and counted', async () => {
    await cluster.createDatabase('e');
    const all = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    expect(await open.write('e', lines(all), { consistency: 'all' })).toMatchObject({ status: 204 });
    expect(await hosts(bounded, 'e')).toHaveLength(9);
    expect(await bounded.write('e', lines(all, 'v=2 2'))).toMatchObject({ status: 204 });
    expect(await bounded.write('e', lines([1, 10], 'v=3 3'))).toMatchObject(exceeded(1));
    expect(await open.write('e', lines([10], 'v=4 4'))).toMatchObject({ status: 204 });
  });

  test('a node that holds none of the shards asks the one that does', async () => {
    for (const node of [bounded, open]) await node.query('CREATE DATABASE f WITH REPLICATION 1');
    const some = Array.from({ length: 40 }, (_, i) => i);
    expect(await open.write('f', lines(some))).toMatchObject({ status: 204 });
    expect(await bounded.write('f', lines(some, 'v=2 2'))).toMatchObject({ status: 204 });
    expect(await bounded.write('f', lines([...some, 'x', 'y'], 'v=3 3'))).toMatchObject(exceeded(2));
    expect(await bounded.value('SELECT count(v) FROM m', 'f')).toBe(120);
  });
});
