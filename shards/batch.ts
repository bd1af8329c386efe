/**
 * A batch: everything that one coordinator accepted for one shard at one instant, under one version.
 *
 * Immutable and idempotent; its version is its identity. The encoded bytes (batch-codec.ts) go unchanged into the log,
 * to the other owners, into the outbox, and out again when repair asks. A batch holds at most one row per
 * (series, time): the coordinator has reduced it to one value per cell before it drew the version (protocol rule 4).
 */
import type { Column } from './column.ts';
import type { SeriesHash } from './series-key.ts';
import type { ShardKey } from './shard-key.ts';
import type { TagCondition } from './tag-condition.ts';
import type { Version } from './version.ts';

/** The rows of one measurement in a batch. */
export interface BatchGroup {
  readonly measurement: string;
  /** Per row: index into the batch's `series`. */
  readonly rowSeries: Uint32Array;
  /** Per row: nanoseconds after the shard's start. */
  readonly times: Float64Array;
  /** Each (field, type) at most once. */
  readonly columns: readonly Column[];
}

export interface WriteBatch {
  readonly kind: 'write';
  readonly shard: ShardKey;
  readonly version: Version;
  /** Hashes of the keys of the series in the batch, each once. */
  readonly series: readonly SeriesHash[];
  readonly groups: readonly BatchGroup[];
}

/** Deletes every row of a lower version whose series matches and whose time lies in the range. */
export interface DeleteBatch {
  readonly kind: 'delete';
  readonly shard: ShardKey;
  readonly version: Version;
  readonly predicate: DeletePredicate;
}

export interface DeletePredicate {
  /** null: every measurement. A regex is given in Go's syntax. */
  readonly measurement: { readonly name: string } | { readonly regex: string } | null;
  readonly condition: TagCondition | null;
  /** Offsets from the shard's start in nanoseconds, both inclusive. */
  readonly minTime: number;
  readonly maxTime: number;
  /** In a delete shard (delete-shard.ts), whose range no offset covers exactly: both inclusive, and the offsets are 0. */
  readonly times?: { readonly minNs: bigint; readonly maxNs: bigint };
}

export type Batch = WriteBatch | DeleteBatch;

/** Keys of series, sent ahead of a batch to whoever may not have had them, and kept once per log segment. */
export interface SeriesKeyRecord {
  readonly hash: SeriesHash;
  /** Canonical key (series-key.ts). */
  readonly key: string;
}
