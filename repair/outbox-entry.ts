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

export interface StoredEntry extends OutboxEntry {
  segment: number;
  offset: number;
  length: number;
  durable: boolean;
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
