/**
 * Repairs that an operator has asked for, in one small file that is replaced whole: what was running or paused goes on
 * after a restart, and what has ended can still be looked at.
 *
 * Nothing of a pass is in it: one that ran is begun anew, which moves only what is still missing. A file that does not
 * read as written is as none: repair itself needs none.
 */
import type { Files } from '../shards/files.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { RepairMode, RepairStatus } from './records.ts';
import type { RepairOrder, RepairTally } from './repair-order.ts';
import { readJson, replaceJson } from './replaced-file.ts';

const FORMAT = 2;

export interface KeptOrder {
  readonly order: RepairOrder;
  /** Of those of its parts that are not kept any more. */
  readonly forgotten: RepairTally;
  readonly isPaused?: boolean;
  /** When it was paused, resumed or cancelled last. */
  readonly steeredMs?: number;
}

export interface KeptRepairs {
  readonly repairs: readonly RepairStatus[];
  readonly orders: readonly KeptOrder[];
}

const NONE: KeptRepairs = { repairs: [], orders: [] };

const NAME = 'repairs.json';

export class RepairsFile {
  private readonly files: Files;
  private readonly directory: string;

  constructor(files: Files, directory: string) {
    this.files = files;
    this.directory = directory;
  }

  load(): KeptRepairs {
    const parsed = readJson(this.files, this.directory, NAME);
    if (typeof parsed !== 'object' || parsed === null) return NONE;
    const { format, repairs, orders } = parsed as { format: unknown; repairs: unknown; orders: unknown };
    if (format !== FORMAT || !Array.isArray(repairs) || !Array.isArray(orders)) return NONE;
    return { repairs: repairs.filter(isRepair) as RepairStatus[], orders: orders.filter(isOrder) as KeptOrder[] };
  }

  /** False when the disk refuses: try again later. */
  save(kept: KeptRepairs): boolean {
    return replaceJson(this.files, this.directory, NAME, { format: FORMAT, ...kept });
  }
}

function isRepair(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { id, shard, mode, state, startedMs, workedMs, differences } = value as Record<string, unknown>;
  return (
    typeof id === 'string' &&
    typeof shard === 'string' &&
    typeof startedMs === 'number' &&
    typeof workedMs === 'number' &&
    Array.isArray(differences) &&
    ['ring', 'scrub', 'preview', 'mend'].includes(mode as string) &&
    ['queued', 'running', 'paused', 'done', 'failed', 'cancelled'].includes(state as string)
  );
}

function isOrder(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { order, forgotten } = value as Record<string, unknown>;
  if (typeof order !== 'object' || order === null || typeof forgotten !== 'object' || forgotten === null) return false;
  const { id, members, unreachable, without } = order as Record<string, unknown>;
  const hasTally = typeof (forgotten as Record<string, unknown>).shards === 'number';
  return typeof id === 'string' && [members, unreachable, without].every(Array.isArray) && hasTally;
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
    workedMs: 0,
    differences: [],
    message: 'running',
    pass: null,
  };
}
