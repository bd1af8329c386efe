/**
 * What went wrong in a call of the codecs: the first failure is kept, and the caller outside turns it into its error.
 *
 * Kernels throw nothing. A reader that fails gives zeros from then on and has nothing left, so that loops end.
 */

/** The section ends before its content does. */
export const SECTION_ENDS: i32 = 1;
/** A count, an offset or an index beyond what is possible. */
export const TOO_LARGE: i32 = 2;
/** A form, an order, a width or an encoding that is not known. */
export const UNKNOWN_FORM: i32 = 3;
/** Counts that contradict each other. */
export const CONTRADICTION: i32 = 4;
/** The writer's room is used up: an error of the caller, or a form that is too long to be chosen. */
export const NO_ROOM: i32 = 5;

let first: i32 = 0;

export function fail(code: i32): void {
  if (first == 0) first = code;
}

@inline
export function failed(): bool {
  return first != 0;
}

export function failure(): i32 {
  return first;
}

export function clearFailure(): void {
  first = 0;
}
