/**
 * Requests that this worker has sent and waits for: repeated when unanswered, given up after `requestTriesMax`.
 *
 * Every request is idempotent at its receiver, and an answer counts once: the number is forgotten with the first.
 * Numbers start at a random place, so that answers to questions from before a restart match nothing.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { Message, Received } from './replica-messages.ts';
import type { Surroundings } from './surroundings.ts';

interface Request {
  readonly to: NodeNumber;
  readonly shardNumber: number;
  readonly message: Message;
  readonly answered: (answer: Received | null) => void;
  tries: number;
  sentMs: number;
}

export type RequestMessage = Extract<Message, { request: number }>;
type Distribute<T> = T extends unknown ? Omit<T, 'request'> : never;

export class Requests {
  private readonly open = new Map<number, Request>();
  private next: number;
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
    this.next = 1 + Math.floor(around.random() * 2 ** 48);
  }

  /** `answered` is called once: with the answer, or null when there is none. */
  ask(
    to: NodeNumber,
    shardNumber: number,
    question: Distribute<RequestMessage>,
    answered: (answer: Received | null) => void,
  ): void {
    const message = { ...question, request: this.next } as RequestMessage;
    this.open.set(this.next++, { to, shardNumber, message, answered, tries: 1, sentMs: this.around.nowMs });
    this.around.count('repair_questions');
    this.around.send(to, shardNumber, message);
  }

  answer(from: NodeNumber, request: number, received: Received): void {
    const open = this.open.get(request);
    if (open === undefined || open.to !== from) return;
    this.open.delete(request);
    open.answered(received);
  }

  tick(): void {
    for (const [number, open] of this.open) {
      if (this.around.nowMs - open.sentMs < this.around.limits.requestTimeoutMs) continue;
      if (open.tries >= this.around.limits.requestTriesMax || !this.around.isLive(open.to)) {
        this.open.delete(number);
        this.around.count('requests_unanswered');
        open.answered(null);
        continue;
      }
      open.tries++;
      open.sentMs = this.around.nowMs;
      this.around.send(open.to, open.shardNumber, open.message);
    }
  }
}
