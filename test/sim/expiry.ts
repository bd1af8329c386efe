/**
 * Shards that expire in a simulated cluster. Clocks of nodes differ by `2 x clockStepMsMax` at most, so each expires a shard
 * at another moment, and one whose clock is set back has it unexpired again.
 *
 * Checked all the time: nobody removes a shard for its age that is still kept by any clock there may be (so a query finds
 * in every replica what it finds unexpired, whoever is asked); once a member has removed it, no member makes it anew, and
 * none that restarts has it again. In the end: nobody holds it, lists it, or has anything of it in its outbox.
 */
import type { Outbox } from '../../repair/outbox.ts';
import type { ReplicaLimits } from '../../repair/replica-limits.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import { shardOf } from './books.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

/** What the policy of the first database keeps, where anything expires. */
export const RETENTION_NS = 1_209_600_000_000_000n;

export class Expiry {
  /** Removed by some member for its age: until then it may be made anew. */
  private readonly removed = new Set<ShardId>();
  /** Number and shard. */
  private readonly removedBy = new Set<string>();
  private readonly scenario: Scenario;
  private readonly startMs: number;
  private readonly time: { readonly now: number };

  constructor(scenario: Scenario, time: { readonly now: number }) {
    this.scenario = scenario;
    this.startMs = time.now;
    this.time = time;
  }

  get shards(): number {
    return this.removed.size;
  }

  /** The shard that expires as the scenario says, or at no time. */
  keyOf(database: string, generation: number, number: number): ShardKey {
    const key = shardOf(database, generation, number);
    const expiresMs = database === 'd' ? this.scenario.expiriesMs[number] : undefined;
    if (expiresMs === undefined) return key;
    const endNs = BigInt(this.startMs + expiresMs) * 1_000_000n - RETENTION_NS;
    return { ...key, startNs: endNs - (key.endNs - key.startNs), endNs };
  }

  isOverFor(node: SimNode, key: ShardKey): boolean {
    return node.wallMs >= this.expiresMs(key);
  }

  /** For a clock that is as far ahead as any may be. */
  mayBeOver(key: ShardKey): boolean {
    return this.time.now + this.scenario.clockStepMsMax >= this.expiresMs(key);
  }

  /** By every clock there may be. */
  isOver(key: ShardKey): boolean {
    return this.time.now - this.scenario.clockStepMsMax >= this.expiresMs(key);
  }

  /** True when the node removes it for its age. */
  removes(node: SimNode, key: ShardKey): boolean {
    if (!this.isOverFor(node, key)) return false;
    const id = shardId(key);
    if (!this.isOver(key)) {
      const isOwner = node.process!.ownersOf(key).includes(node.number);
      if (!isOwner) return false;
      throw new Violation('expires-together', `${node.name} removes ${id}, which has not expired yet for others`);
    }
    this.removed.add(id);
    this.removedBy.add(`${node.number} ${id}`);
    return true;
  }

  makes(node: SimNode, key: ShardKey): void {
    if (this.removed.has(shardId(key)))
      throw new Violation(
        'expires-together',
        `${node.name} makes ${shardId(key)} anew, which another member has removed for its age`,
      );
  }

  restarted(node: SimNode): void {
    for (const id of node.process!.open.storage.shards.keys()) {
      if (this.removedBy.has(`${node.number} ${id}`))
        throw new Violation('expires-together', `${node.name} has ${id} again, which it had removed for its age`);
    }
  }

  /** When all that expires has to be gone, if nobody has restarted, and no clock was set, after `calmMs`. */
  goneMs(calmMs: number, { clockDriftMsMax, retentionEveryMs }: ReplicaLimits, heartbeatMs: number): number {
    const last = this.startMs + Math.max(0, ...this.scenario.expiriesMs) + this.scenario.clockStepMsMax;
    return Math.max(last, calmMs) + 2 * clockDriftMsMax + 3 * retentionEveryMs + 3 * heartbeatMs;
  }

  /** What is still there of it; null when nothing is. */
  left(nodes: readonly SimNode[], shards: ReadonlyMap<ShardId, ShardKey>): string | null {
    const over = [...shards].filter(([, key]) => this.isOver(key)).map(([id]) => id);
    for (const id of over) {
      for (const { name, process } of nodes) {
        if (process!.open.storage.shards.has(id)) return `${name} still holds ${id}`;
        const lists = Object.entries(process!.core.snapshot().heldBy);
        const lister = lists.find(([, held]) => held.some((each) => each.id === id));
        if (lister !== undefined) return `${name} still takes ${lister[0]} for a holder of ${id}`;
        const { outbox } = process!.host as unknown as { outbox: Outbox };
        if ([...outbox.entries.values()].some((entry) => entry.id === id))
          return `the outbox of ${name} still has batches of ${id}`;
        if (outbox.debts.has(id)) return `${name} still owes something of ${id}`;
      }
    }
    return null;
  }

  private expiresMs(key: ShardKey): number {
    if (this.scenario.expiriesMs.length === 0 || key.database !== 'd') return Number.POSITIVE_INFINITY;
    return Number((key.endNs + RETENTION_NS) / 1_000_000n);
  }
}
