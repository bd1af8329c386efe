/** An outbox whose disk fails: nothing ends the worker, and what it still owes stays known. */
import { describe, expect, test } from 'vitest';
import { Outbox } from '../../repair/outbox.ts';
import { StorageError } from '../../shards/errors.ts';
import type { AppendFile } from '../../shards/files.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';
import { ID, KEY, NUMBERS, Trio } from './trio.ts';

const THIRD = NUMBERS[2]!;
const failed = (): never => {
  throw new StorageError('disk-failed', 'EIO');
};

/** The third owner is away: all that is written waits for it, in several segments. */
function away(): Trio {
  const trio = new Trio(3, { outboxSegmentBytes: 2_000 });
  trio.write(0, 'all');
  trio.pass(100);
  trio.cut.add(THIRD);
  trio.hear();
  for (let i = 0; i < 30; i++) {
    trio.write(0);
    trio.pass(50);
  }
  trio.pass(2_500);
  expect(trio.files[0]!.list('outbox').length).toBeGreaterThan(3);
  return trio;
}

function outboxOf(trio: Trio): Outbox {
  return (trio.hosts[0] as unknown as { outbox: Outbox }).outbox;
}

/** Every file that is opened from now on, and those that are open. */
function onFiles(files: SimFiles, change: (file: AppendFile) => void): void {
  const open = files.open.bind(files);
  files.open = (path) => {
    const file = open(path);
    change(file);
    return file;
  };
}

interface Parts {
  readonly segments: {
    readonly segments: Map<number, { file: AppendFile; number: number }>;
    current: { number: number };
  };
}

function openFiles(trio: Trio): AppendFile[] {
  const { segments } = (outboxOf(trio) as unknown as Parts).segments;
  return [...segments.values()].map(({ file }) => file);
}

function back(trio: Trio): void {
  trio.cut.clear();
  for (let i = 0; i < 12; i++) {
    trio.hear();
    trio.pass(1_000);
  }
}

describe('a disk that', () => {
  test('does not remove files: they go when it does', () => {
    const trio = away();
    const files = trio.files[0]!;
    const remove = files.remove.bind(files);
    const before = files.list('outbox');
    files.remove = failed;
    back(trio);
    expect(trio.counts()).toEqual([31, 31, 31]);
    expect(trio.hosts[0]!.outboxStatus()).toEqual([]);
    expect(files.list('outbox')).toEqual(expect.arrayContaining(before));
    files.remove = remove;
    trio.pass(500);
    expect(files.list('outbox')).toHaveLength(1);
  });

  test('neither appends nor cuts off what it appended in part: the next record begins another segment', () => {
    const trio = away();
    const current = openFiles(trio).at(-1)!;
    const append = current.append.bind(current);
    current.append = (chunks) => {
      append([chunks[0]!.subarray(0, 7)]);
      failed();
    };
    current.truncate = failed;
    trio.write(0);
    trio.pass(2_500);
    trio.write(0);
    trio.pass(2_500);
    expect(outboxOf(trio).entries.size).toBe(31);
    expect(trio.hosts[0]!.counters().outbox_debts).toBe(1);
    const { size } = current;
    back(trio);
    expect(current.size).toBe(size);
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([33, 33, 33]);
  });

  test('does not sync the segment that is full: what waits for it is written again', () => {
    const trio = away();
    const current = openFiles(trio).at(-1)!;
    current.syncNow = failed;
    for (let i = 0; i < 20; i++) {
      trio.write(0);
      trio.pass(200);
    }
    trio.pass(2_500);
    back(trio);
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([51, 51, 51]);
  });

  test('gives segments back no more: what a full owner has is owed, the rest is sent, and nothing is held up', () => {
    const trio = away();
    const outbox = outboxOf(trio);
    for (const file of openFiles(trio)) file.read = failed;
    trio.write(0);
    // All but one of the oldest go.
    const [pinned, ...others] = [...outbox.entries.values()];
    for (const { name } of others) outbox.remove(name);
    trio.pass(500);
    expect(outbox.entries.has(pinned!.name)).toBe(false);
    expect(outbox.debts.get(ID)).toMatchObject({ batches: 1, to: [THIRD] });
    back(trio);
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([32, 32, 32]);
    expect(outbox.debts.size).toBe(0);
  });

  test('does not give back what is to be sent: after some tries it is owed', () => {
    const trio = away();
    for (const file of openFiles(trio)) file.read = failed;
    back(trio);
    trio.pass(20_000);
    expect(trio.hosts[0]!.counters()).toMatchObject({ outbox_debts: 30, outbox_unreadable: expect.any(Number) });
    expect(outboxOf(trio).entries.size).toBe(0);
    trio.repair(0, 'ring');
    expect(trio.counts()).toEqual([31, 31, 31]);
  });

  test.each(['reads nothing of', 'does not open'])(
    '%s a segment when the process begins: it begins, and says so',
    (how) => {
      const trio = away();
      const { disk } = trio.storages[0]!;
      const files = trio.files[0]!;
      const open = files.open.bind(files);
      if (how === 'does not open') files.open = (path) => (path === 'outbox/2.log' ? failed() : open(path));
      else
        onFiles(files, (file) => {
          if (file.path === 'outbox/2.log') file.read = failed;
        });
      const before = outboxOf(trio).entries.size;
      trio.boot(NUMBERS[0]!, disk, files);
      expect(trio.hosts[0]!.counters()).toMatchObject({ outbox_damaged: 1 });
      expect(outboxOf(trio).entries.size).toBeLessThan(before);
      expect(outboxOf(trio).entries.size).toBeGreaterThan(before / 2);
      back(trio);
      trio.repair(0, 'ring');
      expect(trio.counts()).toEqual([31, 31, 31]);
      // It is kept for whoever can read it.
      if (how === 'does not open') expect(files.list('outbox')).toContain('2.log');
      else expect(files.list('outbox')).toContain('2.damaged');
    },
  );

  test('gives back all but a piece of a segment: all but what lay there is known', () => {
    const files = new SimFiles((run) => run());
    const outbox = new Outbox(files, 'outbox', 1e6, 1e6);
    const version = (n: number) => makeStamp(1_000 + n, 0) + NUMBERS[0];
    const frame = new Uint8Array(1_000);
    for (let n = 0; n < 20; n++)
      outbox.put(
        KEY,
        version(n),
        frame,
        new Uint8Array(2),
        [],
        () => [],
        () => {},
      );
    onFiles(files, (file) => {
      const read = file.read.bind(file);
      file.read = (at, length) => (at <= 9_000 && at + length > 9_000 ? failed() : read(at, length));
    });
    const again = new Outbox(files, 'outbox', 1e6, 1e6);
    expect(again.damaged).toBe(1);
    const known = [...again.entries.values()].map((entry) => entry.version);
    expect(known.length).toBeGreaterThanOrEqual(14);
    expect(known.at(0)).toBe(version(0));
    expect(known.at(-1)).toBe(version(19));
    expect(
      again.put(
        KEY,
        version(20),
        frame,
        new Uint8Array(2),
        [],
        () => [],
        () => {},
      ),
    ).toBe(true);
    expect(files.list('outbox')).toEqual(['1.log', '2.log']);
  });
});

describe('segments go when what is owed is written anew', () => {
  const OWNERS = NUMBERS.slice(0, 2);
  function owing() {
    const queue: (() => void)[] = [];
    const files = new SimFiles((run) => void queue.push(run));
    const open = () => new Outbox(files, 'outbox', 10_000, 300);
    const drain = () => {
      for (let run = queue.shift(); run !== undefined; run = queue.shift()) run();
    };
    const outbox = open();
    outbox.owe(KEY, makeStamp(1, 0) + NUMBERS[0]!, OWNERS);
    const put = (n: number) =>
      outbox.put(
        KEY,
        makeStamp(n, 0) + NUMBERS[0]!,
        new Uint8Array(100),
        new Uint8Array(2),
        [],
        () => OWNERS,
        () => {},
      );
    for (let n = 2; n < 8; n++) {
      put(n);
      drain();
    }
    expect(files.list('outbox').length).toBeGreaterThan(2);
    return { files, outbox, open, drain };
  }
  const removeAll = (outbox: Outbox) => {
    for (const name of [...outbox.entries.keys()]) outbox.remove(name);
  };

  test('and not when the disk takes nothing', () => {
    const { files, outbox, open, drain } = owing();
    for (const path of files.files.keys()) expect(files.size(path)).toBeGreaterThan(0);
    const { segments } = (outbox as unknown as Parts).segments;
    const current = [...segments.values()].at(-1)!.file;
    const append = current.append.bind(current);
    current.append = failed;
    removeAll(outbox);
    drain();
    files.crash();
    expect(open().debts.size).toBe(1);
    expect(files.exists('outbox/1.log')).toBe(true);
    current.append = append;
    outbox.retrySync();
    drain();
    expect(files.exists('outbox/1.log')).toBe(false);
    files.crash();
    expect(open().debts.size).toBe(1);
  });

  test('and not before that is synced', () => {
    const { files, outbox, open } = owing();
    removeAll(outbox);
    files.crash();
    expect(open().debts.size).toBe(1);
  });
});
