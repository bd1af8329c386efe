/**
 * `starling query`: InfluxQL from the command line or standard input, answers as a table, JSON or CSV.
 */
import { text as readText } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import type { Completeness } from '../query/result.ts';
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
  completeness?: Completeness;
}

interface QueryFlags {
  url: string;
  db?: string;
  rp?: string;
  epoch?: string;
  format: 'table' | 'json' | 'csv';
  completeness?: boolean;
  consistency?: string;
}

export function addQueryCommand(program: Command): void {
  withUrl(program.command('query [influxql]'))
    .description('ask InfluxQL; several statements are separated by ";" (standard input when no text is given)')
    .option('-d, --db <name>', 'database')
    .option('--rp <name>', 'retention policy (default: the database’s default)')
    .addOption(new Option('--epoch <unit>', 'times as integers of this unit').choices(['ns', 'u', 'ms', 's', 'm', 'h']))
    .addOption(new Option('-f, --format <format>', 'how to print').choices(['table', 'json', 'csv']).default('table'))
    .option('--completeness', 'say what the answer rests on: missing shards, proven up to when')
    .addOption(
      new Option('-c, --consistency <level>', 'bring what is read level with the other owners first').choices([
        'one',
        'quorum',
        'all',
      ]),
    )
    .action(async (influxql: string | undefined, flags: QueryFlags) => {
      const question = influxql ?? (await readText(process.stdin));
      const parameters = new URLSearchParams({ q: question });
      for (const name of ['db', 'rp', 'epoch', 'consistency'] as const)
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
  if (result.completeness !== undefined) parts.push(completenessText(result.completeness));
  return parts.map((part) => `${part}\n`).join('\n');
}

function completenessText(it: Completeness): string {
  const proven =
    it.converged_through === null
      ? 'nothing proven of what was touched'
      : `replicas proven equal up to ${new Date(it.converged_through * 1000).toISOString()}`;
  const problems = [
    ...(it.missing_shards.length === 0 ? [] : [`no owner is up for ${it.missing_shards.join(', ')}`]),
    ...(it.damaged_shards === undefined ? [] : [`damaged: ${it.damaged_shards.join(', ')}`]),
    ...(it.unheard_members === undefined ? [] : [`shards of ${it.unheard_members.join(', ')} are unknown`]),
  ];
  const levelled =
    it.levelled === undefined
      ? ''
      : `; levelled with ${it.members?.join(', ')}: ${it.levelled.batches} batches (${it.levelled.rows} rows) were missing`;
  return `${it.complete ? 'complete' : `INCOMPLETE: ${problems.join('; ')}`}; ${proven}${levelled}`;
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
