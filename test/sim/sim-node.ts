/**
 * One simulated node: the real NodeCore, HybridClock, ReplicaHost and storage, put together as server/ does it: cluster
 * changes reach the worker a little later but before a write or a heartbeat that follows them, the closing stamp is drawn
 * before the worker is asked what is open, and every packet lifts the clock of its receiver before it is used.
 */
import { HybridClock } from '../../repair/clock.ts';
import type { ClusterSnapshot } from '../../repair/cluster.ts';
import { DEFAULT_MEMBERSHIP_LIMITS, type MembershipLimits } from '../../repair/membership-limits.ts';
import { NodeCore, type NodeEffect } from '../../repair/node-core.ts';
import type { Outbox, OutboxEntry } from '../../repair/outbox.ts';
import { OwnerTable } from '../../repair/owners.ts';
import { type HostEffect, ReplicaHost } from '../../repair/replica-host.ts';
import type { ReplicaLimits } from '../../repair/replica-limits.ts';
import type { ShardId, ShardKey } from '../../shards/shard-key.ts';
import { type NodeNumber, STAMP_ZERO, type Stamp, type Version } from '../../shards/version.ts';
import {
  type Mutation,
  mutatedHeld,
  mutatedLedger,
  mutatedMessage,
  mutatedOpen,
  mutatedReceive,
  mutatedSnapshot,
  mutateHost,
  mutateSync,
} from './mutations.ts';
import type { SettledBatches } from './settled.ts';
import { type EngineKind, type OpenStorage, SimDisk } from './sim-disk.ts';
import type { Chance, VirtualTime } from './virtual-time.ts';

const HEARTBEAT_MS = 400;
/** As in server/peers-packet.ts: membership and metadata; others are shard numbers. */
export const LANE_NODE = 255;
/** Of ticks. */
const STEP_EVERY = 3;

const MEMBERSHIP: MembershipLimits = {
  ...DEFAULT_MEMBERSHIP_LIMITS,
  heartbeatIntervalMs: HEARTBEAT_MS,
  liveIntervals: 5,
  clockReserveMs: 500,
  joinBackoffMinMs: 100,
  joinBackoffMaxMs: 800,
};

/** How often a node looks at its clock, and how often it speaks. */
export interface Rhythm {
  readonly tickMs: number;
  readonly heartbeatMs: number;
}

export function membershipOf({ heartbeatMs }: Rhythm): MembershipLimits {
  return { ...MEMBERSHIP, heartbeatIntervalMs: heartbeatMs };
}

export const RHYTHM: Rhythm = { tickMs: 40, heartbeatMs: HEARTBEAT_MS };

/** What nodes share and what they tell the simulation. */
export interface World {
  readonly rhythm: Rhythm;
  readonly time: VirtualTime;
  readonly chance: Chance;
  readonly engine: EngineKind;
  readonly limits: ReplicaLimits;
  readonly mutation: Mutation | undefined;
  /** Identity lists of a ledger that stay open when they have been saved. */
  readonly listsOpen: number;
  readonly durability: 'fsync' | 'interval';
  readonly settled: SettledBatches;
  /** Addresses that a fresh node is told to join. */
  joinAddresses(node: SimNode): string[];
  send(from: SimNode, to: NodeNumber, lane: number, bytes: Uint8Array): void;
  call(from: SimNode, address: string, bytes: Uint8Array): void;
  effect(node: SimNode, effect: Exclude<HostEffect, { kind: 'send' | 'held-changed' }>): void;
  /** The node removes its replica. */
  letsGo(node: SimNode, key: ShardKey): void;
  /** Its outbox forgets an entry. */
  entryGoes(node: SimNode, entry: OutboxEntry): void;
  /** It makes an empty one. */
  makes(node: SimNode, key: ShardKey): void;
  trace(text: string): void;
  /** Its process has read what is on the disk, and has not heard of the cluster yet. */
  opened(node: SimNode): void;
  /** The node's process is about to die. */
  ending(node: SimNode): void;
}

export class SimNode {
  readonly name: string;
  readonly address: string;
  disk: SimDisk;
  offsetMs = 0;
  starts = 0;
  /** The running process; null while it is down. */
  process: Process | null = null;
  readonly world: World;
  readonly chance: Chance;

  constructor(world: World, name: string) {
    this.world = world;
    this.name = name;
    this.chance = world.chance.fork(name);
    this.address = `http://${name}:8086`;
    this.disk = this.freshDisk();
  }

  get up(): boolean {
    return this.process !== null;
  }

  get number(): NodeNumber {
    return this.disk.identity.number;
  }

  get wallMs(): number {
    return this.world.time.now + this.offsetMs;
  }

  start(): void {
    this.process = new Process(this);
    this.world.opened(this);
    this.process.start();
  }

  crash(): void {
    this.process?.kill();
    this.process = null;
    this.disk.crash(this.chance);
  }

  wipe(): void {
    this.disk.remove();
    this.disk = this.freshDisk();
  }

  /** Batches, with the content of those that the rows still tell apart; empty while the node is down. */
  stored(id: ShardId): Map<Version, bigint | null> {
    return this.process?.open.contents(id) ?? new Map();
  }

  private freshDisk(): SimDisk {
    const { chance, world } = this;
    const { engine } = world;
    return new SimDisk(engine, { number: chance.hex(16), name: this.name, clusterId: null, seed: null });
  }
}

export class Process {
  readonly core: NodeCore;
  readonly clock: HybridClock;
  readonly host: ReplicaHost;
  readonly open: OpenStorage;
  refused: string | null = null;
  private readonly node: SimNode;
  private dead = false;
  private shared: ClusterSnapshot | null = null;
  private readonly owners = new OwnerTable();
  private heldChanged = true;

  constructor(node: SimNode) {
    this.node = node;
    const { world, disk, chance } = node;
    const { limits, mutation } = world;
    const membership = membershipOf(world.rhythm);
    this.clock = new HybridClock(
      {
        load: () => (mutation === 'version-reused' ? STAMP_ZERO : disk.reserved),
        save: (stamp) => {
          disk.reserved = stamp;
        },
      },
      membership,
    );
    this.core = new NodeCore({
      identity: disk.identity,
      address: node.address,
      clock: this.clock,
      store: disk.registers(),
      processId: (++node.starts).toString(16).padStart(16, '0'),
      random: chance.next,
      limits: membership,
      emit: (effect) => this.nodeEffect(effect),
    });
    const ofDisk = (run: () => void) => this.later(chance.between(1, 8), () => disk.does(run));
    disk.files.onSync = () => ofDisk(() => disk.files.runSyncs(1));
    if (mutation === 'outbox-forgotten') {
      for (const name of disk.files.list(disk.outboxDirectory)) disk.files.remove(`${disk.outboxDirectory}/${name}`);
    }
    this.open = disk.open(ofDisk, () => mutatedLedger(mutation, world.listsOpen), world.settled, mutation);
    mutateSync(this.open.storage, mutation, ofDisk);
    const { storage } = this.open;
    const drop = storage.drop.bind(storage);
    storage.drop = (id) => {
      world.letsGo(node, storage.shards.get(id)!.key);
      drop(id);
    };
    const create = storage.create.bind(storage);
    storage.create = (key) => {
      world.makes(node, key);
      return create(key);
    };
    this.host = new ReplicaHost({
      self: disk.identity.number,
      storage: this.open.storage,
      ledgerOf: (id) => this.open.ledgerOf(id),
      outboxDirectory: disk.outboxDirectory,
      scrubDirectory: disk.scrubDirectory,
      files: disk.files,
      random: chance.next,
      limits,
      emit: (effect) => this.hostEffect(effect),
    });
    mutateHost(this.host, mutation);
    const { outbox } = this.host as unknown as { outbox: Outbox };
    const remove = outbox.remove.bind(outbox);
    outbox.remove = (name) => {
      const entry = outbox.entries.get(name);
      if (entry !== undefined) world.entryGoes(node, entry);
      remove(name);
    };
  }

  start(): void {
    const { node } = this;
    const { chance } = node;
    const { tickMs, heartbeatMs } = node.world.rhythm;
    const stepMs = STEP_EVERY * tickMs;
    this.core.start(node.world.joinAddresses(node), node.wallMs);
    this.share();
    for (const id of this.open.setAside) this.host.shardWasLost(id);
    for (const id of this.open.unopened) this.host.shardLost(id);
    this.every(tickMs, chance.between(0, tickMs), () => {
      this.core.tick(node.wallMs);
      this.host.tick(node.wallMs);
    });
    this.every(heartbeatMs, chance.between(0, heartbeatMs), () => this.beat());
    this.every(stepMs, chance.between(0, stepMs), () => this.open.step(node.wallMs, chance));
  }

  kill(): void {
    this.dead = true;
    this.open.kill();
  }

  /** As the worker sees them. */
  ownersOf(key: ShardKey): readonly NodeNumber[] {
    return this.owners.owners(this.shared, key);
  }

  /** Hands the cluster to the worker when it has changed. */
  share(): void {
    const snapshot = this.core.snapshot();
    if (snapshot === this.shared) return;
    this.shared = snapshot;
    const { durability, mutation } = this.node.world;
    const databases = snapshot.databases.map((database) => ({ ...database, durability }));
    this.host.setCluster(mutatedSnapshot({ ...snapshot, databases }, mutation), this.node.wallMs);
  }

  deliver(from: NodeNumber, stamp: Stamp, lane: number, bytes: Uint8Array): void {
    if (!this.core.heard(from, stamp, this.node.wallMs)) return;
    if (lane === LANE_NODE) this.core.receive({ number: from, address: null }, bytes, this.node.wallMs);
    else {
      const { storage, ledgerOf } = this.open;
      const known = (id: ShardId) => (storage.shards.has(id) ? ledgerOf(id) : undefined);
      const receive = () => this.host.receive(from, [bytes], this.node.wallMs);
      mutatedReceive(this.host, known, bytes, this.node.world.mutation, receive);
    }
  }

  later(delayMs: number, run: () => void): void {
    this.node.world.time.after(delayMs, () => {
      if (!this.dead) run();
    });
  }

  private every(intervalMs: number, firstMs: number, run: () => void): void {
    this.later(firstMs, () => {
      run();
      this.every(intervalMs, intervalMs, run);
    });
  }

  private beat(): void {
    if (this.core.state !== 'up') return;
    const { world, chance } = this.node;
    this.share();
    const { viewHash } = this.core.snapshot();
    const closed = this.core.closing(this.node.wallMs);
    this.later(chance.between(0, 12), () => {
      const held = this.heldChanged ? mutatedHeld(this.host.heldShards(), world.mutation) : null;
      this.heldChanged = false;
      const open = mutatedOpen(this.host, world.mutation);
      this.core.heartbeat(closed, open, held, this.node.wallMs, viewHash);
      if (this.core.departures.isLeaving) this.core.departures.handover(this.host.handover(), this.node.wallMs);
    });
  }

  private nodeEffect(effect: NodeEffect): void {
    if (this.dead) return;
    const { node } = this;
    switch (effect.kind) {
      case 'send':
        node.world.send(node, effect.to, LANE_NODE, effect.message);
        break;
      case 'call':
        node.world.call(node, effect.address, effect.message);
        break;
      case 'identity':
        node.disk.identity = effect.identity;
        break;
      case 'cluster-changed':
        this.later(node.chance.between(0, 6), () => this.share());
        break;
      case 'left':
        node.world.trace(`${node.name} has left`);
        break;
      case 'twin':
        this.noTwin(effect.reason);
        break;
      case 'refused':
        if (effect.reason.includes('two processes')) this.noTwin(effect.reason);
        node.world.trace(`${node.name} is refused: ${effect.reason}`);
        this.refused = effect.reason;
        break;
    }
  }

  /** No disk of the simulation is copied: whoever sees a twin takes what a former process said for another one. */
  private noTwin(reason: string): void {
    if (this.node.world.mutation === undefined) throw new Error(reason);
  }

  private hostEffect(effect: HostEffect): void {
    if (this.dead) return;
    const { node } = this;
    if (effect.kind === 'send') {
      node.world.send(node, effect.to, effect.lane, mutatedMessage(effect.message, node.world.mutation));
    } else if (effect.kind === 'held-changed') this.heldChanged = true;
    else node.world.effect(node, effect);
  }
}
