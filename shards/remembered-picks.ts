/**
 * The newest (or the oldest) values of all series of a block, kept beside the block in memory from query to query.
 *
 * A block does not change, and "the newest value of each host" is asked for again and again: to find it a column has to be
 * decoded, since its values are steps from one to the next. What is kept is some 24 bytes of each series and column that
 * was asked for. Floats only; other types are rare in such questions.
 */
import type { CachedBlock } from './block-cache.ts';
import type { BlockColumn } from './block-head.ts';
import { KernelAggregate } from './codec/kernel-aggregate.ts';
import { FLOAT } from './column.ts';
import type { AggregateCall, AggregateRuns } from './queryable.ts';

export type PickFunction = 'first' | 'last';

/** By series of the block. */
export interface Picks {
  /** Values in all; 0: the series has none, and the others are nothing. */
  readonly counts: Float64Array;
  readonly numbers: Float64Array;
  readonly times: Float64Array;
}

/** `picks` null: some time occurs twice in a series, and there are none. */
export interface RememberedPicks {
  readonly fn: PickFunction;
  readonly column: BlockColumn;
  readonly picks: Picks | null;
}

export const BYTES_PER_PICK = 24;

/** Decodes the column. null: some time occurs twice in a series. Throws BlockError. */
export function picksOf(block: CachedBlock, column: BlockColumn, fn: PickFunction): Picks | null {
  const { head } = block;
  const count = head.series.length;
  const buffer = new ArrayBuffer(count * BYTES_PER_PICK);
  const [counts, numbers, times] = [0, 1, 2].map((c) => new Float64Array(buffer, c * count * 8, count)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const calls: AggregateCall[] = [{ fn, field: column.field, type: FLOAT }];
  const take = (runs: AggregateRuns): void => {
    for (let r = 0; r < runs.length; r++) {
      const place = runs.series[r]!;
      counts[place] = runs.counts[r]!;
      numbers[place] = runs.numbers![r]!;
      times[place] = runs.times![r]!;
    }
  };
  const kernel = new KernelAggregate({ calls, offsets: Float64Array.of(head.minTime, head.maxTime + 1) }, take);
  try {
    const places = Uint32Array.from({ length: count }, (_, place) => place);
    if (kernel.findRuns(block, 0, count, places, count, head.minTime, head.maxTime) < 0) return null;
    kernel.reduce(block, 0, count, column, [0]);
    kernel.flush();
  } finally {
    kernel.close();
  }
  return { counts, numbers, times };
}
