/**
 * The cluster as one node sees it: members, their states, and what metadata the protocol depends on.
 *
 * `ClusterSnapshot` is what the main thread hands to its workers whenever it changes; it is plain data.
 */

import type { ConflictRule } from '../shards/row-settle.ts';
import type { ShardLayout } from '../shards/shard-key.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';

/** States only rise (protocol rule 23). */
export const MEMBER_STATES = ['joining', 'up', 'leaving', 'removed'] as const;
export type MemberState = (typeof MEMBER_STATES)[number];

/**
 * How a member came to be removed. `left`: it handed everything over first. `replaced`: a new node took its name.
 * `forced`: an operator gave it up. After the last two, what only that member held is lost (protocol rule 23).
 */
export const REMOVALS = ['left', 'replaced', 'forced'] as const;
export type Removal = (typeof REMOVALS)[number];

export interface Member {
  readonly number: NodeNumber;
  readonly name: string;
  /** http://HOST:PORT that other members use. */
  readonly address: string;
  readonly state: MemberState;
  /** Only of a removed member. */
  readonly removal?: Removal;
  readonly removedAt?: Stamp;
  /** Of one that was given up or replaced: when an operator has taken note of what may be lost with it. */
  readonly lossAcknowledgedMs?: number;
}

export interface RetentionPolicyDefinition extends ShardLayout {
  readonly name: string;
  readonly generation: number;
  /** 0n: forever. */
  readonly durationNs: bigint;
  readonly replication: number;
  /** Somebody has, or may have, written deletes for all its shards (shards/delete-shard.ts). Never taken back. */
  readonly hasDeletes: boolean;
}

export interface DatabaseDefinition {
  readonly name: string;
  readonly generation: number;
  readonly durability: 'fsync' | 'interval' | 'none';
  /** Which of two values of a cell counts (protocol rule 17). */
  readonly conflict: ConflictRule;
  readonly defaultRetentionPolicy: string;
  readonly retentionPolicies: readonly RetentionPolicyDefinition[];
}

export interface ClusterSnapshot {
  /** Hash over members with states, databases and retention policies (protocol rule 11). */
  readonly viewHash: string;
  readonly self: NodeNumber;
  /** Where nobody stays, those that leave are `up` in it (`standingOf`). */
  readonly members: readonly Member[];
  /** Members heard of lately, self included; a skewed member is not in it (protocol rule 3). */
  readonly live: readonly NodeNumber[];
  readonly databases: readonly DatabaseDefinition[];
  /** Name -> highest generation dropped, for databases and for `database\0policy`: frames at or below it are refused. */
  readonly droppedThrough: Readonly<Record<string, number>>;
  /** The latest statement of each member, own one included. */
  readonly statements: readonly Statement[];
  /** The shard list of each member, as last fetched; own one included. */
  readonly heldBy: Readonly<Record<NodeNumber, readonly HeldShard[]>>;
  /** Sequence of each list in `heldBy`: it stands for what a statement rests on only where the statement names it. */
  readonly heldSequence: Readonly<Record<NodeNumber, number>>;
}

/** A promise of one member, carried by its heartbeats (protocol rules 9 to 12). */
export interface Statement {
  readonly member: NodeNumber;
  readonly sequence: number;
  readonly viewHash: string;
  /** The member accepts no more writes at or below this stamp, except those listed in `open`. */
  readonly closed: Stamp;
  /** Per shard the oldest version, for each set of full owners that acknowledged it, that is still open or in the outbox. */
  readonly open: readonly { shard: string; oldest: string; acknowledgedBy: readonly NodeNumber[] }[];
  /** Grows whenever the list of shards held or their states change; the list itself is fetched on change. */
  readonly shardListSequence: number;
}

/** One shard in a member's shard list. */
export interface HeldShard {
  readonly id: string;
  readonly key: import('../shards/shard-key.ts').ShardKeyJson;
  readonly state: 'full' | 'filling' | 'damaged';
  /**
   * May lack what older replicas hold: no proof with another member yet, of the shard or, since the process began, of the
   * deletes of its policy (known-deletes.ts).
   */
  readonly young?: boolean | undefined;
  /**
   * Of a replica whose file was lost once: what it acknowledged before is gone, and all members have been told. Statements
   * closed before this may say of it what they did not know yet. Left out: it never was.
   */
  readonly since?: Stamp | undefined;
}
