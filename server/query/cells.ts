/**
 * States of all shards in one grid of cells: groups x windows, one set of arrays per call.
 *
 * Shards are taken in the order (startNs, number), whichever place answered for them, so float sums come out the same.
 * The grid has only windows that some shard answered for; cell = group * windows + position of the window.
 */
import { INTEGER, UNSIGNED } from '../../shards/column.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { SelectRequest, ShardSelect, StateArrays, StateCall } from '../../shards/query/partial.ts';
import { halvesOf } from '../../shards/query/run-buffer.ts';
import { comparePicks } from '../../shards/query/state-arrays.ts';
import type { Steps } from '../../shards/steps.ts';
import { FreedLater } from '../freed-buffers.ts';
import { inRanges } from '../turns.ts';
import type { Group } from './groups.ts';
import { mergeGroups } from './merged-groups.ts';
import { TooManyRows } from './query-error.ts';

export interface CallCells {
  readonly call: StateCall;
  readonly count: Float64Array;
  readonly numbers: Float64Array | null;
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: string[] | null;
  /** spread: the greatest; stddev: sum of squared differences. */
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
  /** Selectors: which shard the pick is of (index in the grid's shards), and its cell there. null: of the only one, and the same. */
  readonly shard: Uint32Array | null;
  readonly shardCell: Uint32Array | null;
}

export interface CellGrid {
  /** Ascending by key. */
  readonly groups: readonly Group[];
  /** Indexes in the request's windows, ascending. */
  readonly windows: readonly number[];
  readonly calls: readonly CallCells[];
  readonly shards: readonly ShardSelect[];
}

/** In short steps. `cellsMax`: states held at once, over all shards. */
export function* mergeStates(
  shards: readonly ShardSelect[],
  request: SelectRequest,
  cellsMax: number,
): Steps<CellGrid> {
  const windows = windowsOf(shards);
  const { groups, places } = yield* mergeGroups(shards, request.dimensions, request.measurements);
  const cells = groups.length * windows.length;
  if (cells * request.states.length > cellsMax) throw tooManyWindows(`more than ${cellsMax} of all series`);
  if (shards.length === 1 && isInOrder(places[0]!)) {
    const calls = request.states.map((call, c) => ownCells(call, shards[0]!.states[c]!));
    return { groups, windows, calls, shards };
  }
  const calls = request.states.map((call, c) => makeCells(call, shards[0]?.states[c] ?? null, cells));
  for (let s = 0; s < shards.length; s++) {
    const { windowCount, firstWindow } = shards[s]!;
    if (windowCount === 0) continue;
    const from: ShardCells = {
      places: places[s]!,
      width: windows.length,
      offset: positionOf(windows, firstWindow),
      count: windowCount,
    };
    const own = from.places.length * windowCount;
    for (let c = 0; c < calls.length; c++) {
      const of = { shards, s, c };
      if (own <= FEW_CELLS) addCells(calls[c]!, of, from, 0, own);
      else yield* inRanges(own, (first, end) => addCells(calls[c]!, of, from, first, end));
    }
    if (s % STEP_SHARDS === STEP_SHARDS - 1) yield;
  }
  return { groups, windows, calls, shards };
}

/** Of a call in a shard: all calls of so few are done in one step, as those of a few shards are. */
const FEW_CELLS = 1024;
const STEP_SHARDS = 4;

const freed = new FreedLater();
/** Of fewer bytes nothing is worth giving back by hand. */
const FREED_BYTES_MIN = 16 * 1024;

/** Gives its memory back, and that of the shards' states: nobody reads either again. */
export function freeGrid({ calls, shards }: CellGrid): void {
  for (const { count } of calls) freeCells(count);
  for (const { states } of shards) for (const { count } of states) freeCells(count);
}

/** With all that lies in the same buffer. */
function freeCells({ buffer }: Float64Array): void {
  if (buffer.byteLength >= FREED_BYTES_MIN) freed.addBuffer(buffer);
}

export function tooManyWindows(detail: string): TooManyRows {
  return new TooManyRows(
    `query holds too many windows at once: ${detail}; use a longer interval, fewer groups or a shorter range`,
  );
}

/** Union of the shards' windows. */
function windowsOf(shards: readonly ShardSelect[]): number[] {
  const ranges = shards.map(({ firstWindow, windowCount }) => ({ first: firstWindow, end: firstWindow + windowCount }));
  ranges.sort((a, b) => a.first - b.first);
  const windows: number[] = [];
  let next = Number.NEGATIVE_INFINITY;
  for (const { first, end } of ranges) {
    for (let window = Math.max(first, next); window < end; window++) windows.push(window);
    next = Math.max(next, end);
  }
  return windows;
}

function positionOf(windows: readonly number[], window: number): number {
  let low = 0;
  let high = windows.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (windows[middle]! < window) low = middle + 1;
    else high = middle;
  }
  return low;
}

function makeCells(call: StateCall, like: StateArrays | null, cells: number): CallCells {
  const picks = like !== null && like.times !== null;
  const wide = [like?.numbers, like?.integers, like?.numbers2, like?.integers2].filter((column) => column != null);
  // One buffer: each is an allocation outside of the heap and something for the collector to free.
  const buffer = new ArrayBuffer((1 + wide.length + (picks ? 1 : 0)) * cells * 8);
  let at = 0;
  const next = (bytes: number): number => {
    at += bytes * cells;
    return at - bytes * cells;
  };
  const floats = () => new Float64Array(buffer, next(8), cells);
  const floatsLike = (column: Float64Array | null | undefined) => (column == null ? null : floats());
  const integersLike = (column: BigInt64Array | BigUint64Array | null | undefined) => {
    if (column == null) return null;
    return column instanceof BigInt64Array
      ? new BigInt64Array(buffer, next(8), cells)
      : new BigUint64Array(buffer, next(8), cells);
  };
  const places = () => (picks ? new Uint32Array(buffer, next(4), cells) : null);
  return {
    call,
    count: floats(),
    numbers: floatsLike(like?.numbers),
    integers: integersLike(like?.integers),
    strings: like?.strings == null ? null : new Array<string>(cells).fill(''),
    numbers2: floatsLike(like?.numbers2),
    integers2: integersLike(like?.integers2),
    shard: places(),
    shardCell: places(),
  };
}

function isInOrder(places: Uint32Array): boolean {
  for (let g = 0; g < places.length; g++) if (places[g] !== g) return false;
  return true;
}

/** The cells of the only shard are those of the grid. */
function ownCells(call: StateCall, state: StateArrays): CallCells {
  const { count, numbers, integers, numbers2, integers2 } = state;
  const strings = state.strings as string[] | null;
  return { call, count, numbers, integers, strings, numbers2, integers2, shard: null, shardCell: null };
}

/** The state of call c in shard s. */
interface StateOf {
  readonly shards: readonly ShardSelect[];
  readonly s: number;
  readonly c: number;
}

/** Where the cells of a shard are in the grid: those of its group g are `count` neighbouring ones from places[g] * width + offset on. */
interface ShardCells {
  readonly places: Uint32Array;
  readonly width: number;
  readonly offset: number;
  readonly count: number;
}

/**
 * Adds cells first..end-1 of a shard. Most cells of most answers are in one shard alone and are numbers: no call for each of
 * them.
 */
function addCells(into: CallCells, of: StateOf, place: ShardCells, first: number, end: number): void {
  const from = of.shards[of.s]!.states[of.c]!;
  const { places, width, offset, count: windows } = place;
  const { count: counts, numbers, shard, shardCell } = into;
  const isOneNumber = numbers !== null && into.numbers2 === null;
  const fromNumbers = from.numbers!;
  for (let g = Math.floor(first / windows), source = first; source < end; g++) {
    const next = Math.min(end, (g + 1) * windows);
    let cell = places[g]! * width + offset + source - g * windows;
    for (; source < next; cell++, source++) {
      const rows = from.count[source]!;
      if (rows === 0) continue;
      const held = counts[cell]!;
      counts[cell] = held + rows;
      if (held > 0) mergeCell(into, cell, held, of, source);
      else if (isOneNumber) {
        numbers[cell] = fromNumbers[source]!;
        if (shard !== null) {
          shard[cell] = of.s;
          shardCell![cell] = source;
        }
      } else setCell(into, cell, from, source, of.s);
    }
  }
}

function setCell(into: CallCells, cell: number, from: StateArrays, source: number, s: number): void {
  if (into.numbers !== null) into.numbers[cell] = from.numbers![source]!;
  else if (into.integers !== null) into.integers[cell] = from.integers![source] as never;
  else if (into.strings !== null) into.strings[cell] = from.strings![source]!;
  if (into.numbers2 !== null) into.numbers2[cell] = from.numbers2![source]!;
  else if (into.integers2 !== null) into.integers2[cell] = from.integers2![source] as never;
  if (into.shard !== null) {
    into.shard[cell] = s;
    into.shardCell![cell] = source;
  }
}

/** `held`: rows that the cell had before. */
function mergeCell(into: CallCells, cell: number, held: number, of: StateOf, source: number): void {
  const from = of.shards[of.s]!.states[of.c]!;
  switch (into.call.fn) {
    case 'count':
      return;
    case 'sum':
    case 'mean':
      if (into.numbers !== null) into.numbers[cell] = into.numbers[cell]! + from.numbers![source]!;
      // Storing into a 64-bit array keeps the low 64 bits, as Go's addition does.
      else into.integers![cell] = ((into.integers![cell] as bigint) + from.integers![source]!) as never;
      return;
    case 'spread': {
      const least = into.numbers ?? into.integers!;
      const greatest = into.numbers2 ?? into.integers2!;
      const otherLeast = (from.numbers ?? from.integers!)[source]!;
      const otherGreatest = (from.numbers2 ?? from.integers2!)[source]!;
      if (otherLeast < least[cell]!) least[cell] = otherLeast as never;
      if (otherGreatest > greatest[cell]!) greatest[cell] = otherGreatest as never;
      return;
    }
    case 'stddev': {
      // Chan, Golub, LeVeque 1979: two sets' moments in one.
      const more = from.count[source]!;
      const delta = from.numbers![source]! - into.numbers![cell]!;
      const total = held + more;
      into.numbers2![cell] = into.numbers2![cell]! + from.numbers2![source]! + (delta * delta * held * more) / total;
      into.numbers![cell] = into.numbers![cell]! + (delta * more) / total;
      return;
    }
    default: {
      if (isWorseNumber(into, cell, from, source)) return;
      if (isBetterNumber(into, cell, from, source)) {
        setCell(into, cell, from, source, of.s);
        return;
      }
      const heldOf = { shards: of.shards, s: into.shard![cell]!, c: of.c };
      const heldCell = into.shardCell![cell]!;
      const sameStart = of.shards[of.s]!.startNs === of.shards[heldOf.s]!.startNs;
      const verdict = comparePicks(
        into.call,
        (from.numbers ?? from.integers ?? from.strings!)[source]!,
        sameStart ? from.times![source]! : timeOf(of, source),
        (into.numbers ?? into.integers ?? into.strings!)[cell]!,
        sameStart ? of.shards[heldOf.s]!.states[of.c]!.times![heldCell]! : timeOf(heldOf, heldCell),
      );
      if (verdict < 0 || (verdict === 0 && keyOf(of, source) >= keyOf(heldOf, heldCell))) return;
      setCell(into, cell, from, source, of.s);
    }
  }
}

/** Least and greatest numbers are mostly decided by their value, without a look at times. */
function isWorseNumber({ call, numbers }: CallCells, cell: number, from: StateArrays, source: number): boolean {
  if (numbers === null) return false;
  if (call.fn === 'max') return from.numbers![source]! < numbers[cell]!;
  return call.fn === 'min' && from.numbers![source]! > numbers[cell]!;
}

function isBetterNumber({ call, numbers }: CallCells, cell: number, from: StateArrays, source: number): boolean {
  if (numbers === null) return false;
  if (call.fn === 'max') return from.numbers![source]! > numbers[cell]!;
  return call.fn === 'min' && from.numbers![source]! < numbers[cell]!;
}

function timeOf({ shards, s, c }: StateOf, cell: number): bigint {
  return shards[s]!.startNs + BigInt(shards[s]!.states[c]!.times![cell]!);
}

function keyOf({ shards, s, c }: StateOf, cell: number): string {
  const { picked } = shards[s]!.states[c]!;
  return picked === null ? '' : shards[s]!.seriesKeys[picked[cell]!]!;
}

/** Time of the row that a selector picked. */
export function pickTime(grid: CellGrid, call: number, cell: number): bigint {
  const { shard, shardCell } = grid.calls[call]!;
  return timeOf({ shards: grid.shards, s: shard?.[cell] ?? 0, c: call }, shardCell?.[cell] ?? cell);
}

/** pickTime of many cells: `cellOf` gives the cell of a place in `times`. No bigint is made of them. */
export function pickTimes(grid: CellGrid, call: number, cellOf: (place: number) => number, times: BigInt64Array): void {
  const { shard, shardCell } = grid.calls[call]!;
  const halves = halvesOf(times);
  const starts = grid.shards.map(({ startNs }) => halvesOf(BigInt64Array.of(startNs)));
  for (let place = 0; place < times.length; place++) {
    const cell = cellOf(place);
    const s = shard?.[cell] ?? 0;
    const offset = grid.shards[s]!.states[call]!.times![shardCell?.[cell] ?? cell]!;
    const high = Math.floor(offset / 4_294_967_296);
    const low = starts[s]![0]! + (offset - high * 4_294_967_296);
    // Storing into 32 bits keeps the low ones.
    halves[place * 2] = low;
    halves[place * 2 + 1] = starts[s]![1]! + high + (low > 0xffffffff ? 1 : 0);
  }
}

/** Values of further columns of the row that a selector picked. */
export function pickAux(grid: CellGrid, call: number, cell: number): Scalar[] | null {
  const { shard, shardCell } = grid.calls[call]!;
  const of = grid.shards[shard?.[cell] ?? 0]!;
  return of.aux.length === 0 ? null : of.aux.map((column) => column[shardCell?.[cell] ?? cell]!);
}

/** The value that a cell with rows stands for. */
export function cellResult(cells: CallCells, cell: number): Scalar {
  const { fn, type } = cells.call;
  const value = cells.numbers?.[cell] ?? cells.integers?.[cell] ?? cells.strings?.[cell] ?? null;
  switch (fn) {
    case 'count':
      return BigInt(cells.count[cell]!);
    case 'mean':
      return Number(value) / cells.count[cell]!;
    case 'spread':
      return cells.integers === null
        ? cells.numbers2![cell]! - (value as number)
        : BigInt.asIntN(64, cells.integers2![cell]! - (value as bigint));
    case 'stddev':
      return cells.count[cell]! < 2 ? Number.NaN : Math.sqrt(cells.numbers2![cell]! / (cells.count[cell]! - 1));
    case 'sum':
      return value;
    default:
      return type === 4 ? value === 1 : value;
  }
}

/** Results of cells as numbers: absent cells and those without a result are NaN. */
export interface CellNumbers {
  readonly numbers: Float64Array;
  /** Those of a range of cells; false: one of them is none that float64 holds. */
  put(from: number, to: number): boolean;
}

/** null: they are no numbers, and have to be taken one by one. */
export function cellNumbers(cells: CallCells): CellNumbers | null {
  const { fn, type } = cells.call;
  const isInteger = type === INTEGER || type === UNSIGNED;
  if (fn !== 'count' && !isInteger && (cells.numbers === null || type === 4)) return null;
  const numbers = new Float64Array(cells.count.length).fill(Number.NaN);
  const put = fn === 'count' || (cells.numbers !== null && type !== 4) ? putNumbers : putIntegers;
  return { numbers, put: (from, to) => put(cells, numbers, from, to) };
}

function putNumbers(
  { call: { fn }, count, numbers, numbers2 }: CallCells,
  out: Float64Array,
  from: number,
  to: number,
): true {
  if (fn === 'count') for (let i = from; i < to; i++) out[i] = count[i]! > 0 ? count[i]! : Number.NaN;
  else if (fn === 'mean') for (let i = from; i < to; i++) out[i] = numbers![i]! / count[i]!;
  else if (fn === 'spread') {
    for (let i = from; i < to; i++) if (count[i]! > 0) out[i] = numbers2![i]! - numbers![i]!;
  } else if (fn === 'stddev') {
    for (let i = from; i < to; i++) if (count[i]! > 1) out[i] = Math.sqrt(numbers2![i]! / (count[i]! - 1));
  } else for (let i = from; i < to; i++) if (count[i]! > 0) out[i] = numbers![i]!;
  return true;
}

/** False: one of them is more than float64 holds. */
function putIntegers(cells: CallCells, out: Float64Array, from: number, to: number): boolean {
  const { fn, type } = cells.call;
  const { count } = cells;
  const halves = halvesOf(cells.integers!);
  const highs = type === UNSIGNED ? halves : new Int32Array(halves.buffer, halves.byteOffset, halves.length);
  for (let i = from; i < to; i++) {
    if (count[i] === 0) continue;
    const number = fn === 'spread' ? Number(cellResult(cells, i)) : highs[i * 2 + 1]! * 4_294_967_296 + halves[i * 2]!;
    if (fn === 'mean') out[i] = number / count[i]!;
    else if (Number.isSafeInteger(number)) out[i] = number;
    else return false;
  }
  return true;
}
