/** Where a write is, as far as one node knows: for write receipts, and for who looks through the disk of a removed member. */
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import { type NodeNumber, nodeOf, STAMP_ZERO, type Stamp, stampOf, type Version } from '../shards/version.ts';
import type { ClusterSnapshot } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import { judgeFrame } from './mail-receiver.ts';
import type { Outbox } from './outbox.ts';
import type { GoneMember } from './passed-lists.ts';
import type { ReplicaTable } from './replica-table.ts';

export interface SoughtWrite {
  readonly shard: ShardKey;
  readonly version: Version;
  /** The removed member on whose disk it was found. */
  readonly foundWith?: NodeNumber;
}

/**
 * `never`: this replica, and all that it was proven equal to, did without it, so it went with a member that was given up or
 * replaced, or with a file of the shard that a member has lost. `not-here`: above the floor, and not listed. `unsure`: the floor has passed it since such a member went, and what was
 * passed then is not known any more; or the replica is being filled.
 */
export type Knowledge = 'known' | 'never' | 'not-here' | 'unsure';

export interface FoundWrite {
  readonly state: 'full' | 'filling' | 'damaged' | 'absent';
  /**
   * With `foundWith` as that member could tell of it, else as all could that were given up or replaced since, or have lost their files.
   * At or below the floor a ledger does not tell its batches from versions that never were.
   */
  readonly knowledge: Knowledge;
  /** Above the floor: it is here, whatever others say. */
  readonly isListed: boolean;
  /** All owners are proven equal up to here. */
  readonly convergedThrough: Stamp | null;
  readonly isInOutbox: boolean;
  /** Its database or retention policy was dropped, or it has expired. */
  readonly isOver: boolean;
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
  const knowledge = knowledgeOf(replica?.ledger ?? null, version, foundWith);
  return {
    state: replica?.ledger.replica ?? 'absent',
    knowledge,
    isListed: knowledge === 'known' && stampOf(version) > (replica?.ledger.floor ?? STAMP_ZERO),
    convergedThrough: replica?.ledger.converged?.through ?? null,
    isInOutbox: outbox.entries.has(id + version),
    isOver: refusal?.code === 'dropped' || refusal?.code === 'expired',
  };
}

/** Those that have it. Replicas have the same batches up to a floor of both: a `never` speaks for one that has not heard of the loss. */
export function havingIt<T extends Pick<FoundWrite, 'knowledge' | 'isListed'>>(found: readonly T[]): T[] {
  const isGone = found.some(({ knowledge }) => knowledge === 'never');
  return found.filter(({ knowledge, isListed }) => knowledge === 'known' && (isListed || !isGone));
}

/** Whether that one of them has it; null: nobody knows. */
export function isStoredBy(one: FoundWrite, found: readonly FoundWrite[]): boolean | null {
  return one.knowledge === 'unsure' ? null : havingIt(found).includes(one);
}

function knowledgeOf(ledger: Ledger | null, version: Version, foundWith: NodeNumber | undefined): Knowledge {
  if (ledger === null) return 'not-here';
  if (ledger.replica === 'filling') return 'unsure';
  if (stampOf(version) > ledger.floor) return ledger.lists(version) ? 'known' : 'not-here';
  const had = membersAsked(ledger, version, foundWith).map((member) => hadBatch(ledger, version, member));
  // A floor passes a batch once: who did without it then has not got it since.
  if (had.includes(false)) return 'never';
  return had.includes(null) ? 'unsure' : 'known';
}

/** Those that may have had it alone when they went. */
function membersAsked(
  { disksGone }: Ledger,
  version: Version,
  foundWith: NodeNumber | undefined,
): readonly NodeNumber[] {
  if (foundWith !== undefined) return [foundWith];
  const mayHave = ({ number, removedAt }: GoneMember) => stampOf(version) <= removedAt || nodeOf(version) === number;
  return disksGone.filter(mayHave).map(({ number }) => number);
}

function hadBatch({ disksGone, floor, passed }: Ledger, version: Version, member: NodeNumber): boolean | null {
  // The floor has not moved since the member went: what lies below was proven with it.
  const isProven = disksGone.some(({ number, removedAt }) => number === member && floor <= removedAt);
  return isProven && !passed.tellsOf(member) ? true : passed.had(version, member);
}
