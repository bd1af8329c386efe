/**
 * The storage engine of one worker thread: its log, its shards, and the steps that keep both small.
 */
import type { Database } from 'better-sqlite3';
import type { FieldType } from './column.ts';
import type { CompanionFactory, ShardCompanion } from './companion.ts';
import type { Files } from './files.ts';
import type { QueryableShard } from './queryable.ts';
import type { ShardId, ShardKey } from './shard-key.ts';
import type { FillTarget, LogEntry, LogPosition, Storage, StoredShard } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';

export interface EngineOptions {
  /** Shard files of all workers of the node. */
  readonly shardsDirectory: string;
  /** The worker's own directory; its log is in `log/` below it. */
  readonly directory: string;
  /** Which shards are this worker's. */
  readonly owns: (key: ShardKey) => boolean;
  readonly files: Files;
  readonly companion: CompanionFactory;
  readonly limits: StorageLimits;
  readonly openDatabase: (path: string) => Database;
  /** Milliseconds, only for measuring recovery. */
  readonly nowMs: () => number;
}

export interface Recovery {
  readonly records: number;
  readonly bytes: number;
  readonly truncatedBytes: number;
  readonly ms: number;
}

export class Engine implements Storage {
  readonly shards: ReadonlyMap<ShardId, StoredShard> = new Map();
  readonly recovery: Recovery = { records: 0, bytes: 0, truncatedBytes: 0, ms: 0 };

  static open(_options: EngineOptions): Engine {
    return new Engine();
  }

  close(): void {}

  create(key: ShardKey): StoredShard {
    throw new Error(`in construction: ${key.database}`);
  }

  drop(_id: ShardId): void {}

  append(_entries: readonly LogEntry[]): LogPosition {
    throw new Error('in construction');
  }

  sync(done: (error: Error | null) => void): void {
    done(null);
  }

  pressure(): { logBytes: number; memtableBytes: number; overloaded: boolean } {
    return { logBytes: 0, memtableBytes: 0, overloaded: false };
  }

  step(_budgetMs: number, _nowMs: () => number): boolean {
    return false;
  }

  beginFill(key: ShardKey): FillTarget {
    throw new Error(`in construction: ${key.database}`);
  }

  queryable(_id: ShardId): QueryableShard | null {
    return null;
  }

  companionOf(id: ShardId): ShardCompanion {
    throw new Error(`in construction: ${id}`);
  }

  schema(_id: ShardId): { measurement: string; field: string; type: FieldType }[] {
    return [];
  }
}
