/** Rows of memtables a few windows at a time against all of them at once. */
import { expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { holdFrame } from '../../shards/held-frame.ts';
import { MemoryRows } from '../../shards/memory-rows.ts';
import { Memtables } from '../../shards/memtables.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import { HOUR_NS, versionAt } from './helpers.ts';
import { keysOfBatches, randomBatch, randomOf } from './random-batches.ts';

const WINDOW_NS = HOUR_NS / 4;

/** Two memtables with the same rows each time, one of them frozen. */
function filled(seed: number): { memtables: Memtables; table: SeriesTable } {
  const random = randomOf(seed);
  const options = { rowsMax: 60, series: 12, measurements: 1, fields: 3 };
  const table = new SeriesTable();
  const memtables = new Memtables(table);
  const keys = new Map(keysOfBatches(options).map(({ hash, key }) => [hash, key]));
  for (let n = 0; n < 30; n++) {
    const batch = randomBatch(versionAt(n), random, options);
    for (const hash of batch.series) if (table.find(hash) < 0) table.add(hash, keys.get(hash)!);
    const held = holdFrame(encodeBatch(batch));
    table.findMany(held.hashes, held.seriesCount, held.ids);
    memtables.active.apply(held);
    if (n === 11) memtables.freeze();
  }
  return { memtables, table };
}

const inWindow = (time: number, window: number): boolean => Math.floor(time / WINDOW_NS) === window;

function rowsOf(rows: RowSet | null, window: number): string[] {
  const found: string[] = [];
  rows?.series.forEach((id, s) => {
    for (let row = rows.seriesStart[s]!; row < rows.seriesStart[s + 1]!; row++) {
      const time = rows.times[row]!;
      const cells = rows.columns
        .filter(({ present }) => present === null || present[row] === 1)
        .map(({ field, type, values }) => [field, type, String(values[row])]);
      if (inWindow(time, window)) found.push([id, time, rows.versionTable[rows.versions[row]!], cells].join());
    }
  });
  return found;
}

test.each(Array.from({ length: 20 }, (_, seed) => seed))(
  'every window has its rows, few are picked at once (seed %i)',
  (seed) => {
    const { memtables, table } = filled(seed);
    const random = randomOf(seed + 100);
    const all = table.sorted('m0').slice();
    const series = seed % 2 === 0 ? all : all.filter(() => random(3) > 0);
    const minTime = random(2) * random(HOUR_NS);
    const maxTime = random(2) === 0 ? Number.MAX_SAFE_INTEGER : minTime + 2 * HOUR_NS;
    const request = { measurement: 'm0', series, fields: ['f0', 'f1', 'f2'], minTime, maxTime };
    const whole = memtables.select('m0', { ...request, fields: new Set(request.fields) })!;
    const windows = [...new Set(Array.from(whole.times, (time) => Math.floor(time / WINDOW_NS)))].sort((a, b) => a - b);
    expect(windows.length).toBeGreaterThan(3);
    const largest = Math.max(...windows.map((window) => rowsOf(whole, window).length));
    for (const rowsMax of [1, 2 * largest, 1e6]) {
      let parts = 0;
      const memory = new MemoryRows(memtables, request, WINDOW_NS, series.length / all.length, rowsMax);
      for (const window of windows) expect(memory.windows.has(window)).toBe(true);
      for (const window of random(2) === 0 ? windows : [...windows].reverse()) {
        const rows: string[] = [];
        for (let place = 0; place < series.length; ) {
          const picked = memory.of(window, place);
          expect(memory.of(window, picked.end - 1)).toBe(picked);
          rows.push(...rowsOf(picked.rows, window));
          if (series === all) expect(picked.rows?.times.length ?? 0).toBeLessThanOrEqual(Math.max(rowsMax, largest));
          place = picked.end;
          parts++;
        }
        expect(rows).toEqual(rowsOf(whole, window));
      }
      // A window with many rows in parts of its series.
      if (rowsMax === 1) expect(parts).toBeGreaterThan(windows.length);
      if (rowsMax === 1e6) expect(parts).toBe(windows.length);
    }
    memtables.release();
    table.close();
  },
);

test('a measurement without rows has none', () => {
  const { memtables, table } = filled(1);
  const request = { measurement: 'none', series: Uint32Array.of(0), fields: ['f0'], minTime: 0, maxTime: HOUR_NS };
  const memory = new MemoryRows(memtables, request, WINDOW_NS, 1);
  expect([memory.windows.size, memory.of(0, 0).rows]).toEqual([0, null]);
  expect(memtables.windowRows('none', WINDOW_NS).size).toBe(0);
  memtables.release();
  table.close();
});
