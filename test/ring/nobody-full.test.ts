/** Nobody has a full replica any more (rule 33): who goes on, when, and what it says of that (repair/nobody-full.ts). */
import { describe, expect, test } from 'vitest';
import { StorageError } from '../../shards/errors.ts';
import { type Stamp, stampMs, stampOf, type Version } from '../../shards/version.ts';
import { fence, writeLonely } from './lonely.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const FIRST = NUMBERS[0]!;
const SECOND = NUMBERS[1]!;
const THIRD = NUMBERS[2]!;

const ledgerOf = (trio: Trio, at: number) => trio.storages[at]!.ledgers.get(ID);
const stateOf = (trio: Trio, at: number) => ledgerOf(trio, at)?.replica ?? 'absent';
const states = (trio: Trio) => [0, 1, 2].map((at) => stateOf(trio, at));
const versionsOf = (trio: Trio, at: number): Version[] => [
  ...(trio.storages[at]!.shards.get(ID)?.batches.keys() ?? []),
];

function goOn(trio: Trio, rounds: number): void {
  for (let i = 0; i < rounds; i++) {
    trio.hear();
    trio.pass(2_000);
    for (const at of [0, 1, 2]) if (stateOf(trio, at) === 'full') trio.repair(at, 'ring');
  }
}

/**
 * All are proven equal in one batch. Then the second one alone has another one, by which its floor is above the others'; and the
 * third one has its own above that.
 */
function proven(): { trio: Trio; floor: Stamp; more: Version; own: Version } {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  trio.repair(0, 'ring');
  trio.pass(100);
  const { floor } = ledgerOf(trio, 2)!;
  const writeAlone = (at: number): Version => {
    trio.cut = new Set(NUMBERS.filter((number) => number !== NUMBERS[at]));
    trio.hear();
    trio.write(at);
    return ledgerOf(trio, at)!.newest!;
  };
  const more = writeAlone(1);
  ledgerOf(trio, 1)!.adoptFloor(stampOf(more));
  const own = writeAlone(2);
  for (const at of [0, 1, 2]) trio.storages[at]!.shards.get(ID)!.flush();
  return { trio, floor, more, own };
}

/** Then the third one's replica is below a floor, and the others lose their disks. */
function lost(): ReturnType<typeof proven> {
  const found = proven();
  const { trio } = found;
  trio.say(0, 2, fence);
  trio.settle();
  for (const number of [FIRST, SECOND]) trio.boot(number);
  trio.cut.clear();
  return found;
}

describe('a replica that is to be filled, and nobody is full', () => {
  test('goes on with what it has, names what may be lost, and is copied', () => {
    const { trio, floor, more, own } = lost();
    expect(states(trio)).toEqual(['absent', 'absent', 'filling']);
    goOn(trio, 8);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    const loss = { member: THIRD, name: 'n3', afterMs: stampMs(floor), wentOn: true };
    for (const host of trio.hosts) expect(host.describeShard(ID)!.losses).toEqual([loss]);
    const request = trio.write(0, 'all');
    trio.pass(100);
    expect(trio.outcomes.get(request)).toMatchObject({ ok: true });
    for (const at of [0, 1, 2]) expect(versionsOf(trio, at)).toContain(own);
    expect(trio.counts()).toEqual([3, 3, 3]);
    expect(ledgerOf(trio, 2)!.floor > floor).toBe(true);
    // A receipt of what was lost says so once a floor has passed it.
    trio.now += 5_000;
    goOn(trio, 2);
    expect(ledgerOf(trio, 2)!.floor > stampOf(more)).toBe(true);
    for (const host of trio.hosts)
      expect(
        host.findWrites([more, own].map((version) => ({ shard: KEY, version }))).map(({ knowledge }) => knowledge),
      ).toEqual(['never', 'known']);
    // Also over a restart.
    trio.storages[2]!.shards.get(ID)!.flush();
    trio.boot(THIRD, trio.storages[2]!.disk);
    expect(trio.hosts[2]!.describeShard(ID)!.losses).toEqual([loss]);
  });

  test('waits for a member that may be full, says so, and is filled from it when it is back', () => {
    const { trio, more, own } = proven();
    const { disk } = trio.storages[1]!;
    trio.boot(FIRST);
    trio.say(0, 2, fence);
    trio.cut = new Set([SECOND]);
    for (let i = 0; i < 10; i++) {
      trio.hear();
      trio.pass(3_000);
    }
    expect(stateOf(trio, 2)).toBe('filling');
    expect(trio.hosts[2]!.describeShard(ID)!.heldBackBy).toMatch(/n2 cannot be reached, .*cluster remove n2 --force/);
    trio.boot(SECOND, disk);
    trio.cut.clear();
    goOn(trio, 8);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    for (const at of [0, 1, 2]) expect(versionsOf(trio, at)).toEqual(expect.arrayContaining([own, more]));
    for (const host of trio.hosts) expect(host.describeShard(ID)!.losses).toEqual([]);
  });

  test('goes by no round of before there was a source that has gone again', () => {
    const { trio } = lost();
    // Nothing was said against it. Before it has looked at that there is a source, which gives nothing; and then nobody knows any more what it has.
    trio.sent.length = 0;
    trio.hear();
    while (!trio.sent.includes('compare')) trio.pass(50);
    expect(stateOf(trio, 2)).toBe('filling');
    const held = trio.hosts.map((host) => host.heldShards());
    trio.hosts[0]!.heldShards = () => [{ ...held[2]![0]!, id: ID, state: 'full' }];
    trio.onSend = (_, __, { t }) => (t === 'fill-open' ? 'lost' : undefined);
    trio.hear();
    trio.pass(20_000);
    trio.hosts[0]!.heldShards = () => held[0]!;
    trio.cut = new Set([FIRST, SECOND]);
    trio.hear();
    trio.pass(20_000);
    expect(stateOf(trio, 2)).toBe('filling');
  });

  test('waits for a member that has a file of it which it cannot open, and says so', () => {
    const { trio } = lost();
    trio.storages[0]!.isUnopened = (id) => id === ID;
    trio.storages[0]!.create = () => {
      throw new StorageError('future-format', 'it is there');
    };
    for (let i = 0; i < 5; i++) {
      trio.hear();
      trio.pass(3_000);
    }
    expect(stateOf(trio, 2)).toBe('filling');
    expect(trio.hosts[2]!.describeShard(ID)!.heldBackBy).toMatch(/n1 cannot read what it has/);
  });

  test('does not wait for a member that was given up', () => {
    const { trio } = lost();
    trio.cut = new Set([SECOND]);
    for (let i = 0; i < 4; i++) {
      trio.hear();
      trio.pass(3_000);
    }
    expect(stateOf(trio, 2)).toBe('filling');
    trio.changed.set(SECOND, {
      state: 'removed',
      removal: 'forced',
      removedAt: `${ledgerOf(trio, 2)!.newest}`.slice(0, 16),
    });
    trio.view = 'w';
    goOn(trio, 6);
    expect(stateOf(trio, 2)).toBe('full');
    expect(trio.hosts[2]!.describeShard(ID)!.losses.map(({ name, wentOn }) => [name, wentOn])).toEqual([
      ['n2', undefined],
      ['n3', true],
    ]);
  });

  test.each(['compare', 'compare-answer'] as const)('takes no silence for an answer: %s is lost', (kind) => {
    const { trio } = lost();
    trio.onSend = (_, __, { t }) => (t === kind ? 'lost' : undefined);
    for (let i = 0; i < 10; i++) {
      trio.hear();
      trio.pass(3_000);
    }
    expect(stateOf(trio, 2)).toBe('filling');
    trio.onSend = () => undefined;
    goOn(trio, 8);
    expect(stateOf(trio, 2)).toBe('full');
  });

  test('has not gone on for good: where a full one turns up that nobody knew of, it is filled, and nothing of since then is lost', () => {
    const { trio, more, own } = proven();
    trio.say(0, 2, fence);
    trio.settle();
    const { disk } = trio.storages[1]!;
    for (const number of [FIRST, SECOND]) trio.boot(number);
    trio.cut.clear();
    for (let i = 0; i < 3; i++) {
      trio.hear();
      trio.pass(2_000);
    }
    expect(stateOf(trio, 2)).toBe('full');
    trio.write(2);
    const since = ledgerOf(trio, 2)!.newest!;
    trio.boot(SECOND, disk);
    goOn(trio, 12);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    for (const at of [0, 1, 2]) expect(versionsOf(trio, at)).toEqual(expect.arrayContaining([own, more, since]));
  });
});

describe('of several that turn filling at once', () => {
  function filling(members: readonly number[]): Trio {
    const { trio } = proven();
    for (const at of [0, 1, 2]) if (!members.includes(at)) trio.boot(NUMBERS[at]!);
    trio.cut.clear();
    trio.hear();
    for (const at of members) trio.say((at + 1) % 3, at, fence);
    trio.settle();
    for (const at of members) expect(stateOf(trio, at)).toBe('filling');
    return trio;
  }

  /** Who have named a loss by themselves. */
  function wentOn(trio: Trio): Set<string> {
    return new Set(trio.hosts.flatMap((host) => host.describeShard(ID)!.losses.map(({ name }) => name)));
  }

  test('that with the greatest floor goes on', () => {
    const trio = filling([0, 1, 2]);
    goOn(trio, 10);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    expect(wentOn(trio)).toEqual(new Set(['n2']));
    // What the third one alone had, it had owed.
    expect(trio.counts()).toEqual([3, 3, 3]);
  });

  test('that with the greatest floor goes on also where its outbox has no room for what it owes, and keeps that', () => {
    const trio = new Trio(3, { outboxBytesMax: 600, outboxSegmentBytes: 600 });
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    writeLonely(trio, 2, 1);
    ledgerOf(trio, 2)!.adoptFloor(stampOf(ledgerOf(trio, 2)!.newest!));
    trio.storages[2]!.shards.get(ID)!.flush();
    writeLonely(trio, 2, 10);
    for (const at of [0, 1, 2]) trio.say((at + 1) % 3, at, fence);
    trio.settle();
    trio.cut.clear();
    expect(states(trio)).toEqual(['filling', 'filling', 'filling']);
    goOn(trio, 40);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    expect(wentOn(trio)).toEqual(new Set(['n3']));
    expect(trio.counts()).toEqual([12, 12, 12]);
  });

  test('that with the least number, where floors are equal', () => {
    const trio = filling([0, 2]);
    goOn(trio, 10);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    expect(wentOn(trio)).toEqual(new Set(['n1']));
    expect(trio.counts()).toEqual([2, 2, 2]);
  });
});

describe('a full replica with a lower floor', () => {
  test('that lacks what is proven does not hold it up, and what it accepted meanwhile is kept', () => {
    const { trio, own } = lost();
    trio.cut = new Set([THIRD]);
    trio.hear();
    trio.write(0);
    const young = ledgerOf(trio, 0)!.newest!;
    expect([stateOf(trio, 0), stateOf(trio, 2)]).toEqual(['full', 'filling']);
    trio.cut.clear();
    goOn(trio, 12);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    for (const at of [0, 1, 2]) expect(versionsOf(trio, at)).toEqual(expect.arrayContaining([own, young]));
    expect(trio.hosts[2]!.describeShard(ID)!.losses).toHaveLength(1);
  });

  test('that has all that is proven adopts the floor, and fills: nothing is lost', () => {
    const { trio, own } = proven();
    trio.say(0, 2, fence);
    trio.settle();
    // The floor of the third one rises to what it has more; the first one has that, too, and knows of no proof.
    const [kept] = [...trio.storages[2]!.shards.get(ID)!.batches].filter(([version]) => version === own);
    ledgerOf(trio, 2)!.adoptFloor(stampOf(own));
    trio.boot(SECOND);
    trio.cut = new Set([THIRD]);
    trio.hear();
    trio.say(1, 0, { t: 'mail', key: trio.storages[2]!.shards.get(ID)!.key, version: own }, [kept![1].frame]);
    trio.settle();
    expect(versionsOf(trio, 0)).toContain(own);
    expect(ledgerOf(trio, 0)!.floor < stampOf(own)).toBe(true);
    trio.cut.clear();
    goOn(trio, 8);
    expect(states(trio)).toEqual(['full', 'full', 'full']);
    for (const host of trio.hosts) expect(host.describeShard(ID)!.losses).toEqual([]);
    expect(trio.counts()).toEqual([2, 2, 2]);
  });
});

test('a member that is alone, and is to be filled, has nobody to wait for', () => {
  const { trio } = proven();
  for (const number of [FIRST, SECOND])
    trio.changed.set(number, { state: 'removed', removal: 'left', removedAt: '0'.repeat(16) });
  trio.view = 'w';
  trio.say(0, 2, fence);
  for (let i = 0; i < 3; i++) {
    trio.hear();
    trio.pass(2_000);
  }
  expect(stateOf(trio, 2)).toBe('full');
});
