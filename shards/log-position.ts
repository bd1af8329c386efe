/** Positions in a worker's log: ordered by segment, then by offset. */
import type { LogPosition } from './storage.ts';

export const LOG_START: LogPosition = { segment: 0, offset: 0 };

export function isAfter(a: LogPosition, b: LogPosition): boolean {
  return a.segment > b.segment || (a.segment === b.segment && a.offset > b.offset);
}

export function laterOf(a: LogPosition, b: LogPosition): LogPosition {
  return isAfter(a, b) ? a : b;
}
