/** What InfluxDB 1.6.7 answers around subqueries, recorded from it: windows before the range, what is no number, columns. */
import { beforeAll, expect, test } from 'vitest';
import { ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const memory = new MemoryBackend();
const START = 1_577_836_800;
const at = (seconds: number): string => `${START + seconds}000000000`;
const times = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join('\n');

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t');
  memory.write(
    't',
    times(12, (i) => `m,h=a v=${i * i + 0.5},n=${i * i + 1}i,k=${10 - i * i}i ${at(i * 10)}`),
  );
  memory.write(
    't',
    times(12, (i) => `m,h=b v=${-i},n=${i}i,k=${7 * i}i ${at(i * 10 + 1)}`),
  );
  memory.write(
    't',
    times(6, (i) => `o v=${i},n=${i * 3}i ${at(i * 20 + 2)}`),
  );
  // Over a boundary of shards.
  memory.write(
    't',
    times(16, (i) => `p v=${i * i} ${at((i - 4) * 21_600)}`),
  );
});

async function run(query: string): Promise<JsonResult> {
  const options = { database: 't', epoch: 's', nowNs: BigInt(START + 1_000_000) * 1_000_000_000n };
  return (await ask(memory, query.replaceAll('BASE', `${START}s`), options))[0]!;
}

/** Of the only series, with times from START on, but those of 1970. */
function rows({ series, error }: JsonResult): unknown[][] {
  expect(error).toBeUndefined();
  expect(series).toHaveLength(1);
  return series![0]!.values!.map(([time, ...rest]) => [time === 0 ? 0 : (time as number) - START, ...rest]);
}

const WINDOWS_BEFORE: [string, unknown[][]][] = [
  [
    'SELECT max(d) FROM (SELECT sum(v) AS d FROM o GROUP BY time(1h, 45m)) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20m)',
    [[-1200, 14]],
  ],
  [
    'SELECT max(d) FROM (SELECT sum(v) AS d FROM o GROUP BY time(1h, 45m)) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20m) fill(linear) ORDER BY time DESC',
    [
      [0, null],
      [-1200, 14],
    ],
  ],
  [
    'SELECT max(d), count(d) FROM (SELECT sum(v) AS d FROM m GROUP BY time(50s), h) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20s) fill(7)',
    [
      [0, 16.5, 2],
      [40, 257.5, 2],
      [60, 7, 7],
      [80, 7, 7],
      [100, 222, 2],
    ],
  ],
  [
    'SELECT max(d), derivative(count(d)) FROM (SELECT sum(v) AS d FROM m GROUP BY time(50s), h) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20s) fill(7)',
    [
      [0, 16.5, 7],
      [20, 7, 5],
      [40, 257.5, -5],
      [60, 7, 5],
      [80, 7, 0],
      [100, 222, -5],
    ],
  ],
  [
    'SELECT sum(d) FROM (SELECT count(v) AS d FROM o GROUP BY time(10s, 5s)) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(30s, 2s) fill(previous) LIMIT 2',
    [
      [32, 2],
      [62, 1],
    ],
  ],
];
const LOOKING_BACK: [string, unknown[][]][] = [
  ['SELECT difference(mean(v)) FROM p WHERE time >= BASE + 1d AND time < BASE + 2d GROUP BY time(1d)', [[86400, 60]]],
  [
    'SELECT difference(mean(v)) FROM p WHERE time >= BASE + 1d AND time < BASE + 2d GROUP BY time(12h) ORDER BY time DESC',
    [
      [129600, -46],
      [86400, -38],
    ],
  ],
  [
    'SELECT holt_winters_with_fit(max(v), 1, 0) FROM o WHERE time >= BASE + 55s AND time < BASE + 120s GROUP BY time(20s)',
    [
      [60, 3],
      [80, 4.001637411707815],
      [100, 5.001432037390789],
      [120, 6.194349395684618],
    ],
  ],
  [
    'SELECT difference(difference(max(v))) FROM m WHERE time >= BASE + 55s AND time < BASE + 120s GROUP BY time(20s)',
    [
      [80, 8],
      [100, 8],
    ],
  ],
  [
    "SELECT difference(moving_average(max(d), 2)) FROM (SELECT difference(v) AS d FROM m WHERE h = 'a') WHERE time >= BASE + 55s AND time < BASE + 120s GROUP BY time(20s)",
    [
      [60, 4],
      [80, 4],
      [100, 4],
    ],
  ],
  [
    'SELECT d FROM (SELECT derivative(sum(v)) AS d FROM o GROUP BY time(20s)) WHERE time >= BASE + 35s AND time < BASE + 120s',
    [
      [60, 1],
      [80, 1],
      [100, 1],
    ],
  ],
  [
    'SELECT d FROM (SELECT derivative(sum(v)) AS d FROM o WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20s))',
    [
      [40, 1],
      [60, 1],
      [80, 1],
      [100, 1],
    ],
  ],
  [
    'SELECT max(d) FROM (SELECT derivative(v) AS d FROM o) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(40s)',
    [
      [0, null],
      [40, 2],
      [80, 2],
    ],
  ],
  [
    'SELECT moving_average(max(d), 2), mean(d) FROM (SELECT difference(v) AS d FROM o) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20s)',
    [
      [20, null, null],
      [40, 1, 1],
      [60, 1, 1],
      [80, 1, 1],
      [100, 1, 1],
    ],
  ],
  [
    'SELECT mean(c) FROM (SELECT d AS c FROM (SELECT count(v) AS d FROM m)) WHERE time >= BASE + 35s AND time < BASE + 120s GROUP BY time(20s)',
    [
      [20, null],
      [40, 4],
      [60, 4],
      [80, 4],
      [100, 4],
    ],
  ],
  [
    "SELECT cumulative_sum(max(d)) FROM (SELECT difference(v) AS d FROM m WHERE h = 'a') WHERE time >= BASE + 55s AND time < BASE + 120s GROUP BY time(20s)",
    [
      [40, 9],
      [60, 22],
      [80, 39],
      [100, 60],
    ],
  ],
];
const NO_NUMBERS: [string, unknown[][]][] = [
  [
    "SELECT count(c), mean(c), min(c), first(c), last(c), spread(c) FROM (SELECT sqrt(k::float) AS c FROM m WHERE h = 'a')",
    [[0, 12, null, 1, 3.1622776601683795, null, null]],
  ],
  [
    "SELECT difference(c) FROM (SELECT sqrt(k::float) AS c FROM m WHERE h = 'a') LIMIT 5",
    [
      [10, -0.16227766016837952],
      [20, -0.5505102572168221],
      [30, -1.4494897427831779],
      [40, null],
      [50, null],
    ],
  ],
  [
    "SELECT c FROM (SELECT sqrt(k::float) AS c FROM m WHERE h = 'a') WHERE c != 1 LIMIT 4",
    [
      [0, 3.1622776601683795],
      [10, 3],
      [20, 2.449489742783178],
      [40, null],
    ],
  ],
  ["SELECT count(distinct(c)) FROM (SELECT sqrt(k::float) AS c FROM m WHERE h = 'a')", [[0, 12]]],
  ['SELECT sum(s), count(s) FROM (SELECT stddev(v) AS s FROM o WHERE v = 1)', [[0, null, 1]]],
  [
    "SELECT top(c, 6) FROM (SELECT sqrt(k::float) AS c FROM m WHERE h = 'a' AND n < 30)",
    [
      [0, 3.1622776601683795],
      [10, 3],
      [20, 2.449489742783178],
      [30, 1],
      [40, null],
      [50, null],
    ],
  ],
  [
    'SELECT relative_strength_index(c, 2) FROM (SELECT sqrt(v) AS c FROM m WHERE v > -3) LIMIT 8',
    [
      [10, 75.59830641437075],
      [11, 75.59830641437075],
      [20, 75.59830641437075],
      [21, 75.59830641437075],
      [30, 75.59830641437075],
      [40, 98.58376867958253],
      [50, 99.51150180964167],
      [60, 99.7890310980356],
    ],
  ],
  [
    'SELECT chande_momentum_oscillator(c, 2) FROM (SELECT sqrt(v) AS c FROM m WHERE v > -3)',
    [
      [1, -100],
      [10, 26.794919243112265],
      [11, 100],
      [20, 0],
      [21, 0],
      [30, 0],
      [40, 100],
      [50, 100],
      [60, 100],
      [70, 100],
      [80, 100],
      [90, 100],
      [100, 100],
      [110, 100],
    ],
  ],
  [
    'SELECT kaufmans_efficiency_ratio(c, 2) FROM (SELECT sqrt(v) AS c FROM m WHERE v > -2) LIMIT 8',
    [
      [10, 0.26794919243112264],
      [11, null],
      [20, null],
      [30, null],
      [40, null],
      [50, null],
      [60, null],
      [70, null],
    ],
  ],
  ['SELECT stddev(c) FROM (SELECT sqrt(v) AS c FROM m WHERE v < 10 AND v > -5)', [[0, 1.2059512129495755]]],
  [
    'SELECT kaufmans_efficiency_ratio(stddev(v), 2) FROM o WHERE time >= BASE AND time < BASE + 120s GROUP BY time(7s) fill(100)',
    [
      [6, 0],
      [13, null],
      [20, null],
      [27, 0],
      [34, null],
      [41, null],
      [48, 0],
      [55, null],
      [62, null],
      [69, 0],
      [76, null],
      [83, 0],
      [90, null],
      [97, null],
      [104, 0],
      [111, null],
      [118, 0],
    ],
  ],
];

test.each(WINDOWS_BEFORE)('windows of a subquery that begin before the range: %s', async (query, expected) => {
  expect(rows(await run(query))).toEqual(expected);
});

test.each(LOOKING_BACK)('windows before the range that functions look back to: %s', async (query, expected) => {
  expect(rows(await run(query))).toEqual(expected);
});

test.each(NO_NUMBERS)('what is no number is a value: %s', async (query, expected) => {
  expect(rows(await run(query))).toEqual(expected);
});

const COLUMNS: [string, string[], unknown[][]][] = [
  [
    'SELECT *::field FROM (SELECT h, n FROM m LIMIT 2)',
    ['n'],
    [
      [0, 1],
      [1, 0],
    ],
  ],
  ['SELECT *::tag FROM (SELECT h AS x, n FROM m GROUP BY h) LIMIT 1', ['h', 'x'], [[0, 'a', 'a']]],
  ['SELECT first(*) FROM (SELECT h AS x, n FROM m LIMIT 2)', ['first_n'], [[0, 1]]],
  ['SELECT * FROM (SELECT top(n, h, 1), v FROM m)', ['top', 'v'], [[110, 122, 121.5]]],
  ['SELECT count(*) FROM (SELECT top(n, h, 1), v FROM m)', ['count_top', 'count_v'], [[0, 1, 1]]],
  ['SELECT count(h), count(max) FROM (SELECT max(n) FROM m GROUP BY h)', ['count', 'count_1'], [[0, 2, 2]]],
  [
    'SELECT distinct(h) FROM (SELECT n FROM m GROUP BY h)',
    ['distinct'],
    [
      [0, 'a'],
      [0, 'b'],
    ],
  ],
  [
    'SELECT elapsed(h, 1s) FROM (SELECT n FROM m GROUP BY h) LIMIT 2',
    ['elapsed'],
    [
      [1, 1],
      [10, 9],
    ],
  ],
  ['SELECT zz::float + 1 FROM (SELECT n FROM o) LIMIT 1', ['zz'], [[2, null]]],
  ['SELECT zz::tag, zz::float FROM (SELECT n FROM o) fill(3) LIMIT 1', ['zz', 'zz_1'], [[2, 3, 3]]],
  [
    'SELECT v::integer FROM (SELECT v / 3 AS v FROM o) LIMIT 3',
    ['v'],
    [
      [2, 0],
      [22, 0],
      [42, 0],
    ],
  ],
  ['SELECT max(v::integer) FROM (SELECT v / 3 AS v FROM o)', ['max'], [[62, 1]]],
  ['SELECT sum(c) FROM (SELECT n AS c FROM o), (SELECT v AS c FROM o)', ['sum'], [[0, 60]]],
];

test.each(COLUMNS)('columns of subqueries: %s', async (query, columns, expected) => {
  const result = await run(query);
  expect(rows(result)).toEqual(expected);
  expect(result.series![0]!.columns.slice(1)).toEqual(columns);
});

test('a subquery has no time zone but its own', async () => {
  const windows = 'SELECT sum(v) AS s FROM p WHERE time >= BASE AND time < BASE + 1d GROUP BY time(1d)';
  const zone = "tz('America/New_York')";
  const seconds = async (query: string): Promise<unknown> => rows(await run(query)).map(([time]) => time);
  expect(await seconds(`SELECT s FROM (${windows}) ${zone}`)).toEqual([0]);
  expect(await seconds(`SELECT s FROM (${windows} ${zone})`)).toEqual([-68_400, 18_000]);
});

test('wildcards list columns of a subquery that have nothing', async () => {
  const { series } = await run('SELECT *::field, n FROM (SELECT zz AS x, abs(zz) AS y, n FROM o LIMIT 1)');
  expect(series![0]).toMatchObject({
    columns: ['time', 'n', 'x', 'y', 'n_1'],
    values: [[START + 2, 0, null, null, 0]],
  });
});

test('a column of tags is no field', async () => {
  expect((await run('SELECT count(h::field) FROM (SELECT n, h FROM m)')).series).toBeUndefined();
  expect((await run('SELECT zz::field FROM (SELECT n FROM o)')).series).toBeUndefined();
});

test('a column has the type that it is written with, and that of what a function of no number is of', async () => {
  const error = async (query: string): Promise<unknown> => (await run(query)).error;
  expect(await error('SELECT median(x) FROM (SELECT zz::string AS x, n FROM o)')).toBe(
    'unsupported median iterator type: *query.stringInterruptIterator',
  );
  expect(await error('SELECT x + 1 FROM (SELECT h::string AS x, n FROM m)')).toMatch(/types: string and integer$/);
  expect((await run('SELECT *::field FROM (SELECT zz::tag FROM (SELECT n FROM o))')).series).toBeUndefined();
  expect((await run('SELECT *::field FROM (SELECT last(c) FROM (SELECT h AS c, n FROM m))')).series).toBeUndefined();
  expect(await error('SELECT c % 2 FROM (SELECT last(h) AS c, max(n) FROM m)')).toMatch(/types: tag and integer$/);
});

test('functions of tags of stored rows are nothing, in others as well', async () => {
  const { series, error } = await run(
    'SELECT cumulative_sum(first(h)), sum(n) FROM m WHERE time >= BASE AND time < BASE + 120s GROUP BY time(1m)',
  );
  expect(error).toBeUndefined();
  expect(series![0]!.values!.map(([, ...rest]) => rest)).toEqual([
    [null, 76],
    [null, 508],
  ]);
});

test('functions of booleans and strings see no numbers', async () => {
  expect((await run('SELECT last(c) FROM (SELECT v::boolean AS c FROM (SELECT v FROM o))')).series).toBeUndefined();
  expect((await run('SELECT count(v::string) FROM (SELECT v FROM o)')).series).toBeUndefined();
});

test('a moving average takes all values of series with equal times', async () => {
  const averages = rows(await run('SELECT moving_average(c, 3) FROM (SELECT distinct(v) AS c FROM o)'));
  expect(averages).toEqual([1, 2, 3, 4].map((average) => [0, average]));
});

test('functions of numbers refuse tags of a subquery', async () => {
  const { error } = await run('SELECT mean(h) FROM (SELECT n FROM m GROUP BY h)');
  expect(error).toBe('unsupported mean iterator type: *query.stringInterruptIterator');
});
