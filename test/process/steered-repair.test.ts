/**
 * A repair of all shards, ordered at one node and steered through others, the asked one being killed and started again
 * meanwhile: nothing of it is known to one node alone.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, eventually, type TestNode } from './harness.ts';

interface Told {
  readonly state: string;
  readonly percentage: number;
  readonly etaMs: number | null;
  readonly finishedMs: number | null;
  readonly message: string;
  readonly silent: readonly string[];
  readonly shards: readonly { state: string; differences: readonly { result: string }[] }[];
}

const HOSTS = 4;
const ROWS = 15_000;
/** A run over what a node has takes some seconds. */
const OPTIONS = { 'scrub-bytes-per-second': '64KiB', 'flush-idle': '1s', 'pass-interval': '2s', workers: '2' };

let cluster: Cluster;
let nodes: [TestNode, TestNode, TestNode];

beforeAll(async () => {
  cluster = await Cluster.make();
  nodes = await cluster.startThree(OPTIONS);
  await cluster.createDatabase('t');
  const nowMs = Date.now();
  const lines: string[] = [];
  for (let i = 0; i < ROWS; i++) {
    const fields = ['a', 'b', 'c'].map((field, at) => `${field}=${Math.sin(i * i + at)}`).join();
    lines.push(`m,host=h${i % HOSTS} ${fields} ${nowMs - i * 1_000}000000`);
  }
  expect((await nodes[0].write('t', lines.join('\n'), { consistency: 'all' })).status).toBe(204);
  await eventually('all nodes know of all shards, and who holds them', 20_000, async () => {
    const counts = (await Promise.all(nodes.map((node) => heldShards(node)))).flat();
    return counts.every((count) => count > 0 && count === counts[0]);
  });
});
afterAll(() => cluster.close());

/** Of each member, as the node knows it. */
const heldShards = async (node: TestNode): Promise<number[]> =>
  (await node.json<{ members: { shards: number }[] }>('/api/cluster')).members.map(({ shards }) => shards);
const told = (node: TestNode, id: string): Promise<Told> => node.json<Told>(`/api/repairs/${id}`);
const steer = async (node: TestNode, id: string, action: string): Promise<void> => {
  const { unreachable } = await node.json<{ unreachable: string[] }>(`/api/repairs/${id}/${action}`, 'POST');
  expect(unreachable).toEqual([]);
};
const order = async (node: TestNode, mode: string): Promise<string> =>
  (await node.json<{ id: string }>('/api/repairs', 'POST', { all: true, mode })).id;
const seen = (node: TestNode, id: string, what: string, condition: (now: Told) => boolean): Promise<Told> =>
  eventually(`${node.name} sees that the repair ${what}`, 30_000, async () => {
    const now = await told(node, id);
    return condition(now) ? now : null;
  });

test('a preview that is over is told of by every node, with every replica compared', async () => {
  const id = await order(nodes[0], 'preview');
  for (const node of nodes) {
    const { shards, state } = await seen(node, id, 'is over', ({ finishedMs }) => finishedMs !== null);
    expect(state).toBe('done');
    expect(shards.flatMap(({ differences }) => differences.map(({ result }) => result))).toEqual(
      Array.from({ length: shards.length * 3 }, () => 'equal'),
    );
  }
});

test('paused, resumed and watched through other nodes, over a restart of the asked one', async () => {
  const [asked, second, third] = nodes;
  const id = await order(asked, 'scrub');
  await seen(second, id, 'has an end in sight', ({ etaMs, percentage }) => etaMs !== null && percentage > 0);
  await steer(second, id, 'pause');
  const paused = await told(third, id);
  expect(paused).toMatchObject({ state: 'paused', etaMs: null, silent: [] });
  await asked.kill();
  await seen(third, id, 'is paused, and that n1 is silent', ({ state, silent }) => {
    return state === 'paused' && silent.join() === 'n1';
  });
  await (await asked.start()).ready();
  await cluster.allLive(3);
  for (const node of nodes) {
    const back = await seen(node, id, 'is paused everywhere', ({ silent }) => silent.length === 0);
    expect(back.state).toBe('paused');
    expect(new Set(back.shards.map(({ state }) => state))).toContain('paused');
    expect(back.percentage).toBeLessThan(100);
    const { repairs } = await node.json<{ repairs: { id: string; state: string }[] }>('/api/repairs');
    expect(repairs.find((each) => each.id === id)).toMatchObject({ state: 'paused' });
  }
  await steer(third, id, 'resume');
  const resumed = await seen(asked, id, 'runs', ({ state, etaMs }) => state === 'running' && etaMs !== null);
  expect(resumed.etaMs).toBeLessThan(60_000);
  const end = await seen(asked, id, 'is over', ({ finishedMs }) => finishedMs !== null);
  expect(end).toMatchObject({ state: 'done', percentage: 100, etaMs: null });
});

test('cancelled through another node it ends everywhere', async () => {
  const id = await order(nodes[0], 'scrub');
  await seen(nodes[2], id, 'runs', ({ state }) => state === 'running');
  await steer(nodes[1], id, 'cancel');
  expect(await told(nodes[0], id)).toMatchObject({ state: 'cancelled' });
  expect((await nodes[2].request('POST', `/api/repairs/${id}/pause`)).status).toBe(409);
});
