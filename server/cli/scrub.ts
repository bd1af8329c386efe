/** `starling scrub`: what the last reading of everything that a node stores has found; `starling scrub start` begins one. */
import type { Command } from 'commander';
import type { NodeScrubs } from '../http/admin-scrubs.ts';
import { callJson, withUrl } from './client.ts';
import { formatAgo, formatBytes, formatLeft, formatTable } from './table.ts';

export function addScrubCommand(program: Command): void {
  const scrub = withUrl(program.command('scrub'))
    .description('what the last scrub of a node has read and found, and how damaged replicas are mended')
    .option('--json', 'the whole answer as JSON')
    .action(async ({ url, json }: { url: string; json?: boolean }) => {
      const scrubs = await callJson<NodeScrubs>(url, 'GET', '/api/scrubs');
      console.log(json ? JSON.stringify(scrubs, null, 2) : describe(scrubs));
    });
  withUrl(scrub.command('start'))
    .description('read all shards of the node again from now on')
    .action(async ({ url }: { url: string }) => {
      await callJson(url, 'POST', '/api/scrubs');
      console.log('started; starling scrub shows how far it is');
    });
}

function describe({ schedule, run, mends }: NodeScrubs): string {
  const now = Date.now();
  const lines = [schedule === null ? 'no schedule' : `schedule: ${schedule}`];
  if (run === null) lines.push('no scrub so far');
  else {
    const end = run.finishedMs === null ? 'running' : `ended ${formatAgo(run.finishedMs, now)}`;
    const done = `${run.shardsDone} of ${run.shards} shards, ${formatBytes(run.bytesRead)} read`;
    lines.push(`scrub: began ${formatAgo(run.startedMs, now)}, ${end}, ${done}, ${run.damaged.length} shards damaged`);
    for (const { shard, reason } of run.damaged) lines.push(`  ${shard}: ${reason}`);
  }
  if (mends.length > 0) {
    const rows = mends.map((one) => [
      one.shard,
      one.state,
      one.rowsMoved,
      one.batchesMoved,
      formatBytes(one.bytesMoved),
      formatAgo(one.startedMs, now),
      formatLeft(one.etaMs),
      one.message,
    ]);
    lines.push(formatTable(['mended shard', 'state', 'rows', 'batches', 'bytes', 'began', 'left', ''], rows));
  }
  return lines.join('\n');
}
