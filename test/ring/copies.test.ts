/** A copy replaces (rule 19): what only the replaced replica had below its source's floor is gone with it. */
import { describe, expect, test } from 'vitest';
import { type Ledger, rootToJson } from '../../repair/ledger.ts';
import { decodeMessage, type Message } from '../../repair/replica-messages.ts';
import { isNewcomer } from '../../repair/replica-table.ts';
import { StorageError } from '../../shards/errors.ts';
import { shardKeyToJson } from '../../shards/shard-key.ts';
import { makeStamp, type Stamp } from '../../shards/version.ts';
import { MemoryDisk, type MemoryShard, type MemoryStorage } from '../support/memory-storage.ts';
import { ID, KEY, NUMBERS, START, Trio } from './trio.ts';

const THROUGH = makeStamp(START + 60_000, 0);

/** From somebody whose floor has batches that the receiver never had. */
const FENCE: Message = {
  t: 'compare',
  request: 1,
  key: shardKeyToJson(KEY),
  through: THROUGH,
  from: 0,
  preview: false,
  floor: THROUGH,
  floorRoot: [99, 'a'.repeat(32), 'b'.repeat(32)],
};

/** A copy that keeps what was there: one rule broken on purpose. */
function mergeCopies(storage: MemoryStorage): void {
  const begin = storage.beginFill.bind(storage);
  storage.beginFill = (key) => {
    const target = begin(key);
    const finish = target.finish.bind(target);
    target.finish = (amend) => {
      const before = new Map(storage.shards.get(ID)!.batches);
      const after = finish(amend) as MemoryShard;
      for (const [version, kept] of before) after.batches.set(version, kept);
      return after;
    };
    return target;
  };
}

/** Replicas after the third one, with a batch of its own below the others' floor, has been replaced by a copy. */
function replaced(
  broken: (storage: MemoryStorage) => void = () => {},
  trio = new Trio(),
): { counts: number[]; roots: string[] } {
  trio.write(0, 'all');
  trio.pass(100);
  trio.cut = new Set(NUMBERS);
  trio.hear();
  trio.write(2);
  const through: Stamp = makeStamp(trio.now + 1, 0);
  for (const { ledgers } of trio.storages.slice(0, 2)) ledgers.get(ID)!.adoptFloor(through);
  expect(trio.counts()).toEqual([1, 1, 2]);
  broken(trio.storages[2]!);
  trio.cut.clear();
  trio.hear();
  trio.say(0, 2, FENCE);
  for (let i = 0; i < 4; i++) {
    trio.pass(2_000);
    trio.hear();
  }
  const ledgers: Ledger[] = trio.storages.map((storage) => storage.ledgers.get(ID)!);
  expect(ledgers.map(({ replica }) => replica)).toEqual(['full', 'full', 'full']);
  return { counts: trio.counts(), roots: ledgers.map((ledger) => rootToJson(ledger.root(THROUGH)).join()) };
}

describe('a replica below a floor', () => {
  test('is what its source is after the copy, and nothing more', () => {
    const { counts, roots } = replaced();
    expect(counts).toEqual([1, 1, 1]);
    expect(new Set(roots).size).toBe(1);
  });

  test('a copy that is merged into what was there would be seen by that', () => {
    expect(replaced(mergeCopies).counts).toEqual([1, 1, 2]);
  });

  test('the next page is on its way while one is written', () => {
    const trio = new Trio(3, { fillPageBytes: 256 });
    const told: string[] = [];
    trio.onSend = (_, __, message) => {
      if (message.t === 'fill-page') told.push(`asked ${message.index}`);
    };
    replaced((storage) => {
      const begin = storage.beginFill.bind(storage);
      storage.beginFill = (key) => {
        const target = begin(key);
        const accept = target.accept.bind(target);
        let index = 0;
        target.accept = (page) => {
          told.push(`wrote ${index++}`);
          accept(page);
        };
        return target;
      };
    }, trio);
    expect(told.length).toBeGreaterThan(4);
    // The first one says what may be kept of the others.
    expect(told.slice(0, 5)).toEqual(['wrote 0', 'asked 1', 'asked 2', 'wrote 1', 'asked 3']);
  });

  test('a page that cannot be written ends the copy: what is on its way for it goes into no other', () => {
    const trio = new Trio(3, { fillPageBytes: 256 });
    let failures = 0;
    const { counts, roots } = replaced((storage) => {
      const begin = storage.beginFill.bind(storage);
      storage.beginFill = (key) => {
        const target = begin(key);
        const accept = target.accept.bind(target);
        let pages = 0;
        target.accept = (page) => {
          if (failures < 2 && ++pages === 2) {
            failures++;
            throw new StorageError('disk-full', 'no space');
          }
          accept(page);
        };
        return target;
      };
    }, trio);
    expect(failures).toBe(2);
    expect(counts).toEqual([1, 1, 1]);
    expect(new Set(roots).size).toBe(1);
  });

  test('what a replica is itself it also is when its process ends right after the copy, before anything is flushed', () => {
    const since = makeStamp(START + 77, 0);
    for (const mustDisown of [false, true]) {
      const trio = new Trio();
      const left = new MemoryDisk();
      replaced((storage) => {
        Object.assign(storage.ledgers.get(ID)!, { since, mustDisown });
        const begin = storage.beginFill.bind(storage);
        storage.beginFill = (key) => {
          const target = begin(key);
          const finish = target.finish.bind(target);
          target.finish = (amend) => {
            const shard = finish(amend);
            for (const entry of storage.disk.shards) left.shards.set(...entry);
            return shard;
          };
          return target;
        };
      }, trio);
      expect(left.shards.size).toBe(1);
      trio.boot(NUMBERS[2]!, left);
      const [held] = trio.hosts[2]!.heldShards();
      expect(held).toMatchObject({ state: mustDisown ? 'damaged' : 'full', since });
      const ledger = trio.storages[2]!.ledgers.get(ID)!;
      expect({ mustDisown: ledger.mustDisown, isNewcomer: isNewcomer(ledger) }).toEqual({
        mustDisown,
        isNewcomer: true,
      });
    }
  });

  test('a shard that is removed while its last page is on its way is not made anew by it', () => {
    const trio = new Trio(3, { fillPageBytes: 256 });
    trio.write(0, 'all');
    trio.pass(100);
    const [, , storage] = trio.storages;
    let removed = 0;
    trio.onSend = (_, to, message) => {
      if (message.t !== 'fill-answer' || !message.last || to !== NUMBERS[2] || removed > 0) return;
      removed++;
      storage!.drop(ID);
    };
    trio.storages[1]!.ledgers.get(ID)!.adoptFloor(makeStamp(trio.now, 0));
    trio.hear();
    trio.say(0, 2, FENCE);
    trio.pass(2_000);
    expect(removed).toBeGreaterThan(0);
    // Mail may have made it anew, the copy has not.
    expect(trio.hosts[2]!.counters().replicas_filled).toBeUndefined();
  });
});

test('the answer of a source that comes when the shard has gone begins no copy', () => {
  const trio = new Trio(3, { fillPageBytes: 256, retentionEveryMs: 100 });
  trio.write(0, 'all');
  trio.pass(100);
  const through = makeStamp(trio.now + 1, 0);
  for (const { ledgers } of trio.storages.slice(0, 2)) ledgers.get(ID)!.adoptFloor(through);
  let begun = 0;
  const storage = trio.storages[2]!;
  const begin = storage.beginFill.bind(storage);
  storage.beginFill = (key) => {
    begun++;
    return begin(key);
  };
  const host = trio.hosts[2]!;
  const receive = host.receive.bind(host);
  const held: (() => void)[] = [];
  host.receive = (from, messages, now) => {
    const isAnswer = messages.some((bytes) => decodeMessage(bytes).message.t === 'fill-answer');
    if (isAnswer) held.push(() => receive(from, messages, trio.now));
    else receive(from, messages, now);
  };
  trio.hear();
  trio.say(0, 2, FENCE);
  trio.pass(100);
  expect(held.length).toBeGreaterThan(0);
  trio.dropped = { d: 0 };
  trio.hear();
  trio.pass(300);
  expect(storage.shards.has(ID)).toBe(false);
  for (const arrive of held) arrive();
  trio.pass(60_000);
  expect(begun).toBe(0);
});
