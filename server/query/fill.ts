/**
 * fill(...): gives every window of a group a point, as InfluxDB's FillIterator does.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { Windows } from '../../shards/query/windows.ts';
import { windowIndex, windowStart } from '../../shards/query/windows.ts';
import type { Fill } from '../influxql/ast.ts';
import type { Point } from './groups.ts';
import type { FieldTypeName } from './schema.ts';

export interface FillRule {
  readonly fill: Fill;
  readonly windows: Windows;
  /** The range has no lower bound: filling starts at the group's first window. */
  readonly openStart: boolean;
  readonly descending: boolean;
}

/** Points are at window starts, in the query's direction; several may share a window (distinct). */
export function fillWindows(points: readonly Point[], rule: FillRule, type: FieldTypeName): Point[] {
  if (rule.fill.kind === 'none' || points.length === 0) return [...points];
  const { windows, descending } = rule;
  const indexes = points.map((point) => windowIndex(windows, point.time));
  const first = rule.openStart ? Math.min(...[indexes[0]!, indexes[indexes.length - 1]!]) : 0;
  const out: Point[] = [];
  let next = 0;
  let previous: Point | null = null;
  let previousIndex = 0;
  const end = windows.count - 1;
  for (let step = 0; step <= end - first; step++) {
    const window = descending ? end - step : first + step;
    if (next < points.length && indexes[next] === window) {
      while (next < points.length && indexes[next] === window) {
        previous = points[next]!;
        previousIndex = window;
        out.push(previous);
        next++;
      }
      continue;
    }
    const time = windowStart(windows, window);
    let value: Scalar = null;
    if (rule.fill.kind === 'value') value = castFill(rule.fill.value, type);
    else if (rule.fill.kind === 'previous') value = previous?.value ?? null;
    else if (rule.fill.kind === 'linear' && previous !== null && next < points.length)
      value = between(window, previousIndex, indexes[next]!, previous.value, points[next]!.value);
    out.push({ time, value, aux: null });
  }
  return out;
}

/** The fill value as the column's type. */
export function castFill(value: number | bigint, type: FieldTypeName): Scalar {
  switch (type) {
    case 'float':
      return Number(value);
    case 'integer':
    case 'unsigned':
      return typeof value === 'bigint' ? value : BigInt(Math.trunc(value));
    case 'string':
      return '';
    case 'boolean':
      return false;
  }
}

/** The value at `window` on the line between two windows with values. */
export function between(window: number, before: number, after: number, from: Scalar, to: Scalar): Scalar {
  if (typeof from === 'bigint' && typeof to === 'bigint') {
    const slope = Number(to - from) / (after - before);
    return BigInt(Math.trunc(slope * (window - before) + Number(from)));
  }
  if (typeof from !== 'number' || typeof to !== 'number') return null;
  return ((to - from) / (after - before)) * (window - before) + from;
}
