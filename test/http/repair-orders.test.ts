/**
 * Repairs that are ordered: started where the shards are, told of and steered by any node, also when the one that was asked has
 * been restarted, and when one does not answer. Three nodes with one worker each, the hosts of a `Trio`.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Command } from 'commander';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { partId, type RepairOrder } from '../../repair/repair-order.ts';
import type { ReplicaHost } from '../../repair/replica-host.ts';
import { addRepairCommand } from '../../server/cli/repair.ts';
import { OPEN_ORDERS_MAX } from '../../server/http/admin-repairs.ts';
import { followToEnd, type RepairDetails } from '../../server/http/repair-orders.ts';
import { ID, KEY, NUMBERS, Trio } from '../ring/trio.ts';
import { AdminNode } from './admin-nodes.ts';

let trio: Trio;
let nodes: [AdminNode, AdminNode, AdminNode];
/** Who holds the shard, as far as the nodes have heard. */
let holders: string[];

/** What a node waits for before it says of an order how it stands, and who is told that it was asked. */
let asked: Promise<void> | null;
let whenAsked: () => void;

/** One worker: the host of the trio. */
function workersOf(at: number): object {
  const host = (): ReplicaHost => trio.hosts[at]!;
  const methods: Record<string, (...args: never[]) => unknown> = {
    startRepair(order: RepairOrder, shards: readonly string[]) {
      host().noteOrder(order);
      for (const shard of shards)
        host().startRepair({ id: partId(order.id, shard), shard, mode: order.mode }, trio.now);
      host().keepRepairs();
    },
    controlRepair: (id: string, action: 'pause') => host().controlRepair(id, action),
    repairs: (id: string) => host().repairs(id),
    async repairOrders(id: string) {
      whenAsked();
      await asked;
      return host().orders(id);
    },
  };
  const call = async (_: number, method: string, ...args: never[]) => methods[method]!(...args);
  const callAll = async (method: string, ...args: never[]) => [await call(0, method, ...args)];
  return { count: 1, workerOf: () => 0, held: () => host().heldShards(), call, callAll };
}

beforeEach(async () => {
  trio = new Trio(3, { scrubBytesPerSecond: 1_000, mendBytesPerSecond: 1_000 });
  for (let i = 0; i < 3; i++) trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  holders = [...NUMBERS];
  asked = null;
  whenAsked = () => {};
  const made: AdminNode[] = [];
  for (const [at, number] of NUMBERS.entries()) {
    const shard = { id: ID, key: KEY };
    const places = {
      all: () => [shard],
      local: () => (holders.includes(number) ? [{ id: ID, state: 'full' }] : []),
      remoteHolders: () => holders.filter((each) => each !== number),
    };
    const heldBy = () => Object.fromEntries(holders.map((each) => [each, [{ id: ID, state: 'full' }]]));
    made.push(new AdminNode(number, made, workersOf(at), { places, heldBy }));
  }
  nodes = made as [AdminNode, AdminNode, AdminNode];
  await Promise.all(nodes.map((node) => node.listening()));
});
afterEach(async () => {
  for (const node of nodes) {
    await node.close();
    node.journal.close();
    rmSync(node.directory, { recursive: true });
  }
});

const order = async (node: AdminNode, mode: string): Promise<string> => {
  const { status, body } = await node.post('/api/repairs', { all: true, mode });
  expect(status).toBe(202);
  return body.id as string;
};
const told = async (node: AdminNode, id: string): Promise<RepairDetails> =>
  (await node.get(`/api/repairs/${id}`)).body as unknown as RepairDetails;
function slowToRead(): void {
  for (const { shards } of trio.storages) shards.get(ID)!.care.readingBytes = 10_000;
}
function restart(at: number): void {
  const files = trio.files[at]!;
  files.crash();
  trio.boot(NUMBERS[at]!, trio.storages[at]!.disk, files);
  trio.hear();
}

test('any node tells of it and steers it, and of the restart of the asked one nothing is lost', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  trio.pass(2_000);
  for (const node of nodes) {
    expect(await told(node, id)).toMatchObject({
      state: 'running',
      scope: 'all',
      percentage: 21,
      message: '3 replicas',
    });
    const { etaMs } = await told(node, id);
    expect(etaMs).toBeGreaterThan(7_000);
    expect(etaMs).toBeLessThan(9_500);
    expect((await node.get('/api/repairs')).body.repairs).toMatchObject([{ id, state: 'running' }]);
  }
  expect(await nodes[1].post(`/api/repairs/${id}/pause`)).toMatchObject({ status: 202, body: { unreachable: [] } });
  trio.pass(50);
  restart(0);
  slowToRead();
  trio.pass(20_000);
  for (const node of nodes) {
    const { shards, ...now } = await told(node, id);
    expect(now).toMatchObject({ state: 'paused', etaMs: null, finishedMs: null });
    expect(shards.map(({ state }) => state)).toEqual(['paused', 'paused', 'paused']);
  }
  expect((await nodes[2].post(`/api/repairs/${id}/resume`)).status).toBe(202);
  trio.pass(1_000);
  expect((await told(nodes[0], id)).state).toBe('running');
  trio.pass(15_000);
  for (const node of nodes) expect(await told(node, id)).toMatchObject({ state: 'done', percentage: 100 });
  const over = await nodes[1].post(`/api/repairs/${id}/cancel`);
  expect(over).toMatchObject({ status: 409, body: { message: `repair ${id} is over: done` } });
  expect((await nodes[1].post('/api/repairs/none/cancel')).status).toBe(404);
});

test.each([
  ['{"all":', 400],
  ['{"all":true,"mode":"all"}', 400],
  [`{"shard":"${'x'.repeat(70_000)}"}`, 413],
])('a body that is none, %j: the client is told that it is the fault of the body', async (body, status) => {
  const response = await fetch(`${nodes[0].url}/api/repairs`, { method: 'POST', body });
  expect([response.status, response.headers.get('x-platform-error-code')]).toEqual([status, 'invalid']);
  expect(await response.json()).toMatchObject({ code: 'invalid' });
});

test('cancelled at another node it ends everywhere', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  trio.pass(1_000);
  expect((await nodes[2].post(`/api/repairs/${id}/cancel`)).status).toBe(202);
  const { shards, ...now } = await told(nodes[1], id);
  expect(now.state).toBe('cancelled');
  expect(shards.map(({ state }) => state)).toEqual(['cancelled', 'cancelled', 'cancelled']);
});

test('runs at another member when the node has no replica, and goes to the next when one does not answer', async () => {
  holders = [NUMBERS[1]!, NUMBERS[2]!];
  const address = nodes[1].url;
  nodes[1].url = 'http://127.0.0.1:1';
  const id = await order(nodes[0], 'ring');
  trio.settle();
  nodes[1].url = address;
  for (const node of nodes) {
    const { shards, ...now } = await told(node, id);
    expect(now).toMatchObject({ state: 'done', message: '1 shards', unreachable: [], silent: [] });
    expect(shards).toHaveLength(1);
  }
  expect(trio.hosts.map((host) => host.repairs(id).length)).toEqual([0, 0, 1]);
});

test('a member that does not answer: it is named, the repair is not over, and steering says who goes on', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  trio.pass(1_000);
  const address = nodes[1].url;
  nodes[1].url = 'http://127.0.0.1:1';
  for (const live of [true, false]) {
    nodes[1].live = live;
    expect(await told(nodes[2], id)).toMatchObject({ state: 'running', silent: ['n2'], etaMs: null });
    expect((await told(nodes[2], id)).message).toBe('3 replicas; 1 of 3 run at n2, which does not answer');
  }
  expect((await nodes[0].post(`/api/repairs/${id}/cancel`)).body).toMatchObject({ unreachable: ['n2'] });
  expect((await told(nodes[2], id)).state).toBe('running');
  nodes[1].state = 'removed';
  expect(await told(nodes[2], id)).toMatchObject({
    state: 'failed',
    message: expect.stringContaining('1 of 3 are not known'),
  });
  Object.assign(nodes[1], { url: address, live: true, state: 'up' });
  expect((await nodes[0].post(`/api/repairs/${id}/cancel`)).body).toMatchObject({ unreachable: [] });
  expect((await told(nodes[2], id)).state).toBe('cancelled');
});

/** One part is left, at n2, which nobody hears any more. */
async function leftToSilent(): Promise<string> {
  trio.storages[1]!.shards.get(ID)!.care.readingBytes = 10_000;
  const id = await order(nodes[0], 'scrub');
  trio.pass(2_000);
  return id;
}
function silence(ms: number): void {
  Object.assign(nodes[1], { url: 'http://127.0.0.1:1', live: false, lastHeardMsAgo: ms, silentMs: ms });
}

test('what is left to a member that is silent for an hour has failed, and stays so when that is back', async () => {
  const id = await leftToSilent();
  const address = nodes[1].url;
  silence(3_599_999);
  for (const node of nodes) node.nowMs += 3_600_000;
  expect(await told(nodes[0], id)).toMatchObject({ state: 'running', silent: ['n2'] });
  silence(3_600_000);
  const over = { state: 'failed', percentage: 100, silent: [], finishedMs: nodes[0].nowMs };
  const message = '3 replicas; n2 did not answer for 1 h: to be asked for again';
  for (const node of [nodes[0], nodes[2]]) expect(await told(node, id)).toMatchObject({ ...over, message });
  Object.assign(nodes[1], { url: address, live: true, lastHeardMsAgo: 0 });
  trio.pass(20_000);
  restart(0);
  for (const node of nodes) expect(await told(node, id)).toMatchObject({ ...over, message });
  const again = await order(nodes[2], 'scrub');
  trio.pass(20_000);
  expect(await told(nodes[1], again)).toMatchObject({ state: 'done', message: '3 replicas' });
});

test('a clock that leaps ends none: the others work on', async () => {
  const id = await leftToSilent();
  const address = nodes[1].url;
  silence(7_200_500);
  nodes[1].silentMs = 900;
  nodes[0].nowMs += 7_200_000;
  expect(await told(nodes[0], id)).toMatchObject({ state: 'running', silent: ['n2'] });
  Object.assign(nodes[1], { url: address, live: true, lastHeardMsAgo: 0 });
  trio.pass(60_000);
  for (const node of nodes) expect(await told(node, id)).toMatchObject({ state: 'done', message: '3 replicas' });
});

test('one that is paused waits for a silent member, also over a restart, until it is resumed', async () => {
  const id = await leftToSilent();
  expect((await nodes[2].post(`/api/repairs/${id}/pause`)).status).toBe(202);
  for (const node of nodes) node.nowMs += 10_000_000;
  silence(9_000_000);
  for (const at of [0, 2]) restart(at);
  expect(await told(nodes[2], id)).toMatchObject({ state: 'paused', silent: ['n2'] });
  expect((await nodes[0].post(`/api/repairs/${id}/resume`)).body).toMatchObject({ unreachable: ['n2'] });
  expect(await told(nodes[2], id)).toMatchObject({ state: 'failed', silent: [] });
});

test('that it was resumed is not forgotten for a member that was away then', async () => {
  const id = await leftToSilent();
  const away = nodes[2].url;
  expect((await nodes[0].post(`/api/repairs/${id}/pause`)).body).toMatchObject({ unreachable: [] });
  nodes[2].url = 'http://127.0.0.1:1';
  trio.pass(100);
  expect((await nodes[0].post(`/api/repairs/${id}/resume`)).body).toMatchObject({ unreachable: ['n3'] });
  nodes[2].url = away;
  silence(9_000_000);
  expect(await told(nodes[0], id)).toMatchObject({ state: 'failed', silent: [] });
});

test('who was asked for it looks for an hour where a member is silent, and for a day where nothing changes', async () => {
  const id = await leftToSilent();
  silence(0);
  const follow = async (): Promise<number> => {
    let waitedMs = 0;
    await followToEnd(nodes[0].ports, id, async (ms) => {
      waitedMs += ms;
      nodes[1].silentMs += ms;
      // What it is set to counts for nothing.
      nodes[0].nowMs += 90_000_000;
    });
    return Math.floor(waitedMs / 3_600_000);
  };
  await nodes[0].post(`/api/repairs/${id}/pause`);
  expect(await follow()).toBe(24);
  expect((await told(nodes[0], id)).state).toBe('paused');
  await nodes[0].post(`/api/repairs/${id}/resume`);
  nodes[1].silentMs = 0;
  expect(await follow()).toBe(1);
});

test('ends that were found on both sides of a cut: all nodes tell of that with less that failed', async () => {
  const id = await order(nodes[0], 'scrub');
  trio.pass(20_000);
  const [known] = trio.hosts[0]!.orders(id);
  const tally = known!.tally;
  const failed = { ...tally, states: { ...tally.states, done: 0, failed: 1 }, failure: 'n2 did not answer' };
  for (const [at, ended] of [failed, tally, failed].entries())
    trio.hosts[at]!.noteOrder({ ...known!.order, revision: known!.order.revision + 1, ended });
  for (const node of nodes) expect((await told(node, id)).state).toBe('done');
});

test('what is over stays as it was found when a member leaves, or its disk is lost', async () => {
  const id = await order(nodes[0], 'scrub');
  trio.pass(20_000);
  const over = await told(nodes[1], id);
  expect(over).toMatchObject({ state: 'done', percentage: 100, message: '3 replicas' });
  restart(0);
  nodes[1].state = 'removed';
  nodes[1].url = 'http://127.0.0.1:1';
  trio.boot(NUMBERS[2]!);
  const { shards, ...rest } = over;
  expect(shards).toHaveLength(3);
  expect(await told(nodes[0], id)).toMatchObject(rest);
  const { repairs } = (await nodes[2].get('/api/repairs')).body;
  expect(repairs).toMatchObject([rest]);
});

test('the node that was asked finds the end of a repair that nobody looks at', async () => {
  const id = await order(nodes[0], 'scrub');
  trio.pass(20_000);
  await vi.waitFor(() => expect(trio.hosts[1]!.orders(id)[0]!.order.ended).toMatchObject({ shards: 3 }), 20_000);
});

test('a shard that nobody can start has failed, and every node that was told knows', async () => {
  holders = [NUMBERS[1]!];
  nodes[1].url = 'http://127.0.0.1:1';
  const { body } = await nodes[0].post('/api/repairs', { all: true });
  expect(body).toMatchObject({ shards: 0, unreachable: [ID] });
  const now = await told(nodes[2], body.id as string);
  expect(now).toMatchObject({ state: 'failed', message: '0 shards; nobody could start 1', unreachable: [ID] });
});

test('a scrub says which holder was not up', async () => {
  nodes[2].live = false;
  const id = await order(nodes[0], 'scrub');
  trio.pass(500);
  expect(await told(nodes[1], id)).toMatchObject({ state: 'done', message: '2 replicas; without n3, not up' });
});

test('a preview counts the shards that differ', async () => {
  trio.cut.add(NUMBERS[2]!);
  trio.hear();
  trio.write(0);
  trio.pass(100);
  trio.cut.clear();
  trio.onSend = (_, to, message) => (message.t === 'mail' && to === NUMBERS[2] ? 'lost' : null);
  trio.hear();
  const id = await order(nodes[1], 'preview');
  trio.settle();
  expect(await told(nodes[0], id)).toMatchObject({ state: 'done', message: '1 shards; replicas of 1 differ' });
});

test.each([
  ['all were compared', false],
  ['one is not live', true],
])('starling repair --mode preview, %s', async (_, isAway) => {
  if (isAway) trio.cut.add(NUMBERS[2]!);
  trio.hear();
  const program = new Command();
  addRepairCommand(program);
  const { log } = console;
  console.log = () => {};
  try {
    const said = program.parseAsync(['repair', '--all', '--mode', 'preview', '--url', nodes[0].url], { from: 'user' });
    const done = said.then(
      () => null,
      (error: Error) => error.message,
    );
    await vi.waitFor(() => expect(trio.hosts[0]!.repairs()).toHaveLength(1));
    trio.settle();
    expect(await done).toBe(isAway ? '1 of 1 shards were not compared with all of their replicas' : null);
  } finally {
    console.log = log;
  }
});

test('a mend is shown while it runs, and cannot be steered', async () => {
  trio.storages[1]!.shards.get(ID)!.batches.clear();
  trio.repair(1, 'scrub');
  slowToRead();
  trio.hear();
  trio.pass(300);
  const [mend] = (await nodes[0].get('/api/repairs')).body.repairs;
  expect(mend).toMatchObject({ mode: 'mend', state: 'running', scope: `shard ${ID}` });
  for (const action of ['pause', 'cancel']) {
    const answer = await nodes[2].post(`/api/repairs/${mend!.id}/${action}`);
    expect(answer).toMatchObject({ status: 409, body: { message: expect.stringContaining('mended by itself') } });
  }
});

test('its events end with all of its parts', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  trio.pass(1_000);
  const response = await fetch(`${nodes[2].url}/api/repairs/${id}/events`);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const first = (await reader.read()).value!;
  expect(first).toMatch(/^event: progress\ndata: /);
  expect(JSON.parse(first.split('data: ')[1]!)).not.toHaveProperty('shards');
  trio.pass(20_000);
  let rest = '';
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
  const end = rest.split('event: end\ndata: ')[1]!;
  expect((JSON.parse(end) as RepairDetails).shards).toHaveLength(3);
});

test('clients that leave before their first event was made give their places back', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  // Only the node itself is asked: when it answers all streams go on in the same moment.
  for (const other of [nodes[1], nodes[2]]) other.live = false;
  const events = `${nodes[0].url}/api/repairs/${id}/events`;
  let reached = 0;
  let letGo: () => void = () => {};
  asked = new Promise((resolve) => {
    letGo = resolve;
  });
  const leaving = new AbortController();
  const closed: Promise<unknown>[] = [];
  const waiting = new Promise<void>((resolve) => {
    whenAsked = () => ++reached === 100 && resolve();
  });
  nodes[0].server.on('connection', (socket: Socket) => closed.push(once(socket, 'close')));
  const streams = Array.from({ length: 100 }, () => fetch(events, { signal: leaving.signal }).catch(() => null));
  await waiting;
  leaving.abort();
  await Promise.all([...streams, ...closed]);
  letGo();
  const one = await fetch(events);
  expect(one.status).toBe(200);
  await one.body!.cancel();
});

test('a scrub that is asked for while one of the same shards runs is that one; a paused one, and another mode, is not', async () => {
  slowToRead();
  const id = await order(nodes[0], 'scrub');
  for (const node of nodes)
    expect(await node.post('/api/repairs', { all: true, mode: 'scrub' })).toMatchObject({
      status: 202,
      body: { id, joined: true, shards: 1 },
    });
  expect(await order(nodes[0], 'preview')).not.toBe(id);
  expect((await nodes[1].get('/api/repairs')).body.repairs).toHaveLength(2);
  await nodes[1].post(`/api/repairs/${id}/pause`);
  expect(await order(nodes[2], 'scrub')).not.toBe(id);
});

test('a scrub that waits for nobody but a silent member is not joined: it has read all others before', async () => {
  trio.storages[2]!.shards.get(ID)!.care.readingBytes = 1e9;
  const id = await order(nodes[0], 'scrub');
  trio.pass(5_000);
  nodes[2].live = false;
  expect(await told(nodes[0], id)).toMatchObject({ state: 'running', silent: ['n3'] });
  expect(await order(nodes[0], 'scrub')).not.toBe(id);
});

test('more orders than may be open are refused, however many ask at once, until one is over', async () => {
  trio.onSend = () => 'lost';
  const ids: string[] = [];
  for (let i = 0; i < OPEN_ORDERS_MAX - 4; i++) ids.push(await order(nodes[i % 3]!, 'preview'));
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => nodes[0].post('/api/repairs', { all: true, mode: 'preview' })),
  );
  expect(answers.filter(({ status }) => status === 202).length).toBeLessThanOrEqual(4);
  for (const { body } of answers) if (body.id !== undefined) ids.push(body.id as string);
  while (ids.length < OPEN_ORDERS_MAX) ids.push(await order(nodes[1], 'preview'));
  const { status, body } = await nodes[1].post('/api/repairs', { all: true, mode: 'ring' });
  expect([status, body.code]).toEqual([429, 'too many']);
  expect(body.message).toContain(`${OPEN_ORDERS_MAX} repairs that were asked for run or are paused`);
  expect(body.message).toContain('(preview, all, running)');
  await nodes[2].post(`/api/repairs/${ids[0]}/cancel`);
  expect((await nodes[1].post('/api/repairs', { all: true, mode: 'ring' })).status).toBe(202);
});
