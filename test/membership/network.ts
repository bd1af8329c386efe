/** Several NodeCores over an in-memory network that can lose, delay, reorder and cut; one virtual clock. */
import { HybridClock } from '../../repair/clock.ts';
import { DEFAULT_MEMBERSHIP_LIMITS, type MembershipLimits } from '../../repair/membership-limits.ts';
import type { Register, RegisterStore } from '../../repair/metadata.ts';
import { NodeCore, type NodeIdentity } from '../../repair/node-core.ts';
import type { NodeNumber, Stamp } from '../../shards/version.ts';
import { STAMP_ZERO } from '../../shards/version.ts';

export class MemoryRegisterStore implements RegisterStore {
  readonly rows = new Map<string, Register>();
  load(): Register[] {
    return [...this.rows.values()];
  }
  save(registers: readonly Register[]): void {
    for (const register of registers) this.rows.set(register.key, register);
  }
  clear(): void {
    this.rows.clear();
  }
}

export function randomFrom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** What outlives a process. */
export interface Disk {
  identity: NodeIdentity;
  store: MemoryRegisterStore;
  reserved: Stamp;
}

/** A data directory as it would be copied now. */
export function copyOf(disk: Disk): Disk {
  const store = new MemoryRegisterStore();
  store.save(disk.store.load());
  return { ...disk, store };
}

export interface TestNode {
  core: NodeCore;
  readonly disk: Disk;
  readonly address: string;
  refused: string | null;
  left: string | null;
  /** What it said of twins. */
  readonly warned: string[];
  up: boolean;
  offsetMs: number;
  changes: number;
}

interface Packet {
  from: TestNode;
  to: TestNode;
  stamp: Stamp;
  message: Uint8Array;
  call: boolean;
}

export class Network {
  nowMs = 1_700_000_000_000;
  readonly nodes: TestNode[] = [];
  readonly limits: MembershipLimits;
  readonly random: () => number;
  /** `from>to` by address. */
  readonly cut = new Set<string>();
  loss = 0;
  /** False breaks rules 3 and 11: no message lifts a clock. */
  liftsClocks = true;
  #queue: Packet[] = [];
  #numbers = 0;
  #processes = 0;

  constructor(seed = 1, limits: Partial<MembershipLimits> = {}) {
    this.limits = { ...DEFAULT_MEMBERSHIP_LIMITS, ...limits };
    this.random = randomFrom(seed);
  }

  disk(name: string): Disk {
    this.#numbers += 1;
    const number = (0xa000 + this.#numbers).toString(16).padStart(16, '0');
    return {
      identity: { number, name, clusterId: null, seed: null },
      store: new MemoryRegisterStore(),
      reserved: STAMP_ZERO,
    };
  }

  /** Starts a process on the disk; the one that ran at that address before is gone. */
  start(disk: Disk, address: string, join: readonly string[] = [], offsetMs = 0): TestNode {
    const clock = new HybridClock(
      {
        load: () => disk.reserved,
        save: (stamp) => {
          disk.reserved = stamp;
        },
      },
      this.limits,
    );
    if (!this.liftsClocks) clock.lift = () => 'lifted';
    const node = {
      disk,
      address,
      refused: null,
      left: null,
      warned: [],
      up: true,
      offsetMs,
      changes: 0,
    } as unknown as TestNode;
    node.core = new NodeCore({
      identity: disk.identity,
      address,
      clock,
      store: disk.store,
      processId: (++this.#processes).toString(16).padStart(16, '0'),
      random: this.random,
      limits: this.limits,
      emit: (effect) => {
        if (effect.kind === 'cluster-changed') node.changes += 1;
        else if (effect.kind === 'identity') disk.identity = effect.identity;
        else if (effect.kind === 'refused') {
          node.refused = effect.reason;
        } else if (effect.kind === 'twin') {
          node.warned.push(effect.reason);
        } else if (effect.kind === 'left') {
          node.left = effect.reason;
        } else {
          const to = this.nodes.find((other) =>
            effect.kind === 'call'
              ? other.address === effect.address
              : other.up && this.#reaches(node, other, effect.to),
          );
          if (to === undefined) return;
          this.#queue.push({
            from: node,
            to,
            stamp: clock.now(),
            message: effect.message,
            call: effect.kind === 'call',
          });
        }
      },
    });
    const before = this.nodes.findIndex((other) => other.address === address || other.disk === disk);
    if (before >= 0) this.nodes[before]!.up = false;
    if (before >= 0) this.nodes.splice(before, 1);
    this.nodes.push(node);
    node.core.start(join, this.nowMs + offsetMs);
    return node;
  }

  stop(node: TestNode): void {
    node.up = false;
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** A link goes to the address that the sender knows of that number. */
  #reaches(from: TestNode, other: TestNode, number: NodeNumber): boolean {
    const member = from.core.snapshot().members.find((each) => each.number === number);
    return member?.address === other.address && other.core.identity.number === number;
  }

  wall(node: TestNode): number {
    return this.nowMs + node.offsetMs;
  }

  deliver(): void {
    for (let budget = 20_000; this.#queue.length > 0 && budget > 0; budget--) {
      const at = this.random() < 0.3 ? Math.floor(this.random() * this.#queue.length) : 0;
      const { from, to, stamp, message, call } = this.#queue.splice(at, 1)[0]!;
      if (!to.up || this.cut.has(`${from.address}>${to.address}`) || this.random() < this.loss) continue;
      if (call) {
        const answer = to.core.receive({ number: null, address: null }, message, this.wall(to));
        if (answer === null || !from.up || this.cut.has(`${to.address}>${from.address}`)) continue;
        from.core.receive({ number: null, address: to.address }, answer, this.wall(from));
      } else {
        if (!to.core.heard(from.core.identity.number, stamp, this.wall(to))) continue;
        to.core.receive({ number: from.core.identity.number, address: null }, message, this.wall(to));
      }
    }
  }

  /** `ms` of virtual time in steps of 100 ms, with a heartbeat of every node each interval. */
  run(ms: number): void {
    for (let done = 0; done < ms; done += 100) {
      this.nowMs += 100;
      for (const node of [...this.nodes]) {
        if (node.refused !== null) continue;
        node.core.tick(this.wall(node));
        if (this.nowMs % this.limits.heartbeatIntervalMs === 0) {
          node.core.heartbeat(node.core.closing(this.wall(node)), [], null, this.wall(node));
        }
      }
      this.deliver();
    }
  }

  /** Everything that is on its way. */
  takePackets(): Packet[] {
    return this.#queue.splice(0);
  }

  putPackets(packets: readonly Packet[]): void {
    this.#queue.push(...packets);
  }

  split(left: readonly TestNode[], right: readonly TestNode[]): void {
    for (const a of left)
      for (const b of right) this.cut.add(`${a.address}>${b.address}`).add(`${b.address}>${a.address}`);
  }
}

export const A = 'http://127.0.0.1:8086';
export const B = 'http://127.0.0.1:8087';
export const C = 'http://127.0.0.1:8088';
export const D = 'http://127.0.0.1:8089';

/** Three nodes that know each other. */
export function threeNodes(network: Network): [TestNode, TestNode, TestNode] {
  const a = network.start(network.disk('n1'), A);
  const b = network.start(network.disk('n2'), B, [A]);
  const c = network.start(network.disk('n3'), C, [A]);
  network.run(2_500);
  return [a, b, c];
}
