/**
 * What the parts of a worker's repair share: who and when we are, the cluster as last heard, the way out for messages,
 * and counters. Set by replica-host.ts only; the parts read it.
 */
import type { ShardKey } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { RepairBudget } from './budget.ts';
import type { ClusterSnapshot, Member } from './cluster.ts';
import type { PassRecord } from './records.ts';
import type { RepairRecord } from './repair-records.ts';
import type { ReplicaLimits } from './replica-limits.ts';
import type { Message } from './replica-messages.ts';

export interface Surroundings {
  readonly self: NodeNumber;
  readonly limits: ReplicaLimits;
  readonly random: () => number;
  /** For measuring spans: it never goes back, and goes on when the wall clock has stepped back. */
  readonly nowMs: number;
  /** The wall clock as last told: what versions and retention are measured against. */
  readonly wallMs: number;
  /** null until the main thread has given one. */
  readonly snapshot: ClusterSnapshot | null;
  readonly budget: RepairBudget;
  owners(key: ShardKey): readonly NodeNumber[];
  isLive(member: NodeNumber): boolean;
  /** Messages to self are delivered by the host like any other, after the current call. */
  send(to: NodeNumber, shardNumber: number, message: Message, attachments?: readonly Uint8Array[]): void;
  /** One message to several other members, made once. */
  sendAll(to: readonly NodeNumber[], shardNumber: number, message: Message, attachments: readonly Uint8Array[]): void;
  count(name: string, by?: number): void;
  /** Nobody reads a received message any more. */
  released(message: Uint8Array): void;
  passEnded(record: PassRecord): void;
  /** To be kept for people. */
  repaired(record: RepairRecord): void;
  heldChanged(): void;
}

export function memberOf(snapshot: ClusterSnapshot | null, number: NodeNumber): Member | null {
  return snapshot?.members.find((member) => member.number === number) ?? null;
}

export function nameOf(snapshot: ClusterSnapshot | null, number: NodeNumber): string {
  return memberOf(snapshot, number)?.name ?? number;
}
