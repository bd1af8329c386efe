import { afterEach, expect, it } from 'vitest';
import { freeBuffers } from '../../server/freed-buffers.ts';
import { FLOAT, STRING } from '../../shards/column.ts';
import type { RowSet } from '../../shards/row-set.ts';
import { buffersOf } from '../../shards/used-rows.ts';
import { Bench, versionAt } from './helpers.ts';

const ROWS = 10_000;

function rowsOf(values: Float64Array): RowSet {
  return {
    series: new Uint32Array(ROWS),
    seriesStart: new Uint32Array(ROWS + 1),
    times: new Float64Array(ROWS),
    versions: new Uint32Array(ROWS),
    versionTable: [versionAt(0)],
    columns: [
      { field: 'f', type: FLOAT, present: null, values },
      { field: 's', type: STRING, present: new Uint8Array(ROWS), values: new Array<string>(ROWS).fill('') },
    ],
  };
}

let bench: Bench | null = null;
afterEach(() => bench?.remove());

it('of used rows the large buffers that nothing else shares are to be freed, each once', () => {
  const shared = new Float64Array(ROWS);
  const used = rowsOf(shared);
  const view = { ...rowsOf(shared.subarray(5)), times: used.times.subarray(1, 3) };
  const own = [used.times, used.versions, used.columns[1]!.present!].map((array) => array.buffer);
  expect(new Set(buffersOf([used, used], [{ ...used, times: new Float64Array(1), versions: used.versions }]))).toEqual(
    new Set([used.times.buffer]),
  );
  expect(buffersOf([used, view])).toHaveLength(own.length + 1 + 2);
  expect(buffersOf([used], [view])).toEqual([used.versions.buffer, used.columns[1]!.present!.buffer]);
  freeBuffers(buffersOf([used]));
  // The lists of series may be a block's.
  expect([used.times.length, used.versions.length, shared.length, used.series.length]).toEqual([0, 0, 0, ROWS]);
});

it('a merge frees all that it decoded, and what is left is what was written', () => {
  const freed: ArrayBuffer[] = [];
  bench = new Bench({}, (buffers) => {
    freed.push(...buffers);
    freeBuffers(buffers);
  });
  const runs = 5;
  const rows = 2000;
  for (let run = 0; run < runs; run++) {
    bench.writeRows(
      versionAt(run),
      Array.from({ length: rows }, (_, i) => ({
        key: `m,host=h${i % 40}`,
        time: i * runs + run,
        fields: { f: i / 7 },
      })),
    );
    bench.shard().flush();
  }
  // What flushes put their columns into.
  const before = freed.length;
  expect(before).toBeGreaterThan(0);
  bench.shard().tick(1);
  bench.shard().tick(1_000_000_000);
  while (bench.shard().compactStep());
  // Times, versions and values, of each run and of what was made of them.
  expect(freed.length - before).toBeGreaterThanOrEqual(3 * (runs + 1));
  expect(bench.shard().sizes()).toMatchObject({ rows: runs * rows });
  const seen: number[] = [];
  const series = bench.shard().series('m', null);
  bench.shard().scan({ measurement: 'm', series, fields: ['f'], minTime: 0, maxTime: runs * rows }, (slice) => {
    seen.push(...slice.times);
    return true;
  });
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: runs * rows }, (_, i) => i));
});
