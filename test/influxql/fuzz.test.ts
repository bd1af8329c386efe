/**
 * Mutated queries: the parser answers each with trees or a ParseError, fast, and what it prints it can read.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ParseError, parseQuery } from '../../server/influxql/parser.ts';
import { printStatement } from '../../server/influxql/printer.ts';
import { validateSelect } from '../../server/influxql/validate.ts';

const SEEDS = [
  `SELECT mean("usage"), top(a, "b c", 3) AS x FROM "rp"."m", /r(e|x)/ WHERE ("host"::tag = 'a\\'b') AND time >= now() - 1h GROUP BY time(10s, 1s), *, /x/ fill(-1.5) ORDER BY time DESC LIMIT 10 OFFSET 2 SLIMIT 5 tz('Europe/Berlin')`,
  `SELECT distinct a, count(distinct b) INTO db.rp.:MEASUREMENT FROM (SELECT *::field, -a * (b % 3) FROM db..c WHERE x !~ /y/) -- c`,
  `SHOW TAG VALUES ON d FROM m WITH KEY IN (a, "b") WHERE x = 1 LIMIT 3; SHOW MEASUREMENTS WITH MEASUREMENT =~ /a/`,
  'CREATE DATABASE d WITH DURATION 1d REPLICATION 2 SHARD DURATION 1h NAME p; ALTER RETENTION POLICY p ON d DURATION INF DEFAULT',
  `CREATE CONTINUOUS QUERY q ON d RESAMPLE EVERY 1h FOR 2h BEGIN SELECT mean(a) INTO x FROM b GROUP BY time(1h) END`,
  `CREATE USER u WITH PASSWORD 'p' WITH ALL PRIVILEGES; SET PASSWORD FOR u = 'x'; REVOKE READ ON d FROM u; SHOW GRANTS FOR u; DROP USER u`,
  `CREATE SUBSCRIPTION s ON d.p DESTINATIONS ANY 'http://u:p@h:1/x', 'udp://h:2'; DROP SHARD 3; SHOW STATS FOR 'a'; SHOW SHARD GROUPS`,
  `DELETE FROM a WHERE time < 5 AND b = 'c'; GRANT ALL PRIVILEGES ON d TO u; KILL QUERY 3; EXPLAIN ANALYZE SELECT a FROM b`,
];
const PIECES = [
  ...`SELECT FROM WHERE GROUP BY time( ( ) , ; . .. :: : :MEASUREMENT * / /a/ 'x' "y" ' " \\ $p $ 1h 1 -1 .5 9999999999999999999999 1e9 -- /* */ =~ !~ AND OR fill( tz( INTO DISTINCT é 😀 \u0000 \r\n`.split(
    ' ',
  ),
  ' ',
];
/** A parser that is not linear would need minutes for what a mutation can make. */
const CALL_MS_MAX = 100;
/** A call during which the machine did something else is made again; a slow one is slow each time. */
const CALLS_MAX = 3;

const mutated = fc
  .tuple(
    fc.constantFrom(...SEEDS),
    fc.array(fc.tuple(fc.nat(400), fc.nat(12), fc.oneof(fc.constantFrom(...PIECES), fc.string({ maxLength: 5 }))), {
      minLength: 1,
      maxLength: 5,
    }),
  )
  .map(([seed, edits]) => {
    let text = seed;
    for (const [at, removed, inserted] of edits) {
      const from = at % (text.length + 1);
      text = text.slice(0, from) + inserted + text.slice(from + removed);
    }
    return text;
  });

function expectWithin(msMax: number, call: () => void): void {
  let ms = Number.POSITIVE_INFINITY;
  for (let n = 0; n < CALLS_MAX && ms >= msMax; n++) {
    const began = performance.now();
    call();
    ms = performance.now() - began;
  }
  expect(ms).toBeLessThan(msMax);
}

function parseAndPrint(text: string): void {
  let statements: ReturnType<typeof parseQuery> = [];
  try {
    statements = parseQuery(text, { p: { identifier: 'q' } });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
  }
  for (const statement of statements) {
    if (statement.kind === 'select') validateSelect(statement);
    if (statement.kind === 'create-database') continue;
    const printed = printStatement(statement);
    expect(printStatement(parseQuery(printed.replace(/(PASSWORD|=) \[REDACTED\]/, `$1 'p'`))[0]!)).toBe(printed);
  }
}

test('mutated queries are parsed or refused, within time, and print to what they were', () => {
  fc.assert(
    fc.property(mutated, (text) => {
      expectWithin(CALL_MS_MAX, () => parseAndPrint(text));
    }),
    { numRuns: 15_000, seed: 20_191 },
  );
});

test('long hostile texts end within time', () => {
  const texts = [
    `SELECT a FROM b WHERE ${'('.repeat(200_000)}`,
    `SELECT a FROM b WHERE x = '${'\\'.repeat(400_001)}`,
    `SELECT a FROM b WHERE x = ${'9'.repeat(500_000)}`,
    `SELECT a FROM b WHERE x > ${'1h'.repeat(200_000)}q`,
    `SELECT a FROM /${'a'.repeat(500_000)}`,
    `SELECT ${'a,'.repeat(200_000)}`,
    `${';'.repeat(500_000)}x`,
    `${'/**/'.repeat(200_000)}x`,
    `SELECT a.${'b.'.repeat(200_000)}`,
  ];
  for (const text of texts) {
    expectWithin(1_000, () => expect(() => parseQuery(text)).toThrow(ParseError));
  }
});
