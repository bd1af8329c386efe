/**
 * Rumours: changes of metadata on their way (Demers et al. 1987: push, with feedback and a counter).
 *
 *   rumour        A -> B   registers that are news at A
 *   rumour-heard  B -> A   their versions: those that were news at B, too, and those that B knew
 *
 * A change that is made here goes to `rumourFirstPeers` members at once, which is everybody in a small cluster. Whoever
 * learns something by a rumour tells it as well: every `rumourIntervalMs` to `rumourPeers` random live members that are
 * not known to have it. Interest is lost after `rumourKnownMax` pushes that found the receiver informed, when all live
 * members are known to have it, or after `rumourRoundsMax` rounds (whoever does not answer is no reason to go on). So
 * news reaches everybody although its source dies after one push, or does not reach some members itself.
 *
 * Rumours die out with some members uninformed: the hash in every heartbeat shows that, and push-pull (metadata-sync.ts)
 * brings what is missing. What is learned that way is no rumour any more: a comparison may bring thousands of old registers.
 * All state is in memory; after a crash the hash does the rest. Any message may be lost, repeated and delayed.
 */
import type { NodeNumber, Version } from '../shards/version.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { Register } from './metadata.ts';
import { registersInParts, type Send } from './metadata-sync.ts';
import type { NodeCounters } from './node-effects.ts';
import type { NodeMessage } from './node-messages.ts';

type Of<K extends NodeMessage['kind']> = Extract<NodeMessage, { kind: K }>;

interface Rumour {
  readonly register: Register;
  /** Members that have said that they have it, or told it. */
  readonly informed: Set<NodeNumber>;
  /** Pushes that found the receiver informed. */
  known: number;
  rounds: number;
}

export interface RumourOptions {
  readonly limits: MembershipLimits;
  readonly counters: NodeCounters;
  readonly random: () => number;
  readonly send: Send;
  /** All other members, also those that are silent. */
  others(): readonly NodeNumber[];
  isLive(member: NodeNumber): boolean;
}

export class Rumours {
  readonly #o: RumourOptions;
  /** By version, which is unique. */
  readonly #hot = new Map<Version, Rumour>();
  /** The version that is told of each register. */
  readonly #versionOf = new Map<string, Version>();
  #roundMs = Number.NEGATIVE_INFINITY;

  constructor(options: RumourOptions) {
    this.#o = options;
  }

  /** Changes made here, durable by now. */
  begin(registers: readonly Register[]): void {
    for (const register of registers) this.#add(register, []);
    const { limits, others } = this.#o;
    for (const member of this.#some(others(), limits.rumourFirstPeers)) this.#push(member, registers);
  }

  /** A rumour came; `fresh` of its registers were news here and are durable by now. */
  heard(from: NodeNumber, registers: readonly Register[], fresh: readonly Register[]): void {
    const news = new Set(fresh.map(({ version }) => version));
    for (const register of registers) {
      if (news.has(register.version)) this.#add(register, [from]);
      else this.#hot.get(register.version)?.informed.add(from);
    }
    const known = registers.map(({ version }) => version).filter((version) => !news.has(version));
    this.#o.send(from, { kind: 'rumour-heard', fresh: [...news], known });
  }

  answered(from: NodeNumber, { fresh, known }: Of<'rumour-heard'>): void {
    for (const version of fresh) this.#hot.get(version)?.informed.add(from);
    for (const version of known) {
      const rumour = this.#hot.get(version);
      // An answer that came twice is one answer.
      if (rumour === undefined || rumour.informed.has(from)) continue;
      rumour.informed.add(from);
      rumour.known++;
      this.#o.counters.rumoursKnown++;
      if (rumour.known >= this.#o.limits.rumourKnownMax) this.#drop(rumour);
    }
  }

  tick(nowMs: number): void {
    if (this.#hot.size === 0) return;
    const { limits, others, isLive } = this.#o;
    const since = nowMs - this.#roundMs;
    if (since >= 0 && since < limits.rumourIntervalMs) return;
    this.#roundMs = nowMs;
    const live = others().filter(isLive);
    for (const rumour of this.#hot.values()) {
      const isOver = rumour.rounds++ >= limits.rumourRoundsMax || live.every((member) => rumour.informed.has(member));
      if (isOver) this.#drop(rumour);
    }
    const rumours = [...this.#hot.values()];
    const lacking = live.filter((member) => rumours.some(({ informed }) => !informed.has(member)));
    for (const member of this.#some(lacking, limits.rumourPeers)) {
      const missing = rumours.filter(({ informed }) => !informed.has(member));
      this.#push(
        member,
        missing.map(({ register }) => register),
      );
    }
  }

  /** An older value of the same register is no news any more. What is too much to be told comes by comparison. */
  #add(register: Register, informed: readonly NodeNumber[]): void {
    const older = this.#hot.get(this.#versionOf.get(register.key) ?? '');
    if (older !== undefined) this.#drop(older);
    if (this.#hot.size >= this.#o.limits.rumoursMax) return;
    this.#versionOf.set(register.key, register.version);
    this.#hot.set(register.version, { register, informed: new Set(informed), known: 0, rounds: 0 });
  }

  #drop({ register: { key, version } }: Rumour): void {
    this.#hot.delete(version);
    this.#versionOf.delete(key);
  }

  #push(to: NodeNumber, registers: readonly Register[]): void {
    for (const part of registersInParts(registers, this.#o.limits)) {
      this.#o.counters.rumoursPushed += part.length;
      this.#o.send(to, { kind: 'rumour', registers: part });
    }
  }

  #some(members: readonly NodeNumber[], count: number): NodeNumber[] {
    const left = [...members];
    if (left.length <= count) return left;
    return Array.from({ length: count }, () => left.splice(Math.floor(this.#o.random() * left.length), 1)[0]!);
  }
}
