/** Times as numbers of units are those that are written of them as int64. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Epoch, formatEpoch, unitFor, wholeUnits } from '../../server/http/response-time.ts';
import { windowStart, windowStarts } from '../../shards/query/windows.ts';

const INT64_MAX = 9_223_372_036_854_775_807n;

function expectSame(timeNs: bigint, epoch: Epoch): void {
  const times = BigInt64Array.of(0n, timeNs);
  const units = wholeUnits(new Int32Array(times.buffer), 1, unitFor(epoch));
  expect(String(units)).toBe(timeNs < 0n ? '-1' : formatEpoch(timeNs, epoch));
}

test.each(['s', 'ms'] as const)('in %s', (epoch) => {
  const unit = BigInt(unitFor(epoch));
  const near = fc
    .tuple(fc.bigInt({ min: -3n, max: INT64_MAX / unit }), fc.bigInt({ min: -2000n, max: 2000n }))
    .map(([units, ns]) => units * unit + ns);
  fc.assert(
    fc.property(fc.oneof(near, fc.bigInt({ min: -INT64_MAX, max: INT64_MAX })), (timeNs) => {
      if (timeNs <= INT64_MAX) expectSame(timeNs, epoch);
    }),
    { numRuns: 20_000, seed: 3 },
  );
  for (const timeNs of [0n, 1n, unit - 1n, unit, -1n, INT64_MAX, 1n << 32n, (1n << 53n) + 1n])
    expectSame(timeNs, epoch);
});

test('other units, and dates, are written as texts', () => {
  for (const epoch of ['ns', 'u', 'm', 'h', null] as const) expect(unitFor(epoch)).toBe(0);
});

test('starts of windows are those of each, with gaps and without', () => {
  const regular = { startNs: -7n, intervalNs: 60_000_000_000n, count: 50, boundaries: null };
  const zoned = { ...regular, boundaries: BigInt64Array.from({ length: 51 }, (_, i) => BigInt(i * i)) };
  for (const windows of [regular, zoned]) {
    for (const indexes of [[], [0], [0, 1, 2], [1, 2, 5, 6, 7, 30], [49]]) {
      expect([...windowStarts(windows, indexes)]).toEqual(indexes.map((index) => windowStart(windows, index)));
    }
  }
});
