/**
 * A whole cluster in one process under virtual time: the real NodeCore, clock, ReplicaHost and (`engine: real`) Engine of
 * every node, on disks that lose or tear what was not synced, behind a network that loses, repeats, delays, reorders and
 * cuts one way; nodes that crash, come back with an empty disk, join, or leave; clocks that are wrong or are set.
 *
 * Phases: the cluster forms; writes and faults; the faults stop and the members find each other; then what was promised is
 * timed against the published bound. The checks are in books.ts. Equal seeds give equal runs: `hash` covers every
 * message that was delivered and every line of the trace.
 */
import { crc32 } from 'node:zlib';
import type { OutboxEntry } from '../../repair/outbox.ts';
import type { PassRecord } from '../../repair/records.ts';
import { isDeleteShard } from '../../shards/delete-shard.ts';
import { type ShardId, type ShardKey, shardId } from '../../shards/shard-key.ts';
import { type NodeNumber, stampOf } from '../../shards/version.ts';
import { Books } from './books.ts';
import { Convergence } from './convergence.ts';
import { engineFor } from './engine-choice.ts';
import { Expiry, RETENTION_NS } from './expiry.ts';
import { explainReplicas } from './explain.ts';
import { FetchTraffic } from './fetch-traffic.ts';
import { Leftovers } from './leftovers-known.ts';
import { LevelledReads } from './levelled-reads.ts';
import { MailTraffic } from './mail-traffic.ts';
import { areMended, Mends } from './mends.ts';
import { Moves } from './moves.ts';
import type { Mutation } from './mutations.ts';
import { Network } from './network.ts';
import { type PassCosts, PassMeter } from './pass-costs.ts';
import { NOTHING_LEFT_OUT, type Reduction } from './reduction.ts';
import { type LargeCluster, largeScenario, reduced, type ScenarioName, scenarioOf } from './scenario.ts';
import { SettledBatches } from './settled.ts';
import type { EngineKind } from './sim-disk.ts';
import { type Rhythm, SimNode, type World } from './sim-node.ts';
import { Troubles } from './troubles.ts';
import { type Check, Violation } from './violation.ts';
import { Chance, VirtualTime } from './virtual-time.ts';
import { Writers } from './writers.ts';

export interface SimOptions {
  readonly seed: number;
  /** Without it, what the scenario and the mutation need (engine-choice.ts). */
  readonly engine?: EngineKind | undefined;
  readonly scenario?: ScenarioName;
  readonly mutation?: Mutation | undefined;
  /** Instead of a scenario; what its passes cost is measured when all is over. */
  readonly large?: LargeCluster | undefined;
  readonly reduction?: Reduction | undefined;
  readonly trace?: ((line: string) => void) | undefined;
}

export interface SimResult {
  readonly failure: string | null;
  /** Which check failed; null: none, or an assertion of the code itself. */
  readonly check: Check | null;
  readonly hash: string;
  readonly acknowledged: number;
  readonly proofs: number;
  readonly filled: number;
  readonly scans: number;
  readonly levelled: number;
  /** Bytes of batches that repair fetched, and of those that were missing (fetch-traffic.ts). */
  readonly fetched: number;
  readonly missing: number;
  /** Bytes of batches that were mailed, and of those that their receivers had (mail-traffic.ts). */
  readonly mailed: number;
  readonly mailedTwice: number;
  /** Copies of batches that the simulation destroyed, and acknowledged writes of which it destroyed all (copies.ts). */
  readonly destroyed: number;
  readonly lost: number;
  /** How many there were, those that were left out included: numbers for a reduction. */
  readonly faults: number;
  readonly writes: number;
  readonly writesMs: number;
  readonly settledMs: number;
  readonly convergedMs: number;
  readonly boundMs: number;
  /** Of a large cluster. */
  readonly idle: PassCosts | null;
  readonly counters: Record<string, number>;
}

const START_MS = 1_700_000_000_000;
/** Nodes of a large cluster that the others are told to join. */
const SEEDS = 3;
const FORMING_MS_MAX = 60_000;
/** From the end of the faults until all members are up, live for each other and have one view. */
const SETTLING_MS_MAX = 60_000;
/** Floors become durable, windows come to rest and are merged. */
const RESTING_MS = 8_000;

export function simulate(options: SimOptions): SimResult {
  const cluster = new Cluster(options);
  let failed: Pick<SimResult, 'failure' | 'check'> = { failure: null, check: null };
  try {
    cluster.run();
  } catch (error) {
    // An assertion of the code itself is a failure like one of the checkers.
    const { message, stack } = error as Error;
    const [what, check] = error instanceof Violation ? [message, error.check] : [stack, null];
    failed = { failure: `at ${cluster.time.now - START_MS} ms: ${what}`, check };
  } finally {
    for (const node of [...cluster.nodes, ...cluster.moves.gone]) node.disk.remove();
  }
  return cluster.result(failed);
}

class Cluster implements World {
  readonly time = new VirtualTime(START_MS);
  readonly nodes: SimNode[] = [];
  readonly chance: Chance;
  readonly engine: EngineKind;
  readonly mutation: Mutation | undefined;
  readonly listsOpen: number;
  readonly rhythm: Rhythm;
  readonly limits;
  readonly durability;
  private readonly scenario;
  private readonly reduction: Reduction;
  readonly settled = new SettledBatches();
  private readonly books: Books;
  private readonly expiry: Expiry;
  private readonly log: ((line: string) => void) | undefined;
  private readonly counters: Record<string, number> = {};
  private readonly troubles: Troubles;
  readonly moves: Moves;
  private hash = 0;
  private readonly network: Network;
  private readonly reads: LevelledReads;
  private readonly writers: Writers;
  private readonly traffic: FetchTraffic;
  private readonly mail = new MailTraffic(this.nodes);
  private readonly mends = new Mends();
  private readonly leftovers = new Leftovers();
  private lost = 0;
  private settledMs = -1;
  private convergedMs = -1;
  private boundMs = 0;
  private idle: PassCosts | null = null;
  private readonly passMeter: PassMeter;
  private readonly isLarge: boolean;

  constructor(options: SimOptions) {
    this.chance = new Chance(options.seed);
    this.engine = engineFor(options.scenario ?? 'mixed', options.mutation, options.engine);
    this.mutation = options.mutation;
    this.log = options.trace;
    this.reduction = options.reduction ?? NOTHING_LEFT_OUT;
    this.isLarge = options.large !== undefined;
    const { engine, chance } = this;
    const full =
      options.large === undefined
        ? scenarioOf(options.scenario ?? 'mixed', engine, chance)
        : largeScenario(options.large, engine, chance);
    this.scenario = reduced(full, this.reduction);
    this.rhythm = this.scenario.rhythm;
    this.limits = this.scenario.limits;
    this.durability = this.scenario.durability;
    this.listsOpen = chance.fork('lists').pick([0, 0, 1, 8]);
    this.expiry = new Expiry(this.scenario, this.time);
    this.books = new Books(this.nodes, this.durability, this.scenario.conflict, this.time, this.expiry);
    this.traffic = new FetchTraffic({ ...this.limits, ...this.rhythm });
    this.network = new Network(this, this.nodes, this.scenario, [this.traffic, this.mail, this.mends], (bytes) =>
      this.note(bytes),
    );
    this.passMeter = new PassMeter(this.network, this.time);
    const { nodes, scenario, reduction, network, books, mends } = this;
    this.reads = new LevelledReads({ world: this, nodes, scenario, network, books });
    this.writers = new Writers({ world: this, nodes, scenario, reduction, books, reads: this.reads });
    const moves = new Moves(this, nodes, books, scenario.leavers);
    this.moves = moves;
    this.troubles = new Troubles({ world: this, nodes, scenario, reduction, network, books, mends, moves });
  }

  run(): void {
    this.form();
    const endWrites = this.time.now + this.scenario.writesMs;
    this.troubles.begin();
    this.writers.begin(endWrites);
    for (let i = 0; i < this.scenario.joiners; i++) {
      this.time.after(this.chance.fork(`joiner ${i}`).between(500, this.scenario.joinMsMax), () => {
        if (!this.troubles.isOver) this.join();
      });
    }
    this.moves.begin(endWrites);
    this.time.runUntil(endWrites);
    this.troubles.end();
    this.settle();
    const { sick } = this.troubles;
    if (sick !== null) {
      this.convergeWithout(sick);
      this.troubles.heal();
    }
    this.converge();
    if (this.isLarge) this.idle = this.passMeter.measure(this.books.shards.size, this.limits.passIntervalMs);
  }

  result(failed: Pick<SimResult, 'failure' | 'check'>): SimResult {
    for (const node of this.nodes) this.count(node);
    const { books, settledMs, convergedMs, boundMs, idle } = this;
    const [proofs_overtaken, writes_discarded] = [books.overtaken, books.discarded.count];
    const counters = { ...this.counters, proofs_overtaken, writes_discarded, shards_expired: this.expiry.shards };
    return {
      ...failed,
      hash: this.hash.toString(16),
      acknowledged: books.acknowledged.size,
      proofs: books.proofs,
      filled: this.counters.replicas_filled ?? 0,
      scans: books.scans,
      levelled: this.reads.reached,
      fetched: this.traffic.fetched,
      missing: this.traffic.missing,
      mailed: this.mail.sent,
      mailedTwice: this.mail.sentTwice,
      destroyed: books.copies.copiesDestroyed,
      lost: this.lost,
      faults: this.troubles.count,
      writes: this.writers.count,
      writesMs: this.scenario.writesMs,
      settledMs,
      convergedMs,
      boundMs,
      idle,
      counters,
    };
  }

  joinAddresses(node: SimNode): string[] {
    const others = this.isLarge ? this.nodes.slice(0, SEEDS) : this.nodes;
    return others.filter((other) => other !== node).map(({ address }) => address);
  }

  send(from: SimNode, to: NodeNumber, lane: number, bytes: Uint8Array): void {
    this.network.send(from, to, lane, bytes);
  }

  call(from: SimNode, address: string, bytes: Uint8Array): void {
    this.network.call(from, address, bytes);
  }

  effect(node: SimNode, effect: Parameters<World['effect']>[1]): void {
    if (effect.kind === 'written') this.books.answered(effect.request, effect.outcome.ok);
    else if (effect.kind === 'levelled') this.reads.levelled(node, effect.result);
    else if (effect.kind === 'pass') this.passEnded(node, effect.record);
  }

  private passEnded(node: SimNode, record: PassRecord): void {
    if (record.outcome === 'damage' && this.scenario.flips === 0)
      throw new Violation(
        'no-false-damage',
        `a pass of ${record.shard} on ${node.name} reports damage: ${record.reason}`,
      );
    this.passMeter.passEnded(node, record);
    if (this.books.passEnded(node, record)) {
      const { shard, cutoff, order, root } = record;
      this.trace(`${node.name} publishes ${shard} through ${cutoff} on ${order.join()}: ${root!.batches} batches`);
    }
  }

  letsGo(node: SimNode, key: ShardKey): void {
    this.trace(`${node.name} lets ${shardId(key)} go`);
    this.books.letsGo(node, key);
  }

  entryGoes(node: SimNode, entry: OutboxEntry): void {
    this.books.copies.entryGoes(node, entry);
  }

  makes(node: SimNode, key: ShardKey): void {
    this.expiry.makes(node, key);
  }

  trace(text: string): void {
    const line = `${this.time.now - START_MS} ${text}`;
    this.hash = crc32(line, this.hash);
    this.log?.(line);
  }

  private note(bytes: Uint8Array): void {
    this.hash = crc32(bytes, (this.hash ^ this.time.now) >>> 0);
  }

  /** The first members find each other, and one of them makes the databases. */
  private form(): void {
    const { scenario } = this;
    for (let i = 0; i < scenario.nodes; i++) this.add();
    for (const node of this.nodes) node.start();
    const formed = () => this.nodes.every(({ process }) => process!.core.snapshot().live.length === scenario.nodes);
    if (!this.time.runUntil(START_MS + FORMING_MS_MAX, formed))
      throw new Violation('members-agree', 'the cluster does not form');
    const { core } = this.chance.fork('database').pick(this.nodes).process!;
    const durationNs = scenario.expiriesMs.length > 0 ? RETENTION_NS : 0n;
    core.definitions.createDatabase(
      'd',
      { replication: scenario.replication, durationNs },
      this.time.now,
      scenario.conflict,
    );
    const known = () => this.nodes.every(({ process }) => process!.core.snapshot().databases.length === 1);
    if (!this.time.runUntil(this.time.now + FORMING_MS_MAX, known))
      throw new Violation('members-agree', 'the database is not known');
    this.trace(`${scenario.nodes} members, ${scenario.replication} replicas, ${scenario.durability}`);
  }

  private add(): SimNode {
    const node = new SimNode(this, `n${this.nodes.length + this.moves.gone.length + 1}`);
    node.offsetMs = node.chance.between(-200, 200);
    this.nodes.push(node);
    return node;
  }

  private join(): void {
    const node = this.add();
    this.trace(`${node.name} is new`);
    node.start();
    if (this.scenario.lonelyJoiners) this.isolateWhenUp(node);
  }

  private isolateWhenUp(node: SimNode): void {
    this.time.after(20, () => {
      if (this.troubles.isOver) return;
      if (node.process?.core.state === 'up') this.network.isolate(node);
      else this.isolateWhenUp(node);
    });
  }

  /** From here on the bound counts: all live, one view, and nobody who is on the way out. */
  private settle(): void {
    const from = this.time.now;
    const settled = () => {
      for (const node of this.nodes)
        if (node.process === null || node.process.refused !== null) this.troubles.restart(node);
      this.moves.bury();
      const hashes = new Set(this.nodes.map(({ process }) => process!.core.metadataHash()));
      return (
        hashes.size === 1 &&
        this.nodes.every((node) => {
          const { core } = node.process!;
          const { live, members } = core.snapshot();
          const present = members.filter(({ state }) => state !== 'removed').length;
          const all = present === this.nodes.length && live.length === present;
          return core.state === 'up' && all && !members.some(({ state }) => state === 'leaving');
        }) &&
        (this.scenario.flips === 0 || areMended(this.nodes, from))
      );
    };
    const reached = settled() || this.time.runUntil(from + SETTLING_MS_MAX, settled);
    this.settledMs = this.time.now - from;
    this.trace(`settled after ${this.settledMs} ms`);
    if (reached) return;
    const lines = this.nodes.map(({ name, process }) => {
      const { state, problem } = process!.core;
      return `${name} ${state} ${problem} ${process!.core.metadataHash()} live ${process!.core.snapshot().live.join()}`;
    });
    lines.push(this.explain());
    throw new Violation(
      'members-agree',
      `members do not find each other within ${SETTLING_MS_MAX} ms:\n${lines.join('\n')}`,
    );
  }

  private ownersNow(): Map<ShardId, SimNode[]> {
    const { books, nodes } = this;
    const living = [...books.shards].filter(([id]) => !books.mayBeOver(id));
    return new Map(
      living.map(([id, key]) => {
        const numbers = nodes[0]!.process!.core.owners(key);
        return [id, numbers.map((number) => nodes.find((node) => node.number === number)!)];
      }),
    );
  }

  /** Runs until what was promised has come, of all but the sick one. Returns the bound. */
  private timed(owners: ReadonlyMap<ShardId, readonly SimNode[]>, sick: SimNode | null): number {
    const { books, scenario, nodes } = this;
    const fromMs = this.time.now;
    const convergence = new Convergence({
      world: this,
      nodes,
      owners,
      ringOf: (id) => this.moves.ringOf(id),
      isOfDeletes: (id) => isDeleteShard(books.shards.get(id)!),
      mayBeOver: (id) => books.mayBeOver(id),
      through: stampOf(books.newest),
      slowCopies: scenario.slowCopies,
      replication: Math.max(scenario.replication, scenario.ddl ? 3 : 1),
      sick,
    });
    try {
      this.explained(() => {
        while (!this.time.runUntil(convergence.limitMs + 1, () => convergence.isReached(this.time.now)));
      });
    } finally {
      this.convergedMs = convergence.slowest.tookMs;
      this.boundMs = convergence.slowest.boundMs;
      this.trace(`converged after ${this.time.now - fromMs} ms, ${this.convergedMs} ms of them counted`);
    }
    return convergence.boundMsMax;
  }

  /** What the others are promised while the disk of one is bad. */
  private convergeWithout(sick: SimNode): void {
    const fromMs = this.time.now;
    const owners = this.ownersNow();
    this.timed(owners, sick);
    for (const [id, of] of owners)
      this.explained(() => this.books.checkAcknowledged(id, of, sick, this.time.now - fromMs));
  }

  private converge(): void {
    const { books, scenario, nodes } = this;
    const owners = this.ownersNow();
    const fromMs = this.time.now;
    const boundMsMax = this.timed(owners, null);
    // Only what has come to rest is settled: what is left of it has to be the same.
    if (scenario.policyDeletes > 0) this.time.runUntil(this.time.now + RESTING_MS);
    for (const [id, of] of owners) if (!books.mayBeOver(id)) books.checkEnd(id, of, this.time.now - fromMs);
    const ids = [...owners.keys()];
    this.explained(() => this.moves.checkLetGo(ids, boundMsMax));
    books.discarded.check(this.time, boundMsMax);
    this.leftovers.check(nodes, books, ids, this.counters);
    this.lost = books.lostForGood;
    if (scenario.expiriesMs.length > 0) this.checkExpired(fromMs);
    this.mends.check(nodes, this.counters);
    this.traffic.check();
    this.mail.check();
    const hashes = nodes.map(({ process }) => process!.core.metadataHash());
    if (new Set(hashes).size > 1) throw new Violation('members-agree', `metadata differs at the end: ${hashes.join()}`);
  }

  private checkExpired(calmMs: number): void {
    const goneMs = this.expiry.goneMs(calmMs, this.limits, this.rhythm.heartbeatMs);
    this.time.runUntil(Math.max(this.time.now, goneMs));
    const what = this.expiry.left(this.nodes, this.books.shards);
    if (what !== null) throw new Violation('expires-together', `${what} after it has expired for all`);
  }

  private explained(check: () => void): void {
    try {
      check();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      throw new Violation(error.check, `${error.message}\n${this.explain()}`);
    }
  }

  private explain(): string {
    return explainReplicas(this.nodes, this.books.newest, START_MS);
  }

  /** Before it acts on what others say: what it gives away then is gone by right. */
  opened(node: SimNode): void {
    this.books.restarted(node);
  }

  ending(node: SimNode): void {
    this.count(node);
    this.leftovers.dies(node);
    this.books.copies.dies(node);
  }

  private count(node: SimNode): void {
    if (node.process === null) return;
    for (const [name, value] of Object.entries(node.process.host.counters()))
      this.counters[name] = (this.counters[name] ?? 0) + value;
  }
}
