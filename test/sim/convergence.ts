/**
 * Times what the published bound promises, shard by shard, from the moment at which all members have found each other.
 *
 * A replica that has to be copied is found within `fencedMs`, and all copies are whole within `copyMs` after that, for
 * the bytes that they have turned out to be. Where copies are slow (`slowCopies`) the bound of a shard counts from the end
 * of its last copy, as published; elsewhere they have to end within it as well.
 */
import { type BoundParameters, type ConvergenceBound, convergenceBound } from '../../repair/bound.ts';
import type { ReplicaLimits } from '../../repair/replica-limits.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { Stamp } from '../../shards/version.ts';
import { Violation } from './books.ts';
import { DELAY_MS_MAX } from './network.ts';
import type { Rhythm, SimNode } from './sim-node.ts';

export const WRITE_TIMEOUT_MS = 1_500;

export interface ConvergenceOptions {
  readonly fromMs: number;
  readonly nodes: readonly SimNode[];
  readonly owners: ReadonlyMap<ShardId, readonly SimNode[]>;
  /** Nothing is promised of it any more. */
  readonly mayBeOver: (id: ShardId) => boolean;
  /** Everything that was written has a stamp at or below it. */
  readonly through: Stamp;
  readonly slowCopies: boolean;
  /** `copies` is filled in here. */
  readonly parameters: BoundParameters;
}

export class Convergence {
  /** The longest time that a shard took, of what the bound counts. */
  tookMs = 0;
  readonly bound: ConvergenceBound;
  private readonly o: ConvergenceOptions;
  /** When a copy of the shard was last seen to run. */
  private readonly copyingMs = new Map<ShardId, number>();
  private running: ReadonlySet<string> = new Set();
  /** Bytes of each copy; 0 until it is granted. */
  private readonly copies = new Map<string, number>();

  constructor(options: ConvergenceOptions) {
    this.o = options;
    this.bound = convergenceBound(options.parameters);
  }

  /** No shard may take longer, whatever is copied. */
  get limitMs(): number {
    return this.copiesEndMs() + this.bound.boundMs;
  }

  /** To be asked after every event. Throws a violation when something promised has not come in time. */
  isReached(nowMs: number): boolean {
    let all = true;
    const held = this.watchCopies(nowMs);
    for (const [id, owners] of this.o.owners) {
      // Written, and lost with a coordinator that had told nobody.
      if (!held.has(id) || this.o.mayBeOver(id)) continue;
      const sinceMs = Math.max(this.o.fromMs, (this.o.slowCopies ? this.copyingMs.get(id) : undefined) ?? 0);
      if (owners.every((node) => this.hasConverged(node, id))) continue;
      all = false;
      this.tookMs = Math.max(this.tookMs, nowMs - sinceMs);
      if (nowMs - sinceMs > this.bound.boundMs)
        throw new Violation(`${id} has not converged ${nowMs - sinceMs} ms after the faults, or its last copy, ended`);
    }
    return all;
  }

  private hasConverged(node: SimNode, id: ShardId): boolean {
    const { open } = node.process!;
    if (!open.storage.shards.has(id)) return false;
    const ledger = open.ledgerOf(id);
    return ledger.replica === 'full' && (ledger.converged?.through ?? '') >= this.o.through;
  }

  /** Returns the shards that anybody holds. */
  private watchCopies(nowMs: number): ReadonlySet<ShardId> {
    const held = new Set<ShardId>();
    const running = new Set<string>();
    for (const node of this.o.nodes) {
      const { open, host } = node.process!;
      for (const id of open.storage.shards.keys()) {
        held.add(id);
        if (open.ledgerOf(id).replica !== 'filling' || !this.o.owners.has(id)) continue;
        if (this.o.mayBeOver(id)) continue;
        const name = `${id} on ${node.name}`;
        running.add(name);
        if (!this.running.has(name)) {
          if (nowMs > this.o.fromMs + this.bound.parts.fencedMs)
            throw new Violation(`${name} turns filling ${nowMs - this.o.fromMs} ms after the faults stopped`);
          this.copies.set(name, 0);
        }
        this.copyingMs.set(id, nowMs);
        if (this.copies.get(name) === 0) this.copies.set(name, host.describeShard(id)!.fill?.bytesTotal ?? 0);
        if (nowMs > this.copiesEndMs())
          throw new Violation(`${name} is still filling ${nowMs - this.o.fromMs} ms after the faults stopped`);
      }
    }
    this.running = running;
    return held;
  }

  private copiesEndMs(): number {
    const { fromMs, parameters } = this.o;
    const bytes = [...this.copies.values()];
    const copies = {
      ...parameters.copies,
      shards: bytes.length,
      bytes: bytes.reduce((sum, each) => sum + each, 0),
      largestBytes: Math.max(0, ...bytes),
    };
    const { fencedMs, copyMs } = convergenceBound({ ...parameters, copies }).parts;
    return fromMs + fencedMs + copyMs;
  }
}

/** What the simulated network and nodes take at most. */
export function simulatedBound(
  limits: ReplicaLimits,
  { tickMs, heartbeatMs }: Rhythm,
  replicas: number,
): BoundParameters {
  return {
    passIntervalMs: limits.passIntervalMs,
    replicas,
    hopMs: 2 * tickMs + 8 * (2 * DELAY_MS_MAX) + 16,
    heartbeatMs,
    messageDelayMs: DELAY_MS_MAX + tickMs,
    openMsMax: limits.mailTimeoutMs + limits.backoffMsMax + WRITE_TIMEOUT_MS,
    hopTimeoutMs: limits.hopTimeoutMs,
    deaths: 1,
    // All are live when the bound counts.
    detectionMs: 0,
    staggerMs: limits.staggerMs,
    startersMayBeDead: true,
    predecessorMayDie: true,
    copies: {
      shards: 0,
      bytes: 0,
      largestBytes: 0,
      pageBytes: limits.fillPageBytes,
      atOnce: limits.snapshotsMax,
      pageMs: 2 * DELAY_MS_MAX,
      retryMs: limits.requestTimeoutMs + tickMs,
    },
  };
}
