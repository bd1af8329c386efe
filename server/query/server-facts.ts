/** SHOW STATS and SHOW DIAGNOSTICS: one table of one row for each part of the server, columns by name. */
import type { ServerFacts } from './backend.ts';
import type { ResultSeries, Value } from './result.ts';

export async function showStats(module: string | undefined, server: ServerFacts): Promise<ResultSeries[]> {
  const found = await server.statistics();
  return found.filter(({ name }) => module === undefined || name === module).map(tableOf);
}

export function showDiagnostics(module: string | undefined, server: ServerFacts): ResultSeries[] {
  return server
    .diagnostics()
    .filter(({ name }) => module === undefined || name === module)
    .map(tableOf);
}

interface Part {
  readonly name: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly values: Readonly<Record<string, Value>>;
}

function tableOf({ name, tags = {}, values }: Part): ResultSeries {
  const columns = Object.keys(values).sort();
  const row = columns.map((column) => values[column]!);
  return { name, ...(Object.keys(tags).length > 0 && { tags }), columns, timeColumn: -1, values: [row] };
}
