/** Where a write is, as far as one node knows: what write receipts are made of. */
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import type { Stamp, Version } from '../shards/version.ts';
import type { Outbox } from './outbox.ts';
import type { ReplicaTable } from './replica-table.ts';

export interface SoughtWrite {
  readonly shard: ShardKey;
  readonly version: Version;
}

export interface FoundWrite {
  readonly state: 'full' | 'filling' | 'damaged' | 'absent';
  /** In this replica. At or below the floor a ledger does not tell its batches from versions that never were. */
  readonly isStored: boolean;
  /** All owners are proven equal up to here. */
  readonly convergedThrough: Stamp | null;
  readonly isInOutbox: boolean;
}

export function findWrite(replicas: ReplicaTable, outbox: Outbox, { shard, version }: SoughtWrite): FoundWrite {
  const id = shardId(shard);
  const replica = replicas.get(id);
  return {
    state: replica?.ledger.replica ?? 'absent',
    isStored: replica !== null && replica.ledger.replica !== 'filling' && replica.ledger.has(version),
    convergedThrough: replica?.ledger.converged?.through ?? null,
    isInOutbox: outbox.entries.has(id + version),
  };
}
