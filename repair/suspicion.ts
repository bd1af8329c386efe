/**
 * Members that are silent here: asking others before they are taken for dead (Das, Gupta & Motivala, "SWIM", 2002; Dadgar,
 * Phillips & Currey, "Lifeguard", 2018).
 *
 * Every member sends every other one a heartbeat, so whoever is asked need not probe: it says which statement it heard last,
 * and when. A statement's sequence is the incarnation that refutes the suspicion: only one that is newer than what is known
 * here counts, so that old news, however often repeated, keeps nobody alive.
 *
 * What it changes: a member that others hear is not *live* here (mail and tokens from here would not get there), but
 * nobody takes its name over or gives it up, and people are told who hears it. Nothing is durable; a lost question is asked
 * again with the next heartbeat interval.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { Member, Statement } from './cluster.ts';
import type { Liveness } from './liveness.ts';
import type { MembershipLimits } from './membership-limits.ts';
import type { NodeMessage } from './node-messages.ts';

/** Members that are asked about those that are silent. */
const HELPERS = 3;

export interface SuspicionOptions {
  readonly self: NodeNumber;
  readonly limits: MembershipLimits;
  readonly liveness: Liveness;
  readonly random: () => number;
  /** Those that are not removed. */
  readonly others: () => readonly Member[];
  readonly sequenceOf: (member: NodeNumber) => Statement['sequence'];
  readonly send: (to: NodeNumber, message: NodeMessage) => void;
}

export class Suspicion {
  readonly #o: SuspicionOptions;
  #askedMs = 0;

  constructor(options: SuspicionOptions) {
    this.#o = options;
  }

  /** A member is a suspect from one missed heartbeat before the end of the liveness window on. */
  tick(nowMs: number): void {
    const { limits, liveness, others, send } = this.#o;
    const sinceMs = nowMs - this.#askedMs;
    if (sinceMs >= 0 && sinceMs < limits.heartbeatIntervalMs) return;
    this.#askedMs = nowMs;
    const patienceMs = liveness.windowMs - limits.heartbeatIntervalMs;
    const isSilent = ({ number }: Member) => (liveness.heardHereMsAgo(number, nowMs) ?? Infinity) > patienceMs;
    const members = others();
    const silent = members.filter(isSilent).map(({ number }) => number);
    if (silent.length === 0) return;
    const helpers = members.filter((member) => !isSilent(member)).map(({ number }) => number);
    for (let i = 0; i < HELPERS && helpers.length > 0; i++) {
      const [helper] = helpers.splice(Math.floor(this.#o.random() * helpers.length), 1);
      send(helper!, { kind: 'ask-after', members: silent });
    }
  }

  receive(from: NodeNumber, message: Extract<NodeMessage, { kind: 'ask-after' | 'news-of' }>, nowMs: number): void {
    if (message.kind === 'ask-after') this.#asked(from, message.members, nowMs);
    else this.#told(from, message, nowMs);
  }

  #asked(from: NodeNumber, members: readonly NodeNumber[], nowMs: number): void {
    const { liveness, sequenceOf, send } = this.#o;
    const news = members.flatMap((member) => {
      const agoMs = liveness.heardHereMsAgo(member, nowMs);
      return agoMs === null || agoMs > liveness.windowMs ? [] : [{ member, sequence: sequenceOf(member), agoMs }];
    });
    if (news.length > 0) send(from, { kind: 'news-of', news });
  }

  #told(from: NodeNumber, { news }: Extract<NodeMessage, { kind: 'news-of' }>, nowMs: number): void {
    const { self, liveness, sequenceOf } = this.#o;
    for (const { member, sequence, agoMs } of news) {
      if (member === self || member === from || sequence <= sequenceOf(member)) continue;
      liveness.heardBy(member, from, sequence, nowMs - agoMs);
    }
  }
}
