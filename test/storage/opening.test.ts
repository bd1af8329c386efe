/** What is read when a shard is opened and what later; files of new shards; what happens to damage that is met late. */
import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StorageError } from '../../shards/errors.ts';
import { shardId } from '../../shards/shard-key.ts';
import { Bench, cellsOf, HOUR_NS, KEY, keysOf, SHARD, versionAt, writeBatch } from './helpers.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.remove());

const rows = (count: number, value = 1) =>
  Array.from({ length: count }, (_, i) => ({ key: `m,host=h${i}`, time: i * 1000, fields: { f: value + i } }));
const names = (): string[] => readdirSync(join(bench.directory, 'shards')).sort();

function edit(sql: string): void {
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`));
  database.exec(sql);
  database.close();
}

const SPOIL_SERIES = 'UPDATE series_chunks SET bytes = zeroblob(length(bytes))';

describe('a shard whose series are damaged', () => {
  beforeEach(() => {
    bench.writeRows(versionAt(1), rows(5));
    bench.shard().flush();
  });

  test('is opened, refuses what needs them, and is set aside by the next step', () => {
    bench.engine.close();
    edit(SPOIL_SERIES);
    bench.reopen();
    expect(bench.engine.recovery.unopened).toEqual([]);
    expect(bench.shard().sizes()).toMatchObject({ rows: 5, series: 5, blocks: 1 });
    const damage = expect.objectContaining({ code: 'damaged-file', status: 503 });
    expect(() => bench.shard().series('m', null)).toThrow(damage);
    expect(() => bench.shard().rebuild(new Set([versionAt(1)]))).toThrow(damage);
    bench.step();
    expect(bench.engine.recovery.unopened).toMatchObject([{ id: SHARD, code: 'damaged-file' }]);
    expect(names()).toContain(`${SHARD}.sqlite.damaged-1`);
    expect(bench.setAside).toEqual([SHARD]);
    // The log was not let go, and has everything.
    expect(cellsOf(bench).size).toBe(5);
    bench.writeRows(versionAt(2), rows(6));
    expect(cellsOf(bench).size).toBe(6);
  });

  test('gets back what several segments of the log have of it, each as it is', () => {
    bench = new Bench({ segmentBytesMax: 1024, logBytesMax: 1 << 20 });
    for (let i = 1; i <= 20; i++) bench.writeRows(versionAt(i), [{ key: `m,host=h${i}`, time: i, fields: { f: i } }]);
    const cells = cellsOf(bench);
    expect(bench.files.list('/memory/log').length).toBeGreaterThan(2);
    bench.shard().unreadable = new StorageError('damaged-file', 'the series cannot be read');
    bench.step();
    expect(bench.setAside).toEqual([SHARD]);
    expect(cellsOf(bench)).toEqual(cells);
    bench.crash();
    expect(cellsOf(bench)).toEqual(cells);
  });

  test('of which the log has nothing is made anew, and empty, at once and at a start', () => {
    bench.crash();
    bench.shard().flush();
    bench.step();
    expect(bench.logRecords()).toBe(0);
    bench.shard().unreadable = new StorageError('damaged-file', 'the series cannot be read');
    bench.step();
    expect(bench.engine.shards.get(SHARD)?.sizes()).toMatchObject({ rows: 0 });
    bench.engine.close();
    edit('PRAGMA application_id = 0');
    bench.reopen();
    expect(bench.engine.recovery).toMatchObject({ unopened: [{ id: SHARD }], setAside: [SHARD] });
    expect(bench.engine.shards.get(SHARD)?.sizes()).toMatchObject({ rows: 0 });
  });

  test('found while it holds rows that are in no file: they come from the log, now and after a crash', () => {
    bench.writeRows(versionAt(2), [{ key: 'm,host=new', time: 5, fields: { f: 7 } }]);
    bench.shard().unreadable = new StorageError('damaged-file', 'the series cannot be read');
    bench.step();
    expect(bench.setAside).toEqual([SHARD]);
    expect(cellsOf(bench).get('m,host=new 5 f')).toBe(7);
    expect(cellsOf(bench).size).toBe(6);
    bench.crash();
    expect(cellsOf(bench).size).toBe(6);
  });

  test('the disk refuses: the log keeps what it holds for the next step, and nobody makes an empty shard meanwhile', () => {
    bench.shard().unreadable = new StorageError('damaged-file', 'the series cannot be read');
    const read = bench.files.read.bind(bench.files);
    bench.files.read = () => {
      throw new StorageError('disk-failed', 'the log cannot be read now');
    };
    bench.step();
    expect(() => bench.engine.create(KEY)).toThrow(expect.objectContaining({ code: 'damaged-file' }));
    bench.files.read = read;
    bench.step();
    expect(cellsOf(bench).size).toBe(5);
  });

  test('is set aside in the middle of recovery when the log holds more of it, and gets all that the log holds', () => {
    bench.writeRows(versionAt(2), [{ key: 'm,host=new', time: 5, fields: { f: 7 } }]);
    bench.engine.close();
    edit(SPOIL_SERIES);
    bench.reopen();
    expect(bench.engine.recovery.unopened).toMatchObject([{ id: SHARD, code: 'damaged-file' }]);
    expect(cellsOf(bench).size).toBe(6);
    bench.crash();
    expect(cellsOf(bench).size).toBe(6);
  });
});

test('series and directory are let go when nothing asks for them, and read again at need', () => {
  bench.writeRows(versionAt(1), rows(50));
  bench.shard().flush();
  bench.step();
  const before = cellsOf(bench);
  const sizes = bench.shard().sizes();
  for (const sleep of [1, 10_000_000, 10_000_000]) {
    bench.nowMs += sleep;
    bench.step();
    bench.step();
  }
  expect(bench.shard().sizes()).toEqual(sizes);
  expect(bench.shard().isResident).toBe(false);
  expect(cellsOf(bench)).toEqual(before);
  expect(bench.shard().isResident).toBe(true);
  bench.nowMs += 10_000_000;
  bench.step();
  bench.nowMs += 10_000_000;
  bench.step();
  expect(bench.shard().isResident).toBe(false);
  bench.writeRows(versionAt(2), rows(60, 2));
  bench.shard().flush();
  bench.nowMs += 10_000_000;
  while (bench.step());
  bench.reopen();
  expect(bench.shard().sizes()).toMatchObject({ series: 60, blocks: 1 });
  expect(cellsOf(bench)).toEqual(new Map(rows(60, 2).map(({ key, time, fields }) => [`${key} ${time} f`, fields.f])));
});

describe('files of new shards', () => {
  const keyOf = (n: number) => ({
    ...KEY,
    startNs: BigInt(n) * BigInt(HOUR_NS) * 24n,
    endNs: BigInt(n + 1) * BigInt(HOUR_NS) * 24n,
  });

  test('are durable with the next sync; what a kill leaves of them before that is taken when it is whole', () => {
    for (let n = 0; n < 40; n++) bench.engine.create(keyOf(n));
    expect(names().every((name) => name.endsWith('.new'))).toBe(true);
    for (const name of names().slice(0, 10)) truncateSync(join(bench.directory, 'shards', name), 9000);
    bench.crash();
    expect(bench.engine.shards.size).toBe(30);
    for (let n = 0; n < 40; n++) bench.engine.create(keyOf(n));
    expect(bench.sync()).toBeNull();
    expect(names()).toEqual(Array.from({ length: 40 }, (_, n) => `${shardId(keyOf(n))}.sqlite`).sort());
    bench.crash();
    expect(bench.engine.shards.size).toBe(40);
  });

  test('are made before they are written to, and by steps when nobody syncs', () => {
    bench.engine.create(keyOf(1));
    bench.shard().flush();
    expect(names()).toContain(`${SHARD}.sqlite`);
    bench.step();
    expect(names().filter((name) => name.endsWith('.new'))).toEqual([]);
    bench.crash();
    expect(bench.engine.shards.size).toBe(2);
  });

  test('go with a shard that is dropped', () => {
    bench.engine.create(KEY);
    bench.engine.drop(SHARD);
    expect(bench.sync()).toBeNull();
    expect(names()).toEqual([]);
    bench.writeRows(versionAt(1), rows(2));
    expect(cellsOf(bench).size).toBe(2);
  });

  test('a batch is refused when its shard cannot be synced, and the next sync brings it', () => {
    bench.engine.create(KEY);
    bench.files.failNextSync = true;
    const batch = writeBatch(versionAt(1), rows(2));
    expect(bench.write(batch, keysOf(rows(2)))).toMatchObject({ code: 'disk-failed' });
    expect(bench.write(batch, keysOf(rows(2)))).toBeNull();
    bench.crash();
    expect(cellsOf(bench).size).toBe(2);
  });
});
