import { expect, test } from 'vitest';
import { UNLIMITED } from '../../repair/budget.ts';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { BoundWatch, type ReplicaProgress } from '../../server/bound-watch.ts';
import { boundWarnings } from '../../server/published-bound.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { ID, KEY } from '../ring/trio.ts';

const START = 1_700_000_000_000;
const DELETES = { boundMs: 80_000, withCopiesMs: 130_000, parts: { passMs: 4_000 } };
const BOUND = { boundMs: 40_000, withCopiesMs: 90_000, parts: { passMs: 400 }, deletes: DELETES, warnings: [] };

function watched() {
  const logged: { level: string; text: string; fields: Record<string, unknown> }[] = [];
  const log = (level: string) => (fields: unknown, text: unknown) =>
    void logged.push({ level, text: String(text), fields: fields as Record<string, unknown> });
  const policy = { name: 'autogen', generation: 0, durationNs: 0n };
  const database = { name: 'd', generation: 0, retentionPolicies: [policy] };
  const now = { ms: START, live: ['a', 'b'], rates: UNLIMITED, written: 0, isMade: true };
  const replica = {
    id: ID,
    key: shardKeyToJson(KEY),
    state: 'full' as ReplicaProgress['state'],
    isOwner: true,
    liveThroughMs: 0,
  };
  const watch = new BoundWatch({
    config: { passIntervalMs: 30_000, outboxBytesMax: 1 << 30 },
    log: { warn: log('warn'), info: log('info') } as never,
    nowMs: () => now.ms,
    snapshot: () =>
      ({ viewHash: 'v', live: now.live, databases: [database], droppedThrough: {} }) as unknown as ClusterSnapshot,
    owners: () => ['a', 'b'],
    rates: () => now.rates,
    bound: async () => BOUND,
    progress: async () => (now.isMade ? [replica] : []),
    heldBackBy: async () => 'n2 is not live',
    writtenBytes: () => now.written,
  });
  const pass = async (ms: number) => {
    for (const end = now.ms + ms; now.ms < end; await watch.look()) now.ms += 10_000;
  };
  const late = () => logged.filter(({ text }) => text.includes('exceeds'));
  return { watch, now, replica, pass, logged, late };
}

test('a shard that is not proven within the bound is counted and logged once, and again after it has caught up', async () => {
  const { watch, now, replica, pass, late } = watched();
  await watch.look();
  await pass(40_000);
  expect(watch.exceeded).toBe(0);
  await pass(30_000);
  expect(watch.exceeded).toBe(1);
  expect(late()).toMatchObject([{ level: 'warn', fields: { shard: ID, database: 'd', heldBackBy: 'n2 is not live' } }]);
  replica.liveThroughMs = now.ms;
  await pass(40_000);
  expect(watch.exceeded).toBe(1);
  await pass(10_000);
  expect(watch.exceeded).toBe(2);
});

test('a shard that is made long after the start, or again, has its bound before it is late', async () => {
  const { watch, now, replica, pass, late } = watched();
  now.isMade = false;
  await watch.look();
  await pass(100_000);
  for (const turn of [1, 2]) {
    now.isMade = true;
    replica.liveThroughMs = 0;
    // Seen first in the first look of it.
    await pass(50_000);
    expect(watch.exceeded).toBe(turn - 1);
    await pass(10_000);
    expect(watch.exceeded).toBe(turn);
    expect(late()[turn - 1]!.fields.lagMs).toBe(50_000);
    now.isMade = false;
    await pass(100_000);
  }
});

test('a member that owns nothing of the shard may come and go: the bound counts on', async () => {
  const { watch, now, pass } = watched();
  await watch.look();
  for (let turn = 0; turn < 6; turn++) {
    now.live = turn % 2 === 0 ? ['a', 'b', 'c'] : ['a', 'b'];
    await pass(10_000);
  }
  expect(watch.exceeded).toBe(1);
});

test('what a member brings that was away counts from when it came', async () => {
  const { watch, now, replica, pass } = watched();
  await watch.look();
  replica.liveThroughMs = now.ms;
  await pass(30_000);
  replica.liveThroughMs = START - 3_600_000;
  await pass(50_000);
  expect(watch.exceeded).toBe(0);
  await pass(20_000);
  expect(watch.exceeded).toBe(1);
});

test('the bound counts from the last change of owners, the end of a pause, the end of a copy; not for others’ shards', async () => {
  const { watch, now, replica, pass } = watched();
  await watch.look();
  await pass(30_000);
  now.live = ['a'];
  await pass(40_000);
  now.rates = { ...UNLIMITED, paused: true };
  await pass(100_000);
  now.rates = UNLIMITED;
  await pass(40_000);
  replica.state = 'filling';
  await pass(100_000);
  replica.state = 'full';
  await pass(40_000);
  expect(watch.exceeded).toBe(0);
  replica.isOwner = false;
  await pass(100_000);
  expect(watch.exceeded).toBe(0);
  replica.isOwner = true;
  await pass(10_000);
  expect(watch.exceeded).toBe(1);
});

test('a delete shard, which all members own, has a bound of its own', async () => {
  const { watch, replica, pass, late } = watched();
  replica.key = shardKeyToJson(deleteShardOf(KEY));
  await watch.look();
  await pass(80_000);
  expect(watch.exceeded).toBe(0);
  await pass(10_000);
  expect(late()).toMatchObject([{ fields: { boundMs: 80_000, lagMs: 90_000 } }]);
});

test('what stands in the way of the bound is logged when it begins', async () => {
  const { watch, now, replica, pass, logged } = watched();
  const problems = () => logged.filter(({ level }) => level === 'warn').map(({ fields }) => String(fields.problem));
  now.rates = { ...UNLIMITED, bytesPerSecond: 3 << 20 };
  await watch.look();
  expect(logged[0]).toMatchObject({ level: 'info', fields: { boundMs: 40_000 } });
  for (let i = 0; i < 18; i++) {
    now.written += 10 * (5 << 20);
    replica.liveThroughMs = now.ms;
    await pass(10_000);
  }
  expect(problems()).toEqual([expect.stringContaining('repair may move 3072 KiB/s, and writes come at 5120 KiB/s')]);
  expect(watch.warnings).toHaveLength(1);
});

test.each([
  ['nothing', {}, {}, {}, 1_000, []],
  [
    'passes of deletes longer than the interval',
    {},
    { deletes: { parts: { passMs: 31_000 } } },
    {},
    null,
    [/deletes.*31\.0 s/],
  ],
  ['a pause', {}, {}, { paused: true }, null, [/paused on this node/]],
  [
    'passes longer than the interval',
    {},
    { parts: { passMs: 31_000 } },
    {},
    null,
    [/31\.0 s, longer than the interval of 30\.0 s/],
  ],
  ['an outbox that is full before the bound', { outboxBytesMax: 1_000_000 }, {}, {}, 100_000, [/full after 10\.0 s/]],
  ['a rate below that of the writes', {}, {}, { bytesPerSecond: 99_000 }, 100_000, [/does not catch up/]],
])('%s', (_, config, parts, rates, written, expected) => {
  const bound = { boundMs: 40_000, parts: { passMs: 400 }, deletes: DELETES, ...parts };
  const texts = boundWarnings(
    { passIntervalMs: 30_000, outboxBytesMax: 1 << 30, ...config },
    bound,
    { ...UNLIMITED, ...rates },
    written,
  );
  expect(texts).toHaveLength(expected.length);
  for (const [i, text] of texts.entries()) expect(text).toMatch(expected[i]!);
});
