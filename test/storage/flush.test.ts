/** Flushes in steps: what is written and read meanwhile, crashes between any two steps, and a disk that refuses. */
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { Memtable } from '../../shards/memtable.ts';
import { PART_ROWS_MAX, PASS_ROWS, readParts } from '../../shards/memtable-parts.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { STAMP_ZERO } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, deleteBatch, HOUR_NS, versionAt } from './helpers.ts';
import { keysOfBatches, randomBatch, randomOf } from './random-batches.ts';

const OPTIONS = { rowsMax: 60, series: 20, measurements: 2, fields: 3 };
const KEYS = keysOfBatches(OPTIONS);
const LIMITS = { blockBytesTarget: 1500, transactionBytesMax: 3000 };

let bench: Bench;
afterEach(() => bench?.remove());

const batchOf = (n: number): WriteBatch => randomBatch(versionAt(n), randomOf(n), OPTIONS);

function write(n: number): void {
  const batch = batchOf(n);
  expect(
    bench.write(
      batch,
      KEYS.filter(({ hash }) => batch.series.includes(hash)),
    ),
  ).toBeNull();
}

/** Everything that these batches hold is stored, and nothing else; the companion has them. */
function expectStored(numbers: readonly number[]): void {
  const sums = numbers.map((n) => [versionAt(n), contentSum(batchOf(n))] as const).filter(([, sum]) => sum !== 0n);
  expect(bench.shard().recomputeContent(STAMP_ZERO)).toEqual(new Map(sums));
  for (const n of numbers) expect(bench.shard().companion.has(versionAt(n))).toBe(true);
}

describe('a flush in steps', () => {
  test('a crash between any two steps loses nothing and doubles nothing, whatever came meanwhile', () => {
    for (let steps = 0; ; steps++) {
      bench = new Bench(LIMITS);
      for (let n = 0; n < 8; n++) write(n);
      const shard = bench.shard();
      shard.beginFlush();
      let more = true;
      for (let k = 0; k < steps && more; k++) {
        more = shard.flushStep();
        if (k === 2) write(8);
        if (k === 5) write(9);
      }
      const written = steps > 5 ? 10 : steps > 2 ? 9 : 8;
      const numbers = Array.from({ length: written }, (_, n) => n);
      expectStored(numbers);
      bench.crash();
      expectStored(numbers);
      expect(bench.engine.recovery.applied).toBe(more ? written : written - 8);
      bench.shard().flush();
      bench.crash();
      expectStored(numbers);
      expect(bench.engine.recovery.applied).toBe(0);
      bench.remove();
      if (!more) break;
      expect(steps).toBeLessThan(300);
    }
  });

  test('a disk that refuses any one transaction: the flush begins again and loses nothing', () => {
    for (let refused = 0; ; refused++) {
      bench = new Bench(LIMITS);
      for (let n = 0; n < 8; n++) write(n);
      bench.write(deleteBatch(versionAt(50), { measurement: { name: 'none' } }));
      bench.shard().beginFlush();
      write(9);
      let left = refused;
      let thrown = false;
      const begin = Database.prototype.transaction;
      Database.prototype.transaction = function (this: Database.Database, ...args: Parameters<typeof begin>) {
        if (left-- === 0) throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
        return begin.apply(this, args);
      } as typeof begin;
      try {
        while (bench.shard().flushStep());
      } catch (error) {
        thrown = true;
        expect(error).toMatchObject({ code: 'disk-full' });
      } finally {
        Database.prototype.transaction = begin;
      }
      const sums = () => bench.shard().recomputeContent(STAMP_ZERO).size;
      const before = sums();
      bench.shard().flush();
      expect(sums()).toBe(before);
      bench.crash();
      expect(sums()).toBe(before);
      expect(bench.engine.recovery.applied).toBe(0);
      expect([...Array(8).keys(), 9, 50].every((n) => bench.shard().companion.has(versionAt(n)))).toBe(true);
      bench.remove();
      if (!thrown) break;
      expect(refused).toBeLessThan(100);
    }
  });

  test('under pressure of memory the engine flushes in steps, one shard at a time, until it is below', () => {
    bench = new Bench({ ...LIMITS, memtableBytesMax: 40_000, flushShare: 0.5 });
    const written: number[] = [];
    for (let n = 0; n < 60; n++) {
      write(n);
      written.push(n);
      let looks = 0;
      bench.engine.step(2, () => bench.nowMs + looks++);
    }
    while (bench.engine.step(1e9, () => bench.nowMs));
    expect(bench.engine.pressure().memtableBytes).toBeLessThan(20_000);
    expectStored(written);
  });
});

test('parts of a memtable are its rows, window by window, and no step is long', () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = randomOf(seed);
    const options = { rowsMax: 300, series: [3, 40, 3000][random(3)]!, measurements: 1, fields: 1 + random(3) };
    const table = new SeriesTable();
    const memtable = new Memtable(table);
    const keys = new Map(keysOfBatches(options).map(({ hash, key }) => [hash, key]));
    for (let n = 0; n < 20; n++) {
      const batch = randomBatch(versionAt(n), random, options);
      for (const hash of batch.series) if (table.find(hash) < 0) table.add(hash, keys.get(hash)!);
      const held = holdFrame(encodeBatch(batch));
      table.findMany(held.hashes, held.seriesCount, held.ids);
      memtable.apply(held);
    }
    const cells = (rows: NonNullable<ReturnType<Memtable['sorted']>>, into: string[]): string[] => {
      for (let s = 0; s < rows.series.length; s++) {
        for (let row = rows.seriesStart[s]!; row < rows.seriesStart[s + 1]!; row++) {
          const version = rows.versionTable[rows.versions[row]!];
          const values = rows.columns
            .filter(({ present }) => present === null || present[row] === 1)
            .map(({ field, type, values }) => `${field}${type}${Object.is(values[row], -0) ? '-0' : values[row]}`);
          into.push(
            `${Math.floor(rows.times[row]! / HOUR_NS)} ${rows.series[s]} ${rows.times[row]} ${version} ${values}`,
          );
        }
      }
      return into;
    };
    const expected = cells(memtable.sorted('m0')!, []);
    const rank = new Map([...table.sorted('m0')].map((id, place) => [id, place]));
    const found: string[] = [];
    let last = [-1, -1];
    for (const step of readParts(memtable, memtable.group('m0')!, table.sorted('m0').slice(), table.count, HOUR_NS)) {
      if (step.kind === 'pass') {
        expect(step.rows).toBeLessThanOrEqual(PASS_ROWS);
        continue;
      }
      expect(step.rows.times.length).toBeLessThanOrEqual(PART_ROWS_MAX);
      const windows = new Set([...step.rows.times].map((time) => Math.floor(time / HOUR_NS)));
      expect(windows.size).toBe(1);
      const at = [[...windows][0]!, rank.get(step.rows.series[0]!)!];
      expect(at[0]! > last[0]! || (at[0] === last[0] && at[1]! > last[1]!)).toBe(true);
      last = [at[0]!, rank.get(step.rows.series.at(-1)!)!];
      cells(step.rows, found);
    }
    expect(found.sort()).toEqual(expected.sort());
    memtable.release();
    table.close();
  }
});
