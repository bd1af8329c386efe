/**
 * Statements that read, write and run on three real nodes: SELECT INTO, cardinalities, EXPLAIN, continuous queries. Series lie
 * on several nodes, in several shards, in several copies.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rendezvousOrder } from '../../repair/owners.ts';
import { Cluster, eventually, type QueryResult, type TestNode } from './harness.ts';

const DAY_NS = 86_400_000_000_000n;
const HOSTS = 60;
const DAYS = 20;
/** A Monday far enough back for whole shard groups of a week. */
const START_NS = 1_704_067_200_000_000_000n;

let cluster: Cluster;
let nodes: [TestNode, TestNode, TestNode];

beforeAll(async () => {
  cluster = await Cluster.make();
  nodes = await cluster.startThree({ 'pass-interval': '1s' });
  await cluster.createDatabase('d');
  await nodes[0].query('CREATE RETENTION POLICY two ON d DURATION INF REPLICATION 2 DEFAULT');
  await nodes[0].query('CREATE RETENTION POLICY kept ON d DURATION INF REPLICATION 1');
  for (const node of nodes)
    await eventually(`${node.name} knows the policies`, 10_000, async () =>
      (await node.query('SHOW RETENTION POLICIES ON d'))[0]?.series?.[0]?.values?.some(([name]) => name === 'kept'),
    );
  const lines: string[] = [];
  for (let host = 0; host < HOSTS; host++)
    for (let day = 0; day < DAYS; day++)
      lines.push(`cpu,host=h${host},dc=dc${host % 3} v=${host},i=${day}i ${START_NS + BigInt(day) * DAY_NS}`);
  expect((await nodes[1].write('d', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
  await answeredByAll('SELECT count(v) FROM cpu', [[[0, HOSTS * DAYS]]]);
});

afterAll(async () => {
  await cluster.close();
});

const valuesOf = (result: QueryResult | undefined): unknown =>
  result?.error ?? result?.series?.map(({ values }) => values);

/** What all nodes answer, once they agree. */
async function answeredByAll(q: string, expected: unknown): Promise<void> {
  for (const node of nodes)
    await eventually(`${node.name}: ${q}`, 20_000, async () => {
      const [result] = await node.query(q, 'd');
      const found = JSON.stringify(valuesOf(result));
      if (found !== JSON.stringify(expected)) throw new Error(found);
      return true;
    });
}

describe('SELECT INTO', () => {
  test('copies a measurement to another policy, read on all nodes and written to all owners', async () => {
    const [result] = await nodes[0].query('SELECT * INTO d.kept.:MEASUREMENT FROM cpu GROUP BY *', 'd');
    expect(valuesOf(result)).toEqual([[[0, HOSTS * DAYS]]]);
    await answeredByAll('SELECT count(v), sum(v), sum(i) FROM d.kept.cpu', [
      [[0, HOSTS * DAYS, (DAYS * HOSTS * (HOSTS - 1)) / 2, (HOSTS * DAYS * (DAYS - 1)) / 2]],
    ]);
    await answeredByAll('SELECT count(v) FROM d.kept.cpu GROUP BY dc', [
      [[0, (HOSTS / 3) * DAYS]],
      [[0, (HOSTS / 3) * DAYS]],
      [[0, (HOSTS / 3) * DAYS]],
    ]);
  });

  test('tells what a write was refused for', async () => {
    await nodes[0].query('SELECT v INTO typed FROM cpu', 'd');
    const [result] = await nodes[0].query('SELECT i AS v INTO typed FROM cpu', 'd');
    expect(result?.error).toMatch(
      /^partial write: field type conflict: input field "v" on measurement "typed" is type integer, already exists as type float dropped=\d+$/,
    );
    const [unknown] = await nodes[0].query('SELECT v INTO d.nope.x FROM cpu', 'd');
    expect(unknown?.error).toBe('retention policy not found: nope');
  });
});

describe('DROP MEASUREMENT', () => {
  test('ends the types of its fields, at all coordinators', async () => {
    const write = (node: TestNode, value: string, second: number) =>
      node.write('d', `typed v=${value} ${START_NS + BigInt(second) * 1_000_000_000n}`, { consistency: 'all' });
    for (const [i, node] of nodes.entries()) expect((await write(node, '1.5', i)).status).toBe(204);
    expect((await write(nodes[1], '2i', 10)).status).toBe(400);
    await nodes[0].query('DROP MEASUREMENT typed', 'd');
    expect((await write(nodes[0], '2i', 20)).status).toBe(204);
    // The others hear of it when they ask next what has been written.
    for (const node of nodes)
      await eventually(
        `${node.name} takes the other type`,
        20_000,
        async () => (await write(node, '3i', 21)).status === 204,
      );
    expect((await write(nodes[0], '1.5', 22)).status).toBe(400);
    await answeredByAll('SELECT v FROM typed GROUP BY *', [
      [
        [Number(START_NS + 20_000_000_000n), 2],
        [Number(START_NS + 21_000_000_000n), 3],
      ],
    ]);
  });
});

describe('cardinalities', () => {
  test('count a series once, whichever node is asked', async () => {
    await answeredByAll('SHOW SERIES EXACT CARDINALITY FROM cpu', [[[HOSTS]]]);
    await answeredByAll('SHOW TAG VALUES CARDINALITY FROM cpu WITH KEY = host', [[[HOSTS]]]);
    await answeredByAll('SHOW TAG KEY CARDINALITY FROM cpu', [[[2]]]);
    await answeredByAll('SHOW FIELD KEY CARDINALITY FROM cpu', [[[2]]]);
    await answeredByAll("SHOW SERIES CARDINALITY FROM cpu WHERE dc = 'dc1'", [[[HOSTS / 3]]]);
    // And one series of the measurement without tags.
    await answeredByAll('SHOW SERIES CARDINALITY', [[[HOSTS + 1]]]);
    await answeredByAll('SHOW MEASUREMENT CARDINALITY', [[[2]]]);
  });
});

describe('EXPLAIN', () => {
  test('names the nodes that would be asked, and ANALYZE asks them', async () => {
    const [plan] = await nodes[2].query('EXPLAIN SELECT mean(v) FROM d.two.cpu', 'd');
    const lines = plan!.series![0]!.values!.map(([line]) => String(line));
    const shards = Number(/\d+/.exec(lines.find((line) => line.startsWith('NUMBER OF SHARDS'))!)![0]);
    expect(lines[0]).toBe('EXPRESSION: mean(v::float)');
    const asked = [...lines.at(-1)!.matchAll(/n[123] \((\d+)\)/g)].map(([, count]) => Number(count));
    expect(asked.reduce((sum, count) => sum + count, 0)).toBe(shards);
    expect(shards).toBeGreaterThanOrEqual(12);
    const [analysis] = await nodes[2].query('EXPLAIN ANALYZE SELECT v FROM d.two.cpu', 'd');
    const tree = analysis!.series![0]!.values!.map(([line]) => String(line)).join('\n');
    expect(tree).toContain(`rows_answered: ${HOSTS * DAYS}`);
    const read = [...tree.matchAll(/rows_read: (\d+)/g)].map(([, rows]) => Number(rows));
    expect(read.reduce((sum, rows) => sum + rows, 0)).toBe(HOSTS * DAYS);
  });
});

describe('continuous queries', () => {
  test('are run by one node, and go on without a gap where it died', async () => {
    // Each second of the next minutes has a value already: it is computed when the second is over.
    const [first, seconds] = [Math.ceil(Date.now() / 1000), 240];
    const lines = Array.from({ length: seconds }, (_, n) => `ticks v=${n} ${BigInt(first + n) * 1_000_000_000n}`);
    expect((await nodes[0].write('d', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
    const query =
      'CREATE CONTINUOUS QUERY "each second" ON d BEGIN SELECT max(v) INTO seen FROM ticks GROUP BY time(1s) END';
    expect(await nodes[1].query(query)).toEqual([{ statement_id: 0 }]);
    const text = query.replace('INTO seen FROM ticks', 'INTO d.two.seen FROM d.two.ticks');
    for (const node of nodes)
      await eventually(`${node.name} knows the query`, 10_000, async () => {
        const [result] = await node.query('SHOW CONTINUOUS QUERIES');
        return result?.series?.find(({ name }) => name === 'd')?.values?.[0]?.[1] === text;
      });
    const seenAt = async (node: TestNode): Promise<number[]> =>
      ((await node.query('SELECT max FROM seen', 'd'))[0]?.series?.[0]?.values ?? []).map(([, value]) => Number(value));
    await eventually('windows are written', 20_000, async () => (await seenAt(nodes[0])).length >= 4);
    const names = nodes.map(({ name }) => name);
    const runner = rendezvousOrder(names, 'd/0/each%20second')[0]!;
    await nodes.find(({ name }) => name === runner)!.kill();
    const killedAt = Math.floor(Date.now() / 1000) - first;
    const survivors = nodes.filter(({ name }) => name !== runner);
    const seen = await eventually('another node goes on', 60_000, async () => {
      const values = await seenAt(survivors[0]!);
      return (values.at(-1) ?? 0) >= killedAt + 3 ? values : null;
    });
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, n) => seen[0]! + n));
    expect(await survivors[1]!.query('DROP CONTINUOUS QUERY "each second" ON d')).toEqual([{ statement_id: 0 }]);
    await eventually('the query is dropped', 10_000, async () => {
      const [result] = await survivors[0]!.query('SHOW CONTINUOUS QUERIES');
      return result?.series?.every(({ values }) => values === undefined);
    });
  });
});
