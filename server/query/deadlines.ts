/**
 * Time limits of statements, all of one length.
 *
 * A timer for each statement costs more than parsing it: most statements end within a millisecond, and with each the
 * runtime's list of timers is made and taken apart. Here one timer waits for the statement that began first, whether that
 * one has ended meanwhile or not, and then for the first of those that are left.
 */
import type { Ending } from './ending.ts';
import { QueryError } from './query-error.ts';

export class Deadlines {
  readonly #msMax: number;
  /** When each began; in that order. */
  readonly #open = new Map<Ending, number>();
  #isWaiting = false;

  constructor(msMax: number) {
    this.#msMax = msMax;
  }

  begin(ending: Ending): void {
    this.#open.set(ending, performance.now());
    if (!this.#isWaiting) this.#wait(this.#msMax);
  }

  done(ending: Ending): void {
    this.#open.delete(ending);
  }

  #wait(ms: number): void {
    this.#isWaiting = true;
    setTimeout(this.#look, ms).unref();
  }

  readonly #look = (): void => {
    this.#isWaiting = false;
    const now = performance.now();
    const over: Ending[] = [];
    for (const [ending, beganMs] of this.#open) {
      const left = beganMs + this.#msMax - now;
      if (left > 0) {
        this.#wait(Math.ceil(left));
        break;
      }
      over.push(ending);
    }
    for (const ending of over) {
      this.#open.delete(ending);
      ending.end(new QueryError('query timeout reached'));
    }
  };
}
