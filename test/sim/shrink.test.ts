import { describe, expect, test } from 'vitest';
import { simulate } from './cluster.ts';
import { NOTHING_LEFT_OUT, numbersOf, rangesOf, reductionOptions } from './reduction.ts';
import { kindOfFailure, shrink } from './shrink.ts';

describe('numbers of faults and writes', () => {
  test('ranges and back', () => {
    expect(rangesOf(new Set([7, 1, 2, 3, 9]))).toBe('1-3,7,9');
    expect(numbersOf('1-3,7,9')).toEqual(new Set([1, 2, 3, 7, 9]));
    expect(numbersOf('')).toEqual(new Set());
    expect(() => numbersOf('1;2')).toThrow(RangeError);
  });

  test('what is left out, as options', () => {
    expect(reductionOptions(NOTHING_LEFT_OUT)).toEqual([]);
    expect(reductionOptions({ ...NOTHING_LEFT_OUT, withoutFaults: new Set([2, 3]), untilMs: 900 })).toEqual([
      '--without-faults',
      '2-3',
      '--until',
      '900',
    ]);
  });
});

describe('shrinking', () => {
  test('failures are alike whatever their times, versions and names are', () => {
    const failure =
      'at 8123 ms: acknowledged 018bcfe568000000a3f0c1d2e4b5a697 is not on owner n3 812 ms after the faults';
    expect(kindOfFailure(failure)).toBe('acknowledged # is not on owner # # ms after the faults');
  });

  test('finds the one fault and the two writes that it takes, and the time that they need', () => {
    const needed = (reduction = NOTHING_LEFT_OUT) =>
      !reduction.withoutFaults.has(5) &&
      !reduction.withoutWrites.has(3) &&
      !reduction.withoutWrites.has(40) &&
      !reduction.calm.has('loss') &&
      (reduction.untilMs ?? 9_000) >= 3_000;
    const failed = { failure: 'at 1 ms: lost', faults: 12, writes: 100, writesMs: 9_000 };
    const found = shrink({ seed: 1 }, failed, ({ reduction }) => ({
      failure: needed(reduction) ? 'at 2 ms: lost' : null,
    }));
    const { withoutFaults, withoutWrites, calm, untilMs, nodes } = found.reduction;
    expect(rangesOf(withoutFaults)).toBe('0-4,6-11');
    expect(rangesOf(withoutWrites)).toBe('0-2,4-39,41-99');
    expect(calm.has('loss')).toBe(false);
    expect(calm.has('lateness')).toBe(true);
    expect(untilMs! - 3_000).toBeLessThan(100);
    expect(nodes).toBe(3);
  });

  test('another failure is not taken for the one that is looked for', () => {
    const failed = { failure: 'at 1 ms: lost', faults: 4, writes: 4, writesMs: 1_000 };
    const { reduction } = shrink({ seed: 1 }, failed, () => ({ failure: 'at 1 ms: late' }));
    expect(reduction).toEqual(NOTHING_LEFT_OUT);
  });

  test('a cluster that skips what it should compare, shrunk, still fails in the same way', () => {
    const options = { mutation: 'hop-skipped', seed: 1 } as const;
    const failed = simulate(options);
    const { reduction, failure } = shrink(options, failed, simulate, 8);
    expect(kindOfFailure(failure)).toBe(kindOfFailure(failed.failure!));
    expect(reduction).not.toEqual(NOTHING_LEFT_OUT);
    expect(simulate({ ...options, reduction }).failure).toBe(failure);
  });
});
