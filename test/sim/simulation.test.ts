import { describe, expect, test } from 'vitest';
import { type SimOptions, type SimResult, simulate } from './cluster.ts';
import type { ScenarioName } from './scenario.ts';

const FAST_SEEDS = 20;
const REAL_SEEDS = 5;
const SCENARIO_SEEDS = 5;

function run(options: Omit<SimOptions, 'seed'>, from: number, count: number) {
  const sums = { acknowledged: 0, proofs: 0, filled: 0, scans: 0, levelled: 0 };
  for (let seed = from; seed < from + count; seed++) {
    const result = simulate({ ...options, seed });
    expect(result.failure, `seed ${seed} of ${JSON.stringify(options)}`).toBeNull();
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += result[name];
  }
  return sums;
}

/** 200 seeds; `npm run sim` runs as many as one likes. */
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

  // Disks that are lost all the time or have no room, members that join while news comes late, coordinators without
  // shards, slow mail, clocks that are set back: the same promises hold.
  test.each<[ScenarioName, number]>([
    ['fillings', 1],
    ['retention', 1],
    ['losses', 1],
    ['views', 1],
    ['wide', 0],
    ['slow', 0],
    ['clocks', 0],
    ['full', 0],
  ])(`${SCENARIO_SEEDS} seeds of %s`, { timeout: 120_000 }, (scenario, filled) => {
    const sums = run({ scenario }, 1, SCENARIO_SEEDS);
    expect(sums.acknowledged).toBeGreaterThan(SCENARIO_SEEDS * 20);
    expect(sums.filled).toBeGreaterThanOrEqual(filled);
  });

  test('bits that fall over in stored blocks are found, and mended from the others', { timeout: 120_000 }, () => {
    let mended = 0;
    for (let seed = 4; seed <= 6; seed++) {
      const result = simulate({ seed, engine: 'real', scenario: 'damage' });
      expect(result.failure, `seed ${seed}`).toBeNull();
      mended += result.counters.replicas_mended ?? 0;
    }
    expect(mended).toBeGreaterThanOrEqual(3);
  });

  test.each([
    ['memory', 3, 30],
    ['real', 2, 10],
  ] as const)(
    'a replica that was levelled for a query has what was acknowledged before it (%s)',
    (engine, seeds, reads) => {
      expect(run({ scenario: 'levelled', engine }, 1, seeds).levelled).toBeGreaterThan(reads);
    },
  );

  test('nodes that join and leave all the time: former owners let go, and no write is lost', {
    timeout: 120_000,
  }, () => {
    for (const seed of [1, 3]) {
      const { failure, counters, acknowledged } = simulate({ seed, scenario: 'moves' });
      expect(failure).toBeNull();
      expect(acknowledged).toBeGreaterThan(100);
      expect(counters.shards_let_go).toBeGreaterThan(0);
    }
    expect(run({ scenario: 'moves', engine: 'real' }, 2, 1).scans).toBeGreaterThan(0);
  });

  test.each(['memory', 'real'] as const)('the same seed is the same run, message by message (%s)', (engine) => {
    const [first, again, other]: SimResult[] = [1, 1, 2].map((seed) => simulate({ seed, engine })) as never;
    expect(again).toEqual(first);
    expect(other!.hash).not.toBe(first!.hash);
  });
});
