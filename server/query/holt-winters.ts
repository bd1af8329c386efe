/**
 * holt_winters: what comes next, by exponential smoothing with a damped trend and seasons that multiply.
 *
 * C. C. Holt, "Forecasting seasonals and trends by exponentially weighted moving averages" (1957); P. R. Winters,
 * "Forecasting sales by exponentially weighted moving averages", Management Science 6 (1960); E. S. Gardner and
 * E. McKenzie, "Forecasting trends in time series", Management Science 31 (1985), for the damping. The smoothing factors,
 * level, trend and seasons to start with are those with the least squares, looked for from several places of which, as
 * how they are used, InfluxDB's answers depend.
 */
import type { Steps } from '../../shards/steps.ts';
import { inRanges } from '../turns.ts';
import { tooManyWindows } from './cells.ts';
import type { Point, Stream } from './groups.ts';
import type { QueryLimits } from './limits.ts';
import { minimise } from './nelder-mead.ts';
import { QueryError } from './query-error.ts';

export interface HoltWintersOptions {
  /** Points to come. */
  readonly ahead: number;
  /** Points of a season; less than 2: none. */
  readonly season: number;
  readonly withFit: boolean;
  readonly intervalNs: bigint;
}

/** Places of the parameters; the seasons' factors are behind them. */
const ALPHA = 0;
const BETA = 1;
const GAMMA = 2;
const PHI = 3;
const LEVEL = 4;
const TREND = 5;
const SEASONS = 6;

const GUESSES = [0.3, 0.7];
const GUESS_SHARE = 0.5;
const EPSILON = 1e-4;
/** Values in one step. */
const STEP_VALUES = 4096;

/** Before anything is computed: values known and to come are held for each interval, also where there is no point. */
export function* requireFewValues(
  streams: readonly Stream[],
  ahead: number,
  intervalNs: bigint,
  { bucketsMax, cellsMax }: Pick<QueryLimits, 'bucketsMax' | 'cellsMax'>,
): Steps {
  let all = 0;
  yield* inRanges(streams.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const values = Math.max(0, lengthOf(streams[i]!.points, intervalNs)) + ahead;
      if (values > bucketsMax) throw new QueryError(`max-select-buckets limit exceeded: (${values}/${bucketsMax})`);
      all += values;
    }
  });
  if (all > cellsMax) throw tooManyWindows(`${all} values of ${streams.length} groups (limit ${cellsMax})`);
}

/** Points in the order of time, of one spacing; where some are missing nothing is compared. */
export function* holtWinters(points: readonly Point[], options: HoltWintersOptions): Steps<Point[]> {
  const { ahead, intervalNs, withFit } = options;
  const season = options.season < 2 ? 0 : options.season;
  if (points.length < 2 || points.length < season || points[0]!.time > points.at(-1)!.time) return [];
  const length = lengthOf(points, intervalNs);
  if (length < 2 || length < season) return [];
  const known = yield* spaced(points, intervalNs, length);
  const fitted = yield* bestFit(known, season);
  const values = new Float64Array(known.length + ahead);
  yield* forecast(known[0]!, values, fitted);
  const from = withFit ? 0 : known.length;
  const startNs = withFit ? points[0]!.time : points[points.length - 1]!.time + intervalNs;
  const out: Point[] = [];
  yield* inRanges(values.length - from, (first, to) => {
    for (let i = first; i < to; i++) {
      const value = values[from + i]!;
      if (!Number.isNaN(value)) out.push({ time: startNs + intervalNs * BigInt(i), value, aux: null });
    }
  });
  return out;
}

function placeOf({ time }: Point, first: Point, intervalNs: bigint): number {
  return Number((time - first.time + intervalNs / 2n) / intervalNs);
}

/** Intervals from the first point to the last one; 1 without intervals, and not more of points that run backwards. */
function lengthOf(points: readonly Point[], intervalNs: bigint): number {
  if (points.length < 2) return points.length;
  return intervalNs === 0n ? 1 : placeOf(points.at(-1)!, points[0]!, intervalNs) + 1;
}

/** One value for each interval, NaN where there is none. */
function* spaced(points: readonly Point[], intervalNs: bigint, length: number): Steps<Float64Array> {
  const values = new Float64Array(length).fill(Number.NaN);
  const [first] = points as readonly [Point];
  // Of several in one interval the first one counts.
  yield* inRanges(points.length, (from, to) => {
    for (let i = from; i < to; i++) {
      const place = placeOf(points[i]!, first, intervalNs);
      if (Number.isNaN(values[place])) values[place] = Number(points[i]!.value);
    }
  });
  return values;
}

function* bestFit(known: Float64Array, season: number): Steps<Float64Array> {
  const start = firstGuess(known, season);
  const values = new Float64Array(known.length);
  const squares = function* (parameters: Float64Array): Steps<number> {
    yield* forecast(known[0]!, values, parameters);
    let sum = 0;
    for (let i = 0; i < known.length; i++) {
      if (i % STEP_VALUES === STEP_VALUES - 1) yield;
      if (Number.isNaN(known[i])) continue;
      if (Number.isNaN(values[i])) return Number.POSITIVE_INFINITY;
      sum += (values[i]! - known[i]!) ** 2;
    }
    return sum;
  };
  let best: { value: number; point: Float64Array } | null = null;
  for (const alpha of GUESSES)
    for (const beta of GUESSES)
      for (const gamma of GUESSES)
        for (const phi of GUESSES) {
          start.set([alpha, beta, gamma, phi]);
          const found = yield* minimise(squares, start, EPSILON);
          if (best === null || found.value < best.value) best = found;
        }
  return best!.point;
}

function firstGuess(known: Float64Array, season: number): Float64Array {
  const start = new Float64Array(SEASONS + season);
  if (season === 0) {
    start[LEVEL] = GUESS_SHARE * known[0]!;
    if (!Number.isNaN(known[1])) start[TREND] = GUESS_SHARE * (known[1]! - known[0]!);
    return start;
  }
  let level = 0;
  let trend = 0;
  for (let i = 0; i < season; i++) {
    if (Number.isNaN(known[i])) continue;
    level += (1 / season) * known[i]!;
    const later = known[season + i] ?? Number.NaN;
    if (!Number.isNaN(later)) trend += (1 / (season * season)) * (later - known[i]!);
  }
  start[LEVEL] = level;
  start[TREND] = trend;
  for (let i = 0; i < season; i++) start[SEASONS + i] = Number.isNaN(known[i]) ? 0 : known[i]! / level;
  return start;
}

/** By squares, as InfluxDB takes it: where a search ends may hang on the last bit. */
function powerOf(base: number, exponent: number): number {
  let power = 1;
  for (let left = exponent, square = base; left > 0; left = Math.floor(left / 2), square *= square)
    if (left % 2 === 1) power *= square;
  return power;
}

/**
 * Puts in the values from the first one on, each made of the one before it. Moves the parameters into what they may be;
 * the seasons end as the last values leave them.
 */
function* forecast(first: number, values: Float64Array, parameters: Float64Array): Steps {
  for (let i = ALPHA; i <= PHI; i++) parameters[i] = parameters[i]! > 1 ? 1 : parameters[i]! < 0 ? 0 : parameters[i]!;
  const alpha = parameters[ALPHA]!;
  const beta = parameters[BETA]!;
  const gamma = parameters[GAMMA]!;
  const phi = parameters[PHI]!;
  const seasons = parameters.subarray(SEASONS);
  const season = seasons.length;
  values[0] = first;
  let level = parameters[LEVEL]!;
  let trend = parameters[TREND]!;
  let damping = phi;
  let now = 1;
  let next = 1;
  for (let t = 1; t < values.length; t++) {
    const value = values[t - 1]!;
    const place = season === 0 ? 0 : (2 * (t - 1)) % season;
    if (season > 0) {
      now = seasons[place]!;
      next = seasons[(place + t) % season]!;
    }
    const damped = level + phi * trend;
    const newLevel = alpha * (value / now) + (1 - alpha) * damped;
    const newTrend = beta * (newLevel - level) + (1 - beta) * phi * trend;
    if (season > 0) seasons[place] = gamma * (value / damped) + (1 - gamma) * now;
    level = newLevel;
    trend = newTrend;
    values[t] = (level + damping * trend) * next;
    damping += powerOf(phi, t);
    if (t % STEP_VALUES === 0) yield;
  }
}
