/** What a storage engine is given: places, limits, and what it may not know by itself (disk, clock, databases). */
import type { CompanionFactory } from './companion.ts';
import type { Files } from './files.ts';
import type { OpenDatabase } from './shard-file.ts';
import type { ShardId, ShardKey } from './shard-key.ts';
import type { StorageLimits } from './storage-limits.ts';
import type { FreeBuffers } from './used-rows.ts';

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
  readonly openDatabase: OpenDatabase;
  /** Milliseconds, only for measuring recovery. */
  readonly nowMs: () => number;
  /** A file was found damaged while the engine runs: the shard is gone, or holds only what the log held of it. */
  readonly setAside?: (id: ShardId) => void;
  /** Default: left to the garbage collector. */
  readonly free?: FreeBuffers;
}
