/**
 * Constant folding of durations, for arguments such as `time(1h + 30m)`.
 */
import type { Expression } from './ast.ts';

/** Nanoseconds when the expression is a duration by itself, else null. */
export function reduceDuration(expression: Expression): bigint | null {
  const value = reduce(expression);
  return value?.duration ? value.value : null;
}

interface Constant {
  readonly value: bigint;
  readonly duration: boolean;
}

function reduce(expression: Expression): Constant | null {
  if (expression.kind === 'duration') return { value: expression.ns, duration: true };
  if (expression.kind === 'integer') return { value: expression.value, duration: false };
  if (expression.kind === 'paren') return reduce(expression.inner);
  if (expression.kind !== 'binary') return null;
  const left = reduce(expression.left);
  const right = reduce(expression.right);
  if (left === null || right === null) return null;
  const both = left.duration && right.duration;
  switch (expression.op) {
    case '+':
      return both ? { value: left.value + right.value, duration: true } : null;
    case '-':
      return both ? { value: left.value - right.value, duration: true } : null;
    case '*':
      return left.duration !== right.duration ? { value: left.value * right.value, duration: true } : null;
    case '/':
      if (!left.duration || right.duration) return null;
      return { value: right.value === 0n ? 0n : left.value / right.value, duration: true };
    default:
      return null;
  }
}
