import { defineConfig } from 'vitest/config';

const timeouts = { testTimeout: 60_000, hookTimeout: 60_000 };
const PROCESS_TESTS = 'test/process/**/*.test.ts';
/** Holds real processes under load against a bound. */
const TIMED_TESTS = ['test/process/cluster.test.ts'];

/**
 * One group after the other: two test files at a time, three where they wait for processes most of the time, but those that
 * are timed have the machine for themselves.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...timeouts,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [PROCESS_TESTS],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...timeouts,
          name: 'process',
          include: [PROCESS_TESTS],
          exclude: TIMED_TESTS,
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      { test: { ...timeouts, name: 'timed', include: TIMED_TESTS, maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
