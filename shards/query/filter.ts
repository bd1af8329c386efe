/**
 * The part of a WHERE clause that is decided row by row. Plain data, so that it can travel.
 *
 * For each series the tags are put in first (`specialise`), which often decides the whole condition; what is left is
 * evaluated over a slice at once into a mask of bytes. As in InfluxDB a comparison with a field that the row does not
 * have, or between kinds that do not compare, is false, `!=` included; a tag that a series does not have is ''.
 */
import { type Column, FLOAT, INTEGER, STRING, UNSIGNED } from '../column.ts';
import { compileGoRegex, type GoRegex, testBounded } from '../go-regex.ts';
import { type ArithmeticOperator, conditionArithmetic, type Scalar } from './arithmetic.ts';
import { cellValue } from './columns.ts';

export type FilterOperator = '=' | '!=' | '<' | '<=' | '>' | '>=' | '=~' | '!~';

export type Operand =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'tag'; readonly name: string }
  | { readonly kind: 'literal'; readonly value: Scalar }
  | { readonly kind: 'arithmetic'; readonly op: ArithmeticOperator; readonly left: Operand; readonly right: Operand };

export type RowFilter =
  | { readonly kind: 'and'; readonly terms: readonly RowFilter[] }
  | { readonly kind: 'or'; readonly terms: readonly RowFilter[] }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'compare'; readonly op: FilterOperator; readonly left: Operand; readonly right: Operand }
  /** A boolean operand by itself. */
  | { readonly kind: 'truth'; readonly operand: Operand };

/** Compiled patterns of one request. */
export type RegexCache = Map<string, GoRegex>;

export function cachedRegex(cache: RegexCache, pattern: string): GoRegex {
  let regex = cache.get(pattern);
  if (regex === undefined) {
    regex = compileGoRegex(pattern);
    cache.set(pattern, regex);
  }
  return regex;
}

/** Puts a series' tags into the filter and simplifies it. */
export function specialise(filter: RowFilter, tag: (name: string) => string, regexes: RegexCache): RowFilter {
  switch (filter.kind) {
    case 'constant':
      return filter;
    case 'truth': {
      const operand = withTags(filter.operand, tag);
      return operand.kind === 'literal'
        ? { kind: 'constant', value: operand.value === true }
        : { kind: 'truth', operand };
    }
    case 'compare': {
      const left = withTags(filter.left, tag);
      const right = withTags(filter.right, tag);
      if (left.kind === 'literal' && right.kind === 'literal')
        return { kind: 'constant', value: compareScalars(filter.op, left.value, right.value, regexes) };
      return { kind: 'compare', op: filter.op, left, right };
    }
    default: {
      const decides = filter.kind === 'or';
      const terms: RowFilter[] = [];
      for (const term of filter.terms) {
        const special = specialise(term, tag, regexes);
        if (special.kind !== 'constant') terms.push(special);
        else if (special.value === decides) return special;
      }
      if (terms.length === 0) return { kind: 'constant', value: !decides };
      return terms.length === 1 ? terms[0]! : { kind: filter.kind, terms };
    }
  }
}

function withTags(operand: Operand, tag: (name: string) => string): Operand {
  if (operand.kind === 'tag') return { kind: 'literal', value: tag(operand.name) };
  if (operand.kind !== 'arithmetic') return operand;
  const left = withTags(operand.left, tag);
  const right = withTags(operand.right, tag);
  if (left.kind === 'literal' && right.kind === 'literal')
    return { kind: 'literal', value: conditionArithmetic(operand.op, left.value, right.value) };
  return { kind: 'arithmetic', op: operand.op, left, right };
}

/** Names of the fields that the filter reads. */
export function filterFields(filter: RowFilter | null, into: Set<string>): void {
  if (filter === null) return;
  switch (filter.kind) {
    case 'constant':
      return;
    case 'truth':
      operandFields(filter.operand, into);
      return;
    case 'compare':
      operandFields(filter.left, into);
      operandFields(filter.right, into);
      return;
    default:
      for (const term of filter.terms) filterFields(term, into);
  }
}

function operandFields(operand: Operand, into: Set<string>): void {
  if (operand.kind === 'field') into.add(operand.name);
  else if (operand.kind === 'arithmetic') {
    operandFields(operand.left, into);
    operandFields(operand.right, into);
  }
}

/** One byte per row: 1 = passes. The filter is already specialised. */
export function filterMask(
  filter: RowFilter,
  columnOf: (field: string) => Column | null,
  rows: number,
  regexes: RegexCache,
): Uint8Array {
  if (filter.kind === 'constant') return new Uint8Array(rows).fill(filter.value ? 1 : 0);
  if (filter.kind === 'and' || filter.kind === 'or') {
    const mask = filterMask(filter.terms[0]!, columnOf, rows, regexes);
    for (let i = 1; i < filter.terms.length; i++) {
      const other = filterMask(filter.terms[i]!, columnOf, rows, regexes);
      if (filter.kind === 'and') for (let r = 0; r < rows; r++) mask[r]! &= other[r]!;
      else for (let r = 0; r < rows; r++) mask[r]! |= other[r]!;
    }
    return mask;
  }
  if (filter.kind === 'compare') {
    const fast = comparisonMask(filter.op, filter.left, filter.right, columnOf, rows);
    if (fast !== null) return fast;
  }
  const mask = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) {
    const passes =
      filter.kind === 'truth'
        ? operandValue(filter.operand, columnOf, row) === true
        : compareScalars(
            filter.op,
            operandValue(filter.left, columnOf, row),
            operandValue(filter.right, columnOf, row),
            regexes,
          );
    mask[row] = passes ? 1 : 0;
  }
  return mask;
}

function operandValue(operand: Operand, columnOf: (field: string) => Column | null, row: number): Scalar {
  switch (operand.kind) {
    case 'literal':
      return operand.value;
    case 'field': {
      const column = columnOf(operand.name);
      return column === null ? null : cellValue(column, row);
    }
    case 'tag':
      return '';
    case 'arithmetic':
      return conditionArithmetic(
        operand.op,
        operandValue(operand.left, columnOf, row),
        operandValue(operand.right, columnOf, row),
      );
  }
}

/** Decides one row whose columns are at hand (rows of subqueries). */
export function rowPasses(filter: RowFilter, value: (name: string) => Scalar, regexes: RegexCache): boolean {
  switch (filter.kind) {
    case 'constant':
      return filter.value;
    case 'and':
      return filter.terms.every((term) => rowPasses(term, value, regexes));
    case 'or':
      return filter.terms.some((term) => rowPasses(term, value, regexes));
    case 'truth':
      return operandOf(filter.operand, value) === true;
    case 'compare':
      return compareScalars(filter.op, operandOf(filter.left, value), operandOf(filter.right, value), regexes);
  }
}

function operandOf(operand: Operand, value: (name: string) => Scalar): Scalar {
  if (operand.kind === 'literal') return operand.value;
  if (operand.kind === 'field') return value(operand.name);
  if (operand.kind === 'tag') return value(operand.name) ?? '';
  return conditionArithmetic(operand.op, operandOf(operand.left, value), operandOf(operand.right, value));
}

export function compareScalars(op: FilterOperator, left: Scalar, right: Scalar, regexes: RegexCache): boolean {
  if (left === null || right === null) return false;
  if (typeof left === 'string') {
    if (typeof right !== 'string') return false;
    if (op === '=') return left === right;
    if (op === '!=') return left !== right;
    if (op === '=~') return testBounded(cachedRegex(regexes, right), left);
    return op === '!~' && !testBounded(cachedRegex(regexes, right), left);
  }
  if (typeof right === 'string') return false;
  if (typeof left === 'boolean' || typeof right === 'boolean') {
    if (typeof left !== typeof right) return false;
    return op === '=' ? left === right : op === '!=' && left !== right;
  }
  // JavaScript compares bigint and number by value, without rounding.
  switch (op) {
    case '=':
      // biome-ignore lint/suspicious/noDoubleEquals: equality across number and bigint
      return left == right;
    case '!=':
      // biome-ignore lint/suspicious/noDoubleEquals: equality across number and bigint
      return left != right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
    default:
      return false;
  }
}

const FLIPPED: Partial<Record<FilterOperator, FilterOperator>> = {
  '=': '=',
  '!=': '!=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

/** Field against a number, the common case, without a value per row; null when it is something else. */
function comparisonMask(
  op: FilterOperator,
  left: Operand,
  right: Operand,
  columnOf: (field: string) => Column | null,
  rows: number,
): Uint8Array | null {
  if (left.kind === 'literal' && right.kind === 'field') {
    const flipped = FLIPPED[op];
    return flipped === undefined ? null : comparisonMask(flipped, right, left, columnOf, rows);
  }
  if (left.kind !== 'field' || right.kind !== 'literal') return null;
  const column = columnOf(left.name);
  if (column === null) return new Uint8Array(rows);
  const literal = right.value;
  if (column.type === STRING && typeof literal === 'string' && (op === '=' || op === '!=')) {
    const mask = new Uint8Array(rows);
    const values = column.values as string[];
    const wanted = op === '=';
    for (let row = 0; row < rows; row++) mask[row] = (values[row] === literal) === wanted ? 1 : 0;
    clearAbsent(mask, column.present);
    return mask;
  }
  if (typeof literal !== 'number' && typeof literal !== 'bigint') return null;
  if (column.type === FLOAT) {
    const number = Number(literal);
    if (typeof literal === 'bigint' && !Number.isSafeInteger(number)) return null;
    const mask = new Uint8Array(rows);
    compareNumbers(op, column.values as Float64Array, number, mask);
    clearAbsent(mask, column.present);
    return mask;
  }
  if (column.type === INTEGER || column.type === UNSIGNED) {
    const number = Number(literal);
    if (typeof literal === 'bigint' && !Number.isSafeInteger(number)) return null;
    const numbers = safeNumbers(column.values as BigInt64Array | BigUint64Array, rows);
    if (numbers === null) return null;
    const mask = new Uint8Array(rows);
    compareNumbers(op, numbers, number, mask);
    clearAbsent(mask, column.present);
    return mask;
  }
  return null;
}

/** The integers as float64 when all of them are exact, else null. */
function safeNumbers(values: BigInt64Array | BigUint64Array, rows: number): Float64Array | null {
  const low = new Uint32Array(values.buffer, values.byteOffset, rows * 2);
  const high = new Int32Array(values.buffer, values.byteOffset, rows * 2);
  const numbers = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const h = high[row * 2 + 1]!;
    if (h >= 0x200000 || h < -0x200000) return null;
    numbers[row] = h * 4294967296 + low[row * 2]!;
  }
  return numbers;
}

function compareNumbers(op: FilterOperator, values: Float64Array, number: number, mask: Uint8Array): void {
  const rows = mask.length;
  if (op === '=') for (let i = 0; i < rows; i++) mask[i] = values[i]! === number ? 1 : 0;
  else if (op === '!=') for (let i = 0; i < rows; i++) mask[i] = values[i]! !== number ? 1 : 0;
  else if (op === '<') for (let i = 0; i < rows; i++) mask[i] = values[i]! < number ? 1 : 0;
  else if (op === '<=') for (let i = 0; i < rows; i++) mask[i] = values[i]! <= number ? 1 : 0;
  else if (op === '>') for (let i = 0; i < rows; i++) mask[i] = values[i]! > number ? 1 : 0;
  else if (op === '>=') for (let i = 0; i < rows; i++) mask[i] = values[i]! >= number ? 1 : 0;
}

function clearAbsent(mask: Uint8Array, present: Uint8Array | null): void {
  if (present !== null) for (let i = 0; i < mask.length; i++) mask[i]! &= present[i]!;
}
