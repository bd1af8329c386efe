/** The checkers can fail: a cluster in which one rule is broken is caught. Rules: repair/PROTOCOL.md. */
import { describe, expect, test } from 'vitest';
import { simulate } from './cluster.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import type { ScenarioName } from './scenario.ts';

const SEEDS_MAX = 40;
/** A scenario that shows it, and a seed at which the search begins: one that has been found to show it. */
const SHOWN_BY: Record<Mutation, [ScenarioName, number]> = {
  'closed-ignores-open': ['slow', 11],
  'sync-lies': ['mixed', 14],
  'version-reused': ['clocks', 4],
  'outbox-forgotten': ['wide', 30],
  'below-floor-applied': ['mixed', 1],
  'counted-twice': ['mixed', 1],
  'floor-without-root': ['mixed', 1],
  'filling-counted': ['fillings', 14],
  'stray-acknowledged': ['mixed', 3],
  'views-combined': ['views', 5],
  'hop-skipped': ['mixed', 1],
  'dropped-early': ['mixed', 1],
  'floor-not-durable': ['mixed', 1],
  'debt-holds-cutoff': ['full', 1],
  'pass-below-floor': ['mixed', 1],
  'receiver-checks-types': ['mixed', 1],
  'ring-owners-only': ['moves', 1],
  'merge-first': ['deletes', 1],
  'tombstone-dropped': ['deletes', 1],
  'asked-twice': ['mixed', 301],
  'offers-not-looked-up': ['mixed', 3002],
  'deletes-taken-as-known': ['deletes', 40],
  'superseded-early': ['deletes', 1],
  'expired-at-once': ['retention', 1],
  'expired-still-owed': ['retention', 1],
};

describe('a simulated cluster', () => {
  test.each(MUTATIONS)('in which %s is caught', (mutation) => {
    const [scenario, from] = SHOWN_BY[mutation];
    let caught = false;
    for (let seed = from; seed < from + SEEDS_MAX && !caught; seed++)
      caught = simulate({ seed, mutation, scenario }).failure !== null;
    expect(caught).toBe(true);
  });
});
