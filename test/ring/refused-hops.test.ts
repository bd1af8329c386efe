/** A member whose own disk fails is left out of a pass and named; the others are proven equal without it, and soon. */
import { describe, expect, test } from 'vitest';
import type { Outbox } from '../../repair/outbox.ts';
import { DEFAULT_REPLICA_LIMITS } from '../../repair/replica-limits.ts';
import { StorageError } from '../../shards/errors.ts';
import type { Version } from '../../shards/version.ts';
import { ID, NUMBERS, Trio } from './trio.ts';

const { hopTimeoutMs } = DEFAULT_REPLICA_LIMITS;
const INTERVAL_MS = 2_000;
const times = { passIntervalMs: INTERVAL_MS, staggerMs: 300 };

function live(trio: Trio, ms: number): void {
  for (let passed = 0; passed < ms; passed += 500) {
    trio.pass(500);
    trio.hear();
  }
}

/** All are proven equal, and then one's disk gets worse. */
function cluster(bad: number): { trio: Trio; others: number[] } {
  const trio = new Trio(3, times);
  trio.write(0, 'all');
  trio.pass(100);
  trio.hear();
  live(trio, 3 * INTERVAL_MS);
  trio.passes.length = 0;
  return { trio, others: [0, 1, 2].filter((i) => i !== bad) };
}

/** What the next pass has to move: a batch that the others have. */
function write(trio: Trio, at: number): Version {
  trio.write(at);
  return trio.storages[at]!.ledgers.get(ID)!.newest!;
}

/** A batch that only `at` has, and that no outbox sends. */
function writeLonely(trio: Trio, at: number): Version {
  trio.cut = new Set(NUMBERS.filter((_, i) => i !== at));
  trio.hear();
  const version = write(trio, at);
  trio.pass(1_500);
  const { outbox } = trio.hosts[at] as unknown as { outbox: Outbox };
  for (const name of [...outbox.entries.keys()]) outbox.remove(name);
  return version;
}

const describeAt = (trio: Trio, at: number) => trio.hosts[at]!.describeShard(ID)!;
const isProvenLive = (trio: Trio, at: number, version: Version) =>
  (describeAt(trio, at).liveConverged?.through ?? '') >= version.slice(0, 16);

function expectWithout(trio: Trio, bad: number, reason: RegExp, versions: readonly Version[]): void {
  const others = [0, 1, 2].filter((i) => i !== bad);
  for (const at of others) {
    for (const version of versions) expect(isProvenLive(trio, at, version), `at ${at}`).toBe(true);
    expect(describeAt(trio, at).heldBackBy).toMatch(new RegExp(`^n${bad + 1}: ${reason.source}`));
  }
  const ended = trio.passes.filter(({ outcome }) => outcome !== 'overtaken');
  expect(ended.length).toBeGreaterThan(0);
  expect(new Set(ended.map(({ outcome }) => outcome))).toEqual(new Set(['proven']));
  for (const { kind, skipped } of ended) {
    expect(kind).toBe('live');
    expect(skipped).toEqual([{ member: NUMBERS[bad], reason: expect.stringMatching(reason) }]);
  }
}

function expectAllBack(trio: Trio, versions: readonly Version[]): void {
  live(trio, 2 * INTERVAL_MS + hopTimeoutMs);
  for (const [at, storage] of trio.storages.entries()) {
    for (const version of versions) expect(storage.shards.get(ID)!.batches.has(version)).toBe(true);
    expect(describeAt(trio, at)).toMatchObject({ state: 'full', heldBackBy: null, lastPass: { kind: 'full' } });
  }
}

describe.each([0, 1, 2])('owner %i', (bad) => {
  test.each(['disk-full', 'disk-failed'] as const)('%s: nothing can be appended', (code) => {
    const { trio, others } = cluster(bad);
    const storage = trio.storages[bad]!;
    const append = storage.append.bind(storage);
    storage.append = () => {
      throw new StorageError(code, 'no');
    };
    const versions = others.map((at) => write(trio, at));
    live(trio, 4 * INTERVAL_MS);
    expectWithout(trio, bad, new RegExp(`${code}: no`), versions);
    expect(describeAt(trio, bad).heldBackBy).toBe(`n${bad + 1}: ${code}: no`);
    storage.append = append;
    expectAllBack(trio, versions);
  });

  test('too much that is not flushed', () => {
    const { trio, others } = cluster(bad);
    const storage = trio.storages[bad]!;
    const pressure = storage.pressure.bind(storage);
    storage.pressure = () => ({ ...pressure(), overloaded: true });
    const versions = others.map((at) => write(trio, at));
    live(trio, 4 * INTERVAL_MS);
    expectWithout(trio, bad, /overloaded/, versions);
    storage.pressure = pressure;
    expectAllBack(trio, versions);
  });

  test('a sync that does not end costs one pass the time of a hop, and the next ones nothing', () => {
    const { trio, others } = cluster(bad);
    const storage = trio.storages[bad]!;
    const sync = storage.sync.bind(storage);
    const held: (() => void)[] = [];
    storage.sync = (done) => void held.push(() => sync(done));
    const versions = others.map((at) => write(trio, at));
    live(trio, hopTimeoutMs + 3 * INTERVAL_MS);
    expectWithout(trio, bad, /its disk has not synced for [0-9]+ s/, versions);
    for (const { finishedMs, startedMs } of trio.passes)
      expect(finishedMs - startedMs).toBeLessThanOrEqual(hopTimeoutMs + 500);
    expect(trio.passes.filter(({ finishedMs, startedMs }) => finishedMs - startedMs < 500).length).toBeGreaterThan(0);
    storage.sync = sync;
    for (const each of held) each();
    expectAllBack(trio, versions);
  });

  test('syncs that fail, one after the other', () => {
    const { trio, others } = cluster(bad);
    const storage = trio.storages[bad]!;
    const sync = storage.sync.bind(storage);
    storage.sync = (done) => sync(() => done(new StorageError('disk-failed', 'no')));
    const versions = others.map((at) => write(trio, at));
    live(trio, hopTimeoutMs + 3 * INTERVAL_MS);
    expectWithout(trio, bad, /disk-failed: no|its disk has not synced for [0-9]+ s/, versions);
    storage.sync = sync;
    expectAllBack(trio, versions);
  });

  test.each(['full', 'hung'])(
    'its disk is %s: what only it has comes to the others, in passes that it starts',
    (how) => {
      const { trio, others } = cluster(bad);
      const lonely = writeLonely(trio, bad);
      const storage = trio.storages[bad]!;
      if (how === 'full') storage.failAppend = true;
      else storage.sync = () => {};
      for (const at of others) write(trio, at);
      trio.cut.clear();
      trio.hear();
      const versions = others.map((at) => write(trio, at));
      // A pass that was under way may have to find out that the disk hangs; then the others start twice at most before it does.
      live(trio, hopTimeoutMs + 3 * INTERVAL_MS);
      for (const at of others) {
        expect(trio.storages[at]!.shards.get(ID)!.batches.has(lonely)).toBe(true);
        for (const version of versions) expect(isProvenLive(trio, at, version)).toBe(true);
      }
    },
  );

  test('what it has cannot be read: the pass that finds out fails, and the next ones go on without', () => {
    const { trio, others } = cluster(bad);
    const storage = trio.storages[bad]!;
    // What it alone has is asked of it.
    const lonely = writeLonely(trio, bad);
    const shard = storage.shards.get(ID)!;
    const rebuild = shard.rebuild.bind(shard);
    shard.rebuild = () => {
      throw new StorageError('disk-failed', 'no');
    };
    trio.cut.clear();
    trio.hear();
    const versions = others.map((at) => write(trio, at));
    trio.passes.length = 0;
    live(trio, 3 * INTERVAL_MS);
    const failed = trio.passes.filter(({ outcome }) => outcome === 'failed');
    // Some may have begun together.
    expect(new Set(failed.map(({ startedMs, reason }) => `${startedMs} ${reason}`)).size).toBe(1);
    expect(failed[0]!.reason).toBe('source is busy');
    trio.passes.length = 0;
    live(trio, 3 * INTERVAL_MS);
    expectWithout(trio, bad, /it cannot read what it has: disk-failed/, versions);
    shard.rebuild = rebuild;
    expectAllBack(trio, [...versions, lonely]);
  });
});

test('a refusal that is lost is said again when the token is repeated, and the pass goes on', () => {
  const { trio } = cluster(2);
  trio.storages[2]!.failAppend = true;
  const version = write(trio, 0);
  let lost = 0;
  trio.onSend = (_, __, message) => {
    if (message.t !== 'token-answer' || message.status !== 'refused' || lost > 0) return;
    lost++;
    return 'lost';
  };
  live(trio, 4 * INTERVAL_MS);
  expect(lost).toBe(1);
  expectWithout(trio, 2, /disk-full/, [version]);
});

test('a full disk is asked for one batch a pass, not for a page', () => {
  const { trio, others } = cluster(1);
  trio.storages[1]!.failAppend = true;
  for (let i = 0; i < 20; i++) for (const at of others) write(trio, at);
  live(trio, 2 * INTERVAL_MS);
  const asked: number[] = [];
  trio.onSend = (from, _, message) => {
    if (from === NUMBERS[1] && message.t === 'fetch') asked.push(message.versions.length);
  };
  live(trio, 4 * INTERVAL_MS);
  expect(asked.length).toBeGreaterThan(1);
  expect(Math.max(...asked)).toBe(1);
  trio.onSend = () => undefined;
  trio.storages[1]!.failAppend = false;
  expectAllBack(trio, []);
  expect(new Set(trio.counts()).size).toBe(1);
});
