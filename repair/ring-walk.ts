/** The walk of a token that nobody is left out of: hop after hop around its order, the first half gathers, the second spreads. */
import type { NodeNumber } from '../shards/version.ts';
import type { HopRecord } from './records.ts';

/** The first hops, with the ms that each has taken, when nothing differed. */
export function evenHops(order: readonly NodeNumber[], ms: readonly number[]): HopRecord[] {
  const nothing = { epochsDiffering: 0, batches: 0, rows: 0, bytes: 0 };
  const at = (i: number) => order[i % order.length]!;
  return ms.map((each, i) => ({ from: at(i), to: at(i + 1), ...nothing, ms: each }));
}
