/**
 * Places. Of passes that this worker has started and not seen end: their number is bounded, and none keeps its place for
 * ever. And of pulls, which are what costs: a pass of equal replicas needs no place among those.
 */
import type { Stamp } from '../shards/version.ts';
import type { Held } from './ring-held.ts';
import type { Surroundings } from './surroundings.ts';

export class PassSlots {
  private readonly started = new Map<string, { ms: number; readonly hops: Held[] }>();
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  get isFull(): boolean {
    return this.started.size >= this.around.limits.passesAtOnceMax;
  }

  take(pass: string): void {
    this.started.set(pass, { ms: this.around.nowMs, hops: [] });
  }

  /** The token of a pass is here (again). */
  holds(held: Held): void {
    this.started.get(held.token.pass)?.hops.push(held);
  }

  free(pass: string): void {
    this.started.delete(pass);
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    for (const [pass, started] of this.started) {
      if (started.hops.some((held) => held.stage !== 'ended')) started.ms = nowMs;
      // Handed on, and never heard of again: whoever had it may have died with it. Its place must not stay taken.
      else if (nowMs - started.ms > 2 * limits.hopTimeoutMs) this.started.delete(pass);
    }
  }
}

interface WaitingPull {
  readonly held: Held;
  readonly converged: Stamp;
  readonly sinceMs: number;
}

/**
 * Which tokens here may pull now: those of the shards that are furthest behind, and, so that none starves, before them
 * those that have waited for longer than an interval.
 */
export class PullSlots {
  private readonly running = new Set<Held>();
  private waiting: WaitingPull[] = [];
  private readonly around: Surroundings;

  constructor(around: Surroundings) {
    this.around = around;
  }

  /** `converged`: up to where its replica is proven. */
  enter(held: Held, converged: Stamp): void {
    this.waiting.push({ held, converged, sinceMs: this.around.nowMs });
    this.admit();
  }

  /** Done, or given up. */
  leave(held: Held): void {
    if (this.running.delete(held)) this.admit();
    else if (this.waiting.length > 0) this.waiting = this.waiting.filter((each) => each.held !== held);
  }

  private admit(): void {
    const { nowMs, limits } = this.around;
    while (this.running.size < limits.pullsAtOnceMax && this.waiting.length > 0) {
      const starving = (each: WaitingPull) => nowMs - each.sinceMs > limits.passIntervalMs;
      const next = this.waiting.reduce((best, each) => {
        if (starving(best) || starving(each)) return each.sinceMs < best.sinceMs ? each : best;
        return each.converged < best.converged ? each : best;
      });
      this.waiting = this.waiting.filter((each) => each !== next);
      this.running.add(next.held);
      next.held.pull!.start();
    }
  }
}
