/**
 * Splits a WHERE clause into a time range and the rest, as InfluxDB does: every comparison with `time` narrows the range,
 * wherever it stands (there is no such thing as OR with a time range), and disappears from the condition.
 */
import { TIME_MAX_NS, TIME_MIN_NS } from '../../shards/shard-key.ts';
import type { Expression } from '../influxql/ast.ts';
import { expressionInMessage } from '../influxql/printer.ts';
import { QueryError } from './query-error.ts';
import type { ZoneOffset } from './time-zone.ts';

export interface TimeRange {
  /** null: not bounded. Both inclusive. */
  readonly minNs: bigint | null;
  readonly maxNs: bigint | null;
}

export interface SplitCondition {
  readonly range: TimeRange;
  readonly rest: Expression | null;
}

export function splitCondition(
  condition: Expression | undefined,
  nowNs: bigint,
  zone: ZoneOffset | null,
): SplitCondition {
  if (condition === undefined) return { range: { minNs: null, maxNs: null }, rest: null };
  return split(condition, nowNs, zone);
}

export function intersect(a: TimeRange, b: TimeRange): TimeRange {
  return {
    minNs: a.minNs === null ? b.minNs : b.minNs === null || a.minNs > b.minNs ? a.minNs : b.minNs,
    maxNs: a.maxNs === null ? b.maxNs : b.maxNs === null || a.maxNs < b.maxNs ? a.maxNs : b.maxNs,
  };
}

export function isTime(expression: Expression): boolean {
  return expression.kind === 'reference' && expression.name.toLowerCase() === 'time';
}

const SWAPPED: Record<string, string> = { '>': '<', '>=': '<=', '<': '>', '<=': '>=' };

function split(condition: Expression, nowNs: bigint, zone: ZoneOffset | null): SplitCondition {
  const open: TimeRange = { minNs: null, maxNs: null };
  switch (condition.kind) {
    case 'paren': {
      const inner = split(condition.inner, nowNs, zone);
      return { range: inner.range, rest: inner.rest === null ? null : { kind: 'paren', inner: inner.rest } };
    }
    case 'boolean':
      return { range: open, rest: condition };
    case 'binary': {
      if (condition.op === 'AND' || condition.op === 'OR') {
        const left = split(condition.left, nowNs, zone);
        const right = split(condition.right, nowNs, zone);
        const range = intersect(left.range, right.range);
        if (left.rest === null || right.rest === null) return { range, rest: left.rest ?? right.rest };
        return { range, rest: { kind: 'binary', op: condition.op, left: left.rest, right: right.rest } };
      }
      if (isTime(condition.left)) return { range: compareTime(condition.op, condition.right, nowNs, zone), rest: null };
      if (isTime(condition.right)) {
        const op = SWAPPED[condition.op] ?? condition.op;
        return { range: compareTime(op, condition.left, nowNs, zone), rest: null };
      }
      return { range: open, rest: condition };
    }
    default:
      throw new QueryError(`invalid condition expression: ${expressionInMessage(condition)}`);
  }
}

function compareTime(op: string, value: Expression, nowNs: bigint, zone: ZoneOffset | null): TimeRange {
  const time = timeValue(value, nowNs, zone);
  if (time === null) throw new QueryError(`invalid operation: time and ${goType(value)} are not compatible`);
  if (time > TIME_MAX_NS) throw new QueryError(`time ${rfc3339(time)} overflows time literal`);
  if (time < TIME_MIN_NS + 1n) throw new QueryError(`time ${rfc3339(time)} underflows time literal`);
  switch (op) {
    case '=':
      return { minNs: time, maxNs: time };
    case '>':
      return { minNs: time + 1n, maxNs: null };
    case '>=':
      return { minNs: time, maxNs: null };
    case '<':
      return { minNs: null, maxNs: time - 1n };
    case '<=':
      return { minNs: null, maxNs: time };
    default:
      throw new QueryError(`invalid time comparison operator: ${op}`);
  }
}

const GO_TYPES: Record<string, string> = {
  reference: '*influxql.VarRef',
  call: '*influxql.Call',
  string: '*influxql.StringLiteral',
  boolean: '*influxql.BooleanLiteral',
  regex: '*influxql.RegexLiteral',
  binary: '*influxql.BinaryExpr',
  number: '*influxql.NumberLiteral',
};

function goType(expression: Expression): string {
  return GO_TYPES[expression.kind] ?? `*influxql.${expression.kind}`;
}

/** Nanoseconds since 1970 of a constant expression, or null. */
export function timeValue(expression: Expression, nowNs: bigint, zone: ZoneOffset | null): bigint | null {
  switch (expression.kind) {
    case 'paren':
      return timeValue(expression.inner, nowNs, zone);
    case 'integer':
    case 'unsigned':
      return expression.value;
    case 'number':
      return BigInt(Math.trunc(expression.value));
    case 'duration':
      return expression.ns;
    case 'string':
      return looksLikeTime(expression.value) ? parseTime(expression.value, zone) : null;
    case 'call':
      return expression.name.toLowerCase() === 'now' && expression.args.length === 0 ? nowNs : null;
    case 'binary': {
      const left = timeValue(expression.left, nowNs, zone);
      const right = timeValue(expression.right, nowNs, zone);
      if (left === null || right === null) return null;
      if (expression.op === '+') return left + right;
      if (expression.op === '-') return left - right;
      if (expression.op === '*') return left * right;
      return expression.op === '/' && right !== 0n ? left / right : null;
    }
    default:
      return null;
  }
}

function looksLikeTime(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}/.test(text);
}

const TIME_TEXT =
  /^(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9})\d*)?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/** InfluxDB's time strings; without an offset they are in the query's time zone. */
export function parseTime(text: string, zone: ZoneOffset | null): bigint {
  const match = TIME_TEXT.exec(text);
  if (match === null) throw new QueryError('invalid timestamp string');
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', offset] = match;
  const date = new Date(0);
  // Date.UTC() takes the first hundred years for those of the last century.
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const ms = date.setUTCHours(Number(hour), Number(minute), Number(second));
  if (date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day) || Number(hour) > 23)
    throw new QueryError('invalid timestamp string');
  const local = BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
  if (offset === 'Z') return local;
  if (offset !== undefined) {
    const minutes = Number(offset.slice(1, 3)) * 60 + Number(offset.slice(4, 6));
    return local - BigInt(offset[0] === '-' ? -minutes : minutes) * 60_000_000_000n;
  }
  if (zone === null) return local;
  // The offset that holds at the local time: the guess by treating it as UTC is refined once.
  return local - zone(local - zone(local));
}

export function rfc3339(timeNs: bigint): string {
  const seconds = timeNs / 1_000_000_000n - (timeNs % 1_000_000_000n < 0n ? 1n : 0n);
  return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', 'Z');
}
