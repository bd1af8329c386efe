/**
 * The printer: InfluxDB's texts, and that what is printed parses to the same tree.
 */
import { expect, test } from 'vitest';
import { formatClockDuration, formatDuration } from '../../server/influxql/duration.ts';
import { parseQuery } from '../../server/influxql/parser.ts';
import { printStatement } from '../../server/influxql/printer.ts';

const STATEMENTS: readonly (readonly [string, string])[] = [
  [
    `SELECT mean(a) AS "x y", mean("b.c") INTO x FROM c, "d e", "select" WHERE time > 5 and time < '2020-01-01T00:00:00Z' GROUP BY time(90s, -10s), b, *, /x/ fill(2.50) ORDER BY time DESC LIMIT 1 OFFSET 2 SLIMIT 3 SOFFSET 4 tz('Europe/Berlin')`,
    `SELECT mean(a) AS "x y", mean("b.c") INTO x FROM c, "d e", "select" WHERE time > 5 AND time < '2020-01-01T00:00:00Z' GROUP BY time(90s, -10s), b, *, /x/ fill(2.5) ORDER BY time DESC LIMIT 1 OFFSET 2 SLIMIT 3 SOFFSET 4 TZ('Europe/Berlin')`,
  ],
  [
    'SELECT mean(a::float), count(distinct b), mean(/x/) INTO autogen.:MEASUREMENT FROM db0..c fill(0)',
    'SELECT mean(a::float), count(DISTINCT b), mean(/x/) INTO autogen.:MEASUREMENT FROM db0..c fill(0)',
  ],
  ['SELECT -a, +b, -(c), *::field FROM c', 'SELECT -1 * a, 1 * b, -1 * (c), *::field FROM c'],
  [
    `SELECT a FROM c WHERE time > now() - 90m AND s = 'it\\'s \\\\ "x"' AND d =~ /a\\/b\\.c/`,
    `SELECT a FROM c WHERE time > now() - 90m AND s = 'it\\'s \\\\ "x"' AND d =~ /a\\/b\\.c/`,
  ],
  [
    'SELECT mean(a) FROM (SELECT mean(x) FROM y GROUP BY time(1m) fill(none)) GROUP BY time(1h) fill(previous)',
    'SELECT mean(a) FROM (SELECT mean(x) FROM y GROUP BY time(1m) fill(none)) GROUP BY time(1h) fill(previous)',
  ],
  [
    'CREATE DATABASE foo2 WITH DURATION 36h REPLICATION 1 SHARD DURATION 90m NAME "bar"',
    'CREATE DATABASE foo2 WITH DURATION 36h0m0s REPLICATION 1 SHARD DURATION 1h30m0s NAME bar',
  ],
  ['CREATE DATABASE "my db"', 'CREATE DATABASE "my db"'],
  [`CREATE DATABASE a WITH conflict 'first-write-wins'`, `CREATE DATABASE a WITH CONFLICT 'first-write-wins'`],
  [
    `CREATE DATABASE conflict WITH NAME p CONFLICT 'last-write-wins'`,
    `CREATE DATABASE conflict WITH NAME p CONFLICT 'last-write-wins'`,
  ],
  [
    'ALTER RETENTION POLICY a ON foo DURATION 49h SHARD DURATION 1h DEFAULT',
    'ALTER RETENTION POLICY a ON foo DURATION 49h SHARD DURATION 1h DEFAULT',
  ],
  [
    'CREATE RETENTION POLICY b ON foo DURATION INF REPLICATION 1 SHARD DURATION 24h',
    'CREATE RETENTION POLICY b ON foo DURATION 0s REPLICATION 1 SHARD DURATION 1d',
  ],
  [`DROP SERIES FROM a, b WHERE x = 'y'`, `DROP SERIES FROM a, b WHERE x = 'y'`],
  ['DROP MEASUREMENT "a b"', 'DROP MEASUREMENT "a b"'],
  [
    'show tag values on d from m with key in (a, "b c") where x = 1.0 limit 3',
    'SHOW TAG VALUES ON d FROM m WITH KEY IN (a, "b c") WHERE x = 1.0 LIMIT 3',
  ],
  ['show measurements with measurement =~ /a/', 'SHOW MEASUREMENTS WITH MEASUREMENT =~ /a/'],
  ['show field keys from /a/', 'SHOW FIELD KEYS FROM /a/'],
  ['show series where a = 1', 'SHOW SERIES WHERE a = 1'],
  ['show tag keys from m slimit 2', 'SHOW TAG KEYS FROM m SLIMIT 2'],
  ['show retention policies on "d"', 'SHOW RETENTION POLICIES ON d'],
  ['grant all on "d" to "a/b"', 'GRANT ALL PRIVILEGES ON d TO "a/b"'],
  ['revoke read on d from u', 'REVOKE READ ON d FROM u'],
  ['grant all to u', 'GRANT ALL PRIVILEGES TO u'],
  ['revoke all privileges from u', 'REVOKE ALL PRIVILEGES FROM u'],
  ['drop user "u"', 'DROP USER u'],
  ['show grants for u', 'SHOW GRANTS FOR u'],
  ['show users', 'SHOW USERS'],
  ['show shards', 'SHOW SHARDS'],
  ['show shard groups', 'SHOW SHARD GROUPS'],
  ['drop shard 18446744073709551615', 'DROP SHARD 18446744073709551615'],
  [`show stats for 'it\\'s'`, `SHOW STATS FOR 'it\\'s'`],
  ['show diagnostics', 'SHOW DIAGNOSTICS'],
  [
    `create subscription "a" on "d"."select" destinations any 'udp://x:1','http://y:2'`,
    `CREATE SUBSCRIPTION a ON d."select" DESTINATIONS ANY 'udp://x:1', 'http://y:2'`,
  ],
  ['drop subscription a on d.autogen', 'DROP SUBSCRIPTION a ON d.autogen'],
  ['show subscriptions', 'SHOW SUBSCRIPTIONS'],
  [
    'show tag values cardinality from m with key = a where x = 1 group by b, * limit 3 offset 1',
    'SHOW TAG VALUES CARDINALITY FROM m WITH KEY = a WHERE x = 1 GROUP BY b, * LIMIT 3 OFFSET 1',
  ],
  ['show field key exact cardinality on d', 'SHOW FIELD KEY EXACT CARDINALITY ON d'],
  [
    'create continuous query "c q" on d resample every 60s for 1h begin select mean(a) into d.r.:measurement from d.r./a/ group by time(10m), * end',
    'CREATE CONTINUOUS QUERY "c q" ON d RESAMPLE EVERY 1m FOR 1h BEGIN SELECT mean(a) INTO d.r.:MEASUREMENT FROM d.r./a/ GROUP BY time(10m), * END',
  ],
  ['drop continuous query "c q" on d', 'DROP CONTINUOUS QUERY "c q" ON d'],
  ['show continuous queries', 'SHOW CONTINUOUS QUERIES'],
  ['explain select a from b where x = 0.000000001', 'EXPLAIN SELECT a FROM b WHERE x = 0.000000001'],
];

test.each(STATEMENTS)('%s', (text, printed) => {
  const [statement] = parseQuery(text);
  expect(printStatement(statement!)).toBe(printed);
  const again = printed.startsWith('CREATE DATABASE') ? text : printed;
  expect(parseQuery(again)).toEqual([statement]);
});

test.each([
  [0n, '0s', '0s'],
  [604_800_000_000_000n, '1w', '168h0m0s'],
  [5_400_000_000_000n, '90m', '1h30m0s'],
  [1_500_000_000n, '1500ms', '1.5s'],
  [90_000_000_000n, '90s', '1m30s'],
  [1_500_000n, '1500u', '1.5ms'],
  [1_001n, '1001ns', '1.001µs'],
  [-1n, '-1ns', '-1ns'],
])('duration %s ns', (ns, short, clock) => {
  expect(formatDuration(ns)).toBe(short);
  expect(formatClockDuration(ns)).toBe(clock);
});

test.each([
  [
    `create user "u" with password 'secret' with all privileges`,
    'CREATE USER u WITH PASSWORD [REDACTED] WITH ALL PRIVILEGES',
  ],
  [`create user "u v" with password 'secret'`, 'CREATE USER "u v" WITH PASSWORD [REDACTED]'],
  [`set password for u = 'secret'`, 'SET PASSWORD FOR u = [REDACTED]'],
])('%s: the password is left out', (text, printed) => {
  expect(printStatement(parseQuery(text)[0]!)).toBe(printed);
});
