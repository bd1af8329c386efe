import { describe, expect, test } from 'vitest';
import { answerIn, TOTALS } from '../../scripts/bench/asking.ts';
import { differences, isClose } from '../../scripts/bench/checks.ts';
import { ROWS } from '../../scripts/bench/goals.ts';
import type { RunFigures } from '../../scripts/bench/measure.ts';
import { medianRun } from '../../scripts/bench/medians.ts';
import { parseOptions } from '../../scripts/bench/options.ts';
import { selfTimes } from '../../scripts/bench/profile.ts';
import { versionInChangelog, versionInText } from '../../scripts/bench/programs.ts';
import { QUERIES } from '../../scripts/bench/queries.ts';
import { randomOf } from '../../scripts/bench/random.ts';
import {
  ingestTable,
  judge,
  lateTable,
  printTable,
  type Report,
  type WorkloadReport,
} from '../../scripts/bench/report.ts';
import { flatnessOf, median, percentile, trendOf } from '../../scripts/bench/statistics.ts';

const FIGURES: RunFigures = {
  system: 'starling',
  startCpu: 1,
  valuesPerSecond: 20e6,
  acknowledgedCpu: 0.1,
  settledCpu: 0.2,
  writeP50Ms: 1,
  writeP99Ms: 2,
  residentBytes: 3e6,
  residentBytesPeak: 4e6,
  bytesPerValue: 1,
  generatorCpu: 0.01,
  repeatedWrites: 0,
  replicasSeconds: null,
  queries: { q: { p50Ms: 1, p95Ms: 2 } },
  warm: null,
};
const PEER: RunFigures = { ...FIGURES, system: 'influxdb', acknowledgedCpu: 0.3, valuesPerSecond: 1e6 };

const report = (workload: string, systems: RunFigures[]): WorkloadReport => ({
  workload,
  title: '',
  values: 1,
  rows: 1,
  bodies: 1,
  systems,
});

describe('statistics', () => {
  test.each([
    [[5], 0.99, 5],
    [[1, 2, 3, 4], 0.5, 2],
    [[1, 2, 3, 4], 0.51, 3],
    [Array.from({ length: 100 }, (_, index) => index + 1), 0.99, 99],
    [Array.from({ length: 100 }, (_, index) => index + 1), 1, 100],
    [[], 0.5, Number.NaN],
  ])('the percentile of %j at %d is %d', (sorted, share, expected) => {
    expect(percentile(sorted, share)).toBe(expected);
  });

  test('the median of an even number lies between the two in the middle', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([3, 1, 2])).toBe(2);
  });

  test('a trend is not moved by a few outliers, and a swing is not taken for growth', () => {
    const x = Array.from({ length: 100 }, (_, index) => index);
    const rising = trendOf(
      x,
      x.map((at) => 10 + at * 2 + (at % 10 === 0 ? 500 : 0)),
    );
    expect(rising.growth).toBeCloseTo(198, 5);
    const sawtooth = trendOf(
      x,
      x.map((at) => 100 + (at % 7) * 10),
    );
    expect(Math.abs(sawtooth.growth)).toBeLessThan(10);
    expect(sawtooth.swing).toBeGreaterThan(10);
  });
});

describe('memory is flat', () => {
  const x = Array.from({ length: 60 }, (_, index) => index);
  const MB = 1e6;

  test.each([
    ['it stands still', (at: number) => 300 + (at % 3), true],
    ['it grows by a twentieth', (at: number) => 300 + at * 0.2, true],
    ['it shrinks', (at: number) => 900 - at * 5, true],
    ['it swings as memtables fill and are flushed', (at: number) => 300 + (at % 12) * 20, true],
    ['it grows by a third', (at: number) => 300 + at * 1.7, false],
    ['it swings and grows', (at: number) => 300 + (at % 6) * 5 + at * 3, false],
  ])('%s', (_what, megabytes, expected) => {
    const y = x.map((at) => megabytes(at) * MB);
    expect(flatnessOf(x, y, 1 * MB).isFlat).toBe(expected);
  });
});

describe('tables', () => {
  const cpu = ROWS.find(({ label }) => label.endsWith('acknowledged'))!;
  const rate = ROWS.find(({ label }) => label === 'million values/s')!;

  test.each([
    [cpu, 0.1, 'yes'],
    [cpu, 0.09, 'no'],
    [rate, 15, 'yes'],
    [rate, 25, 'no'],
    [cpu, 'ahead', 'yes'],
    [rate, 'ahead', 'yes'],
    [cpu, undefined, ''],
  ] as const)('$label against %s is judged', (row, goal, expected) => {
    expect(judge(row, goal, [FIGURES, PEER, PEER])).toBe(expected);
  });

  test('to be ahead of both takes both', () => {
    expect(judge(cpu, 'ahead', [FIGURES, PEER])).toBe('of the one that ran');
  });

  test('without Starling, or without peers to be ahead of, nothing is judged', () => {
    expect(judge(cpu, 0.1, [PEER])).toBe('');
    expect(judge(cpu, 'ahead', [FIGURES])).toBe('');
  });

  test('late points are compared with the same points in order', () => {
    const late = { ...FIGURES, acknowledgedCpu: 0.15, settledCpu: 0.4, bytesPerValue: 1.01 };
    const table = lateTable([report('A', [FIGURES, PEER]), report('F', [late, PEER])])!;
    expect(table.rows.map((row) => row.slice(2))).toEqual([
      ['1.50', '1.00', 'yes'],
      ['2.00', '1.00', 'no'],
      ['1.01', '1.00', 'yes'],
    ]);
    expect(lateTable([report('A', [FIGURES])])).toBeNull();
  });

  test('what a warm process takes is shown where every system was loaded again, without a goal', () => {
    const warm = (acknowledgedCpu: number) => ({ acknowledgedCpu, valuesPerSecond: 2e6, writeP99Ms: 7 });
    const rowsOf = (systems: RunFigures[]) =>
      ingestTable({ programs: [] } as unknown as Report, report('A', systems)).rows.filter(([label]) =>
        /taken as much before|^there/.test(label!),
      );
    expect(rowsOf([{ ...FIGURES, warm: warm(0.1) }, PEER])).toEqual([]);
    const runs = [0.3, 0.1, 0.2].map((cpu) => ({ ...FIGURES, warm: warm(cpu) }));
    const [cpu, rate, p99] = rowsOf([medianRun(runs), { ...PEER, warm: warm(0.6) }]);
    expect(cpu!.slice(1)).toEqual(['', '0.200', '0.600 (3.00x)', '']);
    expect(rate!.slice(1)).toEqual(['', '2.00', '2.00 (1.00x)', '']);
    expect(p99!.slice(1)).toEqual(['', '7.0', '7.0 (1.00x)', '']);
  });

  test('are printed for a terminal and for a page', () => {
    const table = { title: 'T', columns: ['', 'a'], rows: [['x', '1']] };
    expect(printTable(table, false)).toBe('T\n   a\nx  1');
    expect(printTable(table, true)).toBe('T\n\n|  | a |\n|---|---|\n| x | 1 |');
  });

  test('runs become one by the median of each figure', () => {
    const runs = [3, 1, 2].map((at) => ({ ...FIGURES, writeP50Ms: at, queries: { q: { p50Ms: at, p95Ms: at * 2 } } }));
    expect(medianRun(runs)).toEqual({ ...FIGURES, writeP50Ms: 2, queries: { q: { p50Ms: 2, p95Ms: 4 } } });
  });
});

describe('answers', () => {
  test('of both languages have the same names for the same numbers', () => {
    const shape = { ...TOTALS, isByHost: true, timeless: false, windowSeconds: 60 };
    const influx =
      '{"results":[{"series":[{"name":"cpu","tags":{"hostname":"h1"},"columns":["time","usage_user"],"values":[[120,5.5],[180,null]]}]}]}';
    const prometheus =
      '{"status":"success","data":{"result":[{"metric":{"__name__":"cpu_usage_user","hostname":"h1"},"values":[[179,"5.5"]]}]}}';
    const one = answerIn('influxdb', Buffer.from(influx), shape);
    expect([...one]).toEqual([['h1 usage_user 120', 5.5]]);
    expect([...answerIn('victoria-metrics', Buffer.from(prometheus), shape)]).toEqual([...one]);
  });

  test('an error in an answer is an error', () => {
    expect(() => answerIn('starling', Buffer.from('{"results":[{"error":"no"}]}'), TOTALS)).toThrow('no');
  });

  test('differ beyond the rounding of sums, or by what only one has', () => {
    expect(isClose(1e6, 1e6 + 1e-4)).toBe(true);
    expect(isClose(1, 1 + 1e-8)).toBe(false);
    expect(differences(new Map([['a', 1]]), new Map([['a', 1 + 1e-12]]))).toEqual([]);
    expect(differences(new Map([['a', 1]]), new Map([['b', 1]]))).toEqual([
      'a: 1 against nothing',
      'b: nothing against 1',
    ]);
  });
});

test('questions are drawn alike for all systems', () => {
  const data = { hosts: 1000, startSeconds: 7200, endSeconds: 14_400, intervalSeconds: 10 };
  for (const query of QUERIES) {
    const [a, b] = (['starling', 'victoria-metrics'] as const).map((system) => query.draw(system, data, randomOf(3)));
    expect(a!.texts).toEqual(b!.texts);
    expect(a!.path).not.toBe(b!.path);
  }
});

test('versions are read from what programs and packages say', () => {
  expect(versionInText('InfluxDB v1.6.7~rc0 (git: unknown unknown)')).toBe('1.6.7~rc0');
  expect(versionInText('flag provided but not defined')).toBeNull();
  expect(versionInChangelog('victoriametrics (1.145.0+ds1-2) unstable; urgency=medium\n')).toBe('1.145.0');
  expect(versionInChangelog('influxdb (1:1.6.7~rc0-2) unstable')).toBe('1.6.7');
});

test('self time is added up by function, idle time left out', () => {
  const frame = (functionName: string, url: string) => ({ functionName, url, lineNumber: 9 });
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('parse', 'file:///x/parser.js') },
      { id: 2, callFrame: frame('(idle)', '') },
      { id: 3, callFrame: frame('parse', 'file:///x/parser.js') },
      { id: 4, callFrame: frame('(garbage collector)', '') },
    ],
    samples: [1, 2, 3, 4],
    timeDeltas: [1000, 50_000, 2000, 500],
  };
  expect(selfTimes(profile)).toEqual([
    { name: 'parse parser.js:10', ms: 3 },
    { name: '(garbage collector)', ms: 0.5 },
  ]);
});

describe('options', () => {
  test('the usual ones, and those of a quick run', () => {
    expect(parseOptions([])).toMatchObject({ mode: 'table', runs: 5, scale: 1, queryCalls: 50 });
    expect(parseOptions([]).workloads).toEqual(['A', 'B', 'C', 'D', 'E', 'F', 'G', 'three']);
    expect(parseOptions(['--quick', '--runs', '2'])).toMatchObject({ runs: 2, workloads: ['A', 'F'] });
    expect(parseOptions(['curve', '--max-rows', '2000000'])).toMatchObject({ mode: 'curve', rowsMax: 2_000_000 });
    expect(parseOptions(['--workloads', 'a,three']).workloads).toEqual(['A', 'three']);
  });

  test.each([[['--workloads', 'X']], [['--runs', '0']], [['--runs', '1.5']], [['tables']], [['--scale', 'small']]])(
    '%j is refused',
    (args) => {
      expect(() => parseOptions(args)).toThrow();
    },
  );
});
