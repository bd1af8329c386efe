import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDeletePredicate } from '../../server/http/delete-predicate.ts';
import { ParseError } from '../../server/influxql/token-stream.ts';

const is = (key: string, value: string, op: '=' | '!=' = '=') => ({ op, key, value });
const all = (...terms: object[]) => ({ op: 'and', terms });

describe('the predicate of deletes', () => {
  test.each<[string, string | null, object | null]>([
    ['', null, null],
    ['  ', null, null],
    ['_measurement="cpu"', 'cpu', null],
    ['_measurement=cpu', 'cpu', null],
    ["_measurement = 'a b' and host='x'", 'a b', all(is('host', 'x'))],
    ['host="a"', null, all(is('host', 'a'))],
    ['"Name"=predicate', null, all(is('Name', 'predicate'))],
    ['"host"="a" AND "dc"!=\'b\'', null, all(is('host', 'a'), is('dc', 'b', '!='))],
    ['(_measurement="cpu") AND (host="a" AND (dc=b))', 'cpu', all(is('host', 'a'), is('dc', 'b'))],
    ['((host="a"))', null, all(is('host', 'a'))],
    ['host=""', null, all(is('host', ''))],
    [
      'n=12 AND f=1.5 AND g=-3 AND t=true AND d=1h',
      null,
      all(is('n', '12'), is('f', '1.5'), is('g', '-3'), is('t', 'true'), is('d', '1h')),
    ],
    ['host=TRUE AND dc!=False', null, all(is('host', 'TRUE'), is('dc', 'False', '!='))],
    ['host="a\\"b\\\\c"', null, all(is('host', 'a"b\\c'))],
    ['_measurement != "cpu"', null, all(is('_name', 'cpu', '!='))],
    ['_measurement=a AND _measurement=b', null, all(is('_name', 'a'), is('_name', 'b'))],
  ])('%s', (text, measurement, condition) => {
    expect(parseDeletePredicate(text)).toEqual({
      measurement: measurement === null ? null : { name: measurement },
      condition,
    });
  });

  test.each([
    ['host="a" OR host="b"', 'the logical operator OR is not supported'],
    ['host=~/a/', 'expected = or != behind host, found =~'],
    ['host="a" dc="b"', 'expected AND, found dc'],
    ['host', 'expected = or != behind host, found the end'],
    ['host=', 'expected a value, found the end'],
    ['="a"', 'expected the name of a tag, found ='],
    ["'host'='a'", 'expected the name of a tag, found host'],
    ['host=/a/', 'expected a value'],
    ['host="a', 'expected a value'],
    ['host="a" AND', 'expected the name of a tag, found the end'],
    ['(host="a"', 'expected AND or ), found the end'],
    ['host="a")', 'expected AND, found )'],
    ['--host="a"', 'it has a comment'],
    ['host=a--b', 'it has a comment'],
    ['host=a /* AND dc=b */', 'it has a comment'],
    ['host=a-1', 'expected AND, found -'],
    ['()', 'expected the name of a tag, found )'],
    ['_field="usage"', 'deletes by _field are not supported'],
    ['_time="x"', 'deletes by _time are not supported'],
    ['_value=1', 'deletes by _value are not supported'],
    ['('.repeat(100_000), 'too many parentheses'],
  ])('refused: %s', (text, message) => {
    expect(() => parseDeletePredicate(text)).toThrow(`invalid predicate: ${message}`);
  });

  test('any text is read or refused, and what is read picks by names alone', () => {
    const pieces = [
      'host',
      '_measurement',
      '"a b"',
      "'x'",
      '=',
      '!=',
      '=~',
      '(',
      ')',
      ' AND ',
      ' OR ',
      '-',
      '1',
      '1.5',
      '1h',
    ];
    const piece = fc.oneof(
      fc.constantFrom(...pieces),
      fc.constantFrom('true', '/a/', '"', "'", '\\', '$x', '--', ' ', '\n'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (parts) => {
        try {
          const { measurement, condition } = parseDeletePredicate(parts.join(''));
          if (measurement === null && condition === null) expect(parts.join('').trim()).toBe('');
        } catch (error) {
          expect(error).toBeInstanceOf(ParseError);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
