/**
 * The parser: error texts recorded from InfluxDB, trees of what is accepted, and the open conformance statements.
 */
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { SelectStatement, Statement } from '../../server/influxql/ast.ts';
import { ParseError, parseQuery, QUERY_CHARACTERS_MAX } from '../../server/influxql/parser.ts';

const anyStatement = 'SELECT, DELETE, SHOW, CREATE, DROP, EXPLAIN, GRANT, REVOKE, ALTER, SET, KILL';

/** Text, and InfluxDB's answer to it. */
const REFUSED: readonly (readonly [string, string])[] = [
  ['SELEC', `found SELEC, expected ${anyStatement} at line 1, char 1`],
  ['SHOW DATABASES; SELEC', `found SELEC, expected ${anyStatement} at line 1, char 17`],
  ['SHOW DATABASES SHOW DATABASES', 'found SHOW, expected ; at line 1, char 16'],
  ['/* open', `found ILLEGAL, expected ${anyStatement} at line 1, char 1`],
  ['SELECT', 'found EOF, expected identifier, string, number, bool at line 1, char 8'],
  ['SELECT a', 'found EOF, expected FROM at line 1, char 10'],
  ['SELECT a\nFROM c\r\nWHERE', 'found EOF, expected identifier, string, number, bool at line 3, char 7'],
  ['SELECT a, FROM c', 'found FROM, expected identifier, string, number, bool at line 1, char 11'],
  ["SELECT a AS 'x' FROM c", 'found x, expected identifier at line 1, char 12'],
  ["SELECT 'abc", 'found abc, expected identifier, string, number, bool at line 1, char 7'],
  ["SELECT 'a\\qb' FROM c", 'found \\q, expected identifier, string, number, bool at line 1, char 11'],
  ['SELECT a FROM "abc', 'found abc, expected identifier at line 1, char 14'],
  ['SELECT a FROM (SHOW DATABASES)', 'found SHOW, expected SELECT at line 1, char 16'],
  ['SELECT a FROM (SELECT b FROM c', 'found EOF, expected ) at line 1, char 32'],
  ['SELECT a FROM a.b.c.d', 'too many segments in "a"."b"."c".d at line 1, char 1'],
  ['SELECT a FROM /(/', 'error parsing regexp: missing closing ): `(` at line 1, char 14'],
  ['SELECT a FROM /abc', 'bad regex:  at line 1, char 14'],
  ['SELECT a FROM c WHERE a =~', 'found EOF, expected regex at line 1, char 28'],
  ["SELECT a FROM c WHERE a =~ 'x'", 'found x, expected regex at line 1, char 27'],
  ['SELECT a FROM c WHERE a ! 1', 'found !, expected ; at line 1, char 25'],
  ['SELECT a FROM c WHERE é = 1', 'found é, expected identifier, string, number, bool at line 1, char 23'],
  ['SELECT a FROM c WHERE a = 1q', 'invalid duration'],
  ['SELECT a FROM c WHERE a = 1e5', 'invalid duration'],
  ['SELECT a FROM c WHERE time > now() - 1n', 'invalid duration'],
  [
    'SELECT a FROM c WHERE time > 99999999999999w',
    'overflowed duration 99999999999999w: choose a smaller duration or INF',
  ],
  ['SELECT a FROM c WHERE a = $x', 'missing parameter: x'],
  ['SELECT a FROM c WHERE a = $', 'empty bound parameter'],
  ["SELECT a FROM c WHERE a = -'x'", 'found x, expected identifier, number, duration, ( at line 1, char 27'],
  ['SELECT a FROM c WHERE a = -9223372036854775809', 'constant -9223372036854775809 underflows int64'],
  ['SELECT a FROM c WHERE a = 99999999999999999999999', 'unable to parse integer at line 1, char 27'],
  [
    'SELECT a, b = 1 FROM c',
    'invalid operator = in SELECT clause at line 1, char 11; operator is intended for WHERE clause',
  ],
  [
    'SELECT a::foo FROM c',
    'found foo, expected float, integer, unsigned, string, boolean, field, tag at line 1, char 11',
  ],
  ['SELECT *::float FROM c', 'found float, expected field, tag at line 1, char 11'],
  ['SELECT distinct, a FROM c', 'found ,, expected (, identifier at line 1, char 16'],
  ['SELECT mean (a) FROM c', 'found (, expected FROM at line 1, char 13'],
  ['SELECT a FROM c fill', 'fill must be a function call'],
  ['SELECT a FROM c fill()', 'fill requires an argument, e.g.: 0, null, none, previous, linear'],
  ['SELECT a FROM c fill(NULL)', 'expected number argument in fill()'],
  ['SELECT a FROM c ORDER BY x', 'only ORDER BY time supported at this time'],
  ['SELECT a FROM c ORDER BY TIME DESC', 'only ORDER BY time supported at this time'],
  ['SELECT a FROM c LIMIT -1', 'found -, expected integer at line 1, char 23'],
  ['SELECT a FROM c LIMIT 1 ORDER BY time', 'found ORDER, expected ; at line 1, char 25'],
  ["SELECT a FROM c tz('Foo/Bar')", 'unable to find time zone Foo/Bar'],
  ['SELECT key FROM c', 'found KEY, expected identifier, string, number, bool at line 1, char 8'],
  ['SHOW TAG', 'found EOF, expected KEY, KEYS, VALUES at line 1, char 10'],
  ['SHOW TAG VALUES WITH KEY', 'found EOF, expected IN, =, =~ at line 1, char 26'],
  ['SHOW MEASUREMENTS WITH', 'found EOF, expected MEASUREMENT at line 1, char 24'],
  [
    `CREATE DATABASE x WITH CONFLICT 'none'`,
    'conflict rule must be one of last-write-wins, first-write-wins at line 1, char 32',
  ],
  ['CREATE DATABASE x WITH', 'found EOF, expected DURATION, NAME, REPLICATION, SHARD at line 1, char 24'],
  ['CREATE RETENTION POLICY a ON b DURATION 1q REPLICATION 1', 'invalid duration at line 1, char 41'],
  ['ALTER RETENTION POLICY a ON b REPLICATION 0', 'invalid value 0: must be 1 <= n <= 2147483647 at line 1, char 43'],
  ['ALTER RETENTION POLICY a ON b DURATION 1h DURATION 2h', 'found duplicate DURATION option at line 1, char 43'],
  ['DELETE FROM a.b', 'retention policy not supported at line 1, char 1'],
  ['DROP SERIES', 'found EOF, expected FROM, WHERE at line 1, char 13'],
  ['GRANT', 'found EOF, expected READ, WRITE, ALL [PRIVILEGES] at line 1, char 7'],
  [
    'KILL QUERY 99999999999999999999999999',
    'strconv.ParseUint: parsing "99999999999999999999999999": value out of range at line 1, char 12',
  ],
  [
    'CREATE CONTINUOUS QUERY cq ON db BEGIN SELECT mean(a) INTO c FROM b END',
    'found b, expected GROUP BY time(...) at line 1, char 67',
  ],
  [
    'CREATE CONTINUOUS QUERY cq ON db BEGIN SELECT mean(a) INTO c FROM b GROUP BY time(0s) END',
    'found ), expected GROUP BY time(...) at line 1, char 85',
  ],
];

function refusal(text: string, params?: Record<string, unknown>): string | null {
  try {
    parseQuery(text, params);
    return null;
  } catch (error) {
    if (error instanceof ParseError) return error.message;
    throw error;
  }
}

function only(text: string, params?: Record<string, unknown>): Statement {
  const statements = parseQuery(text, params);
  expect(statements).toHaveLength(1);
  return statements[0] as Statement;
}

const select = (text: string, params?: Record<string, unknown>): SelectStatement =>
  only(text, params) as SelectStatement;

describe('refused texts', () => {
  test.each(REFUSED)('%s', (text, message) => {
    expect(refusal(text)).toBe(message);
  });

  test('a query that is too long is refused before it is read', () => {
    expect(refusal(' '.repeat(QUERY_CHARACTERS_MAX + 1))).toMatch(/longer than the limit/);
  });

  test('nesting and chains have a limit instead of a broken stack', () => {
    expect(refusal(`SELECT ${'('.repeat(50_000)}a FROM c`)).toMatch(/nested more than/);
    expect(refusal(`SELECT a FROM ${'(SELECT a FROM '.repeat(5_000)}`)).toMatch(/nested more than/);
    expect(refusal(`SELECT a FROM c WHERE ${'x = 1 OR '.repeat(5_000)}x = 1`)).toMatch(/levels/);
    expect(refusal(`SELECT a FROM c WHERE ${'x = 1 OR '.repeat(1_500)}x = 1`)).toBeNull();
  });
});

describe('accepted texts', () => {
  test('a text without statements has none', () => {
    expect(parseQuery('')).toEqual([]);
    expect(parseQuery(' ;; -- nothing')).toEqual([]);
  });

  test('what Grafana sends', () => {
    const statement = select(
      `SELECT mean("usage") FROM "rp"."m" WHERE ("host"::tag = 'a') AND time >= 1700000000000ms and time <= 1700000600000ms GROUP BY time(10s), "host"::tag fill(null) ORDER BY time DESC limit 10 slimit 5 tz('Europe/Berlin')`,
    );
    expect(statement.sources).toEqual([{ kind: 'measurement', retentionPolicy: 'rp', name: 'm' }]);
    expect(statement.dimensions).toEqual([
      { kind: 'time', intervalNs: 10_000_000_000n },
      { kind: 'tag', name: 'host' },
    ]);
    expect(statement).toMatchObject({
      fill: { kind: 'null' },
      descending: true,
      limit: 10,
      seriesLimit: 5,
      timeZone: 'Europe/Berlin',
    });
  });

  test('precedence and association', () => {
    const { expression } = select('SELECT a - b - c * d FROM m').fields[0] as { expression: unknown };
    const reference = (name: string) => ({ kind: 'reference', name });
    expect(expression).toEqual({
      kind: 'binary',
      op: '-',
      left: { kind: 'binary', op: '-', left: reference('a'), right: reference('b') },
      right: { kind: 'binary', op: '*', left: reference('c'), right: reference('d') },
    });
    const { condition } = select('SELECT a FROM m WHERE x = 1 OR y = 2 AND z = 3');
    expect(condition).toMatchObject({ op: 'OR', right: { op: 'AND' } });
  });

  test.each([
    ['-9223372036854775808', { kind: 'integer', value: -9223372036854775808n }],
    ['9223372036854775808', { kind: 'unsigned', value: 9223372036854775808n }],
    ['.5', { kind: 'number', value: 0.5 }],
    ['1.', { kind: 'number', value: 1 }],
    ['1h30m', { kind: 'duration', ns: 5_400_000_000_000n }],
    ['3µ', { kind: 'duration', ns: 3_000n }],
    ['-2w', { kind: 'duration', ns: -1_209_600_000_000_000n }],
    ["'it\\'s'", { kind: 'string', value: "it's" }],
    ['TRUE', { kind: 'boolean', value: true }],
    ['"a b"::field', { kind: 'reference', name: 'a b', cast: 'field' }],
    ['a.b', { kind: 'reference', name: 'a.b' }],
  ])('literal %s', (text, expected) => {
    expect(select(`SELECT a FROM m WHERE x = ${text}`).condition).toMatchObject({ right: expected });
  });

  test('sources: quoted, qualified, regular expressions, subqueries', () => {
    expect(select('SELECT a FROM db..m, "db"."rp"."m", /x\\/y/, db.rp./z/, (SELECT b FROM n)').sources).toMatchObject([
      { database: 'db', name: 'm' },
      { database: 'db', retentionPolicy: 'rp', name: 'm' },
      { regex: 'x/y' },
      { database: 'db', retentionPolicy: 'rp', regex: 'z' },
      { kind: 'subquery', select: { sources: [{ name: 'n' }] } },
    ]);
  });

  test('INTO with a back reference has an empty name', () => {
    expect(select('SELECT a INTO db.rp.:MEASUREMENT FROM m').into).toEqual({
      kind: 'measurement',
      database: 'db',
      retentionPolicy: 'rp',
      name: '',
    });
  });

  test('comments stand wherever white space may', () => {
    expect(refusal('SELECT /* a */ a -- b\n FROM m /* * / */ WHERE -- c\n x = 1')).toBeNull();
  });

  test('bound parameters are values and never syntax', () => {
    const injected = select('SELECT a FROM m WHERE host = $h', { h: "x' OR '1' = '1" });
    expect(injected.condition).toMatchObject({ right: { kind: 'string', value: "x' OR '1' = '1" } });
    const typed = select('SELECT $f($c::$t) FROM m WHERE a = $i AND b =~ $r GROUP BY time($d)', {
      f: { identifier: 'mean' },
      c: { identifier: 'a b' },
      t: { identifier: 'float' },
      i: { integer: 2 },
      r: { regex: '^a/b' },
      d: { duration: '10s' },
    });
    expect(typed).toMatchObject({
      fields: [{ expression: { name: 'mean', args: [{ name: 'a b', cast: 'float' }] } }],
      condition: { left: { right: { value: 2n } }, right: { right: { pattern: '^a/b' } } },
      dimensions: [{ intervalNs: 10_000_000_000n }],
    });
    // `2.0` and `2` in JSON.
    const [float, integer] = [2, 2n].map((x) => select('SELECT a FROM m WHERE a = $x', { x }));
    expect(float!.condition).toMatchObject({ right: { kind: 'number', value: 2 } });
    expect(integer!.condition).toMatchObject({ right: { kind: 'integer', value: 2n } });
    expect(refusal('SELECT a FROM m WHERE a = $x', { x: { foo: 1 } })).toBe('unknown bound object parameter type: foo');
  });

  test.each([
    [
      'SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)cpu/ LIMIT 100',
      { measurement: { op: '=~', regex: '(?i)cpu' }, limit: 100 },
    ],
    [
      `SHOW TAG VALUES FROM "m" WITH KEY = "host" WHERE "dc" =~ /^eu$/ AND time > now() - 1h`,
      { withKey: { op: '=', key: 'host' }, condition: { op: 'AND' } },
    ],
    ['SHOW TAG VALUES WITH KEY IN (a, "b c")', { withKey: { op: 'IN', keys: ['a', 'b c'] } }],
    [
      'CREATE DATABASE d WITH DURATION 1d REPLICATION 2 SHARD DURATION 1h NAME p',
      {
        policy: { durationNs: 86_400_000_000_000n, replication: 2, shardDurationNs: 3_600_000_000_000n, name: 'p' },
      },
    ],
    ['ALTER RETENTION POLICY default ON d DURATION INF', { name: 'default', durationNs: 0n }],
    ['DELETE FROM m WHERE time < 5', { kind: 'delete', sources: [{ name: 'm' }] }],
    ['EXPLAIN ANALYZE SELECT a FROM m', { kind: 'explain', analyze: true }],
    ["CREATE USER u WITH PASSWORD 'p'", { kind: 'create-user', name: 'u', password: 'p', admin: false }],
    [`SET PASSWORD FOR "it's" = 'a\\'b'`, { kind: 'set-password', name: "it's", password: "a'b" }],
    ['GRANT ALL ON d TO u', { kind: 'grant', privilege: 'ALL', database: 'd', user: 'u' }],
    ['REVOKE ALL PRIVILEGES FROM u', { kind: 'revoke-admin', user: 'u' }],
    ['SHOW SERIES EXACT CARDINALITY ON d', { kind: 'show-cardinality', of: 'series', exact: true, database: 'd' }],
    [
      'SHOW TAG VALUES CARDINALITY FROM c WITH KEY = host GROUP BY dc LIMIT 2',
      {
        kind: 'show-cardinality',
        of: 'tag-values',
        exact: false,
        withKey: { op: '=', key: 'host' },
        dimensions: [{ kind: 'tag', name: 'dc' }],
        limit: 2,
      },
    ],
    [
      'CREATE CONTINUOUS QUERY q ON d RESAMPLE EVERY 10s FOR 2m BEGIN SELECT mean(a) INTO x FROM b GROUP BY time(1m) END',
      { kind: 'create-continuous-query', name: 'q', database: 'd', everyNs: 10_000_000_000n, forNs: 120_000_000_000n },
    ],
    ['DROP CONTINUOUS QUERY q ON d', { kind: 'drop-continuous-query', name: 'q', database: 'd' }],
  ])('%s', (text, expected) => {
    expect(only(text)).toMatchObject(expected);
  });
});

interface OpenCase {
  readonly kind: string;
  readonly stmt: string;
  readonly err?: string;
  readonly params?: Record<string, unknown>;
  readonly profiles: readonly string[];
}

const openCases = resolve('..', 'shared', 'conformance', 'influxql_stmt_open.json');

describe('open conformance statements', () => {
  test.skipIf(!existsSync(openCases))('all parse, or fail with the exact text (needs ../shared/conformance)', () => {
    const { cases } = JSON.parse(readFileSync(openCases, 'utf8')) as { cases: OpenCase[] };
    for (const one of cases.filter(({ profiles }) => profiles.includes('1.8'))) {
      const expected = one.kind === 'parse_error' ? one.err : null;
      expect([one.stmt, refusal(one.stmt, one.params)]).toEqual([one.stmt, expected]);
    }
  });
});
