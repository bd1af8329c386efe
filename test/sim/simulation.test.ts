import { describe, expect, test } from 'vitest';
import { type Mutation, simulate } from './cluster.ts';

const SEEDS = 100;

describe('simulated cluster', () => {
  test(`${SEEDS} seeds of faults: no acknowledged write is lost, watermarks are true, and all converge within the bound`, () => {
    let [acknowledged, proofs, filled] = [0, 0, 0];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const result = simulate({ seed });
      expect(result.failure, `seed ${seed}`).toBeNull();
      acknowledged += result.acknowledged;
      proofs += result.proofs;
      filled += result.filled;
    }
    // A simulation in which nothing happens would pass as well.
    expect(acknowledged).toBeGreaterThan(SEEDS * 20);
    expect(proofs).toBeGreaterThan(SEEDS);
    expect(filled).toBeGreaterThan(0);
  });

  test.each<Mutation>([
    'closed-ignores-open',
    'sync-lies',
    'version-reused',
    'outbox-forgotten',
    'below-floor-applied',
    'counted-twice',
    'floor-without-root',
    'stray-acknowledged',
    'hop-skipped',
  ])('a cluster in which %s is caught', (mutation) => {
    let caught = false;
    for (let seed = 1; seed <= 60 && !caught; seed++)
      caught = simulate({ seed, mutation, wide: seed % 2 === 1 }).failure !== null;
    expect(caught).toBe(true);
  });
});
