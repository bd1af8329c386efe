/**
 * Repairs that an operator has asked for, in one small file that is replaced whole: what was running or paused goes on
 * after a restart, and what has ended can still be looked at.
 *
 * Nothing of a pass is in it: one that ran is begun anew, which moves only what is still missing. A file that does not
 * read as written is as none: repair itself needs none.
 */
import { StorageError } from '../shards/errors.ts';
import type { Files } from '../shards/files.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { RepairMode, RepairStatus } from './records.ts';

const FORMAT = 1;

export class RepairsFile {
  private readonly files: Files;
  private readonly directory: string;
  private readonly path: string;

  constructor(files: Files, directory: string) {
    this.files = files;
    this.directory = directory;
    this.path = `${directory}/repairs.json`;
  }

  load(): RepairStatus[] {
    if (!this.files.exists(this.path)) return [];
    try {
      const parsed = JSON.parse(Buffer.from(this.files.read(this.path)).toString()) as unknown;
      const { format, repairs } = parsed as { format: unknown; repairs: unknown };
      if (format !== FORMAT || !Array.isArray(repairs)) return [];
      return repairs.filter((each: unknown) => isRepair(each)) as RepairStatus[];
    } catch (error) {
      if (error instanceof StorageError || error instanceof SyntaxError || error instanceof TypeError) return [];
      throw error;
    }
  }

  /** False when the disk refuses: try again later. */
  save(repairs: readonly RepairStatus[]): boolean {
    const beside = `${this.path}.new`;
    try {
      this.files.makeDirectory(this.directory);
      const file = this.files.open(beside);
      try {
        file.truncate(0);
        file.append([Buffer.from(JSON.stringify({ format: FORMAT, repairs }))]);
        file.syncNow();
      } finally {
        file.close();
      }
      this.files.rename(beside, this.path);
      this.files.syncDirectory(this.directory);
      return true;
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
  }
}

function isRepair(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { id, shard, mode, state, startedMs, differences } = value as Record<string, unknown>;
  return (
    typeof id === 'string' &&
    typeof shard === 'string' &&
    typeof startedMs === 'number' &&
    Array.isArray(differences) &&
    ['ring', 'scrub', 'preview', 'mend'].includes(mode as string) &&
    ['queued', 'running', 'paused', 'done', 'failed', 'cancelled'].includes(state as string)
  );
}

export function freshRepair(id: string, shard: ShardId, mode: RepairMode, nowMs: number): RepairStatus {
  return {
    id,
    shard,
    mode,
    state: 'running',
    hop: 0,
    hops: 1,
    percentage: 0,
    batchesMoved: 0,
    rowsMoved: 0,
    bytesMoved: 0,
    etaMs: null,
    startedMs: nowMs,
    finishedMs: null,
    differences: [],
    message: 'running',
    pass: null,
  };
}
