import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addSeriesChunk, encodeSeriesChunk } from '../../shards/series-chunk.ts';
import { SeriesIds } from '../../shards/series-ids.ts';
import { formatSeriesKey, parseSeriesKey } from '../../shards/series-key.ts';
import { SeriesTable } from '../../shards/series-table.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import { matchTags } from '../../shards/tag-matcher.ts';
import { hashOf, hostKey } from './keys.ts';

const KEYS = ['a', 'b', 'c', '_name'];
const VALUES = ['', 'x', 'y', 'xy', 'z z'];

const series = fc
  .record({
    measurement: fc.constantFrom('m', 'n', 'o p'),
    a: fc.constantFrom(...VALUES),
    b: fc.constantFrom(...VALUES),
    c: fc.integer({ min: 0, max: 700 }).map(String),
  })
  .map(({ measurement, ...tags }) =>
    formatSeriesKey(
      measurement,
      Object.entries(tags).map(([key, value]) => ({ key, value })),
    ),
  );
const condition: fc.Arbitrary<TagCondition> = fc.letrec<{ condition: TagCondition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: 'small' },
    fc.record({
      op: fc.constantFrom('=' as const, '!=' as const),
      key: fc.constantFrom(...KEYS, 'absent'),
      value: fc.oneof(fc.constantFrom(...VALUES, 'm'), fc.integer({ min: 0, max: 800 }).map(String)),
    }),
    fc.record({
      op: fc.constantFrom('=~' as const, '!~' as const),
      key: fc.constantFrom(...KEYS, 'absent'),
      regex: fc.constantFrom('x', '^x$', '^(x|y|nothing)$', '^$', '1.*2', '.', '^[mn]', ''),
    }),
    fc.record({ op: fc.constantFrom('true' as const, 'false' as const) }),
    fc.record({
      op: fc.constantFrom('and' as const, 'or' as const),
      terms: fc.array(tie('condition'), { maxLength: 3 }),
    }),
  ),
})).condition;

function naive(keys: readonly string[], measurement: string, where: TagCondition | null): string[] {
  return keys
    .filter((key) => {
      const parsed = parseSeriesKey(key);
      return parsed.measurement === measurement && (where === null || matchTags(where, measurement, parsed.tags));
    })
    .sort((a, b) => (hashOf(a) < hashOf(b) ? -1 : 1));
}

describe('against plain lists', () => {
  test('any condition finds the same series in the order of hash, while series go on being added', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(series, { maxLength: 300 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(fc.constantFrom('m', 'n', 'o p', 'none'), condition), { minLength: 4, maxLength: 12 }),
        (waves, asked) => {
          const table = new SeriesTable();
          const keys: string[] = [];
          for (const wave of waves) {
            for (const key of wave) {
              if (table.find(hashOf(key)) >= 0) continue;
              table.add(hashOf(key), key);
              keys.push(key);
            }
            for (const [measurement, where] of asked) {
              const found = [...table.match(measurement, where)].map((id) => table.ids.keyOf(id));
              expect(found).toEqual(naive(keys, measurement, where));
            }
          }
          table.close();
        },
      ),
      { numRuns: 120 },
    );
  });

  test('order, ranks, tag keys and values', () => {
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(series, { maxLength: 400 }), { maxLength: 5 }), (waves) => {
        const table = new SeriesTable();
        const keys: string[] = [];
        for (const wave of waves) {
          for (const key of wave) {
            if (table.find(hashOf(key)) >= 0) continue;
            table.add(hashOf(key), key);
            keys.push(key);
          }
          for (const measurement of ['m', 'n', 'o p', 'none']) {
            const expected = naive(keys, measurement, null);
            const sorted = table.sorted(measurement).slice();
            expect([...sorted].map((id) => table.ids.keyOf(id))).toEqual(expected);
            expect([...sorted].map(table.rankOf)).toEqual([...sorted.keys()]);
            const tags = expected.map((key) => new Map(parseSeriesKey(key).tags.map((tag) => [tag.key, tag.value])));
            expect(table.tagKeys(measurement, null)).toEqual(
              [...new Set(tags.flatMap((all) => [...all.keys()]))].sort(),
            );
            const some = sorted.slice(0, 3);
            const someTags = tags.slice(0, 3);
            expect(table.tagKeys(measurement, some)).toEqual(
              [...new Set(someTags.flatMap((all) => [...all.keys()]))].sort(),
            );
            for (const key of ['a', 'b', 'c', 'absent']) {
              const values = (of: typeof tags) => [...new Set(of.flatMap((all) => all.get(key) ?? []))].sort();
              expect(table.tagValues(measurement, key, null).sort()).toEqual(values(tags));
              expect(table.tagValues(measurement, key, some).sort()).toEqual(values(someTags));
              const column = table.tagColumn(measurement, key, sorted);
              expect([...column.codes].map((code) => column.valueOf(code))).toEqual(
                tags.map((all) => all.get(key) ?? ''),
              );
            }
          }
          expect(table.measurements()).toEqual([...new Set(keys.map((key) => parseSeriesKey(key).measurement))].sort());
        }
        table.close();
      }),
      { numRuns: 40 },
    );
  });
});

test('a regular expression of a bad form is refused', () => {
  const table = new SeriesTable();
  table.add(hashOf('m,a=1'), 'm,a=1');
  expect(() => table.match('m', { op: '=~', key: 'a', regex: '(' })).toThrow('error parsing regexp');
  table.close();
});

test('a few new series among many known ones are merged, many are sorted again', () => {
  const table = new SeriesTable();
  const keys: string[] = [];
  const add = (count: number): void => {
    for (let i = 0; i < count; i++) {
      const key = hostKey(keys.length);
      keys.push(key);
      table.add(hashOf(key), key);
    }
  };
  for (const count of [5000, 1, 3, 300, 20_000, 1000, 1]) {
    add(count);
    const sorted = [...table.sorted('cpu')].map((id) => table.ids.hashOf(id));
    expect(sorted).toEqual(keys.map(hashOf).sort());
    expect([...table.sorted('cpu')].every((id, place) => table.rankOf(id) === place)).toBe(true);
  }
  table.close();
});

describe('chunks', () => {
  const filled = (count: number): SeriesIds => {
    const ids = new SeriesIds();
    for (let n = 0; n < count; n++) ids.add(hashOf(hostKey(n)), hostKey(n));
    return ids;
  };

  test('series come back from their chunks', () => {
    const ids = filled(1000);
    const other = new SeriesIds();
    for (const [first, count] of [
      [0, 512],
      [512, 488],
    ] as const) {
      addSeriesChunk(other, encodeSeriesChunk(ids, first, count), count);
    }
    expect(other.count).toBe(1000);
    for (let id = 0; id < 1000; id++) {
      expect([other.hashOf(id), other.keyOf(id)]).toEqual([ids.hashOf(id), ids.keyOf(id)]);
    }
  });

  test('a chunk with any byte changed, cut, or with another count is damaged', () => {
    const ids = filled(20);
    const chunk = encodeSeriesChunk(ids, 0, 20);
    for (let at = 0; at < chunk.length; at += 3) {
      const changed = Buffer.from(chunk);
      changed[at]! ^= 1 << (at % 8);
      expect(() => addSeriesChunk(new SeriesIds(), changed, 20)).toThrow('fails its checksum');
      expect(() => addSeriesChunk(new SeriesIds(), chunk.subarray(0, at), 20)).toThrow();
    }
    for (const count of [0, 1, 19, 21, 1000]) expect(() => addSeriesChunk(new SeriesIds(), chunk, count)).toThrow();
    expect(() => addSeriesChunk(ids, chunk, 20)).toThrow('does not hold 20 series');
  });
});
