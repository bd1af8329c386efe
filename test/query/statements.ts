/** Statements of every kind over a measurement `m` (tags host and region, fields f, i and s), for tests that compare answers. */
export const HOUR = 3_600_000_000_000n;
const RANGE = 60n * HOUR;
export const NOW = 1_600_000_000_000_000_000n;
export const START = NOW - RANGE;

export const WHERE = `time >= ${START} AND time < ${NOW}`;
export const QUERIES = [
  'SELECT count(f), sum(f), sum(i), mean(f), mean(i), min(f), max(i), spread(f), spread(i) FROM m',
  `SELECT count(*) FROM m WHERE ${WHERE} GROUP BY time(90m), region`,
  `SELECT sum(i), first(f), last(i) FROM m WHERE ${WHERE} GROUP BY time(7h, 13m), host fill(none)`,
  `SELECT mean(f), count(s) FROM m WHERE ${WHERE} GROUP BY time(1d), host, region fill(previous) ORDER BY time DESC`,
  'SELECT max(f), host, s FROM m GROUP BY region',
  'SELECT last(i), f, host FROM m GROUP BY region ORDER BY time DESC',
  'SELECT first(s) FROM m GROUP BY host',
  `SELECT median(f), percentile(i, 90), mode(i) FROM m WHERE ${WHERE} GROUP BY time(5h)`,
  'SELECT distinct(i) FROM m GROUP BY host',
  'SELECT count(distinct(s)) FROM m GROUP BY region',
  "SELECT * FROM m WHERE (f > 10 AND host = 'h1') OR (i <= 2 AND region =~ /1$/)",
  "SELECT f FROM m WHERE s = 's1' OR host = 'h3' GROUP BY * ORDER BY time DESC LIMIT 3 OFFSET 1",
  'SELECT f, i FROM m GROUP BY host LIMIT 2',
  'SELECT f * 2 + i FROM m LIMIT 7',
  `SELECT derivative(mean(f), 1h) FROM m WHERE ${WHERE} GROUP BY time(6h), host`,
  `SELECT cumulative_sum(count(i)) FROM m WHERE ${WHERE} GROUP BY time(12h) fill(0)`,
  'SELECT top(f, 3), host FROM m',
  `SELECT mean(v) FROM (SELECT max(f) AS v FROM m WHERE ${WHERE} GROUP BY time(3h), host) WHERE ${WHERE} GROUP BY time(1d)`,
  'SELECT sum(i) FROM m WHERE f < 3 GROUP BY /ho/ SLIMIT 2 SOFFSET 1',
  'SHOW SERIES',
  "SHOW TAG VALUES WITH KEY IN (host, region) WHERE host != 'h2'",
  'SHOW FIELD KEYS',
];
