/**
 * What a pull, or another part of a repair, found out about the values that it brought: counts by rule, and some of them.
 */
import type { Contest, ContestedDelete, Contests } from '../shards/contests.ts';
import { DECIDING_RULES } from '../shards/contests.ts';
import type { DecidedCounts } from './records.ts';

/** Of each rule, and of deletes. */
export const SAMPLES_MAX = 4;

/** Their order is that of the numbers in bundles (ring-bundle-head.ts). */
export const DECIDED_NAMES: readonly string[] = [...DECIDING_RULES, 'same', 'deletes', 'unexamined'];

export function isDecidedName(name: string): boolean {
  return DECIDED_NAMES.includes(name);
}

export class Explanation {
  readonly samples: Contest[] = [];
  readonly deletes: ContestedDelete[] = [];
  private readonly counts: Record<string, number> = {};

  add({ decided, same, deletes, unexamined, samples, deleteSamples }: Contests): void {
    for (const [name, count] of Object.entries({ ...decided, same, deletes, unexamined })) this.count(name, count);
    for (const sample of samples)
      if (this.samples.filter(({ rule }) => rule === sample.rule).length < SAMPLES_MAX) this.samples.push(sample);
    this.deletes.push(...deleteSamples.slice(0, SAMPLES_MAX - this.deletes.length));
  }

  /** Rows that came and could not be held against what is here. */
  unexamined(rows: number): void {
    this.count('unexamined', rows);
  }

  private count(name: string, by: number): void {
    if (by > 0) this.counts[name] = (this.counts[name] ?? 0) + by;
  }

  /** undefined: nothing competed. */
  get decided(): DecidedCounts | undefined {
    return Object.keys(this.counts).length === 0 ? undefined : { ...this.counts };
  }
}
