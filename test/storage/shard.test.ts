import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { STAMP_ZERO } from '../../shards/version.ts';
import {
  Bench,
  cellsOf,
  deleteBatch,
  HOUR_NS,
  KEY,
  type PlainRow,
  SHARD,
  type VersionSet,
  versionAt,
} from './helpers.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench({ blockBytesTarget: 500 });
});
afterEach(() => bench.remove());

const rowsOf = (count: number, value = 1): PlainRow[] =>
  Array.from({ length: count }, (_, n) => ({
    key: `m,host=h${n},dc=d${n % 3}`,
    time: n * 1000,
    fields: { f: n * value },
  }));
const path = () => join(bench.directory, 'shards', `${SHARD}.sqlite`);

function edit(sql: string, ...values: unknown[]): void {
  const database = new Database(path());
  database.prepare(sql).run(...values);
  database.close();
}

describe('a shard', () => {
  test('what patterns say of tag values is found in short steps, and asked once of each value', () => {
    const shard = bench.shard();
    const condition = { op: '=~', key: 'host', regex: '(?:h?)*1' } as const;
    const stepsLeft = (measurement: string) => [...shard.judgeSteps(measurement, condition)].length;
    bench.writeRows(versionAt(1), rowsOf(5000));
    expect(stepsLeft('m')).toBeGreaterThan(5);
    expect(stepsLeft('m')).toBe(0);
    expect(stepsLeft('none')).toBe(0);
    const matched = () => shard.series('m', condition).length;
    const wanted = (count: number) => rowsOf(count).filter(({ key }) => /host=h[^,]*1/.test(key)).length;
    expect(matched()).toBe(wanted(5000));
    bench.writeRows(versionAt(2), rowsOf(5010));
    expect([stepsLeft('m'), matched()]).toEqual([0, wanted(5010)]);
    bench.writeRows(versionAt(3), rowsOf(9000));
    expect(matched()).toBe(wanted(9000));
  });

  test('series are matched by tags in order of hash, also those that are newer than the index', () => {
    const shard = bench.shard();
    const hosts = (condition: Parameters<typeof shard.series>[1]) =>
      [...shard.series('m', condition)].map((id) => shard.tagsOf(id).find(({ key }) => key === 'host')!.value);
    for (const count of [30, 40, 700]) {
      bench.writeRows(versionAt(count), rowsOf(count));
      const all = hosts(null);
      expect(all).toHaveLength(count);
      const hashes = [...shard.series('m', null)].map((id) => shard.hashOf(id));
      expect(hashes).toEqual([...hashes].sort());
      const want = (test: (n: number) => boolean) => all.filter((host) => test(Number(host.slice(1))));
      expect(hosts({ op: '=', key: 'dc', value: 'd1' })).toEqual(want((n) => n % 3 === 1));
      expect(hosts({ op: '!=', key: 'dc', value: 'd1' })).toEqual(want((n) => n % 3 !== 1));
      expect(hosts({ op: '=~', key: 'host', regex: '^h1.$' })).toEqual(want((n) => n >= 10 && n < 20));
      expect(hosts({ op: '=', key: 'rack', value: '' })).toEqual(all);
      expect(hosts({ op: '=', key: 'dc', value: 'none' })).toEqual([]);
      const both = {
        op: 'and',
        terms: [
          { op: '=', key: 'dc', value: 'd2' },
          { op: '=', key: 'host', value: 'h5' },
        ],
      } as const;
      expect(hosts(both)).toEqual(['h5']);
      expect(hosts({ op: 'or', terms: both.terms })).toEqual(want((n) => n % 3 === 2 || n === 5));
    }
  });

  test('a deleted series is gone from every list, and back with its next row', () => {
    const shard = bench.shard();
    bench.writeRows(versionAt(1), rowsOf(6));
    shard.flush();
    bench.write(deleteBatch(versionAt(2), { condition: { op: '=', key: 'host', value: 'h3' } }));
    expect(shard.series('m', null)).toHaveLength(5);
    bench.write(deleteBatch(versionAt(3), { measurement: { name: 'm' } }));
    expect(shard.measurements()).toEqual([]);
    expect(shard.fields('m')).toEqual([]);
    expect(shard.schema()).toEqual([]);
    bench.reopen();
    expect(bench.shard().measurements()).toEqual([]);
    bench.writeRows(versionAt(4), [{ key: 'm,host=h3,dc=d0', time: 1, fields: { g: 5 } }]);
    expect([...cellsOf(bench)]).toEqual([['m,host=h3,dc=d0 1 g', 5]]);
    expect(bench.shard().fields('m')).toEqual([{ name: 'g', types: [0] }]);
  });

  test('a batch that arrives late under a delete stays invisible', () => {
    bench.write(deleteBatch(versionAt(9), { measurement: { regex: '^m' } }));
    bench.writeRows(versionAt(1), rowsOf(3));
    expect(bench.shard().series('m', null)).toHaveLength(0);
    bench.writeRows(versionAt(2), rowsOf(4));
    expect(bench.shard().series('m', null)).toHaveLength(0);
    bench.writeRows(versionAt(10), rowsOf(1));
    bench.writeRows(versionAt(3), rowsOf(4));
    expect(bench.shard().series('m', null)).toHaveLength(1);
    expect(cellsOf(bench).size).toBe(1);
  });

  test('answers do not change with flushes, compaction and reopening', () => {
    for (let n = 0; n < 9; n++) {
      bench.writeRows(
        versionAt(n),
        rowsOf(40 + n, n + 1).map((row) => ({ ...row, time: row.time + (n % 2) * HOUR_NS })),
      );
      bench.shard().flush();
    }
    const order = [...cellsOf(bench)];
    const blocks = bench.shard().sizes().blocks;
    bench.nowMs += 1;
    bench.step();
    bench.nowMs += 1_000_000;
    while (bench.step());
    expect(bench.shard().sizes().blocks).toBeLessThan(blocks);
    expect([...cellsOf(bench)]).toEqual(order);
    bench.engine.close();
    const database = new Database(path());
    const inFile = database.prepare('SELECT count(*) FROM blocks').pluck().get();
    database.close();
    bench.reopen();
    expect(inFile).toBe(bench.shard().sizes().blocks);
    expect(inFile).toBeLessThan(blocks);
    expect([...cellsOf(bench)]).toEqual(order);
    expect(bench.shard().sizes().rows).toBe(Array.from({ length: 9 }, (_, n) => 40 + n).reduce((a, b) => a + b));
  });

  test('blocks of a run that did not end are removed at the next start', () => {
    bench.writeRows(versionAt(1), rowsOf(50));
    bench.shard().flush();
    const { blocks } = bench.shard().sizes();
    bench.engine.close();
    edit(
      'INSERT INTO blocks SELECT id + 1000, 99, window, measurement, first_series, last_series, min_time, max_time, min_version, max_version, rows, head, body FROM blocks',
    );
    bench.reopen();
    expect(bench.shard().sizes().blocks).toBe(blocks);
    expect(cellsOf(bench).size).toBe(50);
  });

  test.each(['head', 'body'])(
    'a block with a flipped bit in its %s is reported, not served and not removed',
    (part) => {
      bench.writeRows(versionAt(1), rowsOf(5));
      bench.shard().flush();
      const before = bench.shard().sizes().blocks;
      bench.engine.close();
      const database = new Database(path());
      const { id, bytes } = database.prepare(`SELECT id, ${part} AS bytes FROM blocks`).get() as {
        id: number;
        bytes: Buffer;
      };
      bytes[bytes.length >> 1]! ^= 4;
      database.prepare(`UPDATE blocks SET ${part} = ? WHERE id = ?`).run(bytes, id);
      database.close();
      bench.reopen();
      expect(() => cellsOf(bench)).toThrow(expect.objectContaining({ code: 'damaged-block', status: 503 }));
      const message = expect.stringContaining(`block ${id} of `);
      expect(bench.shard().care.damaged).toMatchObject([{ message, measurement: 'm', rows: 5 }]);
      expect(() => bench.shard().recomputeContent(STAMP_ZERO)).toThrow(
        expect.objectContaining({ code: 'damaged-block' }),
      );
      const source = bench.shard().snapshot(1 << 20);
      expect(() => readPages(source)).toThrow(expect.objectContaining({ code: 'damaged-block' }));
      expect(bench.shard().sizes().blocks).toBe(before);
    },
  );

  test('companion and blocks change together: a flush that fails leaves both as they were', () => {
    bench.writeRows(versionAt(1), rowsOf(50));
    bench.shard().flush();
    bench.writeRows(versionAt(2), rowsOf(60));
    const companion = bench.shard().companion as VersionSet;
    companion.freeze = () => () => {
      throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
    };
    expect(() => bench.shard().flush()).toThrow(expect.objectContaining({ code: 'disk-full' }));
    expect(cellsOf(bench).size).toBe(60);
    bench.crash();
    expect(cellsOf(bench).size).toBe(60);
    expect([...(bench.shard().companion as VersionSet).versions].sort()).toEqual([versionAt(1), versionAt(2)]);
    expect(bench.engine.recovery.applied).toBe(1);
  });

  test('a file of a later format is left as it is, reported, and the engine goes on without the shard', () => {
    bench.writeRows(versionAt(1), rowsOf(5));
    bench.shard().flush();
    bench.engine.close();
    edit('PRAGMA user_version = 7');
    bench.reopen();
    expect(bench.engine.shards.size).toBe(0);
    expect(bench.engine.recovery.unopened).toMatchObject([{ id: SHARD, code: 'future-format' }]);
    expect(bench.engine.isUnopened(SHARD)).toBe(true);
    expect(() => bench.engine.create(KEY)).toThrow(expect.objectContaining({ code: 'future-format' }));
    bench.engine.close();
    edit('PRAGMA user_version = 1');
    bench.reopen();
    expect(cellsOf(bench).size).toBe(5);
  });

  test('a file that cannot be read is set aside, and what the log holds goes into a new one', () => {
    bench.writeRows(versionAt(1), rowsOf(5));
    bench.shard().flush();
    bench.writeRows(versionAt(2), [{ key: 'm,host=new', time: 5, fields: { f: 7 } }]);
    bench.engine.close();
    edit("UPDATE meta SET value = 'nonsense' WHERE name = 'flushed'");
    bench.reopen();
    expect(bench.engine.recovery.unopened).toMatchObject([{ id: SHARD, code: 'damaged-file' }]);
    expect(cellsOf(bench).get('m,host=new 5 f')).toBe(7);
    expect(readdirSync(join(bench.directory, 'shards')).some((name) => name.includes('.damaged-1'))).toBe(true);
  });

  test('a start after a flush reads on where the flush ended', () => {
    bench.writeRows(versionAt(1), rowsOf(5));
    bench.writeRows(versionAt(2), rowsOf(5));
    bench.shard().flush();
    const flushed = bench.shard().flushedThrough;
    bench.writeRows(versionAt(3), rowsOf(5));
    bench.crash();
    expect(bench.shard().flushedThrough).toEqual(flushed);
    expect(bench.engine.recovery).toMatchObject({ applied: 1, truncatedBytes: 0, unopened: [] });
  });

  test('a damaged block keeps its window from being merged and nothing else', () => {
    for (let n = 0; n < 3; n++) {
      bench.writeRows(
        versionAt(n),
        rowsOf(5).flatMap((row) => [row, { ...row, time: row.time + HOUR_NS }]),
      );
      bench.shard().flush();
    }
    bench.engine.close();
    edit('UPDATE blocks SET body = zeroblob(length(body)) WHERE id = (SELECT min(id) FROM blocks WHERE window = 0)');
    bench.reopen();
    bench.step();
    bench.nowMs += 1_000_000;
    while (bench.step());
    expect(bench.shard().care.damaged).toHaveLength(1);
    expect(bench.shard().sizes().blocks).toBe(3 + 1);
  });

  test('a dropped shard does not come back from the log, also when it is made again', () => {
    bench.writeRows(versionAt(1), rowsOf(5));
    bench.engine.drop(SHARD);
    bench.crash();
    expect(bench.engine.shards.size).toBe(0);
    bench.engine.create(KEY);
    bench.crash();
    expect(cellsOf(bench).size).toBe(0);
  });

  test('a failed sync after rows were applied puts them into the file at once', () => {
    const rows = rowsOf(3);
    bench.writeRows(versionAt(1), rows);
    bench.files.failNextSync = true;
    // As a database with `durability: none`: applied before the sync.
    const batch = { ...deleteBatch(versionAt(2), { measurement: { name: 'other' } }) };
    const position = bench.engine.append([{ shard: SHARD, keys: [], frame: Buffer.from('not read again') }]);
    bench.apply(batch, [], position);
    expect(bench.sync()).not.toBeNull();
    bench.crash();
    expect((bench.shard().companion as VersionSet).has(versionAt(2))).toBe(true);
    expect(cellsOf(bench).size).toBe(3);
  });
});

describe('the log of an engine', () => {
  test('segments go when their shards are flushed, and writes are refused above the maximum', () => {
    bench.remove();
    bench = new Bench({ segmentBytesMax: 20_000, logBytesMax: 60_000, flushShare: 0.5 });
    for (let n = 0; n < 60; n++) bench.writeRows(versionAt(n), rowsOf(200));
    expect(bench.engine.pressure().overloaded).toBe(true);
    bench.step();
    expect(bench.engine.pressure().overloaded).toBe(false);
    expect(bench.engine.pressure().memtableBytes).toBe(0);
    bench.crash();
    expect(cellsOf(bench).size).toBe(200);
  });

  test('a memtable above its share is flushed by a step', () => {
    bench.remove();
    bench = new Bench({ memtableBytesMax: 40_000 });
    for (let n = 0; n < 10; n++) bench.writeRows(versionAt(n), rowsOf(500));
    expect(bench.engine.pressure().overloaded).toBe(true);
    bench.step();
    expect(bench.engine.pressure()).toMatchObject({ memtableBytes: 0, overloaded: false });
  });
});

function readPages(source: ReturnType<ReturnType<Bench['shard']>['snapshot']>): Uint8Array[] {
  const pages: Uint8Array[] = [];
  for (let page = source.page(0); page !== null; page = source.page(pages.length)) pages.push(page);
  return pages;
}

describe('a copy of a shard', () => {
  let other: Bench;
  beforeEach(() => {
    other = new Bench();
    for (let n = 0; n < 5; n++) {
      bench.writeRows(versionAt(n), rowsOf(100, n + 1));
      bench.shard().flush();
    }
    bench.write(deleteBatch(versionAt(8), { condition: { op: '=', key: 'host', value: 'h3' } }));
    other.writeRows(versionAt(50), [{ key: 'm,host=old', time: 1, fields: { f: 1 } }]);
  });
  afterEach(() => other.remove());

  test('replaces the content by the same content, deletes and companion included', () => {
    const source = bench.shard().snapshot(4000);
    const pages = readPages(source);
    expect(pages.length).toBeGreaterThan(5);
    const target = other.engine.beginFill(KEY, 'source');
    for (const page of pages) target.accept(page);
    expect(cellsOf(other).has('m,host=old 1 f')).toBe(true);
    const own = versionAt(99);
    target.finish((database) => void database.prepare('INSERT INTO seen (version) VALUES (?)').run(own));
    const check = () => {
      expect(cellsOf(other)).toEqual(cellsOf(bench));
      const through = 'f'.repeat(16);
      expect(other.shard().recomputeContentThrough(through)).toBe(bench.shard().recomputeContentThrough(through));
      expect([...(other.shard().companion as VersionSet).versions].sort()).toEqual(
        [...(bench.shard().companion as VersionSet).versions, own].sort(),
      );
    };
    check();
    // The local log still holds a row of the replaced content: it is not replayed.
    other.crash();
    check();
    source.close();
  });

  test('page n stays the same while the shard is written to, flushed and asked to compact', () => {
    const source = bench.shard().snapshot(4000);
    const pages = readPages(source);
    for (let n = 20; n < 30; n++) {
      bench.writeRows(versionAt(n), rowsOf(120, n));
      bench.shard().flush();
    }
    bench.nowMs += 10_000_000;
    while (bench.step());
    expect(readPages(source)).toEqual(pages);
    source.close();
    bench.nowMs += 10_000_000;
    bench.step();
    bench.nowMs += 10_000_000;
    while (bench.step());
    expect(bench.shard().sizes().blocks).toBeLessThan(10);
  });

  test('damaged, missing and foreign pages are refused, and the old content stays', () => {
    const pages = readPages(bench.shard().snapshot(4000));
    const target = other.engine.beginFill(KEY, 'source');
    target.accept(pages[0]!);
    const spoilt = Buffer.from(pages[1]!);
    spoilt[spoilt.length >> 1]! ^= 1;
    expect(() => target.accept(spoilt)).toThrow(expect.objectContaining({ code: 'damaged-page' }));
    expect(() => target.accept(pages[2]!)).toThrow(expect.objectContaining({ code: 'damaged-page' }));
    target.accept(pages[1]!);
    target.accept(pages[1]!);
    expect(() => target.finish()).toThrow(expect.objectContaining({ code: 'damaged-page' }));
    target.abort();
    const foreign = other.engine.beginFill({ ...KEY, number: 3 }, 'source');
    expect(() => foreign.accept(pages[0]!)).toThrow(expect.objectContaining({ code: 'damaged-page' }));
    expect(cellsOf(other).size).toBe(1);
  });

  test('a copy that was not finished leaves nothing behind after a crash', () => {
    const target = other.engine.beginFill(KEY, 'source');
    target.accept(readPages(bench.shard().snapshot(4000))[0]!);
    other.crash();
    expect(readdirSync(join(other.directory, 'shards')).filter((name) => name.includes('.fill'))).toEqual([]);
    expect(cellsOf(other).size).toBe(1);
  });
});
