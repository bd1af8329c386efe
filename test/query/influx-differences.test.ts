/** What InfluxDB 1.6.7 answers, recorded from it, where a differential run found Starling to differ. */
import { beforeAll, expect, test } from 'vitest';
import { ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const memory = new MemoryBackend();
const BASE = 1_600_000_020_000_000_000n;
const at = (seconds: number): string => String(BASE + BigInt(seconds) * 1_000_000_000n);

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t');
  await ask(memory, 'CREATE RETENTION POLICY other ON t DURATION INF REPLICATION 1');
  memory.write(
    't',
    [
      `m,h=a v=1,i=3i,s="x",b=true ${at(0)}`,
      `m,h=b v=2,i=4i ${at(10)}`,
      `m,h=a v=5 ${at(90)}`,
      `tags,a=1 v=1 ${at(0)}`,
      `tags,b=1 v=2 ${at(0)}`,
    ].join('\n'),
  );
  memory.write('t', `elsewhere v=1 ${at(0)}`, 'other');
});

async function run(query: string): Promise<JsonResult> {
  const options = { database: 't', epoch: 's', nowNs: BASE + 600_000_000_000n };
  return (await ask(memory, query.replaceAll('BASE', String(BASE)), options))[0]!;
}

const START = Number(BASE / 1_000_000_000n);

const VALUES: [string, unknown[][]][] = [
  // Rows in the order of time: of a, b, a.
  [
    'SELECT v, i, s, b, h FROM m fill(7)',
    [
      [0, 1, 3, 'x', true, 'a'],
      [10, 2, 4, 7, 7, 'b'],
      [90, 5, 7, 7, 7, 'a'],
    ],
  ],
  [
    'SELECT i, s FROM m fill(previous)',
    [
      [0, 3, 'x'],
      [10, 4, 'x'],
    ],
  ],
  [
    'SELECT i, v + i FROM m fill(2.5)',
    [
      [0, 3, 4],
      [10, 4, 6],
      [90, 2, 7],
    ],
  ],
  [
    "SELECT i, v FROM m WHERE h = 'a' fill(previous)",
    [
      [0, 3, 1],
      [90, 3, 5],
    ],
  ],
  ['SELECT max(v), i, s, zz FROM m fill(1.5)', [[90, 5, 1, 1.5, 1.5]]],
  ["SELECT pow(i, -1) FROM m WHERE h = 'b'", [[10, 0.25]]],
  // In a condition the quotient of integers is one; constants were computed before.
  ['SELECT i FROM m WHERE i / 2 = 1', [[0, 3]]],
  ['SELECT i FROM m WHERE i / 0 = 0 AND i > 7 / 2', [[10, 4]]],
  ['SELECT x FROM (SELECT i AS x FROM m) WHERE x / 2 * 2 = x AND 7 / 2 = 3.5', [[10, 4]]],
  ["SELECT v + (1 / 2 + pow(2, 1 + 1)), v + 1h FROM m WHERE h = 'b'", [[10, 6.5, null]]],
  // Quotients and roots of integers are floats, which have no bits; they are no errors either.
  [
    'SELECT i & (i / i), i & sqrt(i) FROM m',
    [
      [0, null, null],
      [10, null, null],
    ],
  ],
];

test.each(VALUES)('%s', async (query, expected) => {
  const { series, error } = await run(query);
  expect(error).toBeUndefined();
  expect(series![0]!.values!.map(([time, ...rest]) => [(time as number) - START, ...rest])).toEqual(expected);
});

const RANGES: [string, unknown[][]][] = [
  [
    'SELECT mean(v) FROM m WHERE time < BASE + 3m GROUP BY time(1m) fill(null) LIMIT 3',
    [
      [0, 1.5],
      [60, 5],
      [120, null],
    ],
  ],
  [
    'SELECT distinct(v) FROM m WHERE time >= BASE AND time < BASE + 3m GROUP BY time(1m) fill(0)',
    [
      [0, 1],
      [0, 2],
      [60, 5],
    ],
  ],
  [
    'SELECT difference(mean(x)) FROM (SELECT v AS x FROM m) WHERE time >= BASE + 1m AND time < BASE + 2m GROUP BY time(1m)',
    [[60, 3.5]],
  ],
  ['SELECT integral(i) FROM m WHERE time >= BASE - 10s', [[-10, 35]]],
  ["SELECT integral(i) FROM m WHERE time >= BASE AND h = 'a' ORDER BY time DESC", [[0, 0]]],
  // The deviation of one value is no number, which goes on through further functions.
  [
    'SELECT cumulative_sum(stddev(v)), elapsed(stddev(v), 1s) FROM m WHERE time >= BASE AND time < BASE + 3m GROUP BY time(1m)',
    [
      [0, Math.SQRT1_2, null],
      [60, null, 60],
    ],
  ],
];

test.each(RANGES)('%s', async (query, expected) => {
  const { series, error } = await run(query);
  expect(error).toBeUndefined();
  expect(series![0]!.values!.map(([time, ...rest]) => [(time as number) - START, ...rest])).toEqual(expected);
});

const WHOLE: [string, unknown[][]][] = [
  ['SELECT mean(v), mean(zz), count(zz), first(zz) FROM m fill(3)', [[0, 8 / 3, 3, 3, null]]],
  ['SELECT count(v), first(h), max(h) FROM m fill(2.5)', [[0, 3, 2.5, 2.5]]],
  ["SELECT last(s), last(b), count(v) FROM m WHERE h = 'b' fill(100)", [[0, 100, 100, 1]]],
];

test.each(WHOLE)('%s', async (query, expected) => {
  expect((await run(query)).series![0]!.values).toEqual(expected);
});

test('functions around functions of wildcards are one for each field', async () => {
  const { series } = await run('SELECT sqrt(max(*)) FROM m');
  expect(series![0]).toMatchObject({ columns: ['time', 'sqrt_b', 'sqrt_i', 'sqrt_v'] });
});

test('GROUP BY an expression leaves all tags out of a wildcard', async () => {
  expect((await run('SELECT * FROM m GROUP BY /zz/')).series![0]!.columns).toEqual(['time', 'b', 'i', 's', 'v']);
});

test('constants are computed before columns get their names', async () => {
  const { series } = await run('SELECT max(v) + pow(2, 3), first(i) * (1) FROM m');
  expect(series![0]!.columns).toEqual(['time', 'max', 'first']);
});

test('false is the first of two booleans at one time, and true the last', async () => {
  memory.write(
    't',
    [`both,h=a b=true ${at(0)}`, `both,h=b b=false ${at(0)}`, `both,h=c b=true ${at(0)}`].join('\n'),
    'other',
  );
  const { series } = await run('SELECT first(b), last(b) FROM other.both');
  expect(series![0]!.values).toEqual([[0, false, true]]);
  const { series: selected } = await run('SELECT first(x) FROM (SELECT b AS x FROM other.both)');
  expect(selected![0]!.values).toEqual([[START, false]]);
});

test('distinct values from the end are in the order of their last times', async () => {
  memory.write('t', [1, 2, 1].map((value, i) => `again v=${value} ${at(i)}`).join('\n'), 'other');
  const { series } = await run('SELECT distinct(v) FROM other.again ORDER BY time DESC');
  expect(series![0]!.values).toEqual([
    [0, 2],
    [0, 1],
  ]);
});

test('a rate of change from zero on is left out', async () => {
  memory.write('t', [0, 5, 7].map((value, i) => `rising v=${value} ${at(i)}`).join('\n'), 'other');
  const { series } = await run('SELECT triple_exponential_derivative(v, 1) FROM other.rising');
  expect(series![0]!.values!.map(([time]) => (time as number) - START)).toEqual([2]);
});

test('oscillators do not move to or from what is no number', async () => {
  memory.write('t', [1, 5, 0, 9, 2].map((v, i) => `moving v=${v} ${at([0, 1, 20, 40, 41][i]!)}`).join('\n'), 'other');
  const windows = 'FROM other.moving WHERE time >= BASE AND time < BASE + 60s GROUP BY time(20s)';
  const { series } = await run(`SELECT relative_strength_index(stddev(v), 2, 0) ${windows}`);
  expect(series![0]!.values!.map(([, value]) => value)).toEqual([100, 100, 100]);
  const { series: oscillator } = await run(`SELECT chande_momentum_oscillator(stddev(v), 2, 0) ${windows}`);
  expect(oscillator![0]!.values!.map(([, value]) => value)).toEqual([0, 0, 0]);
});

test('a smoothed oscillator of what does not move has no value', async () => {
  memory.write('t', [0, 1].map((second) => `still v=0 ${at(second)}`).join('\n'), 'other');
  const { series } = await run("SELECT chande_momentum_oscillator(v, 2, 0, 'simple') FROM other.still");
  expect(series![0]!.values!.map(([, value]) => value)).toEqual([null, null]);
});

test('SLIMIT counts series by the text of their values', async () => {
  memory.write('t', [`named,a=x,b=1 v=1 ${at(0)}`, `named,a=x\\ y,b=1 v=2 ${at(0)}`].join('\n'), 'other');
  const { series } = await run('SELECT v FROM other.named GROUP BY a, b SLIMIT 1');
  expect(series!.map(({ tags }) => tags)).toEqual([{ a: 'x y', b: '1' }]);
});

test('SLIMIT counts series of each measurement for itself', async () => {
  memory.write('t', [`first,b=1 v=1 ${at(0)}`, `second,a=1 v=2 ${at(0)}`].join('\n'), 'other');
  const { series } = await run('SELECT max(v) FROM other.first, other.second GROUP BY * SLIMIT 1');
  expect(series!.map(({ name }) => name)).toEqual(['first', 'second']);
});

test('SLIMIT counts series by the keys of their tags first', async () => {
  const { series } = await run('SELECT v FROM tags GROUP BY a, b SLIMIT 1');
  expect(series!.map(({ tags }) => tags)).toEqual([{ a: '1', b: '' }]);
});

test('a subquery does not fill its own windows with null', async () => {
  const windows = 'WHERE time >= BASE AND time < BASE + 3m GROUP BY time(1m) fill(null)';
  const { series } = await run(`SELECT mean, n FROM (SELECT mean(v), count(i) AS n FROM m ${windows})`);
  expect(series![0]!.values).toEqual([
    [START, 1.5, 2],
    [START + 60, 5, null],
  ]);
  const counts = await run(
    'SELECT count(n) FROM (SELECT count(v) AS n FROM m fill(null)) WHERE time >= BASE AND time < BASE + 3m GROUP BY time(1m)',
  );
  expect(counts.series![0]!.values!.map((row) => row[1])).toEqual([1, 1, 0]);
});

test('groups of several measurements by one tag are told apart', async () => {
  memory.write('t', [`one,h=b k=1i ${at(0)}`, `two,h=a k=2i ${at(0)}`, `two,h=b k=4i ${at(0)}`].join('\n'), 'other');
  const { series } = await run('SELECT sum(k) FROM other.one, other.two GROUP BY h');
  expect(series!.map(({ name, tags, values }) => [name, tags!.h, values![0]![1]])).toEqual([
    ['one', 'b', 1],
    ['two', 'a', 2],
    ['two', 'b', 4],
  ]);
});

test('a tag that a subquery groups by is there as nothing', async () => {
  const { series } = await run("SELECT * FROM (SELECT max(v) FROM tags WHERE b = '1' GROUP BY a)");
  expect(series![0]).toMatchObject({ columns: ['time', 'a', 'max'], values: [[START, '', 2]] });
});

test('field keys are those of the default policy, unless another one is named', async () => {
  expect((await run('SHOW FIELD KEYS')).series!.map(({ name }) => name)).toEqual(['m', 'tags']);
  expect((await run('SHOW FIELD KEYS FROM other.elsewhere')).series!.map(({ name }) => name)).toEqual(['elsewhere']);
});

const ERRORS: [string, string][] = [
  ['SELECT v & 1 FROM m', 'type error: v::float & 1: incompatible types: float and integer'],
  ['SELECT s + 1.25 FROM m', 'type error: s::string + 1.250: incompatible types: string and float'],
  ['SELECT 0.5 & mean(zz) FROM m', 'type error: 0.500 & mean(zz): incompatible types: float and float'],
  ['SELECT 10 | first(h) FROM m', 'type error: 10 | first(h::tag): incompatible types: integer and tag'],
  ['SELECT (stddev(zz) - 0) ^ 1 FROM m', 'type error: (stddev(zz) - 0) ^ 1: incompatible types: float and integer'],
  ['SELECT abs(/v/) FROM m', 'field must contain at least one variable'],
  [
    'SELECT s + pow(i, 0.5) FROM m',
    'type error: s::string + pow(i::integer, 0.500): incompatible types: string and integer',
  ],
  ['SELECT s + ((v)) FROM m', 'type error: s::string + v::float: incompatible types: string and float'],
  [
    'SELECT first(v) FROM (SELECT v FROM m ORDER BY time DESC)',
    'subqueries must be ordered in the same direction as the query itself',
  ],
  [
    'SELECT first(v) FROM (SELECT v FROM m ORDER BY time ASC) ORDER BY time DESC',
    'subqueries must be ordered in the same direction as the query itself',
  ],
  [
    'SELECT spread(x) FROM (SELECT sum(s) AS x FROM m)',
    'unsupported sum iterator type: *query.stringInterruptIterator',
  ],
];

test.each(ERRORS)('%s: %s', async (query, error) => {
  expect((await run(query)).error).toBe(error);
});
