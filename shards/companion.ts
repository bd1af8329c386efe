/**
 * State that must change in the same transaction as a shard's blocks, though another room owns it: the ledger.
 *
 * The engine calls `load` when it opens a shard file, `replayed` for each batch that recovery applies from the log
 * after what `load` gave, `freeze` when a flush begins, what that gave inside the flush's last transaction, and `saved` when
 * that has ended. So the ledger is always exactly the content of the file plus the replayed part of the log, also when batches
 * come while a flush runs.
 */
import type { Database } from 'better-sqlite3';
import type { Sum128 } from './checksum.ts';
import type { HeldFrame } from './held-frame.ts';
import type { ShardKey } from './shard-key.ts';
import type { Stamp, Version } from './version.ts';

/**
 * Runs `read` on the shard's file, at any time. Throws StorageError: what makes no sense of the file is `damaged-file`, also
 * what `read` says so of (shard-file.ts, damageNamed), and the file is then set aside with the next step of the engine.
 */
export type ReadFile = <T>(read: (database: Database) => T) => T;

/** What a batch is by what is stored of it. */
export interface StoredBatch {
  readonly version: Version;
  readonly rows: number;
  readonly content: Sum128;
}

/**
 * Batches with stamps in (after, through] as the shard has them, ascending: reads all that may hold rows of them. Throws StorageError.
 */
export type ReadBatches = (after: Stamp, through: Stamp) => StoredBatch[];

export interface ShardCompanion {
  /**
   * Everything with a stamp at or below is settled: every replica is proven to have it, and nothing more of it is accepted.
   * Never falls while the process runs. Storage drops only what lies at or below the floor that its file holds.
   */
  readonly floor: Stamp;
  /** The shard is to be replaced by a copy: what has come of one is kept over a restart. */
  readonly awaitsCopy?: boolean;
  /** True when a batch of this version is already in the shard: recovery then skips its log record. */
  has(version: Version): boolean;
  /** Before `load`. */
  attach?(readFile: ReadFile, readBatches: ReadBatches): void;
  load(database: Database): void;
  replayed(frame: HeldFrame): void;
  /** A record of the log that may have been this shard's, and is not in its file, cannot be read any more. */
  recordLost?(): void;
  /** What is to be saved of this moment; a flush that fails calls it again. */
  freeze(): (database: Database) => void;
  /** What was frozen last is in the file, durably. */
  saved?(): void;
}

export type CompanionFactory = (key: ShardKey) => ShardCompanion;
