/** Where the next rows of some series lie, against what a scan finds there. */
import { afterEach, expect, test } from 'vitest';
import type { ScanRequest } from '../../shards/queryable.ts';
import { randomFrom } from '../blocks/rows.ts';
import { Bench, HOUR_NS, KEY, type PlainRow, versionAt } from './helpers.ts';

let bench: Bench;
afterEach(() => bench.remove());

const SPAN = Number(KEY.endNs - KEY.startNs);
const WINDOWS = Math.floor(SPAN / HOUR_NS);

/** Ascending times of the visible rows. */
function timesOf(request: Omit<ScanRequest, 'fields'>): number[] {
  const times: number[] = [];
  bench.shard().scan({ ...request, fields: ['f'], descending: false }, (slice) => {
    times.push(...slice.times);
    return true;
  });
  return times.sort((a, b) => a - b);
}

test('they lie in one window, and none before it', () => {
  bench = new Bench({ blockBytesTarget: 300, compactionRowsMax: 60 });
  const random = randomFrom(3);
  for (let n = 1; n < 40; n++) {
    const window = Math.floor(random() * WINDOWS);
    const rows = Array.from(
      { length: 1 + Math.floor(random() * 30) },
      (): PlainRow => ({
        key: `${random() < 0.2 ? 'other' : 'm'},host=h${Math.floor(random() * 9)}`,
        time: Math.min(SPAN - 1, Math.floor((window + random() * (random() < 0.2 ? 3 : 1)) * HOUR_NS)),
        fields: { f: random() },
      }),
    );
    expect(bench.writeRows(versionAt(n), rows)).toBeNull();
    if (random() < 0.3) bench.shard().flush();
    const shard = bench.shard();
    const series = shard.series('m', null);
    for (let round = 0; round < 20; round++) {
      const ends = [Math.floor(random() * SPAN), Math.floor(random() * SPAN)].sort((a, b) => a - b);
      const descending = random() < 0.5;
      const request = { measurement: 'm', series, minTime: ends[0]!, maxTime: ends[1]!, descending };
      const ahead = shard.rowsAhead(request);
      const times = timesOf(request);
      if (ahead === null) {
        expect(times).toEqual([]);
        continue;
      }
      expect(ahead.rows).toBeGreaterThan(0);
      expect(ahead.minTime).toBeGreaterThanOrEqual(request.minTime);
      expect(ahead.maxTime).toBeLessThanOrEqual(request.maxTime);
      expect(Math.floor(ahead.minTime / HOUR_NS)).toBe(Math.floor(ahead.maxTime / HOUR_NS));
      const outside = times.filter((time) => (descending ? time > ahead.maxTime : time < ahead.minTime));
      expect(outside).toEqual([]);
    }
  }
  expect(
    bench.shard().rowsAhead({ measurement: 'n', series: new Uint32Array(0), minTime: 0, maxTime: SPAN }),
  ).toBeNull();
});

test('their number is of the wanted series, and of the part of the window that is asked for', () => {
  bench = new Bench();
  const rows = Array.from({ length: 400 }, (_, i): PlainRow => {
    return { key: `m,host=h${i % 4}`, time: HOUR_NS + Math.floor(i / 4) * 36e9, fields: { f: i } };
  });
  for (const isFlushed of [false, true]) {
    if (isFlushed) bench.shard().flush();
    else expect(bench.writeRows(versionAt(1), rows)).toBeNull();
    const shard = bench.shard();
    const all = { measurement: 'm', series: shard.series('m', null), minTime: 0, maxTime: SPAN };
    expect(shard.rowsAhead(all)).toEqual({ minTime: HOUR_NS, maxTime: HOUR_NS + 99 * 36e9, rows: 400 });
    expect(shard.rowsAhead({ ...all, series: all.series.subarray(0, 1) })!.rows).toBe(100);
    const half = shard.rowsAhead({ ...all, minTime: HOUR_NS + 49.5 * 36e9 })!;
    expect(half.minTime).toBe(HOUR_NS + 49.5 * 36e9);
    expect(half.rows).toBeCloseTo(200, 3);
  }
});
