/**
 * What the outboxes of others bring is explained as what is pulled: by a record for each shard and peer, over one catching
 * up: from the first batch that was lacked until none has come for a while, or for a minute.
 *
 * Mail from an outbox says so (mail-messages.ts). Batches are noted when they are stored, and held against what is here
 * later, some at a time: nothing of it is on the way of mail, or of its answers. What is noted is in memory only: a
 * crash takes the record, not the batches.
 */
import { attempt } from '../shards/errors.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { CommitQueue } from './commit.ts';
import { examine, rowsOf } from './examining.ts';
import { Explanation } from './explanation.ts';
import { repairRecord, sampleOf, stepOf } from './repair-records.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

/** Longer than a peer that goes on sending pauses between two batches; what is refused for now comes later. */
const QUIET_MS = 5_000;
const SPAN_MS_MAX = 60_000;
/** What has come is looked at while most of it is still in memory. */
const EXAMINE_AFTER_MS = 1_000;
/** Batches that wait for it, while repair may not work: of more than these it is only counted that they came. */
const WAITING_MAX = 4_096;

interface CatchingUp {
  readonly from: NodeNumber;
  readonly replica: Replica;
  readonly sinceMs: number;
  readonly startedMs: number;
  readonly found: Explanation;
  readonly waiting: Set<Version>;
  /** When the first of those that wait came. */
  waitingSinceMs: number;
  lastMs: number;
  finishedMs: number;
  batches: number;
  rows: number;
  bytes: number;
}

export class OutboxArrivals {
  /** By shard and peer. */
  private readonly open = new Map<string, CatchingUp>();
  private readonly commit: Pick<CommitQueue, 'holds'>;
  private readonly replicas: ReplicaTable;
  private readonly around: Surroundings;

  constructor(commit: Pick<CommitQueue, 'holds'>, replicas: ReplicaTable, around: Surroundings) {
    this.commit = commit;
    this.replicas = replicas;
    this.around = around;
  }

  /** To be asked before it is offered to the log: what is known is nothing to tell of. */
  isLacked(id: ShardId, version: Version): boolean {
    const replica = this.replicas.get(id);
    return (
      replica === null ||
      attempt(
        () => !replica.ledger.has(version),
        () => false,
      )
    );
  }

  /** It was lacked, and is in the shard now. */
  came(from: NodeNumber, id: ShardId, version: Version, bytes: number): void {
    const replica = this.replicas.get(id);
    if (replica === null) return;
    const { nowMs, wallMs } = this.around;
    const name = `${id} ${from}`;
    let each = this.open.get(name);
    if (each !== undefined && each.replica.stored !== replica.stored) this.end(name, each);
    if (each?.replica.stored !== replica.stored) {
      const none = { batches: 0, rows: 0, bytes: 0 };
      const began = { sinceMs: nowMs, startedMs: wallMs, waitingSinceMs: nowMs, lastMs: nowMs, finishedMs: wallMs };
      each = { from, replica, found: new Explanation(), waiting: new Set(), ...began, ...none };
      this.open.set(name, each);
    }
    if (each.waiting.size === 0) each.waitingSinceMs = nowMs;
    each.lastMs = nowMs;
    each.finishedMs = wallMs;
    each.batches++;
    each.bytes += bytes;
    if (each.waiting.size < WAITING_MAX) each.waiting.add(version);
    else {
      const rows = this.rowsIn(each, version);
      each.rows += rows;
      each.found.unexamined(rows);
    }
  }

  tick(): void {
    const { nowMs, budget, limits } = this.around;
    for (const [name, each] of this.open) {
      const isOver = nowMs - each.lastMs >= QUIET_MS || nowMs - each.sinceMs >= SPAN_MS_MAX;
      const isDue = each.waiting.size >= limits.fetchBatchesMax || nowMs - each.waitingSinceMs >= EXAMINE_AFTER_MS;
      if (each.waiting.size > 0 && (isOver || isDue)) {
        if (!budget.hasRoom) continue;
        this.examine(each);
      }
      if (isOver) this.end(name, each);
    }
  }

  private rowsIn({ replica }: CatchingUp, version: Version): number {
    return attempt(
      () => replica.ledger.rowsIn(version),
      () => 0,
    );
  }

  /** Of a replica that a copy has taken the place of, the log begins behind what came. */
  private examine(each: CatchingUp): void {
    const came = [...each.waiting].map((version) => ({ version, rows: this.rowsIn(each, version) }));
    each.waiting.clear();
    each.rows += rowsOf(came);
    if (this.commit.holds(each.replica)) examine(each.found, each.replica, came, this.around);
    else each.found.unexamined(rowsOf(came));
  }

  private end(name: string, each: CatchingUp): void {
    this.open.delete(name);
    if (each.waiting.size > 0) this.examine(each);
    const { self } = this.around;
    const { from, replica, found, startedMs, finishedMs, batches, rows, bytes } = each;
    const steps = [stepOf(from, self, { batches, rows, bytes, ms: each.lastMs - each.sinceMs }, found.decided)];
    const sample = sampleOf(self, from, found);
    const given = {
      id: `outbox-${self}-${from}-${replica.id}-${startedMs.toString(36)}`,
      kind: 'outbox',
      shard: replica.id,
      outcome: 'done',
      reason: null,
      startedMs,
      finishedMs: Math.max(startedMs, finishedMs),
    } as const;
    this.around.repaired(repairRecord(given, { steps, samples: sample === null ? [] : [sample] }));
  }
}
