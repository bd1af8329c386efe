/**
 * InfluxQL's scalar arithmetic. Integers are bigint, floats number; what does not fit together is null.
 *
 * Rules of InfluxDB 1.8: integer and float give float; integer / integer gives float; bit operators need integers (or
 * booleans); integers wrap at 64 bits; division by zero gives 0 for floats, null for the integer remainder.
 */
export type Scalar = number | bigint | string | boolean | null;
export type ArithmeticOperator = '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^';

const wrap = (value: bigint): bigint =>
  value > 9223372036854775807n || value < -9223372036854775808n ? BigInt.asIntN(64, value) : value;

export function arithmetic(op: ArithmeticOperator, left: Scalar, right: Scalar): Scalar {
  if (typeof left === 'bigint' && typeof right === 'bigint') return integers(op, left, right);
  if (typeof left === 'boolean' && typeof right === 'boolean') {
    if (op === '&') return left && right;
    if (op === '|') return left || right;
    if (op === '^') return left !== right;
    return null;
  }
  if (typeof left !== 'number' && typeof left !== 'bigint') return null;
  if (typeof right !== 'number' && typeof right !== 'bigint') return null;
  const a = Number(left);
  const b = Number(right);
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return b === 0 ? 0 : a / b;
    case '%':
      return a % b;
    default:
      return null;
  }
}

/** In a condition the quotient of integers is an integer. */
export function conditionArithmetic(op: ArithmeticOperator, left: Scalar, right: Scalar): Scalar {
  if (op !== '/' || typeof left !== 'bigint' || typeof right !== 'bigint') return arithmetic(op, left, right);
  return right === 0n ? 0n : left / right;
}

function integers(op: ArithmeticOperator, a: bigint, b: bigint): Scalar {
  switch (op) {
    case '+':
      return wrap(a + b);
    case '-':
      return wrap(a - b);
    case '*':
      return wrap(a * b);
    case '/':
      return b === 0n ? 0 : Number(a) / Number(b);
    case '%':
      return b === 0n ? 0n : a % b;
    case '&':
      return a & b;
    case '|':
      return a | b;
    case '^':
      return a ^ b;
  }
}
