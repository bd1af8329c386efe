/**
 * Aggregates and selectors over the rows of one window, as InfluxDB's reducers compute them.
 *
 * Used for what has no small state (median, percentile, mode, distinct, top, bottom, integral) and for everything over
 * subqueries. Integers are bigint, floats number.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { QueryError } from './query-error.ts';

export interface Sample {
  readonly time: bigint;
  readonly value: number | bigint | string | boolean;
  readonly aux: readonly Scalar[] | null;
}

/** `time` null: the window's start. */
export interface Reduced {
  readonly time: bigint | null;
  readonly value: Scalar;
  readonly aux: readonly Scalar[] | null;
}

export const SELECTORS: ReadonlySet<string> = new Set([
  'min',
  'max',
  'first',
  'last',
  'percentile',
  'top',
  'bottom',
  'sample',
]);

/** What can be asked for besides transformations and mathematical functions. */
export const REDUCERS: ReadonlySet<string> = new Set([
  'count',
  'sum',
  'mean',
  'min',
  'max',
  'first',
  'last',
  'spread',
  'stddev',
  'median',
  'mode',
  'distinct',
  'percentile',
  'top',
  'bottom',
  'sample',
  'integral',
]);

const ANY_TYPE: ReadonlySet<string> = new Set(['count', 'first', 'last', 'distinct', 'mode', 'elapsed', 'sample']);
const BOOLEANS_TOO: ReadonlySet<string> = new Set(['min', 'max']);

/** InfluxDB's error for a function on a type that it cannot take, which names some by others. */
export function checkType(fn: string, type: 'float' | 'integer' | 'unsigned' | 'string' | 'boolean'): void {
  if (type !== 'string' && type !== 'boolean') return;
  if (ANY_TYPE.has(fn) || (type === 'boolean' && BOOLEANS_TOO.has(fn))) return;
  const name = fn.startsWith('holt_winters') ? 'elapsed' : fn.replace(/^non_negative_/, '').replaceAll('_', ' ');
  throw new QueryError(`unsupported ${name} iterator type: *query.${type}InterruptIterator`);
}

/** `parameter`: percentile, or the n of top and bottom. Samples come in the query's direction and are not empty. */
export function reduceWindow(fn: string, samples: readonly Sample[], parameter: number): Reduced[] {
  switch (fn) {
    case 'count':
      return value(BigInt(samples.length));
    case 'sum':
      return value(sum(samples));
    case 'mean':
      return value(Number(sum(samples)) / samples.length);
    case 'min':
    case 'max':
    case 'first':
    case 'last':
      return [pick(fn, samples)];
    case 'spread':
      return value(
        hasNoNumber(samples) ? Number.NaN : difference(pick('max', samples).value, pick('min', samples).value),
      );
    case 'stddev':
      return value(stddev(samples));
    case 'median':
      return value(median(samples));
    case 'mode':
      return value(mode(samples));
    case 'distinct':
      return distinct(samples);
    case 'percentile': {
      const sorted = byValue(samples);
      const index = Math.floor((sorted.length * parameter) / 100 + 0.5) - 1;
      return index < 0 || index >= sorted.length ? [] : [sorted[index]!];
    }
    case 'top':
    case 'bottom':
      return extremes(fn, samples, parameter);
    default:
      throw new Error(`no reducer for ${fn}`);
  }
}

const value = (v: Scalar): Reduced[] => [{ time: null, value: v, aux: null }];

function sum(samples: readonly Sample[]): number | bigint {
  if (typeof samples[0]!.value === 'bigint') {
    let total = 0n;
    for (const sample of samples) total += sample.value as bigint;
    return BigInt.asIntN(64, total);
  }
  let total = 0;
  for (const sample of samples) total += sample.value as number;
  return total;
}

export function difference(a: Scalar, b: Scalar): Scalar {
  if (typeof a === 'bigint' && typeof b === 'bigint') return BigInt.asIntN(64, a - b);
  return Number(a) - Number(b);
}

function pick(fn: 'min' | 'max' | 'first' | 'last', samples: readonly Sample[]): Sample {
  let best = samples[0]!;
  for (const sample of samples) {
    const later = sample.time > best.time;
    const earlier = sample.time < best.time;
    const better =
      fn === 'min'
        ? sample.value < best.value || (sample.value === best.value && earlier)
        : fn === 'max'
          ? sample.value > best.value || (sample.value === best.value && earlier)
          : (fn === 'first' ? earlier : later) || (sample.time === best.time && winsTie(fn, sample.value, best.value));
    if (better) best = sample;
  }
  return best;
}

/** Among equal times: the greatest, but false as the first one. */
function winsTie(fn: 'first' | 'last', value: Sample['value'], other: Sample['value']): boolean {
  return fn === 'first' && typeof value === 'boolean' ? value < other : value > other;
}

const isNoNumber = (value: Scalar): boolean => typeof value === 'number' && Number.isNaN(value);

const hasNoNumber = (samples: readonly Sample[]): boolean => samples.some((sample) => isNoNumber(sample.value));

/** Two passes over the numbers, as InfluxDB does; of one value it is no number, which further functions go on with. */
function stddev(samples: readonly Sample[]): number {
  let mean = 0;
  let count = 0;
  for (const { value } of samples) {
    if (isNoNumber(value)) continue;
    count++;
    mean += (Number(value) - mean) / count;
  }
  if (count < 2) return Number.NaN;
  let variance = 0;
  for (const { value } of samples) if (!isNoNumber(value)) variance += (Number(value) - mean) ** 2;
  return Math.sqrt(variance / (count - 1));
}

/** What is no number first: InfluxDB's sort leaves it anywhere. */
function byValue(samples: readonly Sample[]): Sample[] {
  const areNumbers = !hasNoNumber(samples);
  const numbers = areNumbers ? [...samples] : samples.filter(({ value }) => !isNoNumber(value));
  numbers.sort((a, b) =>
    a.value < b.value ? -1 : a.value > b.value ? 1 : a.time < b.time ? -1 : a.time > b.time ? 1 : 0,
  );
  return areNumbers ? numbers : [...samples.filter(({ value }) => isNoNumber(value)), ...numbers];
}

function median(samples: readonly Sample[]): number {
  const sorted = byValue(samples);
  const middle = sorted.length >> 1;
  const high = sorted[middle]!.value;
  if (sorted.length % 2 === 1) return Number(high);
  const low = sorted[middle - 1]!.value;
  return Number(low) + Number(difference(high, low)) / 2;
}

/** The most frequent value; among equals the one seen first. Single values never displace the least value (InfluxDB). */
function mode(samples: readonly Sample[]): Scalar {
  if (samples.length === 1) return samples[0]!.value;
  const sorted = byValue(samples);
  let most = 0;
  let run = 0;
  let runValue = sorted[0]!.value;
  let runTime = sorted[0]!.time;
  let modeValue = runValue;
  let modeTime = runTime;
  for (const sample of sorted) {
    if (sample.value !== runValue) {
      run = 1;
      runValue = sample.value;
      runTime = sample.time;
      continue;
    }
    run++;
    if (most > run || (most === run && runTime > modeTime)) continue;
    most = run;
    modeValue = sample.value;
    modeTime = sample.time;
  }
  return modeValue;
}

/** In the order of the times at which they are met first, from the end that rows come from. */
function distinct(samples: readonly Sample[]): Reduced[] {
  const first = new Map<Scalar | Sample, Sample>();
  for (const sample of samples) {
    // What is no number differs from all, itself included.
    const key = isNoNumber(sample.value) ? sample : sample.value;
    if (!first.has(key)) first.set(key, sample);
  }
  return [...first.values()]
    .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.value < b.value ? -1 : 1))
    .map((sample) => ({ time: null, value: sample.value, aux: null }));
}

/** The n greatest (least) rows, in order of time. */
function extremes(fn: 'top' | 'bottom', samples: readonly Sample[], count: number): Reduced[] {
  const sign = fn === 'top' ? -1 : 1;
  const sorted = [...samples].sort(
    (a, b) =>
      Number(isNoNumber(a.value)) - Number(isNoNumber(b.value)) ||
      (a.value < b.value ? -sign : a.value > b.value ? sign : a.time < b.time ? -1 : a.time > b.time ? 1 : 0),
  );
  return sorted.slice(0, count).sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}
