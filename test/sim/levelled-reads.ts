/**
 * Queries with `consistency=quorum|all` in the simulation: a node asks the others which shards they hold, has a full
 * replica levelled, and what was acknowledged before it asked has to be in that replica then.
 *
 * After `all` every acknowledged write has to be there; after `quorum` those that were acknowledged by a quorum or by
 * all, as long as no owner has lost its disk or was replaced (a quorum of other owners need not meet the old one).
 */
import type { AbsentMember, LevelResult, ReadLevel } from '../../repair/levelling.ts';
import { type ShardId, type ShardKey, shardId, shardKeyFromJson } from '../../shards/shard-key.ts';
import type { NodeNumber, Version } from '../../shards/version.ts';
import type { Books } from './books.ts';
import { DELAY_MS_MAX, type Network } from './network.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode, World } from './sim-node.ts';
import { Violation } from './violation.ts';
import type { Chance } from './virtual-time.ts';

const TIMEOUT_MS = 1_500;

interface Read {
  readonly shard: ShardKey;
  readonly level: ReadLevel;
  readonly expected: ReadonlySet<Version>;
  readonly holders: NodeNumber[];
  readonly full: SimNode[];
  readonly absent: AbsentMember[];
}

export class LevelledReads {
  /** Those that reached their level. */
  reached = 0;
  refused = 0;
  private readonly quorumWritten = new Set<Version>();
  private readonly open = new Map<number, Read>();
  private nextRequest = 1;
  private readonly o: {
    readonly world: World;
    readonly nodes: readonly SimNode[];
    readonly network: Network;
    readonly books: Books;
    readonly scenario: Scenario;
  };

  constructor(options: LevelledReads['o']) {
    this.o = options;
  }

  wrote(version: Version, consistency: string): void {
    if (consistency === 'quorum' || consistency === 'all') this.quorumWritten.add(version);
  }

  mayBegin(chance: Chance): void {
    const { levelledShare } = this.o.scenario;
    if (levelledShare > 0 && chance.of(levelledShare)) this.begin(chance);
  }

  /** A query at some node. */
  private begin(chance: Chance): void {
    const { world, nodes, books } = this.o;
    const asker = chance.pick(nodes);
    const shards = [...books.shards].filter(([id]) => !books.isOver(id));
    const process = asker.process;
    if (process === null || process.core.state !== 'up' || shards.length === 0) return;
    const [id, shard] = chance.pick(shards);
    const level = chance.pick(['all', 'all', 'quorum'] as const);
    const acknowledged = [...books.acknowledged].filter((version) => books.written.get(version)!.shard === id);
    const expected = new Set(acknowledged.filter((version) => level === 'all' || this.quorumWritten.has(version)));
    const read: Read = { shard, level, expected, holders: [], full: [], absent: [] };
    const { viewHash, self, members, live } = process.core.snapshot();
    for (const { number, state } of members) {
      if (state === 'removed' || state === 'joining') continue;
      if (live.includes(number))
        world.time.after(chance.between(1, DELAY_MS_MAX), () => this.ask(read, asker, number, id, viewHash));
      else read.absent.push({ member: number, reason: 'not live' });
    }
    world.time.after(DELAY_MS_MAX + 1, () => {
      if (asker.process === process && self === asker.number) this.level(read, asker, viewHash, chance);
    });
  }

  levelled(node: SimNode, result: LevelResult): void {
    const read = this.open.get(result.request);
    this.open.delete(result.request);
    if (read === undefined) return;
    const { world, books } = this.o;
    world.trace(
      `${node.name} levelled ${result.shard} for ${read.level}: ${result.outcome} ${JSON.stringify(result.missing)}`,
    );
    if (result.outcome !== 'level') {
      this.refused++;
      return;
    }
    this.reached++;
    if (books.isOver(result.shard)) return;
    books.checkScan(node, result.shard);
    if (world.durability !== 'fsync' || (read.level === 'quorum' && !this.isQuorumSafe(read))) return;
    const stored = node.stored(result.shard);
    const missing = [...read.expected].find((version) => !stored.has(version) && !books.copies.isLost(version));
    if (missing !== undefined)
      throw new Violation(
        'levelled-read-complete',
        `a read of ${result.shard} on ${node.name}, levelled for ${read.level}, lacks ${missing}`,
      );
  }

  /** A member says what it holds, at the moment at which the question is there. */
  private ask(read: Read, asker: SimNode, number: NodeNumber, id: ShardId, viewHash: string): void {
    const member = this.o.nodes.find((node) => node.number === number);
    const reason = this.whyAbsent(asker, member, id, viewHash);
    if (reason !== null) read.absent.push({ member: number, reason });
    const held = member?.process?.host.heldShards().find((each) => each.id === id);
    if (held !== undefined) read.holders.push(number);
    if (reason === null && held?.state === 'full') read.full.push(member!);
  }

  /** No owner was lost or replaced, and there were as many all the time. */
  private isQuorumSafe({ shard }: Read): boolean {
    const { wipes, joiners, ddl } = this.o.scenario;
    return wipes === 0 && joiners === 0 && !(ddl && shard.database !== 'd');
  }

  private whyAbsent(asker: SimNode, member: SimNode | undefined, id: ShardId, viewHash: string): string | null {
    const { network } = this.o;
    if (member?.process == null || !network.reaches(asker, member) || !network.reaches(member, asker))
      return 'no answer';
    const { core, host } = member.process;
    if (core.snapshot().viewHash !== viewHash) return 'another view';
    return host.unplaced().some((key) => shardId(shardKeyFromJson(key)) === id) ? 'unplaced' : null;
  }

  private level(read: Read, asker: SimNode, viewHash: string, chance: Chance): void {
    const full = read.full.filter((node) => node.up);
    if (full.length === 0 || (read.level === 'all' && read.absent.length > 0)) {
      this.refused++;
      return;
    }
    const at = full.includes(asker) ? asker : chance.pick(full);
    const request = this.nextRequest++;
    this.open.set(request, read);
    const { shard, level, holders, absent } = read;
    const order = { request, shard, level, viewHash, holders, without: absent, timeoutMs: TIMEOUT_MS };
    at.process!.share();
    at.process!.host.level([order], at.wallMs);
  }
}
