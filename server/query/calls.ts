/**
 * Functions of a select list that need data, with their arguments taken apart.
 */
import { BOOLEAN, type FieldType, FLOAT, INTEGER, STRING, UNSIGNED } from '../../shards/column.ts';
import type { CastType, Expression } from '../influxql/ast.ts';
import { isMathFunction } from '../influxql/math.ts';
import { expressionInMessage } from '../influxql/printer.ts';
import { checkType, REDUCERS } from './functions.ts';
import { QueryError } from './query-error.ts';
import { type SourceSchema, typeByName, typeName } from './schema.ts';
import { lookbackWindows, readBackWindows, TRANSFORMATIONS } from './transformations.ts';

type Reference = Extract<Expression, { kind: 'reference' }>;

export interface Call {
  readonly key: string;
  readonly expression: Extract<Expression, { kind: 'call' | 'distinct' }>;
  readonly name: string;
  /** What it works on: a column, or what another call gives. */
  readonly input:
    | { readonly kind: 'column'; readonly reference: Reference }
    | { readonly kind: 'call'; readonly call: Call };
  /** The first number behind what it works on: of percentile, top, bottom, sample, averages, holt_winters; else 0. */
  readonly parameter: number;
  /** Numbers and texts behind that. */
  readonly further: readonly (number | string)[];
  /** Unit of derivative and elapsed, when written. */
  readonly unitNs: bigint | null;
  /** Tags of top and bottom. */
  readonly tags: readonly Reference[];
}

/** Functions that give what they are given. */
const KEEPS_TYPE: ReadonlySet<string> = new Set([
  'sum',
  'min',
  'max',
  'first',
  'last',
  'spread',
  'mode',
  'distinct',
  'percentile',
  'top',
  'bottom',
  'sample',
]);

/** Functions that calculate, in the type of what they are given. */
const FOLLOWS_TYPE: ReadonlySet<string> = new Set([
  'abs',
  'floor',
  'ceil',
  'round',
  'cumulative_sum',
  'difference',
  'non_negative_difference',
]);

const keys = new WeakMap<Expression, string>();

/** The same for equal expressions. */
export function callKey(expression: Expression): string {
  // Most calls are of a function of a field; other keys begin with a brace.
  if (expression.kind === 'call' && expression.args.length === 1) {
    const [argument] = expression.args;
    if (argument!.kind === 'reference' && argument!.cast === undefined) return `(${expression.name} ${argument!.name}`;
  }
  let key = keys.get(expression);
  if (key === undefined) {
    key = JSON.stringify(expression, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
    keys.set(expression, key);
  }
  return key;
}

/** The outermost functions that need data; mathematical functions are seen through. */
export function callsOf(expression: Expression): Call[] {
  switch (expression.kind) {
    case 'call':
      return isMathFunction(expression.name) ? expression.args.flatMap(callsOf) : [makeCall(expression)];
    case 'distinct':
      return [makeCall(expression)];
    case 'paren':
      return callsOf(expression.inner);
    case 'binary':
      return [...callsOf(expression.left), ...callsOf(expression.right)];
    default:
      return [];
  }
}

/** Columns outside of such functions. */
export function referencesOf(expression: Expression): Reference[] {
  switch (expression.kind) {
    case 'reference':
      return [expression];
    case 'call':
      return isMathFunction(expression.name) ? expression.args.flatMap(referencesOf) : [];
    case 'paren':
      return referencesOf(expression.inner);
    case 'binary':
      return [...referencesOf(expression.left), ...referencesOf(expression.right)];
    default:
      return [];
  }
}

function makeCall(expression: Extract<Expression, { kind: 'call' | 'distinct' }>): Call {
  const key = callKey(expression);
  if (expression.kind === 'distinct') {
    const reference: Reference = { kind: 'reference', name: expression.name };
    const input = { kind: 'column', reference } as const;
    return { key, expression, name: 'distinct', input, parameter: 0, further: [], unitNs: null, tags: [] };
  }
  const { name, args } = expression;
  const transforms = TRANSFORMATIONS.has(name);
  if (!transforms && !REDUCERS.has(name)) throw new QueryError(`function ${name}() is not supported`);
  const [target, second] = args;
  const numeric = name === 'top' || name === 'bottom' ? args.at(-1) : second;
  const parameter = numeric?.kind === 'integer' || numeric?.kind === 'number' ? Number(numeric.value) : 0;
  return {
    key,
    expression,
    name,
    input: inputOf(name, target),
    parameter,
    further: args.slice(2).flatMap(plainValue),
    unitNs: second?.kind === 'duration' ? second.ns : null,
    tags: name === 'top' || name === 'bottom' ? args.slice(1, -1).filter((arg) => arg.kind === 'reference') : [],
  };
}

function plainValue(argument: Expression): (number | string)[] {
  if (argument.kind === 'integer' || argument.kind === 'number') return [Number(argument.value)];
  return argument.kind === 'string' ? [argument.value] : [];
}

function inputOf(name: string, target: Expression | undefined): Call['input'] {
  if (target?.kind === 'reference') return { kind: 'column', reference: target };
  // Not yet expanded: planning looks at the select list before wildcards have become names.
  if (target?.kind === 'wildcard' || target?.kind === 'regex')
    return { kind: 'column', reference: { kind: 'reference', name: '' } };
  if (target?.kind === 'distinct' || (target?.kind === 'call' && !isMathFunction(target.name))) {
    const call = makeCall(target);
    if (!TRANSFORMATIONS.has(name) && (name !== 'count' || call.name !== 'distinct'))
      throw new QueryError(`expected field argument in ${name}()`);
    return { kind: 'call', call };
  }
  throw new QueryError(`expected field argument in ${name}()`);
}

/** Windows before the range that a call needs. */
export function lookbackOf(call: Call): number {
  const inner = call.input.kind === 'call' ? lookbackOf(call.input.call) : 0;
  return TRANSFORMATIONS.has(call.name) ? inner + lookbackWindows(call.name) : inner;
}

/** As many windows before its range the outermost query reads for a call, and its subqueries with it. */
export function readBackOf(call: Call): number {
  const inner = call.input.kind === 'call' ? readBackOf(call.input.call) : 0;
  return TRANSFORMATIONS.has(call.name) ? Math.max(inner, readBackWindows(call)) : inner;
}

/** Type of an expression over the sources' names; null: nothing there has that name. */
export function typeOf(expression: Expression, schema: SourceSchema): FieldType | null {
  switch (expression.kind) {
    case 'reference': {
      if (expression.cast === 'tag') return STRING;
      if (expression.cast === 'field' && schema.tagColumns.has(expression.name)) return null;
      const cast = expression.cast === undefined ? null : typeByName(expression.cast);
      if (cast !== null) return schema.fields.has(expression.name) ? cast : null;
      return schema.fields.get(expression.name) ?? (schema.tags.has(expression.name) ? STRING : null);
    }
    case 'distinct':
      return schema.fields.get(expression.name) ?? null;
    case 'paren':
      return typeOf(expression.inner, schema);
    case 'integer':
      return INTEGER;
    case 'duration':
      return null;
    case 'unsigned':
      return UNSIGNED;
    case 'string':
      return STRING;
    case 'boolean':
      return BOOLEAN;
    case 'call':
      return callType(expression.name, expression.args[0], schema);
    case 'binary': {
      const left = typeOf(expression.left, schema);
      const right = typeOf(expression.right, schema);
      if (left === null || right === null) return left ?? right;
      if (left === FLOAT || right === FLOAT || expression.op === '/') return FLOAT;
      return left === INTEGER || right === INTEGER ? INTEGER : left;
    }
    default:
      return FLOAT;
  }
}

function isOfColumn(input: Call['input'], schema: SourceSchema): boolean {
  if (input.kind === 'call') return isOfColumn(input.call.input, schema);
  return schema.isColumn(input.reference.name, input.reference.cast);
}

/** Of tags, or what a function has picked of them. */
export function isOfTags(expression: Expression, schema: SourceSchema): boolean {
  return mixingType(expression, schema) === 'tag';
}

function isTag({ name, cast }: Reference, schema: SourceSchema): boolean {
  return cast === 'tag' || (cast === undefined && (schema.kindOf(name) === 'tag' || schema.tagColumns.has(name)));
}

/** InfluxDB's error for a call, or one within it, on a type that it cannot take; names that nothing has pass. */
export function checkCallTypes({ name, input }: Call, schema: SourceSchema): void {
  if (input.kind === 'call') checkCallTypes(input.call, schema);
  if (!isOfColumn(input, schema)) return;
  const type = typeOf(input.kind === 'call' ? input.call.expression : input.reference, schema);
  if (type !== null) checkType(name, typeName(type));
}

/** InfluxDB's error for arithmetic between kinds that do not mix, before anything is read. */
export function checkArithmetic(expression: Expression, schema: SourceSchema): void {
  if (expression.kind === 'paren') checkArithmetic(expression.inner, schema);
  else if (expression.kind === 'call') for (const arg of expression.args) checkArithmetic(arg, schema);
  if (expression.kind !== 'binary') return;
  checkArithmetic(expression.left, schema);
  checkArithmetic(expression.right, schema);
  const left = mixingType(expression.left, schema);
  const right = mixingType(expression.right, schema);
  const bits = expression.op === '&' || expression.op === '|' || expression.op === '^';
  if (left === null || right === null) return;
  if (isNumber(left) && isNumber(right) && !(bits && (left === 'float' || right === 'float'))) return;
  if (left === 'boolean' && right === 'boolean' && bits) return;
  throw new QueryError(
    `type error: ${expressionInMessage(withTypes(expression, schema))}: incompatible types: ${left} and ${right}`,
  );
}

const isNumber = (name: string): boolean => name === 'float' || name === 'integer' || name === 'unsigned';

function mixingType(expression: Expression, schema: SourceSchema): string | null {
  if (expression.kind === 'reference' && isTag(expression, schema)) return 'tag';
  if (expression.kind === 'paren') return mixingType(expression.inner, schema);
  if (expression.kind === 'binary') {
    const [left, right] = [mixingType(expression.left, schema), mixingType(expression.right, schema)];
    if (left === null || right === null) return left ?? right;
    if (left === 'float' || right === 'float') return 'float';
    // Also what becomes a float when it is computed: a quotient of integers.
    return left === 'integer' || right === 'integer' ? 'integer' : left;
  }
  const [argument] = expression.kind === 'call' ? expression.args : [];
  if (expression.kind === 'call' && argument !== undefined) {
    if (KEEPS_TYPE.has(expression.name)) return mixingType(argument, schema);
    // And roots, powers and the like.
    const input = isMathFunction(expression.name) ? mixingType(argument, schema) : null;
    if (input !== null) return input;
  }
  const type = typeOf(expression, schema) ?? (expression.kind === 'call' ? fixedType(expression.name) : null);
  return type === null ? null : typeName(type);
}

/** Each name with what it stands for. */
export function withTypes(expression: Expression, schema: SourceSchema): Expression {
  switch (expression.kind) {
    case 'reference': {
      const type = mixingType(expression, schema);
      return type === null ? expression : { ...expression, cast: type as CastType };
    }
    case 'paren':
      return { ...expression, inner: withTypes(expression.inner, schema) };
    case 'call':
      return { ...expression, args: expression.args.map((arg) => withTypes(arg, schema)) };
    case 'binary':
      return { ...expression, left: withTypes(expression.left, schema), right: withTypes(expression.right, schema) };
    default:
      return expression;
  }
}

function callType(name: string, argument: Expression | undefined, schema: SourceSchema): FieldType | null {
  const input = argument === undefined ? FLOAT : typeOf(argument, schema);
  if (input === null) return null;
  // Of what is no number it is nothing, of that type.
  if (isMathFunction(name) && (input === BOOLEAN || input === STRING)) return input;
  const fixed = fixedType(name);
  if (fixed !== null) return fixed;
  return name.endsWith('difference') && input === UNSIGNED ? INTEGER : input;
}

/** The type that a function always gives; null: it depends on what it works on. */
export function fixedType(name: string): FieldType | null {
  if (name === 'count' || name === 'elapsed') return INTEGER;
  return KEEPS_TYPE.has(name) || FOLLOWS_TYPE.has(name) ? null : FLOAT;
}
