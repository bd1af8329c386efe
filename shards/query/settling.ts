/**
 * Requests whose groups are settled by the rows of one end of time: what lies behind those need not be read.
 *
 * The last (or first) values of a group are those of its last (or first) rows, and with LIMIT so many rows from one end are
 * all that is wanted of it. A shard reads such a request from that end on, and so does a coordinator with shard groups
 * (server/query/ranges.ts).
 */
import type { SelectRequest } from './partial.ts';

export type End = 'first' | 'last';

/** null: every row counts. */
export function settlingEnd({ windows, states, rows, descending }: SelectRequest): End | null {
  if (windows !== null) return null;
  if (rows !== null) return states.length > 0 || rows.perGroup === null ? null : descending ? 'last' : 'first';
  const fn = states[0]?.fn;
  if (fn !== 'first' && fn !== 'last') return null;
  for (const state of states) if (state.fn !== fn) return null;
  return fn;
}
