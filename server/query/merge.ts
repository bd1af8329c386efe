/**
 * Merges what shards answered: states cell by cell, rows group by group.
 *
 * Shards are taken in the order (startNs, number), whichever place answered for them, so float sums come out the same.
 */
import { UNSIGNED } from '../../shards/column.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { SelectRequest, ShardSelect, StateArrays, StateCall } from '../../shards/query/partial.ts';
import { comparePicks } from '../../shards/query/state-arrays.ts';
import { type Group, makeGroup, type RowGroup, type SourceRow } from './groups.ts';
import { QueryError } from './query-error.ts';

export function inShardOrder(shards: readonly ShardSelect[]): ShardSelect[] {
  return [...shards].sort((a, b) => (a.startNs !== b.startNs ? (a.startNs < b.startNs ? -1 : 1) : a.number - b.number));
}

/** One aggregate of one cell while shards are merged. */
export interface CellState {
  count: number;
  value: Scalar;
  /** spread: the greatest; stddev: sum of squared differences. */
  second: Scalar;
  time: bigint;
  seriesKey: string;
  aux: Scalar[] | null;
}

export interface MergedStates {
  readonly group: Group;
  /** Per call: window index -> state; only windows with values. */
  readonly calls: readonly Map<number, CellState>[];
}

/** `cellsMax`: states held at once, over all shards. */
export function mergeStates(shards: readonly ShardSelect[], request: SelectRequest, cellsMax: number): MergedStates[] {
  const merged = new Map<string, MergedStates>();
  let held = 0;
  for (const shard of shards) {
    const { measurements, tagValues } = shard.groups;
    for (let g = 0; g < measurements.length; g++) {
      const group = makeGroup(measurements[g]!, request.dimensions, tagValues[g]!);
      let entry = merged.get(group.key);
      if (entry === undefined) {
        entry = { group, calls: request.states.map(() => new Map()) };
        merged.set(group.key, entry);
      }
      for (let c = 0; c < request.states.length; c++) {
        const arrays = shard.states[c]!;
        const cells = entry.calls[c]!;
        for (let w = 0; w < shard.windowCount; w++) {
          const cell = g * shard.windowCount + w;
          if (arrays.count[cell] === 0) continue;
          const next = readCell(shard, arrays, request.states[c]!, cell);
          const window = shard.firstWindow + w;
          const before = cells.get(window);
          if (before !== undefined) mergeCell(before, next, request.states[c]!);
          else {
            cells.set(window, next);
            if (++held > cellsMax) throw tooManyWindows(`more than ${cellsMax} of all series`);
          }
        }
      }
    }
  }
  return [...merged.values()];
}

export function tooManyWindows(detail: string): QueryError {
  return new QueryError(
    `query holds too many windows at once: ${detail}; use a longer interval, fewer groups or a shorter range`,
  );
}

function readCell(shard: ShardSelect, arrays: StateArrays, call: StateCall, cell: number): CellState {
  const boolean = call.type === 4;
  const raw = arrays.integers?.[cell] ?? arrays.strings?.[cell] ?? arrays.numbers?.[cell] ?? null;
  const picks = arrays.times !== null;
  return {
    count: arrays.count[cell]!,
    value: boolean && picks ? raw === 1 : raw,
    second: arrays.integers2?.[cell] ?? arrays.numbers2?.[cell] ?? null,
    time: picks ? shard.startNs + BigInt(arrays.times[cell]!) : 0n,
    seriesKey: arrays.picked === null ? '' : shard.seriesKeys[arrays.picked[cell]!]!,
    aux: shard.aux.length === 0 ? null : shard.aux.map((column) => column[cell]!),
  };
}

function mergeCell(into: CellState, next: CellState, call: StateCall): void {
  const { count } = into;
  into.count += next.count;
  switch (call.fn) {
    case 'count':
      return;
    case 'sum':
    case 'mean':
      into.value = addValues(into.value, next.value, call.type === UNSIGNED);
      return;
    case 'spread':
      if (next.value! < into.value!) into.value = next.value;
      if (next.second! > into.second!) into.second = next.second;
      return;
    case 'stddev': {
      // Chan, Golub, LeVeque 1979: two sets' moments in one.
      const delta = (next.value as number) - (into.value as number);
      const total = count + next.count;
      into.second = (into.second as number) + (next.second as number) + (delta * delta * count * next.count) / total;
      into.value = (into.value as number) + (delta * next.count) / total;
      return;
    }
    default: {
      const verdict = comparePicks(call.fn, comparable(next.value), next.time, comparable(into.value), into.time);
      if (verdict < 0 || (verdict === 0 && next.seriesKey >= into.seriesKey)) return;
      into.value = next.value;
      into.time = next.time;
      into.seriesKey = next.seriesKey;
      into.aux = next.aux;
    }
  }
}

function addValues(a: Scalar, b: Scalar, unsigned: boolean): Scalar {
  if (typeof a === 'bigint' && typeof b === 'bigint')
    return unsigned ? BigInt.asUintN(64, a + b) : BigInt.asIntN(64, a + b);
  return (a as number) + (b as number);
}

const comparable = (value: Scalar): number | bigint | string =>
  typeof value === 'boolean' ? Number(value) : (value ?? 0);

/** The value that a merged cell stands for. */
export function cellResult(state: CellState, call: StateCall): Scalar {
  switch (call.fn) {
    case 'count':
      return BigInt(state.count);
    case 'mean':
      return Number(state.value) / state.count;
    case 'spread':
      return typeof state.value === 'bigint'
        ? BigInt.asIntN(64, (state.second as bigint) - state.value)
        : (state.second as number) - (state.value as number);
    case 'stddev':
      return state.count < 2 ? null : Math.sqrt((state.second as number) / (state.count - 1));
    default:
      return state.value;
  }
}

/** Rows of all shards per group, ordered by time in the query's direction, then strings, then series key. */
export function mergeRows(
  shards: readonly ShardSelect[],
  dimensions: readonly string[],
  descending: boolean,
): RowGroup[] {
  const merged = new Map<string, { group: Group; rows: SourceRow[] }>();
  const ordered = descending ? [...shards].reverse() : shards;
  for (const shard of ordered) {
    const groups = shard.groups.measurements.map((name, g) => {
      const group = makeGroup(name, dimensions, shard.groups.tagValues[g]!);
      let entry = merged.get(group.key);
      if (entry === undefined) {
        entry = { group, rows: [] };
        merged.set(group.key, entry);
      }
      return entry;
    });
    const rows = shard.rows;
    if (rows === null) continue;
    for (let r = 0; r < rows.times.length; r++) {
      groups[rows.groups[r]!]!.rows.push({
        time: shard.startNs + BigInt(rows.times[r]!),
        values: rows.columns.map((column) => column[r]!),
        seriesKey: shard.seriesKeys[rows.series[r]!]!,
      });
    }
  }
  const groups = [...merged.values()];
  for (const { rows } of groups) orderRows(rows, descending);
  return groups;
}

export function orderRows(rows: SourceRow[], descending: boolean): void {
  const sign = descending ? -1 : 1;
  const compare = (a: SourceRow, b: SourceRow): number => {
    if (a.time !== b.time) return a.time < b.time ? -sign : sign;
    const strings = sign * compareStrings(a.values, b.values);
    return strings !== 0 ? strings : a.seriesKey < b.seriesKey ? -1 : a.seriesKey > b.seriesKey ? 1 : 0;
  };
  for (let i = 1; i < rows.length; i++) {
    if (compare(rows[i - 1]!, rows[i]!) > 0) {
      rows.sort(compare);
      return;
    }
  }
}

/** InfluxDB's order of rows with equal time: by their strings, up to the first column that is none. */
function compareStrings(a: readonly Scalar[], b: readonly Scalar[]): number {
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    if (typeof x !== 'string' || typeof y !== 'string') return 0;
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}
