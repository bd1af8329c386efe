/** Which series have a visible row left, looked up in the rows: only asked where deletes cover a series. */
import { type ScanSources, scanSteps } from './shard-scan.ts';
import { allSteps } from './steps.ts';

/** Newest windows first, since new rows are the likeliest to be left. */
export function seriesWithRows(
  sources: ScanSources,
  measurement: string,
  series: Uint32Array,
  fields: readonly string[],
): Set<number> {
  const { memtable, store, windowNs } = sources;
  const found = new Set<number>();
  const span = memtable.span(measurement);
  const windows = new Set(store.directory.windows());
  if (span !== null) {
    const last = Math.floor(span.maxTime / windowNs);
    for (let window = Math.floor(span.minTime / windowNs); window <= last; window++) windows.add(window);
  }
  for (const window of [...windows].sort((a, b) => b - a)) {
    const left = series.filter((id) => !found.has(id));
    if (left.length === 0) break;
    const minTime = window * windowNs;
    const request = { measurement, series: left, fields, minTime, maxTime: minTime + windowNs - 1 };
    const steps = scanSteps(sources, request, (slice) => {
      found.add(slice.series);
      return true;
    });
    allSteps(steps);
  }
  return found;
}
