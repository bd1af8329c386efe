/**
 * `aggregate` over `scan`: what the one means in terms of the other, and how shards answer what their kernels do not.
 */
import type { AggregateRequest, AggregateRuns, QueryableShard } from '../queryable.ts';
import { columnAs } from './columns.ts';
import { RUNS_HELD, RunBuffer } from './run-buffer.ts';
import { seekWindow } from './windows.ts';

export function aggregateByScan(
  shard: Pick<QueryableShard, 'scan'>,
  request: AggregateRequest,
  visit: (runs: AggregateRuns) => void,
): void {
  const { measurement, series, calls, minTime, maxTime, offsets } = request;
  const fields = [...new Set(calls.map((call) => call.field))];
  const fieldOf = calls.map((call) => fields.indexOf(call.field));
  const capacity = Math.min(RUNS_HELD, series.length * (offsets.length - 1));
  const buffers = calls.map(({ fn, type }, call) => new RunBuffer(call, fn, type, capacity));
  const hand = (buffer: RunBuffer): void => {
    if (buffer.length > 0) visit(buffer);
    buffer.length = 0;
  };
  let place = 0;
  shard.scan({ measurement, series, fields, minTime, maxTime }, (slice) => {
    request.readRows(slice.times.length);
    // Slices come in the order of the series, from the first one again in each storage window.
    while (series[place] !== slice.series) place = place + 1 < series.length ? place + 1 : 0;
    for (let c = 0; c < calls.length; c++) {
      const column = columnAs(slice.columns[fieldOf[c]!] ?? null, calls[c]!.type);
      if (column === null) continue;
      const buffer = buffers[c]!;
      forEachWindow(slice.times, offsets, (window, from, to) => {
        if (buffer.isFull) hand(buffer);
        buffer.add(place, window, column, column.present, slice.times, from, to);
      });
    }
    return true;
  });
  for (const buffer of buffers) hand(buffer);
}

/** Stretches of ascending times that lie in one window each. */
export function forEachWindow(
  times: Float64Array,
  offsets: Float64Array,
  visit: (window: number, from: number, to: number) => void,
): void {
  const rows = times.length;
  const last = offsets.length - 2;
  let window = 0;
  for (let from = 0; from < rows; ) {
    window = seekWindow(offsets, window, times[from]!);
    const end = offsets[window + 1]!;
    let to = from + 1;
    if (window === last) to = rows;
    else while (to < rows && times[to]! < end) to++;
    visit(window, from, to);
    from = to;
  }
}
