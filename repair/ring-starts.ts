/**
 * When this node starts passes, and of which shards first (protocol rule 28).
 *
 * All replicas are looked at a few times an interval, not with every tick. Where the pass of one is due, those that this node
 * would start soon go with it: passes that were started together share their messages (ring-bundle.ts), also the next
 * time. First come shards that have waited for twice the interval, so that none starves; then those with a debt, for
 * which the ring has to carry what an outbox no longer does; those that differed in their last pass; those that are
 * furthest behind.
 */
import type { ShardId } from '../shards/shard-key.ts';
import { STAMP_ZERO } from '../shards/version.ts';
import { heldIn } from './held-shards.ts';
import type { PassRecord } from './records.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

const LOOKS_PER_INTERVAL = 8;
const LOOK_EVERY_MS_MAX = 250;
/** Share of the interval after which a pass may go along with others: soon there are at most two crowds of them. */
const ALONG = 0.5;

export interface StartPorts {
  readonly replicas: ReplicaTable;
  readonly around: Surroundings;
  /** Shards of which a token is here. */
  underWay(): ReadonlySet<ShardId>;
  hasDebt(id: ShardId): boolean;
}

export class PassStarts {
  private lookAtMs = Number.NEGATIVE_INFINITY;
  private names = { ms: Number.NaN, prefix: '', count: 0 };
  private readonly o: StartPorts;

  constructor(ports: StartPorts) {
    this.o = ports;
  }

  /** A pass is named after its starter; those that start in one millisecond differ in the number at the end. */
  name(): string {
    const { nowMs, self, random } = this.o.around;
    if (this.names.ms !== nowMs || this.names.count > 0xffff) {
      const prefix = `${self}-${nowMs.toString(36)}-${Math.floor(random() * 2 ** 40).toString(36)}`;
      this.names = { ms: nowMs, prefix, count: 0 };
    }
    return `${this.names.prefix}-${this.names.count++}`;
  }

  /** Some are left over: look again with the next tick. */
  lookSoon(): void {
    this.lookAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Replicas whose passes this node has to start now, the most urgent first. */
  due(): Replica[] {
    const { replicas, around } = this.o;
    const { nowMs, limits } = around;
    if (nowMs < this.lookAtMs) return [];
    const everyMs = Math.min(LOOK_EVERY_MS_MAX, limits.passIntervalMs / LOOKS_PER_INTERVAL);
    this.lookAtMs = nowMs + everyMs;
    const along: Replica[] = [];
    let isDue = false;
    for (const id of replicas.ids()) {
      const replica = replicas.get(id)!;
      const waitedMs = nowMs - replica.notes.begunMs;
      if (waitedMs < ALONG * limits.passIntervalMs) continue;
      const rank = rankOf(replica, around);
      // With the next look it would be too late.
      const own = waitedMs >= limits.passIntervalMs - everyMs + rank * limits.staggerMs;
      if (rank > 0 && !own) continue;
      isDue ||= own;
      along.push(replica);
    }
    if (!isDue) return [];
    const underWay = this.o.underWay();
    return along.filter(({ id }) => !underWay.has(id)).sort((a, b) => this.compare(a, b));
  }

  private compare(a: Replica, b: Replica): number {
    const { around, hasDebt } = this.o;
    const { nowMs, limits } = around;
    const [begunA, begunB] = [a.notes.begunMs, b.notes.begunMs];
    const starves = (begunMs: number) => Number(nowMs - begunMs >= 2 * limits.passIntervalMs);
    const isProven = ({ outcome }: PassRecord) => outcome === 'proven' || outcome === 'overtaken';
    const differed = ({ notes: { lastPass } }: Replica) =>
      Number(lastPass !== null && (!isProven(lastPass) || lastPass.batchesMoved > 0));
    const first =
      starves(begunB) - starves(begunA) ||
      (starves(begunA) === 1 ? begunA - begunB : 0) ||
      Number(hasDebt(b.id)) - Number(hasDebt(a.id)) ||
      differed(b) - differed(a);
    if (first !== 0) return first;
    const [convergedA, convergedB] = [a, b].map(({ ledger }) => ledger.converged?.through ?? STAMP_ZERO);
    if (convergedA !== convergedB) return convergedA! < convergedB! ? -1 : 1;
    return begunA - begunB;
  }
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
    (member) => member < around.self && !owners.includes(member) && heldIn(heldBy[member], replica.id) !== undefined,
  );
  return owners.length + before.length;
}
