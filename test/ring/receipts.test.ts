/** What a receipt says of a write that was with one member only, when that member is given up or its name is taken over. */
import { expect, test } from 'vitest';
import { type ReceiptPorts, receiptStatus } from '../../server/receipt-status.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

/** n3 has a batch that all have, and is away with one that it alone has. */
function cutOff() {
  const trio = new Trio();
  const shared = trio.prepare(0, 'all');
  trio.hosts[0]!.submit([shared], trio.now);
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.hear();
  trio.cut.add(NUMBERS[2]!);
  const alone = trio.prepare(2);
  return { trio, shared: shared.version, alone: alone.version };
}

function goes(trio: Trio, removal: 'forced' | 'replaced'): void {
  trio.changed.set(NUMBERS[2]!, { state: 'removed', removal, removedAt: makeStamp(trio.now + 10, 0) });
  trio.view = 'w';
  trio.now += 1_000;
  trio.hear();
}

function prove(trio: Trio): void {
  trio.now += 1_000;
  trio.hear();
  trio.repair(0, 'ring');
  trio.hear();
  expect(trio.passes.at(-1)).toMatchObject({ kind: 'full', outcome: 'proven' });
}

/** As n1 and n2 say. */
async function statusOf(trio: Trio, version: string) {
  const snapshot = { self: NUMBERS[0]!, live: NUMBERS.slice(0, 2), heldBy: {}, droppedThrough: {}, databases: [] };
  const members = NUMBERS.map((number, at) => ({ number, name: `n${at + 1}`, address: '', state: 'up' }));
  const found = (at: number) => trio.hosts[at]!.findWrites([{ shard: KEY, version }]);
  const ports = {
    nodeApi: { findWrites: async () => found(0) },
    snapshot: () => ({ ...snapshot, members }),
    clusterId: () => null,
    owners: () => NUMBERS.slice(0, 1),
    nowMs: () => trio.now,
  } as unknown as ReceiptPorts;
  expect(found(1)[0]!.knowledge).toBe(found(0)[0]!.knowledge);
  const { proven, stored, batches } = await receiptStatus(ports, [{ shard: KEY, version }]);
  return [batches[0]!.state, batches[0]!.replicas[0]!.stored, proven, stored];
}

test.each(['forced', 'replaced'] as const)('what only a member had that is gone (%s) is lost', async (removal) => {
  const { trio, shared, alone } = cutOff();
  goes(trio, removal);
  expect(await statusOf(trio, alone)).toEqual(['unknown', false, false, false]);
  // The floor has not moved since.
  expect(await statusOf(trio, shared)).toEqual(['proven', true, true, true]);
  prove(trio);
  expect(await statusOf(trio, alone)).toEqual(['lost', false, false, false]);
  expect(await statusOf(trio, shared)).toEqual(['proven', true, true, true]);
  const later = trio.prepare(0);
  trio.hosts[0]!.submit([later], trio.now);
  trio.pass(100);
  expect(await statusOf(trio, later.version)).toEqual(['stored', true, false, true]);
  prove(trio);
  expect(await statusOf(trio, later.version)).toEqual(['proven', true, true, true]);
});

test('where nobody can tell any more whether the others had it, that is said', async () => {
  const { trio, alone } = cutOff();
  goes(trio, 'forced');
  prove(trio);
  const forgetful = { tellsOf: () => true, had: () => null };
  for (const { ledgers } of trio.storages) Object.assign(ledgers.get(ID)!, { passed: forgetful });
  expect(await statusOf(trio, alone)).toEqual(['unsure', null, false, false]);
});

test('a batch that one member that went had alone is not known because another one was proven with the rest', async () => {
  const { trio, alone } = cutOff();
  goes(trio, 'forced');
  prove(trio);
  // n2 goes as well: with it everything that is left was proven.
  trio.cut.add(NUMBERS[1]!);
  trio.changed.set(NUMBERS[1]!, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now + 10, 0) });
  trio.view = 'x';
  trio.now += 1_000;
  trio.hear();
  prove(trio);
  expect(await statusOf(trio, alone)).toEqual(['lost', false, false, false]);
});
