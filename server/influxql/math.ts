/**
 * The mathematical functions, which need no data but the values of one row.
 */
import type { Scalar } from '../../shards/query/arithmetic.ts';

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
  return mathArguments(name) > 0;
}

/** How many arguments it takes; 0: there is no such function. */
export function mathArguments(name: string): number {
  if (Object.hasOwn(BINARY, name)) return 2;
  return name === 'abs' || Object.hasOwn(UNARY, name) || Object.hasOwn(SAME_TYPE, name) ? 1 : 0;
}

export function mathFunction(name: string, args: readonly Scalar[]): Scalar {
  const [x, y] = args;
  if (typeof x !== 'number' && typeof x !== 'bigint') return null;
  if (name === 'abs') return typeof x === 'bigint' ? (x < 0n ? BigInt.asIntN(64, -x) : x) : Math.abs(x);
  if (name in SAME_TYPE) return typeof x === 'bigint' ? x : SAME_TYPE[name]!(x);
  if (name in UNARY) return UNARY[name]!(Number(x));
  if (typeof y !== 'number' && typeof y !== 'bigint') return null;
  return BINARY[name]!(Number(x), Number(y));
}
