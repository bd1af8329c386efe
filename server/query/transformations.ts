/**
 * Functions from one series of points to another: derivative and the like, as InfluxDB's stream reducers compute them.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { Steps } from '../../shards/steps.ts';
import { inRanges, Pace } from '../turns.ts';
import { difference } from './functions.ts';
import type { Point } from './groups.ts';
import { holtWinters } from './holt-winters.ts';
import { indicatorOf, TECHNICAL_ANALYSIS, type WarmUp } from './technical-analysis.ts';

export const TRANSFORMATIONS: ReadonlySet<string> = new Set([
  'derivative',
  'non_negative_derivative',
  'difference',
  'non_negative_difference',
  'moving_average',
  'cumulative_sum',
  'elapsed',
  'holt_winters',
  'holt_winters_with_fit',
  ...TECHNICAL_ANALYSIS,
]);

/** Windows before the range that a transformation of aggregates also reads; InfluxDB takes one, moving averages too. */
export function lookbackWindows(fn: string): number {
  return fn === 'cumulative_sum' || isForecast({ name: fn }) ? 0 : 1;
}

/** Those that InfluxDB has the shards read for it, where subqueries look back as well. */
export function readBackWindows({ name, parameter }: Pick<Transformation, 'name' | 'parameter'>): number {
  if (name === 'moving_average' || TECHNICAL_ANALYSIS.has(name)) return parameter;
  return isForecast({ name }) ? 0 : 1;
}

export interface Transformation {
  readonly name: string;
  /** Points of a moving average, or to come. */
  readonly parameter: number;
  readonly further: readonly (number | string)[];
}

export function isForecast({ name }: { readonly name: string }): boolean {
  return name.startsWith('holt_winters');
}

export interface Spacing {
  /** Of derivative and elapsed. */
  readonly unitNs: bigint;
  /** Of the windows; 0 without. */
  readonly intervalNs: bigint;
  readonly descending: boolean;
}

/** Points without a value are passed over. In short steps. */
export function* transform(transformation: Transformation, points: readonly Point[], spacing: Spacing): Steps<Point[]> {
  const valued = yield* chosen(points, (point) => point.value !== null);
  const { name, parameter, further } = transformation;
  if (!isForecast(transformation)) return yield* transformed(transformation, valued, spacing);
  return yield* holtWinters(valued, {
    ahead: parameter,
    season: Number(further[0]),
    withFit: name.endsWith('fit'),
    intervalNs: spacing.intervalNs,
  });
}

function* transformed(
  { name: fn, parameter, further }: Transformation,
  valued: readonly Point[],
  { unitNs, descending }: Spacing,
): Steps<Point[]> {
  if (TECHNICAL_ANALYSIS.has(fn)) return yield* indicated(fn, valued, parameter, further);
  if (fn === 'cumulative_sum') return yield* cumulativeSum(valued);
  if (fn === 'moving_average') return yield* movingAverage(valued, parameter);
  if (fn === 'elapsed') return yield* pairs(valued, (before, after) => (after.time - before.time) / unitNs);
  const nonNegative = fn.startsWith('non_negative_');
  return yield* pairs(yield* firstOfEachTime(valued), (before, after) => {
    const change = difference(after.value, before.value);
    if (nonNegative && (change as number) < 0) return null;
    if (fn.endsWith('difference')) return change;
    const elapsed = descending ? before.time - after.time : after.time - before.time;
    return Number(change) / (Number(elapsed) / Number(unitNs));
  });
}

/**
 * Area under the points per window, by trapezia cut at window boundaries. As in InfluxDB a window's time is its start,
 * and a window that holds nothing but a point at its start has no area. In short steps.
 */
export function* integral(
  points: readonly Point[],
  unitNs: bigint,
  windowOf: (time: bigint) => { start: bigint; end: bigint | null },
  descending: boolean,
): Steps<Point[]> {
  const out: Point[] = [];
  const area = (from: bigint, to: bigint, a: number, b: number): number =>
    0.5 * (a + b) * (Number(to - from) / Number(unitNs));
  const windowAt = (time: bigint): { start: bigint; end: bigint | null } => {
    const { start, end } = windowOf(time);
    return descending && end !== null ? { start: end, end: start } : { start, end };
  };
  const [first] = points;
  if (first === undefined) return out;
  let window = windowAt(first.time);
  let time = first.time;
  let value = Number(first.value);
  let sum = 0;
  const emit = (): void => {
    out.push({ time: descending && window.end !== null ? window.end : window.start, value: sum, aux: null });
  };
  yield* inRanges(points.length, (from, to) => {
    for (let i = Math.max(1, from); i < to; i++) {
      const point = points[i]!;
      const next = Number(point.value);
      if (point.time !== time) {
        const { end } = window;
        if (end !== null && (descending ? point.time <= end : point.time >= end)) {
          const share = Number(end - time) / Number(point.time - time);
          const atEnd = value + (next - value) * share;
          sum += area(time, end, value, atEnd);
          emit();
          value = atEnd;
          time = end;
          window = windowAt(point.time);
          sum = 0;
        }
        sum += area(time, point.time, value, next);
      }
      time = point.time;
      value = next;
    }
  });
  // From the end on, a range without windows is begun at its other end.
  if (time !== window.start || (descending && window.end === null)) emit();
  return out;
}

function* pairs(points: readonly Point[], between: (before: Point, after: Point) => Scalar): Steps<Point[]> {
  const out: Point[] = [];
  yield* inRanges(points.length, (from, to) => {
    for (let i = Math.max(1, from); i < to; i++) {
      const value = between(points[i - 1]!, points[i]!);
      if (value !== null) out.push({ time: points[i]!.time, value, aux: null });
    }
  });
  return out;
}

/** Joined series may have several points at a time; only the first counts for differences. */
function firstOfEachTime(points: readonly Point[]): Steps<Point[]> {
  return chosen(points, (point, i) => i === 0 || points[i - 1]!.time !== point.time);
}

function* chosen(points: readonly Point[], isChosen: (point: Point, i: number) => boolean): Steps<Point[]> {
  const out: Point[] = [];
  yield* inRanges(points.length, (from, to) => {
    for (let i = from; i < to; i++) if (isChosen(points[i]!, i)) out.push(points[i]!);
  });
  return out;
}

function* movingAverage(points: readonly Point[], count: number): Steps<Point[]> {
  const out: Point[] = [];
  let sum = 0;
  yield* inRanges(points.length, (from, to) => {
    for (let i = from; i < to; i++) {
      sum += Number(points[i]!.value);
      if (i >= count) sum -= Number(points[i - count]!.value);
      if (i >= count - 1) out.push({ time: points[i]!.time, value: sum / count, aux: null });
    }
  });
  return out;
}

function* indicated(
  fn: string,
  points: readonly Point[],
  period: number,
  [hold = -1, warmUp]: readonly (number | string)[],
): Steps<Point[]> {
  const usual = fn === 'chande_momentum_oscillator' ? 'none' : 'exponential';
  const indicator = indicatorOf(fn, period, (warmUp as WarmUp | undefined) ?? usual);
  const held = hold === -1 ? indicator.warmUpValues : Number(hold);
  const all: Point[] = [];
  const pace = new Pace();
  for (let i = 0; i < points.length; i++) {
    const { time, value } = points[i]!;
    all.push({ time, value: indicator.add(Number(value)), aux: null });
    // Some look at all values of a period for each.
    if (pace.isOver(Math.min(i + 1, period))) yield;
  }
  const shown = all.slice(held);
  // A rate of change from 0 on is left out.
  return fn === 'triple_exponential_derivative'
    ? shown.filter(({ value }) => Math.abs(value as number) !== Number.POSITIVE_INFINITY)
    : shown;
}

function* cumulativeSum(points: readonly Point[]): Steps<Point[]> {
  const out: Point[] = [];
  let sum: number | bigint | null = null;
  yield* inRanges(points.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const { time } = points[i]!;
      const value = points[i]!.value as number | bigint;
      if (sum === null) sum = value;
      else if (typeof sum === 'bigint' && typeof value === 'bigint') sum = BigInt.asIntN(64, sum + value);
      else sum = Number(sum) + Number(value);
      out.push({ time, value: sum, aux: null });
    }
  });
  return out;
}
