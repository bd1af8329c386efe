/** Flushes that write settled rows as they will stay: when they do, when they must not, and when a flush waits for it. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import type { Batch } from '../../shards/batch.ts';
import { addSums } from '../../shards/checksum.ts';
import { stampOf } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import {
  Bench,
  cellsOf,
  deleteBatch,
  HOUR_NS,
  type PlainRow,
  SHARD,
  type VersionSet,
  versionAt,
  writeBatch,
} from './helpers.ts';

const LIMITS = { blockBytesTarget: 400, transactionBytesMax: 1200, compactionRowsMax: 60 };
const LAST_STAMP = 'f'.repeat(16);

const benches: Bench[] = [];
afterEach(() => {
  for (const bench of benches.splice(0)) bench.remove();
});

function open(): Bench {
  const bench = new Bench(LIMITS);
  benches.push(bench);
  return bench;
}

/** The same series and times again and again, in one window. */
const rowsOf = (n: number, window = 0): PlainRow[] =>
  Array.from({ length: 40 }, (_, i) => ({
    key: `m,host=h${i % 17}`,
    time: window * HOUR_NS + i * 1000,
    fields: { f: n + i / 10 },
  }));

const batchOf = (n: number, window = 0): Batch => writeBatch(versionAt(n), rowsOf(n, window));
const write = (bench: Bench, n: number, window = 0): void => void bench.writeRows(versionAt(n), rowsOf(n, window));
const cellsAfter = (n: number, window = 0): Map<string, number> =>
  new Map(rowsOf(n, window).map(({ key, time, fields }) => [`${key} ${time} f`, fields.f as number]));

/** As repair does when a proof has come. */
function raiseFloor(bench: Bench, n: number): void {
  (bench.shard().companion as VersionSet).floor = stampOf(versionAt(n));
}

function merge(bench: Bench): void {
  bench.nowMs += 700_000;
  while (bench.step());
}

function blocksOf(bench: Bench, sql = 'SELECT id, run FROM blocks'): unknown[] {
  const database = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

function expectReceived(bench: Bench, batches: readonly Batch[]): void {
  expect(bench.shard().recomputeContentThrough(LAST_STAMP)).toBe(batches.map(contentSum).reduce(addSums, 0n));
}

test('rows that the floor has passed are written as they stay, and no merge writes them again', () => {
  const bench = open();
  for (let n = 0; n < 3; n++) write(bench, n);
  const deletion = deleteBatch(versionAt(3), { condition: { op: '=', key: 'host', value: 'h3' } });
  bench.write(deletion);
  raiseFloor(bench, 3);
  bench.shard().flush();
  expect(bench.shard().sizes().rows).toBe(40 - 3);
  const left = [...cellsAfter(2)].filter(([name]) => !name.startsWith('m,host=h3 '));
  expect(cellsOf(bench)).toEqual(new Map(left));
  const blocks = blocksOf(bench);
  for (let n = 0; n < 3; n++) merge(bench);
  expect(blocksOf(bench)).toEqual(blocks);
  const received = [...[0, 1, 2].map((n) => batchOf(n)), deletion];
  expectReceived(bench, received);
  bench.crash();
  expectReceived(bench, received);
});

test('a crash between any two steps loses nothing', () => {
  for (let steps = 0; ; steps++) {
    const bench = open();
    for (let n = 0; n < 5; n++) write(bench, n);
    raiseFloor(bench, 5);
    const batches = [0, 1, 2, 3, 4].map((n) => batchOf(n));
    bench.shard().beginFlush();
    let more = true;
    for (let k = 0; k < steps && more; k++) more = bench.shard().flushStep();
    expectReceived(bench, batches);
    bench.crash();
    expectReceived(bench, batches);
    expect(cellsOf(bench)).toEqual(cellsAfter(4));
    bench.shard().flush();
    expectReceived(bench, batches);
    expect(cellsOf(bench)).toEqual(cellsAfter(4));
    if (!more) break;
    expect(steps).toBeLessThan(100);
  }
});

test('rows above the floor, and those of a window that the file has rows of, keep their versions until a merge', () => {
  const bench = open();
  for (let n = 0; n < 3; n++) write(bench, n);
  raiseFloor(bench, 1);
  bench.shard().flush();
  expect(bench.shard().sizes().rows).toBe(120);
  write(bench, 3);
  write(bench, 4, 1);
  write(bench, 5, 1);
  raiseFloor(bench, 5);
  bench.shard().flush();
  // Of window 1 the winners, of window 0 all.
  expect(bench.shard().sizes().rows).toBe(160 + 40);
  merge(bench);
  expect(bench.shard().sizes().rows).toBe(80);
  expect(cellsOf(bench)).toEqual(new Map([...cellsAfter(3), ...cellsAfter(5, 1)]));
  expectReceived(
    bench,
    [0, 1, 2, 3, 4, 5].map((n) => batchOf(n, n < 4 ? 0 : 1)),
  );
});

test('while somebody reads everything a flush drops nothing', () => {
  const bench = open();
  write(bench, 0);
  raiseFloor(bench, 0);
  bench.shard().flush();
  let isBegun = false;
  const reading = bench.shard().care.read(() => {
    isBegun = true;
  });
  while (!isBegun) reading.step(1);
  write(bench, 1, 1);
  write(bench, 2, 1);
  raiseFloor(bench, 2);
  bench.shard().flush();
  while (reading.step(100));
  expect(reading.through).toBe(contentSum(batchOf(0)));
  reading.close();
  merge(bench);
  expect(bench.shard().sizes().rows).toBe(80);
});

test('rows that mending puts into the window meanwhile are told apart by version', () => {
  const [source, bench] = [open(), open()];
  for (const each of [source, bench]) {
    write(each, 0, 1);
    each.shard().flush(); // or mending would end the flush first, for the sake of new series
    write(each, 1);
  }
  write(source, 2);
  for (const each of [source, bench]) raiseFloor(each, 2);
  source.shard().flush();
  bench.shard().beginFlush();
  for (let k = 0; k < 5; k++) expect(bench.shard().flushStep()).toBe(true);
  const groups = Array.from({ length: 16 }, (_, group) => group);
  const place = { through: stampOf(versionAt(2)), window: 0, measurement: 'm', groups };
  const replacement = bench.shard().care.replace({ ...place, purged: new Set(), lost: false });
  const { page } = source.shard().care.copy({ ...place, fromTime: 0, cellsMax: 1e9 });
  replacement.accept(page!.frame, page!.keys);
  while (replacement.step());
  expect(bench.shard().isFlushing).toBe(true);
  bench.shard().flush();
  expect(cellsOf(bench)).toEqual(new Map([...cellsAfter(0, 1), ...cellsAfter(2)]));
  expect(blocksOf(bench, 'SELECT DISTINCT max_version FROM blocks WHERE window = 0')).toHaveLength(2);
});

test('rows that nothing is added to wait some seconds for the floor before they are flushed', () => {
  const bench = open();
  const { flushIdleMs, flushFloorMs, flushAgeMs } = bench.limits;
  const isDueAfter = (ms: number): boolean => {
    const shard = bench.shard();
    shard.flush();
    shard.tick(1);
    bench.writeRows(versionAt(++version), rowsOf(0));
    if (isPassed) raiseFloor(bench, version);
    shard.tick(1 + ms);
    return shard.isFlushDue();
  };
  let version = 0;
  let isPassed = false;
  expect(isDueAfter(flushIdleMs)).toBe(false);
  expect(isDueAfter(flushIdleMs + flushFloorMs)).toBe(true);
  expect(isDueAfter(flushAgeMs)).toBe(true);
  isPassed = true;
  expect(isDueAfter(flushIdleMs - 1)).toBe(false);
  expect(isDueAfter(flushIdleMs)).toBe(true);
});
