/**
 * Functions from one series of points to another: derivative and the like, as InfluxDB's stream reducers compute them.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { difference } from './functions.ts';
import type { Point } from './groups.ts';

export const TRANSFORMATIONS: ReadonlySet<string> = new Set([
  'derivative',
  'non_negative_derivative',
  'difference',
  'non_negative_difference',
  'moving_average',
  'cumulative_sum',
  'elapsed',
]);

/** Windows before the range that a transformation of aggregates also reads; InfluxDB takes one, moving averages too. */
export function lookbackWindows(fn: string): number {
  return fn === 'cumulative_sum' ? 0 : 1;
}

/** `unitNs`: of derivative and elapsed; `count`: points of a moving average. Points without a value are passed over. */
export function transform(
  fn: string,
  points: readonly Point[],
  unitNs: bigint,
  count: number,
  descending: boolean,
): Point[] {
  const valued = points.filter((point) => point.value !== null);
  if (fn === 'cumulative_sum') return cumulativeSum(valued);
  if (fn === 'moving_average') return movingAverage(firstOfEachTime(valued), count);
  if (fn === 'elapsed') return pairs(valued, (before, after) => (after.time - before.time) / unitNs);
  const nonNegative = fn.startsWith('non_negative_');
  return pairs(firstOfEachTime(valued), (before, after) => {
    const change = difference(after.value, before.value);
    if (nonNegative && (change as number) < 0) return null;
    if (fn.endsWith('difference')) return change;
    const elapsed = descending ? before.time - after.time : after.time - before.time;
    return Number(change) / (Number(elapsed) / Number(unitNs));
  });
}

function pairs(points: readonly Point[], between: (before: Point, after: Point) => Scalar): Point[] {
  const out: Point[] = [];
  for (let i = 1; i < points.length; i++) {
    const value = between(points[i - 1]!, points[i]!);
    if (value !== null) out.push({ time: points[i]!.time, value, aux: null });
  }
  return out;
}

/** Joined series may have several points at a time; only the first counts. */
function firstOfEachTime(points: readonly Point[]): Point[] {
  return points.filter((point, i) => i === 0 || points[i - 1]!.time !== point.time);
}

function movingAverage(points: readonly Point[], count: number): Point[] {
  const out: Point[] = [];
  let sum = 0;
  for (let i = 0; i < points.length; i++) {
    sum += Number(points[i]!.value);
    if (i >= count) sum -= Number(points[i - count]!.value);
    if (i >= count - 1) out.push({ time: points[i]!.time, value: sum / count, aux: null });
  }
  return out;
}

function cumulativeSum(points: readonly Point[]): Point[] {
  let sum: number | bigint | null = null;
  return points.map((point) => {
    const value = point.value as number | bigint;
    if (sum === null) sum = value;
    else if (typeof sum === 'bigint' && typeof value === 'bigint') sum = BigInt.asIntN(64, sum + value);
    else sum = Number(sum) + Number(value);
    return { time: point.time, value: sum, aux: null };
  });
}
