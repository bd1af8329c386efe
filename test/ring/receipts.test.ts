/** What a receipt says of a write that was with one member only, when that member is given up, its name is taken over, or its file is lost. */
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { type FoundWrite, isStoredBy } from '../../repair/found-writes.ts';
import { Ledger } from '../../repair/ledger.ts';
import { stateOwn } from '../../repair/ledger-state.ts';
import { lostFile } from '../../repair/lost-files.ts';
import { type ReceiptPorts, receiptStatus } from '../../server/receipt-status.ts';
import { makeStamp, stampOf } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, START, Trio } from './trio.ts';

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
async function statusOf(trio: Trio, version: string, at = 0) {
  const snapshot = { self: NUMBERS[0]!, live: NUMBERS.slice(0, 2), heldBy: {}, droppedThrough: {}, databases: [] };
  const members = NUMBERS.map((number, at) => ({ number, name: `n${at + 1}`, address: '', state: 'up' }));
  const found = (at: number) => trio.hosts[at]!.findWrites([{ shard: KEY, version }]);
  const ports = {
    nodeApi: { findWrites: async () => found(at) },
    snapshot: () => ({ ...snapshot, members }),
    clusterId: () => null,
    owners: () => NUMBERS.slice(0, 1),
    nowMs: () => trio.now,
  } as unknown as ReceiptPorts;
  if (at === 0) expect(found(1)[0]!.knowledge).toBe(found(0)[0]!.knowledge);
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

describe('a file of a shard that was set aside', () => {
  /** Only that member has it, and no outbox. */
  function alone(trio: Trio, at: number): string {
    const { version, frame } = trio.prepare(at);
    trio.say((at + 1) % 3, at, { t: 'mail', key: KEY, version }, [frame, new Uint8Array()]);
    trio.pass(100);
    return version;
  }

  function lose(trio: Trio, at: number): void {
    trio.storages[at]!.drop(ID);
    trio.hosts[at]!.shardLost(ID);
    // Made again by the next write.
    trio.write(at, 'one');
    for (let i = 0; i < 10; i++) {
      trio.repair(0, 'ring');
      trio.pass(4_000);
      trio.hear();
    }
    expect(trio.storages[at]!.ledgers.get(ID)).toMatchObject({ replica: 'full', mustDisown: false });
  }

  test('what only it had is lost, also after another floor, a restart, and another loss', async () => {
    const trio = new Trio();
    const shared = trio.prepare(0, 'all');
    trio.hosts[0]!.submit([shared], trio.now);
    trio.pass(100);
    const lost = alone(trio, 2);
    expect(await statusOf(trio, lost, 2)).toEqual(['stored', true, false, true]);
    lose(trio, 2);
    prove(trio);
    expect(trio.storages[0]!.ledgers.get(ID)!.floor > stampOf(lost)).toBe(true);
    for (const at of [0, 2]) {
      expect(await statusOf(trio, lost, at)).toEqual(['lost', false, false, false]);
      expect(await statusOf(trio, shared.version, at)).toEqual(['proven', true, true, true]);
    }
    const later = alone(trio, 2);
    lose(trio, 2);
    prove(trio);
    for (const [at, { disk }] of [...trio.storages].entries()) {
      trio.storages[at]!.shards.get(ID)!.flush();
      trio.boot(NUMBERS[at]!, disk, trio.files[at]);
    }
    trio.hear();
    for (const version of [lost, later]) expect(await statusOf(trio, version)).toEqual(['lost', false, false, false]);
    expect(await statusOf(trio, shared.version)).toEqual(['proven', true, true, true]);
  });

  test.each([
    ['an hour behind', -3_600_000],
    ['a year ahead', 365 * 86_400_000],
  ])('by a member whose clock is %s is noted for what was there, and nothing later', async (_, offMs) => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    const lost = alone(trio, 2);
    const host = trio.hosts[2]!;
    const { tick, receive } = host;
    host.tick = (now) => tick.call(host, now + offMs);
    host.receive = (from, messages, now) => receive.call(host, from, messages, now + offMs);
    trio.storages[2]!.drop(ID);
    host.shardLost(ID);
    for (let i = 0; i < 6; i++) {
      trio.hear();
      trio.repair(0, 'ring');
      trio.pass(4_000);
    }
    const { floor, lostFiles } = trio.storages[0]!.ledgers.get(ID)!;
    expect(floor > stampOf(lost)).toBe(true);
    expect(trio.hosts[0]!.findWrites([{ shard: KEY, version: lost }])[0]!.knowledge).toBe('never');
    expect(lostFiles).toHaveLength(1);
    expect(lostFiles[0]!.removedAt > stampOf(lost)).toBe(true);
    expect(lostFiles[0]!.removedAt < makeStamp(trio.now, 0)).toBe(true);
  });

  test('has no stamp before others have judged the clock here', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.cut.add(NUMBERS[2]!);
    trio.hear();
    trio.storages[2]!.drop(ID);
    trio.hosts[2]!.shardLost(ID);
    trio.pass(4_000);
    expect(trio.storages[2]!.ledgers.get(ID)).toMatchObject({ mustDisown: true, lostThrough: null });
  });

  test('is not stored at a replica that has not heard of the loss, when another one is proven to be without it', () => {
    const said = { state: 'full', convergedThrough: null, isInOutbox: false, isOver: false } as const;
    const unheard = { ...said, knowledge: 'known', isListed: false } as const;
    const listed = { ...said, knowledge: 'known', isListed: true } as const;
    const told = { ...said, knowledge: 'never', isListed: false } as const;
    const stored = (...found: FoundWrite[]) => found.map((one) => isStoredBy(one, found));
    expect(stored(unheard, told)).toEqual([false, false]);
    expect(stored(unheard, { ...said, knowledge: 'unsure', isListed: false })).toEqual([true, null]);
    expect(stored(listed, told)).toEqual([true, false]);
  });

  test('which a replica was told of is known after a copy of before that', () => {
    const source = new Ledger();
    const told = new Ledger();
    const stamp = (ms: number) => makeStamp(START + ms, 0);
    source.lostFiles = [lostFile(NUMBERS[0]!, stamp(1))];
    told.lostFiles = [lostFile(NUMBERS[1]!, stamp(2)), lostFile(NUMBERS[0]!, stamp(1))];
    const file = new Database(':memory:');
    source.save(file);
    const { replica, damage, newcomer, mustDisown, lostThrough, lostFiles, since } = told;
    stateOwn(file, { replica, damage, newcomer, mustDisown, lostThrough, lostFiles, since });
    const copied = new Ledger();
    copied.load(file);
    expect(copied.lostFiles.map(({ removedAt }) => removedAt)).toEqual([stamp(1), stamp(2)]);
    copied.add(stamp(3) + NUMBERS[0], 1n, 1);
    copied.adoptFloor(stamp(4));
    expect(copied.passed.had(stamp(1) + NUMBERS[2], copied.lostFiles[1]!.number)).toBe(false);
  });
});
