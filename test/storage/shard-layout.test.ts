/** How time is cut into shard groups, and that a change of it leaves what may have been written to where it is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { relaidFrom, SHARD_SPAN_MAX_NS, type ShardLayout, shardRange } from '../../shards/shard-key.ts';

const HOUR = 3_600_000_000_000n;
const DAY = 24n * HOUR;
const durations = fc.constantFrom(HOUR, 3n * HOUR, DAY, 7n * DAY, 30n * DAY, 400n * DAY);
const times = fc.bigInt({ min: -2_000n * DAY, max: 2_000n * DAY });

/** Layouts after some changes, each no sooner than the one before. */
const changes = fc.array(fc.record({ afterNs: fc.bigInt({ min: 0n, max: 60n * DAY }), duration: durations }), {
  maxLength: 6,
});

function layoutsOf(first: bigint, list: readonly { afterNs: bigint; duration: bigint }[]) {
  let layout: ShardLayout = { shardDurationNs: first };
  let soonNs = 0n;
  return [
    { layout, soonNs },
    ...list.map(({ afterNs, duration }) => {
      soonNs += afterNs;
      layout = relaidFrom(soonNs, layout, duration);
      return { layout, soonNs };
    }),
  ];
}

describe('shard groups', () => {
  test('without a change they are aligned to the epoch, and no longer than a shard may be', () => {
    expect(shardRange(-1n, { shardDurationNs: DAY })).toEqual({ startNs: -DAY, endNs: 0n });
    expect(shardRange(25n * HOUR, { shardDurationNs: DAY })).toEqual({ startNs: DAY, endNs: 2n * DAY });
    expect(shardRange(0n, { shardDurationNs: 400n * DAY })).toEqual({ startNs: 0n, endNs: SHARD_SPAN_MAX_NS });
  });

  test('each time is in one group, which is the group of all its times', () => {
    fc.assert(
      fc.property(
        durations,
        changes,
        times,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (first, list, timeNs, share) => {
          const { layout } = layoutsOf(first, list).at(-1)!;
          const range = shardRange(timeNs, layout);
          expect(range.startNs <= timeNs && timeNs < range.endNs).toBe(true);
          const length = range.endNs - range.startNs;
          expect(length <= SHARD_SPAN_MAX_NS).toBe(true);
          const other = range.startNs + (BigInt(Math.floor(share * 1e9)) * (length - 1n)) / 1_000_000_000n;
          for (const each of [range.startNs, other, range.endNs - 1n]) expect(shardRange(each, layout)).toEqual(range);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a change leaves every group up to the newest that may have been written to as it was, and holds after it', () => {
    fc.assert(
      fc.property(durations, changes, times, (first, list, timeNs) => {
        const layouts = layoutsOf(first, list);
        for (let i = 1; i < layouts.length; i++) {
          const before = layouts[i - 1]!.layout;
          const { layout, soonNs } = layouts[i]!;
          const { endNs } = shardRange(soonNs, before);
          const written = timeNs < endNs ? timeNs : endNs - 1n;
          expect(shardRange(written, layout)).toEqual(shardRange(written, before));
          const later = endNs + 500n * DAY;
          expect(shardRange(later, layout)).toEqual(shardRange(later, { shardDurationNs: layout.shardDurationNs }));
        }
      }),
      { numRuns: 500 },
    );
  });
});
