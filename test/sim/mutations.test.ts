/**
 * The checkers can fail: a cluster in which one rule is broken is caught, by the check that the rule is for, at a seed that
 * passes when nothing is broken. Rules: repair/PROTOCOL.md.
 */
import { describe, expect, test } from 'vitest';
import { simulate } from './cluster.ts';
import { engineFor } from './engine-choice.ts';
import { MUTATIONS, type Mutation } from './mutations.ts';
import type { ScenarioName } from './scenario.ts';
import type { Check } from './violation.ts';

const SEEDS_MAX = 15;

interface Shown {
  readonly scenario: ScenarioName;
  /** Where the search begins: one that has been found to show it. */
  readonly seed: number;
  /** What says so; or the message of the assertion in the code that keeps the rule before a checker could see anything. */
  readonly by: readonly Check[] | RegExp;
}

function shown(scenario: ScenarioName, seed: number, ...by: Check[]): Shown {
  return { scenario, seed, by };
}

const SHOWN_BY: Record<Mutation, Shown> = {
  'closed-ignores-open': shown('slow', 11, 'nothing-lost', 'proof-true'),
  'sync-lies': shown('mixed', 14, 'nothing-lost', 'proof-true'),
  // A node that comes back alone, with a clock that was set back, and writes before it hears anybody.
  'version-reused': shown('clocks', 3, 'versions-unique'),
  'outbox-forgotten': shown('wide', 30, 'nothing-lost'),
  'below-floor-applied': shown('mixed', 1, 'converges-in-time'),
  'counted-twice': shown('mixed', 1, 'converges-in-time'),
  'floor-without-root': shown('mixed', 14, 'proof-true'),
  'filling-counted': shown('fillings', 14, 'nothing-lost'),
  'stray-acknowledged': shown('moves', 3, 'nothing-lost'),
  'views-combined': shown('views', 5, 'proof-true'),
  'hop-skipped': shown('mixed', 1, 'converges-in-time'),
  'dropped-early': shown('mixed', 1, 'content-equal', 'scans-right'),
  'floor-not-durable': shown('mixed', 2, 'proof-true'),
  'debt-holds-cutoff': shown('full', 1, 'converges-in-time'),
  // A ledger knows no batches below its floor: whoever goes on with such a pass asks it for a root that there is not.
  'pass-below-floor': { scenario: 'mixed', seed: 3, by: /RangeError: root at \w+ asked below the floor/ },
  'receiver-checks-types': shown('mixed', 2, 'nothing-lost'),
  'ring-owners-only': shown('moves', 1, 'proof-true'),
  'merge-first': shown('deletes', 2, 'scans-right'),
  'tombstone-dropped': shown('deletes', 1, 'live-proof-true', 'scans-right'),
  'asked-twice': shown('mixed', 301, 'fetched-once'),
  'offers-not-looked-up': shown('mixed', 3002, 'mailed-once'),
  'deletes-taken-as-known': shown('deletes', 40, 'deletes-known'),
  'superseded-early': shown('deletes', 1, 'live-proof-true', 'proof-true'),
  'expired-at-once': shown('retention', 1, 'expires-together'),
  'expired-still-owed': shown('retention', 1, 'expires-together'),
};

/** The first seed at which it is caught so, and how others were; null: none. */
function catching(mutation: Mutation): { seed: number | null; otherwise: string[] } {
  const { scenario, seed: from, by } = SHOWN_BY[mutation];
  const otherwise: string[] = [];
  for (let seed = from; seed < from + SEEDS_MAX; seed++) {
    const { failure, check } = simulate({ seed, mutation, scenario });
    if (failure === null) continue;
    if (by instanceof RegExp ? check === null && by.test(failure) : check !== null && by.includes(check))
      return { seed, otherwise };
    otherwise.push(`${seed}: ${check} ${failure.split('\n')[0]}`);
  }
  return { seed: null, otherwise };
}

describe('a simulated cluster', () => {
  test.each(MUTATIONS)('in which %s is caught', (mutation) => {
    const { scenario } = SHOWN_BY[mutation];
    const { seed, otherwise } = catching(mutation);
    expect(seed, otherwise.join('\n')).not.toBeNull();
    expect(simulate({ seed: seed!, scenario, engine: engineFor(scenario, mutation, undefined) }).failure).toBeNull();
  });
});
