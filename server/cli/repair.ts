/**
 * `starling repair`: starts a repair and watches it: a progress bar on a terminal, plain lines without one. Ctrl-C stops
 * watching, not the repair.
 */
import { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import { parseBytes } from '../config-values.ts';
import type { RepairDetails, RepairSummary } from '../http/repair-orders.ts';
import type { RatesStatus } from '../repair-rates.ts';
import { CliError, callJson, unreachable, urlOf, withUrl } from './client.ts';
import { addRepairHistoryCommand } from './repair-history.ts';
import { formatAgo, formatBytes, formatLeft, formatTable } from './table.ts';

interface RepairFlags {
  url: string;
  shard?: string;
  database?: string;
  all?: boolean;
  mode: string;
  wait: boolean;
}

interface LimitFlags {
  url: string;
  rate?: string;
  cpu?: string;
  reset?: boolean;
}

/** What was given, in the words of the admin API. */
function limitsOf({ rate, cpu }: LimitFlags): { bytesPerSecond?: number | null; cpuShare?: number | null } {
  const change: { bytesPerSecond?: number | null; cpuShare?: number | null } = {};
  if (rate !== undefined) {
    change.bytesPerSecond = rate === 'none' ? null : parseBytes(rate);
    if (rate !== 'none' && change.bytesPerSecond === null)
      throw new CliError(`"${rate}" is not a size such as 20MiB, or none`, 2);
  }
  if (cpu !== undefined) {
    change.cpuShare = cpu === 'none' ? null : Number(cpu);
    if (Number.isNaN(change.cpuShare)) throw new CliError(`"${cpu}" is not a share such as 0.25, or none`, 2);
  }
  return change;
}

export function addRepairCommand(program: Command): void {
  const repair = withUrl(program.command('repair'))
    .description(
      'compare and level the replicas of shards now, and watch it; any node tells of, and steers, any repair',
    )
    .option('--shard <id>', 'one shard (starling shards lists them)')
    .option('-d, --database <name>', 'all shards of a database')
    .option('--all', 'all shards')
    .addOption(
      new Option(
        '-m, --mode <mode>',
        'ring: compare and copy what is missing; preview: compare only, change nothing; scrub: recompute checksums from the stored rows of every replica',
      )
        .choices(['ring', 'preview', 'scrub'])
        .default('ring'),
    )
    .option('--no-wait', 'start it and print its id only')
    .action(async (flags: RepairFlags) => {
      const scopes = [flags.shard, flags.database, flags.all].filter((scope) => scope !== undefined);
      if (scopes.length !== 1) throw new CliError('say what to repair: one of --shard ID, --database NAME, --all', 2);
      const { shard, database, all, mode } = flags;
      const started = await callJson<{ id: string }>(flags.url, 'POST', '/api/repairs', { shard, database, all, mode });
      if (!flags.wait) return console.log(started.id);
      report(await watch(flags.url, started.id));
    });
  withUrl(repair.command('list'))
    .description('repairs that were asked for by hand, at any node, and mends that run')
    .action(async ({ url }: { url: string }) => {
      const { repairs } = await callJson<{ repairs: RepairSummary[] }>(url, 'GET', '/api/repairs');
      if (repairs.length === 0) return console.log('no repairs were started by hand');
      const rows = repairs.map((one) => [
        one.id,
        one.mode,
        one.scope,
        one.state,
        `${one.percentage} %`,
        formatLeft(one.etaMs),
        one.rowsMoved,
        formatAgo(one.startedMs, Date.now()),
        one.message,
      ]);
      console.log(formatTable(['id', 'mode', 'scope', 'state', 'done', 'left', 'rows moved', 'started', ''], rows));
    });
  addRepairHistoryCommand(repair);
  withUrl(repair.command('watch <id>'))
    .description('watch a running repair')
    .action(async (id: string, { url }: { url: string }) => report(await watch(url, id)));
  withUrl(repair.command('limits'))
    .description('what repair may take of this node, while it runs')
    .option('--rate <size>', 'bytes a second that it fetches and the outbox sends, or none')
    .option('--cpu <share>', 'share of a core in each worker, or none')
    .option('--reset', 'back to the configuration')
    .action(async (flags: LimitFlags) => {
      const change = limitsOf(flags);
      const method = flags.reset === true ? 'DELETE' : Object.keys(change).length > 0 ? 'PATCH' : 'GET';
      const body = method === 'PATCH' ? change : undefined;
      const now = await callJson<RatesStatus>(flags.url, method, '/api/repairs/limits', body);
      const rate = now.bytesPerSecond === null ? 'none' : `${formatBytes(now.bytesPerSecond)}/s`;
      const where = now.setWhileRunning ? 'set while running' : 'as configured';
      console.log(`rate ${rate}, cpu ${now.cpuShare ?? 'none'}${now.paused ? ', paused' : ''} (${where})`);
    });
  for (const action of ['pause-all', 'resume-all'] as const) {
    withUrl(repair.command(action))
      .description(`${action.slice(0, -4)} repair on every member`)
      .action(async ({ url }: { url: string }) => {
        const path = `/api/repairs/${action.slice(0, -4)}`;
        const { unreachable } = await callJson<{ unreachable: string[] }>(url, 'POST', path);
        if (unreachable.length > 0)
          throw new CliError(`no answer from ${unreachable.join(', ')}: they go on as they were`);
        console.log(action === 'pause-all' ? 'repair is paused on every member' : 'repair goes on');
      });
  }
  for (const action of ['pause', 'resume', 'cancel'] as const) {
    withUrl(repair.command(`${action} <id>`))
      .description(`${action} a running repair`)
      .action(async (id: string, { url }: { url: string }) => {
        const path = `/api/repairs/${encodeURIComponent(id)}/${action}`;
        const { unreachable } = await callJson<{ unreachable: string[] }>(url, 'POST', path);
        if (unreachable.length > 0)
          throw new CliError(`no answer from ${unreachable.join(', ')}: what runs there goes on as it was`);
        console.log(`${action}: ${id}`);
      });
  }
}

/** Follows the server-sent events of a repair until its last one. */
async function watch(base: string, id: string): Promise<RepairDetails> {
  const display = process.stderr.isTTY ? new BarDisplay() : new LineDisplay();
  let last: RepairSummary | RepairDetails | null = null;
  for await (const summary of events(base, id)) {
    last = summary;
    display.show(summary);
  }
  display.close();
  if (last === null || !('shards' in last))
    throw new CliError(`the node ended while repair ${id} was running: watch it through another one`);
  return last;
}

async function* events(base: string, id: string): AsyncGenerator<RepairSummary | RepairDetails> {
  const url = urlOf(base, `/api/repairs/${encodeURIComponent(id)}/events`);
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new CliError(unreachable(url, error));
  }
  if (response.status !== 200 || response.body === null)
    throw new CliError(`${url.pathname} answered ${response.status}: ${await response.text()}`);
  let rest = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + chunk).split('\n\n');
    rest = parts.pop()!;
    for (const part of parts) {
      const data = part.split('\n').find((line) => line.startsWith('data: '));
      if (data !== undefined) yield JSON.parse(data.slice('data: '.length)) as RepairSummary | RepairDetails;
    }
  }
}

interface Display {
  show(summary: RepairSummary): void;
  close(): void;
}

class BarDisplay implements Display {
  readonly #bar = new SingleBar({
    format: '{bar} {percentage} %  hop {hop}/{hops}  {rows} rows, {bytes} moved  {left}',
    stopOnComplete: false,
    stream: process.stderr,
  });
  #started = false;

  show(summary: RepairSummary): void {
    const left =
      summary.state === 'paused' ? 'paused' : summary.etaMs === null ? '' : `${formatLeft(summary.etaMs)} left`;
    const payload = {
      hop: summary.hop,
      hops: summary.hops,
      rows: summary.rowsMoved,
      bytes: formatBytes(summary.bytesMoved),
      left,
    };
    if (this.#started) this.#bar.update(summary.percentage, payload);
    else this.#bar.start(100, summary.percentage, payload);
    this.#started = true;
  }

  close(): void {
    this.#bar.stop();
  }
}

class LineDisplay implements Display {
  #last = '';

  show(summary: RepairSummary): void {
    const line = `${summary.state} ${summary.percentage} %, hop ${summary.hop}/${summary.hops}, ${summary.rowsMoved} rows moved`;
    // The time that is left alone is no news.
    if (line !== this.#last)
      console.error(summary.etaMs === null ? line : `${line}, ${formatLeft(summary.etaMs)} left`);
    this.#last = line;
  }

  close(): void {}
}

/** What was not compared may differ: that is not what whoever asks for a preview wants to hear as done. */
function requireCompared({ mode, shards }: RepairDetails): void {
  const left = shards.filter(({ differences }) => differences.some(({ result }) => result === 'not-compared')).length;
  if (mode === 'preview' && left > 0)
    throw new CliError(`${left} of ${shards.length} shards were not compared with all of their replicas`);
}

function report(summary: RepairDetails): void {
  const differences = summary.shards.flatMap((shard) =>
    shard.differences.map((one) => ({ shard: shard.shard, ...one })),
  );
  if (differences.length > 0) {
    const rows = differences.map((one) => [
      one.shard,
      one.name,
      one.batchesMissing,
      one.rowsMissing,
      one.batchesUnequal,
      one.epochsDiffering,
      one.note,
    ]);
    console.log(formatTable(['shard', 'replica', 'batches missing', 'rows missing', 'unequal', 'epochs', ''], rows));
  }
  const seconds = ((summary.finishedMs! - summary.startedMs) / 1000).toFixed(1);
  console.log(
    `${summary.mode} of ${summary.scope}: ${summary.state} in ${seconds} s, ${summary.message}; ${summary.batchesMoved} batches (${summary.rowsMoved} rows, ${formatBytes(summary.bytesMoved)}) moved`,
  );
  if (summary.unreachable.length > 0) console.log(`nobody could start: ${summary.unreachable.join(', ')}`);
  if (summary.state !== 'done') throw new CliError(`${summary.state}: ${summary.message}`);
  requireCompared(summary);
}
