/** A replica whose file was lost: nobody counts on what it acknowledged before (repair/disowning.ts). */
import { describe, expect, test } from 'vitest';
import type { ClusterSnapshot, HeldShard } from '../../repair/cluster.ts';
import { planPass } from '../../repair/ring-cutoff.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, STAMP_ZERO, stampOf, type Version } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, START, Trio } from './trio.ts';

/** Two owners, and one that is none. */
function roles(trio: Trio): { owners: [number, number]; other: number } {
  const owners = [0, 1, 2].filter(
    (i) => trio.hosts[i]!.owns(ID) || (trio.storages[i]!.shards.has(ID) && trio.counts()[i]! > 0),
  );
  const other = [0, 1, 2].find((i) => !owners.includes(i))!;
  return { owners: owners as [number, number], other };
}

/**
 * A batch that the first owner has acknowledged and the second, which cannot be reached, has not: its other copy is in the
 * outbox of the member that took it. Then the first owner's file is lost.
 */
function lost(): { trio: Trio; first: number; second: number; other: number; version: Version } {
  const trio = new Trio(2);
  trio.write(0, 'all');
  trio.pass(100);
  const { owners, other } = roles(trio);
  const [first, second] = owners;
  trio.cut.add(NUMBERS[second]!);
  trio.hear();
  trio.write(other);
  trio.pass(3_000);
  const [open] = trio.hosts[other]!.openVersions();
  expect(open).toMatchObject({ shard: ID, acknowledgedBy: [NUMBERS[first]] });
  return { trio, first, second, other, version: open!.oldest };
}

function lose(trio: Trio, at: number): void {
  trio.storages[at]!.drop(ID);
  trio.hosts[at]!.shardLost(ID);
}

const has = (trio: Trio, at: number, version: Version) =>
  trio.storages[at]!.shards.get(ID)?.batches.has(version) ?? false;

describe('a shard whose file was lost', () => {
  test('is not proven over by the owners while the only copy is in an outbox, and gets it back', () => {
    const { trio, first, second, other, version } = lost();
    // Nothing of the outbox comes through for now.
    trio.onSend = (from, _, { t }) => (from === NUMBERS[other] && t.startsWith('mail') ? 'lost' : undefined);
    trio.hear(); // what the outbox says is heard before the file is lost
    lose(trio, first);
    trio.cut.clear();
    for (let i = 0; i < 4; i++) {
      trio.hear();
      trio.repair(first, 'ring');
      trio.repair(second, 'ring');
      trio.pass(2_000);
    }
    for (const at of [first, second]) {
      const floor = trio.storages[at]!.ledgers.get(ID)?.floor ?? STAMP_ZERO;
      expect(floor < stampOf(version)).toBe(true);
    }
    trio.onSend = () => undefined;
    for (let i = 0; i < 20; i++) {
      trio.pass(3_000);
      trio.hear();
      trio.repair(first, 'ring');
    }
    expect([has(trio, first, version), has(trio, second, version)]).toEqual([true, true]);
    expect(trio.storages[first]!.ledgers.get(ID)).toMatchObject({ replica: 'full', mustDisown: false });
    expect(trio.storages[first]!.ledgers.get(ID)!.floor > stampOf(version)).toBe(true);
  });

  test('is damaged for as long as a member that may count on it cannot be reached, also over a restart', () => {
    const { trio, first, other } = lost();
    trio.cut.clear();
    trio.cut.add(NUMBERS[other]!);
    trio.hear();
    lose(trio, first);
    trio.write(first);
    trio.pass(20_000);
    trio.hear();
    const held = () => trio.hosts[first]!.heldShards().find(({ id }) => id === ID);
    expect(held()).toMatchObject({ state: 'damaged', since: undefined });
    expect(trio.storages[first]!.ledgers.get(ID)).toMatchObject({ mustDisown: true });
    trio.boot(NUMBERS[first]!, trio.storages[first]!.disk, trio.files[first]);
    trio.hear();
    expect(held()).toMatchObject({ state: 'damaged' });
    trio.cut.clear();
    for (let i = 0; i < 10; i++) {
      trio.hear();
      trio.pass(3_000);
    }
    expect(held()).toMatchObject({ state: 'full' });
    expect(held()!.since! > makeStamp(START, 0)).toBe(true);
    // Said of the file before that one: once is enough.
    trio.hosts[first]!.shardWasLost(ID);
    expect(held()).toMatchObject({ state: 'full' });
  });
});

describe('whoever had the only copy of a batch, and is no owner any more,', () => {
  /** One owner from now on; the batch, which came while there were three, is at another one alone. */
  function moved(): { trio: Trio; owner: number; holder: number; version: Version } {
    const trio = new Trio(3);
    trio.write(0, 'all');
    trio.pass(100);
    const { version, frame } = trio.prepare(2);
    trio.say(1, 2, { t: 'mail', key: KEY, version }, [frame, new Uint8Array()]);
    trio.pass(100);
    trio.replication = 1;
    trio.view = 'w';
    trio.hear();
    const owner = [0, 1, 2].find((i) => trio.hosts[i]!.owns(ID))!;
    expect(owner).not.toBe(2);
    return { trio, owner, holder: 2, version };
  }

  const knowledge = (trio: Trio, at: number, version: Version) =>
    trio.hosts[at]!.findWrites([{ shard: KEY, version }])[0]!.knowledge;

  test('tells the owner when its file is lost, before a floor passes that', () => {
    const { trio, owner, holder, version } = moved();
    lose(trio, holder);
    expect(trio.hosts[holder]!.heldShards()).toMatchObject([{ id: ID, state: 'damaged' }]);
    for (let i = 0; i < 6; i++) {
      trio.hear();
      trio.repair(owner, 'ring');
      trio.pass(4_000);
    }
    expect(trio.storages[owner]!.ledgers.get(ID)!.floor > stampOf(version)).toBe(true);
    expect(knowledge(trio, owner, version)).toBe('never');
    expect(trio.storages[holder]!.shards.has(ID)).toBe(false);
  });

  test('does not leave before that, and an owner that has nothing yet knows of it', () => {
    const trio = new Trio(1);
    trio.write(0, 'all');
    trio.pass(100);
    const holder = trio.counts().indexOf(1);
    const version = trio.storages[holder]!.ledgers.get(ID)!.newest!;
    trio.changed.set(NUMBERS[holder]!, { state: 'leaving' });
    trio.view = 'w';
    trio.hear();
    lose(trio, holder);
    expect(trio.hosts[holder]!.handover().shards).toBe(1);
    for (let i = 0; i < 6; i++) {
      trio.hear();
      for (const at of [0, 1, 2]) if (trio.storages[at]!.shards.has(ID)) trio.repair(at, 'ring');
      trio.pass(4_000);
    }
    expect(trio.hosts[holder]!.handover().shards).toBe(0);
    const owner = [0, 1, 2].find((i) => trio.hosts[i]!.owns(ID))!;
    expect(trio.storages[owner]!.ledgers.get(ID)!.floor > stampOf(version)).toBe(true);
    expect(knowledge(trio, owner, version)).toBe('never');
  });

  test('stays while it does not know which shard it has lost', () => {
    const trio = new Trio(1);
    const at = 0;
    trio.hosts[at]!.shardWasLost('f'.repeat(16));
    trio.hear();
    expect(trio.hosts[at]!.handover().shards).toBe(1);
  });
});

test('a file that was lost is named as a loss where nobody else had what it held, and notes of before are kept', () => {
  const trio = new Trio(1);
  for (let i = 0; i < 5; i++) trio.write(0, 'all');
  trio.pass(100);
  const at = trio.counts().indexOf(5);
  const prove = () => {
    trio.hear();
    trio.repair(at, 'ring');
    trio.pass(100);
  };
  prove();
  const gone = NUMBERS[(at + 1) % 3]!;
  trio.changed.set(gone, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now + 1, 0) });
  trio.view = 'w';
  trio.write(at);
  trio.hear();
  const losses = () => trio.hosts[at]!.describeShard(ID)!.losses;
  expect(losses()).toMatchObject([{ member: gone }]);
  const [before] = losses();
  lose(trio, at);
  for (let i = 0; i < 4; i++) {
    trio.pass(4_000);
    prove();
  }
  expect(trio.storages[at]!.ledgers.get(ID)).toMatchObject({ replica: 'full', mustDisown: false });
  expect(losses()).toEqual([before, { member: NUMBERS[at], name: `n${at + 1}`, afterMs: 0, wentOn: true }]);
});

test('a file that was lost is no loss to name where another owner is proven to have what it held', () => {
  const trio = new Trio(3);
  trio.write(0, 'all');
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(100);
  lose(trio, 2);
  for (let i = 0; i < 4; i++) {
    trio.hear();
    trio.pass(4_000);
    trio.repair(0, 'ring');
  }
  expect(trio.storages[2]!.ledgers.get(ID)).toMatchObject({ replica: 'full', losses: [] });
});

test('a scrub that finds all as the ledger says does not make it full before all are told', () => {
  const { trio, first, second, other, version } = lost();
  trio.hear(); // what the outbox says is heard, and then nothing more of who says it
  trio.cut.clear();
  trio.cut.add(NUMBERS[other]!);
  lose(trio, first);
  trio.write(first);
  trio.pass(2_000);
  expect(trio.repair(first, 'scrub').state).toBe('done');
  trio.hosts[first]!.startScrub(trio.now);
  trio.pass(2_000);
  expect(trio.storages[first]!.ledgers.get(ID)).toMatchObject({ replica: 'damaged', mustDisown: true });
  for (let i = 0; i < 6; i++) {
    trio.hear();
    for (const at of [first, second]) trio.repair(at, 'ring');
    trio.pass(1_500);
  }
  trio.cut.clear();
  for (let i = 0; i < 12; i++) {
    trio.hear();
    trio.pass(3_000);
    trio.repair(first, 'ring');
  }
  expect([has(trio, first, version), has(trio, second, version)]).toEqual([true, true]);
  expect(trio.storages[first]!.ledgers.get(ID)).toMatchObject({ replica: 'full', mustDisown: false });
});

test('what no longer counts as acknowledged is offered, and not sent to one whose log still had it', () => {
  const { trio, first, other, version } = lost();
  trio.sent.length = 0;
  trio.say(first, other, { t: 'disown', request: 1, key: shardKeyToJson(KEY), through: makeStamp(trio.now, 0) });
  trio.settle();
  expect(trio.hosts[other]!.openVersions()).toMatchObject([{ oldest: version, acknowledgedBy: [] }]);
  trio.pass(1_000);
  expect(trio.sent.filter((t) => t === 'mail-offers' || t === 'mail')).toEqual(['mail-offers']);
  expect(trio.hosts[other]!.openVersions()).toMatchObject([{ oldest: version, acknowledgedBy: [NUMBERS[first]] }]);
});

test('who is asked twice answers neither question before what it no longer counts on is durable', () => {
  const { trio, first, other } = lost();
  trio.settle();
  trio.sent.length = 0;
  const ask = (request: number) =>
    trio.say(first, other, { t: 'disown', request, key: shardKeyToJson(KEY), through: makeStamp(trio.now, 0) });
  ask(1);
  ask(2);
  expect(trio.sent).not.toContain('disowned');
  trio.settle();
  expect(trio.sent.filter((t) => t === 'disowned')).toHaveLength(2);
});

describe('the cutoff', () => {
  const [a, b, c] = NUMBERS as [string, string, string];
  const version = makeStamp(START + 1_000, 0) + c;
  const snapshot = (since: string | undefined, closed: string): ClusterSnapshot => {
    const held: HeldShard = { id: ID, key: shardKeyToJson(KEY), state: 'full' };
    const statement = { viewHash: 'v', sequence: 1, closed, open: [], shardListSequence: 0 };
    return {
      viewHash: 'v',
      self: a,
      members: NUMBERS.map((number) => ({ number, name: number, address: '', state: 'up' as const })),
      live: NUMBERS,
      databases: [],
      droppedThrough: {},
      statements: [
        { ...statement, member: a },
        { ...statement, member: b },
        { ...statement, member: c, open: [{ shard: ID, oldest: version, acknowledgedBy: [a] }] },
      ],
      heldBy: { [a]: [{ ...held, since }], [b]: [held], [c]: [] },
      heldSequence: { [a]: 0, [b]: 0, [c]: 0 },
    };
  };
  const closed = makeStamp(START + 2_000, 0);
  const through = (since: string | undefined) => planPass(snapshot(since, closed), ID, [a, b], STAMP_ZERO)!.through;

  test('passes over a batch that an owner has acknowledged', () => {
    expect(through(undefined)).toBe(closed);
  });

  test('but not by a statement of before its file was lost, and the news of that', () => {
    expect(through(makeStamp(START + 2_001, 0)) < stampOf(version)).toBe(true);
    expect(through(closed)).toBe(closed);
  });
});
