/** Medians, percentiles and slopes of measured figures. */

/** The smallest of `sorted` that at least `share` of all do not exceed (nearest rank); NaN of nothing. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))]!;
}

export function sortedCopy(values: Iterable<number>): Float64Array {
  return Float64Array.from(values).sort();
}

export function median(values: Iterable<number>): number {
  const sorted = sortedCopy(values);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export interface Trend {
  /** Change of y over the whole range of x, by the median slope. */
  readonly growth: number;
  /** Median distance of the points from the line: what the figure swings by anyway. */
  readonly swing: number;
}

/**
 * Theil and Sen's slope: the median of the slopes between all pairs. A few outliers (a flush, a collection of garbage)
 * do not move it, as they would a least-squares line.
 */
export function trendOf(x: readonly number[], y: readonly number[]): Trend {
  const slopes: number[] = [];
  for (let i = 0; i < x.length; i++)
    for (let j = i + 1; j < x.length; j++) if (x[j] !== x[i]) slopes.push((y[j]! - y[i]!) / (x[j]! - x[i]!));
  if (slopes.length === 0) return { growth: 0, swing: 0 };
  const slope = median(slopes);
  const offset = median(y.map((value, index) => value - slope * x[index]!));
  const swing = median(y.map((value, index) => Math.abs(value - offset - slope * x[index]!)));
  return { growth: slope * (x[x.length - 1]! - x[0]!), swing };
}

export interface Flatness {
  readonly isFlat: boolean;
  readonly trend: Trend;
  readonly median: number;
  /** The growth that was still taken for flat. */
  readonly allowed: number;
}

/** Whether a figure stands still: it grows by less than a twentieth, less than it swings by anyway, or hardly at all. */
export function flatnessOf(x: readonly number[], y: readonly number[], negligible: number): Flatness {
  const trend = trendOf(x, y);
  const middle = median(y);
  const allowed = Math.max(negligible, middle / 20, 2 * trend.swing);
  return { isFlat: trend.growth <= allowed, trend, median: middle, allowed };
}
