/** What InfluxDB 1.6.7 answers of technical analysis and holt_winters, recorded from it. */
import { beforeAll, expect, test } from 'vitest';
import { ask } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const memory = new MemoryBackend();
const VALUES = [7, 14, 21, 5, 12, 19, 3, 10, 17, 1, 8, 15];

/** What is shown of all values, from the first or second one on. */
const INDICATORS: [string, (number | null)[]][] = [
  [
    'exponential_moving_average(v, 3, 0)',
    [
      7, 11.666666666666666, 16.333333333333332, 10.666666666666666, 11.333333333333332, 15.166666666666666,
      9.083333333333332, 9.541666666666666, 13.270833333333332, 7.135416666666666, 7.567708333333333,
      11.283854166666666,
    ],
  ],
  [
    "exponential_moving_average(v, 3, 0, 'simple')",
    [7, 10.5, 14, 9.5, 10.75, 14.875, 8.9375, 9.46875, 13.234375, 7.1171875, 7.55859375, 11.279296875],
  ],
  [
    'double_exponential_moving_average(v, 3, 0)',
    [
      7, 13.222222222222221, 19.444444444444443, 9.38888888888889, 11.027777777777777, 16.930555555555557,
      6.923611111111111, 8.690972222222221, 14.710069444444443, 4.787326388888889, 6.609809027777779,
      12.662977430555555,
    ],
  ],
  [
    "double_exponential_moving_average(v, 3, 0, 'simple')",
    [
      7, 10.5, 14, 7.25, 10.083333333333334, 16.604166666666668, 6.833333333333334, 8.682291666666668,
      14.723958333333334, 4.803385416666668, 6.622395833333334, 12.671549479166668,
    ],
  ],
  [
    'triple_exponential_moving_average(v, 3, 0)',
    [
      7, 13.74074074074074, 20.48148148148148, 7.7129629629629655, 10.675925925925927, 17.789351851851855,
      5.391203703703708, 8.579282407407408, 15.799189814814817, 3.4382233796296333, 6.6303530092592595,
      13.841760706018523,
    ],
  ],
  [
    "triple_exponential_moving_average(v, 3, 0, 'simple')",
    [
      7, 10.5, 14, 5, 9.416666666666666, 17.46875, 5.555555555555555, 8.702256944444446, 15.871961805555554,
      3.4756944444444464, 6.647352430555554, 13.848253038194446,
    ],
  ],
  [
    'triple_exponential_derivative(v, 3, 1)',
    [
      null,
      29.629629629629605,
      22.857142857142865,
      3.5714285714285587,
      0.4009623095429182,
      7.80750798722043,
      -5.019448045934438,
      -6.225624024960985,
      3.1453080322328963,
      -8.700856854838712,
      -9.334069422400127,
      2.107943128539258,
    ],
  ],
  [
    "triple_exponential_derivative(v, 3, 1, 'simple')",
    [
      null,
      50,
      33.33333333333333,
      -16.07142857142857,
      -2.8368794326241176,
      7.57299270072993,
      -3.364433135425504,
      -6.794909303686381,
      3.087969865808682,
      -8.647661096943626,
      -9.226698887546359,
      2.2795079521722217,
    ],
  ],
  [
    'relative_strength_index(v, 3, 0)',
    [
      100, 100, 100, 39.62264150943396, 54.609929078014176, 66.92506459948319, 34.67202141900937, 50.368675311467065,
      63.51742827773105, 33.28436413495912, 49.163704885306764, 62.53836662164066,
    ],
  ],
  [
    "relative_strength_index(v, 3, 0, 'simple')",
    [
      100, 100, 100, 56.75675675675676, 68.62745098039215, 77.77777777777777, 38.88888888888889, 53.986928104575156,
      66.42823080591322, 34.47166542934917, 50.19513800724127, 63.37672665663952,
    ],
  ],
  [
    'kaufmans_efficiency_ratio(v, 3, 0)',
    [
      1, 1, 1, 0.06666666666666667, 0.06666666666666667, 0.06666666666666667, 0.06666666666666667, 0.06666666666666667,
      0.06666666666666667, 0.06666666666666667, 0.06666666666666667, 0.06666666666666667,
    ],
  ],
  [
    'kaufmans_adaptive_moving_average(v, 3, 0)',
    [
      3.1111111111111116, 10.11111111111111, 17.11111111111111, 20.824742230957977, 20.728079441222437,
      20.709150731997685, 20.51517159144026, 20.399992496802145, 20.362750303067823, 20.150658276778238,
      20.01756469790448, 19.96260424821831,
    ],
  ],
  [
    'chande_momentum_oscillator(v, 3, 0)',
    [
      0, 100, 100, -6.666666666666667, -6.666666666666667, -6.666666666666667, -6.666666666666667, -6.666666666666667,
      -6.666666666666667, -6.666666666666667, -6.666666666666667, -6.666666666666667,
    ],
  ],
  [
    "chande_momentum_oscillator(v, 3, 0, 'simple')",
    [
      100, 100, 100, 13.513513513513514, 37.25490196078431, 55.55555555555556, -22.222222222222218, 7.973856209150323,
      32.85646161182641, -31.05666914130165, 0.3902760144825269, 26.753453313279046,
    ],
  ],
  [
    "chande_momentum_oscillator(v, 3, 0, 'exponential')",
    [
      100, 100, 100, -20.754716981132088, 9.219858156028355, 33.85012919896639, -30.655957161981256, 0.7373506229341391,
      27.034856555462106, -33.43127173008178, -1.672590229386473, 25.076733243281318,
    ],
  ],
];

/** When the first value is shown. */
const HOLDS: [string, number][] = [
  ['exponential_moving_average(v, 3)', 3],
  ["exponential_moving_average(v, 3, -1, 'simple')", 3],
  ['double_exponential_moving_average(v, 3)', 3],
  ["double_exponential_moving_average(v, 3, -1, 'simple')", 5],
  ['triple_exponential_moving_average(v, 3)', 3],
  ["triple_exponential_moving_average(v, 3, -1, 'simple')", 7],
  ['triple_exponential_derivative(v, 3)', 4],
  ["triple_exponential_derivative(v, 3, -1, 'simple')", 8],
  ['relative_strength_index(v, 3)', 4],
  ["relative_strength_index(v, 3, -1, 'simple')", 4],
  ['kaufmans_efficiency_ratio(v, 3)', 4],
  ['kaufmans_adaptive_moving_average(v, 3)', 4],
  ['chande_momentum_oscillator(v, 3)', 3],
  ["chande_momentum_oscillator(v, 3, -1, 'simple')", 4],
];

const FORECASTS: [string, [number, number][]][] = [
  [
    'holt_winters(mean(v), 3, 1)',
    [
      [13, 11.387220681863278],
      [14, 11.387220680536574],
      [15, 11.38722068037599],
    ],
  ],
  [
    'holt_winters(mean(v), 4, 2)',
    [
      [13, 12.21230890250922],
      [14, 11.257253357946666],
      [15, 12.583166448426152],
      [16, 11.593895442562559],
    ],
  ],
  [
    'holt_winters(mean(v), 4, 4)',
    [
      [13, 9.720879010911869],
      [14, 10.294383597137804],
      [15, 8.055882875452586],
      [16, 8.44065711328765],
    ],
  ],
  [
    'holt_winters_with_fit(mean(v), 4, 3)',
    [
      [1, 7],
      [2, 12.235995380716515],
      [3, 11.512472183249988],
      [4, 11.078911092864997],
      [5, 10.783375942493768],
      [6, 10.632725993182618],
      [7, 10.54609494581729],
      [8, 10.42613059489437],
      [9, 10.399532144364102],
      [10, 10.386186428032516],
      [11, 10.336654948373466],
      [12, 10.334490354655488],
      [13, 10.334617095720679],
      [14, 10.315740706487421],
      [15, 10.31719501673376],
      [16, 10.318773962714031],
    ],
  ],
  [
    'holt_winters(mean(n), 2, 0)',
    [
      [13, 11.387220681863278],
      [14, 11.387220680536574],
    ],
  ],
];

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t');
  memory.write('t', VALUES.map((v, i) => `m v=${v},n=${v}i,s="a" ${i + 1}000000000`).join('\n'));
});

async function rows(query: string): Promise<[number, number][]> {
  const [result] = await ask(memory, query, { database: 't', epoch: 's' });
  expect(result!.error).toBeUndefined();
  return result!.series![0]!.values as [number, number][];
}

/** To a share of 1e-9: sums of windows are added in another order. */
function expectClose(
  given: readonly (readonly [number, number])[],
  expected: readonly (readonly [number, number])[],
): void {
  expect(given.map(([time]) => time)).toEqual(expected.map(([time]) => time));
  given.forEach(([, value], i) => {
    expect(Math.abs(value - expected[i]![1])).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(expected[i]![1])));
  });
}

test.each(INDICATORS)('%s', async (call, expected) => {
  const shown = expected.flatMap((value, i) => (value === null ? [] : [[i + 1, value] as [number, number]]));
  expectClose(await rows(`SELECT ${call} FROM m`), shown);
});

test('values that stay where they are have no efficiency', async () => {
  memory.write('t', [1, 2, 3, 4].map((second) => `still v=5 ${second}000000000`).join('\n'));
  expect(await rows('SELECT kaufmans_efficiency_ratio(v, 2, 0) FROM still')).toEqual([
    [1, 1],
    [2, 1],
    [3, 0],
    [4, 0],
  ]);
});

test.each(HOLDS)('%s begins at %i s', async (call, first) => {
  expect((await rows(`SELECT ${call} FROM m`))[0]![0]).toBe(first);
});

test.each(FORECASTS)('%s', async (call, expected) => {
  expectClose(await rows(`SELECT ${call} FROM m WHERE time > 0 AND time < 13s GROUP BY time(1s)`), expected);
});

test('a search that hangs on the last bits ends where it does in InfluxDB', async () => {
  const values = [12, 9, 0, -10.640625, 13, 0, 11, -4, -12.40625, -3, 0, -3];
  memory.write('t', values.map((value, i) => `jumping v=${value} ${i}000000000`).join('\n'));
  const query = 'SELECT holt_winters(max(v), 2, 2) FROM jumping WHERE time >= 0 AND time < 12s GROUP BY time(1s)';
  expectClose(await rows(query), [
    [12, -0.2096933244067468],
    [13, -0.11513696090980156],
  ]);
});

test('a forecast of what runs backwards has no points', async () => {
  const query =
    'SELECT holt_winters(mean(v), 2, 0) FROM m WHERE time > 0 AND time < 13s GROUP BY time(1s) ORDER BY time DESC';
  expect((await ask(memory, query, { database: 't' }))[0]).toEqual({ statement_id: 0 });
});

test('strings are refused by the name that InfluxDB gives', async () => {
  const refused = async (call: string): Promise<string | undefined> =>
    (await ask(memory, `SELECT ${call} FROM m WHERE time > 0 AND time < 13s GROUP BY time(1s)`, { database: 't' }))[0]!
      .error;
  const type = 'iterator type: *query.stringInterruptIterator';
  expect(await refused('exponential_moving_average(first(s), 2)')).toBe(
    `unsupported exponential moving average ${type}`,
  );
  expect(await refused('non_negative_derivative(first(s))')).toBe(`unsupported derivative ${type}`);
  expect(await refused('holt_winters(first(s), 1, 1)')).toBe(`unsupported elapsed ${type}`);
});
