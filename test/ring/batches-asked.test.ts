/** A batch that several pulls of a replica lack is asked for once, and a source that does not answer holds nobody up. */
import { expect, test } from 'vitest';
import type { Message } from '../../repair/replica-messages.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [, SECOND, THIRD] = NUMBERS as [string, string, string];
const BATCHES = 40;

/** Its third member has lost its disk. */
function missingEverything(limits = {}): Trio {
  const trio = new Trio(3, { fetchBatchesMax: 7, ...limits });
  for (let i = 0; i < BATCHES; i++) trio.write(0, 'all');
  trio.boot(THIRD);
  trio.pass(100);
  trio.hear();
  return trio;
}

const given = (trio: Trio) => trio.hosts.map((host) => host.counters().repair_batches_given ?? 0);

test('two passes at the same time: what both find missing comes once', () => {
  const trio = missingEverything();
  for (const at of [0, 1]) trio.hosts[at]!.startRepair({ id: `r${at}`, shard: ID, mode: 'ring' }, trio.now);
  const asked: number[] = [];
  trio.onSend = (from, _, message) => {
    if (from === THIRD && message.t === 'fetch') asked.push(message.versions.length);
  };
  trio.settle();
  expect(trio.passes.filter(({ outcome }) => outcome === 'proven').length).toBeGreaterThanOrEqual(2);
  expect(trio.counts()).toEqual([BATCHES, BATCHES, BATCHES]);
  expect(asked.reduce((sum, each) => sum + each, 0)).toBe(BATCHES);
  expect(Math.max(...asked)).toBe(7);
  expect(given(trio).reduce((sum, each) => sum + each, 0)).toBe(BATCHES);
});

test('a source that is asked and says nothing: after a time-out another pull asks its own source for the same', () => {
  const trio = missingEverything();
  const lost = (message: Message, to: string) => message.t === 'fetch' && to === SECOND;
  trio.onSend = (_, to, message) => (lost(message, to) ? 'lost' : undefined);
  trio.hosts[0]!.startRepair({ id: 'r', shard: ID, mode: 'ring' }, trio.now);
  trio.settle();
  expect(trio.counts()[2]).toBe(0);
  trio.level(2, 'all', { timeoutMs: 10_000 });
  trio.pass(500);
  // Seven are waited for; the others came from the first member.
  expect(trio.counts()[2]).toBe(BATCHES - 7);
  trio.pass(700);
  expect(trio.counts()[2]).toBe(BATCHES);
});

test('a pass that is over while a batch is on its way: what comes is kept and is not asked for again', () => {
  const trio = missingEverything({ fetchBatchesMax: 256 });
  let asked = 0;
  trio.onSend = (from, _, message) => {
    if (from !== THIRD || message.t !== 'fetch') return;
    asked += message.versions.length;
    for (const host of trio.hosts) for (const { id } of host.repairs()) host.controlRepair(id, 'cancel');
  };
  trio.hosts[0]!.startRepair({ id: 'r', shard: ID, mode: 'ring' }, trio.now);
  trio.settle();
  expect(trio.passes.map(({ outcome }) => outcome)).not.toContain('proven');
  expect(trio.counts()[2]).toBe(BATCHES);
  trio.onSend = () => {};
  trio.repair(0, 'ring');
  expect(trio.passes.at(-1)!.outcome).toBe('proven');
  expect(asked).toBe(BATCHES);
  expect(given(trio).reduce((sum, each) => sum + each, 0)).toBe(BATCHES);
});
