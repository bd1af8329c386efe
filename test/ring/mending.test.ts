/** A damaged replica becomes full again by itself (protocol rules 20, 21 and 32); what nobody has any more is counted lost. */
import { describe, expect, test } from 'vitest';
import { differedOf } from '../../repair/repair-records.ts';
import { StorageError } from '../../shards/errors.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const ledgerOf = (trio: Trio, at: number) => trio.storages[at]!.ledgers.get(ID)!;
const batchesOf = (trio: Trio, at: number) => trio.storages[at]!.shards.get(ID)!.batches;

/** Time in which statements are heard. */
function live(trio: Trio, ms: number): void {
  for (let passed = 0; passed < ms; passed += 500) {
    trio.pass(500);
    trio.hear();
  }
}

/** Rows of so many batches; all are settled when `isProven`. */
function written(batches: number, isProven: boolean, replication = 3): Trio {
  const trio = new Trio(replication);
  for (let i = 0; i < batches; i++) trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  if (isProven) expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done' });
  trio.hear();
  return trio;
}

function lose(trio: Trio, at: number, count: number): void {
  for (const version of [...batchesOf(trio, at).keys()].sort().slice(0, count)) batchesOf(trio, at).delete(version);
}

test('groups that were replaced are counted by what differed, with a few samples of each', () => {
  const group = (rowsHere: number | null, rowsThere: number) => {
    return { window: 0, measurement: 'm', group: 1, rowsHere, rowsThere };
  };
  expect(differedOf([])).toBeUndefined();
  const changed = Array.from({ length: 9 }, () => group(5, 5));
  const all = [group(null, 5), group(4, 5), group(0, 5), group(6, 5), ...changed];
  const { samples, ...counts } = differedOf(all)!;
  expect(counts).toEqual({ unreadable: 1, fewer: 2, more: 1, changed: 9 });
  expect(samples).toEqual([...all.slice(0, 4), ...changed.slice(0, 4)]);
});

describe('with a full owner', () => {
  test.each([
    ['above the floor: batches are fetched and put back', false],
    ['at or below the floor: settled rows are compared and copied', true],
  ])('%s', (_, isProven) => {
    const trio = written(5, isProven);
    expect(ledgerOf(trio, 1).listed).toBe(isProven ? 0 : 5);
    lose(trio, 1, 2);
    expect(trio.repair(1, 'scrub').state).toBe('failed');
    expect(ledgerOf(trio, 1).replica).toBe('damaged');
    live(trio, 1_000);
    expect(ledgerOf(trio, 1)).toMatchObject({ replica: 'full', damage: null });
    expect(trio.counts()).toEqual([5, 5, 5]);
    expect(trio.hosts[1]!.counters()).toMatchObject({ replicas_mended: 1 });
    const mend = trio.hosts[1]!.repairs().find(({ mode }) => mode === 'mend');
    expect(mend).toMatchObject({ state: 'done', message: expect.stringContaining('mended') });
    const told = trio.repairs.filter(({ kind }) => kind === 'mend');
    expect(told).toMatchObject([{ id: mend!.id, outcome: 'done', lost: null }]);
    const differed = { unreadable: 0, fewer: 1, more: 0, changed: 0, samples: [{ group: expect.any(Number) }] };
    const moved = isProven ? { batches: 0, windows: 1, groups: 1, differed } : { batches: 2, rows: 4 };
    expect(told[0]!.steps).toMatchObject([{ to: NUMBERS[1], ...moved }]);
    for (const { rowsHere, rowsThere } of told[0]!.steps[0]!.differed?.samples ?? [])
      expect(rowsHere).toBeLessThan(rowsThere);
    expect(NUMBERS).toContain(told[0]!.steps[0]!.from);
    expect(told[0]!.steps[0]!.bytes).toBeGreaterThan(100);
    expect(trio.repairs.find(({ kind }) => kind === 'scrub')).toMatchObject({ outcome: 'failed' });
    expect(trio.repair(1, 'scrub').state).toBe('done');
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
  });

  test('it was restarted while damaged: the mend begins anew', () => {
    const trio = written(3, false);
    lose(trio, 1, 1);
    trio.repair(1, 'scrub');
    trio.storages[1]!.shards.get(ID)!.flush();
    trio.boot(NUMBERS[1]!, trio.storages[1]!.disk);
    trio.hear();
    expect(ledgerOf(trio, 1).replica).toBe('damaged');
    live(trio, 1_000);
    expect(ledgerOf(trio, 1).replica).toBe('full');
    expect(trio.counts()).toEqual([3, 3, 3]);
  });

  test('an owner that cannot be reached is waited for while nobody else has the rows', () => {
    const trio = written(3, true);
    lose(trio, 1, 1);
    lose(trio, 2, 1);
    trio.repair(1, 'scrub');
    trio.repair(2, 'scrub');
    trio.cut.add(NUMBERS[0]!);
    trio.hear();
    live(trio, 8_000);
    expect([1, 2].map((at) => ledgerOf(trio, at).replica)).toEqual(['damaged', 'damaged']);
    expect(trio.hosts[1]!.counters().rows_lost ?? 0).toBe(0);
    trio.cut.clear();
    trio.hear();
    live(trio, 8_000);
    expect(trio.storages.map((_, at) => ledgerOf(trio, at).replica)).toEqual(['full', 'full', 'full']);
    expect(trio.counts()).toEqual([3, 3, 3]);
  });
});

test('nobody has a batch any more: it is counted lost, and the replicas are equal without it', () => {
  const trio = written(4, false);
  for (const at of [0, 1, 2]) lose(trio, at, 1);
  for (const at of [0, 1, 2]) trio.repair(at, 'scrub');
  trio.hear();
  live(trio, 30_000);
  expect(trio.storages.map((_, at) => ledgerOf(trio, at).replica)).toEqual(['full', 'full', 'full']);
  expect(trio.counts()).toEqual([3, 3, 3]);
  expect(trio.hosts[0]!.counters().batches_lost).toBe(1);
  expect(trio.repair(0, 'ring')).toMatchObject({ state: 'done', message: 'all replicas proven equal' });
});

test('a scrub whose blocks are replaced under it begins anew', () => {
  const trio = written(3, false);
  const { care } = trio.storages[1]!.shards.get(ID)!;
  const read = care.read.bind(care);
  let begun = 0;
  care.read = (whenBegun) => {
    begun++;
    const step = (): boolean => {
      throw new StorageError('snapshot-gone', 'mended');
    };
    return { ...read(whenBegun), step };
  };
  const { id } = trio.repair(1, 'scrub');
  care.read = read;
  trio.pass(100);
  expect(begun).toBe(1);
  expect(trio.hosts[1]!.repairs().find((status) => status.id === id)).toMatchObject({ state: 'done' });
  expect(ledgerOf(trio, 1).replica).toBe('full');
});

test('the others wait for a full owner to be filled, and the only one is damaged: it goes on without what is lost', () => {
  const trio = written(4, true);
  lose(trio, 2, 1);
  for (const at of [0, 1]) {
    const ledger = ledgerOf(trio, at);
    ledger.replica = 'filling';
    trio.storages[at]!.shards.get(ID)!.flush();
  }
  trio.repair(2, 'scrub');
  trio.hear();
  expect(trio.storages.map((_, at) => ledgerOf(trio, at).replica)).toEqual(['filling', 'filling', 'damaged']);
  live(trio, 30_000);
  expect(trio.storages.map((_, at) => ledgerOf(trio, at).replica)).toEqual(['full', 'full', 'full']);
  expect(trio.counts()).toEqual([3, 3, 3]);
});
