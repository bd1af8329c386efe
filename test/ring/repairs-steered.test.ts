/** Repairs that were asked for: paused, resumed, cancelled; how long they will still take; and what is kept of them. */
import { describe, expect, test } from 'vitest';
import type { RepairOrder } from '../../repair/repair-order.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { ID, NUMBERS, START, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];

function written(limits = {}): Trio {
  const trio = new Trio(3, limits);
  for (let i = 0; i < 4; i++) trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  return trio;
}
/** A shard of a kilobyte, and a rate of some hundred bytes a second. */
const SLOW = { scrubBytesPerSecond: 200, mendBytesPerSecond: 200 };
function slowToRead(trio: Trio): Trio {
  for (const { shards } of trio.storages) shards.get(ID)!.care.readingBytes = 1_000;
  return trio;
}
const last = (trio: Trio, at = 0) => trio.hosts[at]!.repairs().at(-1)!;
const orderNamed = (id: string, shards: number): RepairOrder => {
  const where = { members: [{ member: FIRST, shards }], unreachable: [], without: [], revision: 0 };
  return { id, mode: 'scrub', scope: 'all', startedMs: START, ...where };
};

describe('paused', () => {
  test.each([
    ['before its token has left', false],
    ['while its token is at another member', true],
  ])('a pass, %s, for longer than any pass may last: resumed it begins anew and ends', (_, isAway) => {
    const trio = written();
    if (isAway) trio.onSend = (from, __, message) => (message.t === 'token' && from === SECOND ? 'lost' : null);
    trio.hosts[0]!.startRepair({ id: 'p', shard: ID, mode: 'ring' }, trio.now);
    if (isAway) trio.settle();
    trio.hosts[0]!.controlRepair('p', 'pause');
    trio.settle();
    trio.onSend = () => {};
    trio.hear();
    for (let i = 0; i < 3; i++) {
      trio.now += DEFAULT_REPLICA_LIMITS.passMsMax;
      trio.pass(200);
    }
    trio.hear();
    expect(last(trio)).toMatchObject({ state: 'paused', message: 'paused by the operator', etaMs: null });
    expect(last(trio).workedMs).toBeLessThan(1_000);
    trio.hosts[0]!.controlRepair('p', 'resume');
    trio.settle();
    expect(last(trio)).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
    expect(trio.passes.filter(({ reason }) => reason === 'paused by the operator').length).toBeGreaterThan(0);
  });

  test('a pass that cannot begin when it is resumed does so as soon as it can', () => {
    const trio = written();
    trio.hosts[0]!.startRepair({ id: 'p', shard: ID, mode: 'ring' }, trio.now);
    trio.hosts[0]!.controlRepair('p', 'pause');
    trio.view = 'w';
    trio.views.set(SECOND, 'v');
    trio.views.set(THIRD, 'v');
    trio.hosts[0]!.setRepairRates({ paused: true, bytesPerSecond: null, cpuShare: null });
    trio.hosts[0]!.controlRepair('p', 'resume');
    trio.pass(1_000);
    expect(last(trio)).toMatchObject({ state: 'running', message: expect.stringContaining('to be begun anew: ') });
    expect(last(trio).workedMs).toBe(0);
    trio.views.clear();
    trio.view = 'v';
    trio.hosts[0]!.setRepairRates({ paused: false, bytesPerSecond: null, cpuShare: null });
    trio.hear();
    trio.pass(500);
    expect(last(trio)).toMatchObject({ state: 'done' });
  });

  test('a scrub reads nothing until it is resumed, and others of its kind go on', () => {
    const trio = slowToRead(written(SLOW));
    const [held, other] = [trio.repair(0, 'scrub').id, trio.repair(0, 'scrub').id];
    trio.pass(100);
    trio.hosts[0]!.controlRepair(held, 'pause');
    const read = () => trio.hosts[0]!.repairs(held)[0]!;
    const { bytesMoved } = read();
    trio.pass(20_000);
    expect(read()).toMatchObject({ state: 'paused', bytesMoved });
    expect(trio.hosts[0]!.repairs(other)[0]).toMatchObject({ state: 'done' });
    trio.hosts[0]!.controlRepair(held, 'resume');
    trio.pass(20_000);
    expect(read()).toMatchObject({ state: 'done' });
  });

  test('a preview asks nothing until it is resumed; an answer that comes meanwhile changes nothing', () => {
    const trio = written();
    trio.hosts[0]!.startRepair({ id: 'v', shard: ID, mode: 'preview' }, trio.now);
    trio.hosts[0]!.controlRepair('v', 'pause');
    trio.settle();
    trio.pass(2_000);
    expect(last(trio)).toMatchObject({ state: 'paused', hop: 0, differences: [] });
    trio.hosts[0]!.controlRepair('v', 'resume');
    trio.settle();
    expect(last(trio)).toMatchObject({ state: 'done', message: 'no differences among the 3 compared replicas' });
  });

  test('a mend goes on, whatever is said to it', () => {
    const trio = written();
    trio.storages[1]!.shards.get(ID)!.batches.clear();
    trio.repair(1, 'scrub');
    trio.cut.add(FIRST).add(THIRD);
    trio.hear();
    trio.pass(300);
    const mend = trio.hosts[1]!.repairs().find(({ mode }) => mode === 'mend')!;
    expect(trio.hosts[1]!.orders(mend.id)).toMatchObject([{ order: { mode: 'mend', scope: `shard ${ID}` } }]);
    for (const action of ['pause', 'cancel'] as const) trio.hosts[1]!.controlRepair(mend.id, action);
    expect(trio.hosts[1]!.repairs(mend.id)).toMatchObject([{ state: 'running' }]);
    trio.cut.clear();
    trio.hear();
    trio.pass(10_000);
    expect(trio.hosts[1]!.repairs(mend.id)).toMatchObject([{ state: 'done' }]);
    expect(trio.hosts[1]!.orders(mend.id)).toEqual([]);
  });
});

describe('how long it will take', () => {
  test('a preview: as long for the replicas that are left as for those that were compared', () => {
    const trio = written();
    const first = trio.hosts[0]!;
    let isLate = true;
    let answered = '';
    // One member answers, whichever it is, and late.
    trio.onSend = (from, _, message) => {
      if (message.t !== 'compare-answer') return null;
      if (!isLate && answered === '') answered = from;
      return from === answered ? null : 'lost';
    };
    const { id, etaMs } = trio.repair(0, 'preview');
    expect(etaMs).toBe(null);
    trio.pass(900);
    isLate = false;
    trio.pass(300);
    const now = first.repairs(id)[0]!;
    expect(now).toMatchObject({ state: 'running', hop: 1, hops: 2, percentage: 50 });
    // The repeated question was answered after a second.
    expect([now.etaMs, now.workedMs]).toEqual([1_000, 1_200]);
    trio.onSend = () => {};
    trio.pass(2_000);
    expect(first.repairs(id)[0]).toMatchObject({ state: 'done', etaMs: null });
  });

  test('a mend: what it has not read yet of two readings, as fast as it has read', () => {
    const trio = written(SLOW);
    trio.storages[1]!.shards.get(ID)!.batches.clear();
    trio.repair(1, 'scrub');
    slowToRead(trio);
    trio.hear();
    const now = () => trio.hosts[1]!.repairs().find(({ mode }) => mode === 'mend')!;
    const ends: number[] = [];
    for (; now()?.state !== 'done'; trio.pass(500)) if (now()?.etaMs != null) ends.push(trio.now + now().etaMs!);
    expect(now().etaMs).toBe(null);
    // Two kilobytes at 200 bytes a second.
    expect(now().workedMs).toBeGreaterThan(9_000);
    expect(now().workedMs).toBeLessThan(12_000);
    expect(ends.length).toBeGreaterThan(15);
    // What was saved up before is read at once: of the first second one cannot tell the speed.
    for (const end of ends.slice(2)) expect(Math.abs(end - now().finishedMs!)).toBeLessThan(1_500);
  });

  test('a scrub counts from when it was its turn', () => {
    const trio = slowToRead(written(SLOW));
    const [one, two] = [trio.repair(0, 'scrub').id, trio.repair(0, 'scrub').id];
    const now = (id: string) => trio.hosts[0]!.repairs(id)[0]!;
    for (; now(one).state === 'running'; ) {
      expect(now(two).etaMs).toBe(null);
      trio.pass(50);
    }
    expect(now(one).workedMs).toBeGreaterThan(4_500);
    trio.pass(2_500);
    const { etaMs } = now(two);
    expect(etaMs).toBeGreaterThan(2_000);
    expect(etaMs).toBeLessThan(3_000);
  });
});

describe('an order', () => {
  test('is kept with its parts over a restart, and what was paused stays so', () => {
    const trio = slowToRead(written(SLOW));
    trio.hosts[0]!.noteOrder(orderNamed('o', 2));
    trio.hosts[0]!.startRepair({ id: 'o.a', shard: ID, mode: 'scrub' }, trio.now);
    trio.hosts[0]!.startRepair({ id: 'o.b', shard: ID, mode: 'scrub' }, trio.now);
    trio.pass(200);
    trio.hosts[0]!.controlRepair('o', 'pause');
    // With the very next tick: it has been said that it is paused.
    trio.pass(50);
    const files = trio.files[0]!;
    files.crash();
    trio.boot(FIRST, trio.storages[0]!.disk, files);
    trio.hear();
    trio.pass(500);
    const [status] = trio.hosts[0]!.orders();
    expect(status).toMatchObject({ order: orderNamed('o', 2), tally: { shards: 2, states: { paused: 2 } } });
    expect(status!.tally.workedMs).toBeLessThan(1_000);
    trio.hosts[0]!.controlRepair('o', 'resume');
    trio.pass(40_000);
    expect(trio.hosts[0]!.orders('o')).toMatchObject([{ tally: { states: { done: 2 } } }]);
    expect(trio.hosts[0]!.orders('other')).toEqual([]);
  });

  test('of more shards than repairs are kept is known in full; older ones by their sums', () => {
    const trio = written({ repairsKeptMax: 4 });
    for (const id of ['x', 'y', 'z']) {
      trio.hosts[0]!.noteOrder(orderNamed(id, 6));
      for (let i = 0; i < 6; i++) trio.hosts[0]!.startRepair({ id: `${id}.${i}`, shard: ID, mode: 'scrub' }, trio.now);
      trio.pass(1_000);
      expect(trio.hosts[0]!.repairs(id)).toHaveLength(6);
      expect(trio.hosts[0]!.orders(id)).toMatchObject([
        { tally: { shards: 6, states: { done: 6 }, percentages: 600 } },
      ]);
    }
    expect(trio.hosts[0]!.repairs('x')).toEqual([]);
    expect(trio.hosts[0]!.orders('x')).toMatchObject([{ tally: { shards: 6, states: { done: 6 }, percentages: 600 } }]);
    for (let i = 0; i < 8; i++) trio.hosts[0]!.noteOrder(orderNamed(`e${i}`, 0));
    expect(trio.hosts[0]!.orders().map(({ order }) => order.id)).not.toContain('x');
    expect(trio.hosts[0]!.orders().length).toBeLessThanOrEqual(5);
  });

  test('that is told again counts when it was told later', () => {
    const trio = written();
    const host = trio.hosts[0]!;
    for (const revision of [0, 1, 0]) host.noteOrder({ ...orderNamed('o', revision), revision });
    expect(host.orders('o')).toMatchObject([{ order: { revision: 1, members: [{ shards: 1 }] } }]);
  });
});
