/** Fields of a query's text are those of URLSearchParams; params are read in one go. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fieldsOfQuery, fieldsOfUrl, queryParameters } from '../../server/http/query-parameters.ts';

const PIECES =
  "q db = = & & + % %20 %2B %C3%A9 %c3 %EF%BB%BF %ED%A0%80 %00 %F0%9F%98%80 %zz %2 ' ? / %26 %3D SELECT %FF %C0%80".split(
    ' ',
  );

test('of any text', () => {
  const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 14 }).map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(text, (query) => {
      const expected = fieldsOfUrl(new URL(`http://node/query?${query}`).searchParams);
      expect([...fieldsOfQuery(query)]).toEqual([...expected]);
    }),
    { numRuns: 5_000, seed: 5 },
  );
});

test('params that nobody can mean take no longer than their length asks for', () => {
  const params = (text: string) =>
    queryParameters(
      new Map([
        ['q', 'x'],
        ['params', text],
      ]),
    );
  const began = process.cpuUsage();
  expect(params(`"${'\\"'.repeat(60_000)}`)).toMatch(/^error parsing query parameters: /);
  expect(params('"'.repeat(100_001))).toMatch(/^error parsing query parameters: /);
  const long = 'x'.repeat(12_000_000);
  expect(params(`{"a":"${long}","b":-${'9'.repeat(100_000)}}`)).toMatchObject({ params: { a: long, b: -Infinity } });
  const { user } = process.cpuUsage(began);
  // A search for the end of a string from each of its quotes takes half a minute.
  expect(user / 1e6).toBeLessThan(5);
});
