/**
 * Runs a select request on one shard: series to groups, runs or slices to states, slices to rows.
 *
 * When only the first rows of each group are wanted (LIMIT without aggregates, first(), last()), the range is read in growing
 * steps: a step's rows all lie before the next step's, so that a group which has enough is read no further.
 *
 * All of it is done in short steps (shards/steps.ts), so that a worker has time for its writes between them.
 */
import type { Column } from '../column.ts';
import { AGGREGATE_FUNCTIONS, type AggregateCall, type QueryableShard, type SeriesSlice } from '../queryable.ts';
import type { Steps } from '../steps.ts';
import { forEachWindow } from './aggregate-by-scan.ts';
import { type Allowance, Refusal } from './allowance.ts';
import { bothMasks, cellValue, columnAs } from './columns.ts';
import { filterFields, filterMask, type RegexCache } from './filter.ts';
import { type GroupedSeries, groupSeries, type MeasurementScan, scanOfGroups, tooManySeries } from './groups.ts';
import { GrowingRanges, type Range } from './growing-ranges.ts';
import { cellBytes, detached, textBytes, tooManyBytes } from './held-bytes.ts';
import { packGroups } from './packed-groups.ts';
import type { RowColumn, RowValues, SelectRequest, ShardSelect, TravellingSelect } from './partial.ts';
import { RowCollector } from './row-collector.ts';
import { RunBuffer } from './run-buffer.ts';
import { settlingEnd } from './settling.ts';
import { addMoments, addPick, addRuns, makeStates, packStates, type State } from './state-arrays.ts';
import { type ShardWindows, shardWindowRange, shardWindows } from './windows.ts';

/** Of more series some row passes a filter nearly always. */
const PROBED_SERIES_MAX = 4;
/** Fields that are read in all for each of a filter, at least: with fewer there is little to be spared. */
const PROBED_SHARE = 3;

/** No series of the shard has part in the answer: none matched, or the filter leaves none of those that did. */
export type NoPart = Pick<ShardSelect, 'seriesMatched'>;

/** What is refused later is thrown by `step`. */
export function beginSelect(
  shard: QueryableShard,
  request: SelectRequest,
  regexes: RegexCache,
  left: Allowance,
): ShardRun | NoPart | Refusal {
  const grouped = groupSeries(shard, request, regexes);
  if (grouped === null) return new Refusal(tooManySeries(request.limits.seriesMax));
  if (grouped.scans.length === 0) return { seriesMatched: grouped.seriesMatched };
  const { startNs, endNs } = shard.key;
  const minNs = laterOf(request.minNs, startNs);
  const maxNs = request.maxNs < endNs - 1n ? request.maxNs : endNs - 1n;
  const empty = minNs > maxNs;
  const minTime = empty ? 0 : Number(minNs - startNs);
  const maxTime = empty ? 0 : Number(maxNs - startNs);
  const range = empty ? { first: 0, count: 0 } : shardWindowRange(request.windows, startNs, minTime, maxTime);
  const groups = grouped.groups.measurements.length;
  if (groups * range.count * request.states.length > left.cells)
    return new Refusal(
      `query holds too many windows at once: ${groups} groups x ${range.count} windows x ${request.states.length} aggregates (limit ${request.limits.cellsMax})`,
      true,
    );
  const windows = shardWindows(request.windows, range, startNs, minTime, maxTime);
  return new ShardRun(shard, request, grouped, windows, range, regexes, left, empty ? null : { minTime, maxTime });
}

const laterOf = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** A generator for every level would cost small statements half as much again: one of the shard's is under way at a time. */
export class ShardRun {
  readonly #shard: QueryableShard;
  readonly #request: SelectRequest;
  readonly #grouped: GroupedSeries;
  readonly #windows: ShardWindows;
  readonly #regexes: RegexCache;
  readonly #fields: readonly string[];
  readonly #fieldIndex = new Map<string, number>();
  readonly #states: readonly State[];
  readonly #statesBuffer: ArrayBuffer;
  /** Those that hold strings. */
  readonly #texts: readonly State[];
  /** One run at a time, per call; null for stddev, which has none, and when the states suffice. */
  readonly #runs: readonly (RunBuffer | null)[];
  readonly #rows: RowCollector | null;
  /** Only for a selector with further columns: the picked row per cell. */
  readonly #pickedSeries: Uint32Array | null;
  readonly #auxValues: (number | bigint | string | boolean | null)[][];
  #auxBytes = 0;
  readonly #left: Allowance;
  readonly #suffices: boolean;
  /** null: it is read in one. */
  readonly #ranges: GrowingRanges | null;
  readonly #windowRange: { readonly first: number; readonly count: number };
  /** What of it is being read, of which series, the next of the scans in it, and that of one that is under way. */
  #range: Range | null;
  #scans: readonly MeasurementScan[];
  #nextScan = 0;
  #reading: Steps | null = null;
  rowsScanned = 0;

  constructor(
    shard: QueryableShard,
    request: SelectRequest,
    grouped: GroupedSeries,
    windows: ShardWindows,
    windowRange: { readonly first: number; readonly count: number },
    regexes: RegexCache,
    left: Allowance,
    whole: Range | null,
  ) {
    const cells = grouped.groups.measurements.length * windowRange.count;
    this.#left = left;
    this.#windowRange = windowRange;
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
    this.#texts = states.filter(({ strings }) => strings !== null);
    this.#suffices = this.#statesSuffice();
    // Where states suffice the shard knows itself where the newest values are.
    const end = this.#suffices ? null : settlingEnd(request);
    this.#ranges =
      end === null ? null : new GrowingRanges(shard, end, whole, grouped.scans, request.rows?.perGroup ?? 1);
    this.#runs = request.states.map(({ fn, type }, i) =>
      fn === 'stddev' || this.#suffices ? null : new RunBuffer(i, fn, type, 1),
    );
    const aux = request.aux.length > 0;
    this.#pickedSeries = aux ? new Uint32Array(cells) : null;
    this.#auxValues = request.aux.map(() => new Array(cells).fill(null));
    this.#rows = request.rows === null ? null : new RowCollector(shard, request.rows, request.descending);
    this.#scans = grouped.scans;
    this.#range = this.#firstRange(whole);
  }

  /** True: more is left. Throws Refusal. */
  step(): boolean {
    for (;;) {
      this.#reading ??= this.#nextReading();
      if (this.#reading === null) return false;
      if (this.#reading.next().done !== true) return true;
      this.#reading = null;
    }
  }

  /** Gives back what is held. */
  close(): void {
    this.#reading?.return();
  }

  #nextReading(): Steps | null {
    if (this.#nextScan === this.#scans.length && this.#range !== null) {
      this.#range = this.#nextRange();
      this.#nextScan = 0;
    }
    if (this.#range === null) return null;
    const scan = this.#scans[this.#nextScan++]!;
    if (this.#suffices) return this.#aggregate(scan, this.#range);
    const probed = this.#fieldsToProbe(scan);
    return probed === null ? this.#scan(scan, this.#range) : this.#scanProbed(scan, probed, this.#range);
  }

  /** What of the whole range is read first; null: nothing, only the groups are asked for. */
  #firstRange(whole: Range | null): Range | null {
    if (this.#states.length === 0 && this.#rows === null) return null;
    return this.#ranges === null ? whole : this.#ranges.next(this.#scans);
  }

  #nextRange(): Range | null {
    if (this.#ranges === null) return null;
    this.#scans = this.#scans.flatMap((scan) => scanOfGroups(scan, this.#lacks) ?? []);
    return this.#scans.length === 0 ? null : this.#ranges.next(this.#scans);
  }

  /** The group needs rows from further on. */
  readonly #lacks = (group: number): boolean =>
    this.#rows === null
      ? this.#states.some(({ count }) => count[group] === 0)
      : this.#rows.countOf(group) < this.#request.rows!.perGroup!;

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

  #aggregate({ measurement, series, groups }: MeasurementScan, { minTime, maxTime }: Range): Steps {
    const { offsets, count } = this.#windows;
    const calls = this.#request.states as readonly AggregateCall[];
    return this.#shard.aggregateSteps(
      { measurement, series, calls, minTime, maxTime, offsets, readRows: (rows) => this.#readRows(rows) },
      (runs) => {
        addRuns(this.#states[runs.call]!, runs, groups, count);
        this.#requireBytes();
      },
    );
  }

  #readRows(rows: number): void {
    this.rowsScanned += rows;
    if (this.rowsScanned > this.#request.limits.rowsScannedMax)
      throw new Refusal(
        `max-select-point limit exceeded: (${this.rowsScanned}/${this.#request.limits.rowsScannedMax})`,
      );
  }

  /** What texts and integers of the answer take so far. */
  get bytes(): number {
    let bytes = this.#auxBytes + (this.#rows?.bytes ?? 0);
    for (const state of this.#texts) bytes += state.bytes;
    return bytes;
  }

  #requireBytes(): void {
    if (this.bytes > this.#left.bytes) throw new Refusal(tooManyBytes(this.#request.limits.bytesMax!), true);
  }

  #scan(scan: MeasurementScan, { minTime, maxTime }: Range): Steps {
    const { measurement, series } = scan;
    const { descending, limits } = this.#request;
    const request = { measurement, series, fields: this.#fields, minTime, maxTime };
    const placeOf = placesIn(series);
    const wanted = descending && this.#states.length === 0 ? { ...request, descending } : request;
    return this.#shard.scanSteps(wanted, (slice) => {
      this.#readRows(slice.times.length);
      this.#visit(scan, placeOf(slice.series), slice);
      this.#requireBytes();
      if (this.#rows !== null && this.#rows.length > this.#left.rows)
        throw new Refusal(
          `query reads more than ${limits.rowsMax} rows at once; narrow the time range or use LIMIT`,
          true,
        );
      return true;
    });
  }

  /** Those of the filters, when it is worth looking whether any row passes them before all fields are read. */
  #fieldsToProbe({ series, filters }: MeasurementScan): readonly string[] | null {
    if (filters === null || series.length > PROBED_SERIES_MAX) return null;
    const fields = new Set<string>();
    for (const filter of filters) {
      if (filter === null) return null;
      filterFields(filter, fields);
    }
    return fields.size * PROBED_SHARE > this.#fields.length ? null : [...fields];
  }

  /** A row that has none of the filter's fields does not pass it, so that it need not be met. */
  *#scanProbed(scan: MeasurementScan, fields: readonly string[], range: Range): Steps {
    const { measurement, series, filters } = scan;
    const before = this.rowsScanned;
    const placeOf = placesIn(series);
    let passes = false;
    yield* this.#shard.scanSteps({ measurement, series, fields, ...range }, (slice) => {
      const rows = slice.times.length;
      this.#readRows(rows);
      const columnOf = (field: string): Column | null => slice.columns[fields.indexOf(field)] ?? null;
      passes = filterMask(filters![placeOf(slice.series)]!, columnOf, rows, this.#regexes).includes(1);
      return !passes;
    });
    if (!passes) return;
    this.rowsScanned = before;
    yield* this.#scan(scan, range);
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
      const values = this.#auxValues[index]!;
      const value = rowValue(this.#shard, aux, series, row, columnOf);
      this.#auxBytes += cellBytes(value) - cellBytes(values[cell]!);
      values[cell] = value;
    });
  }

  /** When no step is left. Buffers that the answer may take along to another thread are added to `moved`. */
  finish(moved: ArrayBuffer[]): TravellingSelect {
    const { groups, seriesMatched } = this.#grouped;
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
    this.#left.cells -= groups.measurements.length * this.#windowRange.count * this.#states.length;
    this.#left.rows -= rows?.times.length ?? 0;
    const packed = packGroups(groups);
    let bytes = this.bytes;
    for (const key of keys.list) bytes += textBytes(key);
    for (const { text } of packed.tagValues) bytes += text.length;
    this.#left.bytes -= bytes;
    return {
      startNs: this.#shard.key.startNs,
      number: this.#shard.key.number,
      rowsScanned: this.rowsScanned,
      seriesMatched,
      groups: packed,
      firstWindow: this.#windowRange.first,
      windowCount: this.#windowRange.count,
      states: packStates(this.#states, this.#statesBuffer, picked),
      seriesKeys: keys.list,
      aux: this.#auxValues as readonly RowValues[],
      rows,
      bytes,
    };
  }
}

/** The place of each series in turn: slices come in their order, from the first one again in each storage window. */
function placesIn(series: Uint32Array): (id: number) => number {
  let place = 0;
  return (id) => {
    while (series[place] !== id) place = place + 1 < series.length ? place + 1 : 0;
    return place;
  };
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

function rowValue(
  shard: QueryableShard,
  column: RowColumn,
  series: number,
  row: number,
  columnOf: (field: string) => Column | null,
): number | bigint | string | boolean | null {
  if (column.kind === 'tag') return shard.tagsOf(series).find((tag) => tag.key === column.name)?.value ?? null;
  const stored = columnAs(columnOf(column.name), column.type);
  const cell = stored === null ? null : cellValue(stored, row);
  return typeof cell === 'string' ? detached(cell) : cell;
}
