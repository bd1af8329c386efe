/**
 * On which disks each batch is, and which batches have lost all their copies: exactly those that the simulation itself has
 * destroyed.
 *
 * A copy is a batch that a replica stores, or that an outbox has durably. A copy is *destroyed* with a disk that is wiped or
 * never comes back (a member given up), with a file that is set aside, by a bit that falls over, and, with `durability: interval`, by a crash before the
 * sync. Other copies go because somebody else has the batch: a holder lets its replica go on the word of owners, an
 * outbox its entry on the word of who has acknowledged it. That word may be about a copy that has been destroyed since.
 *
 * So a batch is *lost* when its last copy is destroyed, or goes on the word of nobody but destroyed ones. Whatever else is not there
 * any more was lost by the code. A copy that a process takes with it when it dies is there again when it comes back, or was
 * destroyed by one of the above.
 */
import type { Outbox, OutboxEntry } from '../../repair/outbox.ts';
import type { StoredEntry } from '../../repair/outbox-entry.ts';
import { RECORD_HEAD } from '../../repair/outbox-record.ts';
import type { ShardId, ShardKey } from '../../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO, type Version } from '../../shards/version.ts';
import type { SimNode } from './sim-node.ts';
import { lookUp } from './unread-lists.ts';
import { Violation } from './violation.ts';

export type Destruction = 'wiped' | 'given up' | 'file lost' | 'bits' | 'unsynced';

export class Copies {
  /** Of batches that any copy of was destroyed: on which disks. */
  private readonly destroyed = new Map<Version, Map<NodeNumber, Destruction>>();
  /** Of which no copy was left, and why. One may have been on its way to somebody then. */
  readonly lost = new Map<Version, Destruction>();
  /** Copies, by what destroyed them. */
  readonly counts: Record<Destruction, number> = { wiped: 0, 'given up': 0, 'file lost': 0, bits: 0, unsynced: 0 };
  /** Of disks whose process is dead: what they had then. */
  private readonly atRest = new Map<NodeNumber, ReadonlySet<Version>>();
  private readonly o: {
    readonly nodes: readonly SimNode[];
    readonly durability: 'fsync' | 'interval';
    /** Nobody is promised anything of it. */
    readonly isOver: (version: Version) => boolean;
    readonly shardOf: (version: Version) => ShardId;
  };

  constructor(options: Copies['o']) {
    this.o = options;
  }

  /** Some disk has it, of a node that runs or will. */
  isSomewhere(version: Version, except: SimNode | null = null): boolean {
    return this.o.nodes.some((node) => node !== except && this.has(node, version));
  }

  /** No disk has it, and none would if the code were right. */
  isLost(version: Version): boolean {
    return this.lost.has(version) && !this.isSomewhere(version);
  }

  /** Each of its copies went in a way that replicas are told of. One that bits or a crash took may be in a ledger for good. */
  wentOpenly(version: Version): boolean {
    const isTold = (why: Destruction | undefined) => why !== undefined && why !== 'bits' && why !== 'unsynced';
    return isTold(this.lost.get(version)) && [...(this.destroyed.get(version)?.values() ?? [])].every(isTold);
  }

  get copiesDestroyed(): number {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  /** A copy on that disk was destroyed, and it has not been there since. */
  wasDestroyedOn(number: NodeNumber, version: Version): boolean {
    return this.destroyed.get(version)?.has(number) ?? false;
  }

  /** The process is about to die. */
  dies(node: SimNode): void {
    if (node.process === null) return;
    const all = new Set<Version>();
    for (const id of node.process.open.storage.shards.keys())
      for (const version of node.stored(id).keys()) all.add(version);
    for (const { version, durable } of outboxOf(node).entries.values()) if (durable) all.add(version);
    this.atRest.set(node.number, all);
  }

  /** What it had and has no more has been destroyed, or was lost by the code. */
  restarted(node: SimNode): void {
    const before = this.atRest.get(node.number);
    this.atRest.delete(node.number);
    for (const version of before ?? []) {
      if (this.has(node, version)) this.destroyed.get(version)?.delete(node.number);
      else if (node.disk.logWasDamaged) this.destroy(node, version, 'bits');
      else if (node.disk.lostFiles.has(this.o.shardOf(version))) this.destroy(node, version, 'file lost');
      else if (this.o.durability === 'interval') this.destroy(node, version, 'unsynced');
      else if (!this.o.isOver(version)) throw new Violation('nothing-lost', `${node.name} lost ${version} in a crash`);
    }
  }

  /** The disk of a node that is down is lost, before it gets another one. */
  diskLost(node: SimNode, why: Destruction): void {
    const all = this.atRest.get(node.number) ?? new Set();
    this.atRest.delete(node.number);
    for (const version of all) this.destroy(node, version, why);
  }

  /** It has handed over what it had, and is not there any more. */
  hasLeft(node: SimNode): void {
    for (const version of this.atRest.get(node.number) ?? []) {
      if (!this.o.isOver(version) && !this.isSomewhere(version, node))
        throw new Violation('nothing-lost', `${node.name} has left with the only copy of ${version}`);
    }
  }

  /** A bit of an outbox that is in use has fallen over there. */
  outboxDamaged(node: SimNode, path: string, offset: number): void {
    const segment = Number.parseInt(path.slice(path.lastIndexOf('/') + 1), 10);
    for (const entry of outboxOf(node).entries.values()) {
      const { version, segment: lies, offset: from, length } = entry as StoredEntry;
      if (lies !== segment || offset < from - RECORD_HEAD || offset >= from + length) continue;
      if (!node.stored(this.o.shardOf(version)).has(version)) this.destroy(node, version, 'bits');
    }
  }

  /** The node's replica goes, on the word of the owners by its view. */
  letsGo(node: SimNode, key: ShardKey, id: ShardId): void {
    this.goes(node, [...node.stored(id).keys()], node.process!.ownersOf(key));
  }

  /** The node's outbox forgets an entry, on the word of who has acknowledged it. */
  entryGoes(node: SimNode, { version, acks }: OutboxEntry): void {
    if (!node.stored(this.o.shardOf(version)).has(version)) this.goes(node, [version], [...acks]);
  }

  /** A client was told that the write is kept. */
  acknowledged(version: Version): void {
    if (this.lost.has(version) || this.o.isOver(version) || this.isSomewhere(version)) return;
    const [why] = this.destroyed.get(version)?.values() ?? [];
    if (why !== undefined) this.lost.set(version, why);
    else throw new Violation('nothing-lost', `${version} is acknowledged and on no disk`);
  }

  private goes(node: SimNode, versions: readonly Version[], word: readonly NodeNumber[]): void {
    for (const version of versions) {
      if (this.isSomewhere(version, node) || this.o.isOver(version)) continue;
      const on = this.destroyed.get(version);
      const why = word.map((number) => on?.get(number)).find((each) => each !== undefined);
      if (why !== undefined) this.lost.set(version, why);
    }
  }

  private destroy(node: SimNode, version: Version, why: Destruction): void {
    this.counts[why]++;
    const on = this.destroyed.get(version) ?? new Map();
    on.set(node.number, why);
    this.destroyed.set(version, on);
    if (!this.isSomewhere(version, node)) this.lost.set(version, why);
  }

  private has(node: SimNode, version: Version): boolean {
    const { process } = node;
    if (process === null) return this.atRest.get(node.number)?.has(version) ?? false;
    const id = this.o.shardOf(version);
    if (process.open.storage.shards.has(id)) {
      const ledger = process.open.ledgerOf(id);
      if (ledger.replica !== 'damaged' && lookUp(() => ledger.lists(version))) return true;
      if ((ledger.floor !== STAMP_ZERO || ledger.replica === 'damaged') && node.stored(id).has(version)) return true;
    }
    const entry = outboxOf(node).entries.get(id + version);
    return entry?.durable === true && !this.wasDestroyedOn(node.number, version);
  }
}

export function outboxOf({ process }: SimNode): Outbox {
  return (process!.host as unknown as { outbox: Outbox }).outbox;
}
