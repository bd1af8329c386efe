/** What a key shares with the one before it is not read again: nothing may be taken for shared that is not. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { formatSeriesKey, hashSeriesKey } from '../../shards/series-key.ts';
import { followingSeries, type TaggedSeries } from '../series/keys.ts';
import { broughtBy, NO_SCHEMA, NOW } from './brought-keys.ts';
import { POLICY } from './support.ts';

const spelled = ({ measurement, tags }: TaggedSeries) =>
  `${[measurement, ...tags.map(({ key, value }) => `${key}=${value}`)].join(',')} v=1 ${NOW}`;

test('series that follow one another have their tags in order, whatever those before had', () => {
  fc.assert(
    fc.property(followingSeries, fc.nat(60), (series, broken) => {
      const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
      const lines = series.map(spelled);
      // A line that is refused in its middle has been read in part.
      const refused = spelled(series[broken % series.length]!).replace(/=([^=,]*) v=1/, '=$1,x v=1');
      const canonical = new Set(series.map(({ measurement, tags }) => formatSeriesKey(measurement, tags)));
      const expected = [...canonical].sort().map((key) => ({ hash: hashSeriesKey('seed', key), key }));
      const half = series.length >> 1;
      const brought = [
        ...broughtBy(stage, [...lines.slice(0, half), refused]),
        ...broughtBy(stage, [refused, ...lines.slice(half)]),
      ];
      const found = new Map(brought.map((record) => [record.key, record]));
      expect([...found.keys()].sort().map((key) => found.get(key))).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});

test('a tag named `time` is seen where the names are those of the key before, and forgotten where they are not', () => {
  const stage = new IngestStage('seed', 1000, 4, LINE_LIMITS);
  const kindOf = (key: string) => {
    stage.begin(POLICY, NOW);
    return stage.add([Buffer.from(`${key} v=1 ${NOW}`)], 'n', NOW, () => NO_SCHEMA).kind;
  };
  const keys = ['m,host=a,time=1', 'm,host=a,time=2', 'm,host=b,zone=2', 'm,host=b,zone=3', 'm,host=c,time=3'];
  expect(keys.map(kindOf)).toEqual(['general', 'general', 'taken', 'taken', 'general']);
});
