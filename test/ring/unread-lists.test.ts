/** A member that cannot read identity lists: it answers for nothing that they would have to tell, and says so. */
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import type { CommitQueue } from '../../repair/commit.ts';
import { Ledger } from '../../repair/ledger.ts';
import { DecodedLists } from '../../repair/ledger-epoch.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { claimOf } from '../../repair/replica-table.ts';
import { StorageError } from '../../shards/errors.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { epochOf, STAMP_ZERO, type Version } from '../../shards/version.ts';
import { UnreadLists } from '../sim/unread-lists.ts';
import { MemoryDisk, MemoryStorage } from '../support/memory-storage.ts';
import { Engines } from './engine-trio.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const { hopTimeoutMs } = DEFAULT_REPLICA_LIMITS;
const INTERVAL_MS = 2_000;
const times = { passIntervalMs: INTERVAL_MS, staggerMs: 300 };
/** Of all members: whoever reads makes the others read again. */
const decoded = new DecodedLists(1);
/** Every list is left to the file with every save. */
const makeLedger = () => new Ledger(0, decoded);

function live(trio: Trio, ms: number): void {
  for (let passed = 0; passed < ms; passed += 500) {
    trio.pass(500);
    trio.hear();
  }
}

interface Cluster {
  readonly trio: Trio;
  readonly storages: MemoryStorage[];
  readonly lists: UnreadLists[];
}

function cluster(): Cluster {
  const storages: MemoryStorage[] = [];
  const lists: UnreadLists[] = [];
  const trio = new Trio(3, times, (number, later) => {
    const at = NUMBERS.indexOf(number);
    const unread = new UnreadLists();
    const storage = new MemoryStorage(new MemoryDisk(), later, () => unread.watch(makeLedger()));
    [storages[at], lists[at]] = [storage, unread];
    return { storage, ledgerOf: (id) => storage.ledgers.get(id)! };
  });
  trio.write(0, 'all');
  trio.pass(100);
  live(trio, 3 * INTERVAL_MS);
  return { trio, storages, lists };
}

/** A batch that all but one have, saved by all of them. */
function writeWithout(away: number, { trio, storages }: Cluster): Version {
  trio.cut = new Set([NUMBERS[away]!]);
  trio.hear();
  const at = (away + 1) % 3;
  trio.write(at);
  const version = storages[at]!.ledgers.get(ID)!.newest!;
  trio.pass(1_500);
  for (const storage of storages) storage.shards.get(ID)!.flush();
  return version;
}

describe.each([0, 1, 2])('owner %i', (bad) => {
  test('is left out of passes and named while it cannot read, and proven with the others when it can again', () => {
    const all = cluster();
    const { trio, storages, lists } = all;
    const away = (bad + 1) % 3;
    const version = writeWithout(away, all);
    lists[bad]!.failing = true;
    trio.cut.clear();
    live(trio, 4 * INTERVAL_MS + hopTimeoutMs);
    expect(lists[bad]!.failed).toBeGreaterThan(0);
    for (const at of [0, 1, 2].filter((each) => each !== bad)) {
      expect(storages[at]!.shards.get(ID)!.batches.has(version)).toBe(true);
      expect(trio.hosts[at]!.describeShard(ID)!.heldBackBy).toMatch(
        new RegExp(`^n${bad + 1}: it cannot read what it has: disk-failed`),
      );
    }
    expect(trio.hosts[bad]!.describeShard(ID)).toMatchObject({ state: 'full', ledger: null });
    expect(trio.hosts[bad]!.describeShard(ID)!.heldBackBy).toMatch(/it cannot read what it has/);
    lists[bad]!.failing = false;
    live(trio, 3 * INTERVAL_MS + hopTimeoutMs);
    for (const [at, storage] of storages.entries()) {
      expect(storage.shards.get(ID)!.batches.has(version)).toBe(true);
      const { floor, replica } = storage.ledgers.get(ID)!;
      expect([replica, floor >= version.slice(0, 16)]).toEqual(['full', true]);
      expect(trio.hosts[at]!.describeShard(ID)).toMatchObject({ heldBackBy: null, lastPass: { kind: 'full' } });
    }
  });
});

test('mail for a list that cannot be read is refused for now, neither stored nor taken for known', () => {
  const all = cluster();
  const { trio, storages, lists } = all;
  writeWithout(2, all);
  trio.cut.clear();
  const [known] = storages[0]!.ledgers.get(ID)!.versions().slice(-1);
  for (const unread of lists) unread.failing = true;
  const request = trio.write(0, 'all');
  trio.pass(200);
  expect(storages.map(({ ledgers }) => ledgers.get(ID)!.newest)).toEqual([known, known, expect.anything()]);
  for (const unread of lists) unread.failing = false;
  live(trio, 10_000);
  expect(request).toBeDefined();
  const newest = storages.map(({ ledgers }) => ledgers.get(ID)!.newest);
  expect(newest[0]! > known!).toBe(true);
  expect(new Set(newest).size).toBe(1);
});

test('a list that can no longer be read when its batch has been synced: refused, and nothing is changed', () => {
  const all = cluster();
  const { trio, storages, lists } = all;
  writeWithout(2, all);
  trio.cut.clear();
  const [here, other] = storages.map(({ ledgers }) => ledgers.get(ID)!) as [Ledger, Ledger];
  const [known] = here.versions().slice(-1);
  trio.hosts[0]!.submit([trio.prepare(0, 'all')], trio.now);
  expect((trio.hosts[0] as unknown as { commit: CommitQueue }).commit.pending(ID)).toBe(1);
  other.has(known!);
  lists[0]!.failing = true;
  trio.settle();
  expect(lists[0]!.failed).toBeGreaterThan(0);
  expect([here.newest, storages[0]!.shards.get(ID)!.batches.size]).toEqual([known, 2]);
  lists[0]!.failing = false;
  live(trio, 3 * INTERVAL_MS);
  expect(storages.map(({ shards }) => shards.get(ID)!.batches.size)).toEqual([3, 3, 3]);
});

test('a proof that cannot be taken is not shown as the last pass, and the replica says why', () => {
  const { trio, storages } = cluster();
  const ledger = storages[1]!.ledgers.get(ID)!;
  const told = () => trio.hosts[1]!.describeShard(ID)!;
  const before = told().lastPass;
  ledger.adoptFloor = (through) => {
    if (through > ledger.floor) throw new StorageError('disk-failed', 'for the test');
  };
  trio.write(0, 'all');
  for (let i = 0; i < 40 && trio.hosts[1]!.counters().proofs_refused_by_disk === undefined; i++) live(trio, 500);
  expect(trio.hosts[1]!.counters().proofs_refused_by_disk).toBe(1);
  expect(told().lastPass).toEqual(before);
  expect(told().heldBackBy).toMatch(/^n2: it cannot read what it has: disk-failed/);
});

test('what others ask of a list that cannot be read is answered: busy', () => {
  const all = cluster();
  const { trio, storages, lists } = all;
  writeWithout(2, all);
  trio.cut.clear();
  const ledger = storages[0]!.ledgers.get(ID)!;
  const versions = ledger.versions();
  const [version] = versions as [Version];
  storages[1]!.ledgers.get(ID)!.has(version);
  lists[0]!.failing = true;
  const through = version.slice(0, 16);
  const key = shardKeyToJson(KEY);
  const range = { after: STAMP_ZERO, through, epochs: [epochOf(version)], above: '' };
  const answers: unknown[] = [];
  trio.onSend = (from, _, message) => void (from === NUMBERS[0] && 'status' in message && answers.push(message));
  trio.say(1, 0, { t: 'compare', request: 1, key, through, from: 0, preview: false, ...claimOf(ledger) });
  trio.say(1, 0, { t: 'identities', request: 2, key, ...range });
  trio.say(1, 0, { t: 'fetch', request: 3, key, versions });
  trio.settle();
  expect(answers).toMatchObject([
    { t: 'compare-answer', request: 1, status: 'busy' },
    { t: 'identities-answer', request: 2, status: 'busy' },
    { t: 'fetch-answer', request: 3, status: 'busy', versions: [] },
  ]);
});

test('a replica that is to be filled owes what it cannot read yet, and holds the cutoff until it has handed it on', () => {
  const all = cluster();
  const { trio, storages, lists } = all;
  const version = writeWithout(2, all);
  lists[0]!.failing = true;
  const host = trio.hosts[0] as unknown as {
    filling: { demote(replica: unknown, reason: string): void };
    replicas: { get(id: string): { ledger: Ledger } };
  };
  host.filling.demote(host.replicas.get(ID), 'for the test');
  const [open] = trio.hosts[0]!.openVersions().filter(({ shard }) => shard === ID);
  expect(open!.oldest <= version).toBe(true);
  trio.pass(3_000);
  expect(storages[0]!.ledgers.get(ID)!.replica).toBe('filling');
  expect(trio.hosts[0]!.describeShard(ID)!.fill).toMatchObject({ source: null });
  lists[0]!.failing = false;
  trio.cut.clear();
  live(trio, 20_000);
  for (const storage of storages) {
    expect(storage.ledgers.get(ID)!.replica).toBe('full');
    expect(storage.shards.get(ID)!.batches.has(version)).toBe(true);
  }
});

test('a damaged list that cannot be made anew: the file is set aside, nobody counts on it, and the others bring everything', () => {
  const engines = new Engines({}, makeLedger);
  try {
    const trio = new Trio(3, times, engines.open);
    engines.setAside = (at, id) => trio.hosts[at]!.shardLost(id);
    trio.write(0, 'all');
    trio.pass(100);
    trio.cut = new Set([NUMBERS[2]!]);
    trio.hear();
    trio.write(1);
    const version = engines.ledger(1).newest!;
    trio.pass(3_000);
    for (const engine of engines.all) engine.shards.get(ID)!.flush();
    const file = new Database(engines.path(0));
    const bytes = file.prepare('SELECT identities FROM ledger_epochs').pluck().get() as Buffer;
    bytes[bytes.length - 3]! ^= 1;
    file.prepare('UPDATE ledger_epochs SET identities = ?').run(bytes);
    file.exec('UPDATE blocks SET body = zeroblob(length(body))');
    file.close();
    expect(() => engines.ledger(0).has(version)).toThrow('is not what was written');
    expect(engines.ledger(0).floor < version.slice(0, 16)).toBe(true);
    trio.cut.clear();
    for (let i = 0; i < 40; i++) {
      for (const engine of engines.all) engine.step(5, () => trio.now);
      trio.pass(500);
      trio.hear();
    }
    expect(engines.all[0]!.recovery.setAside).toEqual([]);
    for (const at of [0, 1, 2]) {
      expect(engines.ledger(at)).toMatchObject({ replica: 'full', mustDisown: false });
      expect(engines.ledger(at).has(version)).toBe(true);
      expect(engines.ledger(at).floor >= version.slice(0, 16)).toBe(true);
    }
    expect(engines.ledger(0).since > STAMP_ZERO).toBe(true);
    expect(trio.hosts[0]!.counters()).toMatchObject({ shards_set_aside: 1 });
  } finally {
    engines.remove();
  }
});
