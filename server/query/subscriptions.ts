/** CREATE, DROP and SHOW SUBSCRIPTIONS; what forwards points is in server/subscriptions/. */
import type { SubscriptionStatement } from '../influxql/ast.ts';
import { withoutPassword } from '../subscriptions/destination-url.ts';
import type { QueryMetadata } from './backend.ts';
import type { ResultSeries, Value } from './result.ts';

export function runSubscriptionStatement(
  statement: SubscriptionStatement,
  subscriptions: QueryMetadata['subscriptions'],
): ResultSeries[] {
  if (statement.kind === 'show-subscriptions') return show(subscriptions);
  const { database, retentionPolicy, name } = statement;
  if (statement.kind === 'drop-subscription') subscriptions.drop(database, retentionPolicy, name);
  else subscriptions.create(database, retentionPolicy, name, statement.mode, statement.destinations);
  return [];
}

/** One table for each database that has some. */
function show(subscriptions: QueryMetadata['subscriptions']): ResultSeries[] {
  const tables = new Map<string, ResultSeries & { readonly values: Value[][] }>();
  for (const { database, policy, name, mode, destinations } of subscriptions.all()) {
    const columns = ['retention_policy', 'name', 'mode', 'destinations'];
    const table = tables.get(database) ?? { name: database, columns, timeColumn: -1, values: [] };
    table.values.push([policy, name, mode, destinations.map(withoutPassword)]);
    tables.set(database, table);
  }
  return [...tables.values()];
}
