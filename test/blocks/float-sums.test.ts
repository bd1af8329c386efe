/** Sums of floats: the kernel's ways (kernel/assembly/aggregate/float-sums.ts, walk-sums.ts) against their definition, bit by bit. */
import { expect, test } from 'vitest';
import { FLOAT } from '../../shards/column.ts';
import { storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { sumFloats } from '../../shards/query/float-sum.ts';
import { RunBuffer } from '../../shards/query/run-buffer.ts';
import { randomFrom } from './rows.ts';

const SCALED = 5;
const SUM = 1;
const kernel = storageKernel();

type Random = () => number;
type Run = readonly [from: number, to: number];

interface Sums {
  /** From the values. */
  readonly floats: Float64Array;
  /** From the whole numbers of the block; null: it has none. */
  readonly scaled: Float64Array | null;
  /** From their differences; null: they have to be restored for it. */
  readonly opened: Float64Array | null;
}

/** Sums of the runs of a column of series of `length` rows, as the kernel makes them. */
function kernelSums(values: Float64Array, length: number, runs: readonly Run[], mask: Uint8Array | null = null): Sums {
  const rows = values.length;
  const series = rows / length;
  const taken: number[] = [];
  const room = (bytes: number): number => {
    taken.push(kernel.alloc(bytes + 256));
    return taken.at(-1)!;
  };
  const [column, starts, body, decoded, statistics, runsAt, results, present] = [
    rows * 8,
    (series + 1) * 4,
    rows * 16 + 1024,
    rows * 8,
    64,
    runs.length * 16,
    runs.length * 40,
    rows,
  ].map(room) as [number, number, number, number, number, number, number, number];
  const { memory } = kernel;
  new Float64Array(memory.buffer, column, rows).set(values);
  new Uint32Array(memory.buffer, starts, series + 1).set(Array.from({ length: series + 1 }, (_, s) => s * length));
  new Uint32Array(memory.buffer, runsAt, runs.length * 4).set(runs.flatMap(([from, to], r) => [from, to, r, 0]));
  if (mask !== null) new Uint8Array(memory.buffer, present, rows).set(mask);
  const at = (place: number): number => results + place * 8 * runs.length;
  const windows = at(0) + 4 * runs.length;
  const sums = (): Float64Array => new Float64Array(memory.buffer, at(2), runs.length).slice();
  const reduced = (type: number, from: number): Float64Array => {
    const held = mask === null ? 0 : present;
    const [picks, seconds] = [at(3), at(4)];
    kernel.reduceRuns(
      SUM,
      type,
      from,
      held,
      column,
      runsAt,
      runs.length,
      0,
      at(0),
      windows,
      at(1),
      at(2),
      picks,
      seconds,
    );
    return sums();
  };
  const floats = reduced(FLOAT, column);
  let scaled: Float64Array | null = null;
  let opened: Float64Array | null = null;
  kernel.encodeOpen(body, 0, rows * 16);
  const end = kernel.encodeColumn(FLOAT, column, 0, starts, series, statistics);
  if (mask === null && kernel.openScaled(body, 0, end, starts, series, 0, series, 0)) {
    const found = kernel.sumOpened(starts, 0, series, runsAt, runs.length, 0, at(0), windows, at(1), at(2));
    if (found >= 0) {
      expect(found).toBe(runs.length);
      opened = sums();
    }
    kernel.restoreScaled(starts, 0, series, decoded);
    scaled = reduced(SCALED, decoded);
  }
  for (const address of taken) kernel.free(address);
  return { floats, scaled, opened };
}

function expectedSums(values: Float64Array, runs: readonly Run[], mask: Uint8Array | null = null): Float64Array {
  const expected = new RunBuffer(0, 'sum', FLOAT, runs.length);
  const times = new Float64Array(values.length);
  for (const [r, [from, to]] of runs.entries())
    expected.add(r, 0, { field: 'f', type: FLOAT, present: null, values }, mask, times, from, to);
  return expected.numbers!;
}

const bits = (sums: Float64Array | null) => (sums === null ? null : [...new BigUint64Array(sums.buffer)]);

/** Runs of every length one behind the other, with rows left out before, between and behind them. */
function cutIn(random: Random, rows: number, length: number): Run[] {
  const runs: Run[] = [];
  for (let start = 0; start < rows; start += length) {
    const longest = random() < 0.5 ? 12 : length;
    for (let from = start + Math.floor(random() * 5); from < start + length; ) {
      const to = Math.min(start + length, from + 1 + Math.floor(random() * longest));
      runs.push([from, to]);
      from = to + (random() < 0.3 ? Math.floor(random() * 7) : 0);
    }
  }
  return runs;
}

/** Walks by steps up to `step` from `low` to `high`, in units of 1 / divisor. */
function walks(random: Random, rows: number, length: number, [low, high, step, divisor]: Walk): Float64Array {
  const values = new Float64Array(rows);
  let value = low;
  for (let i = 0; i < rows; i++) {
    if (i % length === 0) value = low + Math.floor(random() * (high - low));
    value = Math.min(high, Math.max(low, value + Math.floor((random() * 2 - 1) * step)));
    values[i] = value / divisor;
  }
  return values;
}

type Walk = readonly [low: number, high: number, step: number, divisor: number];

test.each<[what: string, rows: number, length: number, walk: Walk, opens: boolean]>([
  ['percents', 16_000, 400, [0, 10_000, 100, 100], true],
  ['below zero', 16_000, 400, [-3_000, 24_000, 100, 1000], true],
  ['whole numbers that jump', 16_000, 400, [0, 100, 200, 1], true],
  ['one value each', 400, 1, [0, 10_000, 100, 100], true],
  ['short series', 1_000, 5, [0, 10_000, 100, 100], true],
  ['a long series', 16_000, 16_000, [0, 1_000_000, 100, 100], true],
  ['steps beyond 13 bits', 16_000, 1_600, [0, 1_000_000_000, 500_000, 10_000], true],
  ['far from zero', 16_000, 400, [4_000_000, 4_010_000, 100, 100], true],
  ['beyond 32 bits', 16_000, 400, [9_000_000_000_000, 9_000_000_010_000, 100, 100], false],
  ['some sums too large', 16_000, 400, [200_000_000_000, 200_000_010_000, 100, 100], false],
  ['no sum too large', 16_000, 400, [50_000_000_000, 50_000_010_000, 100, 100], true],
  ['far below zero', 16_000, 400, [-1_073_741_824, -1_073_700_000, 100, 100], true],
  ['six places', 16_000, 400, [0, 1_000_000, 1000, 1_000_000], false],
])('%s', (_, rows, length, walk, opens) => {
  const random = randomFrom(rows + walk[1]);
  const values = walks(random, rows, length, walk);
  const runs = cutIn(random, rows, length);
  const expected = bits(expectedSums(values, runs));
  const { floats, scaled, opened } = kernelSums(values, length, runs);
  expect(bits(floats)).toEqual(expected);
  expect(bits(scaled)).toEqual(expected);
  expect(bits(opened)).toEqual(opens ? expected : null);
});

test('some runs of a block of six places have fewer', () => {
  const random = randomFrom(6);
  const values = walks(random, 16_000, 400, [0, 1_000_000, 1000, 1_000_000]);
  for (let i = 4_000; i < 8_000; i++) values[i] = Math.round(values[i]! * 100) / 100;
  const runs = cutIn(random, 16_000, 400);
  const { floats, scaled } = kernelSums(values, 400, runs);
  const expected = bits(expectedSums(values, runs));
  expect(bits(floats)).toEqual(expected);
  expect(bits(scaled)).toEqual(expected);
});

test('steady rates, of which the differences of differences are stored', () => {
  const values = Float64Array.from({ length: 4_000 }, (_, i) => (7 * (i % 400) + (i % 3)) / 10);
  const runs = cutIn(randomFrom(2), 4_000, 400);
  const expected = bits(expectedSums(values, runs));
  const { scaled, opened } = kernelSums(values, 400, runs);
  expect(bits(scaled)).toEqual(expected);
  expect(opened === null || bits(opened)!.join() === expected!.join()).toBe(true);
});

test('numbers that jump from end to end of what a narrow column holds', () => {
  const random = randomFrom(31);
  let opens = 0;
  for (let round = 0; round < 300; round++) {
    const jitter = 1 + Math.floor(random() * 600);
    const divisor = 10 ** Math.floor(random() * 5);
    const length = 4 + Math.floor(random() * 400);
    const irregular = random() < 0.5;
    const values = Float64Array.from({ length: 3 * length }, (_, i) => {
      const near = Math.floor(random() * jitter);
      return ((irregular ? random() < 0.5 : i % 2 === 0) ? near : 2 ** 31 - 1 - near) / divisor;
    });
    const runs = cutIn(random, values.length, length);
    const expected = bits(expectedSums(values, runs));
    const { floats, scaled, opened } = kernelSums(values, length, runs);
    expect(bits(floats)).toEqual(expected);
    if (scaled !== null) expect(bits(scaled)).toEqual(expected);
    if (opened === null) continue;
    opens++;
    expect(bits(opened)).toEqual(expected);
  }
  expect(opens).toBeGreaterThan(100);
});

const ODD = [-0, 0, 1e-5, 0.1 + 0.2, 1 / 3, 2 ** 52, -(2 ** 60), Number.NaN, Number.POSITIVE_INFINITY, 1e300, 12.3456];

test('values of every kind, some of them absent', () => {
  const random = randomFrom(5);
  const rows = 8_000;
  for (const share of [0, 0.001, 0.05, 1]) {
    const values = Float64Array.from({ length: rows }, () =>
      random() < share ? ODD[Math.floor(random() * ODD.length)]! : Math.floor(random() * 10_000) / 100,
    );
    const runs = cutIn(random, rows, rows);
    expect(bits(kernelSums(values, rows, runs).floats)).toEqual(bits(expectedSums(values, runs)));
    const mask = Uint8Array.from(values, () => (random() < 0.7 ? 1 : 0));
    const held = runs.filter(([from, to]) => mask.subarray(from, to).includes(1));
    expect(bits(kernelSums(values, rows, held, mask).floats)).toEqual(bits(expectedSums(values, held, mask)));
  }
});

test('four decimals and more are added exactly', () => {
  const random = randomFrom(9);
  for (let round = 0; round < 2_000; round++) {
    const places = Math.floor(random() * 5);
    const size = 10 ** Math.floor(random() * 8);
    const wholes = Array.from({ length: 4 + Math.floor(random() * 60) }, () => Math.round((random() - 0.3) * size));
    const values = Float64Array.from(wholes, (whole) => Number(`${whole}e-${places}`));
    const sum = wholes.reduce((total, whole) => total + BigInt(whole), 0n);
    expect(sumFloats(values, null, 0, values.length, values.length)).toBe(Number(`${sum}e-${places}`));
  }
});

test('of three values, and of those that are no decimals, four sums are taken', () => {
  expect(sumFloats(Float64Array.of(0.1, 0.2, 0.3), null, 0, 3, 3)).toBe(0.1 + 0.2 + 0.3);
  const values = Float64Array.of(0.1, 0.2, 0.3, 1 / 3, 0.7, 0.9);
  expect(sumFloats(values, null, 0, 6, 6)).toBe(0.1 + 0.7 + (0.2 + 0.9) + (0.3 + 1 / 3));
  // Too large for any sum of some of them to be exact.
  const large = Float64Array.of(1e12 + 0.5, 0.1, 0.2, 0.3);
  expect(sumFloats(large, null, 0, 4, 4)).toBe(1e12 + 0.5 + 0.1 + (0.2 + 0.3));
});
