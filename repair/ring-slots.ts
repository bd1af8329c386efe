/**
 * Which passes this worker has started and not seen end: their number is bounded, and none keeps its place for ever.
 */
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Held } from './ring-token.ts';
import type { Surroundings } from './surroundings.ts';

export class PassSlots {
  private readonly started = new Map<string, { ms: number; readonly hops: Held[] }>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  get isFull(): boolean {
    return this.started.size >= this.around.limits.passesAtOnceMax;
  }

  take(pass: string): void {
    this.started.set(pass, { ms: this.around.nowMs, hops: [] });
  }

  /** The token of a pass is here (again). */
  holds(held: Held): void {
    this.started.get(held.token.pass)?.hops.push(held);
  }

  free(pass: string): void {
    this.started.delete(pass);
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    for (const [pass, started] of this.started) {
      if (started.hops.some((held) => held.stage !== 'ended')) started.ms = nowMs;
      // Handed on, and never heard of again: whoever had it may have died with it. Its place must not stay taken.
      else if (nowMs - started.ms > 2 * limits.hopTimeoutMs) this.started.delete(pass);
    }
  }
}

/** Replicas whose pass this node has to start now, those that have waited longest first: none starves (rule 28). */
export function duePasses(replicas: ReplicaTable, around: Surroundings): Replica[] {
  const { nowMs, limits } = around;
  const due: Replica[] = [];
  for (const id of replicas.ids()) {
    const replica = replicas.get(id)!;
    const waitedMs = nowMs - replica.notes.begunMs;
    if (waitedMs < limits.passIntervalMs) continue;
    if (waitedMs < limits.passIntervalMs + rankOf(replica, around) * limits.staggerMs) continue;
    due.push(replica);
  }
  return due.sort((a, b) => a.notes.begunMs - b.notes.begunMs);
}

/**
 * Owners in their order, then whoever holds the shard besides, by number: an owner that has not got the shard yet does not
 * know that there is anything to start.
 */
function rankOf(replica: Replica, around: Surroundings): number {
  const owners = around.owners(replica.key);
  const rank = owners.indexOf(around.self);
  if (rank >= 0) return rank;
  const heldBy = around.snapshot?.heldBy ?? {};
  const before = Object.keys(heldBy).filter(
    (member) =>
      member < around.self && !owners.includes(member) && heldBy[member]!.some((held) => held.id === replica.id),
  );
  return owners.length + before.length;
}
