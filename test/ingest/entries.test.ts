/** Spellings of which only the difference from another is kept: found again in any order, and given whole. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { formatSeriesKey } from '../../shards/series-key.ts';
import { followingSeries } from '../series/keys.ts';
import { broughtBy, NOW } from './brought-keys.ts';

const newStage = () => new IngestStage('seed', 1_000_000, 4, LINE_LIMITS);
const lineOf = (key: string) => `${key} v=1 ${NOW}`;
const keysOf = (stage: IngestStage, spellings: readonly string[]) =>
  broughtBy(stage, spellings.map(lineOf)).map(({ key }) => key);

/** In another order, the same in every run. */
function shuffled<T>(list: readonly T[], seed: number): T[] {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
  return list
    .map((each) => ({ each, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ each }) => each);
}

test('series in any order, spelled in any order of tags, are those that came first', () => {
  fc.assert(
    fc.property(followingSeries, fc.nat(), (series, seed) => {
      const stage = newStage();
      const spell = (of: typeof series) =>
        of.map(({ measurement, tags }) => [measurement, ...tags.map(({ key, value }) => `${key}=${value}`)].join(','));
      const canonical = [...new Set(series.map(({ measurement, tags }) => formatSeriesKey(measurement, tags)))].sort();
      expect(keysOf(stage, spell(series)).sort()).toEqual(canonical);
      const count = stage.seriesCount;
      expect(keysOf(stage, shuffled(spell(series), seed)).sort()).toEqual(canonical);
      expect(stage.seriesCount).toBe(count);
      const turned = series.map(({ measurement, tags }) => ({ measurement, tags: [...tags].reverse() }));
      expect(keysOf(stage, shuffled(spell(turned), seed)).sort()).toEqual(canonical);
    }),
    { numRuns: 200 },
  );
});

test('lengths around those of vectors, and keys that others begin or end with', () => {
  const values = Array.from({ length: 70 }, (_, length) => 'abcdefg'.repeat(10).slice(0, length + 1));
  const keys = values.flatMap((value, i) => [
    `cpu,environment=production,host=${value}`,
    `cpu,environment=${value},host=server,rack=12`,
    `cpu${value},environment=production,host=server`,
    `cpu,environment=production,host=${value}${'x'.repeat(i * 61)}`,
    `cpu,environment=production,host=${'x'.repeat(i * 61)}${value}`,
  ]);
  const stage = newStage();
  const canonical = [...new Set(keys)].sort();
  expect(keysOf(stage, keys).sort()).toEqual(canonical);
  for (let seed = 0; seed < 5; seed++) expect(keysOf(stage, shuffled(keys, seed)).sort()).toEqual(canonical);
  expect(stage.seriesCount).toBe(canonical.length);
});

test('series beyond what one chunk holds, with few and many bytes of their own', () => {
  const stage = newStage();
  const random = shuffled(
    Array.from({ length: 40_000 }, (_, i) => i),
    7,
  );
  const keys = random.map((n, i) => `m,host=server-${i},zone=${i % 3 === 0 ? 'x'.repeat(n % 90) : 'z'}${n},zz=end`);
  expect(keysOf(stage, keys).sort()).toEqual([...keys].sort());
  expect(keysOf(stage, shuffled(keys, 1)).sort()).toEqual([...keys].sort());
  expect(stage.seriesCount).toBe(keys.length);
});
