/** The end of a pass is told once by each member, and counted once in a cluster. */
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { encodeMessage, type Message } from '../../repair/replica-messages.ts';
import { RepairMetrics } from '../../server/repair-metrics.ts';
import { NUMBERS, Trio } from './trio.ts';

const THIRD = NUMBERS[2]!;

/** The third owner lacks two batches, and gets them in one pass; `proofs` are what was said at its end. */
function repaired() {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  const proofs: { from: string; to: string; message: Message }[] = [];
  trio.onSend = (from, to, message) => {
    if (message.t === 'proven') proofs.push({ from, to, message });
    return message.t === 'mail' && to === THIRD ? 'lost' : null;
  };
  trio.write(0);
  trio.write(0);
  trio.pass(100);
  trio.hear();
  trio.proofsInFull();
  const { id } = trio.repair(0, 'ring');
  expect(trio.hosts[0]!.repairs(id)[0]).toMatchObject({ state: 'done', batchesMoved: 2 });
  return { trio, proofs };
}

test('a proof that comes again tells nothing', () => {
  const { trio, proofs } = repaired();
  const told = trio.passes.length;
  expect(told).toBe(3);
  expect(proofs.length).toBeGreaterThan(0);
  for (const { from, to, message } of proofs)
    trio.hosts[NUMBERS.indexOf(to)]!.receive(from, [encodeMessage(message, [])], trio.now);
  expect(trio.passes.length).toBe(told);
});

test('that it was proven is news where it was heard that it has failed', () => {
  const { trio } = repaired();
  trio.onSend = () => {};
  trio.pass(100);
  trio.hear();
  const proven = trio.passes.at(-1)!;
  const record = { ...proven, id: 'another', reason: 'not proven' };
  const told = trio.passes.length;
  for (const outcome of ['failed', 'failed', 'proven', 'failed', 'proven'] as const)
    trio.say(1, 0, { t: 'pass-ended', shard: record.shard, record: { ...record, outcome } });
  expect(trio.passes.slice(told).map(({ outcome }) => outcome)).toEqual(['failed', 'proven']);
});

test('sums of the metrics of all nodes count a pass, and what it moved, once', async () => {
  const { trio } = repaired();
  const sums = new Map<string, number>();
  for (const [i, host] of trio.hosts.entries()) {
    const registry = new Registry();
    const metrics = new RepairMetrics(registry);
    metrics.passEnded(trio.passes[i]!, NUMBERS[i]!);
    // Scraped twice.
    for (let n = 0; n < 2; n++) metrics.collect([host.counters(), {}]);
    for (const line of (await registry.metrics()).split('\n')) {
      const [, name, value] = /^(\w+_total|\w+_seconds_count)\S* (\d+)$/.exec(line) ?? [];
      if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
    }
  }
  expect(Object.fromEntries(sums)).toEqual({
    starling_repair_passes_total: 1,
    starling_repair_pass_seconds_count: 1,
    starling_repair_differences_found_total: 1,
    starling_repair_differences_repaired_total: 2,
  });
});
