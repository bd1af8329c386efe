import { beforeEach, describe, expect, test, vi } from 'vitest';
import { nodeFiles } from '../../server/node-files.ts';
import { Log } from '../../shards/log.ts';
import { BATCH_RECORD, SEGMENT_HEADER_BYTES } from '../../shards/log-record.ts';
import { STORAGE_LIMITS } from '../../shards/storage-limits.ts';
import { MemoryFiles } from '../support/memory-files.ts';

const SHARD = 'aaaaaaaaaaaaaaaa';
let files: MemoryFiles;
beforeEach(() => {
  files = new MemoryFiles('/memory', nodeFiles());
});

const open = (segmentBytesMax = 1 << 20) => new Log(files, '/memory/log', { ...STORAGE_LIMITS, segmentBytesMax }, 1);
const append = (log: Log, text: string) =>
  log.append([{ kind: BATCH_RECORD, shard: SHARD, payload: Buffer.from(text) }]);

function sync(log: Log): Error | null {
  let result: Error | null = null;
  log.sync((error) => {
    result = error;
  });
  files.runSyncs();
  return result;
}

function replayed(log: Log) {
  const texts: string[] = [];
  /** Whose, and how many records had been read before. */
  const lost: [string | null, number][] = [];
  const report = log.replay(
    (record) => texts.push(Buffer.from(record.payload).toString()),
    (shard) => {
      lost.push([shard, texts.length]);
      return [];
    },
  );
  return { texts, lost, ...report };
}

describe('the log', () => {
  test('gives synced records back in order, over segments', () => {
    const log = open(100);
    for (let n = 0; n < 20; n++) append(log, `record ${n} ${'x'.repeat(30)}`);
    expect(sync(log)).toBeNull();
    files.crash(() => 0, false);
    const { texts, truncatedBytes } = replayed(open(100));
    expect(texts.map((text) => Number(text.split(' ')[1]))).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(truncatedBytes).toBe(0);
    expect(files.list('/memory/log').length).toBeGreaterThan(10);
  });

  test('a segment with one record longer than itself can go when its shard is flushed, with nothing appended after it', () => {
    const log = open(100);
    const end = append(log, 'x'.repeat(500));
    expect(sync(log)).toBeNull();
    log.release(() => ({ segment: 0, offset: 0 }));
    expect(log.bytes).toBeGreaterThan(500);
    log.release(() => end);
    expect([log.bytes, files.list('/memory/log')]).toEqual([0, []]);
    append(log, 'next');
    expect(sync(log)).toBeNull();
    expect(replayed(open(100)).texts).toEqual(['next']);
  });

  test('a log whose records are all flushed gives its bytes back, and goes on under a new number', () => {
    const log = open();
    const end = append(log, 'x'.repeat(100_000));
    expect(sync(log)).toBeNull();
    log.release(() => ({ segment: end.segment, offset: end.offset - 1 }));
    expect(log.bytes).toBeGreaterThan(100_000);
    log.release(() => end);
    expect(files.list('/memory/log')).toEqual(['0000000002.log']);
    expect(log.bytes).toBeLessThan(100);
    append(log, 'next');
    expect(sync(log)).toBeNull();
    files.crash(() => 0, false);
    expect(replayed(open()).texts).toEqual(['next']);
  });

  test('a flushed segment is not closed under a sync that runs on it', () => {
    const log = open();
    const end = append(log, 'x'.repeat(100_000));
    expect(sync(log)).toBeNull();
    log.sync(() => {});
    log.release(() => end);
    expect(files.list('/memory/log')).toEqual(['0000000001.log']);
    files.runSyncs();
    log.release(() => end);
    expect(files.list('/memory/log')).toEqual(['0000000002.log']);
  });

  test.each([1, 3, 11, 23, 24, 30, 45])('a tail torn after %i bytes is cut off and counted', (kept) => {
    const log = open();
    append(log, 'first');
    sync(log);
    append(log, 'second, which is long enough to be torn in it');
    files.crash(() => kept, false);
    const { texts, truncatedBytes, damaged, lost } = replayed(open());
    expect(texts).toEqual(['first']);
    expect(lost).toEqual([]);
    expect(truncatedBytes).toBe(kept);
    expect(damaged).toEqual([]);
    // The cut is durable: the next start finds nothing wrong.
    expect(replayed(open()).truncatedBytes).toBe(0);
  });

  test('a flipped bit loses its record only, whose bytes are set aside', () => {
    const log = open();
    for (const text of ['first', 'second', 'third']) append(log, text);
    sync(log);
    const path = '/memory/log/0000000001.log';
    files.flipBit(path, files.bytesOf(path).indexOf('second') + 2);
    const { texts, damaged, lost } = replayed(open());
    expect(texts).toEqual(['first', 'third']);
    expect(lost).toEqual([[SHARD, 1]]);
    expect(damaged).toHaveLength(1);
    expect(files.bytesOf(damaged[0]!.path).length).toBe(24 + 6);
  });

  test('a disk without room for the bytes of a damaged record keeps no node from starting, and no half of them', () => {
    const log = open();
    for (const text of ['first', 'second', 'third']) append(log, text);
    sync(log);
    const path = '/memory/log/0000000001.log';
    files.flipBit(path, files.bytesOf(path).indexOf('second') + 2);
    files.room = 10;
    const full = replayed(open());
    expect(full.texts).toEqual(['first', 'third']);
    expect(full.damaged).toMatchObject([{ segment: 1, path }]);
    files.room = Number.POSITIVE_INFINITY;
    const { damaged, lost } = replayed(open());
    expect(lost).toEqual([[SHARD, 1]]);
    expect(files.bytesOf(damaged[0]!.path).length).toBe(24 + 6);
  });

  test.each([0, 4, 5, 8, 12, 16])('a flipped bit at byte %i of a record header loses its record only', (at) => {
    const log = open();
    for (const text of ['first', 'second', 'third']) append(log, text);
    sync(log);
    files.flipBit('/memory/log/0000000001.log', SEGMENT_HEADER_BYTES + 24 + 5 + at);
    expect(replayed(open()).texts).toEqual(['first', 'third']);
  });

  test('a segment that cannot be read is set aside and the others are read', () => {
    const log = open(60);
    for (const text of ['first'.repeat(10), 'second', 'third'.repeat(10)]) append(log, text);
    sync(log);
    files.unreadable = '/memory/log/0000000001.log';
    const { texts, damaged } = replayed(open(60));
    expect(texts.at(-1)).toBe('third'.repeat(10));
    expect(damaged).toMatchObject([{ segment: 1, path: '/memory/log/0000000001.damaged' }]);
    const again = open(60);
    expect(replayed(again).lost).toEqual([[null, 0]]);
    again.release(() => null);
    expect(files.list('/memory/log')).toEqual(['0000000001.damaged']);
  });

  test('what a crash left of a segment that was never synced whole is cut off, also when a later one has begun', () => {
    const log = open(150);
    append(log, 'first');
    expect(sync(log)).toBeNull();
    append(log, `second ${'x'.repeat(30)}`);
    append(log, `third ${'x'.repeat(90)}`);
    files.crash((unsynced) => (unsynced < 100 ? 40 : unsynced), false);
    const torn = replayed(open(150));
    expect(torn).toMatchObject({ truncatedBytes: 40, damaged: [] });
    expect(torn.texts.map((text) => text.split(' ')[0])).toEqual(['first', 'third']);
    expect(replayed(open(150))).toMatchObject({ truncatedBytes: 0, damaged: [] });
  });

  test('a segment that was synced whole and ends torn is damaged', () => {
    const log = open(150);
    append(log, 'first');
    append(log, `second ${'x'.repeat(30)}`);
    expect(sync(log)).toBeNull();
    append(log, `third ${'x'.repeat(90)}`);
    expect(sync(log)).toBeNull();
    const file = files.open('/memory/log/0000000001.log');
    file.truncate(file.size - 5);
    const { texts, damaged, lost } = replayed(open(150));
    expect(texts.map((text) => text.split(' ')[0])).toEqual(['first', 'third']);
    expect(damaged).toMatchObject([{ segment: 1, start: 16 + 24 + 5 }]);
    expect(lost).toEqual([[null, 1]]);
  });

  test('on a full disk the part of a group that was written is cut off, and the log goes on when there is room', () => {
    const log = open();
    append(log, 'first');
    sync(log);
    files.room = 30;
    expect(() => append(log, 'x'.repeat(100))).toThrow(expect.objectContaining({ code: 'disk-full', retry: true }));
    files.room = 1000;
    append(log, 'second');
    expect(sync(log)).toBeNull();
    expect(replayed(open())).toMatchObject({ texts: ['first', 'second'], truncatedBytes: 0, damaged: [] });
  });

  describe('when not even the cut succeeds a new segment begins', () => {
    const torn = (): Log => {
      const log = open();
      append(log, 'first');
      expect(sync(log)).toBeNull();
      files.room = 30;
      files.failTruncate = true;
      expect(() => append(log, 'x'.repeat(100))).toThrow(expect.objectContaining({ code: 'disk-full' }));
      files.room = 1000;
      append(log, 'second');
      expect(sync(log)).toBeNull();
      append(log, 'third');
      expect(sync(log)).toBeNull();
      return log;
    };

    test('and the torn end, which was never acknowledged, is not taken for damage', () => {
      torn();
      files.failTruncate = false;
      const { texts, damaged, lost, truncatedBytes } = replayed(open());
      expect(texts).toEqual(['first', 'second', 'third']);
      expect([damaged, lost, truncatedBytes]).toEqual([[], [], 30]);
    });

    test('and the torn end is cut off as soon as that is possible', () => {
      const log = torn();
      // It is not let go of before.
      log.release(() => null);
      const before = files.bytesOf('/memory/log/0000000001.log').length;
      files.failTruncate = false;
      expect(sync(log)).toBeNull();
      const cut = files.bytesOf('/memory/log/0000000001.log').length;
      expect([before - cut, files.syncedBytes('/memory/log/0000000001.log')]).toEqual([30, cut]);
      append(log, 'fourth');
      expect(sync(log)).toBeNull();
      // From now on an end that is torn is damage again.
      files.open('/memory/log/0000000001.log').truncate(cut - 1);
      const { texts, lost } = replayed(open());
      expect(texts).toEqual(['second', 'third', 'fourth']);
      expect(lost).toEqual([[null, 2]]);
    });
  });

  test('a failed sync refuses what it covered and what was appended meanwhile, and nothing of it comes back', () => {
    const log = open();
    append(log, 'first');
    expect(sync(log)).toBeNull();
    append(log, 'covered');
    const results: (Error | null)[] = [];
    log.sync((error) => results.push(error));
    append(log, 'meanwhile');
    files.failNextSync = true;
    files.runSyncs();
    append(log, 'after');
    log.sync((error) => results.push(error));
    files.runSyncs();
    expect(results.map((error) => error !== null)).toEqual([true, true]);
    append(log, 'last');
    expect(sync(log)).toBeNull();
    files.crash(() => 0, false);
    expect(replayed(open()).texts).toEqual(['first', 'last']);
  });

  test('what a failed sync had cut off is no damage when it comes back before the cut is durable', () => {
    const begun = (): Log => {
      const log = open();
      append(log, 'first');
      expect(sync(log)).toBeNull();
      append(log, `refused ${'x'.repeat(100)}`);
      files.failNextSync = true;
      expect(sync(log)).not.toBeNull();
      append(log, 'second');
      return log;
    };
    const log = begun();
    log.sync((error) => expect(error).toBeNull());
    files.runSyncs(1); // the cut waits for its own
    append(log, 'third');
    files.comesBack = 40;
    files.crash((unsynced) => unsynced, false);
    const { texts, damaged, lost, truncatedBytes } = replayed(open());
    expect(texts).toEqual(['first', 'second', 'third']);
    expect([damaged, lost, truncatedBytes]).toEqual([[], [], 40]);
  });

  test('a cut that cannot be synced is tried again, refuses nothing, and goes with its segment', () => {
    const log = open();
    append(log, 'first');
    expect(sync(log)).toBeNull();
    append(log, 'refused');
    files.failNextSync = true;
    expect(sync(log)).not.toBeNull();
    const path = '/memory/log/0000000001.log';
    for (const text of ['second', 'third']) {
      append(log, text);
      log.sync((error) => expect(error).toBeNull());
      files.runSyncs(1);
      files.failNextSync = true;
      files.runSyncs();
    }
    append(log, 'fourth');
    expect(sync(log)).toBeNull();
    append(log, 'fifth');
    expect(sync(log)).toBeNull();
    files.comesBack = 40;
    files.crash(() => 0, false);
    // The cut is durable, and records say so: an end that is torn is damage again.
    files.open(path).truncate(files.bytesOf(path).length - 1);
    expect(replayed(open())).toMatchObject({ texts: ['second', 'third', 'fourth', 'fifth'], lost: [[null, 3]] });
  });

  test('a log that is closed while a cut is synced opens no other', () => {
    const log = open();
    append(log, 'first');
    expect(sync(log)).toBeNull();
    for (const text of ['refused', 'this, too']) {
      append(log, text);
      files.failNextSync = true;
      expect(sync(log)).not.toBeNull();
    }
    append(log, 'second');
    log.sync((error) => expect(error).toBeNull());
    files.runSyncs(1);
    log.close();
    const opened = vi.spyOn(files, 'open');
    files.runSyncs();
    expect(opened).not.toHaveBeenCalled();
  });

  test('a segment that is there before the first write is the one that the write goes to', () => {
    const log = open();
    log.prepare();
    log.prepare();
    const before = files.list('/memory/log');
    expect(before).toHaveLength(1);
    append(log, 'first');
    expect(files.list('/memory/log')).toEqual(before);
    expect(sync(log)).toBeNull();
    files.crash(() => 0, false);
    expect(replayed(open()).texts).toEqual(['first']);
  });

  test('a segment is removed when every shard has flushed past it', () => {
    const log = open(60);
    const first = append(log, 'x'.repeat(50));
    append(log, 'y'.repeat(50));
    sync(log);
    log.release(() => ({ segment: 0, offset: 0 }));
    expect(files.list('/memory/log')).toHaveLength(2);
    expect(log.pinning(() => ({ segment: 0, offset: 0 }))).toEqual([SHARD]);
    log.release(() => first);
    expect(files.list('/memory/log')).toEqual(['0000000002.log']);
  });
});
