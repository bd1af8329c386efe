/** Aggregates of a shard against the same by scan, run by run, over layouts of every kind. */
import { afterEach, expect, test } from 'vitest';
import type { Batch } from '../../shards/batch.ts';
import {
  BOOLEAN,
  type Column,
  type FieldType,
  FLOAT,
  INTEGER,
  makeValues,
  STRING,
  UNSIGNED,
} from '../../shards/column.ts';
import { aggregateByScan } from '../../shards/query/aggregate-by-scan.ts';
import type { AggregateCall, AggregateRequest, AggregateRuns } from '../../shards/queryable.ts';
import { hashSeriesKey } from '../../shards/series-key.ts';
import { Bench, deleteBatch, HOUR_NS, KEY, keysOf, versionAt } from '../storage/helpers.ts';
import { randomFrom } from './rows.ts';

let bench: Bench;
afterEach(() => bench.remove());

const SECOND = 1e9;
const TYPES: Record<string, FieldType> = { f: FLOAT, g: FLOAT, i: INTEGER, u: UNSIGNED, b: BOOLEAN, s: STRING };
const FUNCTIONS = ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread'] as const;
const ODD = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, 0.1];

type Random = () => number;

/** `density`: share of rows that have a field; `kinds`: whether the field g is now and then an integer. */
function batchOf(
  random: Random,
  version: string,
  keys: readonly string[],
  times: readonly number[],
  density: number,
  odd: boolean,
): Batch {
  const rows = keys.flatMap((key) => times.map((time) => ({ key, time })));
  const columns = Object.entries(TYPES).map(([field, declared]): Column => {
    const type = field === 'g' && odd ? INTEGER : declared;
    const values = makeValues(type, rows.length);
    rows.forEach((_, i) => {
      if (values instanceof Float64Array)
        values[i] =
          field === 'g' && random() < 0.02 ? ODD[Math.floor(random() * 5)]! : Math.floor(random() * 5000) / 100;
      else if (values instanceof Uint8Array) values[i] = random() < 0.5 ? 1 : 0;
      else if (Array.isArray(values)) values[i] = `s${Math.floor(random() * 5)}`;
      else values[i] = BigInt(Math.floor(random() * 1e6)) * (random() < 0.1 ? 1_000_000_007n : 1n);
    });
    const present = density === 1 ? null : Uint8Array.from(rows, () => (random() < density ? 1 : 0));
    return { field, type, present, values };
  });
  const group = {
    measurement: 'm',
    rowSeries: Uint32Array.from(rows, ({ key }) => keys.indexOf(key)),
    times: Float64Array.from(rows, ({ time }) => time),
    columns: columns.sort((a, b) => (a.field < b.field ? -1 : 1)),
  };
  return { kind: 'write', shard: KEY, version, series: keys.map((key) => hashSeriesKey('seed', key)), groups: [group] };
}

/** The runs of each call as text, floats by their bits. */
function runsOf(calls: readonly AggregateCall[], run: (visit: (runs: AggregateRuns) => void) => void): string[][] {
  const bits = new DataView(new ArrayBuffer(8));
  const text = (value: number | bigint | string | undefined): string => {
    if (typeof value !== 'number') return String(value);
    bits.setFloat64(0, value);
    return Number.isNaN(value) ? 'NaN' : bits.getBigUint64(0).toString(16);
  };
  const found: string[][] = calls.map(() => []);
  run((runs) => {
    for (let r = 0; r < runs.length; r++) {
      const value = runs.numbers?.[r] ?? runs.integers?.[r] ?? runs.strings?.[r];
      const second = runs.numbers2?.[r] ?? runs.integers2?.[r];
      const parts = [runs.series[r], runs.windows[r], runs.counts[r], text(value), text(second), runs.times?.[r]];
      found[runs.call]!.push(parts.join(' '));
    }
  });
  return found;
}

/** By series the value and time of the run that a pick over all runs takes. */
function pickedOf(runs: readonly string[], fn: 'first' | 'last'): Map<string, string> {
  const picked = new Map<string, { time: number; value: string }>();
  for (const run of runs) {
    const [series, , , value, , at] = run.split(' ');
    const time = Number(at);
    const known = picked.get(series!);
    if (known === undefined || (fn === 'last' ? time > known.time : time < known.time))
      picked.set(series!, { time, value: value! });
  }
  return new Map(
    [...picked].sort(([a], [b]) => (a < b ? -1 : 1)).map(([s, { time, value }]) => [s, `${time} ${value}`]),
  );
}

test.each(Array.from({ length: 30 }, (_, n) => n + 1))(
  'aggregates do not depend on the way they are taken (seed %i)',
  (seed) => {
    const random = randomFrom(seed);
    const pick = (below: number): number => Math.floor(random() * below);
    bench = new Bench({ blockBytesTarget: 300 + pick(6000), blockCacheBytesMax: 5000 + pick(100_000) });
    const keys = Array.from({ length: 1 + pick(40) }, (_, n) => `m,host=h${n}`);
    const density = random() < 0.5 ? 1 : 0.7;
    let version = 0;
    const write = (names: readonly string[], times: readonly number[], odd = false): void => {
      const rows = names.flatMap((key) => times.map((time) => ({ key, time, fields: {} })));
      expect(bench.write(batchOf(random, versionAt(version++), names, times, density, odd), keysOf(rows))).toBeNull();
    };
    for (let hour = 0; hour < 3; hour++) {
      for (let minute = 0; minute < 60; minute += 15) {
        write(
          keys,
          Array.from({ length: 30 }, (_, n) => hour * HOUR_NS + (minute * 60 + n * 30) * SECOND),
        );
      }
      if (random() < 0.8) bench.shard().flush();
    }
    const some = keys.filter(() => random() < 0.3);
    if (seed % 3 === 0 && some.length > 0) write(some, [90 * SECOND, HOUR_NS + 30 * SECOND]);
    if (seed % 4 === 0 && some.length > 0) write(some, [HOUR_NS + 45 * SECOND], true);
    if (random() < 0.7) bench.shard().flush();
    if (seed % 5 === 0) {
      const condition = { op: '=' as const, key: 'host', value: `h${pick(keys.length)}` };
      bench.write(deleteBatch(versionAt(version++), { condition, minTime: 0, maxTime: 2 * HOUR_NS + 100 * SECOND }));
    }
    if (random() < 0.5) {
      bench.nowMs += 700_000;
      while (bench.step());
    }
    const shard = bench.shard();
    for (let query = 0; query < 12; query++) {
      const series = shard.series('m', null).filter(() => query % 3 === 0 || random() < 0.4);
      const [a, b] = [pick(3 * HOUR_NS), pick(3 * HOUR_NS)].map((time) =>
        query % 4 === 0 ? time : Math.floor(time / SECOND) * SECOND,
      );
      const [minTime, maxTime] = query % 4 === 1 ? [0, 24 * HOUR_NS - 1] : [Math.min(a!, b!), Math.max(a!, b!)];
      const step = [24 * HOUR_NS, HOUR_NS, 10 * 60 * SECOND, 77 * SECOND][query % 4]!;
      const offsets = [minTime];
      while (offsets.at(-1)! <= maxTime) offsets.push(Math.min(offsets.at(-1)! + step, maxTime + 1));
      const calls = FUNCTIONS.flatMap((fn) =>
        Object.entries(TYPES)
          .filter(([, type]) => type < STRING || fn === 'count' || fn === 'first' || fn === 'last')
          .map(([field, type]): AggregateCall => ({ fn, field, type })),
      ).filter(({ field }) => (query % 2 === 0 ? field !== 's' : true) && random() < 0.5);
      const request: AggregateRequest = {
        measurement: 'm',
        series,
        calls: query % 5 === 4 ? [{ fn: 'count', field: 'f', type: FLOAT }] : calls,
        minTime,
        maxTime,
        offsets: Float64Array.from(offsets),
        readRows: () => {},
      };
      const expected = runsOf(request.calls, (visit) => aggregateByScan(shard, request, visit));
      expect(
        runsOf(request.calls, (visit) => shard.aggregate(request, visit)),
        `query ${query}`,
      ).toEqual(expected);
      const fn = query % 2 === 0 ? 'last' : 'first';
      const ends = { ...request, offsets: Float64Array.of(minTime, maxTime + 1) };
      const picks = { ...ends, calls: Object.entries(TYPES).map(([field, type]) => ({ fn, field, type }) as const) };
      const picked = runsOf(picks.calls, (visit) => shard.aggregate(picks, visit)).map((runs) => pickedOf(runs, fn));
      const allPicked = runsOf(picks.calls, (visit) => aggregateByScan(shard, picks, visit));
      expect(picked, `${fn} ${query}`).toEqual(allPicked.map((runs) => pickedOf(runs, fn)));
      // Of floats alone they are remembered with their block.
      const asked = [1, 2].map(() => {
        let rows = 0;
        const readRows = (more: number): void => {
          rows += more;
        };
        const floats = { ...ends, calls: [{ fn, field: 'f', type: FLOAT }] as const, readRows };
        const [runs] = runsOf(floats.calls, (visit) => shard.aggregate(floats, visit));
        expect(pickedOf(runs!, fn), `${fn} of floats ${query}`).toEqual(pickedOf(allPicked[0]!, fn));
        return { rows, runs };
      });
      expect(asked[1], `${fn} again ${query}`).toEqual(asked[0]);
    }
  },
);

test('the newest values of a block are decoded once, count as its bytes, and go with it', () => {
  bench = new Bench({ blockCacheBytesMax: 1 << 20 });
  const keys = Array.from({ length: 30 }, (_, n) => `m,host=h${n}`);
  const times = Array.from({ length: 60 }, (_, n) => n * 30 * SECOND);
  const write = (version: number, at: readonly number[]): void => {
    const rows = keys.flatMap((key) => at.map((time) => ({ key, time, fields: {} })));
    const batch = batchOf(randomFrom(version), versionAt(version), keys, at, 1, false);
    expect(bench.write(batch, keysOf(rows))).toBeNull();
    bench.shard().flush();
  };
  write(0, times);
  const shard = bench.shard();
  const ask = (fn: 'first' | 'last', series = shard.series('m', null)): string[][] => {
    const calls = [{ fn, field: 'f', type: FLOAT }] as const;
    const offsets = Float64Array.of(0, 24 * HOUR_NS);
    const request = { measurement: 'm', series, calls, minTime: 0, maxTime: 24 * HOUR_NS - 1, offsets };
    const reading = { ...request, readRows: () => {} };
    const found = runsOf(calls, (visit) => shard.aggregate(reading, visit));
    expect(found).toEqual(runsOf(calls, (visit) => aggregateByScan(shard, reading, visit)));
    return found;
  };
  const bytes = (): number => bench.engine.blockCache.bytes;
  // Of a few series nothing is remembered.
  ask('last', shard.series('m', null).subarray(0, 3));
  const before = bytes();
  const newest = ask('last');
  expect(bytes()).toBeGreaterThan(before + keys.length * 24);
  const after = bytes();
  expect(ask('last')).toEqual(newest);
  expect(ask('last', shard.series('m', null).subarray(5, 25))[0]).toHaveLength(20);
  expect(bytes()).toBe(after);
  ask('first');
  expect(bytes()).toBeGreaterThan(after);
  write(1, [times.at(-1)!]);
  bench.nowMs += 700_000;
  while (bench.step());
  expect(ask('last')).not.toEqual(newest);
});

test('a block with more series than results are held at a time is counted behind a smaller one', () => {
  const random = randomFrom(1);
  bench = new Bench({ blockBytesTarget: 1 << 22 });
  const keys = Array.from({ length: 3000 }, (_, n) => `m,host=h${n}`);
  const batches: [readonly string[], number][] = [
    [keys.slice(0, 10), 0],
    [keys, HOUR_NS],
  ];
  batches.forEach(([names, time], version) => {
    const rows = names.map((key) => ({ key, time, fields: {} }));
    expect(bench.write(batchOf(random, versionAt(version), names, [time], 1, false), keysOf(rows))).toBeNull();
  });
  bench.shard().flush();
  const shard = bench.shard();
  const request: AggregateRequest = {
    measurement: 'm',
    series: shard.series('m', null),
    calls: [{ fn: 'count', field: 'f', type: FLOAT }],
    minTime: 0,
    maxTime: 24 * HOUR_NS - 1,
    offsets: Float64Array.of(0, 24 * HOUR_NS),
    readRows: () => {},
  };
  const counted = runsOf(request.calls, (visit) => shard.aggregate(request, visit));
  expect(counted).toEqual(runsOf(request.calls, (visit) => aggregateByScan(shard, request, visit)));
  expect(counted[0]).toHaveLength(3010);
});
