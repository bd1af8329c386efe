/**
 * Times what the published bound promises, shard by shard, from the moment at which all members have found each other.
 *
 * A replica that has to be copied is found within `fencedMs`, and all copies are whole within `copyMs` after that, for
 * the bytes that they have turned out to be. Where copies are slow (`slowCopies`) the bound of a shard counts from the end
 * of its last copy, as published; elsewhere they have to end within it as well.
 */
import {
  type BoundParameters,
  type BoundView,
  boundParameters,
  type ConvergenceBound,
  convergenceBound,
} from '../../repair/bound.ts';
import type { ShardId } from '../../shards/shard-key.ts';
import type { NodeNumber, Stamp } from '../../shards/version.ts';
import { DELAY_MS_MAX } from './network.ts';
import { membershipOf, type SimNode, type World } from './sim-node.ts';
import { Violation } from './violation.ts';

/** Questions and answers of a hop that finds something missing, in these small pages. */
const HOP_ROUNDS = 8;
const SYNC_MS_MAX = 16;

export interface ConvergenceOptions {
  readonly world: World;
  readonly nodes: readonly SimNode[];
  readonly owners: ReadonlyMap<ShardId, readonly SimNode[]>;
  readonly ringOf: (id: ShardId) => ReadonlySet<NodeNumber>;
  readonly isOfDeletes: (id: ShardId) => boolean;
  /** Nothing is promised of it any more. */
  readonly mayBeOver: (id: ShardId) => boolean;
  /** Everything that was written has a stamp at or below it. */
  readonly through: Stamp;
  readonly slowCopies: boolean;
  /** Most owners of a shard with rows. */
  readonly replication: number;
  /** Its disk is bad: the others are proven without it, by live proofs. */
  readonly sick: SimNode | null;
}

interface Promised {
  /** Without copies. */
  readonly parameters: BoundParameters;
  readonly bound: ConvergenceBound;
}

export class Convergence {
  /** The shard that took the greatest part of its bound, of what the bound counts. */
  slowest: { readonly tookMs: number; readonly boundMs: number };
  private readonly o: ConvergenceOptions;
  private readonly fromMs: number;
  private readonly ofRows: Promised;
  private readonly ofDeletes: Promised;
  /** When a copy of the shard was last seen to run. */
  private readonly copyingMs = new Map<ShardId, number>();
  private running: ReadonlySet<string> = new Set();
  /** Bytes of each copy; 0 until it is granted. */
  private readonly copies = new Map<string, number>();

  constructor(options: ConvergenceOptions) {
    this.o = options;
    const { world, nodes, owners, ringOf, isOfDeletes, replication, sick } = options;
    this.fromMs = world.time.now;
    const outboxes = nodes.flatMap(({ process }) => process!.host.outboxStatus());
    const promised = (deletes: boolean, least: number): Promised => {
      const rings = [...owners.keys()].filter((id) => isOfDeletes(id) === deletes).map((id) => ringOf(id).size);
      const parameters = simulatedBound(world, outboxes, Math.max(least, ...rings), sick === null ? 0 : 1);
      return { parameters, bound: convergenceBound(parameters) };
    };
    this.ofRows = promised(false, replication);
    this.ofDeletes = promised(true, nodes.length);
    this.slowest = { tookMs: 0, boundMs: this.ofRows.bound.boundMs };
  }

  get boundMsMax(): number {
    return Math.max(this.ofRows.bound.boundMs, this.ofDeletes.bound.boundMs);
  }

  /** No shard may take longer, whatever is copied. */
  get limitMs(): number {
    return this.copiesEndMs() + this.boundMsMax;
  }

  /** To be asked after every event. Throws a violation when something promised has not come in time. */
  isReached(nowMs: number): boolean {
    let all = true;
    const held = this.watchCopies(nowMs);
    for (const [id, owners] of this.o.owners) {
      // Written, and lost with a coordinator that had told nobody.
      if (!held.has(id) || this.o.mayBeOver(id)) continue;
      const sinceMs = Math.max(this.fromMs, (this.o.slowCopies ? this.copyingMs.get(id) : undefined) ?? 0);
      if (owners.every((node) => this.hasConverged(node, id))) continue;
      all = false;
      const tookMs = nowMs - sinceMs;
      const { boundMs } = this.promised(id).bound;
      if (tookMs * this.slowest.boundMs > this.slowest.tookMs * boundMs) this.slowest = { tookMs, boundMs };
      if (tookMs > boundMs)
        throw new Violation(
          'converges-in-time',
          `${id} has not converged ${tookMs} ms after the faults, or its last copy, ended`,
        );
    }
    return all;
  }

  private hasConverged(node: SimNode, id: ShardId): boolean {
    const { open } = node.process!;
    if (node === this.o.sick) return true;
    if (!open.storage.shards.has(id)) return false;
    const ledger = open.ledgerOf(id);
    const proven = this.o.sick === null ? ledger.converged : ledger.liveConverged;
    return ledger.replica === 'full' && (proven?.through ?? '') >= this.o.through;
  }

  private promised(id: ShardId): Promised {
    return this.o.isOfDeletes(id) ? this.ofDeletes : this.ofRows;
  }

  /** Returns the shards that anybody holds. */
  private watchCopies(nowMs: number): ReadonlySet<ShardId> {
    const held = new Set<ShardId>();
    const running = new Set<string>();
    for (const node of this.o.nodes) {
      if (node === this.o.sick) continue;
      const { open, host } = node.process!;
      for (const id of open.storage.shards.keys()) {
        held.add(id);
        if (open.ledgerOf(id).replica !== 'filling' || !this.o.owners.has(id)) continue;
        if (this.o.mayBeOver(id)) continue;
        const name = `${id} on ${node.name}`;
        running.add(name);
        if (!this.running.has(name)) {
          if (nowMs > this.fromMs + this.promised(id).bound.parts.fencedMs)
            throw new Violation(
              'converges-in-time',
              `${name} turns filling ${nowMs - this.fromMs} ms after the faults stopped`,
            );
          this.copies.set(name, 0);
        }
        this.copyingMs.set(id, nowMs);
        if (this.copies.get(name) === 0) this.copies.set(name, host.describeShard(id)!.fill?.bytesTotal ?? 0);
        if (nowMs > this.copiesEndMs())
          throw new Violation(
            'converges-in-time',
            `${name} is still filling ${nowMs - this.fromMs} ms after the faults stopped`,
          );
      }
    }
    this.running = running;
    return held;
  }

  private copiesEndMs(): number {
    const bytes = [...this.copies.values()];
    const copies = {
      ...this.ofRows.parameters.copies,
      shards: bytes.length,
      bytes: bytes.reduce((sum, each) => sum + each, 0),
      largestBytes: Math.max(0, ...bytes),
    };
    // Places for copies are for those of deletes as well: that is one sum, whatever the rings.
    const ends = [this.ofRows, this.ofDeletes].map(({ parameters }) => {
      const { fencedMs, copyMs } = convergenceBound({ ...parameters, copies }).parts;
      return fencedMs + copyMs;
    });
    return this.fromMs + Math.max(...ends);
  }
}

/**
 * The published bound, with what the simulated network and nodes take at most. Nobody dies while it is timed: nothing is
 * allowed for deaths, but for one where a disk is bad, as the bound has it.
 */
function simulatedBound(
  world: World,
  outboxes: BoundView['outboxes'],
  replicas: number,
  deaths: number,
): BoundParameters {
  const { limits, rhythm, durability } = world;
  const { tickMs } = rhythm;
  const copies = { shards: 0, bytes: 0, largestBytes: 0, pageMs: 2 * DELAY_MS_MAX };
  const hopMs = 2 * tickMs + HOP_ROUNDS * (2 * DELAY_MS_MAX) + SYNC_MS_MAX;
  const times = { hopMs, messageDelayMs: DELAY_MS_MAX + tickMs, bytesPerSecond: null, copies };
  const view = { replicas, deaths, durabilities: [durability], outboxes };
  return boundParameters(limits, membershipOf(rhythm), view, times);
}
