/**
 * WHERE without its time part: to a row filter, and to the condition on tags that picks candidate series by the index.
 */
import type { ArithmeticOperator } from '../../shards/query/arithmetic.ts';
import type { FilterOperator, Operand, RowFilter } from '../../shards/query/filter.ts';
import type { TagCondition } from '../../shards/tag-condition.ts';
import type { Expression } from '../influxql/ast.ts';
import { fold } from '../influxql/constants.ts';
import { expressionInMessage } from '../influxql/printer.ts';
import { QueryError } from './query-error.ts';

export type NameKind = (name: string) => 'field' | 'tag';

const COMPARISONS: ReadonlySet<string> = new Set(['=', '!=', '<', '<=', '>', '>=', '=~', '!~']);
const ARITHMETIC: ReadonlySet<string> = new Set(['+', '-', '*', '/', '%', '&', '|', '^']);

export function rowFilter(expression: Expression, kindOf: NameKind): RowFilter {
  switch (expression.kind) {
    case 'paren':
      return rowFilter(expression.inner, kindOf);
    case 'boolean':
      return { kind: 'constant', value: expression.value };
    case 'reference':
      return { kind: 'truth', operand: operand(expression, kindOf) };
    case 'binary': {
      if (expression.op === 'AND' || expression.op === 'OR') {
        const kind = expression.op === 'AND' ? 'and' : 'or';
        const terms: RowFilter[] = [];
        collectTerms(expression, expression.op, kindOf, terms);
        return { kind, terms };
      }
      if (COMPARISONS.has(expression.op)) {
        return {
          kind: 'compare',
          op: expression.op as FilterOperator,
          left: operand(fold(expression.left), kindOf),
          right: operand(fold(expression.right), kindOf),
        };
      }
      break;
    }
  }
  throw new QueryError(`invalid condition expression: ${expressionInMessage(expression)}`);
}

/** Chains of the same operator become one list, so that long conditions do not nest. */
function collectTerms(expression: Expression, op: 'AND' | 'OR', kindOf: NameKind, into: RowFilter[]): void {
  let at = expression;
  const right: Expression[] = [];
  while (at.kind === 'binary' && at.op === op) {
    right.push(at.right);
    at = at.left;
  }
  into.push(rowFilter(at, kindOf));
  while (right.length > 0) into.push(rowFilter(right.pop()!, kindOf));
}

function operand(expression: Expression, kindOf: NameKind): Operand {
  switch (expression.kind) {
    case 'paren':
      return operand(expression.inner, kindOf);
    case 'reference': {
      const kind =
        expression.cast === 'tag' ? 'tag' : expression.cast !== undefined ? 'field' : kindOf(expression.name);
      return { kind, name: expression.name };
    }
    case 'number':
    case 'integer':
    case 'unsigned':
    case 'string':
    case 'boolean':
      return { kind: 'literal', value: expression.value };
    case 'duration':
      return { kind: 'literal', value: expression.ns };
    case 'regex':
      return { kind: 'literal', value: expression.pattern };
    case 'binary':
      if (ARITHMETIC.has(expression.op))
        return {
          kind: 'arithmetic',
          op: expression.op as ArithmeticOperator,
          left: operand(expression.left, kindOf),
          right: operand(expression.right, kindOf),
        };
  }
  throw new QueryError(`invalid condition expression: ${expressionInMessage(expression)}`);
}

/**
 * A condition that holds for every series that can pass the filter, and whether it says all that the filter says.
 */
export function tagPart(filter: RowFilter): { condition: TagCondition; exact: boolean } {
  switch (filter.kind) {
    case 'constant':
      return { condition: { op: filter.value ? 'true' : 'false' }, exact: true };
    case 'truth':
      return { condition: { op: 'true' }, exact: false };
    case 'compare':
      return tagComparison(filter.op, filter.left, filter.right);
    default: {
      const parts = filter.terms.map(tagPart);
      const terms = parts.map((part) => part.condition);
      return { condition: together(filter.kind, terms), exact: parts.every((part) => part.exact) };
    }
  }
}

/** Terms that change nothing are left out: so the condition is the same whatever is asked of fields. */
function together(op: 'and' | 'or', terms: readonly TagCondition[]): TagCondition {
  const idle = op === 'and' ? 'true' : 'false';
  const left = terms.filter((term) => term.op !== idle);
  if (left.length === 0) return { op: idle };
  return left.length === 1 ? left[0]! : { op, terms: left };
}

function tagComparison(op: FilterOperator, left: Operand, right: Operand): { condition: TagCondition; exact: boolean } {
  if (left.kind === 'literal' && right.kind === 'tag' && (op === '=' || op === '!='))
    return tagComparison(op, right, left);
  if (left.kind !== 'tag' || right.kind !== 'literal' || typeof right.value !== 'string')
    return { condition: { op: 'true' }, exact: false };
  if (op === '=' || op === '!=') return { condition: { op, key: left.name, value: right.value }, exact: true };
  if (op === '=~' || op === '!~') return { condition: { op, key: left.name, regex: right.value }, exact: true };
  return { condition: { op: 'false' }, exact: true };
}
