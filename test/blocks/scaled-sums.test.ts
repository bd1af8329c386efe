/** Sums of decimals by a table of quotients (kernel/assembly/aggregate/quotients.ts) against those of the values, bit by bit. */
import { expect, test } from 'vitest';
import { FLOAT } from '../../shards/column.ts';
import { storageKernel } from '../../shards/kernel/storage-kernel.ts';
import { RunBuffer } from '../../shards/query/run-buffer.ts';
import { randomFrom } from './rows.ts';

const SERIES = 40;
const ROWS = 400;
const SCALED = 5;
const SUM = 1;
const kernel = storageKernel();

/** Sums of the runs (first row, row behind the last) of a column, as the kernel decodes and adds it. */
function kernelSums(values: Float64Array, runs: readonly (readonly [number, number])[]): Float64Array {
  const rows = values.length;
  const [column, starts, body, decoded, statistics, runsAt, results] = [
    rows * 8,
    (SERIES + 1) * 4,
    rows * 12,
    rows * 8,
    64,
    runs.length * 16,
    runs.length * 40,
  ].map((bytes) => kernel.alloc(bytes + 256)) as [number, number, number, number, number, number, number];
  const { memory } = kernel;
  new Float64Array(memory.buffer, column, rows).set(values);
  new Uint32Array(memory.buffer, starts, SERIES + 1).set(Array.from({ length: SERIES + 1 }, (_, s) => s * ROWS));
  kernel.encodeOpen(body, 0, rows * 12);
  const end = kernel.encodeColumn(FLOAT, column, 0, starts, SERIES, statistics);
  expect(kernel.decodeForRuns(body, 0, end, FLOAT, starts, SERIES, 0, SERIES, decoded, statistics)).toBe(0);
  expect(kernel.decodedScaled()).toBeTruthy();
  new Uint32Array(memory.buffer, runsAt, runs.length * 4).set(runs.flatMap(([from, to], r) => [from, to, r, 0]));
  const at = (place: number): number => results + place * 8 * runs.length;
  const windows = at(0) + 4 * runs.length;
  kernel.reduceRuns(
    SUM,
    SCALED,
    decoded,
    0,
    column,
    runsAt,
    runs.length,
    0,
    at(0),
    windows,
    at(1),
    at(2),
    at(3),
    at(4),
  );
  const sums = new Float64Array(memory.buffer, at(2), runs.length).slice();
  for (const address of [column, starts, body, decoded, statistics, runsAt, results]) kernel.free(address);
  return sums;
}

/** Walks by steps up to `step` from `low` to `high`, in units of 1 / divisor. */
function walks(random: () => number, low: number, high: number, step: number, divisor: number): Float64Array {
  const values = new Float64Array(SERIES * ROWS);
  let value = low;
  for (let i = 0; i < values.length; i++) {
    if (i % ROWS === 0) value = low + Math.floor(random() * (high - low));
    value = Math.min(high, Math.max(low, value + Math.floor((random() * 2 - 1) * step)));
    values[i] = value / divisor;
  }
  return values;
}

test.each([
  ['all in the table', 0, 10_000, 100, 100],
  ['another divisor', -3_000, 24_000, 300, 1000],
  ['at the ends of the table', -8_192, 24_575, 4_000, 10],
  ['series that leave it', -12_000, 30_000, 5_000, 10],
  ['far from it', 4_000_000, 4_010_000, 100, 100],
  ['beyond 32 bits', 9_000_000_000_000, 9_000_000_010_000, 100, 100],
  ['below it, as if the sum of 32 bits wrapped', -1_073_741_824, -1_073_700_000, 100, 100],
  ['the first divisor again', 0, 10_000, 100, 100],
] as const)('%s', (_, low, high, step, divisor) => {
  const random = randomFrom(low + step);
  const values = walks(random, low, high, step, divisor);
  const runs = Array.from({ length: SERIES }, (_, s) => {
    const from = s * ROWS + Math.floor(random() * 9);
    return [from, from + (s % 5 === 0 ? s : ROWS - 9)] as const;
  }).filter(([from, to]) => to > from);
  const expected = new RunBuffer(0, 'sum', FLOAT, runs.length);
  const times = new Float64Array(values.length);
  runs.forEach(([from, to], r) => {
    expected.add(r, 0, { field: 'f', type: FLOAT, present: null, values }, null, times, from, to);
  });
  // The first columns of a divisor are summed without a table.
  for (let before = 0; before < 5; before++) kernelSums(values, runs);
  const bits = (sums: Float64Array) => [...new BigUint64Array(sums.buffer)];
  expect(bits(kernelSums(values, runs))).toEqual(bits(expected.numbers!));
});
