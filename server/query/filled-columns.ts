/**
 * fill() without windows: what a row lacks becomes the fill's value, or what the row before it in the series of results had.
 */

import type { FieldType } from '../../shards/column.ts';
import type { Scalar } from '../../shards/query/arithmetic.ts';
import type { Steps } from '../../shards/steps.ts';
import type { Expression, Fill } from '../influxql/ast.ts';
import { inRanges } from '../turns.ts';
import { fixedType, typeOf } from './calls.ts';
import { castFill } from './fill.ts';
import { exactValue, type OutputColumn } from './output.ts';
import { type SourceSchema, typeName } from './schema.ts';

/** What InfluxDB puts into a column that has nothing; `type` null: nothing there has its name. */
export function fillerOf(fill: Fill, type: FieldType | null): Scalar {
  if (fill.kind !== 'value') return null;
  const name = type === null ? null : typeName(type);
  return name === null || name === 'string' || name === 'boolean' ? Number(fill.value) : castFill(fill.value, name);
}

/** Of a call that has nothing to work on, but a tag: only where its type is known without. */
export function fillerOfAbsent(fill: Fill, call: Expression, schema: SourceSchema): Scalar {
  const type = typeOf(call, schema) ?? (call.kind === 'call' ? fixedType(call.name) : null);
  return type === null ? null : fillerOf(fill, type);
}

/** Whether a fill shows in rows as they are stored. */
export function fillsRows({ kind }: Fill): boolean {
  return kind === 'value' || kind === 'previous';
}

/** The column in an order of rows, of which those of group g are starts[g] .. starts[g + 1] - 1. */
export function* filledColumn(
  column: OutputColumn,
  order: Uint32Array,
  starts: readonly number[],
  fill: Fill,
  type: FieldType | null,
): Steps<Scalar[]> {
  const cells = new Array<Scalar>(order.length);
  const filler = fillerOf(fill, type);
  let group = 0;
  let held = filler;
  yield* inRanges(order.length, (from, to) => {
    for (let i = from; i < to; i++) {
      for (; starts[group + 1]! <= i; group++) held = filler;
      cells[i] = exactValue(column, order[i]!) ?? held;
      if (fill.kind === 'previous') held = cells[i]!;
    }
  });
  return cells;
}
