/**
 * GROUP BY time(...): InfluxDB's window arithmetic, and the windows that a query has to fill.
 */

import type { Windows } from '../../shards/query/windows.ts';
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import { QueryError } from './query-error.ts';
import type { ZoneOffset } from './time-zone.ts';

/** Each costs a look at the time zone's data. */
const ZONE_WINDOWS_MAX = 100_000;

export interface Interval {
  readonly durationNs: bigint;
  readonly offsetNs: bigint;
  readonly zone: ZoneOffset | null;
}

/** The window that holds `timeNs`: [start, end). As InfluxDB's IteratorOptions.Window. */
export function windowOf(interval: Interval, timeNs: bigint): { start: bigint; end: bigint } {
  const { durationNs, offsetNs, zone } = interval;
  const time = timeNs - offsetNs;
  const shift = zone === null ? 0n : zone(time);
  const remainder = (((time + shift) % durationNs) + durationNs) % durationNs;
  let start = TIME_MIN_NS + remainder >= time ? TIME_MIN_NS : time - remainder;
  let end = TIME_MAX_NS - (durationNs - remainder) <= time ? TIME_MAX_NS : time + (durationNs - remainder);
  if (zone !== null) {
    start = atLocal(zone, start, shift, durationNs);
    end = atLocal(zone, end, shift, durationNs);
  }
  return { start: start + offsetNs, end: end + offsetNs };
}

/** Where the window that holds `timeNs` starts without regard to a time zone, be it before all times. */
function alignedStart({ durationNs, offsetNs }: Interval, timeNs: bigint): bigint {
  const remainder = (timeNs - offsetNs) % durationNs;
  return timeNs - (remainder < 0n ? remainder + durationNs : remainder);
}

/** A boundary on the other side of a clock change moves by the change, except within short windows. */
function atLocal(zone: ZoneOffset, boundary: bigint, shift: bigint, durationNs: bigint): bigint {
  const there = zone(boundary);
  if (there === shift) return boundary;
  const moved = boundary + (shift - there);
  const change = shift > there ? shift - there : there - shift;
  return change >= durationNs ? boundary : moved;
}

/** All windows that meet [minNs, maxNs]; more than `max`: InfluxDB's error, before anything is allocated. */
export function gridOf(interval: Interval, minNs: bigint, maxNs: bigint, max: number): Windows {
  // Windows at the ends of time are cut: the others are reckoned from where those would start.
  const first = interval.zone === null ? alignedStart(interval, minNs) : windowOf(interval, minNs).start;
  const last = interval.zone === null ? alignedStart(interval, maxNs) : windowOf(interval, maxNs).start;
  const buckets = (last - first + interval.durationNs) / interval.durationNs;
  // Windows of a time zone are a list, which must stay short.
  const listMax = interval.zone === null ? max : Math.min(max, ZONE_WINDOWS_MAX);
  if (buckets > listMax) throw new QueryError(`max-select-buckets limit exceeded: (${buckets}/${listMax})`);
  if (interval.zone === null)
    return { startNs: first, intervalNs: interval.durationNs, count: Number(buckets), boundaries: null };
  const boundaries = [first];
  for (let at = first; at <= last; ) {
    const { end } = windowOf(interval, at);
    at = end > at ? end : at + interval.durationNs;
    boundaries.push(at);
  }
  return {
    startNs: first,
    intervalNs: interval.durationNs,
    count: boundaries.length - 1,
    boundaries: BigInt64Array.from(boundaries),
  };
}
