/** How long things took, until somebody asks: at most so many, the first ones. */
const TIMINGS_MAX = 2_000;

export class Timings {
  readonly #seconds = new Float64Array(TIMINGS_MAX);
  #count = 0;

  keep(seconds: number): void {
    if (this.#count < TIMINGS_MAX) this.#seconds[this.#count++] = seconds;
  }

  /** All since the last call. */
  take(): number[] {
    const taken = Array.from(this.#seconds.subarray(0, this.#count));
    this.#count = 0;
    return taken;
  }
}
