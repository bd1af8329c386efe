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
  /** All that points are in, and which of them are the range's. */
  readonly windows: Windows;
  readonly first: number;
  readonly last: number;
  /** The range has no lower bound: filling starts at the group's first window. */
  readonly openStart: boolean;
  readonly descending: boolean;
}

/**
 * Points are at window starts, in the query's direction. As in InfluxDB each takes the place of a window of the range, be it
 * that of a window before it (of a subquery that begins earlier), so that as many at the other end may not be filled.
 */
export function fillWindows(points: readonly Point[], rule: FillRule, type: FieldTypeName): Point[] {
  if (rule.fill.kind === 'none' || points.length === 0) return [...points];
  const { fill, windows, first, last, openStart, descending } = rule;
  const indexes = points.map((point) => windowIndex(windows, point.time));
  const sign = descending ? -1 : 1;
  const start = openStart && !descending ? indexes[0]! : descending ? last : first;
  const end = openStart && descending ? indexes.at(-1)! : descending ? first : last;
  const out: Point[] = [];
  let [window, before] = [start, 0];
  for (let next = 0; next <= points.length; next++) {
    const after = indexes[next] ?? end + sign;
    for (; sign * (after - window) > 0; window += sign) {
      let value: Scalar = null;
      if (fill.kind === 'value') value = castFill(fill.value, type);
      else if (fill.kind === 'previous') value = points[next - 1]?.value ?? null;
      else if (fill.kind === 'linear' && next > 0 && next < points.length)
        value = between(window, before, after, points[next - 1]!.value, points[next]!.value);
      out.push({ time: windowStart(windows, window), value, aux: null });
    }
    if (next === points.length) break;
    out.push(points[next]!);
    before = after;
    window += sign;
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
