/** Syntax tree to InfluxDB's String() forms. */
import type { Expression, Statement } from './ast.ts';

export function printStatement(statement: Statement): string {
  return statement.kind;
}

export function printExpression(expression: Expression): string {
  return expression.kind;
}
