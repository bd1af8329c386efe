/** `aggregate` over scans against the definition, run by run, computed naively from the points. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BOOLEAN, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../../shards/column.ts';
import { aggregateByScan } from '../../shards/query/aggregate-by-scan.ts';
import { RunBuffer } from '../../shards/query/run-buffer.ts';
import { addRuns, makeStates } from '../../shards/query/state-arrays.ts';
import type { AggregateCall, AggregateRuns } from '../../shards/queryable.ts';
import type { ShardKey } from '../../shards/shard-key.ts';
import { MemoryShard, type Stored } from './memory-shard.ts';

const HOUR = 3_600_000_000_000;
const MINUTE = 60_000_000_000;
const KEY: ShardKey = {
  database: 't',
  databaseGeneration: 1,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 1,
  startNs: 0n,
  endNs: 86_400_000_000_000n,
  number: 0,
};

const FIELDS: Readonly<Record<string, { type: FieldType; make: (n: number) => Stored }>> = {
  f: { type: FLOAT, make: (n) => (n % 7 === 0 ? -0 : n * 1.1 ** (n % 40)) },
  i: { type: INTEGER, make: (n) => BigInt.asIntN(64, BigInt(n) * 1_234_567_890_123_456_789n) },
  u: { type: UNSIGNED, make: (n) => BigInt.asUintN(64, BigInt(n) * 9_876_543_210_987_654_321n) },
  b: { type: BOOLEAN, make: (n) => n % 2 === 0 },
  s: { type: STRING, make: (n) => `s${n % 5}` },
};
const FUNCTIONS: Readonly<Record<string, readonly AggregateCall['fn'][]>> = {
  f: ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread'],
  i: ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread'],
  u: ['count', 'sum', 'mean', 'min', 'max', 'first', 'last', 'spread'],
  b: ['count', 'min', 'max', 'first', 'last'],
  s: ['count', 'first', 'last'],
};
const CALLS: AggregateCall[] = Object.entries(FUNCTIONS).flatMap(([field, fns]) =>
  fns.map((fn) => ({ fn, field, type: FIELDS[field]!.type })),
);

interface Point {
  readonly host: number;
  readonly minute: number;
  /** Number behind the value of each field; null: the point does not have it. */
  readonly fields: Readonly<Record<string, number | null>>;
}

interface Run {
  readonly series: number;
  readonly window: number;
  readonly count: number;
  readonly value: Stored | null;
  readonly second: Stored | null;
  readonly time: number | null;
}

const points = fc.array(
  fc.record<Point>({
    host: fc.integer({ min: 0, max: 6 }),
    minute: fc.integer({ min: 0, max: 5 * 60 - 1 }),
    fields: fc.record(
      Object.fromEntries(Object.keys(FIELDS).map((name) => [name, fc.option(fc.integer({ min: -60, max: 60 }))])),
    ),
  }),
  { minLength: 1, maxLength: 300 },
);

function sumOf(values: readonly Stored[], type: FieldType): Stored {
  if (type !== FLOAT) {
    const total = (values as bigint[]).reduce((a, b) => a + b, 0n);
    return type === UNSIGNED ? BigInt.asUintN(64, total) : BigInt.asIntN(64, total);
  }
  const lanes = [0, 0, 0, 0];
  (values as number[]).forEach((value, i) => {
    lanes[i % 4]! += value;
  });
  return lanes[0]! + lanes[1]! + (lanes[2]! + lanes[3]!);
}

function runOf(series: number, window: number, cells: readonly { time: number; value: Stored }[], call: AggregateCall) {
  const values = cells.map((cell) => cell.value);
  const number = (value: Stored): Stored => (typeof value === 'boolean' ? Number(value) : value);
  const extreme = (sign: number): { time: number; value: Stored } =>
    cells.reduce((best, cell) => ((sign > 0 ? cell.value > best.value : cell.value < best.value) ? cell : best));
  const run = { series, window, count: cells.length, value: null, second: null, time: null };
  const picked = (cell: { time: number; value: Stored }): Run => ({
    ...run,
    value: number(cell.value),
    time: cell.time,
  });
  switch (call.fn) {
    case 'count':
      return run;
    case 'sum':
    case 'mean':
      return { ...run, value: sumOf(values, call.type) };
    case 'spread':
      return { ...run, value: extreme(-1).value, second: extreme(1).value };
    case 'min':
      return picked(extreme(-1));
    case 'max':
      return picked(extreme(1));
    case 'first':
      return picked(cells[0]!);
    case 'last':
      return picked(cells.at(-1)!);
  }
}

function naive(
  shard: MemoryShard,
  stored: ReadonlyMap<string, ReadonlyMap<number, Stored>>,
  ids: Uint32Array,
  offsets: readonly number[],
  call: AggregateCall,
): Run[] {
  const out: Run[] = [];
  for (let storage = 0; storage < 24; storage++) {
    ids.forEach((id, place) => {
      const cells = [...(stored.get(`${shard.keyOf(id)} ${call.field}`) ?? [])]
        .filter(([time]) => Math.floor(time / HOUR) === storage && time >= offsets[0]! && time < offsets.at(-1)!)
        .sort((a, b) => a[0] - b[0])
        .map(([time, value]) => ({ time, value }));
      for (let window = 0; window + 1 < offsets.length; window++) {
        const inside = cells.filter(({ time }) => time >= offsets[window]! && time < offsets[window + 1]!);
        if (inside.length > 0) out.push(runOf(place, window, inside, call));
      }
    });
  }
  return out;
}

function readRun(runs: AggregateRuns, r: number): Run {
  return {
    series: runs.series[r]!,
    window: runs.windows[r]!,
    count: runs.counts[r]!,
    value: runs.numbers?.[r] ?? runs.integers?.[r] ?? runs.strings?.[r] ?? null,
    second: runs.numbers2?.[r] ?? runs.integers2?.[r] ?? null,
    time: runs.times?.[r] ?? null,
  };
}

describe('aggregate by scan', () => {
  it('gives the runs of the definition, in its order, with its bits', () => {
    fc.assert(
      fc.property(points, fc.integer({ min: 1, max: 200 }), fc.integer({ min: 0, max: 90 }), (some, step, first) => {
        const shard = new MemoryShard(KEY);
        const stored = new Map<string, Map<number, Stored>>();
        for (const { host, minute, fields } of some) {
          for (const [name, n] of Object.entries(fields)) {
            if (n === null) continue;
            const { type, make } = FIELDS[name]!;
            const key = `m,host=h${host}`;
            shard.write(key, BigInt(minute * MINUTE), { [name]: { type, value: make(n) } });
            const column = stored.get(`${key} ${name}`) ?? new Map<number, Stored>();
            stored.set(`${key} ${name}`, column.set(minute * MINUTE, make(n)));
          }
        }
        const offsets = [first * MINUTE];
        while (offsets.at(-1)! < 250 * MINUTE) offsets.push(offsets.at(-1)! + step * MINUTE);
        const ids = shard.series('m', null);
        const got: Run[][] = CALLS.map(() => []);
        let rowsRead = 0;
        aggregateByScan(
          shard,
          {
            measurement: 'm',
            series: ids,
            calls: CALLS,
            minTime: offsets[0]!,
            maxTime: offsets.at(-1)! - 1,
            offsets: Float64Array.from(offsets),
            readRows: (rows) => {
              rowsRead += rows;
            },
          },
          (runs) => {
            for (let r = 0; r < runs.length; r++) got[runs.call]!.push(readRun(runs, r));
          },
        );
        CALLS.forEach((call, c) => {
          expect({ call, runs: got[c] }).toEqual({ call, runs: naive(shard, stored, ids, offsets, call) });
        });
        expect(rowsRead).toBeGreaterThanOrEqual(Math.max(...got.map((runs) => runs.reduce((n, r) => n + r.count, 0))));
      }),
      { numRuns: 60 },
    );
  });
});

describe('runs in cells', () => {
  it('integer sums wrap at 64 bits across runs as within one', () => {
    const values = BigInt64Array.from([2n ** 63n - 1n, 2n ** 63n - 1n, 5n, -(2n ** 63n), -1n, 2n ** 32n - 1n]);
    const times = Float64Array.from(values, (_, i) => i);
    const column = { field: 'i', type: INTEGER, present: null, values } as const;
    for (let cut = 0; cut <= values.length; cut++) {
      const runs = new RunBuffer(0, 'sum', INTEGER, 2);
      runs.add(0, 0, column, null, times, 0, cut);
      runs.add(0, 0, column, null, times, cut, values.length);
      const [state] = makeStates([{ fn: 'sum', field: 'i', type: INTEGER }], 1).states;
      addRuns(state!, runs, Uint32Array.of(0), 1);
      expect(state!.integers![0]).toBe(
        BigInt.asIntN(
          64,
          values.reduce((a, b) => a + b),
        ),
      );
      expect(state!.count[0]).toBe(values.length);
    }
  });

  it('of equal picks min and max keep the earliest row, first and last the greater value', () => {
    const column = (values: number[]) =>
      ({ field: 'f', type: FLOAT, present: null, values: Float64Array.from(values) }) as const;
    const both = (fn: 'min' | 'max' | 'first' | 'last', a: [number, number], b: [number, number]) => {
      const runs = new RunBuffer(0, fn, FLOAT, 2);
      runs.add(0, 0, column([a[0]]), null, Float64Array.of(a[1]), 0, 1);
      runs.add(1, 0, column([b[0]]), null, Float64Array.of(b[1]), 0, 1);
      const [state] = makeStates([{ fn, field: 'f', type: FLOAT }], 1).states;
      addRuns(state!, runs, Uint32Array.of(0, 0), 1);
      return [state!.numbers![0], state!.times![0]];
    };
    expect(both('min', [1, 9], [1, 5])).toEqual([1, 5]);
    expect(both('max', [1, 5], [1, 9])).toEqual([1, 5]);
    expect(both('first', [1, 5], [2, 5])).toEqual([2, 5]);
    expect(both('last', [3, 5], [2, 5])).toEqual([3, 5]);
    expect(both('last', [3, 5], [2, 6])).toEqual([2, 6]);
  });
});
