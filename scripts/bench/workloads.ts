/**
 * The workloads, by letter. Each is made from a seed: the same options give the same bytes.
 *
 * All start at one fixed instant, a Monday, so that results can be repeated and no system's shard, partition or window
 * is cut by the day on which the benchmark runs.
 */
import { makeCpuRequests } from './cpu-rows.ts';
import { makeMetricRequests } from './metric-rows.ts';
import type { Requests } from './requests.ts';
import type { ValueKind } from './series-values.ts';

export const START_SECONDS = Date.UTC(2025, 0, 6) / 1000;
export const INTERVAL_SECONDS = 10;

export interface CpuShape {
  readonly shape: 'cpu';
  readonly hosts: number;
  /** Of the ten fields, in order. */
  readonly kinds: readonly ValueKind[];
  /** Share of the rows that arrive late, by up to `lateSecondsMax`. */
  readonly lateShare: number;
  readonly lateSecondsMax: number;
  /** Share of the rows that are written once more, with the same series and time and other values. */
  readonly rewrittenShare: number;
}

export interface MetricShape {
  readonly shape: 'metrics';
  /** Each has 1,000 series. */
  readonly targets: number;
}

export type WorkloadOptions = (CpuShape | MetricShape) & {
  readonly seed: number;
  /** Each series has one row in each round. */
  readonly rounds: number;
  readonly intervalSeconds: number;
  readonly startSeconds: number;
  readonly rowsPerBody: number;
  readonly connections: number;
};

/** What must be found when one field is counted and summed over everything. */
export interface FieldTruth {
  readonly measurement: string;
  readonly field: string;
  count: number;
  sum: number;
  /** The same over all that was written, rewritten rows twice: what a system gives that keeps both. */
  writtenCount: number;
  writtenSum: number;
}

/** What is known of a workload without its bytes. */
export interface WorkloadSummary {
  readonly options: WorkloadOptions;
  readonly bodies: number;
  readonly bytes: number;
  /** Rows and values that were sent, rewritten ones included. */
  readonly rows: number;
  readonly values: number;
  readonly endSeconds: number;
  readonly truth: readonly FieldTruth[];
  /** A body may be sent once all that are so many places before it are acknowledged. */
  readonly windowBodies: number;
}

export interface Workload {
  readonly summary: WorkloadSummary;
  readonly requests: Requests;
}

export interface WorkloadDefinition {
  readonly letter: string;
  readonly title: string;
  options(seed: number, scale: number): WorkloadOptions;
}

const TEN = Array.from({ length: 10 });
const PERCENT = TEN.map((): ValueKind => 'percent');
const INTEGERS = TEN.map((_, index): ValueKind => (index < 5 ? 'integer' : 'integer-counter'));
const TELEGRAF: readonly ValueKind[] = [
  'ratio',
  'ratio',
  'ratio',
  'mostly-zero',
  'ratio',
  'eighths',
  'eighths',
  'mostly-zero',
  'mixed',
  'double',
];

interface CpuChoices {
  readonly hosts?: number;
  readonly rounds?: number;
  readonly kinds?: readonly ValueKind[];
  readonly rowsPerBody?: number;
  readonly connections?: number;
  readonly lateShare?: number;
  readonly rewrittenShare?: number;
}

/** Smaller scales have fewer hosts, never less time: the queries keep their ranges. */
export function cpuOptions(seed: number, scale: number, choices: CpuChoices = {}): WorkloadOptions {
  return {
    shape: 'cpu',
    seed,
    hosts: Math.max(10, Math.round((choices.hosts ?? 1000) * scale)),
    rounds: choices.rounds ?? 720,
    intervalSeconds: INTERVAL_SECONDS,
    startSeconds: START_SECONDS,
    kinds: choices.kinds ?? PERCENT,
    rowsPerBody: choices.rowsPerBody ?? 5000,
    connections: choices.connections ?? 2,
    lateShare: choices.lateShare ?? 0,
    lateSecondsMax: 3600,
    rewrittenShare: choices.rewrittenShare ?? 0,
  };
}

export const WORKLOADS: readonly WorkloadDefinition[] = [
  {
    letter: 'A',
    title: '1,000 hosts, 10 tags, 10 two-decimal floats, every 10 s; bodies of 5,000 lines, 2 connections',
    options: (seed, scale) => cpuOptions(seed, scale),
  },
  {
    letter: 'B',
    title: 'as A, with 100,000 hosts (a million field series)',
    options: (seed, scale) => cpuOptions(seed, scale, { hosts: 100_000, rounds: 6 }),
  },
  {
    letter: 'C',
    title: 'as A, with bodies of 20 lines and 32 connections',
    options: (seed, scale) => cpuOptions(seed, scale, { rowsPerBody: 20, connections: 32 }),
  },
  {
    letter: 'D',
    title: 'as A, with integers: five gauges and five counters',
    options: (seed, scale) => cpuOptions(seed, scale, { kinds: INTEGERS }),
  },
  {
    letter: 'E',
    title: 'one field per point, 1,000,000 series, Prometheus-like; bodies of 5,000 lines, 2 connections',
    options: (seed, scale) => ({
      shape: 'metrics',
      seed,
      targets: Math.max(2, Math.round(1000 * scale)),
      rounds: 5,
      intervalSeconds: 15,
      startSeconds: START_SECONDS,
      rowsPerBody: 5000,
      connections: 2,
    }),
  },
  {
    letter: 'F',
    title: 'as A, with 20 % of the points late by up to an hour and 1 % rewritten',
    options: (seed, scale) => cpuOptions(seed, scale, { lateShare: 0.2, rewrittenShare: 0.01 }),
  },
  {
    letter: 'G',
    title: 'as A, with full-precision doubles and mixed decimals, as Telegraf sends them',
    options: (seed, scale) => cpuOptions(seed, scale, { kinds: TELEGRAF }),
  },
];

export function makeWorkload(options: WorkloadOptions): Workload {
  return options.shape === 'cpu' ? makeCpuRequests(options) : makeMetricRequests(options);
}
