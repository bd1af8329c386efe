/**
 * Expressions over the values of a result row: arithmetic and mathematical functions.
 */
import { type ArithmeticOperator, arithmetic, type Scalar } from '../../shards/query/arithmetic.ts';
import type { Expression } from '../influxql/ast.ts';
import { isMathFunction, mathFunction } from '../influxql/math.ts';

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
      // To InfluxDB it is no number.
      return null;
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
