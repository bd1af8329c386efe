import { describe, expect, test, vi } from 'vitest';
import { Outbox } from '../../repair/outbox.ts';
import { type ShardKey, shardId } from '../../shards/shard-key.ts';
import { makeStamp } from '../../shards/version.ts';
import { SimFiles } from '../sim/sim-files.ts';

const KEY: ShardKey = {
  database: 'd',
  databaseGeneration: 0,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 0,
  startNs: 0n,
  endNs: 10n,
  number: 0,
};
const OWNERS = ['00000000000000a1', '00000000000000a2'];
const version = (n: number) => makeStamp(1_000 + n, 0) + OWNERS[0];
const frame = (n: number) => new Uint8Array(100).fill(n);

function setUp(bytesMax = 10_000, segmentBytes = 500) {
  const queue: (() => void)[] = [];
  const files = new SimFiles((run) => queue.push(run));
  const drain = () => {
    for (let run = queue.shift(); run !== undefined; run = queue.shift()) run();
  };
  const open = () => new Outbox(files, 'outbox', bytesMax, segmentBytes);
  const put = (outbox: Outbox, n: number, acks: string[] = [], done: () => void = () => {}) =>
    outbox.put(KEY, version(n), frame(n), new Uint8Array(2), acks, () => OWNERS, done);
  return { files, drain, open, put };
}

describe('outbox', () => {
  test('crash after the sync: the batch is there again with its frame; before it: it was never reported', () => {
    const { files, drain, open, put } = setUp();
    const outbox = open();
    let durable = 0;
    put(outbox, 1, [], () => durable++);
    drain();
    put(outbox, 2, [], () => durable++);
    files.crash();
    const again = open();
    expect(durable).toBe(1);
    expect([...again.entries.values()].map((entry) => entry.version)).toEqual([version(1)]);
    expect([...again.read([...again.entries.values()][0]!)!.frame]).toEqual([...frame(1)]);
  });

  test('a write that is refused looks at no entries that cannot become debts', () => {
    const { open, put } = setUp(1_020);
    const outbox = open();
    put(outbox, 0, [OWNERS[0]!]);
    for (let n = 1; n < 10; n++) expect(put(outbox, n)).toBe(true);
    expect(put(outbox, 10)).toBe(true);
    expect(outbox.debts.size).toBe(1);
    const walked = vi.spyOn(outbox.entries, 'values');
    expect(put(outbox, 11)).toBe(false);
    expect(walked).not.toHaveBeenCalled();
    // Who has been acknowledged meanwhile makes room.
    outbox.acknowledge([...outbox.entries.keys()][0]!, OWNERS[1]!);
    expect(put(outbox, 11)).toBe(true);
  });

  test('removed entries do not come back, over many segments and a reopening', () => {
    const { files, drain, open, put } = setUp();
    const outbox = open();
    for (let n = 0; n < 30; n++) put(outbox, n);
    drain();
    const names = [...outbox.entries.keys()];
    for (const [n, name] of names.entries()) if (n % 3 !== 0) outbox.remove(name);
    while (outbox.step(() => OWNERS)) drain();
    drain();
    const left = [...outbox.entries.keys()].sort();
    expect(left).toHaveLength(10);
    expect([...open().entries.keys()].sort()).toEqual(left);
    expect(files.list('outbox').length).toBeGreaterThan(0);
  });

  test('segments that go while what is written of debts begins new ones', () => {
    const { drain, open, put } = setUp(10_000, 150);
    const outbox = open();
    for (let n = 0; n < 6; n++) put(outbox, n);
    drain();
    for (const number of [1, 2, 3]) outbox.owe({ ...KEY, number }, version(9), OWNERS);
    // The oldest goes last: with it all of them may go at once.
    for (const name of [...outbox.entries.keys()].reverse()) outbox.remove(name);
    drain();
    put(outbox, 7);
    drain();
    const again = open();
    expect([...again.entries.values()].map((entry) => entry.version)).toEqual([version(7)]);
    expect([...again.debts.values()].map(({ key }) => key!.number).sort()).toEqual([1, 2, 3]);
  });

  test('full: the oldest acknowledged batches become debts, one that nobody has is kept, and then there is no room', () => {
    const { drain, open, put } = setUp(310);
    const outbox = open();
    expect(put(outbox, 1, [])).toBe(true);
    expect(put(outbox, 2, [OWNERS[0]!])).toBe(true);
    expect(put(outbox, 3, [])).toBe(true);
    drain();
    expect(put(outbox, 4, [])).toBe(true);
    expect([...outbox.debts.values()]).toEqual([expect.objectContaining({ version: version(2), to: [OWNERS[1]] })]);
    expect(put(outbox, 5, [])).toBe(false);
    expect([...outbox.entries.values()].map((entry) => entry.version)).toEqual([1, 3, 4].map(version));
  });

  test('a proof settles the debts at or below it, also after a reopening', () => {
    const { open } = setUp();
    const outbox = open();
    outbox.owe(KEY, version(1), [OWNERS[1]!]);
    outbox.owe(KEY, version(9), [OWNERS[1]!]);
    outbox.settle(shardId(KEY), makeStamp(1_005, 0));
    expect([...open().debts.values()].map((debt) => debt.version)).toEqual([version(9)]);
    open().settleLeft(() => false);
  });

  test('a torn record at the end is cut off and what was before it stays', () => {
    const { files, drain, open, put } = setUp();
    put(open(), 1);
    drain();
    const [name] = files.list('outbox');
    files.open(`outbox/${name}`).append([Uint8Array.of(0, 0, 1, 0, 9, 9)]);
    const again = open();
    expect(again.entries.size).toBe(1);
    expect(again.damaged).toBe(1);
  });

  test('a damaged record in the middle costs that record and nothing behind it', () => {
    const { files, drain, open, put } = setUp(10_000, 5_000);
    const outbox = open();
    for (let n = 1; n <= 3; n++) put(outbox, n);
    drain();
    const bytes = files.files.get(`outbox/${files.list('outbox')[0]}`)!;
    bytes.data = Buffer.from(bytes.data);
    bytes.data[Math.floor(bytes.data.length / 2)]! ^= 1;
    const again = open();
    expect([...again.entries.values()].map((entry) => entry.version)).toEqual([version(1), version(3)]);
    expect(again.damaged).toBe(1);
    expect(put(again, 4)).toBe(true);
    drain();
    expect([...open().entries.values()].map((entry) => entry.version)).toEqual([1, 3, 4].map(version));
  });

  test('owed batches of one shard are one record, also after a reopening, however many there are', () => {
    const { open } = setUp();
    const outbox = open();
    for (let n = 0; n < 500; n++) outbox.owe(KEY, version(n), [OWNERS[n % 2]!]);
    for (const debts of [outbox.debts, open().debts]) {
      expect([...debts.values()]).toEqual([
        { id: shardId(KEY), key: KEY, version: version(499), to: OWNERS, batches: 500 },
      ]);
    }
    outbox.settle(shardId(KEY), makeStamp(1_499, 0));
    expect(open().debts.size).toBe(0);
  });

  test('a sync fails and the next one succeeds without the lost pages: nothing is reported that is not on disk', () => {
    const { files, drain, open, put } = setUp();
    const realOpen = files.open.bind(files);
    let failures = 1;
    files.open = (path) => {
      const file = realOpen(path);
      const sync = file.sync.bind(file);
      file.sync = (done) => sync((error) => done(failures-- > 0 ? new Error('input/output error') : error));
      return file;
    };
    const outbox = open();
    let durable = 0;
    put(outbox, 1, [], () => durable++);
    const [name] = files.list('outbox');
    drain();
    expect(durable).toBe(0);
    outbox.retrySync();
    drain();
    expect(durable).toBe(1);
    // The kernel had given the pages up and called them clean: the next successful sync said nothing of them.
    files.crash();
    files.files.delete(`outbox/${name}`);
    expect([...open().entries.values()].map((entry) => entry.version)).toEqual([version(1)]);
  });

  test('an acknowledgement that is taken back stays so after a reopening; tallies follow', () => {
    const { drain, open, put } = setUp();
    const outbox = open();
    put(outbox, 1, [OWNERS[0]!, OWNERS[1]!]);
    drain();
    const [name, entry] = [...outbox.entries][0]!;
    expect(outbox.tallies.get(entry.id)).toEqual({ entries: 1, bytes: 102 });
    let done = false;
    const taken = outbox.disown(name, OWNERS[0]!, frame(1), new Uint8Array(2), () => {
      done = true;
    });
    expect([taken, done, entry.durable]).toEqual([true, false, false]);
    drain();
    expect([done, entry.durable]).toEqual([true, true]);
    const again = open();
    expect([...again.entries.values()].map(({ acks }) => [...acks])).toEqual([[OWNERS[1]]]);
    again.remove(name);
    expect(again.tallies.size).toBe(0);
  });
});
