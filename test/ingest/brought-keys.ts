/** What the tests of keys share: a body through a stage, and the keys that it brings. */
import { expect } from 'vitest';
import type { SeriesKeyRecord } from '../../shards/batch.ts';
import type { GroupSchema } from '../../shards/batch-builder.ts';
import type { IngestStage } from '../../shards/kernel/ingest-stage.ts';
import { decodeKeys, encodeKeys } from '../../shards/series-keys.ts';
import { POLICY, VERSION } from './support.ts';

export const NOW = 1_700_000_000_000_000_000n;
export const NO_SCHEMA: GroupSchema = { typeOf: () => null, learn: () => {}, revision: 0 };

/** All keys of the body, whether they were sent before or not. */
export function broughtBy(stage: IngestStage, lines: readonly string[]): SeriesKeyRecord[] {
  stage.begin(POLICY, NOW);
  const { kind } = stage.add([Buffer.from(lines.join('\n'))], 'n', NOW, () => NO_SCHEMA);
  expect(kind).toBe('taken');
  return stage.targets().flatMap((target) => {
    const { keys } = stage.seal(target, VERSION, 1, true, false);
    const records = decodeKeys(keys);
    expect(Buffer.compare(keys, encodeKeys(records))).toBe(0);
    return records;
  });
}
