/**
 * Where the first (or last) rows of some series in a range of time lie, as far as it is known without reading them: for
 * those who read a little at a time, and would otherwise ask for hours in which there is nothing.
 */
import type { RowsAhead, ScanRequest } from './queryable.ts';
import type { ScanSources } from './shard-scan.ts';

type Wanted = Omit<ScanRequest, 'fields'>;

/** null: there are none in the range. */
export function rowsAhead(sources: ScanSources, request: Wanted): RowsAhead | null {
  const { measurement, series, minTime, maxTime } = request;
  const { table, memtable, windowNs } = sources;
  if (series.length === 0 || minTime > maxTime) return null;
  const inMemory = memtable.span(measurement);
  const counts =
    inMemory !== null && inMemory.minTime <= maxTime && inMemory.maxTime >= minTime
      ? memtable.windowRows(measurement, windowNs)
      : new Map<number, number>();
  const ahead = [...new Set([...counts.keys(), ...sources.store.directory.windows()])].sort((a, b) => a - b);
  if (request.descending === true) ahead.reverse();
  for (const window of ahead) {
    if ((window + 1) * windowNs <= minTime || window * windowNs > maxTime) continue;
    const found = rowsOf(sources, request, window, counts.get(window) ?? 0);
    if (found === null) continue;
    // Some of the measurement's series: as if all had as many.
    const share = series.length / table.sorted(measurement).length;
    return { ...found, rows: Math.max(1, found.rows * share) };
  }
  return null;
}

/** What all series have in a window, and between which of the range's times. */
function rowsOf(
  { store, memtable, windowNs }: ScanSources,
  { measurement, minTime, maxTime }: Wanted,
  window: number,
  inMemory: number,
): RowsAhead | null {
  let [first, last, rows] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, inMemory];
  if (inMemory > 0) {
    const span = memtable.span(measurement)!;
    first = Math.max(span.minTime, window * windowNs);
    last = Math.min(span.maxTime, (window + 1) * windowNs - 1);
  }
  for (const entry of store.directory.of(window, measurement)) {
    if (entry.minTime > maxTime || entry.maxTime < minTime) continue;
    first = Math.min(first, entry.minTime);
    last = Math.max(last, entry.maxTime);
    rows += entry.rows;
  }
  if (first > maxTime || last < minTime) return null;
  const share = (Math.min(last, maxTime) - Math.max(first, minTime) + 1) / (last - first + 1);
  return { minTime: Math.max(first, minTime), maxTime: Math.min(last, maxTime), rows: rows * share };
}
