/** Shards that change their owners: who lets go, when, and what is said of a member that was given up. */
import { describe, expect, test } from 'vitest';
import { StorageError } from '../../shards/errors.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

/** Three replicas, of which one is no owner's any more. */
function moved(): { trio: Trio; holder: number; owner: number } {
  const trio = new Trio();
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  trio.replication = 2;
  trio.view = 'w';
  trio.hear();
  const stays = trio.hosts[0]!.describeShard(ID)!.replicas;
  const holder = NUMBERS.indexOf(stays.find(({ owner }) => !owner)!.member);
  const owner = NUMBERS.indexOf(stays.find(({ owner: owns }) => owns)!.member);
  return { trio, holder, owner };
}

/** A pass that the host at `at` starts. */
function ring(trio: Trio, at: number): void {
  trio.repair(at, 'ring');
  trio.hear();
}

const holds = (trio: Trio, at: number) => trio.storages[at]!.shards.has(ID);

describe('letting go (rule 22)', () => {
  test('who owns a shard no longer keeps it until all owners are proven to have it, and then removes it', () => {
    const { trio, holder, owner } = moved();
    expect(holds(trio, holder)).toBe(true);
    ring(trio, owner);
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'full', outcome: 'proven' });
    expect(trio.counts().toSorted()).toEqual([0, 1, 1]);
    expect(holds(trio, holder)).toBe(false);
    expect(trio.hosts[holder]!.counters()).toMatchObject({ shards_let_go: 1 });
    expect(trio.hosts[holder]!.heldShards()).toEqual([]);
    expect(trio.hosts[holder]!.handover()).toMatchObject({ shards: 0, writes: 0, outboxEntries: 0 });
    expect(trio.hosts[owner]!.describeShard(ID)!.replicas.map(({ state }) => state)).toEqual(['full', 'full']);
  });

  test('mail of somebody who has not heard of the move does not bring it back', () => {
    const { trio, holder, owner } = moved();
    ring(trio, owner);
    const late = trio.prepare(owner, 'all');
    trio.say(owner, holder, { t: 'mail', key: KEY, version: late.version }, [late.frame, new Uint8Array()]);
    trio.pass(100);
    expect(holds(trio, holder)).toBe(false);
  });

  test('a batch above the cutoff of the proof is kept, handed on by the next pass, and then let go', () => {
    const { trio, holder, owner } = moved();
    const late = trio.prepare(owner);
    trio.say(owner, holder, { t: 'mail', key: KEY, version: late.version }, [late.frame, new Uint8Array()]);
    trio.pass(100);
    expect(trio.storages[holder]!.ledgers.get(ID)!.has(late.version)).toBe(true);
    trio.repair(owner, 'ring');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'full', outcome: 'proven' });
    expect(holds(trio, holder)).toBe(true);
    trio.hear();
    ring(trio, owner);
    expect(trio.counts().toSorted()).toEqual([0, 2, 2]);
  });

  test('without the rule the batch above the cutoff is gone with its last replica', () => {
    const { trio, holder, owner } = moved();
    const late = trio.prepare(owner);
    trio.say(owner, holder, { t: 'mail', key: KEY, version: late.version }, [late.frame, new Uint8Array()]);
    trio.pass(100);
    const ledger = trio.storages[holder]!.ledgers.get(ID)!;
    expect(ledger.has(late.version)).toBe(true);
    Object.defineProperty(ledger, 'newest', { get: () => null });
    trio.repair(owner, 'ring');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'full', outcome: 'proven' });
    trio.hear();
    expect(trio.counts().toSorted()).toEqual([0, 1, 1]);
  });

  test('an owner that is away: the pass is a live one, and nobody lets go', () => {
    const { trio, holder, owner } = moved();
    const other = [0, 1, 2].find((i) => i !== holder && i !== owner)!;
    trio.cut.add(NUMBERS[other]!);
    trio.hear();
    ring(trio, owner);
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', outcome: 'proven' });
    expect(holds(trio, holder)).toBe(true);
  });

  test('a proof of another view: nobody lets go', () => {
    const { trio, holder } = moved();
    // The owner behind the holder: of a pass that it starts, another one publishes the proof.
    const owner = (holder + 1) % 3;
    trio.proofsInFull();
    trio.onSend = (_, to, message) => {
      if (message.t === 'proven' && to === NUMBERS[holder]) trio.cut.add(to);
    };
    let proof: Parameters<Trio['onSend']>[2] | null = null;
    const cut = trio.onSend;
    trio.onSend = (from, to, message) => {
      if (message.t === 'proven' && to === NUMBERS[holder]) proof = message;
      cut(from, to, message);
    };
    trio.repair(owner, 'ring');
    trio.cut.clear();
    trio.view = 'x';
    trio.hear();
    trio.say(owner, holder, proof!);
    trio.pass(100);
    expect(holds(trio, holder)).toBe(true);
  });

  test('the only owner leaves: it starts the pass itself, since the new owner does not know of the shard, and lets go', () => {
    const trio = new Trio(1, { passIntervalMs: 1_000, staggerMs: 100 });
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    const only = [0, 1, 2].find((i) => holds(trio, i))!;
    trio.changed.set(NUMBERS[only]!, { state: 'leaving' });
    trio.view = 'w';
    trio.hear();
    expect(trio.hosts[only]!.handover()).toMatchObject({ shards: 1 });
    trio.pass(2_000);
    expect(trio.counts().toSorted()).toEqual([0, 0, 1]);
    expect(trio.hosts[only]!.handover()).toMatchObject({ shards: 0, bytes: 0, writes: 0, outboxEntries: 0 });
  });
});

describe('young replicas', () => {
  test('are told as such until a proof with another member', () => {
    const { trio, owner } = moved();
    expect(trio.hosts[owner]!.heldShards()[0]).toMatchObject({ young: true });
    ring(trio, owner);
    expect(trio.hosts[owner]!.heldShards()[0]).toMatchObject({ young: false });
  });
});

describe('a member that was given up (rule 23)', () => {
  test('the shards that it may have had writes of say so, beside their watermark, also after a restart', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    ring(trio, 0);
    const { throughMs } = trio.hosts[0]!.describeShard(ID)!.converged!;
    trio.write(0, 'all');
    trio.cut.add(NUMBERS[2]!);
    trio.changed.set(NUMBERS[2]!, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now + 10, 0) });
    trio.view = 'w';
    trio.hear();
    const loss = { member: NUMBERS[2]!, name: 'n3', afterMs: throughMs };
    expect(trio.hosts[0]!.describeShard(ID)!.losses).toEqual([loss]);
    trio.now += 100;
    trio.hear();
    ring(trio, 0);
    const after = trio.hosts[0]!.describeShard(ID)!;
    expect(after.converged!.members.toSorted()).toEqual(NUMBERS.slice(0, 2));
    expect(after.converged!.throughMs).toBeGreaterThan(throughMs);
    expect(after.losses).toEqual([loss]);
    trio.storages[0]!.shards.get(ID)!.flush();
    trio.boot(NUMBERS[0]!, trio.storages[0]!.disk);
    trio.view = 'x';
    trio.hear();
    expect(trio.hosts[0]!.describeShard(ID)!.losses).toEqual([loss]);
  });

  test.each([
    ['is made again as it was', false],
    ['is made again as it was, also when the disk refused it at first', true],
  ])('a note that a crash takes %s', (_, isFull) => {
    const trio = new Trio();
    const disk = trio.storages[0]!.disk;
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    ring(trio, 0);
    trio.storages[0]!.shards.get(ID)!.flush();
    trio.write(0, 'all');
    trio.now += 1_000;
    trio.hear();
    // Proven with the member that goes then, and not in the shard's file.
    ring(trio, 0);
    const { throughMs } = trio.hosts[0]!.describeShard(ID)!.converged!;
    trio.cut.add(NUMBERS[2]!);
    trio.changed.set(NUMBERS[2]!, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now + 10, 0) });
    trio.view = 'w';
    const files = trio.files[0]!;
    const { makeDirectory } = files;
    if (isFull)
      files.makeDirectory = () => {
        throw new StorageError('disk-full', 'no room');
      };
    trio.hear();
    files.makeDirectory = makeDirectory;
    if (isFull) trio.pass(100);
    const loss = { member: NUMBERS[2]!, name: 'n3', afterMs: throughMs };
    expect(trio.hosts[0]!.describeShard(ID)!.losses).toEqual([loss]);
    for (let crash = 0; crash < 2; crash++) {
      files.crash();
      trio.boot(NUMBERS[0]!, disk, files);
      trio.hear();
      expect(trio.hosts[0]!.describeShard(ID)!.converged!.throughMs).toBeLessThan(throughMs);
      expect(trio.hosts[0]!.describeShard(ID)!.losses).toEqual([loss]);
    }
  });

  test('a shard that was made afterwards has lost nothing', () => {
    const trio = new Trio();
    trio.cut.add(NUMBERS[2]!);
    trio.changed.set(NUMBERS[2]!, { state: 'removed', removal: 'forced', removedAt: makeStamp(trio.now, 0) });
    trio.view = 'w';
    trio.hear();
    trio.now += 1_000;
    trio.write(0);
    trio.view = 'x';
    trio.hear();
    expect(trio.hosts[0]!.describeShard(ID)!.losses).toEqual([]);
  });
});
