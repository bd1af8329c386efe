import fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, it } from 'vitest';
import { compileGoRegex, PROGRAM_MAX, RegexError, testBounded } from '../../shards/go-regex.ts';
import { programSizeOf } from '../../shards/regex-size.ts';
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
    const texts = ['', 'a', 'ab', 'abc', 'xabc', 'abcx', 'a|b', 'b', 'a.b', 'axb', 'a\\', 'a\\$', 'a$', 'a(b'];
    const plain = [
      'abc',
      '^abc',
      'abc$',
      '^abc$',
      '^(a|ab|b)$',
      'ab',
      '^(?:a|b)$',
      'a\\.b',
      '^(a\\.b|a\\$)$',
      'a\\$',
      'a\\$$',
    ];
    for (const pattern of plain) {
      const regex = compileGoRegex(pattern);
      expect([pattern, regex.size]).toEqual([pattern, 1]);
      for (const text of texts)
        expect([pattern, text, regex.test(text)]).toEqual([pattern, text, RE2JS.compile(pattern).test(text)]);
    }
    for (const pattern of ['^a\\\\$', '^(a\\|b)$', '^(a|(b))$', '^(a\\d|b)$', '^()$', 'a\nb', '\\bab', '^(?i:ab)$']) {
      const regex = compileGoRegex(pattern);
      expect([pattern, regex.size > 1]).toEqual([pattern, true]);
      for (const text of texts)
        expect([pattern, text, regex.test(text)]).toEqual([pattern, text, RE2JS.compile(pattern).test(text)]);
    }
  });

  it('the size of a program is reckoned from its pattern: never far less than the compiler makes of it', () => {
    const atom = fc.constantFrom(
      'a',
      '.',
      '\\d',
      '[a-c]',
      '[^]x]',
      '[[:alpha:]_]',
      '\\.',
      '\\p{Greek}',
      '\\x{61}',
      '\\Qa.b\\E',
      '(?i:k)',
      '^',
      '$',
      '\\b',
    );
    const repeat = fc.constantFrom('', '', '', '*', '+?', '?', '{3}', '{2,}', '{2,7}', '{0,40}');
    const { pattern } = fc.letrec<{ pattern: string; piece: string }>((tie) => ({
      pattern: fc.array(tie('piece'), { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join('')),
      piece: fc.oneof(
        { maxDepth: 3 },
        fc.tuple(atom, repeat).map(([one, times]) => one + times),
        fc
          .tuple(fc.constantFrom('(', '(?:', '(?P<n>', '(?s:'), tie('pattern'), repeat)
          .map(([open, inner, times]) => `${open}${inner})${times}`),
        fc.tuple(tie('pattern'), tie('pattern')).map(([a, b]) => `(${a}|${b})`),
      ),
    }));
    let checked = 0;
    fc.assert(
      fc.property(pattern, (text) => {
        const reckoned = programSizeOf(text);
        if (reckoned > 20_000) return;
        let compiled: RE2JS;
        try {
          compiled = RE2JS.compile(text);
        } catch {
          return;
        }
        checked++;
        const size = compiled.programSize();
        expect([text, size <= 2 * reckoned + 8, reckoned <= 4 * size + 200 * text.length]).toEqual([text, true, true]);
      }),
      { numRuns: 4000, seed: 3 },
    );
    expect(checked).toBeGreaterThan(1000);
  });

  it('what would take seconds to compile, or for one text, is refused', () => {
    const large = new RegexError('error parsing regexp: expression too large');
    for (const pattern of [
      '(?:.?){1000}'.repeat(300),
      '((a{100}){100})b',
      '[ab]{1000}'.repeat(9),
      `${'x'.repeat(70_000)}*`,
    ])
      expect(() => compileGoRegex(pattern), pattern.slice(0, 20)).toThrow(large);
    const hosts = compileGoRegex(`^(${Array.from({ length: 2000 }, (_, n) => `host${n}\\.example\\.com`).join('|')})$`);
    expect([hosts.literals!.size, hosts.test('host7.example.com'), hosts.test('host7xexample.com')]).toEqual([
      2000,
      true,
      false,
    ]);
    const slow = compileGoRegex('(?:a?){900}b');
    expect(slow.size).toBeLessThan(PROGRAM_MAX);
    expect(testBounded(slow, 'a'.repeat(1000))).toBe(false);
    expect(() => testBounded(slow, 'a'.repeat(10_000))).toThrow(
      'instructions is too large for a value of 10000 characters',
    );
    expect(testBounded(compileGoRegex('needle'), 'a'.repeat(5_000_000))).toBe(false);
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
