/**
 * Who says that it may answer for a shard has the deletes of the policy that others had before it came (known-deletes.ts
 * in repair/): those that more than half of the nodes had had for a while when its process began.
 *
 * A while: until they are synced there, and no heartbeat from before is on its way any more.
 */
import { deleteShardOf, isDeleteShard } from '../../shards/delete-shard.ts';
import { shardId, shardKeyFromJson } from '../../shards/shard-key.ts';
import type { NodeNumber, Version } from '../../shards/version.ts';
import type { Books } from './books.ts';
import { LATE_MS_MAX } from './network.ts';
import type { Process, SimNode } from './sim-node.ts';
import { Violation } from './violation.ts';

export class DeletesKnown {
  /** When a delete was first seen on more than half of the nodes. */
  private readonly spread = new Map<Version, number>();
  private readonly owed = new Map<Process, readonly Version[]>();
  private readonly numbers = new Set<NodeNumber>();
  private readonly nodes: readonly SimNode[];
  private readonly books: Books;
  private readonly time: { readonly now: number };

  constructor(nodes: readonly SimNode[], books: Books, time: { readonly now: number }) {
    this.nodes = nodes;
    this.books = books;
    this.time = time;
  }

  /** Often: whoever has begun meanwhile is noticed, and looked at from then on. */
  look(): void {
    for (const node of this.nodes) if (node.process !== null && !this.owed.has(node.process)) this.begins(node);
    const stored = this.storedBy(this.nodes);
    for (const versions of stored)
      for (const version of versions)
        if (!this.spread.has(version) && this.isSpread(stored, version)) this.spread.set(version, this.time.now);
    for (const { name, process } of this.nodes) if (process !== null) this.check(name, process);
  }

  private begins(node: SimNode): void {
    // With an empty disk: of the majorities of before, it is in none.
    if (!this.numbers.has(node.number)) for (const process of this.owed.keys()) this.owed.set(process, []);
    this.numbers.add(node.number);
    const stored = this.storedBy(this.nodes.filter((each) => each !== node));
    const since = this.time.now - LATE_MS_MAX;
    const old = [...this.spread].filter(([version, ms]) => ms < since && this.isSpread(stored, version));
    this.owed.set(
      node.process!,
      old.map(([version]) => version),
    );
  }

  private check(name: string, process: Process): void {
    const owed = this.owed.get(process) ?? [];
    if (owed.length === 0) return;
    for (const { id, key, state, young } of process.host.heldShards()) {
      const shard = shardKeyFromJson(key);
      if (state !== 'full' || young || isDeleteShard(shard)) continue;
      const deletes = shardId(deleteShardOf(shard));
      const known = process.open.contents(deletes);
      const unknown = owed.find((version) => this.books.written.get(version)!.shard === deletes && !known.has(version));
      if (unknown !== undefined)
        throw new Violation('deletes-known', `${name} answers for ${id} and has not heard of ${unknown}`);
    }
  }

  private storedBy(nodes: readonly SimNode[]): Set<Version>[] {
    const shards = [...this.books.shards].filter(([, key]) => isDeleteShard(key));
    return nodes.map((node) => new Set(shards.flatMap(([id]) => [...node.stored(id).keys()])));
  }

  private isSpread(stored: readonly ReadonlySet<Version>[], version: Version): boolean {
    return 2 * stored.filter((versions) => versions.has(version)).length > this.nodes.length;
  }
}
