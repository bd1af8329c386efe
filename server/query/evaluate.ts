/**
 * Expressions over the values of a result row: arithmetic and mathematical functions.
 */
import { type ArithmeticOperator, arithmetic, type Scalar } from '../../shards/query/arithmetic.ts';
import type { Expression } from '../influxql/ast.ts';

const UNARY: Readonly<Record<string, (x: number) => number>> = {
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  asin: Math.asin,
  acos: Math.acos,
  atan: Math.atan,
  exp: Math.exp,
  ln: Math.log,
  log2: Math.log2,
  log10: Math.log10,
  sqrt: Math.sqrt,
};
const BINARY: Readonly<Record<string, (x: number, y: number) => number>> = {
  atan2: Math.atan2,
  pow: (x, y) => x ** y,
  log: (x, base) => Math.log(x) / Math.log(base),
};
/** Keep integers as they are. */
const SAME_TYPE: Readonly<Record<string, (x: number) => number>> = {
  floor: Math.floor,
  ceil: Math.ceil,
  round: (x) => Math.sign(x) * Math.round(Math.abs(x)),
};

export function isMathFunction(name: string): boolean {
  return name === 'abs' || name in UNARY || name in BINARY || name in SAME_TYPE;
}

/** `slot` gives the value of a reference or call that was computed before. */
export function evaluate(expression: Expression, slot: (expression: Expression) => Scalar): Scalar {
  switch (expression.kind) {
    case 'paren':
      return evaluate(expression.inner, slot);
    case 'number':
    case 'integer':
    case 'unsigned':
    case 'string':
    case 'boolean':
      return expression.value;
    case 'duration':
      return expression.ns;
    case 'binary':
      return arithmetic(
        expression.op as ArithmeticOperator,
        evaluate(expression.left, slot),
        evaluate(expression.right, slot),
      );
    case 'call':
      return isMathFunction(expression.name)
        ? mathFunction(
            expression.name,
            expression.args.map((arg) => evaluate(arg, slot)),
          )
        : slot(expression);
    default:
      return slot(expression);
  }
}

function mathFunction(name: string, args: readonly Scalar[]): Scalar {
  const [x, y] = args;
  if (typeof x !== 'number' && typeof x !== 'bigint') return null;
  if (name === 'abs') return typeof x === 'bigint' ? (x < 0n ? BigInt.asIntN(64, -x) : x) : Math.abs(x);
  if (name in SAME_TYPE) return typeof x === 'bigint' ? x : SAME_TYPE[name]!(x);
  if (name in UNARY) return UNARY[name]!(Number(x));
  if (typeof y !== 'number' && typeof y !== 'bigint') return null;
  return BINARY[name]!(Number(x), Number(y));
}
