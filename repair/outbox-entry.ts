/** Batches in the outbox, and the segment files in which they lie (outbox.ts). */
import type { AppendFile } from '../shards/files.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';

export interface OutboxEntry {
  readonly name: string;
  readonly id: ShardId;
  readonly key: ShardKey;
  readonly version: Version;
  readonly bytes: number;
  /** Full owners that have it synced. */
  readonly acks: Set<NodeNumber>;
  readonly durable: boolean;
  /** It was here when this process began: it may have been sent. */
  readonly isOfBefore: boolean;
}

/** Where a record's payload lies. */
export interface Place {
  segment: number;
  offset: number;
  length: number;
}

export interface StoredEntry extends OutboxEntry, Place {
  durable: boolean;
  /** Records of it from before it was moved, the newest last: they stay until the one that it is now is durable. */
  older: readonly Place[];
  /** None of its records reads as written: who waits for it is told. */
  isLost: boolean;
}

export interface Segment {
  readonly number: number;
  readonly file: AppendFile;
  live: number;
  liveBytes: number;
  /** Its end is whole, and everything in it could be read. */
  takesMore: boolean;
  /** Some of it could not be read. */
  isUnreadable: boolean;
}
