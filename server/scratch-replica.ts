/**
 * A replica that is thrown away: what a worker writes warm-up rows to (warm-up.ts), through the same code as real ones.
 *
 * It lies in a directory of its own inside the worker's, and nothing in it is ever synced or read again: a crash leaves the
 * directory behind, and the next start removes it, warm-up or not. It shares the worker's kernel, whose memory it
 * gives back when it ends.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ClusterSnapshot } from '../repair/cluster.ts';
import { diskError, StorageError } from '../shards/errors.ts';
import type { Files } from '../shards/files.ts';
import { withKept } from './cluster-news.ts';
import { nodeFiles } from './node-files.ts';
import type { WorkerSettings, WriteOnTheWay } from './threads.ts';
import type { TurnResults } from './turn-results.ts';
import { openReplica, type WorkerReplica } from './worker-replica.ts';

/** What happens to a real replica in hours happens to this one within its life. */
const PASS_INTERVAL_MS = 500;
const SEGMENT_BYTES_MAX = 128 << 10;

export class ScratchReplica {
  readonly #directory: string;
  readonly #replica: WorkerReplica;
  readonly #results: TurnResults;
  #submitted = 0;
  #isFlushing = false;

  /** Throws StorageError. */
  static remove(workerDirectory: string): void {
    const directory = join(workerDirectory, 'warm-up');
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      throw diskError(error, `remove ${directory}`);
    }
  }

  /** Of the process before, or of one that stops: what the disk refuses to remove stays until a later start. */
  static discard(workerDirectory: string): void {
    try {
      ScratchReplica.remove(workerDirectory);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }

  /** Throws StorageError when the disk refuses. */
  constructor(
    settings: WorkerSettings,
    workerDirectory: string,
    snapshot: ClusterSnapshot,
    /** What is around the files of real ones. */
    around: (files: Files) => Files,
    results: TurnResults,
  ) {
    ScratchReplica.remove(workerDirectory);
    this.#directory = workerDirectory;
    const directory = join(workerDirectory, 'warm-up');
    const shardsDirectory = join(directory, 'shards');
    const files = around(unsynced(nodeFiles()));
    files.makeDirectory(shardsDirectory);
    this.#results = results;
    const quick = { ...settings, passIntervalMs: PASS_INTERVAL_MS };
    const limits = { segmentBytesMax: SEGMENT_BYTES_MAX };
    this.#replica = openReplica(quick, { shardsDirectory, directory, files }, results, limits);
    // As snapshots come to workers: what is spread has another shape than what was posted.
    this.#replica.host.setCluster(withKept({ snapshot, kept: [] }, snapshot), Date.now());
  }

  submit(writes: readonly WriteOnTheWay[]): void {
    this.#submitted += writes.length;
    this.#replica.submit(writes);
  }

  tick(nowMs: number): void {
    const { host, engine } = this.#replica;
    host.tick(nowMs);
    // As the main thread asks for it.
    for (const id of engine.shards.keys()) engine.schema(id);
  }

  /** Background work, as a real one's; true when more remains. Throws StorageError. */
  step(budgetMs: number): boolean {
    return this.#replica.engine.step(budgetMs, () => performance.now());
  }

  /** After the last write: waits for what is not settled, flushes in steps, or ends. Has ended when false or thrown. */
  endStep(flushed: boolean, budgetMs: number): boolean {
    // Closed files must not be written to by what comes out of a sync.
    if (this.#results.outcomes < this.#submitted) return true;
    try {
      if (flushed && this.#flushStep(budgetMs)) return true;
    } catch (error) {
      this.#end();
      throw error;
    }
    this.#end();
    return false;
  }

  #flushStep(budgetMs: number): boolean {
    if (!this.#isFlushing) for (const shard of this.#replica.engine.shards.values()) shard.beginFlush();
    this.#isFlushing = true;
    return this.step(budgetMs);
  }

  #end(): void {
    this.#replica.engine.close();
    ScratchReplica.remove(this.#directory);
  }
}

function unsynced(inner: Files): Files {
  return {
    ...inner,
    syncDirectory() {},
    open(path) {
      const file = inner.open(path);
      file.sync = (done) => {
        setImmediate(done, null);
      };
      file.syncNow = () => {};
      return file;
    },
  };
}
