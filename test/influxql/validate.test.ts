/**
 * What InfluxDB refuses when it compiles a SELECT: texts recorded from it, and the open conformance statements.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { SelectStatement } from '../../server/influxql/ast.ts';
import { parseQuery } from '../../server/influxql/parser.ts';
import { validateSelect } from '../../server/influxql/validate.ts';

const MIXED = 'mixing aggregate and non-aggregate queries is not supported';

const CASES: readonly (readonly [string, string | null])[] = [
  ['SELECT a, b + 1, sin(c) FROM c', null],
  ['SELECT max(a), b FROM c', null],
  ['SELECT max(a), min(b), c FROM c', 'mixing multiple selector functions with tags or fields is not supported'],
  ['SELECT mean(a), * FROM c', MIXED],
  ['SELECT sin(mean(a)), b FROM c', MIXED],
  ['SELECT elapsed(a), b FROM c', MIXED],
  ['SELECT time AS t FROM c', 'at least 1 non-time field must be queried'],
  ['SELECT 1 + 2 FROM c', 'field must contain at least one variable'],
  ['SELECT sin(1) FROM c', 'field must contain at least one variable'],
  ['SELECT a + * FROM c', 'unable to use wildcard in a binary expression'],
  ['SELECT max(*) + 1 FROM c', 'unsupported expression with wildcard: max()'],
  ['SELECT max(/x/) * 2 FROM c', 'unsupported expression with regex field: max()'],
  ['SELECT foo(a) FROM c', 'undefined function foo()'],
  ["SELECT percentile(a, 'x') FROM c", 'expected float argument in percentile()'],
  ['SELECT sample(a, 0) FROM c', 'sample window must be greater than 1, got 0'],
  ['SELECT derivative(a, -1s) FROM c', 'duration argument must be positive, got -1s'],
  ['SELECT derivative(a, b) FROM c', 'second argument to derivative must be a duration, got *influxql.VarRef'],
  [
    'SELECT exponential_moving_average(a) FROM c',
    'invalid number of arguments for exponential_moving_average, expected at least 2 but no more than 4, got 1',
  ],
  [
    'SELECT exponential_moving_average(a, 1, 2, 3, 4) FROM c',
    'invalid number of arguments for exponential_moving_average, expected at least 2 but no more than 4, got 5',
  ],
  [
    'SELECT exponential_moving_average(a, 0) FROM c',
    'exponential_moving_average period must be greater than or equal to 1',
  ],
  ['SELECT exponential_moving_average(a, 1.5) FROM c', 'exponential_moving_average period must be an integer'],
  [
    'SELECT exponential_moving_average(a, 1, -2) FROM c',
    'exponential_moving_average hold period must be greater than or equal to 0',
  ],
  [
    'SELECT triple_exponential_derivative(a, 1, 0) FROM c',
    'triple_exponential_derivative hold period must be greater than or equal to 1',
  ],
  ['SELECT exponential_moving_average(a, 1, 1.5) FROM c', 'exponential_moving_average hold period must be an integer'],
  ['SELECT exponential_moving_average(a, 1, 1, 3) FROM c', 'exponential_moving_average warmup type must be a string'],
  [
    "SELECT relative_strength_index(a, 1, 1, 'none') FROM c",
    "relative_strength_index warmup type must be one of: 'exponential' 'simple'",
  ],
  [
    "SELECT chande_momentum_oscillator(a, 1, 1, 'x') FROM c",
    "chande_momentum_oscillator warmup type must be one of: 'none' 'exponential' 'simple'",
  ],
  [
    'SELECT kaufmans_efficiency_ratio(a, 1, 1, 1) FROM c',
    'invalid number of arguments for kaufmans_efficiency_ratio, expected at least 2 but no more than 3, got 4',
  ],
  ["SELECT chande_momentum_oscillator(a, 1, -1, 'none') FROM c", null],
  ['SELECT moving_average(a, 1) FROM c', 'moving_average window must be greater than 1, got 1'],
  [
    'SELECT top(a, 5) FROM c LIMIT 2',
    'limit (5) in top function can not be larger than the LIMIT (2) in the select statement',
  ],
  ['SELECT top(mean(a), 5) FROM c', 'expected first argument to be a field in top(), found mean(a)'],
  [
    'SELECT distinct(a), mean(b) FROM c',
    'aggregate function distinct() cannot be combined with other functions or fields',
  ],
  ['SELECT a FROM c GROUP BY 1', 'only time and tag dimensions allowed'],
  ['SELECT a FROM c GROUP BY time', 'time() is a function and expects at least one argument'],
  ['SELECT a FROM c GROUP BY time()', 'time dimension expected 1 or 2 arguments'],
  ['SELECT a FROM c GROUP BY time(1)', 'time dimension must have duration argument'],
  ['SELECT a FROM c GROUP BY foo(1h)', 'only time() calls allowed in dimensions'],
  ['SELECT a FROM c GROUP BY time(1h), time(2h)', 'multiple time dimensions not allowed'],
  ['SELECT mean(a) FROM c GROUP BY time(1h, 1)', 'time dimension offset must be duration or now()'],
  ['SELECT a FROM c GROUP BY time(1h)', 'GROUP BY requires at least one aggregate function'],
  ['SELECT a FROM c fill(none)', 'fill(none) must be used with a function'],
  ['SELECT mean(a) FROM (SELECT a FROM c GROUP BY time(1h))', 'fill(none) must be used with a function'],
  ['SELECT mean(a) FROM (SELECT foo(a) FROM c)', 'undefined function foo()'],
  ['SELECT mean(a) FROM (SELECT derivative(a) FROM c) GROUP BY time(1h)', null],
  ['SELECT sum(d) FROM (SELECT derivative(mean(a)) FROM c) GROUP BY time(1h)', null],
  ['SELECT sum(d) FROM (SELECT derivative(mean(a)) FROM c)', 'derivative aggregate requires a GROUP BY interval'],
  ['SELECT mean((a)) FROM c GROUP BY (time(1h * 2))', null],
  ['SELECT mean(a) FROM c GROUP BY time(1h * 1.5)', null],
  ['SELECT mean(a) FROM c GROUP BY time(2 * 1h)', 'time dimension must have duration argument'],
  ['SELECT moving_average(a, 1 + 1), percentile(a, 45 * 2) FROM c', null],
  ['SELECT derivative(a, 1s * 10) FROM c', null],
  ['SELECT abs(1 + 1) FROM c', 'field must contain at least one variable'],
  ['SELECT abs(1, 2) FROM c', 'invalid number of arguments for abs, expected 1, got 2'],
  ['SELECT 10 ^ (0 / 0) FROM c', 'cannot perform a binary expression on two literals'],
  ["SELECT a + (1 + 's') FROM c", 'cannot perform a binary expression on two literals'],
  ['SELECT a + (1h + 1) FROM c', 'cannot perform a binary expression on two literals'],
];

test.each(CASES)('%s', (text, message) => {
  expect(validateSelect(parseQuery(text)[0] as SelectStatement)).toBe(message);
});

const openCases = resolve('..', 'shared', 'conformance', 'influxql_stmt_open.json');

test.skipIf(!existsSync(openCases))(
  'open conformance statements: the exact text where the tree alone tells (needs ../shared/conformance)',
  () => {
    type OpenCase = { kind: string; stmt: string; err?: string };
    const { cases } = JSON.parse(readFileSync(openCases, 'utf8')) as { cases: OpenCase[] };
    for (const { kind, stmt, err } of cases.filter((one) => one.kind.startsWith('compile'))) {
      // Conditions are the planner's: it knows the times.
      if (err?.startsWith('invalid condition expression')) continue;
      const message = validateSelect(parseQuery(stmt)[0] as SelectStatement);
      expect([stmt, message]).toEqual([stmt, kind === 'compile_error' ? err : null]);
    }
  },
);
