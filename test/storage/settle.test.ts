/** Dropping what is dead: only below the floor that the file holds, bounded space, crashes, old files, copies. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import { addSums } from '../../shards/checksum.ts';
import { STAMP_ZERO, stampOf } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import {
  Bench,
  cellsOf,
  deleteBatch,
  HOUR_NS,
  KEY,
  keysOf,
  type PlainRow,
  SHARD,
  type VersionSet,
  versionAt,
  writeBatch,
} from './helpers.ts';

const LIMITS = { blockBytesTarget: 400, transactionBytesMax: 1200, compactionRowsMax: 60 };
const LAST_STAMP = 'f'.repeat(16);

let bench: Bench;
afterEach(() => bench.remove());

const rowsOf = (n: number, rows = 40): PlainRow[] =>
  Array.from({ length: rows }, (_, i) => ({ key: `m,host=h${i % 17}`, time: i * 1000, fields: { f: n + i / 10 } }));

function write(n: number, rows = 40): void {
  bench.writeRows(versionAt(n), rowsOf(n, rows));
  bench.shard().flush();
}

/** As repair does when a proof has come. */
function raiseFloor(n: number): void {
  (bench.shard().companion as VersionSet).floor = stampOf(versionAt(n));
}

/** Until nothing is left to do, of windows that have come to rest. */
function merge(): void {
  bench.nowMs += 700_000;
  while (bench.step());
}

function expectReceived(batches: readonly ReturnType<typeof writeBatch>[]): void {
  const total = batches.map(contentSum).reduce(addSums, 0n);
  expect(bench.shard().recomputeContentThrough(LAST_STAMP)).toBe(total);
}

const batchesOf = (count: number) => Array.from({ length: count }, (_, n) => writeBatch(versionAt(n), rowsOf(n)));

test('what was overwritten is dropped when the floor has passed its killer, and the sum of what was received stays', () => {
  bench = new Bench(LIMITS);
  for (let n = 0; n < 5; n++) write(n);
  merge();
  expect(bench.shard().sizes().rows).toBe(200);
  raiseFloor(2);
  write(5);
  merge();
  // Versions 0 to 2 are settled: the last of them is left beside 3, 4 and 5.
  expect(bench.shard().sizes().rows).toBe(160);
  raiseFloor(5);
  merge();
  expect(bench.shard().sizes().rows).toBe(40);
  expect(cellsOf(bench)).toEqual(new Map(rowsOf(5).map(({ key, time, fields }) => [`${key} ${time} f`, fields.f])));
  expectReceived(batchesOf(6));
});

test('a floor in memory allows nothing before it is in the file', () => {
  bench = new Bench(LIMITS);
  for (let n = 0; n < 4; n++) write(n);
  raiseFloor(4);
  expect(bench.shard().settledThrough).toBe(STAMP_ZERO);
  // A row in memory keeps the floor from being saved alone; merging waits for its flush.
  bench.writeRows(versionAt(9), [{ key: 'm,host=h1', time: 1, fields: { f: 1 } }]);
  bench.nowMs += 700_000;
  bench.shard().tick(1);
  bench.shard().tick(bench.nowMs);
  while (bench.shard().compactStep());
  expect(bench.shard().sizes().rows).toBe(161);
  expect(bench.shard().isFlushDue()).toBe(true);
  merge();
  merge();
  expect(bench.shard().settledThrough).toBe(stampOf(versionAt(4)));
  expect(bench.shard().sizes().rows).toBeLessThan(161);
  // Not even a crash right after the drop brings back an older floor.
  bench.crash();
  expect(bench.shard().companion.floor).toBe(stampOf(versionAt(4)));
});

test('a crash between any two steps of settling loses nothing', () => {
  for (let steps = 0; ; steps++) {
    bench = new Bench(LIMITS);
    for (let n = 0; n < 5; n++) write(n);
    raiseFloor(5);
    bench.shard().tick(1);
    bench.shard().tick(1_000_000_000);
    let more = true;
    for (let k = 0; k < steps && more; k++) more = bench.shard().compactStep();
    expectReceived(batchesOf(5));
    bench.crash();
    expectReceived(batchesOf(5));
    expect(cellsOf(bench)).toEqual(new Map(rowsOf(4).map(({ key, time, fields }) => [`${key} ${time} f`, fields.f])));
    bench.remove();
    if (!more) break;
    expect(steps).toBeLessThan(400);
  }
});

test('the same thousand rows, written a thousand times, take no more room than a few times', () => {
  bench = new Bench({ compactionRunsMin: 4 });
  const rows = Array.from({ length: 1000 }, (_, i) => ({ key: `m,host=h${i % 10}`, time: i * 1000, fields: { f: i } }));
  const batches = [1, 7, 31].map((factor) =>
    writeBatch(
      versionAt(0),
      rows.map((row, i) => ({ ...row, fields: { f: (i * factor) % 1000 } })),
    ),
  );
  let most = 0;
  let largest = 0;
  for (let n = 0; n < 1000; n++) {
    bench.write({ ...batches[n % 3]!, version: versionAt(n) }, n === 0 ? keysOf(rows) : []);
    if (n % 4 === 3) {
      raiseFloor(n);
      bench.shard().flush();
      while (bench.shard().compactStep());
    }
    if (n < 100) continue;
    most = Math.max(most, bench.shard().sizes().rows);
    largest = Math.max(largest, bench.shard().sizes().fileBytes);
  }
  expect(most).toBeLessThan(40_000);
  expect(largest).toBeLessThan(500_000);
  raiseFloor(1000);
  merge();
  merge();
  expect(bench.shard().sizes().rows).toBe(1000);
});

test('a window that is settled is not written again', () => {
  bench = new Bench(LIMITS);
  for (let n = 0; n < 4; n++) write(n);
  raiseFloor(4);
  merge();
  const blocks = (): unknown => readFile((database) => database.prepare('SELECT id, run FROM blocks').all());
  const before = blocks();
  for (let n = 5; n < 9; n++) {
    raiseFloor(n);
    merge();
  }
  bench.reopen();
  for (let n = 0; n < 2; n++) merge();
  expect(blocks()).toEqual(before);
});

test('a shard whose blocks are not in memory settles once the floor allows it', () => {
  bench = new Bench({ ...LIMITS, unusedMs: 1000 });
  for (let n = 0; n < 4; n++) write(n);
  for (let n = 0; n < 3; n++) merge();
  expect(bench.shard().isResident).toBe(false);
  raiseFloor(2);
  for (let n = 0; n < 3; n++) merge();
  expect(bench.shard().isResident).toBe(false);
  raiseFloor(4);
  for (let n = 0; n < 2; n++) merge();
  expect(bench.shard().sizes().rows).toBe(40);
});

test('a file of the first format is read, and becomes one of the second with its first drop', () => {
  bench = new Bench(LIMITS);
  for (let n = 0; n < 4; n++) write(n);
  bench.engine.close();
  const path = join(bench.directory, 'shards', `${SHARD}.sqlite`);
  const database = new Database(path);
  database.exec('DROP TABLE dropped; PRAGMA user_version = 1');
  database.close();
  bench.reopen();
  expectReceived(batchesOf(4));
  const formatOf = (): unknown => readFile((file) => file.pragma('user_version', { simple: true }));
  expect(formatOf()).toBe(1);
  raiseFloor(4);
  for (let n = 0; n < 2; n++) merge();
  expect(formatOf()).toBe(2);
  bench.reopen();
  expect(bench.shard().sizes().rows).toBe(40);
  expectReceived(batchesOf(4));
});

test('a copy has what its source has dropped and what it has not', () => {
  bench = new Bench(LIMITS);
  for (let n = 0; n < 4; n++) write(n);
  raiseFloor(3);
  merge();
  write(4);
  const source = bench.shard().snapshot(2000);
  const target = bench.engine.beginFill(KEY, 'source');
  for (let index = 0, page = source.page(0); page !== null; page = source.page(++index)) target.accept(page);
  source.close();
  target.finish();
  expect(bench.shard().settledThrough).toBe(stampOf(versionAt(3)));
  expectReceived(batchesOf(5));
  raiseFloor(4);
  merge();
  merge();
  expect(bench.shard().sizes().rows).toBe(40);
  expectReceived(batchesOf(5));
});

test('rows that a delete covers are dropped, and what the scrub compares still says that they came', () => {
  bench = new Bench(LIMITS);
  write(0);
  const deletion = deleteBatch(versionAt(1), { condition: { op: '=', key: 'host', value: 'h3' } });
  bench.write(deletion);
  bench.shard().flush();
  raiseFloor(1);
  merge();
  expect(bench.shard().sizes().rows).toBe(40 - 3);
  expectReceived([...batchesOf(1), deletion]);
});

test('a delete finds the windows that had been settled before it, and only those with rows that it covers', () => {
  bench = new Bench(LIMITS);
  write(0);
  bench.writeRows(versionAt(1), [{ key: 'm,host=h4', time: 5 * HOUR_NS, fields: { f: 1 } }]);
  raiseFloor(1);
  for (let n = 0; n < 3; n++) merge();
  expect(bench.shard().sizes().rows).toBe(41);
  const ofWindow = (window: number): unknown =>
    readFile((file) => file.prepare('SELECT id FROM blocks WHERE window = ?').all(window));
  const untouched = ofWindow(5);
  expect(untouched).toHaveLength(1);
  const deletion = deleteBatch(versionAt(2), { condition: { op: '=', key: 'host', value: 'h3' } });
  bench.write(deletion);
  merge();
  merge();
  expect(bench.shard().sizes().rows).toBe(41);
  raiseFloor(2);
  merge();
  expect(bench.shard().sizes().rows).toBe(41 - 3);
  expect(ofWindow(5)).toEqual(untouched);
  const settled = ofWindow(0);
  for (let n = 3; n < 6; n++) {
    raiseFloor(n);
    merge();
  }
  bench.reopen();
  for (let n = 0; n < 2; n++) merge();
  expect(ofWindow(0)).toEqual(settled);
  expect([...cellsOf(bench).keys()].some((name) => name.startsWith('m,host=h3'))).toBe(false);
});

function readFile<T>(read: (database: Database.Database) => T): T {
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
  try {
    return read(database);
  } finally {
    database.close();
  }
}
