/**
 * Every bound of a worker's repair work, with its unit and the reason for its default. Relations between them are
 * asserted in `checkReplicaLimits`; a process sets some of them from its configuration.
 */
export interface ReplicaLimits {
  /** P of the published bound: each shard is passed at least this often. */
  readonly passIntervalMs: number;
  /** A start is delayed by this much per rank among the owners, so that usually one of them starts (rule 28). */
  readonly staggerMs: number;
  /** Without a sign of life from the receiver of a token for this long, its predecessor goes on without it. */
  readonly hopTimeoutMs: number;
  /** One request of a pull, fill or preview is repeated after this long without its answer. */
  readonly requestTimeoutMs: number;
  readonly requestTriesMax: number;
  /** A pass that has not ended by then is given up by every node that holds a part of it. */
  readonly passMsMax: number;
  /** Passes for a repair that was asked for, when no end of them is heard. */
  readonly passTriesMax: number;
  /** Passes that this worker has started and that run at the same time; others wait for their turn. */
  readonly passesAtOnceMax: number;
  /** Passes that are started together: what they cost is one turn, and what they say is one message. */
  readonly passesPerTickMax: number;
  /** Pulls of this worker at the same time; other tokens that found a difference wait for their turn. */
  readonly pullsAtOnceMax: number;
  /** An owner without an acknowledgement for this long gets the batch from the outbox. */
  readonly mailTimeoutMs: number;
  /** Frames of writes that wait for owners, in memory; above it writes are refused. */
  readonly pendingBytesMax: number;
  /** Frames that wait for the log, in memory; above it mail is refused with `overloaded`. */
  readonly commitBytesMax: number;
  /** Bytes of one group of the log: bounds the time of one write and one sync. */
  readonly groupBytesMax: number;
  /** `durability: interval` syncs the log this often. */
  readonly syncIntervalMs: number;
  /** A version further ahead of this node's clock is refused for now (design 3). */
  readonly clockDriftMsMax: number;
  /** How often a worker looks for shards that are over. */
  readonly retentionEveryMs: number;
  readonly outboxBytesMax: number;
  readonly outboxSegmentBytes: number;
  /** Unanswered outbox batches per peer: enough for a round trip of 100 ms at the rate below. */
  readonly outboxWindowBytes: number;
  /** Per peer: a returned owner is not drowned in what it missed. */
  readonly outboxBytesPerSecond: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
  readonly epochsPerPage: number;
  readonly identitiesPerPage: number;
  readonly fetchBatchesMax: number;
  readonly fetchBytesMax: number;
  /** Rows of the batches that are rebuilt for one answer: what does not fit into it is rebuilt in vain. */
  readonly fetchRowsMax: number;
  readonly fillPageBytes: number;
  /** Snapshots that this worker gives to others at the same time. */
  readonly snapshotsMax: number;
  /** A snapshot that nobody has asked for this long is closed. */
  readonly snapshotIdleMs: number;
  /** Cells of settled rows that are read for one answer about content: about 15 ms. */
  readonly contentCellsMax: number;
  /** Stored bytes that scrubs read again. */
  readonly scrubBytesPerSecond: number;
  /** The same while a damaged replica is mended: it holds its shard's watermark back. */
  readonly mendBytesPerSecond: number;
  /** Rounds of comparing and copying before a damaged replica is replaced by a whole copy. */
  readonly mendRoundsMax: number;
  /** Stored rows that are read for each measurement of a page, to tell which of its values compete with what is here. */
  readonly contestRowsMax: number;
  /** Repairs that are remembered after they ended. */
  readonly repairsKeptMax: number;
  /** Replicas that are being levelled for queries at the same time; others wait for their turn. */
  readonly levellingsAtOnceMax: number;
  readonly levellingsWaitingMax: number;
}

export const DEFAULT_REPLICA_LIMITS: ReplicaLimits = {
  passIntervalMs: 30_000,
  staggerMs: 1_000,
  hopTimeoutMs: 3_000,
  requestTimeoutMs: 1_000,
  requestTriesMax: 5,
  passMsMax: 600_000,
  passTriesMax: 3,
  passesAtOnceMax: 2_048,
  passesPerTickMax: 256,
  pullsAtOnceMax: 16,
  mailTimeoutMs: 1_000,
  pendingBytesMax: 128 << 20,
  commitBytesMax: 64 << 20,
  groupBytesMax: 8 << 20,
  syncIntervalMs: 1_000,
  clockDriftMsMax: 10_000,
  retentionEveryMs: 30_000,
  outboxBytesMax: 1 << 30,
  outboxSegmentBytes: 8 << 20,
  outboxWindowBytes: 2 << 20,
  outboxBytesPerSecond: 20 << 20,
  backoffMsMin: 200,
  backoffMsMax: 5_000,
  epochsPerPage: 1_000,
  identitiesPerPage: 5_000,
  fetchBatchesMax: 256,
  fetchBytesMax: 1 << 20,
  fetchRowsMax: 1 << 15,
  fillPageBytes: 1 << 20,
  snapshotsMax: 4,
  snapshotIdleMs: 30_000,
  contentCellsMax: 200_000,
  scrubBytesPerSecond: 8 << 20,
  mendBytesPerSecond: 16 << 20,
  mendRoundsMax: 3,
  contestRowsMax: 1 << 18,
  repairsKeptMax: 256,
  levellingsAtOnceMax: 64,
  levellingsWaitingMax: 10_000,
};

/** Those of a node whose passes and mail have these times. */
export function limitsWith({
  passIntervalMs,
  mailTimeoutMs,
}: Pick<ReplicaLimits, 'passIntervalMs' | 'mailTimeoutMs'>): ReplicaLimits {
  // Ranks must not stretch a short interval beyond itself.
  const staggerMs = Math.min(DEFAULT_REPLICA_LIMITS.staggerMs, Math.ceil(passIntervalMs / 4));
  return { ...DEFAULT_REPLICA_LIMITS, passIntervalMs, mailTimeoutMs, staggerMs };
}

/** Throws with the values when a relation between limits does not hold: a fault of the configuration. */
export function checkReplicaLimits(limits: ReplicaLimits): void {
  const rules: [boolean, string][] = [
    [limits.requestTimeoutMs < limits.hopTimeoutMs, 'requestTimeoutMs < hopTimeoutMs'],
    [limits.hopTimeoutMs < limits.passMsMax, 'hopTimeoutMs < passMsMax'],
    [limits.backoffMsMin <= limits.backoffMsMax, 'backoffMsMin <= backoffMsMax'],
    [limits.outboxSegmentBytes <= limits.outboxBytesMax, 'outboxSegmentBytes <= outboxBytesMax'],
    [limits.groupBytesMax <= limits.commitBytesMax, 'groupBytesMax <= commitBytesMax'],
    [limits.scrubBytesPerSecond > 0 && limits.mendBytesPerSecond > 0, 'scrubBytesPerSecond and mendBytesPerSecond > 0'],
    [limits.passesPerTickMax >= 1 && limits.pullsAtOnceMax >= 1, 'passesPerTickMax, pullsAtOnceMax >= 1'],
    [limits.passesAtOnceMax >= 1 && limits.passIntervalMs > 0, 'passesAtOnceMax >= 1 and passIntervalMs > 0'],
  ];
  for (const [holds, text] of rules)
    if (!holds) throw new RangeError(`limits: ${text} does not hold: ${JSON.stringify(limits)}`);
}
