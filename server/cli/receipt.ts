/** `starling receipt TOKEN`: where the batches of a write are, and whether all owners are proven to have them. */
import type { Command } from 'commander';
import type { ReceiptStatus } from '../receipt-status.ts';
import { CliError, callJson, withUrl } from './client.ts';
import { formatTable } from './table.ts';

export function addReceiptCommand(program: Command): void {
  withUrl(program.command('receipt <token>'))
    .description('where a write is that was made with --receipt; exit code 1 when it is not proven')
    .option('-w, --wait <duration>', 'wait so long for the proof, at most 60s')
    .option('--json', 'the whole answer as JSON')
    .action(async (token: string, { url, wait, json }: { url: string; wait?: string; json?: boolean }) => {
      const query = wait === undefined ? '' : `?wait=${encodeURIComponent(wait)}`;
      const status = await callJson<ReceiptStatus>(url, 'GET', `/api/receipts/${encodeURIComponent(token)}${query}`);
      console.log(json ? JSON.stringify(status, null, 2) : describe(status));
      if (!status.proven)
        throw new CliError(status.stored ? 'stored, not proven yet' : 'not stored everywhere it should be');
    });
}

function describe({ batches }: ReceiptStatus): string {
  const rows = batches.map(({ shard, database, retention_policy, accepted_ms, state, replicas, outbox }) => [
    shard,
    `${database}.${retention_policy}`,
    new Date(accepted_ms).toISOString(),
    state,
    replicas.map((replica) => `${replica.name}:${said(replica)}`).join(' '),
    outbox.join(' '),
  ]);
  return formatTable(['shard', 'policy', 'accepted', 'state', 'replicas', 'in the outbox of'], rows);
}

function said({ stored, state }: ReceiptStatus['batches'][number]['replicas'][number]): string {
  if (stored === null) return state === 'full' || state === 'damaged' ? 'unsure' : state;
  if (stored) return state === 'damaged' ? 'stored (damaged)' : 'stored';
  return state === 'full' ? 'not yet' : state;
}
