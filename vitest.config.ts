import { defineConfig } from 'vitest/config';
import { RunningOrder } from './test/support/running-order.ts';

const PROCESS_TESTS = 'test/process/**/*.test.ts';
/** Holds real processes under load against a bound. */
const TIMED_TESTS = ['test/process/cluster.test.ts'];
const SIMULATIONS = 'test/sim/**/*.test.ts';
const timeouts = { testTimeout: 60_000, hookTimeout: 60_000 };
/** They give way, and have no time to keep. */
const computing = { testTimeout: 180_000, hookTimeout: 60_000, setupFiles: ['test/support/give-way.ts'] };
/** First the timed one, with a single simulation beside it; in each group two files of processes at most, and one that computes. */
const first = { maxWorkers: 2, sequence: { groupOrder: 0 } };
const then = { maxWorkers: 3, sequence: { groupOrder: 1 } };

export default defineConfig({
  test: {
    sequence: { sequencer: RunningOrder },
    projects: [
      { test: { ...timeouts, ...first, name: 'timed', include: TIMED_TESTS } },
      { test: { ...computing, ...first, name: 'simulation', include: [SIMULATIONS] } },
      { test: { ...timeouts, ...then, name: 'process', include: [PROCESS_TESTS], exclude: TIMED_TESTS } },
      {
        test: {
          ...computing,
          ...then,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [PROCESS_TESTS, SIMULATIONS],
          // Half of what most of these files cost is loading the code under test: once in each worker is enough.
          isolate: false,
        },
      },
    ],
  },
});
