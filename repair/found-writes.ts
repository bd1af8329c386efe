/** Where a write is, as far as one node knows: for write receipts, and for who looks through the disk of a removed member. */
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import { type NodeNumber, type Stamp, stampOf, type Version } from '../shards/version.ts';
import type { ClusterSnapshot } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import { judgeFrame } from './mail-receiver.ts';
import type { Outbox } from './outbox.ts';
import type { ReplicaTable } from './replica-table.ts';

export interface SoughtWrite {
  readonly shard: ShardKey;
  readonly version: Version;
  /** The removed member on whose disk it was found. */
  readonly foundWith?: NodeNumber;
}

/**
 * `never`: this replica, and all that it was proven equal to, did without it. `not-here`: above the floor, and not listed. `unsure`:
 * it lies below a floor that was copied, or the replica is not whole.
 */
export type Knowledge = 'known' | 'never' | 'not-here' | 'unsure';

export interface FoundWrite {
  readonly state: 'full' | 'filling' | 'damaged' | 'absent';
  /** In this replica. At or below the floor a ledger does not tell its batches from versions that never were. */
  readonly isStored: boolean;
  /** All owners are proven equal up to here. */
  readonly convergedThrough: Stamp | null;
  readonly isInOutbox: boolean;
  /** Its database or retention policy was dropped, or it has expired. */
  readonly isOver: boolean;
  /** null: it was not asked for, without `foundWith`. */
  readonly knowledge: Knowledge | null;
}

export function findWrite(
  replicas: ReplicaTable,
  outbox: Outbox,
  snapshot: ClusterSnapshot | null,
  nowMs: number,
  { shard, version, foundWith }: SoughtWrite,
): FoundWrite {
  const id = shardId(shard);
  const replica = replicas.get(id);
  const refusal = judgeFrame(snapshot, shard, version, nowMs, Number.POSITIVE_INFINITY);
  return {
    state: replica?.ledger.replica ?? 'absent',
    isStored: replica !== null && replica.ledger.replica !== 'filling' && replica.ledger.has(version),
    convergedThrough: replica?.ledger.converged?.through ?? null,
    isInOutbox: outbox.entries.has(id + version),
    isOver: refusal?.code === 'dropped' || refusal?.code === 'expired',
    knowledge: foundWith === undefined ? null : knowledgeOf(replica?.ledger ?? null, version, foundWith),
  };
}

function knowledgeOf(ledger: Ledger | null, version: Version, foundWith: NodeNumber): Knowledge {
  if (ledger === null) return 'not-here';
  if (ledger.replica === 'filling') return 'unsure';
  if (ledger.lists(version)) return 'known';
  if (stampOf(version) > ledger.floor) return 'not-here';
  const had = ledger.passed.had(version, foundWith);
  if (had === null) return 'unsure';
  return had ? 'known' : 'never';
}
