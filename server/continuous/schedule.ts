/**
 * When a continuous query is due, and for which range: InfluxDB's rules, with times in nanoseconds. Pure.
 *
 * A query runs at the boundaries of its interval (with RESAMPLE EVERY: of that one), each time for the windows that have ended by
 * then; with RESAMPLE FOR for so much time before it, with an EVERY below the interval also for the window that is under way. What
 * was missed since the last run is made up for, as far as `CATCH_UP_NS` and `CATCH_UP_WINDOWS` allow: neither a node that was
 * off for a month nor a clock that jumps makes a month of windows.
 */
import type { ContinuousQueryStatement } from '../influxql/ast.ts';
import { formatDuration } from '../influxql/duration.ts';
import { intervalOf, isAggregated } from '../influxql/parse-continuous.ts';
import { type Interval, windowOf } from '../query/grid.ts';
import { QueryError } from '../query/query-error.ts';
import { timeValue } from '../query/time-range.ts';
import { zoneOffset } from '../query/time-zone.ts';

const CATCH_UP_NS = 86_400_000_000_000n;
const CATCH_UP_WINDOWS = 10_000n;
/** Of a run that missed nothing. */
const RUN_WINDOWS_MAX = 10_000n;

export interface Schedule {
  readonly interval: Interval;
  /** The same grid with the time between two runs. */
  readonly every: Interval;
  /** How much time before a boundary is computed. */
  readonly forNs: bigint;
}

/** [startNs, endNs) */
export interface RunRange {
  readonly startNs: bigint;
  readonly endNs: bigint;
}

export interface Due {
  /** To be remembered when the run is over. */
  readonly lastRunNs: bigint;
  /** To be remembered when it failed: of a first run, so that its windows stay due. */
  readonly failedNs: bigint;
  /** With what was missed. Empty when no window has ended. */
  readonly range: RunRange;
}

/** Throws QueryError where each run would be long. */
export function requireFewWindows({ select, everyNs, forNs }: ContinuousQueryStatement): void {
  const intervalNs = intervalOf(select);
  const mostNs = RUN_WINDOWS_MAX * intervalNs;
  const clause = forNs === undefined ? 'EVERY' : 'FOR';
  const givenNs = forNs ?? everyNs ?? 0n;
  if (intervalNs <= 0n || givenNs <= mostNs) return;
  const most = `must be a maximum of ${formatDuration(mostNs)}, got ${formatDuration(givenNs)}`;
  throw new QueryError(`${clause} duration must be <= ${RUN_WINDOWS_MAX} times the GROUP BY time duration: ${most}`);
}

/** Throws QueryError for what cannot be run. */
export function scheduleOf(statement: ContinuousQueryStatement, nowNs: bigint): Schedule {
  const { select, everyNs, forNs } = statement;
  if (!isAggregated(select)) throw new QueryError('continuous queries must be aggregate queries');
  const grouping = select.dimensions.find((dimension) => dimension.kind === 'time');
  if (grouping?.kind !== 'time' || grouping.intervalNs <= 0n)
    throw new QueryError('continuous queries must have an interval in GROUP BY time(...)');
  requireFewWindows(statement);
  const zone = zoneOffset(select.timeZone);
  const durationNs = grouping.intervalNs;
  const offset = grouping.offset === undefined ? null : timeValue(grouping.offset, nowNs, zone);
  const interval = { durationNs, offsetNs: (offset ?? 0n) % durationNs, zone };
  const every = { ...interval, durationNs: everyNs ?? durationNs };
  return { interval, every, forNs: forNs ?? (every.durationNs > durationNs ? every.durationNs : durationNs) };
}

/** null: not yet. `lastRunNs`: null before the first run. */
export function dueAt(schedule: Schedule, lastRunNs: bigint | null, nowNs: bigint): Due | null {
  const { interval, every, forNs } = schedule;
  const boundaryNs = windowOf(every, nowNs).start;
  const nextNs = lastRunNs === null ? windowOf(interval, nowNs).start : windowOf(every, lastRunNs).end;
  if (nextNs > nowNs) return null;
  const lookback = interval.durationNs - forNs - 1n;
  const regularNs = windowOf(interval, (lastRunNs === null ? nextNs : boundaryNs) + lookback).start;
  const catchUpNs = least(CATCH_UP_NS, CATCH_UP_WINDOWS * interval.durationNs);
  const oldestNs = least(regularNs, windowOf(interval, nowNs - catchUpNs).start);
  const startNs = greatest(windowOf(interval, nextNs + lookback).start, oldestNs);
  const aheadNs = interval.durationNs - least(every.durationNs, interval.durationNs);
  const endNs = windowOf(interval, nowNs + aheadNs).start;
  const failedNs = lastRunNs ?? least(boundaryNs, nextNs) - 1n;
  return { lastRunNs: boundaryNs, failedNs, range: { startNs, endNs } };
}

/** A long range in parts of so many windows at most. */
export function* partsOf({ interval }: Schedule, { startNs, endNs }: RunRange, windows: bigint): Generator<RunRange> {
  for (let at = startNs; at < endNs; ) {
    const { start } = windowOf(interval, at + windows * interval.durationNs);
    const to = start > at ? least(start, endNs) : endNs;
    yield { startNs: at, endNs: to };
    at = to;
  }
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const greatest = (a: bigint, b: bigint): bigint => (a > b ? a : b);
