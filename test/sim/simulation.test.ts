import { describe, expect, test } from 'vitest';
import { run } from './campaign.ts';
import { type SimResult, simulate } from './cluster.ts';

const FAST_SEEDS = 20;
const REAL_SEEDS = 5;

/** With those of scenarios.test.ts 200 seeds and more; `npm run sim` runs as many as one likes. */
describe('simulated cluster', () => {
  test.each([1, 21, 41, 61, 81, 101, 121, 141])(
    `${FAST_SEEDS} seeds of faults from %i: no acknowledged write is lost, watermarks are true, all converge within the bound`,
    { timeout: 120_000 },
    (from) => {
      const sums = run({}, from, FAST_SEEDS);
      // A simulation in which nothing happens would pass as well.
      expect(sums.acknowledged).toBeGreaterThan(FAST_SEEDS * 20);
      expect(sums.proofs).toBeGreaterThan(FAST_SEEDS);
    },
  );

  test.each([1, 6])(
    `${REAL_SEEDS} seeds on the storage engine from %i: stored rows and scans are equal on all owners as well`,
    { timeout: 120_000 },
    (from) => {
      const sums = run({ engine: 'real' }, from, REAL_SEEDS);
      expect(sums.acknowledged).toBeGreaterThan(REAL_SEEDS * 20);
      expect(sums.scans).toBeGreaterThan(REAL_SEEDS * 5);
    },
  );

  test.each(['memory', 'real'] as const)('the same seed is the same run, message by message (%s)', (engine) => {
    const [first, again, other]: SimResult[] = [1, 1, 2].map((seed) => simulate({ seed, engine })) as never;
    expect(again).toEqual(first);
    expect(other!.hash).not.toBe(first!.hash);
  });
});
