/**
 * Hops that came here and how they were answered last, so that a token that is repeated is not walked twice: its
 * predecessor hears of each what became of it, and hears it again when it asks again.
 */

import type { NodeNumber } from '../shards/version.ts';
import type { Token } from './replica-messages.ts';
import type { Replica } from './replica-table.ts';
import type { Held } from './ring-held.ts';
import { answerToken } from './ring-token.ts';
import type { Surroundings } from './surroundings.ts';

/** They are remembered for this many hop time-outs: longer than a predecessor repeats one. */
const SEEN_HOPS = 4;

interface Answer {
  readonly status: 'working' | 'handed' | 'refused';
  readonly reason: string;
}

export class SeenTokens {
  private readonly seen = new Map<string, { answer: Answer; readonly ms: number }>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  /** True when it came before: it has been answered as then. */
  cameBefore(from: NodeNumber, token: Token): boolean {
    const answer = this.seen.get(`${token.pass}:${token.hop}`)?.answer;
    if (answer !== undefined) answerToken(this.around, null, from, token, answer.status, answer.reason);
    return answer !== undefined;
  }

  taken({ pass, hop }: Token): void {
    this.seen.set(`${pass}:${hop}`, { answer: { status: 'working', reason: '' }, ms: this.around.nowMs });
  }

  /** To be said now and then while it is worked on, and when it has been handed on. */
  say(held: Held, status: 'working' | 'handed'): void {
    held.saidMs = this.around.nowMs;
    held.hasSaid = true;
    this.answer(held, { status, reason: '' }, null);
  }

  /** Its successor works on it. */
  handedOn(held: Held): void {
    if (held.from === null || held.handed) return;
    held.handed = true;
    this.say(held, 'handed');
  }

  /** The same; the predecessor hears of that in the same way as this node, unless it has been told to wait. */
  passOn(held: Held): void {
    if (held.from === null || held.handed) return;
    if (held.hasSaid) this.handedOn(held);
    held.handed = true;
    this.become(held, { status: 'handed', reason: '' });
  }

  /** It was taken on, and this node cannot go on with it: its predecessor does, without this node. */
  refuse(held: Held, replica: Replica | null, reason: string): void {
    this.answer(held, { status: 'refused', reason }, replica);
  }

  private answer(held: Held, answer: Answer, replica: Replica | null): void {
    this.become(held, answer);
    const token = { ...held.token, hop: held.cameAs };
    answerToken(this.around, replica, held.from!, token, answer.status, answer.reason);
  }

  private become({ token, cameAs }: Held, answer: Answer): void {
    const entry = this.seen.get(`${token.pass}:${cameAs}`);
    if (entry !== undefined) entry.answer = answer;
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    // Entries stand in the order in which they came. A token that comes once more after that is walked once more.
    for (const [name, { ms }] of this.seen) {
      if (nowMs - ms <= SEEN_HOPS * limits.hopTimeoutMs) break;
      this.seen.delete(name);
    }
  }
}
