/**
 * What a series reports: kinds of walks, each printed the way an agent prints it.
 *
 * `state` holds one number per series and field. A step moves it, writes the value's text and returns the value that the
 * text means, so that counts and sums are known before any system was asked.
 */
import type { RequestWriter } from './requests.ts';

export type ValueKind =
  /** Percentages with two decimals, a random walk from 0 to 100: `58.13`. */
  | 'percent'
  /** A whole number that goes up and down, as InfluxDB's integer: `4711i`. */
  | 'integer'
  /** A counter, as InfluxDB's integer: `90817237i`. */
  | 'integer-counter'
  /** 100 * ticks / ticks of the interval, as Telegraf's cpu plugin computes it: `97.43589743589743`, seldom `98`. */
  | 'ratio'
  /** Nearly always 0, else a ratio: steal, guest and nice on most machines. */
  | 'mostly-zero'
  /** Steps of an eighth, printed as short as possible: `1`, `1.5`, `97.125`. */
  | 'eighths'
  /** One value in four each with none, one, two and all decimals. */
  | 'mixed'
  /** A reading with noise down to the last bit: `36.64178902137012`. */
  | 'double'
  /** A whole number without a suffix, and so a float: bytes, counts of a Prometheus exporter. */
  | 'whole'
  /** A counter of whole numbers. */
  | 'counter'
  /** A counter of seconds with two decimals. */
  | 'counter-hundredths'
  /** A sum of measured times: a growing full-precision double. */
  | 'counter-double';

type Random = () => number;

const SUFFIX_I = 105;

export function firstState(kind: ValueKind, random: Random): number {
  switch (kind) {
    case 'percent':
      return Math.floor(random() * 10_001);
    case 'integer-counter':
    case 'counter':
    case 'counter-hundredths':
      return Math.floor(random() * 1e8);
    case 'counter-double':
      return random() * 1e4;
    case 'whole':
      return Math.floor(random() * 1e9);
    case 'eighths':
      return Math.floor(random() * 800);
    default:
      return random() * 100;
  }
}

function walk(state: Float64Array, at: number, step: number, greatest: number): number {
  const moved = Math.min(greatest, Math.max(0, state[at]! + step));
  state[at] = moved;
  return moved;
}

function shortest(out: RequestWriter, value: number): number {
  out.text(String(value));
  return value;
}

function ratioOf(percent: number, random: Random): number {
  const ticks = 1000 + Math.floor(random() * 9) - 4;
  return (Math.round((percent / 100) * ticks) * 100) / ticks;
}

export function writeNext(
  kind: ValueKind,
  state: Float64Array,
  at: number,
  random: Random,
  out: RequestWriter,
): number {
  switch (kind) {
    case 'percent': {
      const value = walk(state, at, Math.floor(random() * 201) - 100, 10_000);
      out.hundredths(value);
      return value / 100;
    }
    case 'integer': {
      const value = Math.round(walk(state, at, (random() - 0.5) * 20, 10_000));
      out.integer(value);
      out.byte(SUFFIX_I);
      return value;
    }
    case 'integer-counter': {
      const value = state[at]! + Math.floor(random() * 20_000);
      state[at] = value;
      out.integer(value);
      out.byte(SUFFIX_I);
      return value;
    }
    case 'ratio':
      return shortest(out, ratioOf(walk(state, at, (random() - 0.5) * 2, 100), random));
    case 'mostly-zero':
      return shortest(out, random() < 0.97 ? 0 : ratioOf(random(), random));
    case 'eighths':
      return shortest(out, walk(state, at, Math.floor(random() * 17) - 8, 800) / 8);
    case 'mixed': {
      const value = walk(state, at, (random() - 0.5) * 2, 100);
      const decimals = Math.floor(random() * 4);
      return shortest(out, decimals === 3 ? value : Math.round(value * 10 ** decimals) / 10 ** decimals);
    }
    case 'double':
      return shortest(out, walk(state, at, random() - 0.5, 100));
    case 'whole': {
      const value = Math.round(walk(state, at, (random() - 0.5) * 1e6, 1e12));
      out.integer(value);
      return value;
    }
    case 'counter': {
      const value = state[at]! + Math.floor(random() * 20);
      state[at] = value;
      out.integer(value);
      return value;
    }
    case 'counter-hundredths': {
      const value = state[at]! + Math.floor(random() * 1500);
      state[at] = value;
      out.hundredths(value);
      return value / 100;
    }
    case 'counter-double':
      state[at] = state[at]! + random();
      return shortest(out, state[at]!);
  }
}
