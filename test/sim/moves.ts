/** Members that leave a simulated cluster, and shards that their old holders have to let go. */
import { MembershipError } from '../../repair/membership-error.ts';
import type { ShardId, ShardKey } from '../../shards/shard-key.ts';
import type { NodeNumber } from '../../shards/version.ts';
import type { Books } from './books.ts';
import type { SimNode, World } from './sim-node.ts';
import { Violation } from './violation.ts';
import type { Chance } from './virtual-time.ts';

/** Nobody leaves when no more than these are up. */
const STAYING_MIN = 3;
const AGAIN_MS = 500;

export class Moves {
  /** They have left, and are not there any more. */
  readonly gone: SimNode[] = [];
  abandoned = 0;
  private readonly world: World;
  private readonly nodes: SimNode[];
  private readonly books: Books;
  private readonly leavers: number;

  constructor(world: World, nodes: SimNode[], books: Books, leavers: number) {
    this.world = world;
    this.nodes = nodes;
    this.books = books;
    this.leavers = leavers;
  }

  begin(untilMs: number): void {
    const { time, chance } = this.world;
    if (this.leavers === 0) return;
    for (let i = 0; i < this.leavers; i++) {
      const own = chance.fork(`leaver ${i}`);
      time.after(own.between(1_000, untilMs - time.now - AGAIN_MS), () => this.leave(untilMs, own));
    }
    const bury = () => {
      this.bury();
      if (time.now < untilMs) time.after(AGAIN_MS, bury);
    };
    bury();
  }

  /** Somebody is let go, as soon as that may be; until then. */
  private leave(untilMs: number, chance: Chance): void {
    const { time } = this.world;
    const [node, asked] = [chance.pick(this.nodes), chance.pick(this.nodes)];
    const members = asked.process?.core.snapshot().members ?? [];
    const maySpare = members.filter(({ state }) => state === 'up').length > STAYING_MIN;
    if (maySpare && members.some(({ number, state }) => number === node.number && state === 'up')) {
      try {
        asked.process!.core.departures.leave(node.number, asked.wallMs);
        this.world.trace(`${asked.name} lets ${node.name} leave`);
        return;
      } catch (error) {
        if (!(error instanceof MembershipError)) throw error;
      }
    }
    if (time.now + AGAIN_MS < untilMs) time.after(AGAIN_MS, () => this.leave(untilMs, chance));
  }

  /** Whoever has left, and of whom everybody knows that, is switched off. */
  bury(): void {
    for (const node of [...this.nodes]) {
      if (node.process?.core.state !== 'left') continue;
      const isKnown = ({ process }: SimNode) =>
        process?.core.snapshot().members.some(({ number, state }) => number === node.number && state === 'removed');
      if (!this.nodes.every(isKnown)) continue;
      this.world.trace(`${node.name} is switched off`);
      this.world.ending(node);
      node.crash();
      this.books.copies.hasLeft(node);
      this.nodes.splice(this.nodes.indexOf(node), 1);
      this.gone.push(node);
    }
  }

  /** Without it there is still somebody who knows the cluster: of nothing but empty disks nothing can come. */
  mayLose(node: SimNode): boolean {
    return this.nodes.some((other) => other !== node && other.disk.identity.clusterId !== null);
  }

  /** Somebody's disk and process are gone for good, and the others give it up as soon as they take it for dead. */
  abandon(chance: Chance): void {
    if (this.nodes.length <= STAYING_MIN) return;
    const node = chance.pick(this.nodes);
    if (!this.mayLose(node)) return;
    this.world.trace(`${node.name} is gone for good`);
    this.world.ending(node);
    node.crash();
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.gone.push(node);
    this.books.copies.diskLost(node, 'given up');
    this.abandoned++;
    this.giveUp(node.name, chance);
  }

  /** Under whatever numbers it is known: one that has just lost its disk may not have been let in under the new one. */
  private giveUp(name: string, chance: Chance): void {
    const asked = chance.pick(this.nodes);
    for (const member of asked.process?.core.snapshot().members ?? []) {
      if (member.name !== name || member.state === 'removed') continue;
      try {
        asked.process!.core.departures.giveUp(member.number, true, asked.wallMs);
      } catch (error) {
        if (!(error instanceof MembershipError)) throw error;
      }
    }
    this.world.time.after(AGAIN_MS, () => this.giveUp(name, chance));
  }

  /** Owners, and who holds the shard besides. */
  ringOf(id: ShardId): Set<NodeNumber> {
    const holders = this.nodes.filter(({ process }) => process!.open.storage.shards.has(id));
    return new Set([...this.ownersOf(id), ...holders.map(({ number }) => number)]);
  }

  /** All owners are proven equal: whoever holds a shard besides them lets it go within another bound. */
  checkLetGo(ids: readonly ShardId[], boundMs: number): void {
    const { time } = this.world;
    const isStray = (id: ShardId) => !this.books.mayBeOver(id) && this.ringOf(id).size > this.ownersOf(id).length;
    const stray = () => ids.find(isStray);
    if (time.runUntil(time.now + boundMs, () => stray() === undefined)) return;
    throw new Violation('let-go-rightly', `${stray()} is still held by others than its owners ${boundMs} ms later`);
  }

  private ownersOf(id: ShardId): readonly NodeNumber[] {
    const key: ShardKey = this.books.shards.get(id)!;
    return this.nodes[0]!.process!.core.owners(key);
  }
}
