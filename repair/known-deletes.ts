/**
 * Whether the deletes of a policy are known here: those of its delete shard (protocol rule 25) that the others had when
 * this process began, or when they first knew that this member is up. From then on each delete is mailed to it.
 *
 * Until then a replica may show rows that others know to be deleted, so it counts as young (`HeldShard.young`). They are
 * known by a proof of the delete shard among more than half of the members that are up, through what each of them had
 * closed when it had spoken twice under this node's own view (what the first one closed may be older than what it had heard).
 * A delete that more than half have and a majority that proves meet in a member that has it, and that member's clock was
 * above the delete's version before it spoke. A delete that fewer have, because the others were down when it was
 * acknowledged, is known when a pass or an outbox has brought it.
 *
 * That a policy has no deletes is known when more than half have spoken so, too: the view that they share says it.
 * Nothing of this is durable, and rightly so: a member that was away has missed deletes, whatever it had proven before.
 */
import { deleteShardOf, isDeleteShard } from '../shards/delete-shard.ts';
import { type ShardKey, shardId } from '../shards/shard-key.ts';
import type { StoredShard } from '../shards/storage.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { ClusterSnapshot } from './cluster.ts';
import { majority } from './levelling.ts';
import { policyOf } from './owners.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import { memberOf, type Surroundings } from './surroundings.ts';

export class KnownDeletes {
  /** What each member had closed when it spoke of this one as being up for the second time. */
  private readonly closed = new Map<NodeNumber, Stamp>();
  /** The statement with which each member spoke first under this node's view. */
  private readonly first = new Map<NodeNumber, number>();
  /** Delete shards that have been proven since; a copy that takes the place of one has to be proven itself. */
  private readonly proven = new WeakSet<StoredShard>();
  private readonly replicas: Pick<ReplicaTable, 'get'>;
  private readonly around: Surroundings;

  constructor(replicas: Pick<ReplicaTable, 'get'>, around: Surroundings) {
    this.replicas = replicas;
    this.around = around;
  }

  /** With every snapshot: there is one for each heartbeat of each member. True when more than half have now spoken. */
  hear(snapshot: ClusterSnapshot): boolean {
    const { self, members, statements, viewHash } = snapshot;
    if (statements.every(({ member }) => this.closed.has(member))) return false;
    if (!members.some(({ number, state }) => number === self && state === 'up')) return false;
    const hadSpoken = this.mostHaveSpoken(snapshot);
    for (const { member, sequence, closed, viewHash: theirs } of statements) {
      if (theirs !== viewHash || this.closed.has(member)) continue;
      const first = this.first.get(member);
      if (first === undefined) this.first.set(member, sequence);
      else if (sequence > first) this.closed.set(member, closed);
    }
    return !hadSpoken && this.mostHaveSpoken(snapshot);
  }

  private mostHaveSpoken({ members }: ClusterSnapshot): boolean {
    const up = members.filter(({ state }) => state === 'up');
    return up.filter(({ number }) => this.closed.has(number)).length >= majority(up.length);
  }

  /** This replica has been proven. True when it makes deletes known. */
  note({ key, stored }: Replica, members: readonly NodeNumber[], through: Stamp): boolean {
    if (!isDeleteShard(key) || this.proven.has(stored)) return false;
    const { snapshot } = this.around;
    const up = snapshot?.members.filter(({ state }) => state === 'up').length ?? 0;
    const reaches = (member: NodeNumber): boolean => through >= (this.closed.get(member) ?? NEVER);
    const counted = members.filter((member) => memberOf(snapshot, member)?.state === 'up' && reaches(member));
    if (counted.length < majority(up)) return false;
    this.proven.add(stored);
    return true;
  }

  /** Of the policy of this shard. */
  of(key: ShardKey): boolean {
    if (isDeleteShard(key)) return true;
    const deletes = this.replicas.get(shardId(deleteShardOf(key)));
    if (deletes !== null) return deletes.ledger.replica === 'full' && this.proven.has(deletes.stored);
    const { snapshot } = this.around;
    return snapshot !== null && policyOf(snapshot, key)?.hasDeletes !== true && this.mostHaveSpoken(snapshot);
  }
}

/** Above every stamp. */
const NEVER: Stamp = 'g';
