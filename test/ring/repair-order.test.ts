/** How long an order will take, from what its workers have done and what their parts have measured. */
import { expect, test } from 'vitest';
import {
  EMPTY_TALLY,
  etaOf,
  NO_STATES,
  outranks,
  type RepairOrder,
  type RepairTally,
} from '../../repair/repair-order.ts';

const running = (shards: number, percentages: number, workedMs: number, etaMs: number | null = null): RepairTally => ({
  ...EMPTY_TALLY,
  shards,
  states: { ...NO_STATES, running: 1, done: shards - 1 },
  percentages,
  workedMs,
  etaMs,
});
const ended = (shards: number): RepairTally => ({
  ...EMPTY_TALLY,
  shards,
  states: { ...NO_STATES, done: shards },
  percentages: 100 * shards,
  workedMs: 5_000,
});

test.each<[string, RepairTally[], number | null]>([
  ['nothing runs', [ended(3)], null],
  ['nothing has been done yet', [running(4, 0, 1_000)], null],
  ['nothing has been done, but a part has measured', [running(4, 0, 1_000, 700)], 700],
  ['a quarter of the shards in a second, none of the rest has measured', [running(4, 100, 1_000)], 3_000],
  ['half of one shard of two', [running(2, 50, 1_000)], 3_000],
  ['a part that says that it takes longer', [running(4, 300, 3_000, 60_000)], 60_000],
  ['the slower worker decides', [running(4, 300, 3_000), running(4, 100, 3_000)], 9_000],
  ['a worker that has done nothing is as fast as all together', [running(2, 0, 1_000), running(2, 100, 1_000)], 3_000],
  ['a worker that is done does not count, but for the speed', [ended(3), running(1, 0, 1_000)], 333],
  ['what is paused does not', [{ ...running(4, 100, 1_000), states: { ...NO_STATES, paused: 4 } }], null],
])('%s', (_, tallies, expected) => {
  expect(etaOf(tallies)).toBe(expected);
});

test('of two ends that were found on two sides of a cut everybody takes the same', () => {
  const order: RepairOrder = {
    id: 'a',
    mode: 'scrub',
    scope: 'all',
    startedMs: 1,
    members: [],
    unreachable: [],
    without: [],
    revision: 1,
  };
  const failed = { ...ended(3), states: { ...NO_STATES, done: 2, failed: 1 } };
  const later = { ...ended(3), finishedMs: 7 };
  const [done, other, worse, open] = [ended(3), later, failed, undefined].map((each) => ({ ...order, ended: each }));
  for (const [better, than] of [
    [done, worse],
    [worse, open],
    [{ ...worse!, revision: 2 }, done],
  ]) {
    expect(outranks(better!, than!)).toBe(true);
    expect(outranks(than!, better!)).toBe(false);
  }
  expect(outranks(done!, other!)).not.toBe(outranks(other!, done!));
  expect(outranks(done!, done!)).toBe(false);
});
