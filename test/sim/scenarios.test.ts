/** Scenarios, which make rare things frequent. */
import { describe, expect, test } from 'vitest';
import { run } from './campaign.ts';
import { simulate } from './cluster.ts';
import type { ScenarioName } from './scenario.ts';

const SCENARIO_SEEDS = 5;

describe('simulated cluster', () => {
  // Disks that are lost all the time or have no room, stay without room or do not sync, members that join while news comes late, coordinators without
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
    ['sick', 0],
  ])(`${SCENARIO_SEEDS} seeds of %s`, { timeout: 120_000 }, (scenario, filled) => {
    const sums = run({ scenario }, 1, SCENARIO_SEEDS);
    expect(sums.acknowledged).toBeGreaterThan(SCENARIO_SEEDS * 20);
    expect(sums.filled).toBeGreaterThanOrEqual(filled);
  });

  test('bits that fall over in stored blocks are found, and mended from the others; files that are set aside are disowned', {
    timeout: 120_000,
  }, () => {
    let [mended, setAside] = [0, 0];
    for (let seed = 4; seed <= 6; seed++) {
      const result = simulate({ seed, engine: 'real', scenario: 'damage' });
      expect(result.failure, `seed ${seed}`).toBeNull();
      mended += result.counters.replicas_mended ?? 0;
      setAside += result.counters.shards_set_aside ?? 0;
    }
    expect(mended).toBeGreaterThanOrEqual(3);
    expect(setAside).toBeGreaterThanOrEqual(1);
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
});
