/**
 * States of aggregates over cells (group x window), and how runs are added to them.
 *
 * Runs come in the order (storage window, series hash, time), the same on every replica, and what a run holds does not
 * depend on the layout either, so float sums come out the same everywhere. Ties follow InfluxDB: min and max keep the
 * earliest row, first and last the greater value, first() of booleans false.
 */
import { BOOLEAN, type Column, type FieldType, STRING, UNSIGNED } from '../column.ts';
import type { AggregateRuns } from '../queryable.ts';
import type { PackedStates, StateArrays, StateCall, StateFunction } from './partial.ts';
import { halvesOf, isInteger } from './run-buffer.ts';

export interface State {
  readonly fn: StateFunction;
  readonly type: FieldType;
  readonly count: Float64Array;
  readonly numbers: Float64Array | null;
  readonly integers: BigInt64Array | BigUint64Array | null;
  readonly strings: string[] | null;
  readonly times: Float64Array | null;
  readonly numbers2: Float64Array | null;
  readonly integers2: BigInt64Array | BigUint64Array | null;
  /** Of its strings. */
  bytes: number;
}

/** States of all calls, in one buffer: it can be moved to another thread as a whole. */
export function makeStates(calls: readonly StateCall[], cells: number): { states: State[]; buffer: ArrayBuffer } {
  const shapes = calls.map(shapeOf);
  const arrays = shapes.reduce(
    (n, { numbers, integers, times, second }) => n + 1 + +(numbers || integers) + +times + +second,
    0,
  );
  const buffer = new ArrayBuffer(arrays * cells * 8);
  return { states: statesIn(buffer, calls, shapes, cells), buffer };
}

type Shape = ReturnType<typeof shapeOf>;

/** Views of the buffer, call after call. */
function statesIn(buffer: ArrayBuffer, calls: readonly StateCall[], shapes: readonly Shape[], cells: number): State[] {
  let at = 0;
  const next = (): number => {
    at += cells * 8;
    return at - cells * 8;
  };
  const floats = (): Float64Array => new Float64Array(buffer, next(), cells);
  const wide = (type: FieldType): BigInt64Array | BigUint64Array =>
    type === UNSIGNED ? new BigUint64Array(buffer, next(), cells) : new BigInt64Array(buffer, next(), cells);
  return calls.map(({ fn, type }, i): State => {
    const { numbers, integers, strings, times, second } = shapes[i]!;
    return {
      fn,
      type,
      count: floats(),
      numbers: numbers ? floats() : null,
      integers: integers ? wide(type) : null,
      strings: strings ? new Array<string>(cells).fill('') : null,
      times: times ? floats() : null,
      numbers2: second && numbers ? floats() : null,
      integers2: second && integers ? wide(type) : null,
      bytes: 0,
    };
  });
}

/** Which arrays a state has besides its count. */
function shapeOf({ fn, type }: StateCall) {
  const values = fn !== 'count';
  const integers = values && isInteger(type) && fn !== 'stddev';
  const strings = values && type === STRING;
  return {
    numbers: values && !integers && !strings,
    integers,
    strings,
    times: fn === 'min' || fn === 'max' || fn === 'first' || fn === 'last',
    second: fn === 'stddev' || fn === 'spread',
  };
}

/** Adds runs of the state's call: `groupOf` gives the group of a place, `windows` how many windows a group has. */
export function addRuns(state: State, runs: AggregateRuns, groupOf: Uint32Array, windows: number): void {
  const { fn } = state;
  if (fn === 'count') addCounts(state.count, runs, groupOf, windows);
  else if (fn === 'sum' || fn === 'mean') {
    if (state.integers === null) addSums(state.count, state.numbers!, runs, groupOf, windows);
    else addIntegerSums(state.count, halvesOf(state.integers), runs, groupOf, windows);
  } else if (fn === 'spread') addSpreads(state, runs, groupOf, windows);
  else if (state.numbers !== null) addNumberPicks(state, state.numbers, runs, groupOf, windows);
  else addOtherPicks(state, runs, groupOf, windows);
}

/** Like `addRuns` for the only run of a selector; `tieBreak` decides when it equals the pick in value and time. */
export function addPick(state: State, cell: number, runs: AggregateRuns, tieBreak: (cell: number) => boolean): boolean {
  const value = valueAt(runs, 0);
  const had = state.count[cell]!;
  state.count[cell] = had + runs.counts[0]!;
  if (had > 0) {
    const verdict = comparePicks(state, value, runs.times![0]!, valueAt(state, cell), state.times![cell]!);
    if (verdict < 0 || (verdict === 0 && !tieBreak(cell))) return false;
  }
  setPick(state, cell, value, runs.times![0]!);
  return true;
}

function addCounts(count: Float64Array, runs: AggregateRuns, groupOf: Uint32Array, windows: number): void {
  const { length, series, counts } = runs;
  for (let r = 0; r < length; r++) {
    const cell = groupOf[series[r]!]! * windows + runs.windows[r]!;
    count[cell] = count[cell]! + counts[r]!;
  }
}

function addSums(
  count: Float64Array,
  sums: Float64Array,
  runs: AggregateRuns,
  groupOf: Uint32Array,
  windows: number,
): void {
  const { length, series, counts } = runs;
  const numbers = runs.numbers!;
  for (let r = 0; r < length; r++) {
    const cell = groupOf[series[r]!]! * windows + runs.windows[r]!;
    count[cell] = count[cell]! + counts[r]!;
    sums[cell] = sums[cell]! + numbers[r]!;
  }
}

/** Modulo 2^64. */
function addIntegerSums(
  count: Float64Array,
  sums: Uint32Array,
  runs: AggregateRuns,
  groupOf: Uint32Array,
  windows: number,
): void {
  const { length, series, counts } = runs;
  const halves = halvesOf(runs.integers!);
  for (let r = 0; r < length; r++) {
    const cell = groupOf[series[r]!]! * windows + runs.windows[r]!;
    count[cell] = count[cell]! + counts[r]!;
    const low = sums[cell * 2]! + halves[r * 2]!;
    sums[cell * 2] = low;
    sums[cell * 2 + 1] = sums[cell * 2 + 1]! + halves[r * 2 + 1]! + (low > 0xffffffff ? 1 : 0);
  }
}

function addSpreads(state: State, runs: AggregateRuns, groupOf: Uint32Array, windows: number): void {
  const leasts = runs.integers ?? runs.numbers!;
  const greatests = runs.integers2 ?? runs.numbers2!;
  const lows = state.integers ?? state.numbers!;
  const highs = state.integers2 ?? state.numbers2!;
  for (let r = 0; r < runs.length; r++) {
    const cell = groupOf[runs.series[r]!]! * windows + runs.windows[r]!;
    const had = state.count[cell]!;
    state.count[cell] = had + runs.counts[r]!;
    if (had === 0 || leasts[r]! < lows[cell]!) lows[cell] = leasts[r] as never;
    if (had === 0 || greatests[r]! > highs[cell]!) highs[cell] = greatests[r] as never;
  }
}

function addNumberPicks(
  state: State,
  held: Float64Array,
  runs: AggregateRuns,
  groupOf: Uint32Array,
  windows: number,
): void {
  const { fn, count } = state;
  const less = takesLess(state);
  const heldTimes = state.times!;
  const { length, series, counts } = runs;
  const numbers = runs.numbers!;
  const times = runs.times!;
  for (let r = 0; r < length; r++) {
    const cell = groupOf[series[r]!]! * windows + runs.windows[r]!;
    const had = count[cell]!;
    count[cell] = had + counts[r]!;
    if (had > 0 && !isBetterNumber(fn, less, numbers[r]!, times[r]!, held[cell]!, heldTimes[cell]!)) continue;
    held[cell] = numbers[r]!;
    heldTimes[cell] = times[r]!;
  }
}

function isBetterNumber(
  fn: StateFunction,
  less: boolean,
  value: number,
  time: number,
  held: number,
  heldTime: number,
): boolean {
  if (fn === 'max') return value > held || (value === held && time < heldTime);
  if (fn === 'min') return value < held || (value === held && time < heldTime);
  if (time === heldTime) return less ? value < held : value > held;
  return fn === 'first' ? time < heldTime : time > heldTime;
}

function addOtherPicks(state: State, runs: AggregateRuns, groupOf: Uint32Array, windows: number): void {
  for (let r = 0; r < runs.length; r++) {
    const cell = groupOf[runs.series[r]!]! * windows + runs.windows[r]!;
    const value = valueAt(runs, r);
    const time = runs.times![r]!;
    const had = state.count[cell]!;
    state.count[cell] = had + runs.counts[r]!;
    if (had > 0 && comparePicks(state, value, time, valueAt(state, cell), state.times![cell]!) <= 0) continue;
    setPick(state, cell, value, time);
  }
}

/** Adds rows from..to-1 of a column to a cell of stddev (Welford 1962). */
export function addMoments(
  state: State,
  cell: number,
  column: Column,
  mask: Uint8Array | null,
  from: number,
  to: number,
): void {
  let n = state.count[cell]!;
  let mean = state.numbers![cell]!;
  let squares = state.numbers2![cell]!;
  const values = column.values;
  for (let i = from; i < to; i++) {
    if (mask !== null && mask[i] === 0) continue;
    const value = Number(values[i]);
    n++;
    const delta = value - mean;
    mean += delta / n;
    squares += delta * (value - mean);
  }
  state.count[cell] = n;
  state.numbers![cell] = mean;
  state.numbers2![cell] = squares;
}

type Picked = number | bigint | string;

function valueAt(of: Pick<State, 'numbers' | 'integers'> & { strings: readonly string[] | null }, i: number): Picked {
  return of.numbers?.[i] ?? of.integers?.[i] ?? of.strings![i]!;
}

function setPick(state: State, cell: number, value: Picked, time: number): void {
  state.times![cell] = time;
  if (state.strings !== null) state.bytes += (value as string).length - state.strings[cell]!.length;
  const values = state.numbers ?? state.integers ?? state.strings!;
  values[cell] = value as never;
}

type PickCall = Pick<StateCall, 'fn' | 'type'>;

/** Of values at one time first() takes the greatest, but false of booleans. */
function takesLess({ fn, type }: PickCall): boolean {
  return type === BOOLEAN && fn === 'first';
}

/** > 0: the first is what the selector wants, < 0: the second, 0: equal in value and time. */
export function comparePicks(
  call: PickCall,
  value: Picked,
  time: number | bigint,
  otherValue: Picked,
  otherTime: number | bigint,
): number {
  const byTime = time < otherTime ? 1 : time > otherTime ? -1 : 0;
  const byValue = value > otherValue ? 1 : value < otherValue ? -1 : 0;
  const { fn } = call;
  if (fn === 'min') return -byValue || byTime;
  if (fn === 'max') return byValue || byTime;
  return (fn === 'first' ? byTime : -byTime) || (takesLess(call) ? -byValue : byValue);
}

/** The form in which states travel; `buffer`: theirs. */
export function packStates(states: readonly State[], buffer: ArrayBuffer, picked: Uint32Array | null): PackedStates {
  const hasTexts = states.some(({ strings }) => strings !== null);
  return { numbers: buffer, strings: hasTexts ? states.map(({ strings }) => strings) : null, picked };
}

export function unpackStates(
  { numbers: buffer, strings: texts, picked }: PackedStates,
  calls: readonly StateCall[],
  cells: number,
): StateArrays[] {
  // Of another form, typed arrays over it would be empty, and the answer would lack its rows without a word.
  if (!(buffer instanceof ArrayBuffer)) throw new TypeError('states that do not travel in one buffer');
  return statesIn(buffer, calls, calls.map(shapeOf), cells).map((state, i): StateArrays => {
    const { count, numbers, integers, times, numbers2, integers2 } = state;
    return { count, numbers, integers, strings: texts?.[i] ?? null, times, numbers2, integers2, picked };
  });
}
