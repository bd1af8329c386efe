/**
 * The windows of GROUP BY time(...): regular ones by arithmetic, those of a time zone by their boundaries.
 *
 * Window i starts at `startNs + i * intervalNs`; with `boundaries` (ascending, one more than windows) it is
 * [boundaries[i], boundaries[i + 1]). InfluxDB aligns windows to the epoch (plus the offset), not to the range.
 * `startNs` may lie before the first time that there is: the first window is said to start there.
 */
import { TIME_MIN_NS } from '../shard-key.ts';

export interface Windows {
  readonly startNs: bigint;
  readonly intervalNs: bigint;
  readonly count: number;
  readonly boundaries: BigInt64Array | null;
}

/** The windows that a shard's part of the range touches, as ascending offsets from the shard's start. */
export interface ShardWindows {
  readonly first: number;
  readonly count: number;
  /** count + 1 offsets; the outermost are cut to the shard's range, so that all are exact. */
  readonly offsets: Float64Array;
}

/** Start of window `index`; `index` may be `count`: the end of the last one. */
export function windowStart(windows: Windows, index: number): bigint {
  return windows.boundaries === null
    ? earliest(windows.startNs + BigInt(index) * windows.intervalNs)
    : windows.boundaries[index]!;
}

const earliest = (startNs: bigint): bigint => (startNs < TIME_MIN_NS ? TIME_MIN_NS : startNs);

/** Starts of windows, whose indexes ascend. */
export function windowStarts(windows: Windows, indexes: readonly number[]): BigInt64Array {
  const starts = new BigInt64Array(indexes.length);
  const { boundaries, intervalNs } = windows;
  let start = windows.startNs;
  let last = 0;
  for (let i = 0; i < indexes.length; i++) {
    const index = indexes[i]!;
    if (boundaries !== null) start = boundaries[index]!;
    else if (index === last + 1) start += intervalNs;
    else start = windows.startNs + BigInt(index) * intervalNs;
    last = index;
    starts[i] = earliest(start);
  }
  return starts;
}

/** Index of the window that holds `timeNs`, which must not lie outside all of them. */
export function windowIndex(windows: Windows, timeNs: bigint): number {
  const boundaries = windows.boundaries;
  if (boundaries === null) return Number((timeNs - windows.startNs) / windows.intervalNs);
  let low = 0;
  let high = windows.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (boundaries[middle]! <= timeNs) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Which windows the offsets minOffset..maxOffset (inclusive) of a shard fall into; null windows: a single one. */
export function shardWindowRange(
  windows: Windows | null,
  shardStartNs: bigint,
  minOffset: number,
  maxOffset: number,
): { first: number; count: number } {
  if (windows === null) return { first: 0, count: 1 };
  const first = windowIndex(windows, shardStartNs + BigInt(minOffset));
  const last = windowIndex(windows, shardStartNs + BigInt(maxOffset));
  return { first, count: last - first + 1 };
}

export function shardWindows(
  windows: Windows | null,
  range: { first: number; count: number },
  shardStartNs: bigint,
  minOffset: number,
  maxOffset: number,
): ShardWindows {
  const offsets = new Float64Array(range.count + 1);
  offsets[0] = minOffset;
  offsets[range.count] = maxOffset + 1;
  if (windows !== null) {
    if (windows.boundaries === null && range.count > 1) {
      // Within a shard everything is below 2^53: exact without a bigint per window.
      const second = Number(windowStart(windows, range.first + 1) - shardStartNs);
      const interval = Number(windows.intervalNs);
      for (let i = 1; i < range.count; i++) offsets[i] = second + (i - 1) * interval;
    } else
      for (let i = 1; i < range.count; i++) offsets[i] = Number(windowStart(windows, range.first + i) - shardStartNs);
  }
  return { first: range.first, count: range.count, offsets };
}

/** Position of the window that holds `time`, searched upwards from `from`: the next one first, then by bisection. */
export function seekWindow(offsets: Float64Array, from: number, time: number): number {
  if (time < offsets[from + 1]!) return from;
  if (from + 2 < offsets.length && time < offsets[from + 2]!) return from + 1;
  let low = from + 1;
  let high = offsets.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (offsets[middle]! <= time) low = middle;
    else high = middle - 1;
  }
  return low;
}
