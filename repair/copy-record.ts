/** What is kept for people of a copy that has taken a replica's place. */
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { type RepairRecord, repairRecord, stepOf } from './repair-records.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

/** As filling.ts has it. */
interface EndedCopy {
  readonly id: ShardId;
  readonly source: NodeNumber | null;
  readonly handed: number;
  readonly bytesDone: number;
  readonly bytesKept: number;
  readonly startedMs: number;
  readonly grantedMs: number;
  readonly restarts: number;
  readonly reason: string;
}

/** `rows`: that are there now. */
export function recordOfCopy(copy: EndedCopy, rows: number, around: Surroundings): RepairRecord {
  const { id, source, handed, bytesDone, bytesKept, startedMs, grantedMs, restarts, reason } = copy;
  const finishedMs = around.wallMs;
  const step = stepOf(source!, around.self, { rows, bytes: bytesDone, ms: around.nowMs - grantedMs });
  const given = {
    id: `copy-${around.self}-${id}-${finishedMs.toString(36)}`,
    kind: 'copy',
    shard: id,
    outcome: 'done',
    reason:
      `${reason}. A copy of what ${nameOf(around.snapshot, source!)} has took its place; ` +
      `${handed} batches that it held above its floor had been handed on to the owners` +
      (restarts === 0 ? '' : `; broken off ${restarts} times`) +
      (bytesKept === 0 ? '' : `; ${bytesKept} bytes of an earlier try were kept`),
    startedMs: finishedMs - (around.nowMs - startedMs),
    finishedMs,
  } as const;
  return repairRecord(given, { steps: [step] });
}
