/**
 * Work of the main thread that may be long (answers are merged and printed there): in turns of some milliseconds, with its
 * other work (writes, heartbeats, small queries) between them, those that are under way one after the other.
 *
 * What is done within its first turn, as nearly all is, is done in the call that brings it, unless those that came just
 * before it have had that turn's time.
 */
import type { Steps } from '../shards/steps.ts';
import type { Ending } from './query/ending.ts';

export const TURN_MS = 5;

export interface TurnsPorts {
  nowMs(): number;
  /** After what waits. */
  later(turn: () => void): void;
}

interface Job {
  readonly steps: Steps<unknown>;
  readonly ending: Ending;
  /** With what the steps return. */
  readonly done: (value: never) => void;
  readonly failed: (error: Error) => void;
}

export class Turns {
  readonly #ports: TurnsPorts;
  #jobs: Job[] = [];
  #isWaiting = false;
  /** Of turns that are given at once: what they took, less what has gone by since the last of them. */
  #usedMs = 0;
  #endedMs = 0;

  constructor(ports: TurnsPorts) {
    this.#ports = ports;
  }

  /** Calls one of both, once; with the ending the steps end, too. */
  run<T>(steps: Steps<T>, ending: Ending, done: (value: T) => void, failed: (error: Error) => void): void {
    const job: Job = { steps, ending, done, failed };
    const beganMs = this.#ports.nowMs();
    this.#usedMs = Math.max(0, this.#usedMs - (beganMs - this.#endedMs));
    if (this.#usedMs < TURN_MS && this.#turn(job, beganMs, beganMs + TURN_MS - this.#usedMs)) return;
    this.#jobs.push(job);
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#ports.later(this.#next);
  }

  /** The same as a promise. */
  of<T>(steps: Steps<T>, ending: Ending): Promise<T> {
    return new Promise((resolve, reject) => this.run(steps, ending, resolve, reject));
  }

  readonly #next = (): void => {
    this.#isWaiting = false;
    this.#usedMs = 0;
    const jobs = this.#jobs;
    this.#jobs = [];
    let next = 0;
    for (; next < jobs.length && this.#usedMs < TURN_MS; next++) {
      const beganMs = this.#ports.nowMs();
      const job = jobs[next]!;
      if (!this.#turn(job, beganMs, beganMs + TURN_MS - this.#usedMs)) this.#jobs.push(job);
    }
    // Those that had no time are first.
    this.#jobs = [...jobs.slice(next), ...this.#jobs];
    if (this.#jobs.length === 0 || this.#isWaiting) return;
    this.#isWaiting = true;
    this.#ports.later(this.#next);
  };

  /** False: it is not over. */
  #turn({ steps, ending, done, failed }: Job, beganMs: number, untilMs: number): boolean {
    let result: IteratorResult<void, unknown> | null = null;
    let error: Error | null = ending.reason;
    let nowMs = beganMs;
    try {
      if (error !== null) steps.return(undefined);
      else
        do {
          result = steps.next();
          nowMs = this.#ports.nowMs();
        } while (result.done !== true && nowMs < untilMs);
    } catch (thrown) {
      error = thrown as Error;
      nowMs = this.#ports.nowMs();
    }
    this.#usedMs += nowMs - beganMs;
    this.#endedMs = nowMs;
    if (error !== null) failed(error);
    else if (result!.done === true) done(result!.value as never);
    else return false;
    return true;
  }
}

/** Of this process's main thread. */
export const mainTurns = new Turns({ nowMs: () => performance.now(), later: (turn) => void setImmediate(turn) });

/** Items of a plain loop in one step: some hundred microseconds. */
const STEP_ITEMS = 8192;

/** For loops over things of different sizes: whether so many items are done, since it was over last, that others may go on. */
export class Pace {
  #left = STEP_ITEMS;

  isOver(items: number): boolean {
    this.#left -= items;
    if (this.#left > 0) return false;
    this.#left = STEP_ITEMS;
    return true;
  }
}

/** A loop over many items in short steps: `loop` has those from `from` to `to` - 1. Few are done at once, without a generator. */
export function inRanges(items: number, loop: (from: number, to: number) => void): Iterable<void> {
  if (items > STEP_ITEMS) return rangeSteps(items, loop);
  if (items > 0) loop(0, items);
  return NO_STEPS;
}

const NO_STEPS: Iterable<void> = [];

function* rangeSteps(items: number, loop: (from: number, to: number) => void): Steps {
  for (let from = 0; from < items; from += STEP_ITEMS) {
    const to = Math.min(items, from + STEP_ITEMS);
    loop(from, to);
    if (to < items) yield;
  }
}
