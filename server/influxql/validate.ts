/** What InfluxDB refuses when it compiles a SELECT, as far as the syntax tree alone tells. */
import type { SelectStatement } from './ast.ts';

/** InfluxDB's error text, or null when the statement may be planned. */
export function validateSelect(statement: SelectStatement): string | null {
  return statement.fields.length === 0 ? 'no fields' : null;
}
