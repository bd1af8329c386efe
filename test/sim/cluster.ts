/**
 * A whole cluster in one process under virtual time: the real NodeCore, clock, ReplicaHost and (`engine: real`) Engine of
 * every node, on disks that lose or tear what was not synced, behind a network that loses, repeats, delays, reorders and
 * cuts one way; nodes that crash, come back with an empty disk, or join; clocks that are wrong or are set.
 *
 * Phases: the cluster forms; writes and faults; the faults stop and the members find each other; then what was promised is
 * timed against the published bound. The checks are in books.ts. Equal seeds give equal runs: `hash` covers every
 * message that was delivered and every line of the trace.
 */
import { crc32 } from 'node:zlib';
import { MembershipError } from '../../repair/membership-error.ts';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { shardId } from '../../shards/shard-key.ts';
import { type NodeNumber, stampMs, stampOf } from '../../shards/version.ts';
import { Books, shardOf, Violation } from './books.ts';
import { Convergence } from './convergence.ts';
import type { Mutation } from './mutations.ts';
import { DELAY_MS_MAX, Network } from './network.ts';
import { type ScenarioName, scenarioOf } from './scenario.ts';
import { SettledBatches } from './settled.ts';
import type { EngineKind } from './sim-disk.ts';
import { HEARTBEAT_MS, SimNode, TICK_MS, type World } from './sim-node.ts';
import { Chance, VirtualTime } from './virtual-time.ts';
import { makeBatch } from './workload.ts';

export interface SimOptions {
  readonly seed: number;
  readonly engine?: EngineKind;
  readonly scenario?: ScenarioName;
  readonly mutation?: Mutation | undefined;
  readonly trace?: ((line: string) => void) | undefined;
}

export interface SimResult {
  readonly failure: string | null;
  readonly hash: string;
  readonly acknowledged: number;
  readonly proofs: number;
  readonly filled: number;
  readonly scans: number;
  readonly settledMs: number;
  readonly convergedMs: number;
  readonly boundMs: number;
  readonly counters: Record<string, number>;
}

const START_MS = 1_700_000_000_000;
const FORMING_MS_MAX = 60_000;
/** From the end of the faults until all members are up, live for each other and have one view. */
const SETTLING_MS_MAX = 60_000;
const CLOCK_STEP_MS_MAX = 2_500;
const WRITE_TIMEOUT_MS = 1_500;

export function simulate(options: SimOptions): SimResult {
  const cluster = new Cluster(options);
  let failure: string | null = null;
  try {
    cluster.run();
  } catch (error) {
    if (!(error instanceof Violation))
      throw new Error(`seed ${options.seed}: ${(error as Error).message}`, { cause: error });
    failure = `at ${cluster.time.now - START_MS} ms: ${error.message}`;
  } finally {
    for (const node of cluster.nodes) node.disk.remove();
  }
  return cluster.result(failure);
}

class Cluster implements World {
  readonly time = new VirtualTime(START_MS);
  readonly nodes: SimNode[] = [];
  readonly chance: Chance;
  readonly engine: EngineKind;
  readonly mutation: Mutation | undefined;
  readonly limits;
  readonly durability;
  private readonly scenario;
  readonly settled = new SettledBatches();
  private readonly books: Books;
  private readonly log: ((line: string) => void) | undefined;
  private readonly counters: Record<string, number> = {};
  private faults = false;
  private wiped = 0;
  private flipped = 0;
  private faultsEndedMs = 0;
  private nextRequest = 1;
  private hash = 0;
  private readonly network: Network;
  private settledMs = -1;
  private convergedMs = -1;
  private boundMs = 0;

  constructor(options: SimOptions) {
    this.chance = new Chance(options.seed);
    this.engine = options.engine ?? 'memory';
    this.mutation = options.mutation;
    this.log = options.trace;
    this.scenario = scenarioOf(options.scenario ?? 'mixed', this.engine, this.chance);
    this.limits = this.scenario.limits;
    this.durability = this.scenario.durability;
    this.books = new Books(this.nodes, this.durability);
    this.network = new Network(this, this.nodes, this.scenario, (bytes) => this.note(bytes));
  }

  run(): void {
    this.form();
    const endWrites = this.time.now + this.scenario.writesMs;
    this.faults = true;
    this.network.faults = true;
    this.startWriting(endWrites);
    this.time.after(this.chance.between(800, 2_000), () => this.trouble());
    if (this.scenario.deafness) this.time.after(500, () => this.network.deafen(true));
    for (let i = 0; i < this.scenario.joiners; i++) {
      this.time.after(this.chance.between(500, this.scenario.writesMs - 500), () => this.join());
    }
    this.time.runUntil(endWrites);
    this.faults = false;
    this.network.heal();
    this.settle();
    this.converge();
  }

  result(failure: string | null): SimResult {
    for (const node of this.nodes) this.count(node);
    const { books, counters, settledMs, convergedMs, boundMs } = this;
    return {
      failure,
      hash: this.hash.toString(16),
      acknowledged: books.acknowledged.size,
      proofs: books.proofs.length,
      filled: counters.replicas_filled ?? 0,
      scans: books.scans,
      settledMs,
      convergedMs,
      boundMs,
      counters,
    };
  }

  joinAddresses(node: SimNode): string[] {
    return this.nodes.filter((other) => other !== node).map(({ address }) => address);
  }

  send(from: SimNode, to: NodeNumber, lane: number, bytes: Uint8Array): void {
    this.network.send(from, to, lane, bytes);
  }

  call(from: SimNode, address: string, bytes: Uint8Array): void {
    this.network.call(from, address, bytes);
  }

  effect(node: SimNode, effect: Parameters<World['effect']>[1]): void {
    if (effect.kind === 'written') {
      this.books.answered(effect.request, effect.outcome.ok);
    } else if (this.books.passEnded(node, effect.record)) {
      const { shard, cutoff, order, root } = effect.record;
      this.trace(`${node.name} publishes ${shard} through ${cutoff} on ${order.join()}: ${root!.batches} batches`);
    }
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
    const { chance, scenario } = this;
    for (let i = 0; i < scenario.nodes; i++) this.add();
    for (const node of this.nodes) node.start();
    const formed = () => this.nodes.every(({ process }) => process!.core.snapshot().live.length === scenario.nodes);
    if (!this.time.runUntil(START_MS + FORMING_MS_MAX, formed)) throw new Violation('the cluster does not form');
    const { core } = chance.pick(this.nodes).process!;
    core.createDatabase('d', { replication: scenario.replication }, this.time.now);
    const known = () => this.nodes.every(({ process }) => process!.core.snapshot().databases.length === 1);
    if (!this.time.runUntil(this.time.now + FORMING_MS_MAX, known)) throw new Violation('the database is not known');
    this.trace(`${scenario.nodes} members, ${scenario.replication} replicas, ${scenario.durability}`);
  }

  private add(): SimNode {
    const node = new SimNode(this, `n${this.nodes.length + 1}`);
    node.offsetMs = this.chance.between(-200, 200);
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
      if (!this.faults) return;
      if (node.process?.core.state === 'up') this.network.isolate(node);
      else this.isolateWhenUp(node);
    });
  }

  private startWriting(untilMs: number): void {
    const { chance, scenario } = this;
    const writer = () => {
      const node = chance.pick(this.nodes);
      if (node.up) this.write(node);
      if (chance.of(0.05)) this.look();
      if (this.time.now < untilMs) this.time.after(chance.between(1, 2 * scenario.writeEveryMs), writer);
    };
    this.time.after(300, writer);
  }

  private write(node: SimNode): void {
    const { chance, books } = this;
    const { core, host } = node.process!;
    const database = chance.pick(core.snapshot().databases);
    if (database === undefined || core.state !== 'up') return;
    const key = shardOf(database.name, database.generation, database.name === 'd' ? chance.between(0, 1) : 0);
    if (core.owners(key).length === 0) return;
    node.process!.share();
    const version = unlessExpected(() => core.mint(node.wallMs));
    if (version === null) return;
    const { batch, keys } = makeBatch(chance, key, version, core.identity.seed!);
    const request = this.nextRequest++;
    books.write(request, node, key, { batch, keys, shard: shardId(key) });
    this.trace(`${node.name} writes ${version} to ${key.database} ${key.databaseGeneration} ${key.number}`);
    const submitted = {
      request,
      shard: key,
      version,
      frame: encodeBatch(batch),
      keys: chance.of(0.5) ? [] : keys,
      allKeys: () => keys,
      consistency: chance.pick(['any', 'one', 'one', 'quorum', 'all'] as const),
      durability: this.durability,
      timeoutMs: WRITE_TIMEOUT_MS,
    };
    host.submit([submitted], node.wallMs);
  }

  /** A query somewhere. */
  private look(): void {
    const node = this.chance.pick(this.nodes);
    const held = [...(node.process?.open.storage.shards.keys() ?? [])];
    if (held.length > 0) this.books.checkScan(node, this.chance.pick(held));
  }

  private trouble(): void {
    if (!this.faults) return;
    const { chance, scenario } = this;
    const node = chance.pick(this.nodes);
    if (scenario.ddl && chance.of(0.3)) this.define(node);
    if (scenario.clockSteps && chance.of(0.2)) this.stepClock(node);
    if (scenario.flips > 0) this.damage();
    const wiped = this.wipe();
    if (!wiped && (node.process === null || node.process.refused !== null)) this.restart(node);
    else if (wiped) this.trace('no other trouble now');
    else if (chance.of(scenario.crashShare)) this.crash(node);
    else if (chance.of(0.4)) this.network.cut();
    else if (chance.of(0.5)) this.network.reconnect();
    this.time.after(chance.between(200, scenario.troubleMs), () => this.trouble());
  }

  /**
   * A disk is lost, and the node comes back under its name with a new number. What only that disk had is gone, and
   * nothing is promised for it; so it happens to nodes that alone have nothing.
   */
  private wipe(): boolean {
    if (this.wiped >= this.scenario.wipes || !this.chance.of(this.scenario.wipeShare)) return false;
    const spare = this.nodes.filter((node) => this.books.isSpare(node));
    if (spare.length === 0 || this.nodes.filter(({ up }) => up).length < 2) return false;
    const node = this.chance.pick(spare);
    this.crash(node);
    this.wiped++;
    node.wipe();
    this.network.reconnect();
    this.trace(`${node.name} comes back with an empty disk`);
    node.start();
    return true;
  }

  /**
   * Bits fall over on one node's disk only, and when the others have all that it has: then nothing may be lost. Scrubs look
   * for them now and then.
   */
  private damage(): void {
    const { chance } = this;
    if (chance.of(0.3)) for (const { process } of this.nodes) process?.host.startScrub(this.time.now);
    const [node] = this.nodes;
    if (this.flipped >= this.scenario.flips || !this.books.isSpare(node!)) return;
    const shard = node!.disk.flipBit(chance);
    if (shard === null) return;
    this.flipped++;
    this.trace(`a bit of ${shard} falls over on ${node!.name}`);
  }

  /** Whether everything has been read again since the faults, and is mended. */
  private isMended(): boolean {
    if (this.scenario.flips === 0) return true;
    return this.nodes.every(({ process }) => {
      const report = process!.host.scrub();
      const isRead = report !== null && report.startedMs >= this.faultsEndedMs && report.finishedMs !== null;
      if (!isRead) process!.host.startScrub(this.time.now);
      return isRead && process!.host.heldShards().every(({ state }) => state !== 'damaged');
    });
  }

  private crash(node: SimNode): void {
    if (!node.up) return;
    this.trace(`${node.name} crashes`);
    this.count(node);
    node.crash();
  }

  private restart(node: SimNode): void {
    this.crash(node);
    this.trace(`${node.name} restarts`);
    if (this.faults && this.chance.of(this.scenario.clockShare))
      node.offsetMs = this.chance.between(-CLOCK_STEP_MS_MAX, 100);
    node.start();
    this.books.restarted(node);
  }

  private stepClock(node: SimNode): void {
    node.offsetMs = this.chance.between(-CLOCK_STEP_MS_MAX, CLOCK_STEP_MS_MAX);
    this.trace(`the clock of ${node.name} is set to ${node.offsetMs}`);
  }

  /** CREATE and DROP, also on both sides of a cut. */
  private define(node: SimNode): void {
    const { process } = node;
    if (process === null || process.core.state !== 'up') return;
    const { core } = process;
    const name = this.chance.pick(['e', 'f']);
    const found = core.snapshot().databases.find((database) => database.name === name);
    const replication = this.chance.pick([1, 2, 3]);
    unlessExpected(() => {
      if (found === undefined) core.createDatabase(name, { replication }, node.wallMs);
      else if (this.chance.of(0.3)) core.alterRetentionPolicy(name, 'autogen', { replication }, node.wallMs);
      else core.dropDatabase(name, node.wallMs);
      const after = core.snapshot().databases.some((database) => database.name === name);
      if (found !== undefined && !after) this.books.drop(name, found.generation);
      this.trace(`${node.name} defines ${name}: ${after ? `replication ${replication}` : 'dropped'}`);
      return null;
    });
  }

  /** From here on the bound counts: all live, and one view. */
  private settle(): void {
    const from = this.time.now;
    this.faultsEndedMs = from;
    const settled = () => {
      for (const node of this.nodes) if (node.process === null || node.process.refused !== null) this.restart(node);
      const hashes = new Set(this.nodes.map(({ process }) => process!.core.metadataHash()));
      return (
        hashes.size === 1 &&
        this.nodes.every((node) => {
          const { core } = node.process!;
          const { live, members } = core.snapshot();
          const present = members.filter(({ state }) => state !== 'removed').length;
          const all = present === this.nodes.length && live.length === present;
          return core.state === 'up' && all;
        }) &&
        this.isMended()
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
    if (this.scenario.flips > 0) lines.push(this.explain());
    throw new Violation(`members do not find each other within ${SETTLING_MS_MAX} ms:\n${lines.join('\n')}`);
  }

  private converge(): void {
    const { books, limits, scenario, nodes } = this;
    const living = [...books.shards].filter(([id]) => !books.isDropped(id));
    const owners = new Map(
      living.map(([id, key]) => {
        const numbers = nodes[0]!.process!.core.owners(key);
        return [id, numbers.map((number) => nodes.find((node) => node.number === number)!)];
      }),
    );
    const fromMs = this.time.now;
    const convergence = new Convergence({
      fromMs,
      nodes,
      owners,
      through: stampOf(books.newest),
      slowCopies: scenario.slowCopies,
      parameters: {
        passIntervalMs: limits.passIntervalMs,
        replicas: Math.max(scenario.replication, scenario.ddl ? 3 : 1),
        hopMs: 2 * TICK_MS + 8 * (2 * DELAY_MS_MAX) + 16,
        heartbeatMs: HEARTBEAT_MS,
        messageDelayMs: DELAY_MS_MAX + TICK_MS,
        openMsMax: limits.mailTimeoutMs + limits.backoffMsMax + WRITE_TIMEOUT_MS,
        hopTimeoutMs: limits.hopTimeoutMs,
        deaths: 1,
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
          retryMs: limits.requestTimeoutMs + TICK_MS,
        },
      },
    });
    this.boundMs = convergence.bound.boundMs;
    try {
      while (!this.time.runUntil(convergence.limitMs + 1, () => convergence.isReached(this.time.now)));
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      throw new Violation(`${error.message}\n${this.explain()}`);
    } finally {
      this.convergedMs = convergence.tookMs;
      this.trace(`converged after ${this.time.now - fromMs} ms, ${this.convergedMs} ms of them counted`);
    }
    for (const [id] of living) books.checkEnd(id, owners.get(id)!, this.time.now - fromMs);
    const hashes = nodes.map(({ process }) => process!.core.metadataHash());
    if (new Set(hashes).size > 1) throw new Violation(`metadata differs at the end: ${hashes.join()}`);
  }

  private explain(): string {
    const lines = this.nodes.flatMap(({ name, process }) =>
      process!.host.describeShards().map((d) => {
        const why = `${d.state} through ${d.converged?.through ?? 'nothing'} held back by ${d.heldBackBy}`;
        const last = `${d.lastPass?.kind} ${d.lastPass?.outcome} ${d.lastPass?.reason}`;
        return `${name} ${d.database}/${d.number} ${why}, last pass ${last}, outbox ${d.outboxEntries}`;
      }),
    );
    const { newest } = this.books;
    return [`newest ${newest} (${stampMs(newest) - START_MS} ms)`, ...lines].join('\n');
  }

  private count(node: SimNode): void {
    if (node.process === null) return;
    for (const [name, value] of Object.entries(node.process.host.counters()))
      this.counters[name] = (this.counters[name] ?? 0) + value;
  }
}

/** null when the node may not do that now. */
function unlessExpected<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof MembershipError) return null;
    throw error;
  }
}
