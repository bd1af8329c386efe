/** An outbox whose disk fails a sync, or gives up what should have been synced: all that waits for it goes on. */
import { describe, expect, test } from 'vitest';
import { Outbox } from '../../repair/outbox.ts';
import { StorageError } from '../../shards/errors.ts';
import type { AppendFile } from '../../shards/files.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';
import { fence, writeLonely } from './lonely.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const [FIRST, SECOND, THIRD] = NUMBERS as [string, string, string];
const OWNERS = [FIRST, SECOND];
const KEYS = new Uint8Array(2);
const version = (n: number) => makeStamp(1_000 + n, 0) + FIRST;
const frame = (n: number) => new Uint8Array(100).fill(n);
const failed = (): never => {
  throw new StorageError('disk-failed', 'EIO');
};

class FailingFiles extends SimFiles {
  /** Of which files. */
  syncFails: (path: string) => boolean = () => false;
  syncNowFails: (path: string) => boolean = () => false;

  override open(path: string): AppendFile {
    const file = super.open(path);
    const { sync, syncNow } = file;
    file.sync = (done) =>
      this.syncFails(path) ? this.later(() => done(new StorageError('disk-failed', 'EIO'))) : sync(done);
    file.syncNow = () => (this.syncNowFails(path) ? failed() : syncNow());
    return file;
  }

  /** What the kernel makes of pages that it could not write: they read as if they had never been. */
  giveUp(path: string, from = 0): void {
    const bytes = this.files.get(path)!;
    bytes.data = Buffer.from(bytes.data);
    bytes.data.fill(0, from);
  }

  get total(): number {
    let total = 0;
    for (const { data } of this.files.values()) total += data.length;
    return total;
  }
}

function setUp(segmentBytes = 500) {
  const queue: (() => void)[] = [];
  const files = new FailingFiles((run) => queue.push(run));
  const drain = () => {
    for (let run = queue.shift(); run !== undefined; run = queue.shift()) run();
  };
  const open = () => new Outbox(files, 'outbox', 100_000, segmentBytes);
  const outbox = open();
  const durable: number[] = [];
  const lost: number[] = [];
  const put = (n: number, acks: string[] = []) => {
    const over = (where: number[]) => () => void where.push(n);
    return outbox.put(KEY, version(n), frame(n), KEYS, acks, () => OWNERS, over(durable), over(lost));
  };
  const retry = () => {
    outbox.retrySync();
    drain();
  };
  const nameOf = (n: number) => [...outbox.entries.values()].find((entry) => entry.version === version(n))!.name;
  return { files, drain, open, outbox, durable, lost, put, retry, nameOf };
}

describe('a sync that fails', () => {
  test('while more waits than a segment takes: all of it is written again, over several, and then more is taken', () => {
    const { files, drain, open, outbox, durable, put, retry } = setUp();
    // The first sync hangs while others are waited for, until the newest segment cannot be synced when it is full.
    files.syncFails = (path) => path === 'outbox/1.log';
    files.syncNowFails = (path) => path === 'outbox/4.log';
    let taken = 0;
    while (put(taken)) taken++;
    expect(files.list('outbox')).toHaveLength(4);
    drain();
    expect(durable).toEqual([]);
    retry();
    expect(outbox.waitsForSync).toBe(false);
    const all = Array.from({ length: taken }, (_, n) => n);
    expect(durable).toEqual(all);
    expect(put(taken)).toBe(true);
    drain();
    expect(durable).toEqual([...all, taken]);
    files.files.delete('outbox/1.log');
    files.files.delete('outbox/4.log');
    files.crash();
    expect(open().entries.size).toBe(taken + 1);
  });

  test('and what cannot be written again as a whole: what has been is not written once more with each try', () => {
    const { files, drain, outbox, durable, put, retry, nameOf } = setUp();
    for (const n of [0, 1, 2, 3]) put(n);
    drain();
    outbox.owe({ ...KEY, number: 1 }, version(0), OWNERS);
    files.syncFails = () => true;
    // Their segment is to go: what is owed is written anew, and waits for the sync as the others do.
    for (const n of [0, 1, 2]) outbox.remove(nameOf(n));
    for (const n of [4, 5]) put(n);
    drain();
    files.syncFails = () => false;
    // Of one nothing can be read yet.
    const { read } = outbox;
    outbox.read = (entry) => (entry.version === version(4) ? failed() : read.call(outbox, entry));
    retry();
    const { total } = files;
    for (let i = 0; i < 5; i++) retry();
    expect(files.total).toBe(total);
    expect(durable).toEqual([0, 1, 2, 3]);
    outbox.read = read;
    retry();
    expect(durable).toEqual([0, 1, 2, 3, 4, 5]);
    expect(files.exists('outbox/1.log')).toBe(false);
  });
});

test('what was durable before the sync that failed stays where it is', () => {
  const { files, drain, open, outbox, durable, put } = setUp();
  let syncs = 0;
  files.syncFails = () => syncs++ === 1;
  // The second waits for the next sync.
  put(1);
  put(1);
  drain();
  expect(durable).toEqual([1]);
  outbox.retrySync();
  files.crash();
  expect(open().entries.size).toBe(1);
});

describe('what the kernel gave up of an entry that was moved', () => {
  function disowned() {
    const all = setUp(10_000);
    const { files, drain, outbox, put, nameOf } = all;
    put(1, [FIRST, SECOND]);
    put(2);
    drain();
    files.syncFails = (path) => path === 'outbox/1.log';
    const size = files.size('outbox/1.log');
    const over: string[] = [];
    const say = (how: string) => () => void over.push(how);
    expect(outbox.disown(nameOf(1), FIRST, frame(1), KEYS, say('durable'), say('lost'))).toBe(true);
    drain();
    files.giveUp('outbox/1.log', size);
    return { ...all, over };
  }

  test('is written again from where it was', () => {
    const { files, open, outbox, retry, nameOf, over } = disowned();
    expect(over).toEqual([]);
    retry();
    expect(over).toEqual(['durable']);
    expect(outbox.damaged).toBe(0);
    expect([...outbox.read(outbox.entries.get(nameOf(1))!)!.frame]).toEqual([...frame(1)]);
    files.crash();
    const again = open();
    const entry = [...again.entries.values()].find((each) => each.version === version(1))!;
    expect([...entry.acks]).toEqual([SECOND]);
    expect([...again.read(entry)!.frame]).toEqual([...frame(1)]);
  });

  test('and where that cannot be read either, it is lost, and whoever waits for it is told', () => {
    const { files, outbox, retry, durable, over } = disowned();
    files.giveUp('outbox/1.log');
    retry();
    expect(over).toEqual(['lost']);
    expect(outbox.damaged).toBe(1);
    expect(durable).toEqual([1, 2]);
    expect(outbox.waitsForSync).toBe(false);
  });
});

test('of an entry that the kernel gave up nobody hears that it is durable, however many wait for it', () => {
  const { files, drain, outbox, put, retry, durable, lost } = setUp();
  files.syncFails = (path) => path === 'outbox/1.log';
  put(1);
  put(1);
  drain();
  // Half of it: what is left still looks like a record.
  files.giveUp('outbox/1.log', files.size('outbox/1.log') - 50);
  retry();
  expect([durable, lost]).toEqual([[], [1, 1]]);
  expect(outbox.entries.size).toBe(0);
  expect(put(1)).toBe(true);
  drain();
  expect(durable).toEqual([1]);
});

test('while files cannot be removed, what is owed is said anew once, not with each try', () => {
  const { files, drain, open, outbox, put, retry } = setUp(300);
  outbox.owe(KEY, version(0), OWNERS);
  for (let n = 1; n < 6; n++) put(n);
  drain();
  const remove = files.remove.bind(files);
  files.remove = failed;
  for (const name of [...outbox.entries.keys()]) outbox.remove(name);
  drain();
  const { total } = files;
  for (let i = 0; i < 10; i++) retry();
  expect(files.total).toBe(total);
  expect(files.exists('outbox/1.log')).toBe(true);
  files.remove = remove;
  // The first goes, then those behind it.
  retry();
  retry();
  expect(files.list('outbox')).toHaveLength(1);
  files.crash();
  expect(open().debts.size).toBe(1);
});

describe('what the disk gave up before it was synced is put into the outbox anew', () => {
  /** The first `count` entries. */
  function losing(trio: Trio, at: number, count: number): { lost: number } {
    const { outbox } = trio.hosts[at]! as unknown as { outbox: Outbox };
    const put = outbox.put.bind(outbox);
    const state = { lost: 0 };
    outbox.put = (...args) => {
      const name = ID + args[1];
      const isLost = state.lost < count && !outbox.entries.has(name);
      // Before the sync is done.
      if (isLost) trio.files[at]!.later(() => outbox.dropDamaged(outbox.entries.get(name)!));
      if (isLost) state.lost++;
      return put(...args);
    };
    return state;
  }

  test('by mail', () => {
    const trio = new Trio(3);
    trio.write(0, 'all');
    trio.pass(100);
    trio.cut.add(THIRD);
    trio.hear();
    const state = losing(trio, 0, 2);
    trio.write(0);
    trio.pass(2_500);
    expect(state.lost).toBe(2);
    expect(trio.hosts[0]!.counters()).toMatchObject({ outbox_damaged: 2, outbox_entries_taken: 3 });
    trio.cut.clear();
    trio.hear();
    trio.pass(5_000);
    expect(trio.counts()).toEqual([2, 2, 2]);
  });

  test('by a replica that is to be filled, which is filled in the end', () => {
    const trio = new Trio(3);
    for (let i = 0; i < 5; i++) trio.write(0, 'all');
    writeLonely(trio, 2, 10);
    trio.cut.clear();
    trio.hear();
    const state = losing(trio, 2, 3);
    trio.say(0, 2, fence);
    for (let i = 0; i < 30; i++) {
      trio.pass(1_000);
      trio.hear();
    }
    expect(state.lost).toBe(3);
    expect(trio.hosts[2]!.counters()).toMatchObject({ replicas_filled: 1, outbox_damaged: 3 });
    expect(trio.counts()).toEqual([15, 15, 15]);
  });
});
