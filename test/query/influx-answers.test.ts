/** Table of queries with the answers that InfluxDB (1.6.7, 1.8 where they differ) gives. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ask, type JsonResult } from './ask.ts';
import { MemoryBackend } from './memory-backend.ts';

const memory = new MemoryBackend();
const BASE = 1_600_000_000_000_000_000n;

beforeAll(async () => {
  await ask(memory, 'CREATE DATABASE t');
  memory.write(
    't',
    [
      'cpu,host=a v=1,i=3i,s="x",b=true 100',
      'cpu,host=b v=2,i=4i,s="y",b=false 100',
      'cpu,host=a v=3,i=7i 200',
      'cpu,host=b v=5 200',
      'cpu,host=c v=5 200',
      'big n=9223372036854775807i,m=9007199254740993i 100',
      'big n=1i,m=1i 200',
      'z v=1 1585353600000000000',
      'z v=2 1585440000000000000',
      'z v=3 1585526400000000000',
      'edge v=1 -9223372036854775806',
      'edge v=2 1577836800000000000',
      'edge v=3 9223372036854775806',
      `late v=1 ${BASE}`,
      `late v=2 ${BASE + 90_000_000_000n}`,
    ].join('\n'),
  );
});

const values = (results: JsonResult[]): unknown =>
  results[0]!.error ?? results[0]!.series?.map((series) => series.values);
const columns = (results: JsonResult[]): unknown => results[0]!.error ?? results[0]!.series?.[0]?.columns;
const run = (query: string): Promise<JsonResult[]> =>
  ask(memory, query, { database: 't', epoch: 'ns', nowNs: BASE + 3_600_000_000_000n });

const ERRORS: [string, string][] = [
  ['SELECT s + 1 FROM cpu', 'type error: s::string + 1: incompatible types: string and integer'],
  ["SELECT v FROM cpu WHERE time > 'foo'", 'invalid operation: time and *influxql.StringLiteral are not compatible'],
  ['SELECT v FROM cpu WHERE time != 5', 'invalid time comparison operator: !='],
  ["SELECT v FROM cpu WHERE time > '2020-13-01'", 'invalid timestamp string'],
  ["SELECT v FROM cpu WHERE time > '0050-01-01'", 'time 0050-01-01T00:00:00Z underflows time literal'],
  ['SELECT * FROM cpu WHERE b', 'invalid condition expression: b'],
  ['DELETE FROM cpu WHERE v = 3', 'fields not supported in WHERE clause during deletion'],
  ['DELETE FROM cpu WHERE time > 0 AND v = 3', 'fields not supported in WHERE clause during deletion'],
  ['DROP SERIES FROM cpu WHERE v = 3', 'fields not supported in WHERE clause during deletion'],
  ['DROP SERIES FROM cpu WHERE time > 3', "DROP SERIES doesn't support time in WHERE clause"],
  ['SELECT v FROM t.nope.cpu', 'retention policy not found: nope'],
  ['SELECT v FROM nodb.autogen.cpu', 'database not found: nodb'],
  ['SHOW TAG KEYS ON nope', 'database not found: nope'],
  ['CREATE RETENTION POLICY a ON nope DURATION 1h REPLICATION 1', 'database not found: nope'],
  ['ALTER RETENTION POLICY a ON t DURATION 1h', 'retention policy not found: a'],
  ['SELECT sum(s) FROM cpu', 'unsupported sum iterator type: *query.stringInterruptIterator'],
  ['SELECT percentile(s, 50) FROM cpu', 'unsupported percentile iterator type: *query.stringInterruptIterator'],
  ['SELECT mean(b) FROM cpu', 'unsupported mean iterator type: *query.booleanInterruptIterator'],
  ['SHOW MEASUREMENTS WHERE time > 0', "SHOW MEASUREMENTS doesn't support time in WHERE clause"],
];

const ANSWERS: [string, unknown][] = [
  [
    'SELECT count(v) FROM edge WHERE time <= 9223372036854775806 GROUP BY time(1d) fill(none)',
    [
      [
        [-9223372036854776000, 1],
        [1577836800000000000, 1],
        [9223286400000000000, 1],
      ],
    ],
  ],
  [
    "SELECT mean(v) FROM z WHERE time >= '2020-03-28' AND time < '2020-03-31' GROUP BY time(1d) fill(0) tz('Europe/Berlin')",
    [
      [
        [1585350000000000000, 1],
        [1585436400000000000, 2],
        [1585519200000000000, 3],
      ],
    ],
  ],
  [
    "SELECT mean(v) FROM z WHERE time >= '2020-03-28' AND time < '2020-03-30' GROUP BY time(6h) fill(0) tz('Europe/Berlin')",
    [
      [
        [1585350000000000000, 1],
        [1585371600000000000, 0],
        [1585393200000000000, 0],
        [1585414800000000000, 0],
        [1585436400000000000, 2],
        [1585454400000000000, 0],
        [1585476000000000000, 0],
        [1585497600000000000, 0],
      ],
    ],
  ],
  ['SELECT integral(v, 100ns) FROM cpu GROUP BY host', [[[0, 2]], [[0, 3.5]], [[0, 0]]]],
  [
    "SELECT integral(v, 50ns) FROM cpu WHERE host = 'a' AND time >= 0 AND time < 300 GROUP BY time(50ns)",
    [[[100, 1.5]]],
  ],
  [
    "SELECT v FROM cpu WHERE time > 0 OR host = 'a'",
    [
      [
        [100, 1],
        [200, 3],
      ],
    ],
  ],
  ['SELECT percentile(v, 50), host FROM cpu', [[[200, 3, 'a']]]],
  ['SELECT count(distinct(v)) FROM cpu', [[[0, 4]]]],
  [
    'SELECT -v FROM cpu',
    [
      [
        [100, -1],
        [100, -2],
        [200, -3],
        [200, -5],
        [200, -5],
      ],
    ],
  ],
  [
    "SELECT v, nosuch FROM cpu WHERE host = 'a'",
    [
      [
        [100, 1, null],
        [200, 3, null],
      ],
    ],
  ],
  ['SELECT nosuch FROM cpu', undefined],
  ['SELECT mean(nosuch) FROM cpu', undefined],
  ['SELECT mean(host) FROM cpu', undefined],
  ['SELECT v FROM nosuch', undefined],
  ['SELECT mean(v), count(nosuch) FROM cpu', [[[0, 3.2, null]]]],
  [
    "SELECT i/2, i*2, i+1.5, i%2, i/0, v/0 FROM cpu WHERE host = 'a'",
    [
      [
        [100, 1.5, 6, 4.5, 1, 0, 0],
        [200, 3.5, 14, 8.5, 1, 0, 0],
      ],
    ],
  ],
  ['SELECT max(b) FROM cpu', [[[100, true]]]],
  [
    'SELECT distinct(s) FROM cpu',
    [
      [
        [0, 'x'],
        [0, 'y'],
      ],
    ],
  ],
  ['SELECT max(v), min(v) FROM cpu', [[[0, 5, 1]]]],
  ['SELECT mean(*) FROM cpu', [[[0, 14 / 3, 3.2]]]],
  ['SELECT max(*) FROM cpu', [[[0, true, 7, 5]]]],
  ['SELECT count(*) FROM cpu', [[[0, 2, 3, 2, 5]]]],
  ['SELECT sum(/^[iv]$/) FROM cpu', [[[0, 14, 16]]]],
  ['SELECT first(v) FROM cpu GROUP BY host ORDER BY time DESC', [[[200, 5]], [[100, 2]], [[100, 1]]]],
  [
    'SELECT mean(v) FROM cpu WHERE time >= 0 AND time < 300 GROUP BY time(50ns), host ORDER BY time DESC LIMIT 2',
    [
      [
        [250, null],
        [200, 5],
      ],
      [
        [250, null],
        [200, 5],
      ],
      [
        [250, null],
        [200, 3],
      ],
    ],
  ],
  [
    'SELECT mean(v) FROM cpu WHERE time >= 0 AND time < 400 GROUP BY time(100ns) fill(previous)',
    [
      [
        [0, null],
        [100, 1.5],
        [200, 13 / 3],
        [300, 13 / 3],
      ],
    ],
  ],
  [
    'SELECT mean(v) FROM cpu WHERE time >= 0 AND time < 400 GROUP BY time(100ns) fill(linear)',
    [
      [
        [0, null],
        [100, 1.5],
        [200, 13 / 3],
        [300, null],
      ],
    ],
  ],
  [
    'SELECT count(v) FROM cpu WHERE time >= 0 AND time < 400 GROUP BY time(100ns)',
    [
      [
        [0, 0],
        [100, 2],
        [200, 3],
        [300, 0],
      ],
    ],
  ],
  [
    'SELECT count(v) FROM cpu WHERE time >= 0 AND time < 400 GROUP BY time(100ns) fill(7)',
    [
      [
        [0, 7],
        [100, 2],
        [200, 3],
        [300, 7],
      ],
    ],
  ],
  [
    'SELECT mean(v), max(i) FROM cpu WHERE time >= 0 AND time < 400 GROUP BY time(100ns) fill(none)',
    [
      [
        [100, 1.5, 4],
        [200, 13 / 3, 7],
      ],
    ],
  ],
  [
    'SELECT sum(v) FROM cpu WHERE time >= 120 AND time < 320 GROUP BY time(100ns, 20ns)',
    [
      [
        [120, 13],
        [220, null],
      ],
    ],
  ],
  ['SELECT first(v), last(i) FROM cpu GROUP BY host', [[[0, 1, 7]], [[0, 2, 4]], [[0, 5, null]]]],
  [
    'SELECT * FROM cpu WHERE s =~ /x|y/',
    [
      [
        [100, true, 'a', 3, 'x', 1],
        [100, false, 'b', 4, 'y', 2],
      ],
    ],
  ],
  ['SELECT v FROM cpu WHERE b = true', [[[100, 1]]]],
  ["SELECT v FROM cpu WHERE s != 'x'", [[[100, 2]]]],
  ['SELECT v FROM cpu WHERE v > i', undefined],
  [
    'SELECT v + i FROM cpu',
    [
      [
        [100, 4],
        [100, 6],
        [200, 10],
        [200, null],
        [200, null],
      ],
    ],
  ],
  ['SELECT max(v) - min(v), mean(v) * 2 AS x FROM cpu GROUP BY host', [[[0, 2, 4]], [[0, 3, 7]], [[0, 0, 10]]]],
  ['SELECT stddev(v), median(i), mode(v), spread(i) FROM cpu', [[[0, 1.7888543819998317, 4, 5, 4]]]],
  [
    'SELECT v FROM cpu GROUP BY host SLIMIT 1 SOFFSET 1',
    [
      [
        [100, 2],
        [200, 5],
      ],
    ],
  ],
  ['SELECT last(v), s FROM cpu', [[[200, 5, null]]]],
  [
    'SELECT bottom(v, 2), i FROM cpu',
    [
      [
        [100, 1, 3],
        [100, 2, 4],
      ],
    ],
  ],
  ['SELECT max(v), host FROM cpu', [[[200, 5, 'b']]]],
  ["SELECT v FROM cpu WHERE host = 'a' ORDER BY time DESC LIMIT 1", [[[200, 3]]]],
  ['SELECT v FROM cpu GROUP BY host ORDER BY time DESC LIMIT 1', [[[200, 5]], [[200, 5]], [[200, 3]]]],
  ['SELECT mean(v) FROM (SELECT max(v) AS v FROM cpu GROUP BY host)', [[[0, 13 / 3]]]],
  ['SELECT sum(n) FROM big', [[[0, -9223372036854775808n]]]],
  [
    'SELECT n, m FROM big',
    [
      [
        [100, 9223372036854775807n, 9007199254740993n],
        [200, 1, 1],
      ],
    ],
  ],
  ['SELECT max(m), min(n) FROM big', [[[0, 9007199254740993n, 1]]]],
  ['SELECT n FROM big WHERE n > 9223372036854775806', [[[100, 9223372036854775807n]]]],
  ['SELECT n FROM big WHERE m = 9007199254740993', [[[100, 9223372036854775807n]]]],
  [
    'SELECT mean(v) FROM late WHERE time > now() - 90m GROUP BY time(1h)',
    [
      [
        [1_599_994_800_000_000_000, null],
        [1_599_998_400_000_000_000, 1.5],
        [1_600_002_000_000_000_000, null],
      ],
    ],
  ],
  ["SHOW SERIES WHERE host = 'a'", [[['cpu,host=a']]]],
  [
    'SHOW TAG VALUES FROM cpu WITH KEY = host',
    [
      [
        ['host', 'a'],
        ['host', 'b'],
        ['host', 'c'],
      ],
    ],
  ],
  ['SHOW TAG VALUES FROM cpu WITH KEY = host LIMIT 1 OFFSET 1', [[['host', 'b']]]],
  [
    'SHOW FIELD KEYS FROM cpu',
    [
      [
        ['b', 'boolean'],
        ['i', 'integer'],
        ['s', 'string'],
        ['v', 'float'],
      ],
    ],
  ],
  ['SHOW RETENTION POLICIES ON t', [[['autogen', '0s', '168h0m0s', 3, true]]]],
];

describe('answers', () => {
  for (const [query, wanted] of ANSWERS)
    it(query, async () => {
      const got = values(await run(query));
      if (wanted === undefined) expect(got).toBeUndefined();
      else expect(JSON.parse(text(got))).toEqual(JSON.parse(text(wanted)));
    });
});

const text = (value: unknown): string =>
  JSON.stringify(value, (_, v) =>
    typeof v === 'bigint' ? `${v}n` : typeof v === 'number' && !Number.isInteger(v) ? Number(v.toPrecision(14)) : v,
  );

describe("errors are the statement's, in InfluxDB's words", () => {
  for (const [query, wanted] of ERRORS) it(query, async () => expect(values(await run(query))).toContain(wanted));
});

describe('columns', () => {
  const cases: [string, string[]][] = [
    ['SELECT mean(v) AS a, max(v) AS a FROM cpu', ['time', 'a', 'a']],
    ['SELECT mean(v), mean(v) FROM cpu', ['time', 'mean', 'mean_1']],
    ['SELECT v, v, v AS v_1 FROM cpu', ['time', 'v', 'v_2', 'v_1']],
    ['SELECT v + i FROM cpu', ['time', 'v_i']],
    ['SELECT max(v) - min(v) FROM cpu', ['time', 'max_min']],
    ['SELECT top(v, host, 2) FROM cpu', ['time', 'top', 'host']],
    ['SELECT mean(*) FROM cpu', ['time', 'mean_i', 'mean_v']],
    ['SELECT time AS at, v FROM cpu', ['at', 'v']],
  ];
  for (const [query, wanted] of cases) it(query, async () => expect(columns(await run(query))).toEqual(wanted));
});

describe('statements', () => {
  it('after a failing one are not executed', async () => {
    const results = await run('SELECT v FROM nosuch; SELECT v FROM nope..cpu; SHOW DATABASES');
    expect(results.map((result) => result.error)).toEqual([undefined, 'database not found: nope', 'not executed']);
    expect(results.map((result) => result.statement_id)).toEqual([0, 1, 2]);
  });

  it('that change something warn in a read-only context', async () => {
    const [result] = await ask(memory, 'DROP DATABASE nosuch', { readOnly: true });
    expect(result!.messages).toEqual([
      {
        level: 'warning',
        text: "deprecated use of 'DROP DATABASE nosuch' in a read only context, please use a POST request instead",
      },
    ]);
    const [deletion] = await ask(memory, 'DELETE FROM nosuch', { database: 't', readOnly: true });
    expect(deletion).toEqual({ statement_id: 0 });
  });

  it('without a database say so', async () => {
    expect((await ask(memory, 'SELECT v FROM cpu'))[0]!.error).toBe('database name required');
  });
});
