/**
 * Constant folding, as InfluxDB does it before it looks at anything else: arithmetic and mathematical functions of literals
 * become literals, and parentheses stay around arithmetic alone.
 */
import { type ArithmeticOperator, arithmetic } from '../../shards/query/arithmetic.ts';
import type { Expression, SelectField } from './ast.ts';
import { mathArguments, mathFunction } from './math.ts';

type Literal = Extract<Expression, { kind: 'number' | 'integer' | 'unsigned' | 'string' | 'boolean' | 'duration' }>;

const known = new WeakMap<readonly SelectField[], readonly SelectField[]>();

/** The same list each time for a list: what is remembered by it stays known. */
export function foldedFields(fields: readonly SelectField[]): readonly SelectField[] {
  let folded = known.get(fields);
  if (folded === undefined) {
    folded = fields.map((field) => ({ ...field, expression: fold(field.expression) }));
    known.set(fields, folded);
  }
  return folded;
}

/** Nanoseconds when the expression is a duration by itself, else null. */
export function durationIn(expression: Expression): bigint | null {
  const folded = fold(expression);
  return folded.kind === 'duration' ? folded.ns : null;
}

export function isLiteral(expression: Expression): expression is Literal {
  switch (expression.kind) {
    case 'number':
    case 'integer':
    case 'unsigned':
    case 'string':
    case 'boolean':
    case 'duration':
      return true;
    default:
      return false;
  }
}

export function fold(expression: Expression): Expression {
  switch (expression.kind) {
    case 'paren': {
      const inner = fold(expression.inner);
      return inner.kind === 'binary' ? { kind: 'paren', inner } : inner;
    }
    case 'binary': {
      const [left, right] = [fold(expression.left), fold(expression.right)];
      const both =
        isLiteral(left) && isLiteral(right) ? combined(expression.op as ArithmeticOperator, left, right) : null;
      return both ?? { ...expression, left, right };
    }
    case 'call': {
      const args = expression.args.map(fold);
      return (isNumbers(args, expression.name) ? mathOf(expression.name, args) : null) ?? { ...expression, args };
    }
    default:
      return expression;
  }
}

function isNumbers(args: readonly Expression[], fn: string): args is (Literal & { kind: 'number' | 'integer' })[] {
  return (
    args.length > 0 &&
    args.length === mathArguments(fn) &&
    args.every(({ kind }) => kind === 'number' || kind === 'integer')
  );
}

function mathOf(fn: string, args: readonly { readonly value: number | bigint }[]): Literal {
  const value = mathFunction(
    fn,
    args.map((arg) => arg.value),
  ) as number | bigint;
  return typeof value === 'bigint' ? { kind: 'integer', value } : { kind: 'number', value };
}

/** null: they do not go together, or not in a literal. */
function combined(op: ArithmeticOperator, left: Literal, right: Literal): Literal | null {
  if (left.kind === 'duration') return durationOf(op, left.ns, right);
  if (right.kind === 'duration') return null;
  if (left.kind === 'string' || right.kind === 'string') {
    const isText = left.kind === right.kind && op === '+';
    return isText ? { kind: 'string', value: `${left.value}${right.value}` } : null;
  }
  const value = arithmetic(op, left.value, right.value);
  switch (typeof value) {
    case 'number':
      return { kind: 'number', value };
    case 'bigint':
      return left.kind === 'unsigned' || right.kind === 'unsigned'
        ? { kind: 'unsigned', value: BigInt.asUintN(64, value) }
        : { kind: 'integer', value };
    case 'boolean':
      return { kind: 'boolean', value };
    default:
      return null;
  }
}

function durationOf(op: ArithmeticOperator, ns: bigint, right: Literal): Literal | null {
  if (right.kind === 'duration') {
    if (op === '+') return { kind: 'duration', ns: ns + right.ns };
    return op === '-' ? { kind: 'duration', ns: ns - right.ns } : null;
  }
  if ((op !== '*' && op !== '/') || (right.kind !== 'integer' && right.kind !== 'number')) return null;
  if (right.kind === 'integer') {
    if (op === '*') return { kind: 'duration', ns: ns * right.value };
    return { kind: 'duration', ns: right.value === 0n ? 0n : ns / right.value };
  }
  const scaled = op === '*' ? Number(ns) * right.value : right.value === 0 ? 0 : Number(ns) / right.value;
  return Number.isFinite(scaled) ? { kind: 'duration', ns: BigInt(Math.trunc(scaled)) } : null;
}
