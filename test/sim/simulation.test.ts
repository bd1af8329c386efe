import { describe, expect, test } from 'vitest';
import { type SimOptions, type SimResult, simulate } from './cluster.ts';
import type { Mutation } from './mutations.ts';
import type { ScenarioName } from './scenario.ts';

const FAST_SEEDS = 100;
const REAL_SEEDS = 10;
/** A directed scenario makes its rare thing frequent: few seeds are enough. */
const MUTATION_SEEDS_MAX = 60;

function run(options: Omit<SimOptions, 'seed'>, from: number, count: number) {
  const sums = { acknowledged: 0, proofs: 0, filled: 0, scans: 0 };
  for (let seed = from; seed < from + count; seed++) {
    const result = simulate({ ...options, seed });
    expect(result.failure, `seed ${seed} of ${JSON.stringify(options)}`).toBeNull();
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += result[name];
  }
  return sums;
}

describe('simulated cluster', () => {
  test(`${FAST_SEEDS} seeds of faults: no acknowledged write is lost, watermarks are true, and all converge within the bound`, () => {
    const sums = run({}, 1, FAST_SEEDS);
    // A simulation in which nothing happens would pass as well.
    expect(sums.acknowledged).toBeGreaterThan(FAST_SEEDS * 20);
    expect(sums.proofs).toBeGreaterThan(FAST_SEEDS);
    expect(sums.filled).toBeGreaterThan(0);
  });

  test(`${REAL_SEEDS} seeds on the storage engine: stored rows and scans are equal on all owners as well`, () => {
    const sums = run({ engine: 'real' }, 1, REAL_SEEDS);
    expect(sums.acknowledged).toBeGreaterThan(REAL_SEEDS * 20);
    expect(sums.scans).toBeGreaterThan(REAL_SEEDS * 5);
  });

  test('disks that are lost all the time, and nodes that join while news comes late: the same promises hold', () => {
    expect(run({ scenario: 'fillings' }, 1, 3).filled).toBeGreaterThan(2);
    expect(run({ scenario: 'fillings', engine: 'real' }, 1, 2).filled).toBeGreaterThan(1);
    expect(run({ scenario: 'views' }, 1, 3).filled).toBeGreaterThan(0);
    expect(run({ scenario: 'wide' }, 1, 3).acknowledged).toBeGreaterThan(100);
  });

  test.each(['memory', 'real'] as const)('the same seed is the same run, message by message (%s)', (engine) => {
    const [first, again, other]: SimResult[] = [1, 1, 2].map((seed) => simulate({ seed, engine })) as never;
    expect(again).toEqual(first);
    expect(other!.hash).not.toBe(first!.hash);
  });

  test.each<[Mutation, ScenarioName]>([
    ['closed-ignores-open', 'slow'],
    ['sync-lies', 'mixed'],
    ['version-reused', 'clocks'],
    ['outbox-forgotten', 'wide'],
    ['below-floor-applied', 'mixed'],
    ['counted-twice', 'mixed'],
    ['floor-without-root', 'mixed'],
    ['filling-counted', 'fillings'],
    ['stray-acknowledged', 'mixed'],
    ['views-combined', 'views'],
    ['hop-skipped', 'mixed'],
  ])('a cluster in which %s is caught (%s)', (mutation, scenario) => {
    let caught = false;
    for (let seed = 1; seed <= MUTATION_SEEDS_MAX && !caught; seed++)
      caught = simulate({ seed, mutation, scenario }).failure !== null;
    expect(caught).toBe(true);
  });
});
