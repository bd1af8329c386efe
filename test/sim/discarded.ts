/**
 * Writes that owners have discarded. One that nobody has acknowledged may reach an owner when a proof without it has been made:
 * its coordinator has refused it, so it held no cutoff back, and the message was late. If that owner had not heard of the
 * proof yet it took the write, and hands it on as what it owes before it is filled; the others, who have the floor, say
 * `stored` and discard it (rule 7). So no replica has it, outboxes may for a while, and it has to be nowhere soon.
 */
import type { ShardId } from '../../shards/shard-key.ts';
import { isThrough, type Version } from '../../shards/version.ts';
import type { Copies } from './copies.ts';
import type { SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';
import type { VirtualTime } from './virtual-time.ts';

export class Discarded {
  private readonly versions = new Set<Version>();
  private readonly nodes: readonly SimNode[];
  private readonly copies: Copies;

  constructor(nodes: readonly SimNode[], copies: Copies) {
    this.nodes = nodes;
    this.copies = copies;
  }

  get count(): number {
    return this.versions.size;
  }

  /** Whether the floor of every owner has passed it without it, and no replica has it. To be asked of what nobody has acknowledged. */
  has(version: Version, id: ShardId, owners: readonly SimNode[]): boolean {
    const passed = owners.every(({ process }) => {
      const { open } = process!;
      return open.storage.shards.has(id) && isThrough(version, open.ledgerOf(id).floor);
    });
    if (!passed || this.nodes.some((node) => node.stored(id).has(version))) return false;
    this.versions.add(version);
    return true;
  }

  check(time: VirtualTime, boundMs: number): void {
    const left = () => [...this.versions].find((version) => this.copies.isSomewhere(version));
    if (this.versions.size === 0 || time.runUntil(time.now + boundMs, () => left() === undefined)) return;
    throw new Violation(
      'owners-have-all',
      `${left()}, which the owners have discarded, is still in an outbox ${boundMs} ms later`,
    );
  }
}
