/** Read repair: one replica gets what the others have before it is read. */
import { describe, expect, test } from 'vitest';
import { rootToJson } from '../../repair/ledger.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, NUMBERS, START, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];

/** A write that only `at` has; the others are reachable again. */
function lonely(trio: Trio, at: number): void {
  for (const number of NUMBERS) if (number !== NUMBERS[at]) trio.cut.add(number);
  trio.hear();
  trio.write(at);
  trio.cut.clear();
  trio.hear();
}

describe('levelling', () => {
  test('equal replicas cost one comparison with each other owner', () => {
    const trio = new Trio();
    for (let i = 0; i < 5; i++) trio.write(i % 3, 'all');
    trio.pass(100);
    trio.sent.length = 0;
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', missing: [], batches: 0 });
    expect(trio.sent.sort()).toEqual(['compare', 'compare', 'compare-answer', 'compare-answer']);
  });

  test('equal however many epochs lie above the floor: no second page of sums is asked for', () => {
    const trio = new Trio(3, { epochsPerPage: 2 });
    for (let i = 0; i < 6; i++) {
      trio.write(0, 'all');
      trio.pass(100);
      trio.now += 20_000;
    }
    trio.hear();
    trio.sent.length = 0;
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', batches: 0 });
    expect(trio.sent.filter((kind) => kind === 'compare')).toHaveLength(2);
  });

  test('what one owner alone has, down to this moment, is there afterwards', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    lonely(trio, 2);
    expect(trio.counts()).toEqual([1, 1, 2]);
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', batches: 1, rows: 2 });
    expect(trio.counts()).toEqual([2, 1, 2]);
    expect(trio.hosts[0]!.counters()).toMatchObject({ read_repairs: 1, read_repair_batches_taken: 1 });
  });

  test('goes on while repair is paused, at this member and at the others', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    lonely(trio, 2);
    for (const host of trio.hosts) host.setRepairRates({ paused: true, bytesPerSecond: null, cpuShare: null });
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'failed' });
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', missing: [], batches: 1 });
    expect(trio.counts()).toEqual([2, 1, 2]);
  });

  test('what several have comes once; who does not go on holds up nobody', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    const missed = () => {
      trio.cut.add(FIRST);
      trio.hear();
      trio.write(1);
      trio.cut.clear();
      trio.hear();
      trio.sent.length = 0;
    };
    missed();
    expect(trio.counts()).toEqual([1, 2, 2]);
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'level', batches: 1 });
    expect(trio.sent.filter((kind) => kind === 'fetch')).toHaveLength(1);
    missed();
    // The first to be fetched from says nothing any more once it has said that it has something.
    let silent = '';
    trio.onSend = (from, to, message) => {
      if (from !== FIRST || message.t !== 'identities' || silent !== '') return;
      silent = to;
      trio.cut.add(to);
    };
    expect(trio.level(0, 'quorum', { timeoutMs: 4_000 })).toBeUndefined();
    trio.pass(1_200);
    expect(trio.levelled.at(-1)!.outcome).toBe('level');
    expect(trio.levelled.at(-1)!.members).not.toContain(silent);
    expect(trio.counts()[0]).toBe(3);
  });

  test('`all` names who is missing and why; a quorum of the owners is enough for `quorum`', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    lonely(trio, 1);
    trio.cut.add(THIRD);
    trio.hear();
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'short', missing: [{ member: THIRD, reason: 'not live' }] });
    expect(trio.level(0, 'quorum')).toMatchObject({ outcome: 'level', members: [FIRST, SECOND], batches: 1 });
    trio.cut.add(SECOND);
    trio.hear();
    expect(trio.level(0, 'quorum')).toMatchObject({ outcome: 'short', owners: 3 });
  });

  test('a member that is taken for live and does not answer costs the time that was given, and is named', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.cut.add(THIRD);
    expect(trio.level(0, 'all')).toBeUndefined();
    expect(trio.level(0, 'quorum')).toMatchObject({ outcome: 'level', members: [FIRST, SECOND] });
    trio.pass(2_100);
    expect(trio.levelled.at(-1)).toMatchObject({
      outcome: 'short',
      members: [FIRST, SECOND],
      missing: [{ member: THIRD, reason: 'no answer in time' }],
    });
  });

  test('an owner that lost its disk, empty or copied anew, makes no quorum with one other until all have been proven', () => {
    const trio = new Trio();
    const prove = () => {
      trio.pass(100);
      trio.hear();
      trio.repair(0, 'ring');
      trio.pass(5_000);
      trio.hear();
    };
    trio.write(0, 'all');
    prove();
    expect(trio.hosts.map((host) => host.heldShards()[0]!.young)).toEqual([false, false, false]);
    // At two of three owners; one of them loses its disk, the other one is away.
    trio.cut.add(THIRD);
    trio.hear();
    trio.write(0, 'one');
    expect(trio.counts()).toEqual([2, 2, 1]);
    trio.boot(SECOND);
    trio.cut = new Set([FIRST]);
    trio.hear();
    const missing = [
      { member: FIRST, reason: 'not live' },
      { member: SECOND, reason: 'not proven with all owners since its replica was made' },
    ];
    expect(trio.level(2, 'quorum')).toMatchObject({ outcome: 'short', missing });
    // A token meets it, and it is filled from the one that lacks the write.
    trio.write(2, 'one');
    trio.hear();
    trio.repair(2, 'ring');
    trio.pass(10_000);
    trio.hear();
    expect(trio.hosts[1]!.heldShards()).toMatchObject([{ state: 'full' }]);
    expect(trio.hosts[1]!.counters().replicas_filled).toBe(1);
    expect(trio.level(2, 'quorum')).toMatchObject({ outcome: 'short', missing });
    expect(trio.level(1, 'quorum')).toMatchObject({ outcome: 'short', missing });

    // Everybody takes part: nobody else could have it.
    trio.cut.clear();
    trio.hear();
    expect(trio.level(2, 'quorum')).toMatchObject({ outcome: 'level', batches: 1 });
    prove();
    trio.cut.add(FIRST);
    trio.hear();
    expect(trio.level(2, 'quorum')).toMatchObject({ outcome: 'level', members: [THIRD, SECOND] });
  });

  test('a holder that is no owner takes part in both, and who has writes to hand on takes part in none', () => {
    const trio = new Trio(1);
    const at = [0, 1, 2].find((i) => trio.write(i) && trio.counts()[i]! > 0)!;
    trio.pass(100);
    const owner = trio.counts().findIndex((count) => count > 0);
    trio.replication = 3;
    trio.hear();
    trio.pass(100);
    trio.hear();
    trio.replication = 1;
    const holder = (owner + 1) % 3;
    trio.write(owner);
    trio.hosts[holder]!.level([], trio.now);
    trio.hear();
    const others = NUMBERS.filter((number) => number !== NUMBERS[owner]);
    expect(at).toBeGreaterThanOrEqual(0);
    trio.cut.add(others[0]!);
    trio.hear();
    expect(trio.level(owner, 'quorum', { holders: [others[0]!] })).toMatchObject({
      outcome: 'short',
      missing: [{ member: others[0], reason: 'not live' }],
    });
    expect(trio.level(owner, 'quorum', { holders: [] })).toMatchObject({ outcome: 'level' });
    const without = [{ member: others[1]!, reason: 'unplaced' }];
    expect(trio.level(owner, 'all', { holders: [], without })).toMatchObject({ outcome: 'short', missing: without });
    expect(
      trio.level(owner, 'all', { holders: [], without: [{ member: NUMBERS[owner]!, reason: 'x' }] }),
    ).toMatchObject({ outcome: 'not-here' });
  });

  test('a replica that cannot be read, another view, and too many at once are said', () => {
    const trio = new Trio(3, { levellingsAtOnceMax: 1, levellingsWaitingMax: 1 });
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'not-here' });
    trio.write(0, 'all');
    trio.pass(100);
    expect(trio.level(0, 'all', { viewHash: 'w' })).toMatchObject({ outcome: 'other-view' });
    trio.cut.add(SECOND);
    expect(trio.level(0, 'all')).toBeUndefined();
    expect(trio.level(0, 'all')).toBeUndefined();
    expect(trio.level(0, 'all')).toMatchObject({ outcome: 'busy' });
    trio.pass(2_100);
    expect(
      trio.levelled
        .slice(-2)
        .map(({ outcome }) => outcome)
        .sort(),
    ).toEqual(['busy', 'short']);
    trio.storages[0]!.ledgers.get(ID)!.replica = 'damaged';
    expect(trio.level(0, 'quorum')).toMatchObject({ outcome: 'not-here' });
  });

  test('a replica that turns filling while it is levelled is not read', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.cut.add(SECOND);
    expect(trio.level(0, 'all')).toBeUndefined();
    const floor = makeStamp(START + 50_000, 0);
    const claim = { floor, floorRoot: rootToJson({ count: 9, identity: 1n, content: 1n }) };
    const key = trio.hosts[0]!.heldShards()[0]!.key;
    trio.say(2, 0, {
      t: 'compare',
      request: 1,
      key,
      through: makeStamp(START + 60_000, 0),
      from: 0,
      preview: false,
      ...claim,
    });
    trio.pass(2_100);
    expect(trio.levelled.at(-1)!.outcome).not.toBe('level');
  });

  test('writes that only an outbox has are named until an owner has them', () => {
    const trio = new Trio(1);
    trio.write(0);
    const owner = trio.counts().findIndex((count) => count > 0);
    const other = (owner + 1) % 3;
    trio.cut.add(NUMBERS[owner]!);
    trio.hear();
    trio.write(other);
    trio.pass(200);
    expect(trio.hosts[other]!.unplaced()).toHaveLength(1);
    trio.cut.clear();
    trio.hear();
    trio.pass(6_000);
    expect(trio.hosts[other]!.unplaced()).toEqual([]);
    expect(trio.counts()[owner]).toBe(2);
  });
});
