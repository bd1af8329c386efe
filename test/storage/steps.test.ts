/**
 * How much one step of background work does, in what can be counted on a machine of any load: pages, looks at shards, rows.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { WriteBatch } from '../../shards/batch.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { BlockDirectory } from '../../shards/block-directory.ts';
import { decodeBlockHead } from '../../shards/block-head.ts';
import { FLOAT, STRING } from '../../shards/column.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { Memtable } from '../../shards/memtable.ts';
import { PART_ROWS_MAX, PART_TEXT, PASS_ROWS, readParts } from '../../shards/memtable-parts.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { textOf } from '../../shards/row-text.ts';
import { SeriesIds } from '../../shards/series-ids.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { Shard } from '../../shards/shard.ts';
import { VACUUM_PAGES } from '../../shards/shard-file.ts';
import { STAMP_ZERO, stampOf } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, deleteBatch, HOUR_NS, KEY, SHARD, type VersionSet, versionAt } from './helpers.ts';
import { type Random, randomOf } from './random-batches.ts';

const HOSTS = 5;
const KEYS = Array.from({ length: HOSTS }, (_, n) => ({ hash: hashSeriesKey('seed', `m,h=${n}`), key: `m,h=${n}` }));

let bench: Bench;
afterEach(() => {
  vi.restoreAllMocks();
  bench?.remove();
});

/** Rows of the first series at these times, values that do not shrink. */
function longBatch(n: number, times: Float64Array, random: Random, rowSeries?: Uint32Array): WriteBatch {
  const values = Float64Array.from(times, () => random(1e9) / 1e9 + random(1e9));
  const series = rowSeries ?? new Uint32Array(times.length);
  const columns = [{ field: 'f', type: FLOAT, present: null, values } as const];
  const groups = [{ measurement: 'm', rowSeries: series, times, columns }];
  return { kind: 'write', shard: KEY, version: versionAt(n), series: KEYS.map(({ hash }) => hash), groups };
}

function expectStored(batches: readonly WriteBatch[]): void {
  const sums = batches.map((batch) => [batch.version, contentSum(batch)] as const);
  expect(bench.shard().recomputeContent(STAMP_ZERO)).toEqual(new Map(sums));
}

const atRest = (): void => {
  bench.shard().tick(1);
  bench.shard().tick(1_000_000_000);
};

test('what a merge has freed is given back a few pages at a time', () => {
  bench = new Bench();
  for (let n = 0; n < 2; n++) {
    const times = Float64Array.from({ length: 200_000 }, (_, i) => i * 1000 + n);
    bench.write(longBatch(n, times, randomOf(n)), KEYS);
    bench.shard().flush();
  }
  atRest();
  const file = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
  const pages = (): number => Number(file.pragma('page_count', { simple: true }));
  const given: number[] = [];
  for (let before = pages(), more = true; more; before = pages()) {
    more = bench.shard().compactStep();
    if (pages() < before) given.push(before - pages());
  }
  file.close();

  expect(given.length).toBeGreaterThan(2);
  expect(Math.max(...given)).toBeLessThanOrEqual(VACUUM_PAGES);
  expect(VACUUM_PAGES).toBeLessThanOrEqual(256);
});

describe('looks at shards with nothing to merge', () => {
  test('end with the time of a step, and go on with the next one', () => {
    bench = new Bench();
    const shards = 20;
    for (let n = 0; n < shards; n++) bench.engine.create({ ...KEY, database: `db${n}` });
    const looks = vi.spyOn(Shard.prototype, 'compactStep');
    let ms = 0;
    const clock = (): number => ms++;

    const counts: number[] = [];
    for (let more = true; more; counts.push(looks.mock.calls.length)) {
      looks.mockClear();
      more = bench.engine.step(5, clock);
      expect(counts.length).toBeLessThan(2 * shards);
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(5);
    expect(counts.reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(shards);
  });

  test('take no look at the blocks before one can be merged', () => {
    bench = new Bench();
    const companion = (): VersionSet => bench.shard().companion as VersionSet;
    const directory = vi.spyOn(BlockDirectory.prototype, 'runsOf');
    const looked = (): boolean => {
      directory.mockClear();
      while (bench.step());
      const first = directory.mock.calls.length > 0;
      directory.mockClear();
      while (bench.step());
      expect(directory).not.toHaveBeenCalled();
      return first;
    };
    const write = (n: number): void => {
      bench.writeRows(versionAt(n), [{ key: 'm,h=a', time: n * 3 * HOUR_NS, fields: { f: n } }]);
      bench.shard().flush();
    };
    bench.shard();
    bench.step();
    write(1);
    write(2);
    expect(looked()).toBe(true);
    // Windows come to rest, and wait for the floor.
    bench.nowMs += bench.limits.compactionIdleMs;
    expect(looked()).toBe(true);
    companion().floor = stampOf(versionAt(0));
    expect(looked()).toBe(false);
    companion().floor = stampOf(versionAt(1));
    expect(looked()).toBe(true);
    expect(bench.shard().settledThrough).toBe(stampOf(versionAt(1)));
    write(3);
    expect(looked()).toBe(true);
    bench.nowMs += bench.limits.compactionIdleMs;
    companion().floor = stampOf(versionAt(4));
    expect(looked()).toBe(true);
    expect(bench.shard().sizes()).toMatchObject({ rows: 3, blocks: 3 });
    // A delete, which the floor passes later.
    bench.write(deleteBatch(versionAt(5), { measurement: { name: 'm' }, maxTime: 4 * HOUR_NS }));
    bench.shard().flush();
    expect(looked()).toBe(true);
    companion().floor = stampOf(versionAt(5));
    expect(looked()).toBe(true);
    expect(bench.shard().sizes()).toMatchObject({ rows: 2, blocks: 2 });
  });
});

function rowTexts({ series, seriesStart, times, versions, versionTable, columns }: RowSet): string[] {
  const texts: string[] = [];
  for (let s = 0; s < series.length; s++) {
    for (let row = seriesStart[s]!; row < seriesStart[s + 1]!; row++)
      texts.push(`${series[s]} ${times[row]} ${versionTable[versions[row]!]} ${columns[0]!.values[row]}`);
  }
  return texts;
}

test('a merge reads the series of its shard in steps, and whoever needs them earlier reads what is left', () => {
  bench = new Bench();
  const rows = Array.from({ length: 25_000 }, (_, n) => ({ key: `m,h=${n}`, time: n, fields: { f: n } }));
  for (let n = 0; n < 2; n++) {
    bench.writeRows(versionAt(n), rows);
    bench.shard().flush();
  }
  const hashes = rows.map(({ key }) => hashSeriesKey('seed', key)).sort();
  const added = vi.spyOn(SeriesIds.prototype, 'count', 'get');
  for (const early of [false, true]) {
    bench.reopen();
    let steps = 0;
    for (; !bench.shard().isResident; steps++) {
      added.mockClear();
      expect(bench.shard().compactStep()).toBe(true);
      // Asked once for each chunk of 512, and at the ends.
      expect(added.mock.calls.length).toBeLessThan(25);
      if (early && steps === 1) break;
    }
    expect(early || steps > 3).toBe(true);
    const shard = bench.shard();
    expect([...shard.series('m', null)].map((id) => shard.hashOf(id))).toEqual(hashes);
  }
});

describe('a series that is too long for a part', () => {
  const ROWS = 300_000;
  const shapes: Record<string, (i: number, random: Random) => number> = {
    'one row a moment': (i) => i * 10_000_000,
    'out of order': (i) => ((i * 7919) % 100_003) * 1_000_000,
    'nearly all within a moment': (i) => (i < 10 ? i * 300_000_000_000 : 5_000_000_000 + (i % 100_000)),
  };
  test.each(Object.keys(shapes))('is read in slices of time: %s', (name) => {
    bench = new Bench();
    const random = randomOf(1);
    const table = new SeriesTable();
    for (const { hash, key } of KEYS) table.add(hash, key);
    const memtable = new Memtable(table);
    for (let n = 0; n < 3; n++) {
      const times = Float64Array.from({ length: ROWS / 3 }, (_, i) => shapes[name]!((n * ROWS) / 3 + i, random));
      const rowSeries = Uint32Array.from(times, (_, i) => (i % 1000 === 0 ? 1 + random(HOSTS - 1) : 0));
      const held = holdFrame(encodeBatch(longBatch(n, times, random, rowSeries)));
      table.findMany(held.hashes, held.seriesCount, held.ids);
      memtable.apply(held);
    }
    const whole = memtable.sorted('m')!;
    const expected = rowTexts(whole);
    const order = table.sorted('m').slice();
    const seen: string[] = [];
    for (const step of readParts(memtable, memtable.group('m')!, order, table.count, HOUR_NS)) {
      if (step.kind === 'pass') {
        expect(step.rows).toBeLessThanOrEqual(PASS_ROWS);
        continue;
      }
      expect(step.rows.times.length).toBeLessThanOrEqual(PART_ROWS_MAX);
      expect(step.isSlice).toBe(step.rows.series.length === 1 && step.rows.series[0] === 0);
      for (const text of rowTexts(step.rows)) seen.push(text);
    }
    expect(seen.length).toBe(expected.length);
    expect(seen.findIndex((text, i) => text !== expected[i])).toBe(-1);
    memtable.release();
    table.close();
  });

  test('is merged in slices of time, whatever series and runs lie beside it', () => {
    for (let seed = 0; seed < 12; seed++) {
      const random = randomOf(seed);
      bench = new Bench({ blockBytesTarget: 300, transactionBytesMax: 2000, compactionRowsMax: 100 });
      const batches: WriteBatch[] = [];
      for (let n = 0; n < 4; n++) {
        const length = 1 + random([50, 2000][random(2)]!);
        const times = Float64Array.from({ length }, (_, i) => (i * 7 + random(7)) * 1000);
        const others = [1, 3, 1000][random(3)]!;
        const rowSeries = Uint32Array.from(times, (_, i) => (i % others === 0 ? random(HOSTS) : 3));
        batches.push(longBatch(n, times, random, rowSeries));
        bench.write(batches[n]!, KEYS);
        bench.shard().flush();
      }
      atRest();
      const largest = blocks().reduce((max, { rows }) => Math.max(max, rows), 0);
      bench.shard().settle = (rows) => {
        // What a slice begins with and ends with, in each of four runs.
        expect(rows.times.length).toBeLessThanOrEqual(100 + 8 * largest);
        return rows;
      };
      while (bench.shard().compactStep());
      expectStored(batches);
      expect(new Set(blocks().map(({ run }) => run)).size).toBe(1);
      bench.crash();
      expectStored(batches);
      bench.remove();
    }
  });
});

function blocks(): { run: number; rows: number }[] {
  const file = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
  const found = file.prepare('SELECT run, rows FROM blocks').all() as { run: number; rows: number }[];
  file.close();
  return found;
}

describe('long strings', () => {
  const LENGTH = 2000;
  const MAXIMA = { blockTextMax: 20_000, compactionTextMax: 60_000, transactionBytesMax: 4000 };

  /** Each row has a text of its own that hardly takes room in a block; `shared`: all have the same. */
  function textBatch(n: number, rows: number, rowSeries: Uint32Array, shared: boolean): WriteBatch {
    const times = Float64Array.from({ length: rows }, (_, i) => (i * 4 + n) * 1_000_000);
    const values = Array.from(times, (_, i) => (shared ? '' : `${n} ${i} `).padEnd(LENGTH, 'x'));
    const columns = [{ field: 's', type: STRING, present: null, values } as const];
    const groups = [{ measurement: 'm', rowSeries, times, columns }];
    return { kind: 'write', shard: KEY, version: versionAt(n), series: KEYS.map(({ hash }) => hash), groups };
  }

  function heads(): { rows: number; text: number | null }[] {
    const file = new Database(join(bench.directory, 'shards', `${SHARD}.sqlite`), { readonly: true });
    const found = (file.prepare('SELECT head FROM blocks').pluck().all() as Buffer[]).map(decodeBlockHead);
    file.close();
    return found;
  }

  test.each([
    ['one long series', 1],
    ['some series', HOSTS],
  ])('are flushed and merged a few at a time: %s', (_, series) => {
    bench = new Bench(MAXIMA);
    const batches = Array.from({ length: 4 }, (_, n) => {
      const batch = textBatch(
        n,
        200,
        Uint32Array.from({ length: 200 }, (_, i) => i % series),
        false,
      );
      bench.write(batch, KEYS);
      bench.shard().flush();
      return batch;
    });
    for (const { rows, text } of heads()) expect(text).toBe(rows * LENGTH);
    expect(Math.max(...heads().map(({ rows }) => rows))).toBe(MAXIMA.blockTextMax / LENGTH);
    atRest();
    let merged = 0;
    bench.shard().settle = (rows) => {
      // What a part begins and ends with, in each of four runs.
      expect(rows.times.length * LENGTH).toBeLessThanOrEqual(MAXIMA.compactionTextMax + 8 * MAXIMA.blockTextMax);
      merged += rows.times.length;
      return rows;
    };
    while (bench.shard().compactStep());
    expect(merged).toBe(800);
    expect(Math.max(...heads().map(({ rows }) => rows))).toBe(MAXIMA.blockTextMax / LENGTH);
    expectStored(batches);
    expect(new Set(blocks().map(({ run }) => run)).size).toBe(1);
  });

  test('leave the memtable in parts of few bytes', () => {
    bench = new Bench();
    const rows = 10_000;
    const rowSeries = Uint32Array.from({ length: rows }, (_, i) => i % HOSTS);
    bench.write(textBatch(0, rows, rowSeries, false), KEYS);
    const texts: number[] = [];
    const read = vi.spyOn(Memtable.prototype, 'readPicked');
    bench.shard().flush();
    for (const { value } of read.mock.results) texts.push(textOf(value as RowSet));
    expect(texts.reduce((sum, text) => sum + text)).toBe(rows * LENGTH);
    expect(Math.max(...texts)).toBeLessThanOrEqual(1.1 * PART_TEXT);
  });

  test('one that is longer than a block or a part may be is stored and merged by itself', () => {
    bench = new Bench({ ...MAXIMA, blockTextMax: 100, compactionTextMax: 100 });
    const batches = [0, 1, 2, 3].map((n) =>
      textBatch(
        n,
        5,
        Uint32Array.from({ length: 5 }, (_, i) => i % 2),
        false,
      ),
    );
    for (const batch of batches) {
      bench.write(batch, KEYS);
      bench.shard().flush();
    }
    atRest();
    while (bench.shard().compactStep());
    expectStored(batches);
    expect(blocks().map(({ rows }) => rows)).toEqual(new Array(20).fill(1));
  });

  test('one that all rows share is one in each block', () => {
    bench = new Bench(MAXIMA);
    const batch = textBatch(0, 1000, new Uint32Array(1000), true);
    bench.write(batch, KEYS);
    bench.shard().flush();
    expect(heads().map(({ rows, text }) => [rows, text])).toEqual([[1000, LENGTH]]);
    expectStored([batch]);
  });
});
