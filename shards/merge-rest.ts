/**
 * Until when a shard has nothing to merge: worked out once, so that the looks at hundreds of shards that stand still cost
 * nothing. It ends when the blocks or the deletes are others, when the floor reaches the next version that it has not
 * passed, and when the next window comes to rest.
 */
import type { BlockDirectory } from './block-directory.ts';
import type { Tombstone } from './tombstone.ts';
import { type Stamp, stampOf } from './version.ts';
import { type WindowState, windowStates } from './window-states.ts';

export interface RestSources {
  readonly directory: BlockDirectory;
  /** Another one whenever the deletes are others. */
  readonly deletes: string;
}

export interface RestQuestion {
  readonly floor: Stamp;
  readonly isUnmergeable: (window: number) => boolean;
  /** When the window comes to rest. */
  readonly restsFromMs: (window: number) => number;
  /** The oldest delete that has not been looked at. */
  readonly delete: Tombstone | null;
}

export class MergeRest {
  readonly #directory: BlockDirectory;
  readonly #changes: number;
  readonly #deletes: string;
  /** Least of the versions that wait for the floor; null: none does. */
  #stamp: Stamp | null = null;
  #ms = Number.POSITIVE_INFINITY;

  /** To be made when there is nothing to do now. */
  constructor({ directory, deletes }: RestSources, question: RestQuestion, nowMs: number) {
    this.#directory = directory;
    this.#changes = directory.changes;
    this.#deletes = deletes;
    if (question.delete !== null) this.#waitFor(stampOf(question.delete.version));
    for (const state of windowStates(directory)) {
      if (!state.isSettled && !question.isUnmergeable(state.window)) this.#add(state, question, nowMs);
    }
  }

  #add({ window, newest }: WindowState, { floor, restsFromMs }: RestQuestion, nowMs: number): void {
    const restsFrom = restsFromMs(window);
    if (restsFrom > nowMs) this.#ms = Math.min(this.#ms, restsFrom);
    const stamp = stampOf(newest);
    if (stamp > floor) this.#waitFor(stamp);
  }

  #waitFor(stamp: Stamp): void {
    if (this.#stamp === null || stamp < this.#stamp) this.#stamp = stamp;
  }

  goesOn({ directory, deletes }: RestSources, floor: Stamp, nowMs: number): boolean {
    const isSame = directory === this.#directory && directory.changes === this.#changes && deletes === this.#deletes;
    return isSame && nowMs < this.#ms && (this.#stamp === null || floor < this.#stamp);
  }
}
