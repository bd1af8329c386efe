import { describe, expect, test } from 'vitest';
import { type SimOptions, type SimResult, simulate } from './cluster.ts';
import type { Mutation } from './mutations.ts';
import type { ScenarioName } from './scenario.ts';

const FAST_SEEDS = 25;
const REAL_SEEDS = 5;
const MUTATION_SEEDS_MAX = 40;
/** Faults of the storage engine. */
const OF_STORAGE: ReadonlySet<Mutation> = new Set(['dropped-early', 'floor-not-durable']);

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
  test.each([1, 26, 51, 76])(
    `${FAST_SEEDS} seeds of faults from %i: no acknowledged write is lost, watermarks are true, all converge within the bound`,
    (from) => {
      const sums = run({}, from, FAST_SEEDS);
      // A simulation in which nothing happens would pass as well.
      expect(sums.acknowledged).toBeGreaterThan(FAST_SEEDS * 20);
      expect(sums.proofs).toBeGreaterThan(FAST_SEEDS);
      expect(sums.filled).toBeGreaterThan(0);
    },
  );

  test.each([1, 6])(
    `${REAL_SEEDS} seeds on the storage engine from %i: stored rows and scans are equal on all owners as well`,
    (from) => {
      const sums = run({ engine: 'real' }, from, REAL_SEEDS);
      expect(sums.acknowledged).toBeGreaterThan(REAL_SEEDS * 20);
      expect(sums.scans).toBeGreaterThan(REAL_SEEDS * 5);
    },
  );

  test('disks that are lost all the time, and nodes that join while news comes late: the same promises hold', () => {
    expect(run({ scenario: 'fillings' }, 14, 1).filled).toBeGreaterThan(0);
    // Two replicas are found below a floor when the faults are over, one pass after the other, and their copies outlast the
    // bound: it counts from the end of the copies, and those have one of their own.
    expect(run({ scenario: 'fillings' }, 146, 1).filled).toBeGreaterThan(1);
    // A disk was lost with the only copy of a write while the acknowledgement of it was on its way: nothing is promised
    // for such a write, and the simulation must not do that.
    expect(run({ scenario: 'fillings' }, 188, 1).filled).toBeGreaterThan(0);
    expect(run({ scenario: 'fillings', engine: 'real' }, 5, 2).filled).toBeGreaterThan(1);
    expect(run({ scenario: 'views' }, 5, 2).filled).toBeGreaterThan(0);
    expect(run({ scenario: 'wide' }, 8, 2).acknowledged).toBeGreaterThan(50);
    expect(run({ scenario: 'slow' }, 11, 1).proofs).toBeGreaterThan(5);
    expect(run({ scenario: 'clocks' }, 4, 1).acknowledged).toBeGreaterThan(20);
  });

  test.each(['memory', 'real'] as const)('the same seed is the same run, message by message (%s)', (engine) => {
    const [first, again, other]: SimResult[] = [1, 1, 2].map((seed) => simulate({ seed, engine })) as never;
    expect(again).toEqual(first);
    expect(other!.hash).not.toBe(first!.hash);
  });

  // The last number is a seed at which the search begins: one that has been found to show it.
  test.each<[Mutation, ScenarioName, number]>([
    ['closed-ignores-open', 'slow', 11],
    ['sync-lies', 'mixed', 14],
    ['version-reused', 'clocks', 4],
    ['outbox-forgotten', 'wide', 8],
    ['below-floor-applied', 'mixed', 1],
    ['counted-twice', 'mixed', 1],
    ['floor-without-root', 'mixed', 1],
    ['filling-counted', 'fillings', 14],
    ['stray-acknowledged', 'mixed', 3],
    ['views-combined', 'views', 5],
    ['hop-skipped', 'mixed', 1],
    ['dropped-early', 'mixed', 1],
    ['floor-not-durable', 'mixed', 1],
  ])('a cluster in which %s is caught (%s)', (mutation, scenario, from) => {
    const engine = OF_STORAGE.has(mutation) ? 'real' : 'memory';
    let caught = false;
    for (let seed = from; seed < from + MUTATION_SEEDS_MAX && !caught; seed++)
      caught = isCaught({ seed, mutation, scenario, engine });
    expect(caught).toBe(true);
  });
});

/** By a checker, or by an assertion of the code itself. */
function isCaught(options: SimOptions): boolean {
  try {
    return simulate(options).failure !== null;
  } catch {
    return true;
  }
}
