/**
 * One worker's replicas and everything that keeps them equal to the others': direct mail, outbox, ring, filling.
 *
 * A message machine: `submit`, `receive`, `tick` in; effects out. It knows no network, timers or clock. The caller calls
 * `tick` at least every `tickMs`, and `receive` with messages in any order, any number of times, or not at all.
 */
import type { SeriesKeyRecord } from '../shards/batch.ts';
import type { Files } from '../shards/files.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { NodeNumber, Version } from '../shards/version.ts';
import type { ClusterSnapshot, HeldShard, Statement } from './cluster.ts';
import type { Ledger } from './ledger.ts';
import type { OutboxStatus, PassRecord, RepairMode, RepairStatus, ShardDescription } from './records.ts';
import type { ReplicaLimits } from './replica-limits.ts';
import type { Storage } from './storage.ts';

export type WriteOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly code: string; readonly message: string; readonly status: number };

export type HostEffect =
  | { readonly kind: 'send'; readonly to: NodeNumber; readonly lane: number; readonly message: Uint8Array }
  | { readonly kind: 'written'; readonly request: number; readonly outcome: WriteOutcome }
  | { readonly kind: 'held-changed' }
  | { readonly kind: 'pass'; readonly record: PassRecord };

export interface SubmittedWrite {
  readonly request: number;
  readonly shard: ShardKey;
  readonly version: Version;
  readonly frame: Uint8Array;
  /** Keys that the local worker and the owners may lack. */
  readonly keys: readonly SeriesKeyRecord[];
  /** Every key of the batch: sent when an owner asks for keys, and kept with the batch in the outbox. */
  readonly allKeys: () => readonly SeriesKeyRecord[];
  readonly consistency: 'any' | 'one' | 'quorum' | 'all';
  readonly durability: 'fsync' | 'interval' | 'none';
  readonly timeoutMs: number;
}

export interface ReplicaHostOptions {
  readonly self: NodeNumber;
  readonly storage: Storage;
  readonly ledgerOf: (id: ShardId) => Ledger;
  readonly outboxDirectory: string;
  readonly files: Files;
  readonly random: () => number;
  readonly limits: ReplicaLimits;
  readonly emit: (effect: HostEffect) => void;
}

export class ReplicaHost {
  private readonly options: ReplicaHostOptions;

  constructor(options: ReplicaHostOptions) {
    this.options = options;
  }
  setCluster(_snapshot: ClusterSnapshot, _nowMs: number): void {
    throw new Error(`in construction ${this.options.self}`);
  }
  submit(_writes: readonly SubmittedWrite[], _nowMs: number): void {
    throw new Error('in construction');
  }
  receive(_from: NodeNumber, _message: Uint8Array, _nowMs: number): void {
    throw new Error('in construction');
  }
  tick(_nowMs: number): void {
    throw new Error('in construction');
  }
  openVersions(): Statement['open'] {
    throw new Error('in construction');
  }
  heldShards(): HeldShard[] {
    throw new Error('in construction');
  }
  describeShards(): ShardDescription[] {
    throw new Error('in construction');
  }
  describeShard(_id: ShardId): ShardDescription | null {
    throw new Error('in construction');
  }
  startRepair(_request: { id: string; shard: ShardId; mode: RepairMode }, _nowMs: number): void {
    throw new Error('in construction');
  }
  controlRepair(_id: string, _action: 'pause' | 'resume' | 'cancel'): void {
    throw new Error('in construction');
  }
  repairs(): RepairStatus[] {
    throw new Error('in construction');
  }
  outboxStatus(): OutboxStatus[] {
    throw new Error('in construction');
  }
  counters(): Record<string, number> {
    throw new Error('in construction');
  }
}
