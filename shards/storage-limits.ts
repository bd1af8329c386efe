/**
 * The maxima of storage, per worker, each with the reason for its number.
 */
export interface StorageLimits {
  /** A log segment: large enough that opening one (two fsyncs) does not count, small enough to be let go soon. */
  readonly segmentBytesMax: number;
  /** One record: a frame is never longer than a request body with all its keys. */
  readonly recordBytesMax: number;
  /** All segments: bounds the time of recovery and the disk that is taken. Above it writes are refused. */
  readonly logBytesMax: number;
  /** All memtables. Above it writes are refused; flushing begins at `flushShare` of it. */
  readonly memtableBytesMax: number;
  /** Tables of series (series-memory.ts): six million of ten tags. Batches that bring more are refused. */
  readonly seriesBytesMax: number;
  /** Share of a maximum (log, memtable) at which the largest (or oldest) shards are flushed. */
  readonly flushShare: number;
  /** A shard that nothing was written to for so long is flushed, so that it does not pin the log. */
  readonly flushIdleMs: number;
  /** So much longer it waits for the floor to pass its rows: they are then settled as they are written, and not merged. */
  readonly flushFloorMs: number;
  /** Unflushed rows get no older than this. */
  readonly flushAgeMs: number;
  /** A block's body is cut at about this size. */
  readonly blockBytesTarget: number;
  /** Of the texts of a block, each once: what is in memory when it is read, however well they are compressed. */
  readonly blockTextMax: number;
  /** One SQLite transaction of a large flush or merge: the worker answers nobody while it waits for the disk. */
  readonly transactionBytesMax: number;
  /** Shard files open at once: a connection costs two descriptors and its page cache. */
  readonly openFilesMax: number;
  /** Blocks that queries read lately, of all shards: a query that comes again a little later does not read the file. */
  readonly blockCacheBytesMax: number;
  /** So many runs of about one size in a window are merged into one. */
  readonly compactionRunsMin: number;
  /** Rows that compaction merges at once; fewer where there are many columns. */
  readonly compactionRowsMax: number;
  /** Texts of the blocks that compaction reads for what it merges at once. */
  readonly compactionTextMax: number;
  /** A window that was not flushed into for so long is merged into one run. */
  readonly compactionIdleMs: number;
  /**
   * Series and block directory of a shard of which nothing was asked for so long are let go, and so are cached blocks that
   * nothing has read; they are read again at need.
   */
  readonly unusedMs: number;
}

const KERNEL_BYTES = 2 ** 31;
/** Blocks, and the working memory of flushes, merges and answers. */
const KERNEL_REST_BYTES = 256 << 20;

export const STORAGE_LIMITS: StorageLimits = {
  segmentBytesMax: 64 << 20,
  recordBytesMax: 256 << 20,
  logBytesMax: 1 << 30,
  memtableBytesMax: 128 << 20,
  seriesBytesMax: 512 << 20,
  flushShare: 0.75,
  flushIdleMs: 600_000,
  flushFloorMs: 10_000,
  flushAgeMs: 3_600_000,
  blockBytesTarget: 64 << 10,
  blockTextMax: 1 << 20,
  transactionBytesMax: 1 << 20,
  openFilesMax: 256,
  blockCacheBytesMax: 64 << 20,
  compactionRunsMin: 4,
  compactionRowsMax: 100_000,
  compactionTextMax: 8 << 20,
  compactionIdleMs: 600_000,
  unusedMs: 900_000,
};

/** What is left of the 2 GiB of a kernel for series: two tables of this size, one of which is copied while it grows. */
export function seriesBytesBeside(memtableBytesMax: number): number {
  const left = KERNEL_BYTES - KERNEL_REST_BYTES - memtableBytesMax;
  return Math.min(STORAGE_LIMITS.seriesBytesMax, Math.floor(left / 3));
}
