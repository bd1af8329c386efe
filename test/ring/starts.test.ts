import { describe, expect, test } from 'vitest';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import type { Replica, ReplicaTable } from '../../repair/replica-table.ts';
import type { Held } from '../../repair/ring-held.ts';
import { PullSlots } from '../../repair/ring-slots.ts';
import { PassStarts } from '../../repair/ring-starts.ts';
import type { Surroundings } from '../../repair/surroundings.ts';
import { makeStamp } from '../../shards/version.ts';

const LIMITS = { ...DEFAULT_REPLICA_LIMITS, passIntervalMs: 10_000, staggerMs: 1_000, pullsAtOnceMax: 2 };
const SELF = '1'.repeat(16);
const OTHER = '2'.repeat(16);

function at(nowMs: number, ranks: Record<string, string[]> = {}): Surroundings {
  const owners = (key: { database: string }) => ranks[key.database] ?? [SELF, OTHER];
  return { self: SELF, nowMs, limits: LIMITS, random: () => 0.5, owners } as never;
}

function replica(id: string, begunMs: number, convergedMs = 0, moved = 0, outcome = 'proven'): Replica {
  const converged = convergedMs === 0 ? null : { through: makeStamp(convergedMs, 0) };
  const lastPass = { outcome, batchesMoved: moved };
  return { id, key: { database: id }, ledger: { converged }, notes: { begunMs, lastPass } } as never;
}

function startsOf(around: Surroundings, replicas: Replica[], rest: { debts?: string[]; underWay?: string[] } = {}) {
  const table = new Map(replicas.map((each) => [each.id, each]));
  const starts = new PassStarts({
    replicas: { ids: () => table.keys(), get: (id: string) => table.get(id) ?? null } as unknown as ReplicaTable,
    around,
    underWay: () => new Set(rest.underWay),
    hasDebt: (id) => rest.debts?.includes(id) ?? false,
  });
  return starts.due().map(({ id }) => id);
}

describe('passes that are due', () => {
  const now = 100_000;
  test('those that starve, then debts, then those that differed, then those that are furthest behind', () => {
    const begun = now - 10_000;
    const replicas = [
      replica('even', begun, 95_000),
      replica('behind', begun, 90_000),
      replica('differed', begun, 96_000, 3),
      replica('debt', begun, 97_000),
      replica('starving', now - 20_000, 98_000),
      replica('starving longer', now - 21_000, 99_000),
      replica('never proven', begun),
    ];
    expect(startsOf(at(now), replicas, { debts: ['debt'] })).toEqual([
      ...['starving longer', 'starving', 'debt', 'differed', 'never proven', 'behind', 'even'],
    ]);
  });

  test('a pass that failed comes first, one that was overtaken by a newer proof does not', () => {
    const begun = now - 10_000;
    const replicas = [
      replica('behind', begun, 90_000),
      replica('overtaken', begun, 95_000, 0, 'overtaken'),
      replica('failed', begun, 96_000, 0, 'failed'),
    ];
    expect(startsOf(at(now), replicas)).toEqual(['failed', 'behind', 'overtaken']);
  });

  test('when one is due, others of half its age go along; when none is, none goes', () => {
    const young = replica('young', now - 6_000, 1);
    expect(startsOf(at(now), [young, replica('due', now - 10_000, 2)])).toEqual(['young', 'due']);
    expect(startsOf(at(now), [young, replica('younger', now - 4_000)])).toEqual([]);
    expect(startsOf(at(now), [replica('due', now - 10_000), replica('younger', now - 4_000)])).toEqual(['due']);
  });

  test('an owner of a later rank, and a holder behind them all, waits for the first, and takes nothing along that the first would start', () => {
    const ranks = { second: [OTHER, SELF], none: [OTHER] };
    const shards = (begunMs: number) => ['second', 'none'].map((id) => replica(id, begunMs));
    expect(startsOf(at(now, ranks), shards(now - 10_500))).toEqual([]);
    expect(startsOf(at(now, ranks), shards(now - 11_000))).toEqual(['second', 'none']);
    expect(startsOf(at(now, ranks), [...shards(now - 9_000), replica('own', now - 10_000)])).toEqual(['own']);
  });

  test('a shard whose token is here is not passed once more', () => {
    expect(startsOf(at(now), [replica('a', 0), replica('b', 0)], { underWay: ['a'] })).toEqual(['b']);
  });

  test('they are looked for a few times an interval, and no later than the interval ends', () => {
    const ids: string[][] = [];
    const around = at(now) as { nowMs: number } & Surroundings;
    const one = replica('a', now - 9_800);
    const table = { ids: () => ['a'].values(), get: () => one } as unknown as ReplicaTable;
    const starts = new PassStarts({ replicas: table, around, underWay: () => new Set(), hasDebt: () => false });
    for (; around.nowMs < now + 1_000; around.nowMs += 20) {
      const due = starts.due().map(({ id }) => id);
      if (due.length === 0) continue;
      ids.push(due);
      expect(around.nowMs).toBeLessThanOrEqual(now + 200);
      one.notes.begunMs = around.nowMs;
    }
    expect(ids).toEqual([['a']]);
  });
});

test('pulls: the furthest behind first, and before them who has waited for an interval', () => {
  const around = at(100_000) as { nowMs: number } & Surroundings;
  const slots = new PullSlots(around);
  const started: string[] = [];
  const token = (name: string) => ({ pull: { start: () => started.push(name) } }) as unknown as Held;
  const [a, b, c, d, e, f] = ['a', 'b', 'c', 'd', 'e', 'f'].map(token) as [Held, Held, Held, Held, Held, Held];
  slots.enter(a, '09');
  slots.enter(b, '08');
  slots.enter(c, '07');
  slots.enter(d, '05');
  slots.enter(e, '06');
  expect(started).toEqual(['a', 'b']);
  slots.leave(a);
  expect(started).toEqual(['a', 'b', 'd']);
  slots.leave(e);
  around.nowMs += 11_000;
  slots.enter(f, '01');
  slots.leave(d);
  slots.leave(b);
  slots.leave(b);
  expect(started).toEqual(['a', 'b', 'd', 'c', 'f']);
});
