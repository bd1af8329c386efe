/** Statements that are parsed by their form are those that the parser makes of their text. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Statement } from '../../server/influxql/ast.ts';
import { parseQuery } from '../../server/influxql/parser.ts';
import { formOf, StatementForms } from '../../server/influxql/statement-forms.ts';

function outcome(parse: () => Statement[]): Statement[] | string {
  try {
    return parse();
  } catch (error) {
    return (error as Error).message;
  }
}

/** Kept over all texts, so that one text's form may be another's. */
const forms = new StatementForms();

function expectSame(text: string): void {
  expect(outcome(() => forms.parse(text))).toEqual(outcome(() => parseQuery(text)));
}

const LITERALS = [
  `'' 'a' 'host_17' 'x y' 'a"b' 'é😀' 'it''s' 'a\\'b' 'x -- y' '/' '2020-01-01T00:00:00Z' 'open`,
  '0 00 5 007 1700000000 999999999999999999 9999999999999999999 99999999999999999999999',
  '0s 5s 1700000000s 1700000000000ms 1h30m 5x 9999999999999s 5µ 5us 0h',
  '1.5 0.5 5. .5 -5 -0 -0s +5 +0 - -- 1e9 5_a 5"a"',
  'now() true FALSE host "a" $p /re/ (5) (1h) 5*3 0*5 5+0 5/2',
]
  .join(' ')
  .split(' ');

const pick = <T>(...items: readonly T[]) => fc.constantFrom(...items);
const space = pick(' ', ' ', ' ', '', '  ', '\t', '\n');
const literal = pick(...LITERALS);
const comparison = fc
  .tuple(
    pick('host', 'time', '"a b"', 'usage::field', 'f5', '"q=\'"', '(host)', '5', 'now()', 'a.b'),
    space,
    pick('=', '!=', '<>', '<', '<=', '>', '>=', '=~', '!~', '= ='),
    space,
    literal,
    pick(
      '',
      '',
      '',
      '',
      ' + 1s',
      ' - 5',
      ' - 0',
      '%0',
      ' - 0s',
      ' * 2',
      '%3',
      ')',
      ' = 5',
      '.5',
      ' x',
      " -- 'c' = 5",
      ' /* = 5 */',
    ),
  )
  .map((parts) => parts.join(''));
const condition = fc
  .array(fc.tuple(comparison, pick(' AND ', ' OR ', 'AND ', ' and ', ' x ', ' ')), { minLength: 1, maxLength: 4 })
  .map((list) => list.map(([text, joint], i) => (i === 0 ? text : joint + text)).join(''));
const statement = fc
  .tuple(
    pick('SELECT mean(usage)', 'select *', 'SELECT percentile(a, 50), max("b")', 'SELECT a = 5 ', 'SELECT a % 2'),
    pick(
      ' FROM cpu',
      ' FROM "rp"."cpu"',
      " FROM (SELECT a FROM b WHERE c = 'x')",
      ' FROM (SELECT a FROM b WHERE time > 5s)',
      ' FROM /c/',
      ' INTO x FROM cpu',
    ),
    pick(' WHERE ', ' WHERE (', ' WHERE', ' '),
    condition,
    pick(
      '',
      ')',
      ' GROUP BY time(1m)',
      ' GROUP BY time(1h, 5s), host fill(0)',
      " tz('UTC')",
      ' LIMIT 5; SELECT a FROM b',
    ),
  )
  .map((parts) => parts.join(''));

test('of statements in which a zero of their own could be taken for the place of a literal', () => {
  const texts = [
    'SELECT v FROM (SELECT v FROM cpu WHERE n = 7) WHERE v % 0 > w',
    'SELECT v FROM (SELECT v FROM cpu WHERE time > 5s) WHERE v > 0.5 AND time < now() - 0s',
    "SELECT mean(v) FROM (SELECT v FROM cpu WHERE host = 'a') WHERE time > now() - 0s",
    "SELECT v FROM (SELECT v FROM cpu WHERE host = 'a') WHERE v > -0",
    'SELECT v = 5 FROM cpu WHERE v > -0',
    'SELECT v = 5 FROM cpu WHERE v > +0 AND time > now() - 0s',
    'SELECT v FROM cpu WHERE abs(x = 5) > 0',
    "SELECT v FROM cpu WHERE v % 0 = 3 AND host = ''",
  ];
  for (const text of [...texts, ...texts]) expectSame(text);
});

test('of generated statements', () => {
  fc.assert(fc.property(statement, expectSame), { numRuns: 6_000, seed: 7 });
});

/** Of one shape, with literals that the form leaves out: what is remembered is used. */
const usual = fc
  .tuple(
    pick(' GROUP BY time(1m)', ' GROUP BY *', ''),
    fc.string({ unit: pick('a', '0', ' ', "'", '"', '\\', '-', '=', ')') }),
    fc.bigInt({ min: 0n, max: 10n ** 20n }),
    fc.bigInt({ min: 0n, max: 10n ** 20n }),
    pick('', 's', 'ms', 'ns', 'w', '.0', '.'),
  )
  .map(
    ([group, host, from, to, unit]) =>
      `SELECT max(usage) FROM cpu WHERE (host = '${host}' OR "host"='b') AND time >= ${from}${unit} AND time<${to}${unit}${group}`,
  );

test('of usual ones', () => {
  fc.assert(fc.property(usual, expectSame), { numRuns: 4_000, seed: 8 });
});

describe('a form', () => {
  test('has no literals behind comparisons, and keeps all others', () => {
    const text = `SELECT top(a, 3) FROM b WHERE x='y' AND z > 0.5 AND (t >= 17s) AND u<5 GROUP BY time(5s) tz('UTC')`;
    const found = formOf(text)!;
    expect(found.form).toBe(
      `SELECT top(a, 3) FROM b WHERE x='' AND z > 0.5 AND (t >= 0s) AND u<0 GROUP BY time(5s) tz('UTC')`,
    );
    expect(found.literals).toEqual([
      { kind: 'string', value: 'y' },
      { kind: 'duration', ns: 17_000_000_000n },
      { kind: 'integer', value: 5n },
    ]);
  });

  test.each([
    "SELECT a FROM b WHERE c = 'd\\'e'",
    'SELECT a FROM b WHERE c = 5 * 3',
    'SELECT a FROM b WHERE c =~ /d/',
    'SELECT a FROM b -- c',
    'SELECT a FROM b; SELECT c FROM d',
    'SELECT a FROM b WHERE c = $d',
  ])('is not had by %s', (text) => {
    expect(formOf(text)).toBeNull();
  });

  test('shares with others of its kind what does not depend on literals', () => {
    const one = forms.parse("SELECT a FROM b WHERE c = 'd'")[0] as Statement & { fields: unknown };
    const other = forms.parse("SELECT a FROM b WHERE c = 'e'")[0] as Statement & { fields: unknown };
    expect(other.fields).toBe(one.fields);
    expect(other).not.toEqual(one);
  });

  test('more forms than are kept: the oldest are read again', () => {
    for (let i = 0; i < 2_500; i++) expectSame(`SELECT a FROM b${i} WHERE c = ${i}`);
  });
});
