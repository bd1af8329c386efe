/** An outbox without room loses nothing: what does not fit is refused, is owed by the ring, or waits where it is. */
import { expect, test } from 'vitest';
import { rootToJson } from '../../repair/ledger.ts';
import { makeStamp } from '../../shards/version.ts';
import { fence, writeLonely } from './lonely.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const [, SECOND, THIRD] = NUMBERS as [string, string, string];
/** Of a frame and its keys as `Trio.write` makes them. */
const BATCH_BYTES = 200;
const SMALL = { outboxBytesMax: 6 * BATCH_BYTES, outboxSegmentBytes: 3 * BATCH_BYTES };

test('a replica that is to be filled owes several times what its outbox holds: all of it gets to the others', () => {
  const trio = new Trio(3, SMALL);
  for (let i = 0; i < 5; i++) trio.write(0, 'all');
  writeLonely(trio, 2, 40);
  expect(trio.counts()).toEqual([5, 5, 45]);
  trio.cut.clear();
  trio.hear();
  trio.say(0, 2, fence);
  const bytes: number[] = [];
  let isOpen = false;
  for (let i = 0; i < 100 && trio.hosts[2]!.describeShard(ID)!.state !== 'full'; i++) {
    const missing = Math.min(...trio.counts()) < 45;
    const open = trio.hosts[2]!.openVersions().some(({ acknowledgedBy }) => acknowledgedBy.length === 0);
    // Rule 9: closing sees what nobody else has.
    if (missing) expect(open).toBe(true);
    isOpen ||= open;
    bytes.push(trio.hosts[2]!.counters().outbox_bytes!);
    trio.pass(1_000);
    trio.hear();
  }
  expect(isOpen).toBe(true);
  expect(Math.max(...bytes)).toBeGreaterThan(SMALL.outboxBytesMax / 2);
  expect(Math.max(...bytes)).toBeLessThanOrEqual(SMALL.outboxBytesMax);
  expect(trio.hosts[2]!.counters()).toMatchObject({ replicas_filled: 1, fill_waits_for_outbox: expect.any(Number) });
  expect(trio.counts()).toEqual([45, 45, 45]);
});

test('owners are away and the outbox is full: what was acknowledged is everywhere in the end, what was not was refused', () => {
  const trio = new Trio(3, SMALL);
  trio.write(0, 'all');
  trio.cut.add(SECOND).add(THIRD);
  trio.hear();
  const requests: number[] = [];
  for (let i = 0; i < 40; i++) {
    requests.push(trio.write(0, i % 2 === 0 ? 'one' : 'all'));
    trio.pass(200);
  }
  trio.pass(5_000);
  const { outbox_debts, outbox_bytes } = trio.hosts[0]!.counters();
  expect(outbox_debts).toBeGreaterThan(20);
  expect(outbox_bytes).toBeLessThanOrEqual(SMALL.outboxBytesMax);
  const acknowledged = requests.filter((request) => trio.outcomes.get(request)!.ok);
  expect(acknowledged).toHaveLength(20);
  trio.cut.clear();
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(5_000);
  trio.hear();
  trio.repair(0, 'ring');
  expect(trio.counts()).toEqual([41, 41, 41]);
  expect(trio.storages.map(({ ledgers }) => rootToJson(ledgers.get(ID)!.root(makeStamp(trio.now, 0))))).toEqual(
    Array(3).fill(rootToJson(trio.storages[0]!.ledgers.get(ID)!.root(makeStamp(trio.now, 0)))),
  );
  expect(trio.hosts[0]!.counters().outbox_debts).toBe(0);
});

test('a coordinator that owns nothing, no owner there and no room: the write is refused, and all that was taken arrives', () => {
  const trio = new Trio(2, SMALL);
  trio.write(0, 'all');
  const own = NUMBERS.filter((_, i) => trio.hosts[i]!.owns(ID));
  expect(own).toHaveLength(2);
  const at = NUMBERS.findIndex((number) => !own.includes(number));
  for (const number of own) trio.cut.add(number);
  trio.hear();
  const requests: number[] = [];
  for (let i = 0; i < 20; i++) {
    requests.push(trio.write(at));
    trio.pass(200);
  }
  trio.pass(4_000);
  const taken = requests.filter((request) => trio.outcomes.get(request)!.ok).length;
  expect(taken).toBeGreaterThan(2);
  expect(taken).toBeLessThan(20);
  const refused = requests.map((request) => trio.outcomes.get(request)!).find(({ ok }) => !ok);
  expect(refused).toMatchObject({ code: 'outbox-full', status: 503 });
  trio.cut.clear();
  trio.hear();
  for (let i = 0; i < 10; i++) {
    trio.pass(1_000);
    trio.hear();
  }
  expect(trio.counts().filter((_, i) => own.includes(NUMBERS[i]!))).toEqual([taken + 1, taken + 1]);
});

test('what waits for an absent owner of a database that is dropped leaves the outbox, though nobody is asked any more', () => {
  const trio = new Trio(3);
  trio.cut.add(THIRD);
  trio.hear();
  for (let i = 0; i < 5; i++) trio.write(0);
  trio.pass(100);
  expect(trio.hosts[0]!.counters().outbox_bytes).toBeGreaterThan(0);
  trio.view = 'not known yet';
  trio.databases = false;
  trio.hear();
  expect(trio.hosts[0]!.counters().outbox_bytes).toBeGreaterThan(0);
  trio.view = 'dropped';
  trio.dropped = { d: 0 };
  trio.hear();
  expect(trio.hosts[0]!.counters().outbox_bytes).toBe(0);
});
