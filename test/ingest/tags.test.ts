import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGoRegex, RegexError } from '../../shards/go-regex.ts';
import { compareBytes, formatSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import { matchTags } from '../../shards/tag-matcher.ts';

describe('Go regular expressions', () => {
  it('errors are worded as Go words them', () => {
    const cases: [string, string][] = [
      ['[abc', 'missing closing ]: `[abc`'],
      ['a(b', 'missing closing ): `a(b`'],
      ['*a', 'missing argument to repetition operator: `*`'],
      ['a**', 'invalid nested repetition operator: `**`'],
      ['(?=a)', 'invalid or unsupported Perl syntax: `(?=`'],
      ['a\\', 'trailing backslash at end of expression: ``'],
    ];
    for (const [pattern, text] of cases) {
      expect(() => compileGoRegex(pattern)).toThrow(new RegexError(`error parsing regexp: ${text}`));
    }
  });

  it('plain patterns, answered without the engine, agree with it', () => {
    const texts = ['', 'a', 'ab', 'abc', 'xabc', 'abcx', 'a|b', 'b'];
    for (const pattern of ['abc', '^abc', 'abc$', '^abc$', '^(a|ab|b)$', 'ab']) {
      const engine = compileGoRegex(`(?:${pattern})`);
      for (const text of texts)
        expect([pattern, text, compileGoRegex(pattern).test(text)]).toEqual([pattern, text, engine.test(text)]);
    }
  });
});

describe('tag conditions', () => {
  const tags = [{ key: 'host', value: 'a' }];
  const holds = (condition: TagCondition) => matchTags(condition, 'cpu', tags);

  it('a tag that is absent is the empty string', () => {
    expect(holds({ op: '=', key: 'rack', value: '' })).toBe(true);
    expect(holds({ op: '!=', key: 'rack', value: 'x' })).toBe(true);
    expect(holds({ op: '=~', key: 'rack', regex: '^$' })).toBe(true);
    expect(holds({ op: '!~', key: 'rack', regex: '.' })).toBe(true);
  });

  it('_name is the measurement, and terms combine', () => {
    expect(holds({ op: '=', key: '_name', value: 'cpu' })).toBe(true);
    const terms: TagCondition[] = [{ op: '=', key: 'host', value: 'a' }, { op: 'false' }];
    expect([holds({ op: 'and', terms }), holds({ op: 'or', terms })]).toEqual([false, true]);
  });
});

describe('series keys', () => {
  it('a canonical key gives back measurement and tags, in byte order of the tag keys', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', ',', ' ', '=', '"', 'é', '\uffee', '😀', '\\x'),
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(
        text,
        fc.uniqueArray(fc.tuple(text, text), { selector: ([key]) => key, maxLength: 4 }),
        (measurement, pairs) => {
          const tags = pairs.map(([key, value]) => ({ key, value }));
          const parsed = parseSeriesKey(formatSeriesKey(measurement, tags));
          tags.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
          expect(parsed).toEqual({ measurement, tags });
          for (const [a] of pairs)
            for (const [b] of pairs)
              expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
        },
      ),
      { numRuns: 500, seed: 1 },
    );
  });
});
