import { expect, test } from 'vitest';
import { shardId } from '../../shards/shard-key.ts';
import { KEY, NUMBERS, Trio } from './trio.ts';

const ID = shardId(KEY);

/** Two of three own the shard; the third coordinates writes. */
function pair(): { trio: Trio; stranger: number; absent: string } {
  const limits = { outboxBytesMax: 700, outboxSegmentBytes: 400, passIntervalMs: 2_000, staggerMs: 200 };
  const trio = new Trio(2, limits);
  trio.write(0, 'all');
  trio.pass(2_500);
  trio.hear();
  const stranger = trio.hosts.findIndex((host) => host.describeShard(ID) === null);
  return { trio, stranger, absent: NUMBERS.find((_, i) => i !== stranger)! };
}

function beat(trio: Trio, ms: number): void {
  for (const end = trio.now + ms; trio.now < end; ) {
    trio.pass(200);
    trio.hear();
  }
}

test('who owes something of a shard that it does not hold learns that it is proven, and nobody else is told', () => {
  const { trio, stranger, absent } = pair();
  beat(trio, 5_000);
  expect(trio.sent.filter((kind) => kind.startsWith('converged'))).toEqual([]);
  trio.cut.add(absent);
  trio.hear();
  for (let i = 0; i < 8; i++) {
    trio.write(stranger);
    trio.pass(1_500);
  }
  const debts = () => trio.hosts[stranger]!.counters().outbox_debts;
  expect(debts()).toBeGreaterThan(0);
  trio.cut.clear();
  trio.hear();
  // One of them gets lost.
  let lost = 0;
  trio.onSend = (_from, _to, { t }) => (t === 'converged' && lost++ === 0 ? 'lost' : null);
  beat(trio, 12_000);
  expect(lost).toBeGreaterThan(1);
  expect(debts()).toBe(0);
  expect(new Set(trio.counts())).toEqual(new Set([9, 0]));
});
