/**
 * What goes wrong in a simulation: crashes, cuts, lost disks, full disks, clocks that are set, statements that create and
 * drop databases. One fault after the other, each with a number and its own stream of chance (reduction.ts).
 */
import { UNLIMITED } from '../../repair/budget.ts';
import { MembershipError } from '../../repair/membership-error.ts';
import type { Books } from './books.ts';
import type { Mends } from './mends.ts';
import type { Moves } from './moves.ts';
import type { Network } from './network.ts';
import type { Reduction } from './reduction.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode, World } from './sim-node.ts';
import type { Chance } from './virtual-time.ts';

/** What still fits onto a disk that is called full: a few batches, the last of them in part. */
const ROOM_LEFT_MAX = 2_000;
const FULL_MS_MAX = 3_000;
const UNREAD_MS_MAX = 2_000;
/** A disk that stays bad has been so for that long when the writes end. */
const SICK_MS = 2_500;
/** Of the bits that fall over: in the log or the outbox. */
const LOG_SHARE = 0.3;
/** Of faults. */
const LOST_FILE_SHARE = 0.15;

export class Troubles {
  /** How many there were, those that were left out included. */
  count = 0;
  /** The member whose disk is bad until `heal`. */
  sick: SimNode | null = null;
  private on = false;
  private wiped = 0;
  private flipped = 0;
  private filesLost = 0;
  private readonly world: World;
  private readonly nodes: readonly SimNode[];
  private readonly scenario: Scenario;
  private readonly reduction: Reduction;
  private readonly network: Network;
  private readonly books: Books;
  private readonly mends: Mends;
  private readonly moves: Moves;

  constructor(o: {
    world: World;
    nodes: readonly SimNode[];
    scenario: Scenario;
    reduction: Reduction;
    network: Network;
    books: Books;
    mends: Mends;
    moves: Moves;
  }) {
    this.world = o.world;
    this.nodes = o.nodes;
    this.scenario = o.scenario;
    this.reduction = o.reduction;
    this.network = o.network;
    this.books = o.books;
    this.mends = o.mends;
    this.moves = o.moves;
  }

  get isOver(): boolean {
    return !this.on;
  }

  begin(): void {
    const { world, network, scenario } = this;
    this.on = true;
    network.faults = true;
    world.time.after(world.chance.fork('first fault').between(800, 2_000), () => this.next());
    const throttling = world.chance.fork('throttling');
    if (throttling.of(scenario.throttleShare)) world.time.after(700, () => this.throttle(throttling));
    if (scenario.sickness !== null)
      world.time.after(scenario.writesMs - SICK_MS, () => this.sicken(world.chance.fork('sickness')));
    if (scenario.deafness) world.time.after(500, () => network.deafen(true));
  }

  end(): void {
    this.on = false;
    this.network.heal();
    for (const { process } of this.nodes) process?.host.setRepairRates(UNLIMITED);
    for (const node of this.nodes) if (node !== this.sick) node.disk.leaveRoom(Number.POSITIVE_INFINITY);
    for (const { disk } of this.nodes) disk.lists.failing = false;
  }

  /** The last disk that is bad is well again. */
  heal(): void {
    this.world.trace(`the disk of ${this.sick!.name} is well again`);
    this.sick!.disk.leaveRoom(Number.POSITIVE_INFINITY);
    this.sick!.disk.answer();
    this.sick = null;
  }

  private sicken(chance: Chance): void {
    const node = chance.pick(this.nodes);
    this.sick = node;
    this.world.trace(`the disk of ${node.name} is ${this.scenario.sickness}`);
    if (this.scenario.sickness === 'hung') node.disk.hang();
    else node.disk.leaveRoom(chance.between(0, ROOM_LEFT_MAX));
  }

  restart(node: SimNode, chance = node.chance): void {
    this.crash(node);
    this.world.trace(`${node.name} restarts`);
    if (this.on && chance.of(this.scenario.clockShare))
      node.offsetMs = chance.between(-this.scenario.clockStepMsMax, 100);
    node.start();
  }

  /** An operator who changes what repair may take, and pauses it. */
  private throttle(chance: Chance): void {
    if (!this.on) return;
    const node = chance.pick(this.nodes);
    const rates = { bytesPerSecond: chance.pick([null, 2_000, 20_000]), cpuShare: null, paused: chance.of(0.3) };
    node.process?.host.setRepairRates(rates);
    this.world.trace(`${node.name} repairs ${JSON.stringify(rates)}`);
    this.world.time.after(chance.between(200, 1_500), () => this.throttle(chance));
  }

  private next(): void {
    if (!this.on) return;
    const number = this.count++;
    const chance = this.world.chance.fork(`fault ${number}`);
    this.world.time.after(chance.between(200, this.scenario.troubleMs), () => this.next());
    if (!this.reduction.withoutFaults.has(number)) this.fault(chance);
  }

  private fault(chance: Chance): void {
    const { scenario, network } = this;
    const node = chance.pick(this.nodes);
    if (scenario.ddl && chance.of(0.3)) this.define(node, chance);
    if (scenario.clockSteps && chance.of(0.2)) this.stepClock(node, chance);
    if (chance.of(scenario.fullShare)) this.fill(chance.pick(this.nodes), chance);
    if (scenario.flips > 0) this.damage(chance);
    if (scenario.lostFiles > 0 && this.loseFile(chance.fork('file'))) return;
    if (scenario.unreadShare > 0) this.hideLists(chance.fork('lists'));
    if (scenario.losses && this.moves.abandoned < scenario.givenUp && chance.of(0.15)) {
      this.moves.abandon(chance);
      return;
    }
    const wiped = this.wipe(chance);
    if (!wiped && (node.process === null || node.process.refused !== null)) this.restart(node, chance);
    else if (wiped) this.world.trace('no other trouble now');
    else if (chance.of(scenario.crashShare)) this.crash(node);
    else if (chance.of(0.4)) network.cut(chance);
    else if (chance.of(0.5)) network.reconnect();
  }

  /** Log and outbox find no room for a while. */
  private fill(node: SimNode, chance: Chance): void {
    if (node === this.sick) return;
    const { disk } = node;
    this.world.trace(`the disk of ${node.name} is full`);
    disk.leaveRoom(chance.between(0, ROOM_LEFT_MAX));
    this.world.time.after(chance.between(200, FULL_MS_MAX), () => {
      if (!this.on || node === this.sick) return;
      this.world.trace(`the disk of ${node.name} has room again`);
      disk.leaveRoom(Number.POSITIVE_INFINITY);
    });
  }

  private hideLists(chance: Chance): void {
    if (!chance.of(this.scenario.unreadShare)) return;
    const { disk, name } = chance.pick(this.nodes);
    this.world.trace(`the disk of ${name} gives no identity list`);
    disk.lists.failing = true;
    this.world.time.after(chance.between(50, UNREAD_MS_MAX), () => {
      this.world.trace(`the disk of ${name} gives identity lists again`);
      disk.lists.failing = false;
    });
  }

  /**
   * A disk is lost, and the node comes back under its name with a new number. What only that disk had is lost; where the
   * scenario has no losses it happens to nodes that alone have nothing.
   */
  private wipe(chance: Chance): boolean {
    if (this.wiped >= this.scenario.wipes || !chance.of(this.scenario.wipeShare)) return false;
    const isSpare = (node: SimNode) => (this.scenario.losses ? this.moves.mayLose(node) : this.books.isSpare(node));
    const spare = this.nodes.filter(isSpare);
    if (spare.length === 0 || this.nodes.filter(({ up }) => up).length < 2) return false;
    const node = chance.pick(spare);
    this.crash(node);
    this.wiped++;
    this.books.copies.diskLost(node, 'wiped');
    node.wipe();
    this.network.reconnect();
    this.world.trace(`${node.name} comes back with an empty disk`);
    node.start();
    return true;
  }

  /**
   * Bits fall over on one node's disk only, and when the others have all that it has: then nothing may be lost. Scrubs look
   * for them now and then.
   */
  private damage(chance: Chance): void {
    if (chance.of(0.3)) for (const { process, wallMs } of this.nodes) process?.host.startScrub(wallMs);
    const [node] = this.nodes;
    if (this.flipped >= this.scenario.flips || !this.books.isSpare(node!)) return;
    if (chance.of(LOG_SHARE)) {
      const place = node!.disk.flipLogBit(chance);
      if (place === null) return;
      this.flipped++;
      if (node!.up && place.path.startsWith(`${node!.disk.outboxDirectory}/`))
        this.books.copies.outboxDamaged(node!, place.path, place.offset);
      this.world.trace(`a bit of ${place.path} falls over on ${node!.name}`);
      if (chance.of(0.5)) this.crash(node!);
      return;
    }
    const found = node!.disk.flipBit(chance);
    if (found === null) return;
    this.flipped++;
    this.mends.flipped(node!, found);
    this.world.trace(`a bit of ${found.shard} falls over on ${node!.name}`);
  }

  /** A node is down, and a file of a shard will be set aside when it comes back. Only where nothing is lost by it, unless the scenario loses. */
  private loseFile(chance: Chance): boolean {
    const { scenario, world, books } = this;
    if (this.filesLost >= scenario.lostFiles || !chance.of(LOST_FILE_SHARE)) return false;
    const node = scenario.losses ? chance.pick(this.nodes) : this.nodes[0]!;
    if (!node.up || !(scenario.losses || books.isSpare(node))) return false;
    this.crash(node);
    const shard = node.disk.spoilFile(chance);
    if (shard === null) return true;
    this.filesLost++;
    world.trace(`the file of ${shard} is lost on ${node.name}`);
    return true;
  }

  private crash(node: SimNode): void {
    if (!node.up) return;
    this.world.trace(`${node.name} crashes`);
    this.world.ending(node);
    node.crash();
  }

  private stepClock(node: SimNode, chance: Chance): void {
    const { clockStepMsMax } = this.scenario;
    node.offsetMs = chance.between(-clockStepMsMax, clockStepMsMax);
    this.world.trace(`the clock of ${node.name} is set to ${node.offsetMs}`);
  }

  /** CREATE and DROP, also on both sides of a cut. */
  private define(node: SimNode, chance: Chance): void {
    const { process } = node;
    if (process === null || process.core.state !== 'up') return;
    const { core } = process;
    const name = chance.pick(['e', 'f']);
    const found = core.snapshot().databases.find((database) => database.name === name);
    const replication = chance.pick([1, 2, 3]);
    unlessExpected(() => {
      if (found === undefined) core.definitions.createDatabase(name, { replication }, node.wallMs);
      else if (chance.of(0.3)) core.definitions.alterRetentionPolicy(name, 'autogen', { replication }, node.wallMs);
      else core.definitions.dropDatabase(name, node.wallMs);
      const after = core.snapshot().databases.some((database) => database.name === name);
      if (found !== undefined && !after) this.books.drop(name, found.generation);
      this.world.trace(`${node.name} defines ${name}: ${after ? `replication ${replication}` : 'dropped'}`);
      return null;
    });
  }
}

/** null when the node may not do that now. */
export function unlessExpected<T>(action: () => T): T | null {
  try {
    return action();
  } catch (error) {
    if (error instanceof MembershipError) return null;
    throw error;
  }
}
