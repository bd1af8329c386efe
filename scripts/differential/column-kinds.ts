/**
 * Kinds of a subquery's columns as InfluxDB 1.6 takes them: what is computed from integers is an integer to it, also a
 * quotient or a root. It cuts them in the query around them.
 */
import { isMathFunction } from '../../server/influxql/math.ts';
import type { ExpressionTree, SelectTree } from './query-tree.ts';
import type { World } from './world.ts';

/** null: another kind, or not known. */
export type NumberKind = 'float' | 'integer' | null;

const INTEGERS: ReadonlySet<string> = new Set(['count', 'elapsed']);
const FLOATS: ReadonlySet<string> = new Set([
  'mean',
  'median',
  'stddev',
  'integral',
  'derivative',
  'non_negative_derivative',
  'moving_average',
]);
/** Keep integers as they are. */
const ROUNDING: ReadonlySet<string> = new Set(['abs', 'floor', 'ceil', 'round']);

/** Kinds of what a SELECT reads from, by name. */
export function kindsIn({ from }: SelectTree, world: World): ReadonlyMap<string, NumberKind> {
  const kinds = new Map<string, NumberKind>();
  for (const source of from) {
    if (typeof source !== 'string') {
      const inner = kindsIn(source, world);
      for (const { expression, alias } of source.fields)
        kinds.set(alias ?? nameOf(expression), kindOf(expression, inner));
    } else
      for (const { fields } of world.measurements)
        for (const [name, kind] of Object.entries(fields))
          kinds.set(name, kind === 'float' || kind === 'integer' ? kind : null);
  }
  return kinds;
}

/** Of a column without an alias. */
function nameOf(expression: ExpressionTree): string {
  if (expression.kind === 'call') return expression.name;
  return expression.kind === 'text' ? expression.text.replace(/::.*/, '') : '';
}

export function kindOf(expression: ExpressionTree, kinds: ReadonlyMap<string, NumberKind>): NumberKind {
  switch (expression.kind) {
    case 'text': {
      const [name, cast] = expression.text.split('::');
      if (cast === 'float' || cast === 'integer') return cast;
      if (/^-?\d/.test(name!)) return name!.includes('.') ? 'float' : 'integer';
      return kinds.get(name!) ?? null;
    }
    case 'binary': {
      const [left, right] = [kindOf(expression.left, kinds), kindOf(expression.right, kinds)];
      return left === 'float' || right === 'float' ? 'float' : (left ?? right);
    }
    case 'call': {
      if (INTEGERS.has(expression.name)) return 'integer';
      if (
        FLOATS.has(expression.name) ||
        /_(average|index|ratio|oscillator|exponential_derivative)$/.test(expression.name)
      )
        return 'float';
      return kindOf(expression.args[0]!, kinds);
    }
  }
}

/** Integers to InfluxDB, but what they are computed to need not be one. */
export function isCut(expression: ExpressionTree, kinds: ReadonlyMap<string, NumberKind>): boolean {
  return kindOf(expression, kinds) === 'integer' && leavesIntegers(expression);
}

function leavesIntegers(expression: ExpressionTree): boolean {
  if (expression.kind === 'text') return false;
  if (expression.kind === 'binary')
    return expression.op === '/' || leavesIntegers(expression.left) || leavesIntegers(expression.right);
  if (ROUNDING.has(expression.name)) return expression.args.some(leavesIntegers) && expression.name === 'abs';
  return isMathFunction(expression.name);
}
