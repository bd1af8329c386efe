/**
 * How members go: by leaving, which hands everything over first, or by being given up.
 *
 * Leaving: `up` -> `leaving` (owner of nothing any more, its shards move by repair) -> empty (no shard, no write that waits,
 * nothing in the outbox) -> nothing is minted any more -> empty once more, asked after that -> `removed`, said by the
 * member itself. Between the two questions every version that it has minted has reached its workers; so when nothing is left the
 * second time, every write that it took is at its owners, and no cutoff needs its word again (protocol rules 9 and 23).
 * Nothing of this is durable but the member's state: after a restart it is asked anew.
 * The last member that would stay is refused. Where all are told at the same moment all the same, each is an owner as before, and
 * none hands anything over, until somebody joins (`standingOf`).
 *
 * The last word is repeated for a while, after a restart as well: those who have heard it do not listen to this node any
 * more, so nobody confirms it.
 *
 * Giving up (`forced`): for a member that is dead. What only it held is lost; workers note for which shards that may be so
 * (losses.ts).
 */
import type { NodeNumber } from '../shards/version.ts';
import type { Member } from './cluster.ts';
import type { ClusterState } from './cluster-state.ts';
import type { Change } from './databases.ts';
import type { JudgedClock } from './judged-clock.ts';
import type { Liveness } from './liveness.ts';
import { isGivenUp } from './losses.ts';
import { lossChange, memberChange, memberKey } from './members.ts';
import { MembershipError } from './membership-error.ts';
import type { Register } from './metadata.ts';

/** What a leaving member still has that others need. */
export interface Handover {
  readonly shards: number;
  readonly bytes: number;
  /** Batches that wait for owners: in memory, and in the outbox. */
  readonly writes: number;
  readonly outboxEntries: number;
  readonly outboxBytes: number;
}

export interface HandoverProgress extends Handover {
  /** Of the shards that there were when the member began to leave, or when it was started. */
  readonly shardsAtFirst: number;
  readonly etaMs: number | null;
}

export interface DeparturesOptions {
  readonly self: NodeNumber;
  readonly state: ClusterState;
  readonly liveness: Liveness;
  readonly isUp: () => boolean;
  readonly clock: JudgedClock;
  /** Throws MembershipError. */
  readonly mayMint: (nowMs: number) => void;
  /** What this node says: durable, then to everybody. */
  readonly spread: (registers: readonly Register[], nowMs: number) => void;
  readonly sendRegisters: (to: NodeNumber, registers: readonly Register[]) => void;
}

/** The last word is repeated this many times, a liveness window apart. */
const LAST_WORDS = 20;

export class Departures {
  readonly #o: DeparturesOptions;
  /** What leaving members have said that they still have, and what this one has. */
  readonly handovers = new Map<NodeNumber, HandoverProgress>();
  #firstMs = 0;
  #draining = false;
  #lastWords = LAST_WORDS;
  #lastWordMs = 0;

  constructor(options: DeparturesOptions) {
    this.#o = options;
  }

  /** Asked before anything is minted. Everything has been handed over but for the proof of it: nothing may be. */
  isDraining(): boolean {
    // What is minted while nobody stays is handed over when somebody does: asked twice again.
    if (!this.isLeaving) this.#draining = false;
    return this.#draining;
  }

  get progress(): HandoverProgress | null {
    return this.isLeaving ? (this.handovers.get(this.#o.self) ?? null) : null;
  }

  /** Whether `handover` has to be called. */
  get isLeaving(): boolean {
    const { self, state, isUp } = this.#o;
    return isUp() && state.standing.some((member) => member.number === self && member.state === 'leaving');
  }

  heard(from: NodeNumber, handover: HandoverProgress | null): void {
    if (handover === null) this.handovers.delete(from);
    else this.handovers.set(from, handover);
  }

  /** Idempotent. Throws MembershipError `member-not-found` or `member-state`. */
  leave(number: NodeNumber, nowMs: number): void {
    const { self, state, liveness } = this.#o;
    const member = this.#memberOf(number);
    if (member.state === 'leaving') return;
    if (member.state !== 'up') throw wrongState(`${nameOf(member)} is ${member.state}, so it cannot leave`);
    if (number !== self && !liveness.isLive(number, nowMs)) {
      throw wrongState(
        `${nameOf(member)} is not live, so it cannot hand over what it holds: start it, or give it up with {"force": true} (starling cluster remove NAME --force)`,
      );
    }
    const heir = state.members.find(
      (other) =>
        other.number !== number &&
        other.state === 'up' &&
        (other.number === self || liveness.isLive(other.number, nowMs)),
    );
    if (heir === undefined) {
      throw wrongState(
        `no other live member stays that could take what ${nameOf(member)} holds: start a new node first (starling serve --join), or the one that is down`,
      );
    }
    this.#write(memberChange({ ...member, state: 'leaving' }), nowMs);
  }

  /** Idempotent. Throws MembershipError `member-not-found` or `member-state`. */
  giveUp(number: NodeNumber, force: boolean, nowMs: number): void {
    const { self, liveness } = this.#o;
    const member = this.#memberOf(number);
    if (member.state === 'removed') return;
    if (!force) {
      throw wrongState(
        `removing ${nameOf(member)} loses what only it holds. If it runs, let it leave (starling cluster leave --member NAME); if it is gone for good, ask with {"force": true} (starling cluster remove NAME --force)`,
      );
    }
    const agoMs = number === self ? 0 : liveness.lastHeardMsAgo(number, nowMs);
    if (agoMs !== null && agoMs <= liveness.windowMs)
      throw wrongState(`${nameOf(member)} is live: let it leave, or stop it first`);
    if (!liveness.isSilent(number, nowMs)) {
      throw wrongState(
        `this node has just started, or has just heard of ${nameOf(member)}, and does not know yet whether it is live: ask again`,
      );
    }
    this.#write(memberChange({ ...member, state: 'removed', removal: 'forced' }), nowMs);
  }

  /** What may be lost with it is known, and counted no more. Idempotent. Throws MembershipError `member-not-found` or `member-state`. */
  acknowledgeLoss(number: NodeNumber, nowMs: number): void {
    const member = this.#memberOf(number);
    if (!isGivenUp(member))
      throw wrongState(`${nameOf(member)} was neither given up nor replaced: nothing is lost with it`);
    if (member.lossAcknowledgedMs === undefined) this.#write(lossChange(number, nowMs), nowMs);
  }

  /**
   * What this node still has, asked of its workers after every version minted so far had been posted to them. To be called
   * now and then while it leaves.
   */
  handover(left: Handover, nowMs: number): void {
    const { self, state } = this.#o;
    const own = state.member(self);
    if (!this.isLeaving || own === null) return;
    this.#note(left, nowMs);
    const isEmpty = left.shards + left.writes + left.outboxEntries === 0;
    if (isEmpty && this.#draining && this.#hasHeir(nowMs)) {
      const last = memberChange({ ...own, state: 'removed', removal: 'left' });
      // The one thing that may still be minted.
      this.#o.spread([state.registerOf(last, this.#o.clock.mintForSelf(nowMs))], nowMs);
    }
    this.#draining = isEmpty;
  }

  tick(nowMs: number): void {
    const { self, state, liveness, sendRegisters } = this.#o;
    const sinceMs = nowMs - this.#lastWordMs;
    const hasLeft = state.member(self)?.removal === 'left';
    if (!hasLeft || this.#lastWords === 0 || (sinceMs >= 0 && sinceMs < liveness.windowMs)) return;
    this.#lastWords--;
    this.#lastWordMs = nowMs;
    const own = state.metadata.get(memberKey(self));
    if (own === null) return;
    for (const member of state.members)
      if (member.number !== self && member.state !== 'removed') sendRegisters(member.number, [own]);
  }

  #write(change: Change, nowMs: number): void {
    const { state, clock, mayMint, spread } = this.#o;
    mayMint(nowMs);
    spread([state.registerOf(change, clock.mint(nowMs))], nowMs);
  }

  #note(left: Handover, nowMs: number): void {
    const before = this.progress;
    if (before === null) this.#firstMs = nowMs;
    const shardsAtFirst = Math.max(before?.shardsAtFirst ?? 0, left.shards);
    const done = shardsAtFirst - left.shards;
    const spentMs = Math.max(0, nowMs - this.#firstMs);
    const etaMs = done === 0 ? null : Math.round((spentMs / done) * left.shards);
    this.handovers.set(this.#o.self, { ...left, shardsAtFirst, etaMs });
  }

  /** Somebody who has the shards, and hears that this node goes. */
  #hasHeir(nowMs: number): boolean {
    const { self, state, liveness } = this.#o;
    return state.members.some(
      ({ number, state: at }) => number !== self && at === 'up' && liveness.isLive(number, nowMs),
    );
  }

  #memberOf(number: NodeNumber): Member {
    const member = this.#o.state.member(number);
    if (member === null) throw new MembershipError('member-not-found', `no member ${number} is known here`);
    return member;
  }
}

function nameOf(member: Member): string {
  return `member "${member.name}" (${member.number})`;
}

function wrongState(reason: string): MembershipError {
  return new MembershipError('member-state', reason);
}
