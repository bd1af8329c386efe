/**
 * What repair tells people: plain JSON-able data for the admin API, the command line, metrics and history.
 *
 * Stamps and versions are hexadecimal strings (shards/version.ts), sums 32 hexadecimal digits, times milliseconds
 * since 1970, spans milliseconds, bigints of the shard key decimal strings. Nothing here is read back by repair.
 */
import type { DecidingRule } from '../shards/contests.ts';
import type { NodeNumber, Stamp, Version } from '../shards/version.ts';

/** `absent`: an owner that does not have the shard (yet); `unknown`: its shard list has not been heard. */
export type ReplicaState = 'full' | 'filling' | 'damaged' | 'absent' | 'unknown';

/** Root of a ledger prefix: what was received (identitySum) and what it held (contentSum) up to `through`. */
export interface LedgerSummary {
  readonly through: Stamp;
  readonly batches: number;
  readonly identitySum: string;
  readonly contentSum: string;
}

export interface ReplicaDescription {
  readonly member: NodeNumber;
  readonly name: string;
  readonly live: boolean;
  /** False for a member that still holds the shard but does not own it under the current view. */
  readonly owner: boolean;
  readonly state: ReplicaState;
  /** See `HeldShard.young`; not one that was proven equal here. */
  readonly young: boolean;
}

/** A watermark: everything accepted with a version up to `through` is proven equal on `members`. */
export interface WatermarkDescription {
  readonly through: Stamp;
  /** `through` in milliseconds since 1970. */
  readonly throughMs: number;
  readonly pass: string;
  readonly members: readonly NodeNumber[];
  /** Ledger and content roots at `through`, as proven. */
  readonly root: LedgerSummary;
}

export interface FillDescription {
  readonly source: NodeNumber | null;
  readonly bytesDone: number;
  readonly bytesTotal: number | null;
  readonly startedMs: number;
  readonly restarts: number;
}

export interface DamageDescription {
  readonly reason: string;
  readonly sinceMs: number;
  /** Where equal identities had unequal content; null when found by a scrub on this node alone. */
  readonly comparedWith: NodeNumber | null;
}

export interface LossDescription {
  readonly member: NodeNumber;
  readonly name: string;
  readonly afterMs: number;
  /** When an operator has taken note of it; left out: not yet. Said by whoever has the metadata, not by replicas. */
  readonly acknowledgedMs?: number;
  /** See `Loss.wentOn`. */
  readonly wentOn?: true;
}

export interface ShardDescription {
  readonly id: string;
  readonly database: string;
  readonly databaseGeneration: number;
  readonly retentionPolicy: string;
  readonly retentionPolicyGeneration: number;
  readonly startNs: string;
  readonly endNs: string;
  readonly number: number;
  /** Owners under the current view first, in ring order; then other holders. */
  readonly replicas: readonly ReplicaDescription[];
  /** State of this node's own replica. */
  readonly state: ReplicaState;
  readonly floor: Stamp;
  /** Of everything this node has, up to its newest batch; null without a replica here. */
  readonly ledger: LedgerSummary | null;
  /** This node's own roots at `converged.through`: equal on all owners. */
  readonly ledgerAtWatermark: LedgerSummary | null;
  readonly converged: WatermarkDescription | null;
  readonly liveConverged: WatermarkDescription | null;
  /** Members that were given up or replaced: what was accepted after `afterMs` and only they held is lost. */
  readonly losses: readonly LossDescription[];
  /** Why `converged` does not move: one line for a person; null when it moves. */
  readonly heldBackBy: string | null;
  readonly newestVersion: Version | null;
  readonly rows: number;
  readonly series: number;
  readonly fileBytes: number;
  readonly memtableBytes: number;
  readonly blocks: number;
  /** Batches of this shard waiting in this node's outbox, and what it owes beyond them. */
  readonly outboxEntries: number;
  readonly outboxBytes: number;
  readonly debts: number;
  readonly fill: FillDescription | null;
  readonly damage: DamageDescription | null;
  readonly lastPass: PassRecord | null;
  /** Span of the last finished full or live pass. */
  readonly passMs: number | null;
  /** Span of a page of the copy that filled this replica since the process began; null when none did. */
  readonly fillPageMs: number | null;
}

export type PassKind = 'full' | 'live';
/**
 * `proven`: roots were equal and the watermark moved (or stood at the cutoff already).
 * `overtaken`: a newer pass has proven more meanwhile, so there was nothing left to prove. `damage`: equal identities, unequal
 * content. `failed`: see `reason`. `cancelled`: by the operator.
 */
export type PassOutcome = 'proven' | 'overtaken' | 'damage' | 'failed' | 'cancelled';

export interface SkippedMember {
  readonly member: NodeNumber;
  readonly reason: string;
}

/**
 * How many values did not count, by the rule that decided it (shards/contests.ts), among those that came and those that
 * they met. `same`: equal values of two versions. `deletes`: deletes that came. `unexamined`: rows that came and were not
 * held against what was there. Absent: 0.
 */
export type DecidedCounts = { readonly [K in DecidingRule | 'same' | 'deletes' | 'unexamined']?: number };

/** What one hop moved. Rows are those of the batches that were sent. */
export interface HopRecord {
  readonly from: NodeNumber;
  readonly to: NodeNumber;
  readonly epochsDiffering: number;
  readonly batches: number;
  readonly rows: number;
  readonly bytes: number;
  readonly ms: number;
  /** Absent: nothing competed. */
  readonly decided?: DecidedCounts;
}

export interface PassRecord {
  readonly id: string;
  readonly shard: string;
  readonly kind: PassKind;
  readonly starter: NodeNumber;
  readonly order: readonly NodeNumber[];
  readonly skipped: readonly SkippedMember[];
  readonly cutoff: Stamp;
  readonly cutoffMs: number;
  readonly hops: readonly HopRecord[];
  readonly hopsPlanned: number;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly outcome: PassOutcome;
  readonly reason: string | null;
  readonly root: LedgerSummary | null;
  readonly batchesMoved: number;
  readonly rowsMoved: number;
  readonly bytesMoved: number;
}

/** `mend` is started by nobody: a damaged replica on its way back. */
export type RepairMode = 'ring' | 'scrub' | 'preview' | 'mend';
export type RepairState = 'queued' | 'running' | 'paused' | 'done' | 'failed' | 'cancelled';

/** A run over all shards of a worker. */
export interface ScrubReport {
  readonly startedMs: number;
  /** null: under way. */
  readonly finishedMs: number | null;
  readonly shards: number;
  readonly shardsDone: number;
  readonly bytesRead: number;
  readonly damaged: readonly { readonly shard: string; readonly reason: string }[];
}

/** What one replica lacks, from a preview; or what a scrub found. */
export interface RepairDifference {
  readonly member: NodeNumber;
  readonly name: string;
  /** `differs`: lacks something, has another content, or is damaged. */
  readonly result: 'equal' | 'differs' | 'not-compared';
  readonly batchesMissing: number;
  /** Listed here with another content than elsewhere. */
  readonly batchesUnequal: number;
  /** Rows of the missing batches; null when nobody who has them could say. */
  readonly rowsMissing: number | null;
  readonly epochsDiffering: number;
  readonly note: string;
}

export interface RepairStatus {
  readonly id: string;
  readonly shard: string;
  readonly mode: RepairMode;
  readonly state: RepairState;
  /** Hops done and planned (preview: replicas compared; scrub: 1 of 1). */
  readonly hop: number;
  readonly hops: number;
  /** 0 .. 100. */
  readonly percentage: number;
  readonly batchesMoved: number;
  readonly rowsMoved: number;
  readonly bytesMoved: number;
  /** Until it is done, as fast as it has gone so far; null: nothing was measured yet, or it is paused or over. */
  readonly etaMs: number | null;
  readonly startedMs: number;
  readonly finishedMs: number | null;
  /** How long it has run, without the time for which it was paused or the process was down. */
  readonly workedMs: number;
  readonly differences: readonly RepairDifference[];
  /** Set when `state` is failed; otherwise a line that says how things stand. */
  readonly message: string;
  /** The pass behind a `ring` repair, once it has ended. */
  readonly pass: PassRecord | null;
}

/** One destination of this worker's outbox. */
export interface OutboxStatus {
  readonly peer: NodeNumber;
  readonly bytes: number;
  readonly entries: number;
  readonly debts: number;
  /** Of `bytes`: what is sent until all of it is with a full owner; until then it holds cutoffs back (rule 9). */
  readonly holdingBytes: number;
  /** 0 when it is being sent now. */
  readonly retryInMs: number;
  readonly lastError: string | null;
}
