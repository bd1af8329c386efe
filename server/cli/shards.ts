/** `starling shards`: all shards with their replicas and watermarks, or one shard with its checksums side by side. */
import type { Command } from 'commander';
import type { LedgerSummary, ShardDescription } from '../../repair/records.ts';
import { callJson, withUrl } from './client.ts';
import { formatAgo, formatBytes, formatLoss, formatTable } from './table.ts';

interface ShardPage extends ShardDescription {
  checksums: { member: string; name: string; state: string; ledger: LedgerSummary | null }[];
  equal: boolean;
}

interface ShardFlags {
  url: string;
  database?: string;
  json?: boolean;
}

export function addShardsCommand(program: Command): void {
  withUrl(program.command('shards [id]'))
    .description('all shards, or one shard with the checksums of its replicas side by side')
    .option('-d, --database <name>', 'only shards of this database')
    .option('--json', 'the whole answer as JSON')
    .action(async (id: string | undefined, { url, database, json }: ShardFlags) => {
      if (id !== undefined) {
        const shard = await callJson<ShardPage>(url, 'GET', `/api/shards/${encodeURIComponent(id)}`);
        return console.log(json ? JSON.stringify(shard, null, 2) : describeShard(shard));
      }
      const query = database === undefined ? '' : `?database=${encodeURIComponent(database)}`;
      const { shards } = await callJson<{ shards: ShardDescription[] }>(url, 'GET', `/api/shards${query}`);
      console.log(json ? JSON.stringify(shards, null, 2) : describeShards(shards));
    });
}

function range(shard: ShardDescription): string {
  const day = (ns: string) => {
    const ms = Number(BigInt(ns) / 1_000_000n);
    return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString().slice(0, 16) : ns;
  };
  return `${day(shard.startNs)} .. ${day(shard.endNs)}`;
}

function replicas(shard: ShardDescription): string {
  return shard.replicas.map(({ name, live, state }) => `${name}:${live ? state : 'not live'}`).join(' ');
}

function describeShards(shards: readonly ShardDescription[]): string {
  if (shards.length === 0) return 'no shards yet: nothing has been written';
  const now = Date.now();
  const rows = shards.map((shard) => [
    shard.id,
    `${shard.database}.${shard.retentionPolicy}`,
    range(shard),
    shard.number,
    shard.rows,
    shard.series,
    formatBytes(shard.fileBytes + shard.memtableBytes),
    replicas(shard),
    formatAgo(shard.converged?.throughMs ?? null, now),
    shard.heldBackBy ?? '',
  ]);
  const columns = ['shard', 'policy', 'range (UTC)', 'no', 'rows', 'series', 'size', 'replicas', 'proven equal', ''];
  return formatTable(columns, rows);
}

function describeShard(shard: ShardPage): string {
  const now = Date.now();
  const sums = shard.checksums.map(({ name, state, ledger }) => [
    name,
    state,
    ledger?.batches ?? null,
    ledger?.identitySum ?? null,
    ledger?.contentSum ?? null,
  ]);
  const pass = shard.lastPass;
  return [
    `${shard.id}  ${shard.database}.${shard.retentionPolicy}  ${range(shard)}  number ${shard.number}`,
    `${shard.rows} rows, ${shard.series} series, ${shard.blocks} blocks, ${formatBytes(shard.fileBytes)} on disk, ${formatBytes(shard.memtableBytes)} in memory`,
    '',
    formatTable(['replica', 'state', 'batches', 'received (sum)', 'content (sum)'], sums),
    shard.equal ? 'The replicas are equal.' : 'The replicas differ.',
    '',
    `proven equal on all owners:   ${formatAgo(shard.converged?.throughMs ?? null, now)}`,
    `proven equal on live owners:  ${formatAgo(shard.liveConverged?.throughMs ?? null, now)}`,
    ...shard.losses.map((loss) => {
      const { acknowledgedMs } = loss;
      const known = acknowledgedMs === undefined ? '' : `, acknowledged ${formatAgo(acknowledgedMs, now)}`;
      return `lost ${formatLoss(loss)}${known}`;
    }),
    ...(shard.heldBackBy === null ? [] : [`held back by: ${shard.heldBackBy}`]),
    ...(shard.fill === null
      ? []
      : [
          `filling: ${formatBytes(shard.fill.bytesDone)} of ${shard.fill.bytesTotal === null ? '?' : formatBytes(shard.fill.bytesTotal)}`,
        ]),
    ...(shard.damage === null ? [] : [`damage: ${shard.damage.reason}`]),
    pass === null
      ? 'no pass yet'
      : `last pass: ${pass.outcome}, ${formatAgo(pass.finishedMs, now)}, ${pass.finishedMs - pass.startedMs} ms, ${pass.batchesMoved} batches (${pass.rowsMoved} rows) moved${pass.reason === null ? '' : `: ${pass.reason}`}`,
  ].join('\n');
}
