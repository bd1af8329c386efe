/**
 * A tombstone: what a shard keeps of a delete batch so that it also covers rows that arrive later with a lower version.
 *
 * The predicate's tag condition is evaluated once per series by whoever owns the series table; `covers` is the result.
 */
import type { DeletePredicate } from './batch.ts';
import type { Version } from './version.ts';

export interface Tombstone {
  readonly version: Version;
  readonly predicate: DeletePredicate;
  /** True when the series (an id local to the shard) matches measurement and tag condition of the predicate. */
  covers(series: number): boolean;
}
