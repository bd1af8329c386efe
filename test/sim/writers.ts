/** The clients of a simulation: writes and deletes at random members, and queries now and then, each with a stream of chance of its own. */
import { encodeBatch } from '../../shards/batch-codec.ts';
import { deleteShardOf } from '../../shards/delete-shard.ts';
import { shardId } from '../../shards/shard-key.ts';
import type { Version } from '../../shards/version.ts';
import type { Books } from './books.ts';
import { DeletesKnown } from './deletes-known.ts';
import type { LevelledReads } from './levelled-reads.ts';
import type { Reduction } from './reduction.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode, World } from './sim-node.ts';
import { unlessExpected } from './troubles.ts';
import type { Chance } from './virtual-time.ts';
import { makeBatch, makePolicyDelete } from './workload.ts';

const WRITE_TIMEOUT_MS = 1_500;

const LOOK_SHARE = 0.05;
/** Writes before the first delete of a policy where they begin late: members are away and come back meanwhile. */
const LATE_DELETES_FROM = 120;

export class Writers {
  /** How many writes there were, those that were left out included. */
  count = 0;
  private nextRequest = 1;
  private readonly deletesFrom: number;
  private readonly deletesKnown: DeletesKnown;
  private readonly o: {
    readonly world: World;
    readonly nodes: readonly SimNode[];
    readonly scenario: Scenario;
    readonly reduction: Reduction;
    readonly books: Books;
    readonly reads: LevelledReads;
  };

  constructor(options: Writers['o']) {
    this.o = options;
    const { world, scenario } = options;
    const isLate = world.chance.fork('deletes begin late').of(0.5);
    this.deletesFrom = scenario.policyDeletes === 0 ? Number.POSITIVE_INFINITY : isLate ? LATE_DELETES_FROM : 0;
    this.deletesKnown = new DeletesKnown(options.nodes, options.books, options.world.time);
  }

  begin(untilMs: number): void {
    const { world, nodes, scenario, reduction, reads } = this.o;
    const writer = () => {
      const number = this.count++;
      const chance = world.chance.fork(`write ${number}`);
      const node = chance.pick(nodes);
      const isLeftOut = reduction.withoutWrites.has(number);
      const shard = number < scenario.shards ? number : chance.between(0, scenario.shards - 1);
      if (node.up && !isLeftOut) this.write(node, shard, chance);
      this.deletesKnown.look();
      if (chance.of(LOOK_SHARE) && !isLeftOut) this.look(chance);
      if (!isLeftOut) reads.mayBegin(chance);
      if (world.time.now < untilMs) world.time.after(chance.between(1, 2 * scenario.writeEveryMs), writer);
    };
    world.time.after(300, writer);
  }

  private write(node: SimNode, shard: number, chance: Chance): void {
    const { world, scenario, books, reads } = this.o;
    const { core, host } = node.process!;
    const database = chance.pick(core.snapshot().databases);
    if (database === undefined || core.state !== 'up') return;
    const key = books.expiry.keyOf(database.name, database.generation, database.name === 'd' ? shard : 0);
    // Its points are beyond retention.
    if (books.expiry.isOverFor(node, key)) return;
    if (core.owners(key).length === 0) return;
    const isDelete = this.count > this.deletesFrom && chance.of(scenario.policyDeletes);
    if (isDelete && !noteDeletes(node)) return;
    node.process!.share();
    const version: Version | null = unlessExpected(() => core.mint(node.wallMs));
    if (version === null) return;
    const target = isDelete ? deleteShardOf(key) : key;
    const { batch, keys } = isDelete
      ? { batch: makePolicyDelete(chance, target, key.startNs, version), keys: [] }
      : makeBatch(chance, key, version, core.identity.seed!);
    const request = this.nextRequest++;
    books.write(request, node, target, { batch, keys, shard: shardId(target) });
    const kind = isDelete ? 'deletes' : 'writes';
    world.trace(`${node.name} ${kind} ${version} to ${key.database} ${key.databaseGeneration} ${key.number}`);
    const submitted = {
      request,
      shard: target,
      version,
      frame: encodeBatch(batch),
      keys: chance.of(0.5) ? [] : keys,
      allKeys: () => keys,
      consistency: chance.pick(['any', 'one', 'one', 'quorum', 'all'] as const),
      durability: scenario.durability,
      timeoutMs: WRITE_TIMEOUT_MS,
    };
    reads.wrote(version, submitted.consistency);
    host.submit([submitted], node.wallMs);
  }

  /** A query somewhere, and what else can be seen from outside. */
  private look(chance: Chance): void {
    const { nodes, books, scenario } = this.o;
    this.deletesKnown.look();
    const node = chance.pick(nodes);
    const held = [...(node.process?.open.storage.shards.keys() ?? [])];
    if (held.length === 0) return;
    const id = chance.pick(held);
    books.checkScan(node, id);
    books.checkLive(id);
    books.checkOutbox(node, scenario.limits.outboxBytesMax);
  }
}

function noteDeletes(node: SimNode): boolean {
  const { core } = node.process!;
  return (
    unlessExpected(() => {
      core.definitions.noteDeletes('d', 'autogen', node.wallMs);
      return true;
    }) ?? false
  );
}
