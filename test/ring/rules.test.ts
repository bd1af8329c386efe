/** One situation per rule of convergence that the whole-cluster simulation meets rarely, or cannot make. */
import { describe, expect, test } from 'vitest';
import { rootToJson } from '../../repair/ledger.ts';
import type { Message } from '../../repair/replica-messages.ts';
import { StorageError } from '../../shards/errors.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { ID, KEY, NUMBERS, START, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];
const key = shardKeyToJson(KEY);
const nothing = rootToJson({ count: 0, identity: 0n, content: 0n });
/** A comparison from somebody whose floor has batches that the receiver never had. */
const fence: Message = {
  t: 'compare',
  request: 1,
  key,
  through: makeStamp(START + 60_000, 0),
  from: 0,
  preview: false,
  floor: makeStamp(START + 50_000, 0),
  floorRoot: [99, 'a'.repeat(32), 'b'.repeat(32)],
};

/** A write that only the coordinator has. */
function lonely(trio: Trio, at: number): string {
  for (const number of NUMBERS) if (number !== NUMBERS[at]) trio.cut.add(number);
  trio.hear();
  trio.write(at);
  trio.pass(100);
  return trio.storages[at]!.ledgers.get(ID)!.versions().at(-1)!;
}

describe('cutoffs and lists (rules 9 to 12)', () => {
  test('a member whose newest shard list was not heard keeps a pass from being full, and is named', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.stale.add(THIRD);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.passes.every(({ kind }) => kind === 'live')).toBe(true);
    expect(trio.hosts[0]!.describeShard(ID)).toMatchObject({
      converged: null,
      heldBackBy: 'n3: its list of shards has not been heard',
    });
    trio.stale.clear();
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.hosts[0]!.describeShard(ID)!.converged).not.toBeNull();
  });

  test('a shard that is removed while it is pulled for is not made anew by what comes', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    lonely(trio, 0);
    trio.cut.clear();
    trio.hear();
    const [storage] = trio.storages.slice(1);
    trio.onSend = (_from, to, { t }) => {
      if (t === 'fetch-answer' && to === SECOND) storage!.drop(ID);
    };
    trio.hosts[1]!.level(
      [{ request: 1, shard: KEY, level: 'all', viewHash: 'v', holders: [...NUMBERS], without: [], timeoutMs: 2_000 }],
      trio.now,
    );
    trio.settle();
    expect(storage!.shards.has(ID)).toBe(false);
    expect(trio.levelled).toEqual([expect.objectContaining({ outcome: 'not-here' })]);
  });

  test('shards of a dropped database: no pass is started and no token is taken', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.pass(100);
    trio.hear();
    trio.dropped = { d: 0 };
    trio.hear();
    expect(trio.repair(0, 'ring')).toMatchObject({ state: 'failed', message: 'the shard is expired or dropped' });
    expect(trio.sent.filter((kind) => kind === 'token')).toEqual([]);
  });
});

describe('turning filling (rules 8 and 31)', () => {
  test('restarted in the middle: what it holds above its floor is open before the first tick, and handed on', () => {
    const trio = new Trio();
    const version = lonely(trio, 2);
    const { disk } = trio.storages[2]!;
    trio.storages[2]!.ledgers.get(ID)!.replica = 'filling';
    trio.storages[2]!.shards.get(ID)!.flush();
    trio.boot(THIRD, disk);
    expect(trio.hosts[2]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [] }]);
    trio.cut.clear();
    trio.hear();
    for (let i = 0; i < 8; i++) {
      trio.pass(1_000);
      trio.hear();
    }
    expect(trio.storages[2]!.ledgers.get(ID)!.replica).toBe('full');
    expect(trio.counts()).toEqual([1, 1, 1]);
  });

  test('its own acknowledgement of a batch in its outbox is taken back, also on disk', () => {
    const trio = new Trio();
    const version = lonely(trio, 0);
    trio.pass(3_000);
    expect(trio.hosts[0]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [FIRST] }]);
    trio.say(1, 0, fence);
    trio.pass(1_000);
    expect(trio.storages[0]!.ledgers.get(ID)!.replica).toBe('filling');
    expect(trio.hosts[0]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [] }]);
  });

  test('its own acknowledgement of a write that still waits for others is taken back at once', () => {
    const trio = new Trio();
    trio.onSend = (_, to) => {
      if (to !== FIRST) trio.cut.add(to);
    };
    trio.write(0);
    expect(trio.hosts[0]!.openVersions()[0]!.acknowledgedBy).toEqual([FIRST]);
    trio.say(1, 0, fence);
    expect(trio.hosts[0]!.openVersions().map((open) => open.acknowledgedBy)).toEqual([[]]);
  });

  test('a copy takes the place of the replica while a batch waits for its sync: the batch is not acknowledged', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const statuses: string[] = [];
    trio.onSend = (from, _, message) => {
      if (from === THIRD && message.t === 'mail-answers') statuses.push(...message.answers.map((answer) => answer[2]));
    };
    const storage = trio.storages[2]!;
    const sync = storage.sync.bind(storage);
    let late = () => {};
    storage.sync = (done) => {
      late = () => sync(done);
    };
    trio.write(0);
    const copy = trio.storages[1]!.shards.get(ID)!.snapshot(1 << 20);
    const target = storage.beginFill(KEY);
    for (let page = 0; copy.page(page) !== null; page++) target.accept(copy.page(page)!);
    target.finish();
    late();
    trio.settle();
    expect(statuses).toEqual(['filling']);
  });
});

describe('the disk refuses or gives back damaged bytes', () => {
  const damaged = () => {
    throw new StorageError('damaged-block', 'block 7 fails its CRC');
  };
  const full = () => {
    throw new StorageError('disk-full', 'no room on the disk');
  };

  test('a block that cannot be read: the batches around it are given, the replica is damaged, nobody dies', () => {
    const trio = new Trio();
    for (let i = 0; i < 3; i++) trio.write(0, 'all');
    const versions = trio.storages[0]!.ledgers.get(ID)!.versions();
    trio.boot(THIRD);
    trio.cut.add(SECOND);
    trio.hear();
    const shard = trio.storages[0]!.shards.get(ID)!;
    const rebuild = shard.rebuild.bind(shard);
    shard.rebuild = (asked) => (asked.has(versions[1]!) ? damaged() : rebuild(asked));
    shard.recomputeContent = damaged;
    expect(trio.repair(0, 'ring').state).not.toBe('done');
    trio.pass(2_000);
    expect(trio.counts()[2]).toBe(2);
    expect(trio.hosts[0]!.describeShard(ID)).toMatchObject({ state: 'damaged', damage: { reason: /block 7/ } });
    expect(trio.passes.at(-1)!.outcome).not.toBe('proven');
  });

  test('scrub over a damaged block: the replica is damaged and the repair says why', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    trio.storages[0]!.shards.get(ID)!.recomputeContent = damaged;
    expect(trio.repair(0, 'scrub')).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('block 7 fails its CRC'),
    });
    expect(trio.storages[0]!.ledgers.get(ID)!.replica).toBe('damaged');
  });

  test('a copy from a source whose block is damaged is taken from another', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const shard = trio.storages[0]!.shards.get(ID)!;
    const snapshot = shard.snapshot.bind(shard);
    shard.snapshot = (bytes) => ({ ...snapshot(bytes), page: damaged });
    trio.say(0, 2, fence);
    for (let i = 0; i < 10; i++) {
      trio.pass(1_000);
      trio.hear();
    }
    expect(trio.storages[2]!.ledgers.get(ID)!.replica).toBe('full');
    expect(trio.counts()[2]).toBe(1);
  });

  test('no room for the file of a new shard: the token is refused with the reason and the pass goes on without', () => {
    const trio = new Trio();
    trio.cut.add(THIRD);
    trio.hear();
    trio.write(0);
    trio.cut.clear();
    trio.storages[2]!.create = full;
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.passes.at(-1)).toMatchObject({ kind: 'live', skipped: [{ member: THIRD, reason: 'disk-full' }] });
  });

  test('no room to save that it is filling: it waits, names what it owes, and goes on when there is room', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const shard = trio.storages[2]!.shards.get(ID)!;
    const flush = shard.flush.bind(shard);
    shard.flush = full;
    trio.say(0, 2, fence);
    trio.pass(2_000);
    expect(trio.hosts[2]!.counters()).toMatchObject({ fill_waits_for_disk: 1 });
    shard.flush = flush;
    for (let i = 0; i < 10; i++) {
      trio.hear();
      trio.pass(1_000);
    }
    expect(trio.storages[2]!.ledgers.get(ID)!.replica).toBe('full');
  });
});

describe('time and numbers', () => {
  test('the wall clock steps back an hour: a write that waits is answered after its time-out all the same', () => {
    const trio = new Trio();
    trio.cut.add(SECOND).add(THIRD);
    const request = trio.write(0, 'all');
    trio.now -= 3_600_000;
    trio.pass(4_000);
    expect(trio.outcomes.get(request)).toMatchObject({ ok: false, status: 503 });
  });

  test('many missing batches of many rows: no answer rebuilds more rows than the limit', () => {
    const trio = new Trio(3, { fetchRowsMax: 10 });
    for (let i = 0; i < 40; i++) trio.write(0, 'all');
    trio.boot(THIRD);
    trio.hear();
    const asked: number[] = [];
    for (const storage of trio.storages.slice(0, 2)) {
      const shard = storage.shards.get(ID)!;
      const rebuild = shard.rebuild.bind(shard);
      shard.rebuild = (versions) => {
        asked.push(versions.size);
        return rebuild(versions);
      };
    }
    trio.pass(100);
    trio.hear();
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([40, 40, 40]);
    expect(Math.max(...asked)).toBe(5);
  });

  test('a pass that died with the members that had its token frees its place within two hop time-outs', () => {
    const trio = new Trio(3, { passesAtOnceMax: 1, passIntervalMs: 1_000, staggerMs: 1e9 });
    trio.write(0, 'all');
    let starter: string | null = null;
    trio.onSend = (from, to, message) => {
      if ((message.t !== 'token' && message.t !== 'even') || message.hop !== 3 || starter !== null) return;
      starter = to;
      trio.cut.add(from);
    };
    for (let i = 0; i < 100 && starter === null; i++) {
      trio.pass(50);
      if (i % 10 === 0) trio.hear();
    }
    trio.cut = new Set(NUMBERS.filter((number) => number !== starter));
    trio.hear();
    const counters = () => trio.hosts[NUMBERS.indexOf(starter!)]!.counters();
    const before = counters().passes_started!;
    trio.pass(9_000);
    expect(counters().passes_started!).toBeGreaterThan(before);
    expect(counters()).toMatchObject({ passes_proven_live: expect.any(Number) });
  });

  test.each([
    ['a lane that belongs to the main thread', [...key.slice(0, 6), 255]],
    ['a range that ends before it begins', [...key.slice(0, 4), '10', '-10', 0]],
  ])('a shard key with %s is malformed', (_, bad) => {
    const trio = new Trio();
    trio.say(1, 0, { t: 'fill-page', request: 1, key: bad as never, snapshot: 1, index: 0 });
    expect(trio.hosts[0]!.counters()).toMatchObject({ messages_malformed: 1 });
  });

  test('a token whose floor lies above its cutoff is refused', () => {
    const trio = new Trio();
    trio.write(0, 'all');
    const through = makeStamp(trio.now, 9);
    const token: Message = {
      t: 'token',
      pass: `${SECOND}-x`,
      key,
      through,
      view: 'v',
      kind: 'full',
      order: [SECOND, FIRST],
      gathered: 1,
      verified: [],
      hop: 1,
      root: nothing,
      final: null,
      skipped: [],
      hops: [],
      startedMs: trio.now,
      watched: false,
      even: true,
      floor: makeStamp(trio.now + 5, 0),
      floorRoot: rootToJson(trio.storages[0]!.ledgers.get(ID)!.root(through)),
    };
    trio.say(1, 0, token);
    expect(trio.hosts[0]!.counters()).toMatchObject({ tokens_refused: 1 });
  });
});

describe('a shard whose file was set aside', () => {
  test('what this node had acknowledged of it is nobody’s any more: its outbox and its statements say so at once', () => {
    const trio = new Trio();
    const version = lonely(trio, 0);
    trio.pass(3_000);
    expect(trio.hosts[0]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [FIRST] }]);
    trio.storages[0]!.drop(ID);
    trio.hosts[0]!.shardLost(ID);
    expect(trio.hosts[0]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [] }]);
    trio.settle();
    trio.pass(1_000);
    expect(trio.counts()).toEqual([1, 0, 0]);
    expect(trio.hosts[0]!.openVersions()).toEqual([{ shard: ID, oldest: version, acknowledgedBy: [FIRST] }]);
  });

  test('a write that waits for others: the acknowledgement of this node is taken back', () => {
    const trio = new Trio();
    trio.onSend = (_, to) => {
      if (to !== FIRST) trio.cut.add(to);
    };
    trio.write(0);
    trio.storages[0]!.drop(ID);
    trio.hosts[0]!.shardLost(ID);
    expect(trio.hosts[0]!.openVersions().map((open) => open.acknowledgedBy)).toEqual([[]]);
    expect(trio.hosts[0]!.counters()).toMatchObject({ shards_set_aside: 1 });
  });
});

test('a group with both durabilities for one shard: what does not wait for the sync may need what does, and waits too', () => {
  const trio = new Trio();
  const storage = trio.storages[0]!;
  const sync = storage.sync.bind(storage);
  let late = () => {};
  storage.sync = (done) => {
    late = () => sync(done);
  };
  const first = trio.prepare(0);
  const second = { ...trio.prepare(0, 'one', false), durability: 'interval' as const };
  trio.hosts[0]!.submit([first, second], trio.now);
  expect(trio.counts()[0]).toBe(0);
  expect(trio.outcomes.size).toBe(0);
  late();
  trio.settle();
  expect(trio.counts()[0]).toBe(2);
  const kept = [...storage.shards.get(ID)!.batches.values()].map(({ keys }) => keys.map(({ key }) => key));
  expect(kept).toEqual([
    ['cpu,host=a', 'cpu,host=b'],
    ['cpu,host=a', 'cpu,host=b'],
  ]);
  expect([first, second].map(({ request }) => trio.outcomes.get(request))).toEqual([{ ok: true }, { ok: true }]);
});
