/** `GET /api/repairs` on two nodes that each know a part: joined, by pages and filters, with pause and limits of both. */
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PassRecord } from '../../repair/records.ts';
import { repairRecord, stepOf } from '../../repair/repair-records.ts';
import { AdminNode, type Answer, START } from './admin-nodes.ts';

const NUMBERS = ['a', 'b'].map((digit) => digit.repeat(16)) as [string, string];
const [A, B] = NUMBERS;
let nodes: AdminNode[] = [];
beforeEach(async () => {
  nodes = [];
  for (const number of NUMBERS) nodes.push(new AdminNode(number, nodes));
  await Promise.all(nodes.map((node) => node.listening()));
});
afterEach(async () => {
  for (const node of nodes) {
    await node.close();
    node.journal.close();
    rmSync(node.directory, { recursive: true });
  }
});

const contest = {
  rule: 'later',
  series: 'cpu,host=a',
  field: 'usage',
  time: '1',
  winner: { version: 'w', type: 'float', value: '2', came: true, settled: false },
  loser: { version: 'l', type: 'float', value: '1', came: false, settled: false },
} as const;

/** As both nodes tell it: `b` has pulled from `a` and found something. */
function differs(id: string, finishedMs: number, shard = 's'): void {
  const step = stepOf(A, B, { epochsDiffering: 1, batches: 1, rows: 2, bytes: 300, ms: 7 }, { later: 1 });
  const found = repairRecord(
    {
      id,
      kind: 'pass',
      shard,
      outcome: 'running',
      reason: null,
      startedMs: finishedMs - 9,
      finishedMs: finishedMs - 1,
    },
    { steps: [step], samples: [{ member: B, from: A, contests: [contest], deletes: [] }] },
  );
  nodes[1]!.journal.take({ repairs: [found], passes: [] });
  for (const { journal } of nodes) journal.take({ repairs: [], passes: [passOf(id, finishedMs, shard, [step])] });
}

function passOf(id: string, finishedMs: number, shard: string, hops: PassRecord['hops']): PassRecord {
  const times = { cutoff: '0'.repeat(16), cutoffMs: 0, startedMs: finishedMs - 9, finishedMs };
  const moved = { batchesMoved: hops.length, rowsMoved: 2, bytesMoved: 300 };
  const rest = { skipped: [], hopsPlanned: 2, outcome: 'proven', reason: null, root: null } as const;
  return { id, shard, kind: 'full', starter: A, order: NUMBERS, hops, ...times, ...moved, ...rest };
}

test('either node tells all that both know, with names, pause and limits of each', async () => {
  differs('p1', START);
  nodes[1]!.rates.set({ paused: true, cpuShare: 0.5 });
  for (const [i, node] of nodes.entries()) {
    const { status, body } = await node.get('/api/repairs');
    expect(status).toBe(200);
    expect(body).toMatchObject({ paused: i === 1, repairs: [], next: null, unreachable: [], dropped: 0 });
    expect(body.names).toEqual({ [A]: 'n1', [B]: 'n2' });
    expect(body.members).toMatchObject([
      { name: 'n1', paused: false, bytesPerSecond: 5 << 20, cpuShare: null, setWhileRunning: false },
      { name: 'n2', paused: true, bytesPerSecond: 5 << 20, cpuShare: 0.5, setWhileRunning: true },
    ]);
    expect(body.records).toMatchObject([
      {
        id: 'p1',
        kind: 'pass',
        outcome: 'done',
        database: 'db',
        steps: [{ from: A, to: B, batches: 1, rows: 2, bytes: 300, ms: 7, decided: { later: 1 } }],
        samples: [{ member: B, from: A, contests: [contest] }],
        pass: { kind: 'full', starter: A, order: [A, B] },
      },
    ]);
    expect((await node.get('/api/repairs/p1')).body).toMatchObject({ id: 'p1', samples: [{ contests: [contest] }] });
    expect((await node.get('/api/repairs/p2')).status).toBe(404);
  }
});

test('pages and filters; what cannot be asked is refused with the reason', async () => {
  for (let n = 0; n < 7; n++) differs(`p${n}`, START + n, n % 2 === 0 ? 'even' : 'odd');
  const seen: string[] = [];
  for (let path: string | null = '/api/repairs?limit=3'; path !== null; ) {
    const { body }: { body: Answer } = await nodes[0]!.get(path);
    seen.push(...body.records.map(({ id }) => id));
    path = body.next === null ? null : `/api/repairs?limit=3&before=${encodeURIComponent(body.next)}`;
  }
  expect(seen).toEqual(['p6', 'p5', 'p4', 'p3', 'p2', 'p1', 'p0']);
  const asked = async (query: string) =>
    (await nodes[0]!.get(`/api/repairs?${query}`)).body.records.map(({ id }) => id);
  expect(await asked('shard=odd&member=n2')).toEqual(['p5', 'p3', 'p1']);
  expect(await asked('member=n3')).toEqual([]);
  expect(await asked('state=failed')).toEqual([]);
  expect(await asked(`kind=pass&changed=true&since=${START + 5}`)).toEqual(['p6', 'p5']);
  for (const query of ['limit=0', 'state=x', 'before=x', 'shard=a&shard=b', 'what=x']) {
    const { status, body } = await nodes[0]!.get(`/api/repairs?${query}`);
    expect([status, body.code]).toEqual([400, 'invalid']);
  }
});

test('a member that does not answer is named, and what the other knows is told', async () => {
  differs('p1', START);
  await nodes[1]!.close();
  const { body } = await nodes[0]!.get('/api/repairs');
  expect(body).toMatchObject({
    unreachable: ['n2'],
    records: [{ id: 'p1', steps: [{ decided: { later: 1 } }], samples: [] }],
  });
  expect(body.members[1]).toEqual({ member: B, name: 'n2', paused: null });
});

test('one line in the log for each pass that changed something or failed, at debug for equal ones, which leave no record', async () => {
  const [, { journal, lines }] = nodes as [AdminNode, AdminNode];
  for (let n = 0; n < 1_000; n++) journal.take({ repairs: [], passes: [passOf(`equal${n}`, START + n, 's', [])] });
  differs('p1', START + 2_000);
  const failed = { ...passOf('f', START + 3_000, 's', []), outcome: 'failed', reason: 'no answer' } as const;
  journal.take({ repairs: [], passes: [failed, { ...failed, id: 'g' }] });
  const told = lines.filter(({ level }) => level >= 30);
  expect(told.map(({ msg, level, repair }) => [msg, level, repair.id])).toEqual([
    ['repair', 30, 'p1'],
    ['repair failed', 40, 'f'],
  ]);
  expect(told[0]!.repair).toMatchObject({
    kind: 'full pass',
    database: 'db',
    steps: [{ from: 'n1', to: 'n2', bytes: 300, ms: 7, decided: { later: 1 } }],
    samples: [{ member: 'n2', from: 'n1', contests: [contest] }],
  });
  expect(lines.filter(({ msg }) => msg === 'replicas equal')).toHaveLength(1_000);
  const { body } = await nodes[1]!.get('/api/repairs');
  expect(body.records.map(({ id, times }) => [id, times])).toEqual([
    ['f', 2],
    ['p1', 1],
  ]);
  journal.take({ repairs: [], passes: [passOf('e1', START + 4_000, 's', []), passOf('e2', START + 5_000, 't', [])] });
  expect((await nodes[1]!.get('/api/repairs')).body.equal).toEqual({ shards: 2, passes: 2, oldestMs: START + 4_000 });
  const equal = { shard: 't', pass: 'e2', kind: 'full', finishedMs: START + 5_000, ms: 9, passes: 1 };
  expect((await nodes[1]!.get('/api/repairs?shard=t')).body.equal).toEqual(equal);
});

test('a pass that was overtaken is a record of its own kind, one for many in vain, and no failure in the log', async () => {
  const [node] = nodes as [AdminNode];
  const { journal, lines } = node;
  const reason = `overtaken by a newer proof: the floor of ${B} is above the cutoff`;
  const overtaken = (id: string, finishedMs: number) =>
    ({ ...passOf(id, finishedMs, 's', []), outcome: 'overtaken', reason }) as const;
  journal.take({
    repairs: [],
    passes: [passOf('equal', START, 's', []), overtaken('o1', START + 1), overtaken('o2', START + 2)],
  });
  expect(lines.filter(({ level }) => level >= 30)).toEqual([]);
  expect(lines.filter(({ repair }) => repair?.id === 'o1')).toMatchObject([
    { repair: { outcome: 'overtaken', kind: 'full pass' } },
  ]);
  expect((await node.get('/api/repairs?state=failed')).body.records).toEqual([]);
  expect((await node.get('/api/repairs?state=overtaken')).body.records).toMatchObject([
    { id: 'o1', times: 2, outcome: 'overtaken', reason },
  ]);
  expect((await node.get('/api/repairs')).body.equal).toMatchObject({ passes: 1 });
  const moved = { ...overtaken('o3', START + 3), hops: [stepOf(A, B, { batches: 1, rows: 2, bytes: 300, ms: 7 })] };
  journal.take({ repairs: [], passes: [moved] });
  expect(lines.filter(({ level }) => level >= 30).map(({ msg, level, repair }) => [msg, level, repair.id])).toEqual([
    ['repair', 30, 'o3'],
  ]);
});
