/** What a worker says to a partial request about some of its shards. */
import type { LossDescription } from '../repair/records.ts';
import type { PartialResult } from '../shards/query/partial.ts';
import type { ShardId } from '../shards/shard-key.ts';

export interface PartialAnswer {
  readonly results: readonly PartialResult[];
  /** Shards that are not here in full; the results do not cover them. */
  readonly absent: readonly ShardId[];
  /** Those of them that were read from a damaged replica: rows may be missing. */
  readonly damaged: readonly ShardId[];
  /** Those that were read from a replica without a proof with any other: whatever was there before it is not in it. */
  readonly young: readonly ShardId[];
  /** Members that were given up or replaced, with whom writes of the shards that the results cover may be lost. */
  readonly losses: readonly LossDescription[];
  /** The least watermark of the shards that the results cover; null when one of them has none. */
  readonly convergedThroughMs: number | null;
  /** The same for the owners that are live. */
  readonly liveConvergedThroughMs: number | null;
  /** No shard has a series for it, as of this count of changes (said-nothing.ts); null: one has, or who knows. */
  readonly nothingAsOf: number | null;
}
