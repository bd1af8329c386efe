/**
 * `starling query`: InfluxQL from the command line or standard input, answers as a table, JSON or CSV.
 */
import { text as readText } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { CliError, call, errorText, withUrl } from './client.ts';
import { formatTable } from './table.ts';

interface JsonSeries {
  name?: string;
  tags?: Record<string, string>;
  columns: string[];
  values?: (string | number | boolean | null)[][];
}

interface JsonResult {
  statement_id: number;
  series?: JsonSeries[];
  error?: string;
  messages?: { level: string; text: string }[];
  completeness?: { complete: boolean; missing_shards: string[]; converged_through: number | null };
}

interface QueryFlags {
  url: string;
  db?: string;
  rp?: string;
  epoch?: string;
  format: 'table' | 'json' | 'csv';
  completeness?: boolean;
}

export function addQueryCommand(program: Command): void {
  withUrl(program.command('query [influxql]'))
    .description('ask InfluxQL; several statements are separated by ";" (standard input when no text is given)')
    .option('-d, --db <name>', 'database')
    .option('--rp <name>', 'retention policy (default: the database’s default)')
    .addOption(new Option('--epoch <unit>', 'times as integers of this unit').choices(['ns', 'u', 'ms', 's', 'm', 'h']))
    .addOption(new Option('-f, --format <format>', 'how to print').choices(['table', 'json', 'csv']).default('table'))
    .option('--completeness', 'say what the answer rests on: missing shards, proven up to when')
    .action(async (influxql: string | undefined, flags: QueryFlags) => {
      const question = influxql ?? (await readText(process.stdin));
      const parameters = new URLSearchParams({ q: question });
      for (const name of ['db', 'rp', 'epoch'] as const)
        if (flags[name] !== undefined) parameters.set(name, flags[name]);
      if (flags.completeness) parameters.set('completeness', '1');
      const answer = await call(flags.url, 'POST', `/query?${parameters}`);
      if (answer.status !== 200) throw new CliError(errorText(answer));
      print(answer.text, flags.format);
    });
}

function print(body: string, format: QueryFlags['format']): void {
  const { results } = JSON.parse(body) as { results: JsonResult[] };
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify({ results }, null, 2)}\n`);
  } else {
    for (const result of results) process.stdout.write(format === 'csv' ? csvOf(result) : tableOf(result));
  }
  const errors = results.flatMap((result) => (result.error === undefined ? [] : [result.error]));
  if (errors.length > 0) throw new CliError(errors.join('; '));
}

function tableOf(result: JsonResult): string {
  const parts: string[] = [];
  for (const message of result.messages ?? []) parts.push(`${message.level}: ${message.text}`);
  for (const series of result.series ?? []) {
    const tags = Object.entries(series.tags ?? {}).map(([key, value]) => `${key}=${value}`);
    const title = [series.name, ...tags].filter((part) => part !== undefined && part !== '').join(', ');
    const rows = (series.values ?? []).map((row) =>
      row.map((cell) => (typeof cell === 'boolean' ? String(cell) : cell)),
    );
    parts.push(`${title === '' ? '' : `${title}\n`}${formatTable(series.columns, rows)}`);
  }
  if (result.completeness !== undefined) {
    const { complete, missing_shards, converged_through } = result.completeness;
    const proven =
      converged_through === null
        ? 'nothing touched'
        : `replicas proven equal up to ${new Date(converged_through * 1000).toISOString()}`;
    parts.push(
      complete ? `complete; ${proven}` : `INCOMPLETE: no owner is up for ${missing_shards.join(', ')}; ${proven}`,
    );
  }
  return parts.map((part) => `${part}\n`).join('\n');
}

function csvOf(result: JsonResult): string {
  const quote = (cell: unknown) => {
    const text = cell === null || cell === undefined ? '' : String(cell);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  let out = '';
  for (const series of result.series ?? []) {
    const tags = Object.entries(series.tags ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    out += `${['name', 'tags', ...series.columns].map(quote).join(',')}\n`;
    for (const row of series.values ?? []) out += `${[series.name ?? '', tags, ...row].map(quote).join(',')}\n`;
  }
  return out;
}
