/** What a start makes of a log: whole, torn, damaged, or with shards that are not there. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { shardId } from '../../shards/shard-key.ts';
import { STORAGE_LIMITS, type StorageLimits } from '../../shards/storage-limits.ts';
import { Bench, cellsOf, KEY, keysOf, type PlainRow, type VersionSet, versionAt, writeBatch } from './helpers.ts';

describe('recovery', () => {
  let bench: Bench;
  afterEach(() => bench.remove());
  const row = (n: number): PlainRow => ({ key: `m,host=h${n}`, time: n, fields: { f: n } });

  test('rows behind a damaged record are kept; the version of the damaged one is not in the companion', () => {
    bench = new Bench();
    for (let n = 0; n < 3; n++) bench.writeRows(versionAt(n), [row(n)]);
    const path = '/memory/log/0000000001.log';
    const bytes = bench.files.bytesOf(path);
    // The second batch record.
    const frames: number[] = [];
    for (let at = bytes.indexOf('REC1'); at >= 0; at = bytes.indexOf('REC1', at + 1))
      if (bytes[at + 12] === 2) frames.push(at);
    bench.files.flipBit(path, frames[1]! + 40);
    bench.crash();
    expect([...cellsOf(bench).values()].sort()).toEqual([0, 2]);
    expect(bench.shard().companion.has(versionAt(1))).toBe(false);
    expect(bench.engine.recovery.damaged).toHaveLength(1);
  });

  test('keys outlive the segment that they came in, for batches of later ones', () => {
    bench = new Bench({ segmentBytesMax: 1 });
    bench.writeRows(versionAt(0), [row(0)]);
    bench.write(writeBatch(versionAt(1), [{ ...row(0), time: 1 }]), []);
    bench.write(writeBatch(versionAt(2), [{ ...row(0), time: 2 }]), []);
    // Segments are read into the same memory; the batch that brought the keys is damaged, so they are still wanted.
    const path = '/memory/log/0000000001.log';
    bench.files.flipBit(path, bench.files.bytesOf(path).lastIndexOf('REC1') + 60);
    bench.crash();
    expect(bench.engine.recovery.damaged).toHaveLength(1);
    expect(cellsOf(bench).size).toBe(2);
  });

  describe('a damaged record', () => {
    const OTHER = { ...KEY, number: 1 };
    const lost = (key = KEY) => (bench.engine.shards.get(shardId(key))!.companion as VersionSet).recordsLost;
    /** Three batches of one shard, with one of another one between them; then a bit falls over so far into that of `nth`. */
    const damaged = (nth: number, at: number, limits: Partial<StorageLimits> = {}) => {
      bench = new Bench(limits);
      bench.engine.create(OTHER);
      for (let n = 0; n < 3; n++) {
        bench.writeRows(versionAt(n), [row(0)]);
        if (n > 0) continue;
        const frame = encodeBatch(writeBatch(versionAt(50), [row(0)], OTHER));
        bench.engine.append([{ shard: shardId(OTHER), keys: keysOf([row(0)]), frame }]);
        bench.sync();
      }
      const path = '/memory/log/0000000001.log';
      const bytes = bench.files.bytesOf(path);
      const heads: number[] = [];
      for (let head = bytes.indexOf('REC1'); head >= 0; head = bytes.indexOf('REC1', head + 1))
        if (bytes[head + 12] === 2) heads.push(head);
      bench.files.flipBit(path, heads[nth]! + at);
      bench.crash();
    };

    test('is lost to the shard that its head names', () => {
      damaged(2, 60);
      expect([lost(), lost(OTHER)]).toEqual([1, 0]);
      expect((bench.shard().companion as VersionSet).versions.size).toBe(2);
    });

    test.each([0, 5, 17])('whose head is damaged at byte %i may be lost to any', (at) => {
      damaged(2, at);
      expect([lost(), lost(OTHER)]).toEqual([1, 1]);
    });

    test('is not lost to a shard that has flushed past it', () => {
      bench = new Bench();
      for (let n = 0; n < 2; n++) bench.writeRows(versionAt(n), [row(0)]);
      bench.shard().flush();
      bench.writeRows(versionAt(2), [row(0)]);
      const path = '/memory/log/0000000001.log';
      bench.files.flipBit(path, bench.files.bytesOf(path).indexOf('REC1') + 1);
      bench.crash();
      expect(bench.engine.recovery.damaged).toHaveLength(1);
      expect(lost()).toBe(0);
    });

    test('is said until it is saved, and then no more', () => {
      damaged(2, 60);
      bench.crash();
      expect(lost()).toBe(1);
      bench.shard().flush();
      bench.crash();
      expect([lost(), bench.engine.recovery.damaged.length]).toEqual([1, 1]);
    });

    test('is saved with whatever behind it is flushed while the log is read', () => {
      damaged(2, 60, { memtableBytesMax: 1 });
      expect(lost()).toBe(1);
      bench.crash();
      expect(lost()).toBe(1);
    });

    test.each(['in the middle', 'at the end', 'cut short', 'in a segment that cannot be read'])(
      '%s is lost at a second restart, too, when all others have flushed',
      (where) => {
        bench = new Bench({ segmentBytesMax: where === 'cut short' ? 1 : STORAGE_LIMITS.segmentBytesMax });
        bench.engine.create(OTHER);
        const writeOther = (n: number): void => {
          const frame = encodeBatch(writeBatch(versionAt(n), [row(0)], OTHER));
          bench.engine.append([{ shard: shardId(OTHER), keys: keysOf([row(0)]), frame }]);
          expect(bench.sync()).toBeNull();
        };
        writeOther(50);
        bench.crash();
        // All that is here of it: its keys are in its file.
        bench.engine.shards.get(shardId(OTHER))!.flush();
        bench.step();
        if (where === 'at the end') bench.writeRows(versionAt(0), [row(0)]);
        writeOther(51);
        const path = bench.files.list('/memory/log').at(-1)!;
        const bytes = bench.files.bytesOf(`/memory/log/${path}`);
        const record = bytes.lastIndexOf('REC1');
        if (where !== 'at the end') bench.writeRows(versionAt(0), [row(0)]);
        if (where === 'cut short') bench.files.open(`/memory/log/${path}`).truncate(bytes.length - 5);
        else if (where === 'in a segment that cannot be read') bench.files.unreadable = `/memory/log/${path}`;
        else bench.files.flipBit(`/memory/log/${path}`, record + 60);
        for (let restart = 0; restart < 2; restart++) {
          bench.crash();
          expect(lost(OTHER)).toBe(1);
          bench.shard().flush();
          bench.step();
          expect(bench.files.list('/memory/log')).toContain(path);
        }
        bench.engine.shards.get(shardId(OTHER))!.flush();
        bench.step();
        expect(bench.logRecords()).toBe(0);
        bench.crash();
        expect(lost(OTHER)).toBe(1);
      },
    );

    test('of a shard whose file is set aside, too, is lost to no other', () => {
      damaged(1, 60);
      const frame = encodeBatch(writeBatch(versionAt(51), [row(0)], OTHER));
      bench.engine.append([{ shard: shardId(OTHER), keys: keysOf([row(0)]), frame }]);
      bench.sync();
      expect(lost()).toBe(0);
      writeFileSync(join(bench.directory, 'shards', `${shardId(OTHER)}.sqlite`), 'no database');
      bench.crash();
      expect(bench.engine.recovery.setAside).toEqual([shardId(OTHER)]);
      expect(lost()).toBe(0);
    });

    test('in the end, of its full length, is lost, too', () => {
      damaged(3, 60);
      expect([lost(), lost(OTHER)]).toEqual([1, 0]);
    });

    test('a segment that cannot be read may be lost to all', () => {
      bench = new Bench();
      bench.writeRows(versionAt(0), [row(0)]);
      bench.files.unreadable = '/memory/log/0000000001.log';
      bench.crash();
      expect(lost()).toBe(1);
    });

    test('whose keys are damaged counts as lost', () => {
      bench = new Bench();
      bench.writeRows(versionAt(1), [row(1)]);
      const path = '/memory/log/0000000001.log';
      bench.files.flipBit(path, bench.files.bytesOf(path).indexOf('host=h1'));
      bench.crash();
      expect(lost()).toBeGreaterThan(0);
    });
  });

  test('a batch whose keys record is damaged is set aside, not served without its series', () => {
    bench = new Bench();
    bench.writeRows(versionAt(1), [row(1)]);
    const path = '/memory/log/0000000001.log';
    bench.files.flipBit(path, bench.files.bytesOf(path).indexOf('host=h1'));
    bench.crash();
    expect(cellsOf(bench).size).toBe(0);
    expect(bench.engine.recovery.damaged.length).toBeGreaterThanOrEqual(2);
  });

  test.each([0, 10, 60, 150, 10_000])(
    'of an unsynced batch %i bytes reach the disk: it is there whole or not at all',
    (kept) => {
      bench = new Bench();
      bench.writeRows(versionAt(1), [row(1)]);
      const rows = [row(2), row(3)];
      bench.engine.append([
        { shard: bench.shard().id, keys: keysOf(rows), frame: encodeBatch(writeBatch(versionAt(2), rows)) },
      ]);
      bench.crash(() => kept);
      expect([...cellsOf(bench).values()].sort()).toEqual(kept > 1000 ? [1, 2, 3] : [1]);
      expect(bench.engine.recovery.damaged).toEqual([]);
      expect(bench.engine.recovery.truncatedBytes > 0).toBe(kept > 0 && kept < 1000);
    },
  );
});
