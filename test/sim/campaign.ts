/** Some seeds of one kind in a test, and sums that say that something happened in them. */
import { expect } from 'vitest';
import { type SimOptions, simulate } from './cluster.ts';

export function run(options: Omit<SimOptions, 'seed'>, from: number, count: number) {
  const sums = { acknowledged: 0, proofs: 0, filled: 0, scans: 0, levelled: 0 };
  for (let seed = from; seed < from + count; seed++) {
    const result = simulate({ ...options, seed });
    expect(result.failure, `seed ${seed} of ${JSON.stringify(options)}`).toBeNull();
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += result[name];
  }
  return sums;
}
