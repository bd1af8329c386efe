/**
 * Which arguments each function of InfluxQL takes, with InfluxDB's error texts.
 *
 * A check throws InvalidSelect; validateSelect turns it into a text.
 */
import type { Expression } from './ast.ts';
import { formatDuration } from './duration.ts';
import { isMathFunction, mathArguments } from './math.ts';
import { expressionInMessage } from './printer.ts';

/** Internal to validation. */
export class InvalidSelect extends Error {
  readonly code = 'invalid-select';
}

type Call = Extract<Expression, { kind: 'call' }>;

/** What the fields of one SELECT turn out to be; the checks fill it in. */
export interface SelectTraits {
  readonly calls: Call[];
  readonly grouped: boolean;
  readonly inherited: boolean;
  readonly limit: number;
  auxiliary: boolean;
  onlySelectors: boolean;
  distinct: boolean;
  extreme: 'top' | 'bottom' | null;
}

/** Go's names of the node types, as they appear in messages. */
const GO_TYPES: Readonly<Record<Expression['kind'], string>> = {
  reference: 'VarRef',
  call: 'Call',
  binary: 'BinaryExpr',
  paren: 'ParenExpr',
  number: 'NumberLiteral',
  integer: 'IntegerLiteral',
  unsigned: 'UnsignedLiteral',
  string: 'StringLiteral',
  boolean: 'BooleanLiteral',
  duration: 'DurationLiteral',
  regex: 'RegexLiteral',
  wildcard: 'Wildcard',
  distinct: 'Distinct',
};

const goType = (expression: Expression): string => `*influxql.${GO_TYPES[expression.kind]}`;

/** Parentheses that hold no arithmetic do not count. */
export function unwrap(expression: Expression): Expression {
  let inner = expression;
  while (inner.kind === 'paren') inner = inner.inner;
  return inner.kind === 'binary' ? expression : inner;
}

export function checkMath(call: Call): void {
  exactly(call, mathArguments(call.name));
}

export function checkCall(call: Call, traits: SelectTraits, wildcards: boolean, nested: boolean): void {
  switch (call.name) {
    case 'min':
    case 'max':
    case 'first':
    case 'last':
      exactly(call, 1);
      checkSymbol(call, traits, wildcards);
      return;
    case 'count':
    case 'sum':
    case 'mean':
    case 'median':
    case 'mode':
    case 'stddev':
    case 'spread':
      checkAggregate(call, traits, wildcards);
      return;
    case 'distinct':
      checkDistinct(call.args, traits, nested);
      return;
    case 'percentile':
      checkPercentile(call, traits, wildcards);
      return;
    case 'sample':
      checkSample(call, traits, wildcards);
      return;
    case 'top':
    case 'bottom':
      checkExtreme(call, traits);
      return;
    case 'integral':
      checkIntegral(call, traits, wildcards);
      return;
    case 'holt_winters':
    case 'holt_winters_with_fit':
      checkHoltWinters(call, traits, wildcards);
      return;
    default:
      checkTransformation(call, traits, wildcards);
      return;
  }
}

function fail(message: string): never {
  throw new InvalidSelect(message);
}

function exactly(call: Call, expected: number): void {
  if (call.args.length !== expected) {
    fail(`invalid number of arguments for ${call.name}, expected ${expected}, got ${call.args.length}`);
  }
}

function between(call: Call, least: number, most: number): void {
  const got = call.args.length;
  if (got < least || got > most) {
    fail(
      `invalid number of arguments for ${call.name}, expected at least ${least} but no more than ${most}, got ${got}`,
    );
  }
}

function argument(call: Call, index: number): Expression {
  return unwrap(call.args[index] as Expression);
}

/** The first argument must be a field, or what stands for several. */
function checkSymbol(call: Call, traits: SelectTraits, wildcards: boolean): void {
  const field = argument(call, 0);
  if (field.kind === 'reference') return;
  if (field.kind === 'wildcard') {
    if (!wildcards) fail(`unsupported expression with wildcard: ${call.name}()`);
    if (field.of === 'tag') fail(`unable to use tag wildcard in ${call.name}()`);
    traits.onlySelectors = false;
  } else if (field.kind === 'regex') {
    if (!wildcards) fail(`unsupported expression with regex field: ${call.name}()`);
    traits.onlySelectors = false;
  } else fail(`expected field argument in ${call.name}()`);
}

function checkAggregate(call: Call, traits: SelectTraits, wildcards: boolean): void {
  traits.onlySelectors = false;
  exactly(call, 1);
  const inner = argument(call, 0);
  if (call.name === 'count' && inner.kind === 'call' && inner.name === 'distinct') {
    checkDistinct(inner.args, traits, true);
    return;
  }
  if (call.name === 'count' && inner.kind === 'distinct') return;
  checkSymbol(call, traits, wildcards);
}

function checkDistinct(args: readonly Expression[], traits: SelectTraits, nested: boolean): void {
  const [field] = args;
  if (field === undefined) fail('distinct function requires at least one argument');
  if (args.length > 1) fail('distinct function can only have one argument');
  if (unwrap(field).kind !== 'reference') fail('expected field argument in distinct()');
  if (!nested) traits.distinct = true;
  traits.onlySelectors = false;
}

function checkPercentile(call: Call, traits: SelectTraits, wildcards: boolean): void {
  exactly(call, 2);
  const { kind } = argument(call, 1);
  if (kind !== 'integer' && kind !== 'number') fail('expected float argument in percentile()');
  checkSymbol(call, traits, wildcards);
}

function checkSample(call: Call, traits: SelectTraits, wildcards: boolean): void {
  exactly(call, 2);
  const size = argument(call, 1);
  if (size.kind !== 'integer') fail('expected integer argument in sample()');
  if (size.value <= 0n) fail(`sample window must be greater than 1, got ${size.value}`);
  checkSymbol(call, traits, wildcards);
}

function checkExtreme(call: Call, traits: SelectTraits): void {
  if (traits.extreme !== null) fail(`selector function ${traits.extreme}() cannot be combined with other functions`);
  const got = call.args.length;
  if (got < 2) fail(`invalid number of arguments for ${call.name}, expected at least 2, got ${got}`);
  const count = argument(call, got - 1);
  if (count.kind !== 'integer') {
    fail(`expected integer as last argument in ${call.name}(), found ${expressionInMessage(count)}`);
  }
  if (count.value <= 0n) fail(`limit (${count.value}) in ${call.name} function must be at least 1`);
  if (traits.limit > 0 && count.value > BigInt(traits.limit)) {
    fail(
      `limit (${count.value}) in ${call.name} function can not be larger than the LIMIT (${traits.limit}) in the select statement`,
    );
  }
  const field = argument(call, 0);
  if (field.kind !== 'reference') {
    fail(`expected first argument to be a field in ${call.name}(), found ${expressionInMessage(field)}`);
  }
  for (const tag of call.args.slice(1, -1).map(unwrap)) {
    if (tag.kind !== 'reference') {
      fail(`only fields or tags are allowed in ${call.name}(), found ${expressionInMessage(tag)}`);
    }
  }
  traits.extreme = call.name === 'top' ? 'top' : 'bottom';
}

function checkUnit(unit: Expression, wrongType: string): void {
  if (unit.kind !== 'duration') fail(wrongType);
  if (unit.ns <= 0n) fail(`duration argument must be positive, got ${formatDuration(unit.ns)}`);
}

function checkIntegral(call: Call, traits: SelectTraits, wildcards: boolean): void {
  between(call, 1, 2);
  if (call.args.length === 2) checkUnit(argument(call, 1), 'second argument must be a duration');
  traits.onlySelectors = false;
  checkSymbol(call, traits, wildcards);
}

function checkHoltWinters(call: Call, traits: SelectTraits, wildcards: boolean): void {
  const { name } = call;
  exactly(call, 3);
  const points = argument(call, 1);
  if (points.kind !== 'integer') fail(`expected integer argument as second arg in ${name}`);
  if (points.value <= 0n) fail(`second arg to ${name} must be greater than 0, got ${points.value}`);
  const season = argument(call, 2);
  if (season.kind !== 'integer') fail(`expected integer argument as third arg in ${name}`);
  if (season.value < 0n) fail(`third arg to ${name} cannot be negative, got ${season.value}`);
  if (season.value > SEASON_MAX) fail(`third arg to ${name} cannot be greater than ${SEASON_MAX}, got ${season.value}`);
  traits.onlySelectors = false;
  const inner = argument(call, 0);
  if (inner.kind !== 'call') fail(`must use aggregate function with ${name}`);
  checkInner(call, inner, traits, wildcards);
}

/** What is fitted takes memory by the square of it, and each step of fitting time. A week of five minutes has 2,016. */
const SEASON_MAX = 2_048n;

const TECHNICAL_ANALYSIS: ReadonlySet<string> = new Set([
  'exponential_moving_average',
  'double_exponential_moving_average',
  'triple_exponential_moving_average',
  'triple_exponential_derivative',
  'relative_strength_index',
  'kaufmans_efficiency_ratio',
  'kaufmans_adaptive_moving_average',
  'chande_momentum_oscillator',
]);

/** Period, hold period, and how they begin. */
function checkTechnical(call: Call): void {
  const { name, args } = call;
  between(call, 2, name.startsWith('kaufmans') ? 3 : 4);
  const period = argument(call, 1);
  if (period.kind !== 'integer') fail(`${name} period must be an integer`);
  if (period.value < 1n) fail(`${name} period must be greater than or equal to 1`);
  if (args.length > 2) {
    const hold = argument(call, 2);
    if (hold.kind !== 'integer') fail(`${name} hold period must be an integer`);
    const least = name === 'triple_exponential_derivative' ? 1n : 0n;
    if (hold.value < least && hold.value !== -1n) fail(`${name} hold period must be greater than or equal to ${least}`);
  }
  if (args.length > 3) {
    const warmUp = argument(call, 3);
    if (warmUp.kind !== 'string') fail(`${name} warmup type must be a string`);
    const known = ['exponential', 'simple'];
    if (name === 'chande_momentum_oscillator') known.unshift('none');
    if (!known.includes(warmUp.value))
      fail(`${name} warmup type must be one of: ${known.map((one) => `'${one}'`).join(' ')}`);
  }
}

/** Functions over neighbouring values: of a field, or of an aggregate per interval. */
function checkTransformation(call: Call, traits: SelectTraits, wildcards: boolean): void {
  const { name } = call;
  switch (name) {
    case 'derivative':
    case 'non_negative_derivative':
    case 'elapsed':
      between(call, 1, 2);
      if (call.args.length === 2) {
        const unit = argument(call, 1);
        checkUnit(unit, `second argument to ${name} must be a duration, got ${goType(unit)}`);
      }
      break;
    case 'difference':
    case 'non_negative_difference':
    case 'cumulative_sum':
      exactly(call, 1);
      break;
    case 'moving_average': {
      exactly(call, 2);
      const window = argument(call, 1);
      if (window.kind !== 'integer') {
        fail(`second argument for moving_average must be an integer, got ${goType(window)}`);
      }
      if (window.value <= 1n) fail(`moving_average window must be greater than 1, got ${window.value}`);
      break;
    }
    default:
      if (!TECHNICAL_ANALYSIS.has(name)) fail(`undefined function ${name}()`);
      checkTechnical(call);
  }
  traits.onlySelectors = false;
  const inner = argument(call, 0);
  if (inner.kind === 'call') {
    checkInner(call, inner, traits, wildcards);
    return;
  }
  if (traits.grouped && !traits.inherited) fail(`aggregate function required inside the call to ${name}`);
  checkSymbol(call, traits, wildcards);
}

function checkInner(outer: Call, inner: Call, traits: SelectTraits, wildcards: boolean): void {
  if (!traits.grouped) fail(`${outer.name} aggregate requires a GROUP BY interval`);
  if (inner.name === 'distinct') {
    checkDistinct(inner.args, traits, true);
    return;
  }
  if (isMathFunction(inner.name)) {
    checkMath(inner);
    return;
  }
  traits.calls.push(inner);
  checkCall(inner, traits, wildcards, true);
}
