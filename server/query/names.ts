/**
 * Column names of a SELECT, as InfluxDB derives and disambiguates them.
 */
import type { Expression, SelectField } from '../influxql/ast.ts';

/** Name of a field without alias: the function or the reference; for arithmetic all of them joined by `_`. */
export function expressionName(expression: Expression): string {
  switch (expression.kind) {
    case 'call':
      return expression.name;
    case 'reference':
      return expression.name;
    case 'distinct':
      return 'distinct';
    case 'paren':
      return expressionName(expression.inner);
    case 'binary':
      return binaryNames(expression).join('_');
    default:
      return '';
  }
}

function binaryNames(expression: Expression): string[] {
  switch (expression.kind) {
    case 'call':
    case 'reference':
      return [expression.name];
    case 'distinct':
      return ['distinct'];
    case 'paren':
      return binaryNames(expression.inner);
    case 'binary':
      return [...binaryNames(expression.left), ...binaryNames(expression.right)];
    default:
      return [];
  }
}

export function columnNames(fields: readonly SelectField[]): string[] {
  const taken = new Map<string, number>();
  for (const field of fields) if (field.alias !== undefined) taken.set(field.alias, 1);
  return fields.map((field) => {
    if (field.alias !== undefined) return field.alias;
    const base = expressionName(field.expression);
    let name = base;
    let count = taken.get(base);
    if (count !== undefined) {
      while (taken.has(`${base}_${count}`)) count++;
      taken.set(base, count + 1);
      name = `${base}_${count}`;
    }
    taken.set(name, (taken.get(name) ?? 0) + 1);
    return name;
  });
}
