/** What a ReplicaHost is given, and what it asks of its surroundings. */
import type { Files } from '../shards/files.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { Storage } from '../shards/storage.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { Ledger } from './ledger.ts';
import type { LevelResult } from './levelling.ts';
import type { WriteOutcome } from './mail.ts';
import type { PassRecord } from './records.ts';
import type { RepairRecord } from './repair-records.ts';
import type { ReplicaLimits } from './replica-limits.ts';

export type HostEffect =
  /** `message` is the receiver's of the effect, to keep or to give away; one that goes to several is the same object. */
  | { readonly kind: 'send'; readonly to: NodeNumber; readonly lane: number; readonly message: Uint8Array }
  | { readonly kind: 'written'; readonly request: number; readonly outcome: WriteOutcome }
  | { readonly kind: 'held-changed' }
  | { readonly kind: 'levelled'; readonly result: LevelResult }
  | { readonly kind: 'pass'; readonly record: PassRecord }
  /** Of a pass: what this node found in it; of everything else: the whole. */
  | { readonly kind: 'repair'; readonly record: RepairRecord };

export interface ReplicaHostOptions {
  readonly self: NodeNumber;
  readonly storage: Storage;
  readonly ledgerOf: (id: ShardId) => Ledger;
  /** Of shards of this node: those of the other workers are not; without it all are this one's. */
  readonly isHere?: (key: ShardKey) => boolean;
  readonly outboxDirectory: string;
  /** For what a restart has to know of scrubs, and of repairs that were asked for by hand. */
  readonly scrubDirectory: string;
  readonly files: Files;
  readonly random: () => number;
  readonly limits: ReplicaLimits;
  /** Milliseconds that work takes are differences of it; without one it takes none. */
  readonly workMs?: () => number;
  readonly emit: (effect: HostEffect) => void;
  /** Nobody reads this message any more, which came with `receive`. Said of mail, whose frames are most of what comes. */
  readonly released?: (message: Uint8Array) => void;
}
