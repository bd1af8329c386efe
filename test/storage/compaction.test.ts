/** Compaction in steps: what comes meanwhile, crashes between any two steps, and how much one step does. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, expect, test } from 'vitest';
import { freeBuffers } from '../../server/freed-buffers.ts';
import { BlockCache } from '../../shards/block-cache.ts';
import { BlockStore } from '../../shards/block-store.ts';
import { settleRows } from '../../shards/row-settle.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { Compaction, type CompactionSources } from '../../shards/shard-compaction.ts';
import { ShardDropped } from '../../shards/shard-dropped.ts';
import { ConnectionPool, ShardFile } from '../../shards/shard-file.ts';
import { ShardTombstones } from '../../shards/shard-tombstones.ts';
import { STAMP_ZERO } from '../../shards/version.ts';
import { contentSum } from '../support/content-sum.ts';
import { Bench, KEY, type PlainRow, SHARD, versionAt, writeBatch } from './helpers.ts';

const LIMITS = { blockBytesTarget: 400, transactionBytesMax: 1200, compactionRowsMax: 60 };

let bench: Bench;
afterEach(() => bench.remove());

/** Rows of one window, late ones among them. */
const rowsOf = (n: number, rows = 40): PlainRow[] =>
  Array.from({ length: rows }, (_, i) => ({
    key: `m,host=h${(n * 5 + i) % 17}`,
    time: (i % 4 === 0 ? 500 - n * 7 : 500 + n * 40) * 1000 + i,
    fields: { f: n + i / 10 },
  }));

function expectStored(written: number): void {
  const versions = Array.from({ length: written }, (_, n) => versionAt(n));
  const sums = versions.map((version, n) => [version, contentSum(writeBatch(version, rowsOf(n)))] as const);
  expect(bench.shard().recomputeContent(STAMP_ZERO)).toEqual(new Map(sums));
}

function flushed(runs: number, rows?: number): void {
  bench = new Bench(LIMITS);
  for (let n = 0; n < runs; n++) {
    bench.writeRows(versionAt(n), rowsOf(n, rows));
    bench.shard().flush();
  }
  bench.shard().tick(1);
  bench.shard().tick(1_000_000_000);
}

test('a crash between any two steps loses nothing and doubles nothing, whatever came meanwhile', () => {
  for (let steps = 0; ; steps++) {
    flushed(6);
    let more = true;
    for (let k = 0; k < steps && more; k++) {
      more = bench.shard().compactStep();
      // New series, before and behind those that are merged, and another run of the window.
      if (k === 3) bench.writeRows(versionAt(6), rowsOf(6));
      if (k === 7) bench.shard().flush();
      if (k === 9) bench.writeRows(versionAt(7), [...rowsOf(7)]);
    }
    const written = steps > 9 ? 8 : steps > 3 ? 7 : 6;
    expectStored(written);
    bench.crash();
    expectStored(written);
    bench.shard().flush();
    bench.shard().tick(1);
    bench.shard().tick(1_000_000_000);
    while (bench.shard().compactStep());
    expectStored(written);
    bench.remove();
    if (!more) break;
    expect(steps).toBeLessThan(400);
  }
});

test('a window that has come to rest becomes one run, whatever the order of arrival', () => {
  flushed(9);
  while (bench.shard().compactStep());
  expectStored(9);
  const store = openStore();

  expect(store.directory.windows()).toEqual([0]);
  expect(store.directory.runsOf(0).size).toBe(1);
});

test('a step reads one block, merges one part or writes one block', () => {
  flushed(9, 400);
  const shard = bench.shard();
  const table = new SeriesTable();
  for (let id = 0; id < shard.sizes().series; id++) table.add(shard.hashOf(id), shard.keyOf(id));
  const store = openStore();

  const runs = [...store.directory.runsOf(0).keys()];
  expect(runs).toHaveLength(9);
  const largest = Math.max(...[...store.directory.all()].map(({ rows }) => rows));
  const sources: CompactionSources = {
    table,
    store,
    windowNs: shard.windowNs,
    limits: bench.limits,
    free: freeBuffers,
    tombstones: new ShardTombstones(table, KEY, () => null),
    dropped: new ShardDropped(),
    conflict: 'last-write-wins',
    settle: settleRows,
    settledThrough: STAMP_ZERO,
  };
  const compaction = new Compaction(sources, 0, runs);
  const sizes = [...compaction.steps()];
  expect(sizes.length).toBeGreaterThan(20);
  // A part ends with the block that brings it to its size, and takes what overlaps with it in the other runs.
  for (const rows of sizes) expect(rows).toBeLessThanOrEqual(LIMITS.compactionRowsMax + 9 * largest);
  expect(store.directory.runsOf(0).size).toBe(1);
  table.close();
});

/** The shard's blocks as its file has them. */
function openStore(): BlockStore {
  const pool = new ConnectionPool((path) => new Database(path), 4);
  const file = new ShardFile(join(bench.directory, 'shards', `${SHARD}.sqlite`), pool, () => {});
  return new BlockStore(file, new BlockCache(1 << 20, 60_000), false);
}

test('steps without time flush and merge all the same', () => {
  flushed(2);
  bench.writeRows(versionAt(2), rowsOf(2));
  bench.nowMs = 2_000_000_000;
  expect(openStore().directory.runsOf(0).size).toBe(2);
  for (let step = 0; step < 400; step++) {
    bench.engine.step(0, () => bench.nowMs);
    bench.nowMs += 60_000;
  }
  expect(bench.shard().isDirty).toBe(false);
  expect(openStore().directory.runsOf(0).size).toBe(1);
  expectStored(3);
});
