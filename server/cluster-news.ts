/**
 * Cluster snapshots on their way to the workers: with each heartbeat of each member one goes to every worker, and what
 * is large in it, the members' lists of shards, hardly ever changes. A list that the workers have already is left out
 * and named instead. Messages to a worker keep their order, so what was sent once is there.
 */
import type { ClusterSnapshot, HeldShard } from '../repair/cluster.ts';
import type { NodeNumber } from '../shards/version.ts';

export interface ClusterNews {
  /** `heldBy` holds only what changed. */
  readonly snapshot: ClusterSnapshot;
  /** Members whose list is as it was. */
  readonly kept: readonly NodeNumber[];
}

export class ClusterNewsSender {
  #sent: Readonly<Record<NodeNumber, readonly HeldShard[]>>;
  /** Whose lists are in it. */
  #members: readonly NodeNumber[];

  /** `first`: what the workers began with. */
  constructor(first: ClusterSnapshot) {
    this.#sent = first.heldBy;
    this.#members = Object.keys(first.heldBy);
  }

  /** A list that is the same object is taken to be unchanged. */
  next(snapshot: ClusterSnapshot): ClusterNews {
    if (snapshot.heldBy === this.#sent) return { snapshot: { ...snapshot, heldBy: {} }, kept: this.#members };
    const heldBy: Record<NodeNumber, readonly HeldShard[]> = {};
    const kept: NodeNumber[] = [];
    for (const [member, list] of Object.entries(snapshot.heldBy)) {
      if (this.#sent[member] === list) kept.push(member);
      else heldBy[member] = list;
    }
    this.#sent = snapshot.heldBy;
    this.#members = Object.keys(snapshot.heldBy);
    return { snapshot: { ...snapshot, heldBy }, kept };
  }
}

/**
 * The whole snapshot, at the worker. V8 forgets the shape of what was posted with the last of it, and a spread copy takes
 * after that: written out, all snapshots are of one shape.
 */
export function withKept({ snapshot, kept }: ClusterNews, before: ClusterSnapshot): ClusterSnapshot {
  const heldBy = { ...snapshot.heldBy };
  for (const member of kept) heldBy[member] = before.heldBy[member]!;
  return {
    viewHash: snapshot.viewHash,
    self: snapshot.self,
    members: snapshot.members,
    live: snapshot.live,
    databases: snapshot.databases,
    droppedThrough: snapshot.droppedThrough,
    statements: snapshot.statements,
    heldBy,
    heldSequence: snapshot.heldSequence,
  };
}
