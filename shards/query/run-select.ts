/**
 * Runs a select request on one shard: series to groups, runs or slices to states, slices to rows.
 *
 * When only the first rows of each group are wanted (LIMIT without aggregates), the range is read in growing steps and
 * reading stops as soon as every group has enough; a step's rows all lie before the next step's, so this is exact.
 */
import type { Column } from '../column.ts';
import { AGGREGATE_FUNCTIONS, type AggregateCall, type QueryableShard, type SeriesSlice } from '../queryable.ts';
import { forEachWindow } from './aggregate-by-scan.ts';
import { bothMasks, cellValue, columnAs } from './columns.ts';
import { filterFields, filterMask, type RegexCache } from './filter.ts';
import { type GroupedSeries, groupSeries, type MeasurementScan } from './groups.ts';
import { packGroups } from './packed-groups.ts';
import type { RowColumn, RowValues, SelectRequest, ShardSelect, TravellingSelect } from './partial.ts';
import { RowCollector } from './row-collector.ts';
import { RunBuffer } from './run-buffer.ts';
import { addMoments, addPick, addRuns, makeStates, packStates, type State } from './state-arrays.ts';
import { type ShardWindows, shardWindowRange, shardWindows } from './windows.ts';

/** First step of a limited read. */
const STEP_NS = 3_600_000_000_000;

class Refusal extends Error {}

/** No series of the shard has part in the answer: none matched, or the filter leaves none of those that did. */
export type NoPart = Pick<ShardSelect, 'seriesMatched'>;

/**
 * A string is the error text. Buffers that the answer may take along to another thread are added to `moved`.
 */
export function runSelect(
  shard: QueryableShard,
  request: SelectRequest,
  regexes: RegexCache,
  moved: ArrayBuffer[],
): TravellingSelect | NoPart | string {
  try {
    return select(shard, request, regexes, moved);
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

function select(
  shard: QueryableShard,
  request: SelectRequest,
  regexes: RegexCache,
  moved: ArrayBuffer[],
): TravellingSelect | NoPart {
  const grouped = groupSeries(shard, request, regexes);
  if (grouped === null)
    throw new Refusal(`max-select-series limit exceeded: more than ${request.limits.seriesMax} in one shard`);
  if (grouped.scans.length === 0) return { seriesMatched: grouped.seriesMatched };
  const { startNs, endNs, number } = shard.key;
  const minNs = laterOf(request.minNs, startNs);
  const maxNs = request.maxNs < endNs - 1n ? request.maxNs : endNs - 1n;
  const empty = minNs > maxNs;
  const minTime = empty ? 0 : Number(minNs - startNs);
  const maxTime = empty ? 0 : Number(maxNs - startNs);
  const range = empty ? { first: 0, count: 0 } : shardWindowRange(request.windows, startNs, minTime, maxTime);
  const cells = grouped.groups.measurements.length * range.count;
  if (cells * request.states.length > request.limits.cellsMax)
    throw new Refusal(
      `query holds too many windows at once: ${grouped.groups.measurements.length} groups x ${range.count} windows x ${request.states.length} aggregates (limit ${request.limits.cellsMax})`,
    );
  const windows = shardWindows(request.windows, range, startNs, minTime, maxTime);
  const run = new ShardRun(shard, request, grouped, windows, cells, regexes);
  if (!empty) run.scanAll(minTime, maxTime);
  const { states, seriesKeys, aux, rows } = run.finish(moved);
  return {
    startNs,
    number,
    rowsScanned: run.rowsScanned,
    seriesMatched: grouped.seriesMatched,
    groups: packGroups(grouped.groups),
    firstWindow: range.first,
    windowCount: range.count,
    states,
    seriesKeys,
    aux,
    rows,
  };
}

const laterOf = (a: bigint, b: bigint): bigint => (a > b ? a : b);

class ShardRun {
  readonly #shard: QueryableShard;
  readonly #request: SelectRequest;
  readonly #grouped: GroupedSeries;
  readonly #windows: ShardWindows;
  readonly #regexes: RegexCache;
  readonly #fields: readonly string[];
  readonly #fieldIndex = new Map<string, number>();
  readonly #states: readonly State[];
  readonly #statesBuffer: ArrayBuffer;
  /** One run at a time, per call; null for stddev, which has none, and when the states suffice. */
  readonly #runs: readonly (RunBuffer | null)[];
  readonly #rows: RowCollector | null;
  /** Only for a selector with further columns: the picked row per cell. */
  readonly #pickedSeries: Uint32Array | null;
  readonly #auxValues: (number | bigint | string | boolean | null)[][];
  rowsScanned = 0;

  constructor(
    shard: QueryableShard,
    request: SelectRequest,
    grouped: GroupedSeries,
    windows: ShardWindows,
    cells: number,
    regexes: RegexCache,
  ) {
    this.#shard = shard;
    this.#request = request;
    this.#grouped = grouped;
    this.#windows = windows;
    this.#regexes = regexes;
    const fields = new Set<string>(request.states.map((call) => call.field));
    for (const column of [...request.aux, ...(request.rows?.columns ?? [])])
      if (column.kind === 'field') fields.add(column.name);
    filterFields(request.filter, fields);
    this.#fields = [...fields];
    this.#fields.forEach((field, index) => {
      this.#fieldIndex.set(field, index);
    });
    const { states, buffer } = makeStates(request.states, cells);
    this.#states = states;
    this.#statesBuffer = buffer;
    this.#runs = request.states.map(({ fn, type }, i) =>
      fn === 'stddev' || this.#statesSuffice() ? null : new RunBuffer(i, fn, type, 1),
    );
    const aux = request.aux.length > 0;
    this.#pickedSeries = aux ? new Uint32Array(cells) : null;
    this.#auxValues = request.aux.map(() => new Array(cells).fill(null));
    this.#rows = request.rows === null ? null : new RowCollector(shard, request.rows, request.descending);
  }

  scanAll(minTime: number, maxTime: number): void {
    if (this.#statesSuffice()) {
      this.#aggregate(minTime, maxTime);
      return;
    }
    const wanted = this.#request.rows?.perGroup ?? null;
    if (wanted === null || this.#states.length > 0) {
      this.#scan(minTime, maxTime);
      return;
    }
    let step = STEP_NS;
    if (this.#request.descending) {
      for (let high = maxTime; high >= minTime && !this.#enough(wanted); step *= 2) {
        const low = Math.max(minTime, high - step + 1);
        this.#scan(low, high);
        high = low - 1;
      }
    } else {
      for (let low = minTime; low <= maxTime && !this.#enough(wanted); step *= 2) {
        const high = Math.min(maxTime, low + step - 1);
        this.#scan(low, high);
        low = high + 1;
      }
    }
  }

  /** No row is looked at by itself: neither filtered, nor handed back, nor asked for its other columns. */
  #statesSuffice(): boolean {
    const { states, aux, rows } = this.#request;
    return (
      rows === null &&
      aux.length === 0 &&
      states.every(({ fn }) => (AGGREGATE_FUNCTIONS as readonly string[]).includes(fn)) &&
      this.#grouped.scans.every((scan) => scan.filters === null)
    );
  }

  #aggregate(minTime: number, maxTime: number): void {
    const { offsets, count } = this.#windows;
    const calls = this.#request.states as readonly AggregateCall[];
    for (const { measurement, series, groups } of this.#grouped.scans) {
      this.#shard.aggregate(
        { measurement, series, calls, minTime, maxTime, offsets, readRows: (rows) => this.#readRows(rows) },
        (runs) => addRuns(this.#states[runs.call]!, runs, groups, count),
      );
    }
  }

  #readRows(rows: number): void {
    this.rowsScanned += rows;
    if (this.rowsScanned > this.#request.limits.rowsScannedMax)
      throw new Refusal(
        `max-select-point limit exceeded: (${this.rowsScanned}/${this.#request.limits.rowsScannedMax})`,
      );
  }

  #enough(wanted: number): boolean {
    return this.#rows!.groupsWith(wanted) >= this.#grouped.groups.measurements.length;
  }

  #scan(minTime: number, maxTime: number): void {
    const descending = this.#request.descending;
    for (const scan of this.#grouped.scans) {
      const { measurement, series } = scan;
      const request = { measurement, series, fields: this.#fields, minTime, maxTime };
      let place = 0;
      this.#shard.scan(descending && this.#states.length === 0 ? { ...request, descending } : request, (slice) => {
        this.#readRows(slice.times.length);
        // Slices come in the order of the series, from the first one again in each storage window.
        while (series[place] !== slice.series) place = place + 1 < series.length ? place + 1 : 0;
        this.#visit(scan, place, slice);
        if (this.#rows !== null && this.#rows.length > this.#request.limits.rowsMax)
          throw new Refusal(
            `query reads too many rows at once: more than ${this.#request.limits.rowsMax} in one shard; narrow the time range or use LIMIT`,
          );
        return true;
      });
    }
  }

  #visit(scan: MeasurementScan, place: number, slice: SeriesSlice): void {
    const filter = scan.filters?.[place] ?? null;
    const rows = slice.times.length;
    const columnOf = (field: string): Column | null => slice.columns[this.#fieldIndex.get(field)!] ?? null;
    const mask = filter === null ? null : filterMask(filter, columnOf, rows, this.#regexes);
    const group = scan.groups[place]!;
    for (let i = 0; i < this.#states.length; i++) {
      const call = this.#request.states[i]!;
      const column = columnAs(columnOf(call.field), call.type);
      if (column !== null) this.#accumulate(i, column, bothMasks(column.present, mask), slice, group, columnOf);
    }
    this.#rows?.add(slice, group, mask, columnOf);
  }

  #accumulate(
    call: number,
    column: Column,
    mask: Uint8Array | null,
    slice: SeriesSlice,
    group: number,
    columnOf: (field: string) => Column | null,
  ): void {
    const state = this.#states[call]!;
    const runs = this.#runs[call]!;
    const groups = Uint32Array.of(group);
    const { offsets, count } = this.#windows;
    forEachWindow(slice.times, offsets, (window, from, to) => {
      const cell = group * count + window;
      if (runs === null) {
        addMoments(state, cell, column, mask, from, to);
        return;
      }
      runs.length = 0;
      if (!runs.add(0, window, column, mask, slice.times, from, to)) return;
      const picked = this.#pickedSeries;
      if (picked === null) addRuns(state, runs, groups, count);
      else {
        const tieBreak = (of: number): boolean => this.#shard.keyOf(slice.series) < this.#shard.keyOf(picked[of]!);
        if (addPick(state, cell, runs, tieBreak)) this.#keepAux(cell, slice.series, runs.rows![0]!, columnOf);
      }
    });
  }

  #keepAux(cell: number, series: number, row: number, columnOf: (field: string) => Column | null): void {
    this.#pickedSeries![cell] = series;
    this.#request.aux.forEach((aux, index) => {
      this.#auxValues[index]![cell] = rowValue(this.#shard, aux, series, row, columnOf);
    });
  }

  finish(moved: ArrayBuffer[]): Pick<TravellingSelect, 'states' | 'seriesKeys' | 'aux' | 'rows'> {
    const keys = new SeriesKeys(this.#shard);
    let picked: Uint32Array | null = null;
    if (this.#pickedSeries !== null) {
      picked = new Uint32Array(this.#pickedSeries.length);
      const count = this.#states[0]!.count;
      for (let cell = 0; cell < picked.length; cell++)
        if (count[cell]! > 0) picked[cell] = keys.indexOf(this.#pickedSeries[cell]!);
    }
    const rows = this.#rows === null ? null : this.#rows.finish((series) => keys.indexOf(series), moved);
    if (this.#statesBuffer.byteLength > 0) moved.push(this.#statesBuffer);
    return {
      states: packStates(this.#states, this.#statesBuffer, picked),
      seriesKeys: keys.list,
      aux: this.#auxValues as readonly RowValues[],
      rows,
    };
  }
}

class SeriesKeys {
  readonly list: string[] = [];
  readonly #index = new Map<number, number>();
  readonly #shard: QueryableShard;

  constructor(shard: QueryableShard) {
    this.#shard = shard;
  }

  indexOf(series: number): number {
    let index = this.#index.get(series);
    if (index === undefined) {
      index = this.list.length;
      this.#index.set(series, index);
      this.list.push(this.#shard.keyOf(series));
    }
    return index;
  }
}

export function rowValue(
  shard: QueryableShard,
  column: RowColumn,
  series: number,
  row: number,
  columnOf: (field: string) => Column | null,
): number | bigint | string | boolean | null {
  if (column.kind === 'tag') return shard.tagsOf(series).find((tag) => tag.key === column.name)?.value ?? null;
  const stored = columnAs(columnOf(column.name), column.type);
  return stored === null ? null : cellValue(stored, row);
}
