/** When continuous queries run, and for which range. */
import { describe, expect, it } from 'vitest';
import { dueAt, partsOf, type Schedule, scheduleOf } from '../../server/continuous/schedule.ts';
import type { ContinuousQueryStatement } from '../../server/influxql/ast.ts';
import { parseQuery } from '../../server/influxql/parser.ts';

const SECOND = 1_000_000_000n;
const [MINUTE, HOUR] = [60n * SECOND, 3_600n * SECOND];
const at = (text: string): bigint => BigInt(Date.parse(text)) * 1_000_000n;

function schedule(clauses: string, grouping = 'time(1m)', rest = ''): Schedule {
  const text = `CREATE CONTINUOUS QUERY q ON d ${clauses} BEGIN SELECT mean(v) INTO x FROM y GROUP BY ${grouping} ${rest} END`;
  return scheduleOf(parseQuery(text)[0] as ContinuousQueryStatement, 0n);
}

const clock = (ns: bigint): string => new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19);

/** `[start, end)` of the run and what it remembers; null: it is not due. */
function run(of: Schedule, last: string | null, now: string): string[] | null {
  const due = dueAt(of, last === null ? null : at(last), at(now));
  if (due === null) return null;
  const { range, lastRunNs } = due;
  return range.endNs > range.startNs
    ? [clock(range.startNs), clock(range.endNs), clock(lastRunNs)]
    : [clock(lastRunNs)];
}

const NOON = '2024-05-01T12:00:00';
const minute = (n: number, second = 0): string =>
  `2024-05-01T${String(12 + Math.floor(n / 60)).padStart(2, '0')}:${String(n % 60).padStart(2, '0')}:${String(second).padStart(2, '0')}`;
const z = (text: string): string => `${text}Z`;
const check = (of: Schedule, last: string | null, now: string): string[] | null =>
  run(of, last === null ? null : z(last), z(now));

describe('without RESAMPLE', () => {
  const plain = schedule('');

  it('runs the first time at once, for the window that has ended', () => {
    expect(check(plain, null, minute(3, 20))).toEqual([minute(2), minute(3), minute(3)]);
  });

  it('runs at each boundary for the window before it, and not before', () => {
    expect(check(plain, minute(3), minute(3, 59))).toBeNull();
    expect(check(plain, minute(3), minute(4))).toEqual([minute(3), minute(4), minute(4)]);
    expect(check(plain, minute(3), minute(4, 7))).toEqual([minute(3), minute(4), minute(4)]);
  });

  it('makes up for what was missed', () => {
    expect(check(plain, minute(3), minute(20, 5))).toEqual([minute(3), minute(20), minute(20)]);
  });

  it('makes up for a day, or ten thousand windows, at most', () => {
    expect(check(plain, '2023-01-01T00:00:00', NOON)).toEqual(['2024-04-30T12:00:00', NOON, NOON]);
    const fine = schedule('', 'time(1s)');
    expect(check(fine, '2024-05-01T01:00:00', NOON)).toEqual(['2024-05-01T09:13:20', NOON, NOON]);
    const coarse = schedule('', 'time(7d)');
    const [start, end] = check(coarse, '2023-01-01T00:00:00', NOON)!;
    expect(at(z(end!)) - at(z(start!))).toBe(7n * 24n * HOUR);
  });
});

describe('an offset, or a time zone, in GROUP BY', () => {
  it('moves the boundaries', () => {
    const moved = schedule('', 'time(1m, 15s)');
    expect(check(moved, minute(3, 15), minute(4, 14))).toBeNull();
    expect(check(moved, minute(3, 15), minute(4, 15))).toEqual([minute(3, 15), minute(4, 15), minute(4, 15)]);
  });

  it('ends days where they end there, also when the clocks change', () => {
    const days = schedule('', 'time(1d)', "tz('Europe/Berlin')");
    expect(check(days, '2024-03-30T23:00:00', '2024-03-31T21:59:59')).toBeNull();
    expect(check(days, '2024-03-30T23:00:00', '2024-03-31T22:00:00')).toEqual([
      '2024-03-30T23:00:00',
      '2024-03-31T22:00:00',
      '2024-03-31T22:00:00',
    ]);
  });
});

describe('RESAMPLE', () => {
  it('EVERY less than the interval computes the window that is under way, and the last one once more at its end', () => {
    const often = schedule('RESAMPLE EVERY 10s');
    expect(check(often, minute(3, 0), minute(3, 9))).toBeNull();
    expect(check(often, minute(3, 0), minute(3, 10))).toEqual([minute(3), minute(4), minute(3, 10)]);
    expect(check(often, minute(3, 50), minute(4, 0))).toEqual([minute(3), minute(4), minute(4)]);
  });

  it('EVERY more than the interval computes all windows since the last time', () => {
    const seldom = schedule('RESAMPLE EVERY 5m');
    expect(check(seldom, minute(5), minute(9, 59))).toBeNull();
    expect(check(seldom, minute(5), minute(10))).toEqual([minute(5), minute(10), minute(10)]);
  });

  it('FOR computes earlier windows again', () => {
    const long = schedule('RESAMPLE FOR 3m');
    expect(check(long, minute(9), minute(10))).toEqual([minute(7), minute(10), minute(10)]);
    const both = schedule('RESAMPLE EVERY 30s FOR 3m');
    expect(check(both, minute(10), minute(10, 30))).toEqual([minute(8), minute(11), minute(10, 30)]);
  });
});

it('a first run that failed stays due, for the same windows and those since', () => {
  const failed = (of: Schedule, first: string, now: string): string[] | null =>
    run(of, `${clock(dueAt(of, null, at(z(first)))!.failedNs)}Z`, z(now));
  expect(failed(schedule(''), minute(3, 20), minute(3, 25))).toEqual([minute(2), minute(3), minute(3)]);
  expect(failed(schedule(''), minute(3, 20), minute(9, 5))).toEqual([minute(2), minute(9), minute(9)]);
  const often = schedule('RESAMPLE EVERY 10s');
  expect(failed(often, minute(3, 25), minute(5))).toEqual([minute(2), minute(5), minute(5)]);
  const seldom = schedule('RESAMPLE EVERY 5m');
  expect(failed(seldom, minute(7), minute(7, 5))).toEqual([minute(0), minute(7), minute(5)]);
});

it('parts are cut at boundaries, and cover the range', () => {
  const plain = schedule('');
  const parts = [...partsOf(plain, { startNs: at(z(minute(0))), endNs: at(z(minute(25))) }, 10n)];
  expect(parts.map(({ startNs, endNs }) => [clock(startNs), clock(endNs)])).toEqual([
    [minute(0), minute(10)],
    [minute(10), minute(20)],
    [minute(20), minute(25)],
  ]);
  expect(parts.every(({ endNs, startNs }) => (endNs - startNs) % MINUTE === 0n)).toBe(true);
});

it('what is no aggregate cannot be run', () => {
  const text = 'CREATE CONTINUOUS QUERY q ON d BEGIN SELECT v INTO x FROM y END';
  expect(() => scheduleOf(parseQuery(text)[0] as ContinuousQueryStatement, 0n)).toThrow(
    'continuous queries must be aggregate queries',
  );
});
