/**
 * What InfluxDB refuses when it compiles a SELECT, as far as the syntax tree alone tells: dimensions, functions and their
 * arguments, and which fields go together. Subqueries included.
 */
import type { Dimension, Expression, SelectStatement } from './ast.ts';
import { foldedFields, isLiteral } from './constants.ts';
import { isMathFunction } from './math.ts';
import { checkCall, checkMath, InvalidSelect, type SelectTraits, unwrap } from './validate-calls.ts';

/** InfluxDB's error text, or null when the statement may be planned. */
export function validateSelect(statement: SelectStatement): string | null {
  try {
    checkSelect(statement, null, statement.descending);
    return null;
  } catch (error) {
    if (error instanceof InvalidSelect) return error.message;
    throw error;
  }
}

/** `outer`: whether the enclosing SELECT groups by time; null for the outermost. */
function checkSelect(statement: SelectStatement, outer: boolean | null, descending: boolean): void {
  const own = checkDimensions(statement.dimensions);
  const traits: SelectTraits = {
    calls: [],
    grouped: own || outer === true,
    inherited: !own && outer === true,
    limit: statement.limit ?? 0,
    auxiliary: false,
    onlySelectors: true,
    distinct: false,
    extreme: null,
  };
  const fields = foldedFields(statement.fields)
    .map((field) => unwrap(field.expression))
    .filter((field) => !isTime(field));
  for (const field of fields) checkField(field, traits, true);
  checkTogether(statement, fields.length, traits, own, outer !== null);
  for (const source of statement.sources) {
    if (source.kind !== 'subquery') continue;
    if (descending ? source.select.ascending : source.select.descending)
      fail('subqueries must be ordered in the same direction as the query itself');
    checkSelect(source.select, traits.grouped, descending);
  }
}

function isTime(expression: Expression): boolean {
  return expression.kind === 'reference' && expression.name === 'time';
}

function fail(message: string): never {
  throw new InvalidSelect(message);
}

/** Returns whether there is an interval. */
function checkDimensions(dimensions: readonly Dimension[]): boolean {
  let grouped = false;
  for (const dimension of dimensions) {
    if (dimension.kind === 'invalid') fail(whyNoDimension(unwrap(dimension.expression)));
    if (dimension.kind !== 'time') continue;
    if (grouped) fail('multiple time dimensions not allowed');
    grouped = dimension.intervalNs !== 0n;
    if (dimension.offset !== undefined) checkOffset(unwrap(dimension.offset));
  }
  return grouped;
}

function whyNoDimension(expression: Expression): string {
  if (expression.kind === 'reference') return 'time() is a function and expects at least one argument';
  if (expression.kind !== 'call') return 'only time and tag dimensions allowed';
  if (expression.name !== 'time') return 'only time() calls allowed in dimensions';
  const count = expression.args.length;
  if (count < 1 || count > 2) return 'time dimension expected 1 or 2 arguments';
  return 'time dimension must have duration argument';
}

const TIME_LITERAL = /^\d{4}-\d\d-\d\d/;

function checkOffset(offset: Expression): void {
  if (offset.kind === 'duration') return;
  if (offset.kind === 'string' && TIME_LITERAL.test(offset.value)) return;
  if (offset.kind !== 'call') fail('time dimension offset must be duration or now()');
  if (offset.name !== 'now') fail('time dimension offset function must be now()');
  if (offset.args.length > 0) fail('time dimension offset now() function requires no arguments');
}

function checkField(field: Expression, traits: SelectTraits, wildcards: boolean): void {
  if (isLiteral(field)) fail('field must contain at least one variable');
  switch (field.kind) {
    case 'reference':
      traits.auxiliary = true;
      return;
    case 'wildcard':
      if (!wildcards) fail('unable to use wildcard in a binary expression');
      traits.auxiliary = true;
      return;
    case 'regex':
      if (!wildcards) fail('unable to use regex in a binary expression');
      traits.auxiliary = true;
      return;
    case 'paren':
      checkField(field.inner, traits, wildcards);
      return;
    case 'binary':
      if (isLiteral(field.left) && isLiteral(field.right)) fail('cannot perform a binary expression on two literals');
      for (const side of [unwrap(field.left), unwrap(field.right)]) {
        if (!isLiteral(side)) checkField(side, traits, false);
      }
      return;
    case 'distinct':
      traits.calls.push({
        kind: 'call',
        name: 'distinct',
        args: [{ kind: 'reference', name: field.name }],
      });
      traits.distinct = true;
      traits.onlySelectors = false;
      return;
    case 'call':
      checkFunction(field, traits, wildcards);
      return;
    default:
      fail('unimplemented');
  }
}

function checkFunction(call: Extract<Expression, { kind: 'call' }>, traits: SelectTraits, wildcards: boolean): void {
  if (!isMathFunction(call.name)) {
    traits.calls.push(call);
    checkCall(call, traits, wildcards, false);
    return;
  }
  checkMath(call);
  // To InfluxDB a regular expression is a literal here.
  const variables = call.args.map(unwrap).filter((one) => one.kind !== 'regex' && !isLiteral(one));
  if (variables.length === 0) fail('field must contain at least one variable');
  for (const variable of variables) checkField(variable, traits, wildcards);
}

function checkTogether(
  statement: SelectStatement,
  fields: number,
  traits: SelectTraits,
  own: boolean,
  nested: boolean,
): void {
  if (fields === 0) fail('at least 1 non-time field must be queried');
  if (traits.calls.length > 1 && traits.extreme !== null) {
    fail(`selector function ${traits.extreme}() cannot be combined with other functions`);
  }
  if (traits.calls.length === 0) {
    // In a subquery with an interval of its own InfluxDB takes a null fill for none.
    const unfilled = nested && own && (statement.fill === undefined || statement.fill.kind === 'null');
    if (unfilled || statement.fill?.kind === 'none') fail('fill(none) must be used with a function');
    if (statement.fill?.kind === 'linear') fail('fill(linear) must be used with a function');
    if (own) fail('GROUP BY requires at least one aggregate function');
  }
  if (traits.distinct && (traits.calls.length !== 1 || traits.auxiliary)) {
    fail('aggregate function distinct() cannot be combined with other functions or fields');
  }
  if (!traits.auxiliary) return;
  if (!traits.onlySelectors) fail('mixing aggregate and non-aggregate queries is not supported');
  if (traits.calls.length > 1) fail('mixing multiple selector functions with tags or fields is not supported');
}
