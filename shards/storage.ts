/**
 * What repair needs of the storage engine; `engine.ts` provides it. One `Storage` per worker thread.
 *
 * Everything is synchronous except `sync`, whose callback runs when what was appended before the call is on disk.
 * The caller (replica-host.ts) keeps one sync in flight, applies the batches of a group to their shards only after it,
 * and acknowledges after that: what is readable is durable (with `durability: fsync`).
 */
import type { Database } from 'better-sqlite3';
import type { SeriesKeyRecord } from './batch.ts';
import type { StoredCare } from './care.ts';
import type { Sum128 } from './checksum.ts';
import type { StorageError } from './errors.ts';
import type { HeldFrame } from './held-frame.ts';
import type { SeriesHash } from './series-key.ts';
import type { GivenKeys } from './series-keys.ts';
import type { ShardId, ShardKey } from './shard-key.ts';
import type { RulesOf } from './shard-policy.ts';
import type { Stamp, Version } from './version.ts';

/** Segment number and byte offset in the worker's log. */
export interface LogPosition {
  readonly segment: number;
  readonly offset: number;
}

export interface LogEntry {
  readonly shard: ShardId;
  /** Keys that came with the frame; the engine writes those that this log segment has not had. */
  readonly keys: GivenKeys;
  /** The encoded batch, exactly as it will be sent to others. Its CRC has been checked, or was made by this process. */
  readonly frame: Uint8Array;
}

export interface Storage {
  readonly shards: ReadonlyMap<ShardId, StoredShard>;
  /** An empty shard; its file is durable with the next sync, or step. */
  create(key: ShardKey): StoredShard;
  /** Removes the shard's file and memory, durably. */
  drop(id: ShardId): void;
  /** Why a batch with these keys is not to be appended (no memory for its series); asked of each, in the order in which they are. */
  admit(id: ShardId, keys: GivenKeys): StorageError | null;
  /** One vectored write; throws StorageError `disk-full` and leaves the log as it was. */
  append(entries: readonly LogEntry[]): LogPosition;
  sync(done: (error: Error | null) => void): void;
  /** Bytes in log and memtables; at the maximum writes are refused with `overloaded`. */
  pressure(): { logBytes: number; memtableBytes: number; overloaded: boolean };
  /** A bounded step of flushing, compaction, retention; true when more remains. */
  step(budgetMs: number, nowMs: () => number): boolean;
  /** What the cluster's metadata say from now on. */
  setRules(rulesOf: RulesOf): void;
  /**
   * Starts a shard that is being given by another owner, `origin`, or goes on where the last try was suspended; replaces the
   * local content only when finished.
   */
  beginFill(key: ShardKey, origin: string): FillTarget;
  /** Of whose copy pages are kept; null: of nobody's. */
  copyOrigin(id: ShardId): string | null;
  /** Its file is there and could not be opened: it is of a later format, and left alone. */
  isUnopened(id: ShardId): boolean;
}

export interface StoredShard {
  readonly id: ShardId;
  readonly key: ShardKey;
  /**
   * Hashes of series of the frame whose keys neither the shard nor `keys` holds, nor `earlier`: keys of frames that will
   * be applied before it. Throws BatchError when rows and series do not fit together.
   */
  unknownSeries(frame: HeldFrame, keys: GivenKeys, earlier?: readonly GivenKeys[]): SeriesHash[];
  /**
   * Registers the keys and puts the rows (or the tombstone) into the memtable, which takes the frame's memory over.
   * `position`: the end of its log record.
   */
  apply(frame: HeldFrame, keys: GivenKeys, position: LogPosition): void;
  /** The batches of these versions, encoded again from the stored rows and tombstones, each with all its keys. */
  rebuild(versions: ReadonlySet<Version>): { version: Version; frame: Uint8Array; keys: SeriesKeyRecord[] }[];
  /** All (version, content sum) with stamp above `floor`, recomputed from the stored rows (slow: rebuilding a lost ledger, scrub). */
  recomputeContent(floor: Stamp): Map<Version, Sum128>;
  /**
   * The content sum of what was received with a stamp at or below `through`, which must not lie below the floor: over all
   * stored rows and tombstones, recomputed (slow), and what is kept of those that were dropped.
   */
  recomputeContentThrough(through: Stamp): Sum128;
  /** Writes memtable and companion to the shard's file in one transaction. */
  flush(): void;
  /** A consistent copy of the shard as pages of at most about `pageBytes`; compaction waits until it is closed. */
  snapshot(pageBytes: number): FillSource;
  sizes(): ShardSizes;
  /** For finding and mending damage. */
  readonly care: StoredCare;
}

export interface ShardSizes {
  readonly rows: number;
  readonly series: number;
  readonly fileBytes: number;
  readonly memtableBytes: number;
  readonly blocks: number;
}

export interface FillSource {
  readonly bytesTotal: number;
  /** null when the last page has been given. Page n is a pure function of the snapshot: it may be asked for again. */
  page(index: number): Uint8Array | null;
  close(): void;
}

export interface FillTarget {
  /** Pages in order; throws on damage. */
  accept(page: Uint8Array): void;
  /**
   * Puts the new file in place of the old one, durably, and opens it (companion loaded from it). `amend` changes it within
   * the last transaction.
   */
  finish(amend?: (database: Database) => void): StoredShard;
  /** What a page that is kept was (pageHash), to be asked once the first page has been accepted; null: it is not. */
  kept(index: number): string | null;
  /** In place of `accept`: the page is still what it was. Returns its bytes. */
  keep(index: number): number;
  /** Keeps the pages that have come. */
  suspend(): void;
  abort(): void;
}
