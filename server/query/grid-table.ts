/**
 * From a grid of cells to rows, when every call of the select list is a state by itself: fill, limits, expressions.
 *
 * Says the same as select.ts does by streams of points, in one pass over windows: the points of a call in a group are
 * its cells (with fill also the windows between them), LIMIT and OFFSET count points of each call, and a row stands
 * where any call has a point; calls without one there show what fill(...) says.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import { windowStart, windowStarts } from '../../shards/query/windows.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression } from '../influxql/ast.ts';
import { inRanges } from '../turns.ts';
import { type Call, callKey, typeOf } from './calls.ts';
import {
  type CellGrid,
  type CellNumbers,
  cellNumbers,
  cellResult,
  pickAux,
  pickTimes,
  tooManyWindows,
} from './cells.ts';
import { columnKey, limitSeries, type SpanData } from './data.ts';
import { evaluate } from './evaluate.ts';
import { between, castFill } from './fill.ts';
import { fillerOf, fillerOfAbsent } from './filled-columns.ts';
import type { Group } from './groups.ts';
import { emptyTable, finite, type OutputColumn, type OutputTable } from './output.ts';
import type { SelectPlan } from './plan.ts';
import { typeName } from './schema.ts';

/** What a call shows in a row: a cell of the grid (0 and above), or one of these; below them, an interpolated value. */
const NOTHING = -1;
const FILLED = -2;
const INTERPOLATED = -3;

interface GridCall {
  /** Index in the grid's calls. */
  readonly state: number;
  /** Value of a window without rows, in groups where the call has a point; null: none. */
  readonly filler: Scalar;
  /** What is shown where the call has no point. */
  readonly absent: number;
}

/** Windows in one step. */
const STEP_WINDOWS = 4096;

/** In short steps. `exact`: for a query around it. */
export function* gridTable(
  plan: SelectPlan,
  calls: readonly Call[],
  data: SpanData,
  cellsMax: number,
  exact: boolean,
): Steps<OutputTable> {
  const grid = data.states!;
  // Nobody had a series for it: not even the types of the cells are known then.
  if (grid.groups.length === 0) return emptyTable(plan.fields.length);
  const rows = new GridRows(plan, calls, data, grid, cellsMax);
  let left = STEP_WINDOWS;
  if (!rows.areCells)
    for (const { index } of rows.ordered) {
      rows.beginGroup(index);
      for (let more = true; more; ) {
        const before = rows.length;
        more = rows.walk(STEP_WINDOWS);
        // A group costs as much as a few of its windows.
        left -= more ? STEP_WINDOWS : rows.length - before + 8;
        if (left > 0) continue;
        left = STEP_WINDOWS;
        yield;
      }
    }
  return yield* rows.finish(exact);
}

class GridRows {
  readonly ordered: readonly { readonly group: Group; readonly index: number }[];
  /** Each cell of the grid is a row, in its order: nothing has to be filled, left out or turned round. */
  readonly areCells: boolean;
  readonly #plan: SelectPlan;
  readonly #calls: readonly Call[];
  readonly #data: SpanData;
  readonly #grid: CellGrid;
  readonly #gridCalls: readonly GridCall[];
  readonly #auxOrder: readonly string[];
  /** Per call the rows of each cell. */
  readonly #counts: readonly Float64Array[];
  /** Per call of the group at hand: its first window, points so far, the cell of its last rows, what it shows. */
  readonly #walk: {
    readonly firsts: Float64Array;
    readonly seen: Float64Array;
    readonly previous: Int32Array;
    readonly current: Int32Array;
  };
  /** In the group at hand. */
  #place = { group: 0, filled: false, low: 0, steps: 0, step: 0, position: 0, before: 0 };
  /** Values of fill(linear). */
  readonly #interpolated: Scalar[] = [];
  readonly #groups: Group[] = [];
  readonly #starts = [0];
  /** Per row: its window, and what each call shows. */
  readonly #windows: number[] = [];
  readonly #shown: number[] = [];

  constructor(plan: SelectPlan, calls: readonly Call[], data: SpanData, grid: CellGrid, cellsMax: number) {
    this.#plan = plan;
    this.#calls = calls;
    this.#data = data;
    this.#grid = grid;
    this.#auxOrder = auxOrder(plan);
    this.#walk = {
      firsts: new Float64Array(calls.length),
      seen: new Float64Array(calls.length),
      previous: new Int32Array(calls.length),
      current: new Int32Array(calls.length),
    };
    const { fill } = plan;
    this.#gridCalls = calls.map((call): GridCall => {
      const type = typeOf(call.expression, plan.schema);
      // InfluxDB fills the windows of count() with 0 where others get null.
      const zero = fill.kind === 'null' && call.name === 'count';
      const filler = zero
        ? 0n
        : data.span.windows === null || fill.kind !== 'value'
          ? fillerOf(fill, type)
          : castFill(fill.value, typeName(type ?? 0));
      return { state: data.stateIndex.get(call.key)!, filler, absent: fill.kind === 'value' ? FILLED : NOTHING };
    });
    this.#counts = this.#gridCalls.map(({ state }) => grid.calls[state]!.count);
    const groups = grid.groups.map((group, index) => ({ group, index }));
    // They ascend by key, as the grid's do.
    const limited = limitSeries(groups, plan);
    this.ordered = plan.descending ? limited.reverse() : limited;
    this.#checkSize(cellsMax);
    const { windows } = data.span;
    this.areCells =
      grid.windows.length > 0 &&
      !plan.descending &&
      plan.limit === 0 &&
      plan.offset === 0 &&
      this.ordered.length === grid.groups.length &&
      (windows === null || fill.kind === 'none' || windows.count === grid.windows.length) &&
      this.#counts.every(isFull);
  }

  #checkSize(cellsMax: number): void {
    const { windows } = this.#data.span;
    if (windows === null || this.#plan.fill.kind === 'none') return;
    // Groups in which a call has rows are at most all.
    if (this.#grid.groups.length * windows.count <= cellsMax) return;
    for (const { state } of this.#gridCalls) {
      let groups = 0;
      for (let g = 0; g < this.#grid.groups.length; g++) if (this.#firstCell(state, g) >= 0) groups++;
      if (groups * windows.count > cellsMax)
        throw tooManyWindows(`${groups} groups x ${windows.count} windows (limit ${cellsMax})`);
    }
  }

  /** Position of the first window in which the call has rows, or -1. */
  #firstCell(state: number, group: number): number {
    const count = this.#grid.calls[state]!.count;
    const width = this.#grid.windows.length;
    for (let w = 0; w < width; w++) if (count[group * width + w]! > 0) return w;
    return -1;
  }

  get length(): number {
    return this.#windows.length;
  }

  /** `walk` has to be called until it is done. */
  beginGroup(group: number): void {
    const { windows } = this.#data.span;
    const filled = windows !== null && this.#plan.fill.kind !== 'none';
    const width = this.#grid.windows.length;
    const low = this.#startWalk(group, filled);
    const steps = low === Number.POSITIVE_INFINITY ? 0 : filled ? windows.count - low : width;
    let position = this.#plan.descending ? width - 1 : 0;
    // Windows of the grid before the group's first one, as other groups and the shard's own beginning may have them.
    if (!this.#plan.descending) while (position < width && this.#grid.windows[position]! < low) position++;
    this.#place = { group, filled, low, steps, step: 0, position, before: this.#windows.length };
  }

  /** The next so many windows of the group at hand; false: it is done. */
  walk(most: number): boolean {
    const place = this.#place;
    const { group, filled, low, before } = place;
    const { windows: positions } = this.#grid;
    const { descending, fill, limit, offset } = this.#plan;
    const { windows } = this.#data.span;
    const calls = this.#gridCalls;
    const counts = this.#counts;
    const width = positions.length;
    const { firsts, seen, previous, current } = this.#walk;
    const last = limit === 0 ? Number.POSITIVE_INFINITY : offset + limit;
    // Where in the grid's windows the walk is: with fill it meets windows that the grid does not have.
    let { position, step } = place;
    const end = Math.min(place.steps, step + most);
    let isOpen = end < place.steps;
    for (; step < end; step++) {
      const window = filled ? (descending ? windows!.count - 1 - step : low + step) : positions[position]!;
      const inGrid = position >= 0 && position < width && positions[position] === window;
      const cell = group * width + position;
      let any = false;
      let open = false;
      for (let c = 0; c < calls.length; c++) {
        const hasRows = inGrid && counts[c]![cell]! > 0;
        const isPoint = hasRows || (filled && window >= firsts[c]!);
        let shown = cell;
        if (!hasRows && isPoint) shown = this.#fillCode(c, group, position, window, previous[c]!);
        if (hasRows) previous[c] = cell;
        const counted = isPoint && seen[c]! >= offset && seen[c]! < last;
        if (isPoint) seen[c]!++;
        // With fill(previous) a call without a point keeps what it had.
        if (counted) current[c] = shown;
        else if (fill.kind !== 'previous') current[c] = calls[c]!.absent;
        any ||= counted;
        open ||= seen[c]! < last && firsts[c] !== Number.POSITIVE_INFINITY;
      }
      if (inGrid) position += descending ? -1 : 1;
      if (any) {
        this.#windows.push(window);
        for (let c = 0; c < calls.length; c++) this.#shown.push(current[c]!);
      }
      if (!open) {
        isOpen = false;
        break;
      }
    }
    place.position = position;
    place.step = step;
    if (isOpen) return true;
    if (this.#windows.length > before) {
      this.#groups.push(this.#grid.groups[group]!);
      this.#starts.push(this.#windows.length);
    }
    return false;
  }

  /** First window of the group that a call has a point in, as an index in all windows; Infinity: no call has one. */
  #startWalk(group: number, filled: boolean): number {
    const { firsts, seen, previous, current } = this.#walk;
    const openStart = this.#data.span.minNs === null;
    let low = Number.POSITIVE_INFINITY;
    for (let c = 0; c < this.#gridCalls.length; c++) {
      const { state, absent } = this.#gridCalls[c]!;
      const first = this.#firstCell(state, group);
      firsts[c] = first < 0 ? Number.POSITIVE_INFINITY : filled && !openStart ? 0 : this.#grid.windows[first]!;
      if (firsts[c]! < low) low = firsts[c]!;
      seen[c] = 0;
      previous[c] = NOTHING;
      current[c] = absent;
    }
    return low;
  }

  #fillCode(c: number, group: number, position: number, window: number, previous: number): number {
    const { fill, descending } = this.#plan;
    const { state, filler } = this.#gridCalls[c]!;
    if (fill.kind === 'previous') return previous;
    if (fill.kind !== 'linear') return filler === null ? NOTHING : FILLED;
    if (previous === NOTHING) return NOTHING;
    const { windows, calls } = this.#grid;
    const width = windows.length;
    const cells = calls[state]!;
    // The next window with rows in the walk's direction.
    const sign = descending ? -1 : 1;
    let next = position;
    while (next >= 0 && next < width && cells.count[group * width + next] === 0) next += sign;
    if (next < 0 || next >= width) return NOTHING;
    const from = cellResult(cells, previous);
    const to = cellResult(cells, group * width + next);
    const at = windows[previous - group * width]!;
    this.#interpolated.push(between(window, at, windows[next]!, from, to));
    return INTERPOLATED - (this.#interpolated.length - 1);
  }

  *finish(exact: boolean): Steps<OutputTable> {
    const { groups, windows } = this.#grid;
    const rows = this.areCells ? groups.length * windows.length : this.#windows.length;
    const times = yield* this.#times(rows);
    const callIndex = new Map(this.#calls.map((call, i) => [call.key, i]));
    const columns: OutputColumn[] = [];
    for (const { expression } of this.#plan.fields) {
      const direct =
        expression.kind === 'call' || expression.kind === 'distinct' ? callIndex.get(callKey(expression)) : undefined;
      if (direct === undefined) {
        columns.push(yield* cellsOf(rows, (row) => this.#evaluated(expression, row, callIndex), exact));
        continue;
      }
      const found = this.#numbersOf(direct, exact);
      let areNumbers = found !== null;
      if (found !== null)
        yield* inRanges(found.numbers.length, (from, to) => {
          areNumbers &&= found.put(from, to);
        });
      if (!areNumbers)
        columns.push(yield* cellsOf(rows, (row) => this.#value(direct, this.#shownIn(row, direct)), exact));
      else if (this.areCells) columns.push(found!.numbers);
      else {
        const column = new Float64Array(rows);
        yield* inRanges(rows, (from, to) => this.#show(direct, found!.numbers, column, from, to));
        columns.push(column);
      }
    }
    if (!this.areCells) return { groups: this.#groups, starts: this.#starts, times, columns };
    return { groups, starts: Array.from({ length: groups.length + 1 }, (_, g) => g * windows.length), times, columns };
  }

  /** What call c shows in a row. */
  #shownIn(row: number, c: number): number {
    return this.areCells ? row : this.#shown[row * this.#gridCalls.length + c]!;
  }

  /** Time of an aggregate: its window, else the start of the range, else 1970; of a selector without windows: its row's. */
  *#times(rows: number): Steps<BigInt64Array> {
    const { windows, minNs } = this.#data.span;
    if (this.areCells && windows !== null) {
      const starts = windowStarts(windows, this.#grid.windows);
      if (starts.length === rows) return starts;
      const times = new BigInt64Array(rows);
      yield* inRanges(rows / starts.length, (from, to) => {
        for (let group = from; group < to; group++) times.set(starts, group * starts.length);
      });
      return times;
    }
    const times = new BigInt64Array(rows);
    if (windows === null) {
      if (!this.#plan.selector) return times.fill(minNs ?? 0n);
      const { state } = this.#gridCalls[0]!;
      yield* inRanges(rows, (from, to) => {
        pickTimes(this.#grid, state, (row) => this.#shownIn(from + row, 0), times.subarray(from, to));
      });
      return times;
    }
    const starts = new Map<number, bigint>();
    yield* inRanges(rows, (from, to) => {
      for (let row = from; row < to; row++) {
        const window = this.#windows[row]!;
        let start = starts.get(window);
        if (start === undefined) {
          start = windowStart(windows, window);
          starts.set(window, start);
        }
        times[row] = start;
      }
    });
    return times;
  }

  /** null: what call c shows is not all numbers. */
  #numbersOf(c: number, exact: boolean): CellNumbers | null {
    const { state, filler } = this.#gridCalls[c]!;
    const cells = this.#grid.calls[state]!;
    const integers = cells.call.fn === 'count' || cells.integers !== null;
    const fits =
      filler === null ||
      typeof filler === 'number' ||
      (typeof filler === 'bigint' && Number.isSafeInteger(Number(filler)));
    // The deviation of one value is no number, which is not the same as none.
    return fits && !(exact && (integers || cells.call.fn === 'stddev')) ? cellNumbers(cells) : null;
  }

  /** Of rows from..to-1 what call c shows, of whose cells these are the numbers. */
  #show(c: number, numbers: Float64Array, column: Float64Array, from: number, to: number): void {
    const { filler } = this.#gridCalls[c]!;
    const fillNumber = filler === null ? Number.NaN : Number(filler);
    for (let row = from; row < to; row++) {
      const shown = this.#shownIn(row, c);
      if (shown >= 0) column[row] = numbers[shown]!;
      else if (shown === NOTHING) column[row] = Number.NaN;
      else if (shown === FILLED) column[row] = fillNumber;
      else column[row] = Number(this.#interpolated[INTERPOLATED - shown] ?? Number.NaN);
    }
  }

  #value(c: number, shown: number): Scalar {
    const { state, filler } = this.#gridCalls[c]!;
    if (shown >= 0) return cellResult(this.#grid.calls[state]!, shown);
    if (shown === NOTHING) return null;
    return shown === FILLED ? filler : this.#interpolated[INTERPOLATED - shown]!;
  }

  #evaluated(expression: Expression, row: number, callIndex: ReadonlyMap<string, number>): Scalar {
    const shown = (c: number): number => this.#shownIn(row, c);
    return evaluate(expression, (slot) => {
      if (slot.kind !== 'reference') {
        const c = callIndex.get(callKey(slot));
        return c === undefined ? fillerOfAbsent(this.#plan.fill, slot, this.#plan.schema) : this.#value(c, shown(c));
      }
      const order = this.#auxOrder.indexOf(columnKey(slot));
      if (order < 0 || shown(0) < 0) return null;
      return pickAux(this.#grid, this.#gridCalls[0]!.state, shown(0))?.[order] ?? null;
    });
  }
}

function* cellsOf(rows: number, cellOf: (row: number) => Scalar, exact: boolean): Steps<Scalar[]> {
  const cells = new Array<Scalar>(rows);
  yield* inRanges(rows, (from, to) => {
    for (let row = from; row < to; row++) {
      const value = cellOf(row);
      cells[row] = exact ? value : finite(value);
    }
  });
  return cells;
}

function isFull(counts: Float64Array): boolean {
  for (let cell = 0; cell < counts.length; cell++) if (counts[cell] === 0) return false;
  return true;
}

/** Further columns of a selector travel sorted. */
export function auxOrder(plan: SelectPlan): string[] {
  return plan.references.map(columnKey).sort();
}
