/** The simulated network: it loses, repeats, delays, reorders, and cuts one way; it may lose what the nodes say of metadata. */
import { decodeMessage, type MessageKind } from '../../repair/replica-messages.ts';
import type { NodeNumber } from '../../shards/version.ts';
import type { Scenario } from './scenario.ts';
import { LANE_NODE, type SimNode, type World } from './sim-node.ts';
import type { Chance } from './virtual-time.ts';

export const DELAY_MS_MAX = 60;
export const LATE_MS_MAX = 3_000;

type Traffic = 'metadata' | 'mail' | 'other';

/** Sees all messages between replicas of different nodes. */
export interface MessageWatcher {
  leaves(from: SimNode, to: NodeNumber, bytes: Uint8Array, nowMs: number, isAmongFaults: boolean): void;
  /** Before it is received. */
  arrives(at: SimNode, bytes: Uint8Array): void;
}

export class Network {
  faults = false;
  /** Sent so far between replicas of different nodes. */
  readonly replicaTraffic = { messages: 0, bytes: 0 };
  /** `from>to` by name. */
  private readonly blocked = new Set<string>();
  /** Registers and comparisons of them get lost; heartbeats do not. */
  private deaf = false;
  private readonly world: World;
  private readonly nodes: readonly SimNode[];
  private readonly scenario: Scenario;
  private readonly watchers: readonly MessageWatcher[];
  private readonly delivered: (bytes: Uint8Array) => void;
  /** What happens to the messages of one link does not depend on the others. */
  private readonly links = new Map<string, Chance>();

  constructor(
    world: World,
    nodes: readonly SimNode[],
    scenario: Scenario,
    watchers: readonly MessageWatcher[],
    delivered: (bytes: Uint8Array) => void,
  ) {
    this.world = world;
    this.nodes = nodes;
    this.scenario = scenario;
    this.watchers = watchers;
    this.delivered = delivered;
  }

  heal(): void {
    this.faults = false;
    this.deaf = false;
    this.reconnect();
  }

  reconnect(): void {
    this.blocked.clear();
  }

  send(from: SimNode, to: NodeNumber, lane: number, bytes: Uint8Array): void {
    const stamp = from.process!.clock.now();
    const sender = from.number;
    if (lane !== LANE_NODE && to !== sender) {
      this.replicaTraffic.messages++;
      this.replicaTraffic.bytes += bytes.byteLength;
      for (const watcher of this.watchers) watcher.leaves(from, to, bytes, this.world.time.now, this.faults);
    }
    this.transmit(`${from.name}>${to}`, this.kindOf(lane, bytes), () => {
      const target = this.nodes.find((node) => node.number === to);
      if (target?.process == null || !this.reaches(from, target)) return;
      this.delivered(bytes);
      if (lane !== LANE_NODE && target !== from) for (const watcher of this.watchers) watcher.arrives(target, bytes);
      target.process.deliver(sender, stamp, lane, bytes);
    });
  }

  call(from: SimNode, address: string, bytes: Uint8Array): void {
    const caller = from.process!;
    this.transmit(`${from.name}>${address}`, 'other', () => {
      const target = this.nodes.find((node) => node.address === address);
      if (target?.process == null || !this.reaches(from, target)) return;
      const answer = target.process.core.receive({ number: null, address: null }, bytes, target.wallMs);
      if (answer === null) return;
      this.transmit(`${address}>${from.name}`, 'other', () => {
        if (from.process !== caller || !this.reaches(target, from)) return;
        this.delivered(answer);
        caller.core.receive({ number: null, address }, answer, from.wallMs);
      });
    });
  }

  reaches(from: SimNode, to: SimNode): boolean {
    return from === to || !this.blocked.has(`${from.name}>${to.name}`);
  }

  private kindOf(lane: number, bytes: Uint8Array): Traffic {
    if (lane === LANE_NODE) return isMetadata(bytes) ? 'metadata' : 'other';
    return this.scenario.mailLateness > 0 && decodeMessage(bytes).message.t === 'mail' ? 'mail' : 'other';
  }

  private transmit(link: string, kind: Traffic, deliver: () => void): void {
    const { scenario, faults } = this;
    const { time } = this.world;
    const chance = this.chanceOf(link);
    if (kind === 'metadata' && this.deaf) return;
    const lateness = kind === 'mail' ? scenario.mailLateness : scenario.lateness;
    const copies = faults && chance.of(scenario.duplication) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (faults && chance.of(scenario.loss)) continue;
      const late = faults && chance.of(lateness);
      time.after(late ? chance.between(100, LATE_MS_MAX) : chance.between(1, DELAY_MS_MAX), deliver);
    }
  }

  private chanceOf(link: string): Chance {
    let chance = this.links.get(link);
    if (chance === undefined) {
      chance = this.world.chance.fork(link);
      this.links.set(link, chance);
    }
    return chance;
  }

  /** On and off for seconds while there are faults. */
  deafen(deaf: boolean): void {
    if (!this.faults) return;
    this.deaf = deaf;
    this.world.trace(`metadata ${deaf ? 'is lost' : 'comes through'}`);
    const chance = this.chanceOf('metadata');
    const forMs = deaf ? chance.between(2_000, 4_000) : chance.between(400, 1_500);
    this.world.time.after(forMs, () => this.deafen(!deaf));
  }

  /** Alone, or links one way. */
  cut(chance: Chance): void {
    if (chance.of(0.5)) {
      this.isolate(chance.pick(this.nodes));
      return;
    }
    this.block(() => chance.of(0.25));
  }

  isolate(node: SimNode): void {
    this.block((from, to) => from === node || to === node);
  }

  private block(which: (from: SimNode, to: SimNode) => boolean): void {
    this.blocked.clear();
    for (const a of this.nodes) {
      for (const b of this.nodes) if (a !== b && which(a, b)) this.blocked.add(`${a.name}>${b.name}`);
    }
    this.world.trace(`cut ${[...this.blocked].join(' ')}`);
  }
}

/** Registers and comparisons of them; not heartbeats, not joining. */
function isMetadata(bytes: Uint8Array): boolean {
  return /^.\{"kind":"(registers|digest|keys|rumour)/s.test(Buffer.from(bytes.subarray(0, 24)).toString('latin1'));
}

/** Without decoding it: there are many messages, and few are of interest. */
export function isOfKind(bytes: Uint8Array, kind: MessageKind): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 48)).includes(`"t":"${kind}"`);
}
