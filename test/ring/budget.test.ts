import { describe, expect, test } from 'vitest';
import { RepairBudget, type RepairKind, UNLIMITED } from '../../repair/budget.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const THIRD = NUMBERS[2]!;

/** A budget that time passes for. */
function budget() {
  const counted = new Map<string, number>();
  let workMs = 0;
  const own = new RepairBudget(
    () => workMs,
    (name, by) => counted.set(name, (counted.get(name) ?? 0) + by),
  );
  let nowMs = 1_000;
  own.tick(nowMs);
  const pass = (ms: number) => {
    for (const end = nowMs + ms; nowMs < end; own.tick(nowMs)) nowMs += 20;
  };
  const work = (ms: number) =>
    own.metered(() => {
      workMs += ms;
    });
  return { own, pass, work, counted };
}

describe('a budget', () => {
  test('without limits everything runs at once', () => {
    const { own } = budget();
    let ran = 0;
    for (let i = 0; i < 100; i++) own.whenOpen('pulls', 1e6, () => ran++);
    expect(ran).toBe(100);
  });

  test('a rate of bytes holds over seconds, whatever the estimates were, and may be changed while requests wait', () => {
    const { own, pass } = budget();
    own.set({ ...UNLIMITED, bytesPerSecond: 100_000 });
    let bytes = 0;
    const ask = () =>
      own.whenOpen('pulls', 1_000, () => {
        own.settle(1_000, 5_000);
        bytes += 5_000;
        ask();
      });
    // Each of them asks again as soon as it was answered.
    for (let i = 0; i < 10; i++) ask();
    pass(10_000);
    expect(bytes).toBeGreaterThan(950_000);
    expect(bytes).toBeLessThan(1_000_000 + 20_000 + 10 * 5_000);
    own.set({ ...UNLIMITED, bytesPerSecond: 1_000_000 });
    const before = bytes;
    pass(1_000);
    expect(bytes - before).toBeGreaterThan(950_000);
  });

  test('a share of a core: work that was done is waited for until it is no more than the share', () => {
    const { own, pass, work, counted } = budget();
    own.set({ ...UNLIMITED, cpuShare: 0.1 });
    const ask = (): void =>
      own.whenOpen('pulls', 0, () => {
        work(5);
        ask();
      });
    ask();
    pass(10_000);
    expect(counted.get('repair_cpu_ms')).toBeGreaterThan(950);
    expect(counted.get('repair_cpu_ms')).toBeLessThan(1_030);
  });

  test('what was taken while there was no limit is nobody’s debt', () => {
    const { own, work } = budget();
    own.charge(1e9);
    work(1e6);
    own.set({ ...UNLIMITED, bytesPerSecond: 1_000, cpuShare: 0.5 });
    expect(own.hasRoom).toBe(true);
  });

  test('what a query waits for goes on while it is paused, at the rate that there is', () => {
    const { own, pass } = budget();
    own.set({ ...UNLIMITED, bytesPerSecond: 1_000, paused: true });
    const order: string[] = [];
    for (const kind of ['copies', 'reads', 'pulls', 'reads'] as const)
      own.whenOpen(kind, 1_000, () => order.push(kind));
    pass(500);
    expect(order).toEqual(['reads']);
    pass(1_000);
    expect(order).toEqual(['reads', 'reads']);
    own.set(UNLIMITED);
    pass(20);
    expect(order).toEqual(['reads', 'reads', 'copies', 'pulls']);
  });

  test('a copy that always wants more leaves their turns to all others, and all have their shares', () => {
    const { own, pass } = budget();
    own.set({ ...UNLIMITED, bytesPerSecond: 10_000 });
    const ran: string[] = [];
    // Each asks for the next before there is room for it.
    const goOn = (kind: RepairKind): void =>
      own.whenOpen(kind, 1_000, () => {
        ran.push(kind);
        goOn(kind);
      });
    const send = () => {
      while (own.roomToSend()) {
        own.charge(1_000);
        ran.push('sends');
      }
    };
    const shareOf = (kind: string) => ran.filter((each) => each === kind).length / ran.length;
    goOn('copies');
    pass(5_000);
    expect(ran.length).toBeGreaterThan(45);
    for (const kind of ['reads', 'pulls'] as const) own.whenOpen(kind, 1_000, () => ran.push(kind));
    for (let i = 0; i < 50; i++) {
      send();
      pass(20);
    }
    for (const kind of ['reads', 'pulls', 'sends']) expect(ran).toContain(kind);
    for (const kind of ['copies', 'reads', 'pulls', 'pulls'] as const) goOn(kind);
    ran.length = 0;
    for (let i = 0; i < 1_000; i++) {
      send();
      pass(20);
    }
    expect(ran.length).toBeGreaterThan(180);
    expect(shareOf('copies')).toBeCloseTo(0.5, 1);
    for (const kind of ['reads', 'pulls', 'sends']) expect(shareOf(kind)).toBeGreaterThan(0.14);
  });
});

describe('a worker among three', () => {
  function behind(batches: number): Trio {
    const trio = new Trio(3, { fetchBatchesMax: 1, fetchBytesMax: 1_000 });
    trio.write(0, 'all');
    trio.onSend = (_, to, message) => (message.t === 'mail' && to === THIRD ? 'lost' : null);
    for (let i = 0; i < batches; i++) trio.write(0);
    trio.pass(100);
    trio.hear();
    return trio;
  }

  test('a pull goes no faster than the rate, and on when it is lifted; nothing fails', () => {
    const trio = behind(60);
    trio.hosts[2]!.setRepairRates({ ...UNLIMITED, bytesPerSecond: 2_000 });
    const from = trio.now;
    trio.repair(0, 'ring');
    trio.pass(3_000);
    const bytes = trio.hosts[2]!.counters().repair_bytes!;
    expect(trio.counts()[2]).toBeLessThan(60);
    expect(bytes / ((trio.now - from) / 1_000)).toBeLessThan(2_700);
    expect(bytes).toBeGreaterThan(3_000);
    trio.hosts[2]!.setRepairRates(UNLIMITED);
    trio.pass(1_000);
    expect(trio.counts()).toEqual([61, 61, 61]);
    expect(trio.passes.at(-1)).toMatchObject({ outcome: 'proven', kind: 'full', batchesMoved: 60 });
  });

  test('a paused node starts no pass and takes part in none; its shards say so; it goes on where it was', () => {
    const trio = behind(3);
    trio.hosts[2]!.setRepairRates({ ...UNLIMITED, paused: true });
    expect(trio.repair(2, 'ring')).toMatchObject({ state: 'failed', message: expect.stringContaining('paused') });
    expect(trio.repair(0, 'ring')).toMatchObject({ message: expect.stringContaining('n3 (repair is paused there)') });
    expect(trio.counts()).toEqual([4, 4, 1]);
    trio.write(2);
    expect(trio.hosts[2]!.describeShard(ID)).toMatchObject({ heldBackBy: 'repair is paused on this node' });
    trio.hosts[2]!.setRepairRates(UNLIMITED);
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([5, 5, 5]);
    expect(trio.hosts[2]!.describeShard(ID)!.converged!.through >= makeStamp(trio.now - 1_000, 0)).toBe(true);
  });
});
