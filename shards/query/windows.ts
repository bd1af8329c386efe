/**
 * The windows of GROUP BY time(...): regular ones by arithmetic, those of a time zone by their boundaries.
 *
 * Window i starts at `startNs + i * intervalNs`; with `boundaries` (ascending, one more than windows) it is
 * [boundaries[i], boundaries[i + 1]). InfluxDB aligns windows to the epoch (plus the offset), not to the range.
 */
export interface Windows {
  readonly startNs: bigint;
  readonly intervalNs: bigint;
  readonly count: number;
  readonly boundaries: BigInt64Array | null;
}
