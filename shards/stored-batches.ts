/** The batches of some time as a shard stores them: from which a damaged identity list can be made anew (companion.ts). */
import type { StoredBatch } from './companion.ts';
import { holdFrame } from './held-frame.ts';
import { contentAbove, rebuildBatches } from './shard-content.ts';
import type { ShardKey } from './shard-key.ts';
import type { ScanSources } from './shard-scan.ts';
import { isThrough, type Stamp } from './version.ts';

/** See ReadBatches. */
export function storedBatches(sources: ScanSources, key: ShardKey, after: Stamp, through: Stamp): StoredBatch[] {
  const above = contentAbove(sources, after);
  const versions = [...above.keys()].filter((version) => isThrough(version, through));
  return rebuildBatches(sources, key, new Set(versions)).map(({ version, frame }) => {
    const held = holdFrame(frame);
    const { rows } = held;
    held.release();
    return { version, rows, content: above.get(version)! };
  });
}
