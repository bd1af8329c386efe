/**
 * `starling repair history`: what repair did, newest first, one line for each step, with the rule by which values won;
 * `starling repair why ID`: all that is known of one of them.
 */
import type { Command } from 'commander';
import type { DifferedGroups } from '../../repair/repair-records.ts';
import type { Contest } from '../../shards/contests.ts';
import type { KeptRepair } from '../repair-history.ts';
import { callJson, withUrl } from './client.ts';
import { formatAgo, formatBytes, formatTable } from './table.ts';

interface HistoryFlags {
  url: string;
  shard?: string;
  database?: string;
  kind?: string;
  state?: string;
  member?: string;
  since?: string;
  before?: string;
  limit: string;
}

interface Page {
  readonly records: readonly KeptRepair[];
  readonly names: Readonly<Record<string, string>>;
  readonly next: string | null;
  readonly unreachable: readonly string[];
}

export function addRepairHistoryCommand(repair: Command): void {
  withUrl(repair.command('history'))
    .description('repairs that moved something or failed, of all members, newest first')
    .option('--shard <id>', 'of one shard')
    .option('-d, --database <name>', 'of a database')
    .option('--kind <kind>', 'pass, copy, mend, read-repair, outbox, conflict, scrub or preview')
    .option('--state <state>', 'done, overtaken, failed, damage, cancelled or unfinished')
    .option('--member <name>', 'in which a member took part')
    .option('--since <time>', 'that ended then or later (RFC 3339, or milliseconds)')
    .option('--before <cursor>', 'the next page, as the last one names it')
    .option('--limit <n>', 'how many', '50')
    .action(async ({ url, ...filters }: HistoryFlags) => {
      const parameters = new URLSearchParams(
        Object.entries(filters).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
      );
      const page = await callJson<Page>(url, 'GET', `/api/repairs?${parameters}`);
      if (page.records.length === 0) console.log('no repairs');
      else
        console.log(
          formatTable(
            ['ended', 'kind', 'shard', 'state', 'from', 'to', 'rows', 'bytes', 'took', 'overruled', ''],
            page.records.flatMap((record) => linesOf(record, page.names)),
          ),
        );
      if (page.unreachable.length > 0) console.log(`no answer from ${page.unreachable.join(', ')}`);
      if (page.next !== null) console.log(`more: --before ${page.next}`);
    });
  withUrl(repair.command('why <id>'))
    .description('which values won in a repair, and by which rule')
    .action(async (id: string, { url }: { url: string }) => {
      const record = await callJson<KeptRepair>(url, 'GET', `/api/repairs/${encodeURIComponent(id)}`);
      console.log(`${record.kind} of shard ${record.shard} (${record.database}): ${record.outcome}`);
      if (record.reason !== null) console.log(record.reason);
      for (const { differed } of record.steps) if (differed !== undefined) console.log(differedText(differed));
      for (const { contests, deletes } of record.samples) {
        for (const contest of contests) console.log(sentenceOf(contest));
        for (const { version, predicate } of deletes) console.log(`delete ${version} came: ${predicate}`);
      }
    });
}

/** One for each step in which something moved; one for a repair without such. */
function linesOf(record: KeptRepair, names: Page['names']): (string | number)[][] {
  const { kind, shard, outcome, reason, finishedMs, times, steps } = record;
  const head = [formatAgo(finishedMs, Date.now()), kind, shard, times > 1 ? `${outcome} (${times} times)` : outcome];
  const moved = steps.filter(({ batches, rows, bytes }) => batches + rows + bytes > 0);
  if (moved.length === 0) return [[...head, '', '', '', '', '', '', `${record.id} ${reason ?? ''}`]];
  return moved.map(({ from, to, rows, bytes, ms, decided = {} }) => {
    const { same: _, deletes: __, unexamined: ___, ...rules } = decided;
    const overruled = Object.entries(rules).map(([rule, count]) => `${count} ${rule}`);
    const note = `${record.id} ${reason ?? ''}`;
    return [
      ...head,
      names[from] ?? from,
      names[to] ?? to,
      rows,
      formatBytes(bytes),
      `${ms} ms`,
      overruled.join(', '),
      note,
    ];
  });
}

function differedText({ unreadable, fewer, more, changed, samples }: DifferedGroups): string {
  const counts = `series groups: ${unreadable} unreadable, ${fewer} with fewer rows, ${more} with more, ${changed} with other values`;
  const lines = samples.map(({ window, measurement, group, rowsHere, rowsThere }) => {
    const here = rowsHere === null ? 'unreadable' : `${rowsHere} rows`;
    return `  window ${window} of ${measurement}, series ${group.toString(16)}..: ${here}, replaced by ${rowsThere}`;
  });
  return [counts, ...lines].join('\n');
}

function sentenceOf({ rule, series, field, time, winner, loser }: Contest): string {
  const place = `${series} ${field} at ${time}`;
  const side = (came: boolean): string => (came ? 'came' : 'was here');
  const lost = `${loser.type} ${loser.value} of version ${loser.version} (${side(loser.came)})`;
  if ('predicate' in winner) return `${place}: ${lost} is covered by delete ${winner.version} ${winner.predicate}`;
  return `${place}: ${winner.type} ${winner.value} of version ${winner.version} (${side(winner.came)}) wins over ${lost}: ${rule}`;
}
