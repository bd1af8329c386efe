/**
 * Work in short steps: whoever has it done may do something else between two of them, or give it up by `return`.
 *
 * Between two steps of a reading the world goes on: what it holds of kernel memory, ranks of series or places of blocks
 * must be taken anew behind each `yield`.
 */
export type Steps<T = void> = Generator<void, T>;

/** All of it at once. */
export function allSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
