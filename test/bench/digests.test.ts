import { describe, expect, test } from 'vitest';
import { type DataSet, flatDigest, merkleTree } from '../../scripts/bench/digests.ts';

/** A million rows of ten values. */
const DATA: DataSet = { series: 1000, fields: 10, rowsPerSeries: 1000, keyBytes: 100, bytesPerValue: 2 };

describe('what others would send for the same differences', () => {
  test('equal replicas: digests of all, and no rows', () => {
    const nothing = { rows: 0, isStretch: false };
    expect(flatDigest(DATA, nothing)).toEqual({ digestBytes: 10_000 * (100 + 22), movedBytes: 0 });
    expect(merkleTree(DATA, nothing)).toEqual({ digestBytes: 2 ** 20, movedBytes: 0 });
  });

  test('one row: one block of each of its fields, or one leaf', () => {
    const one = { rows: 1, isStretch: false };
    expect(flatDigest(DATA, one).movedBytes).toBe(10 * 1000 * 2);
    expect(merkleTree(DATA, one).movedBytes).toBeCloseTo((1e6 / 2 ** 15) * 10 * 2);
  });

  test('everything: never more than there is', () => {
    const all = { rows: 1_000_000, isStretch: true };
    expect(flatDigest(DATA, all).movedBytes).toBe(1e6 * 10 * 2);
    expect(merkleTree(DATA, all).movedBytes).toBe(1e6 * 10 * 2);
    expect(flatDigest(DATA, { rows: 900_000, isStretch: false }).movedBytes).toBe(1e6 * 10 * 2);
  });
});
