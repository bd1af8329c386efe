/** The stage's memory of the shards that it has sealed rows for. */
import { expect, test } from 'vitest';
import { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { LINE_LIMITS } from '../../shards/line-protocol-errors.ts';
import { decodeKeys } from '../../shards/series-keys.ts';
import { POLICY, VERSION, WEEK_NS } from './support.ts';

const WEEKS_AT_ONCE = 7;

test('more shards than are remembered are sealed all the same, and those that were forgotten with all keys', () => {
  const stage = new IngestStage('seed', 100_000, 4, LINE_LIMITS);
  const schema = { typeOf: () => null, learn: () => {}, revision: 0 };
  const seal = (week: number): { shards: number; keys: number } => {
    const times = Array.from({ length: WEEKS_AT_ONCE }, (_, i) => BigInt(week + i) * WEEK_NS);
    const lines = times.flatMap((time) => Array.from({ length: 24 }, (_, host) => `m,host=${host} v=1 ${time}`));
    stage.begin(POLICY, times[0]!);
    expect(stage.add([Buffer.from(lines.join('\n'))], 'n', times[0]!, () => schema).kind).toBe('taken');
    const targets = stage.targets();
    const keys = targets.map((target) => decodeKeys(stage.seal(target, VERSION, 1, false, false).keys).length);
    return { shards: targets.length, keys: keys.reduce((sum, each) => sum + each, 0) };
  };
  const all = { shards: 4 * WEEKS_AT_ONCE, keys: 24 * WEEKS_AT_ONCE };
  for (let week = 0; week * 4 < 21_000; week += WEEKS_AT_ONCE) expect(seal(week)).toEqual(all);
  expect(seal(0)).toEqual(all);
});
