/** Fields of a query's text are those of URLSearchParams. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fieldsOfQuery, fieldsOfUrl } from '../../server/http/query-parameters.ts';

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
