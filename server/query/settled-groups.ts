/** Which groups of a SELECT are settled by what was read of it from one end of time (shards/query/settling.ts). */
import type { SelectRequest, ShardSelect } from '../../shards/query/partial.ts';
import type { Steps } from '../../shards/steps.ts';
import { inRanges } from '../turns.ts';
import { groupKey } from './groups.ts';

export class SettledGroups {
  /** Of each call so many values, or of the rows so many, settle a group. */
  readonly #wanted: number;
  readonly #calls: number;
  readonly #settled = new Set<string>();
  /** What was found of the others. */
  readonly #found = new Map<string, Float64Array>();

  constructor({ states, rows }: SelectRequest) {
    this.#wanted = rows?.perGroup ?? 1;
    this.#calls = Math.max(1, states.length);
  }

  /** `key`: of groupKey. */
  has(key: string): boolean {
    return this.#settled.has(key);
  }

  /** In short steps. */
  *add({ groups: { measurements, tagValues }, states, rows }: ShardSelect): Steps {
    const counts = states.length > 0 ? states.map(({ count }) => count) : [countsOf(rows, measurements.length)];
    yield* inRanges(measurements.length, (from, to) => {
      for (let g = from; g < to; g++) {
        const key = groupKey(measurements[g]!, tagValues, g);
        if (this.#settled.has(key) || !this.#isSettledBy(key, counts, g)) continue;
        this.#settled.add(key);
        this.#found.delete(key);
      }
    });
  }

  #isSettledBy(key: string, counts: readonly Float64Array[], g: number): boolean {
    let isSettled = true;
    for (const count of counts) isSettled &&= count[g]! >= this.#wanted;
    if (isSettled) return true;
    let found = this.#found.get(key);
    if (found === undefined) {
      found = new Float64Array(this.#calls);
      this.#found.set(key, found);
    }
    for (let c = 0; c < found.length; c++) found[c]! += counts[c]![g]!;
    return found.every((count) => count >= this.#wanted);
  }
}

function countsOf(rows: ShardSelect['rows'], groups: number): Float64Array {
  const counts = new Float64Array(groups);
  for (const group of rows?.groups ?? []) counts[group]!++;
  return counts;
}
