/**
 * From streams of points of all calls to rows, where a SELECT's answer is no grid of cells (grid-table.ts).
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression } from '../influxql/ast.ts';
import { type Call, callKey, typeOf } from './calls.ts';
import { columnKey } from './data.ts';
import { evaluate } from './evaluate.ts';
import { fillerOf, fillerOfAbsent } from './filled-columns.ts';
import { auxOrder } from './grid-table.ts';
import { type Group, type Point, type Stream, sortGroups } from './groups.ts';
import { finite, type OutputTable } from './output.ts';
import type { SelectPlan } from './plan.ts';

/** Rows in one step. */
const STEP_ROWS = 2048;

/** Rows at every (group, time) that any stream has, as InfluxDB's scanners meet; in short steps. `exact`: for a query around them. */
export function* joinStreams(
  plan: SelectPlan,
  calls: readonly Call[],
  streams: readonly (readonly Stream[])[],
  exact: boolean,
): Steps<OutputTable> {
  const joined = new Map<string, { group: Group; points: (readonly Point[] | undefined)[] }>();
  let most = 0;
  streams.forEach((list, c) => {
    for (const { group, points } of list) {
      let entry = joined.get(group.key);
      if (entry === undefined) {
        entry = { group, points: new Array(calls.length) };
        joined.set(group.key, entry);
      }
      entry.points[c] = points;
      most += points.length;
    }
  });
  const callIndex = new Map(calls.map((call, i) => [call.key, i]));
  const defaults = calls.map((call) => fillerOf(plan.fill, typeOf(call.expression, plan.schema)));
  const referenceIndex = new Map(auxOrder(plan).map((key, i) => [key, i]));
  const fillers = new Map(
    plan.references.map((reference) => [columnKey(reference), fillerOf(plan.fill, typeOf(reference, plan.schema))]),
  );
  /** What further columns of a selector show. */
  let further = new Map<string, Scalar>();
  let current: Scalar[] = [];
  const slot = (expression: Expression): Scalar => {
    if (expression.kind === 'reference') return further.get(columnKey(expression))!;
    const c = callIndex.get(callKey(expression));
    return c === undefined ? fillerOfAbsent(plan.fill, expression, plan.schema) : current[c]!;
  };
  const groups: Group[] = [];
  const starts = [0];
  const times = new BigInt64Array(most);
  const columns: Scalar[][] = plan.fields.map(() => []);
  let rows = 0;
  for (const { group, points } of sortGroups([...joined.values()], plan.descending)) {
    const next = calls.map(() => 0);
    // With fill(previous) a call without a point keeps what it had.
    current = [...defaults];
    further = new Map(fillers);
    for (;;) {
      const time = nextTime(points, next, plan.descending);
      if (time === null) break;
      let aux: readonly Scalar[] | null = null;
      for (let c = 0; c < calls.length; c++) {
        const point = points[c]?.[next[c]!];
        if (point !== undefined && point.time === time) {
          current[c] = point.value;
          aux = point.aux ?? aux;
          next[c]!++;
        } else if (plan.fill.kind !== 'previous') current[c] = defaults[c]!;
      }
      for (const [key, place] of referenceIndex) {
        const value = aux?.[place] ?? null;
        if (value !== null || plan.fill.kind !== 'previous') further.set(key, value ?? fillers.get(key)!);
      }
      times[rows++] = time;
      for (let f = 0; f < columns.length; f++) {
        const value = evaluate(plan.fields[f]!.expression, slot);
        columns[f]!.push(exact ? value : finite(value));
      }
      if (rows % STEP_ROWS === 0) yield;
    }
    if (rows === starts.at(-1)) continue;
    groups.push(group);
    starts.push(rows);
  }
  return { groups, starts, times: times.slice(0, rows), columns };
}

function nextTime(
  points: readonly (readonly Point[] | undefined)[],
  next: readonly number[],
  descending: boolean,
): bigint | null {
  let time: bigint | null = null;
  for (let c = 0; c < points.length; c++) {
    const candidate = points[c]?.[next[c]!]?.time;
    if (candidate === undefined) continue;
    if (time === null || (descending ? candidate > time : candidate < time)) time = candidate;
  }
  return time;
}
