/**
 * Calls to streams of points, one for each group, from what was read for them: windows, fill, transformations. Works the same
 * whether the data came as states or as rows.
 */

import { FLOAT } from '../../shards/column.ts';
import { windowIndex, windowStart } from '../../shards/query/windows.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression } from '../influxql/ast.ts';
import { inRanges, Pace } from '../turns.ts';
import { type Call, typeOf } from './calls.ts';
import { cellResult, pickAux, pickTime, tooManyWindows } from './cells.ts';
import { columnKey, limitSeries, type SpanData } from './data.ts';
import { fillWindows } from './fill.ts';
import { type Reduced, reduceWindow, type Sample } from './functions.ts';
import { windowOf } from './grid.ts';
import { auxOrder } from './grid-table.ts';
import type { Group, Point, Stream } from './groups.ts';
import { requireFewValues } from './holt-winters.ts';
import type { QueryLimits } from './limits.ts';
import type { SelectPlan } from './plan.ts';
import { type RowGroup, type RowTable, rowValue } from './row-table.ts';
import { sampleOf, seedOf } from './sampling.ts';
import { typeName } from './schema.ts';
import { integral, isForecast, TRANSFORMATIONS, transform } from './transformations.ts';

export type StreamLimits = Pick<QueryLimits, 'bucketsMax' | 'cellsMax'>;

/** Streams of a call, one per group that has points; in short steps. */
export function* streamsOf(call: Call, plan: SelectPlan, data: SpanData, limits: StreamLimits): Steps<Stream[]> {
  if (TRANSFORMATIONS.has(call.name)) {
    const inner =
      call.input.kind === 'call'
        ? yield* streamsOf(call.input.call, plan, data, limits)
        : yield* columnStreams(call, plan, data);
    const unitNs = call.unitNs ?? defaultUnit(call, plan);
    const spacing = { unitNs, intervalNs: plan.interval?.durationNs ?? 0n, descending: plan.descending };
    if (isForecast(call)) yield* requireFewValues(inner, call.parameter, spacing.intervalNs, limits);
    return yield* withPoints(inner, (points) => transform(call, points, spacing));
  }
  if (call.name === 'integral') {
    const { interval } = plan;
    // Without windows InfluxDB answers integrals of floats for 1970, those of integers for the start of the range.
    const isFloat = typeOf((call.input as { reference: Expression }).reference, plan.schema) === FLOAT;
    const start = isFloat ? 0n : (plan.range.minNs ?? 0n);
    const windowAt = (time: bigint) => (interval === null ? { start, end: null } : windowOf(interval, time));
    const unit = call.unitNs ?? 1_000_000_000n;
    const inner = yield* columnStreams(call, plan, data);
    return yield* withPoints(inner, (points) => integral(points, unit, windowAt, plan.descending));
  }
  const extreme = call.name === 'top' || call.name === 'bottom' || call.name === 'sample';
  const unfilled = extreme || call.name === 'distinct';
  const windowed = !extreme && !(plan.selector && plan.interval === null);
  const streams = data.stateIndex.has(call.key)
    ? yield* stateStreams(call, plan, data, windowed)
    : yield* rowStreams(call, plan, data, windowed);
  const { span, windows } = data;
  if (windows === null || span.windows === null || unfilled) return streams;
  const type = typeName(callType(call, plan));
  // InfluxDB fills the windows of count() with 0 where others get null.
  const fill = plan.fill.kind === 'null' && call.name === 'count' ? { kind: 'value' as const, value: 0n } : plan.fill;
  const { cellsMax } = limits;
  if (fill.kind !== 'none' && streams.length * windows.count > cellsMax)
    throw tooManyWindows(`${streams.length} groups x ${windows.count} windows (limit ${cellsMax})`);
  const first = windows === span.windows ? 0 : windowIndex(windows, windowStart(span.windows, 0));
  const last = first + span.windows.count - 1;
  const rule = { fill, windows, first, last, openStart: span.minNs === null, descending: plan.descending };
  return yield* withPoints(streams, (points) => fillWindows(points, rule, type));
}

/** Other points of each group, of those that have some. */
function* withPoints(
  streams: readonly Stream[],
  change: (points: readonly Point[]) => Point[] | Steps<Point[]>,
): Steps<Stream[]> {
  const changed: Stream[] = [];
  const pace = new Pace();
  for (const { group, points } of streams) {
    const made = change(points);
    const kept = Array.isArray(made) ? made : yield* made;
    if (kept.length > 0) changed.push({ group, points: kept });
    if (pace.isOver(points.length + 1)) yield;
  }
  return changed;
}

function callType(call: Call, plan: SelectPlan): 0 | 1 | 2 | 3 | 4 {
  return typeOf(call.expression, plan.schema) ?? 0;
}

function defaultUnit(call: Call, plan: SelectPlan): bigint {
  if (call.name === 'elapsed') return 1n;
  return plan.interval?.durationNs ?? 1_000_000_000n;
}

function* stateStreams(call: Call, plan: SelectPlan, data: SpanData, windowed: boolean): Steps<Stream[]> {
  const index = data.stateIndex.get(call.key)!;
  const grid = data.states!;
  const cells = grid.calls[index]!;
  const width = grid.windows.length;
  const out: Stream[] = [];
  const pace = new Pace();
  for (const { group, g } of limitSeries(
    grid.groups.map((one, at) => ({ group: one, g: at })),
    plan,
  )) {
    const points: Point[] = [];
    for (let w = 0; w < width; w++) {
      const cell = g * width + (plan.descending ? width - 1 - w : w);
      if (cells.count[cell] === 0) continue;
      const time = windowed ? windowTime(data, grid.windows[cell - g * width]!) : pickTime(grid, index, cell);
      points.push({ time, value: cellResult(cells, cell), aux: pickAux(grid, index, cell) });
    }
    if (points.length > 0) out.push({ group, points });
    if (pace.isOver(width)) yield;
  }
  return out;
}

/** Time of an aggregate: its window, else the start of the range, else 1970. */
function windowTime(data: SpanData, window: number): bigint {
  return data.windows === null ? (data.span.minNs ?? 0n) : windowStart(data.windows, window);
}

function* columnStreams(call: Call, plan: SelectPlan, data: SpanData): Steps<Stream[]> {
  const { reference } = call.input as { reference: Extract<Expression, { kind: 'reference' }> };
  const column = data.columnIndex.get(columnKey(reference))!;
  const aux = auxColumns(plan, data);
  const streams: Stream[] = [];
  const pace = new Pace();
  for (const { group, rows } of data.rows) {
    const points = yield* samplesOf(data.table, rows, column, aux);
    if (points.length > 0) streams.push({ group, points });
    if (pace.isOver(rows.length + 1)) yield;
  }
  return streams;
}

function auxColumns(plan: SelectPlan, data: SpanData): number[] {
  return plan.selector ? auxOrder(plan).map((key) => data.columnIndex.get(key)!) : [];
}

function* samplesOf(table: RowTable, rows: Uint32Array, column: number, aux: readonly number[]): Steps<Sample[]> {
  const samples: Sample[] = [];
  yield* inRanges(rows.length, (from, to) => addSamples(samples, table, rows.subarray(from, to), column, aux));
  return samples;
}

function addSamples(
  samples: Sample[],
  table: RowTable,
  rows: Iterable<number>,
  column: number,
  aux: readonly number[],
): void {
  for (const row of rows) {
    const value = rowValue(table, column, row);
    if (value === null) continue;
    samples.push({
      time: table.times[row]!,
      value,
      aux: aux.length === 0 ? null : aux.map((i) => rowValue(table, i, row)),
    });
  }
}

function* rowStreams(call: Call, plan: SelectPlan, data: SpanData, windowed: boolean): Steps<Stream[]> {
  if (call.input.kind === 'call') return yield* countStreams(call.input.call, plan, data);
  const out: Stream[] = [];
  const pace = new Pace();
  for (const group of data.rows) {
    const points: Point[] = [];
    for (const { window, rows } of windowsOf(group, data)) {
      for (const reduced of yield* reduceRows(call, group.group, rows, plan, data)) {
        const time = windowed || reduced.time === null ? windowTime(data, window) : reduced.time;
        points.push({ time, value: reduced.value, aux: reduced.aux });
      }
      if (pace.isOver(rows.length + 1)) yield;
    }
    if (points.length > 0) out.push({ group: group.group, points });
  }
  return out;
}

/** count(distinct(x)): the points of the inner call per window. */
function* countStreams(inner: Call, plan: SelectPlan, data: SpanData): Steps<Stream[]> {
  return (yield* rowStreams(inner, plan, data, true)).map(({ group, points }) => {
    const counts = new Map<bigint, bigint>();
    for (const { time } of points) counts.set(time, (counts.get(time) ?? 0n) + 1n);
    return { group, points: [...counts].map(([time, value]) => ({ time, value, aux: null })) };
  });
}

function* windowsOf({ rows }: RowGroup, data: SpanData): Generator<{ window: number; rows: Uint32Array }> {
  const { windows } = data;
  const { times } = data.table;
  if (windows === null) {
    if (rows.length > 0) yield { window: 0, rows };
    return;
  }
  for (let from = 0; from < rows.length; ) {
    const window = windowIndex(windows, times[rows[from]!]!);
    let to = from + 1;
    while (to < rows.length && windowIndex(windows, times[rows[to]!]!) === window) to++;
    yield { window, rows: rows.subarray(from, to) };
    from = to;
  }
}

/** What reduces the samples of a window has all of them at once. */
function* reduceRows(
  call: Call,
  group: Group,
  rows: Uint32Array,
  plan: SelectPlan,
  data: SpanData,
): Steps<readonly Reduced[]> {
  const { reference } = call.input as { reference: Extract<Expression, { kind: 'reference' }> };
  const column = data.columnIndex.get(columnKey(reference))!;
  const aux = auxColumns(plan, data);
  const samples = yield* samplesOf(data.table, rows, column, aux);
  if (samples.length === 0) return [];
  if (call.name === 'sample') return sampleOf(samples, call.parameter, seedOf(group.key));
  if (call.tags.length === 0) return reduceWindow(call.name, samples, call.parameter);
  // top(x, tag, n): the extreme of each combination of tags first, then the n extremes of those.
  const tags = call.tags.map((tag) => data.columnIndex.get(columnKey(tag))!);
  const byTags = new Map<string, number[]>();
  for (const row of rows) {
    const key = JSON.stringify(tags.map((i) => rowValue(data.table, i, row) as string | null));
    const list = byTags.get(key);
    if (list === undefined) byTags.set(key, [row]);
    else list.push(row);
  }
  const picked = [...byTags.values()].flatMap((list) => {
    const own: Sample[] = [];
    addSamples(own, data.table, list, column, aux);
    return own.length === 0 ? [] : reduceWindow(call.name === 'top' ? 'max' : 'min', own, 0);
  });
  return reduceWindow(call.name, picked as Sample[], call.parameter);
}
