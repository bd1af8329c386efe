/**
 * When the unflushed rows of a shard are to be flushed: nothing was added to them for long, or they are old. Time is what
 * `tick` says.
 *
 * Rows that nothing is added to are settled by the next proof, a few seconds later, if all owners are there. A flush waits
 * for that, since it then writes them as they will stay (shard-flush.ts).
 */
import type { StorageLimits } from './storage-limits.ts';

export class FlushClock {
  #nowMs = 0;
  #writtenMs = 0;
  #dirtySinceMs: number | null = null;

  tick(nowMs: number): void {
    if (this.#nowMs === 0) {
      // Opened with unflushed rows: their age is counted from now.
      if (this.#dirtySinceMs !== null) this.#dirtySinceMs = nowMs;
      this.#writtenMs = nowMs;
    }
    this.#nowMs = nowMs;
  }

  applied(): void {
    this.#writtenMs = this.#nowMs;
    this.#dirtySinceMs ??= this.#nowMs;
  }

  /** What has been applied so far is on its way into the file. */
  frozen(): void {
    this.#dirtySinceMs = null;
  }

  /** Asked while there is something to flush. `isSettled`: the floor has passed all of it. */
  isDue({ flushIdleMs, flushFloorMs, flushAgeMs }: StorageLimits, isSettled: () => boolean): boolean {
    const idleMs = this.#nowMs - this.#writtenMs;
    const ageMs = this.#nowMs - (this.#dirtySinceMs ?? this.#nowMs);
    if (ageMs >= flushAgeMs || idleMs >= flushIdleMs + flushFloorMs) return true;
    return idleMs >= flushIdleMs && isSettled();
  }
}
