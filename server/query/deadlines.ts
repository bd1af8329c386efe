/**
 * Time limits of statements, all of one length.
 *
 * A timer for each statement costs more than parsing it: most statements end within a millisecond, and with each the
 * runtime's list of timers is made and taken apart. Here one timer waits for the statement whose time is up first, whether that
 * one has ended meanwhile or not, and then for the first of those that are left.
 */
import type { Ending } from './ending.ts';
import { PassingError } from './query-error.ts';

export class Deadlines {
  readonly #msMax: number;
  /** When the time of each is up. */
  readonly #open = new Map<Ending, number>();
  #timer: NodeJS.Timeout | null = null;
  /** When the timer is due. */
  #nextMs = 0;

  constructor(msMax: number) {
    this.#msMax = msMax;
  }

  /** `usedMs`: what it has had before it rested. */
  begin(ending: Ending, usedMs = 0): void {
    const now = performance.now();
    const dueMs = now + this.#msMax - usedMs;
    this.#open.set(ending, dueMs);
    if (this.#timer !== null && dueMs < this.#nextMs) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (this.#timer === null) this.#wait(now, dueMs);
  }

  done(ending: Ending): void {
    this.#open.delete(ending);
  }

  /** It waits for others, and its time stands still until it is begun again; how much it has had. */
  rest(ending: Ending): number {
    const dueMs = this.#open.get(ending);
    this.#open.delete(ending);
    return dueMs === undefined ? 0 : performance.now() - (dueMs - this.#msMax);
  }

  #wait(now: number, dueMs: number): void {
    this.#nextMs = dueMs;
    this.#timer = setTimeout(this.#look, Math.ceil(dueMs - now)).unref();
  }

  readonly #look = (): void => {
    this.#timer = null;
    const now = performance.now();
    const over: Ending[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [ending, dueMs] of this.#open) {
      if (dueMs <= now) over.push(ending);
      else if (dueMs < nextMs) nextMs = dueMs;
    }
    if (nextMs !== Number.POSITIVE_INFINITY) this.#wait(now, nextMs);
    for (const ending of over) {
      this.#open.delete(ending);
      ending.end(new PassingError('query-timeout limit exceeded'));
    }
  };
}
