/**
 * `starling cluster`: members, the convergence bound, and up to when the replicas are proven equal; `leave` and `remove`.
 */
import type { Command } from 'commander';
import type { LossDescription } from '../../repair/records.ts';
import { formatDurationMs } from '../duration.ts';
import { CliError, callJson, withUrl } from './client.ts';
import { formatAgo, formatBytes, formatLoss, formatTable } from './table.ts';

interface MemberJson {
  number: string;
  name: string;
  why: string;
}

interface AcknowledgedJson {
  number: string;
  name: string;
  acknowledgedMs: number;
}

interface ClusterJson {
  name: string | null;
  version: string;
  nowMs: number;
  notReady: string | null;
  members: {
    number: string;
    name: string;
    address: string;
    state: string;
    live: boolean;
    skewed?: boolean;
    self: boolean;
    shards: number;
    shardsToCome?: number;
    why?: string;
    clockOffsetMs?: number | null;
  }[];
  databases: { name: string; retentionPolicies: { name: string; replication: number }[] }[];
  outbox: { peer: string; bytes: number; entries: number; debts: number }[];
  bound: { boundMs: number; withCopiesMs: number; deletes: { boundMs: number } };
  convergedThroughMs: number | null;
  liveConvergedThroughMs: number | null;
  shards: number;
  losses: (LossDescription & { shards: string[] })[];
}

export function addClusterCommand(program: Command): void {
  const command = withUrl(program.command('cluster'))
    .description('members, the convergence bound, and up to when the replicas are proven equal')
    .option('--json', 'the whole answer as JSON')
    .action(async ({ url, json }: { url: string; json?: boolean }) => {
      const cluster = await callJson<ClusterJson>(url, 'GET', '/api/cluster');
      console.log(json ? JSON.stringify(cluster, null, 2) : describeCluster(cluster));
    });
  withUrl(command.command('leave'))
    .description('a member hands over everything that it holds and then goes; this cannot be taken back')
    .option('--member <name>', 'which one (default: the node that is asked)')
    .action(async ({ url, member }: { url: string; member?: string }) => {
      const path =
        member === undefined ? '/api/cluster/leave' : `/api/cluster/members/${encodeURIComponent(member)}/leave`;
      const { name, why } = await callJson<MemberJson>(url, 'POST', path);
      console.log(`${name} leaves: ${why}
starling cluster shows how far it is`);
    });
  withUrl(command.command('remove <name>'))
    .description('gives up a member that is dead, and what only it held')
    .option('--force', 'it is dead for good, and what only it held may be lost')
    .action(async (name: string, { url, force }: { url: string; force?: boolean }) => {
      if (force !== true)
        throw new CliError(
          `what only ${name} holds would be lost: let it leave, or say --force if it is dead for good`,
          2,
        );
      const path = `/api/cluster/members/${encodeURIComponent(name)}/remove`;
      const { number, why } = await callJson<MemberJson>(url, 'POST', path, { force: true });
      console.log(`${name} (${number}): ${why}`);
    });
  withUrl(command.command('acknowledge-loss <name>'))
    .description('what may be lost with a member that was given up or replaced is known: it is reported no more')
    .action(async (name: string, { url }: { url: string }) => {
      const path = `/api/cluster/members/${encodeURIComponent(name)}/acknowledge-loss`;
      const { acknowledged } = await callJson<{ acknowledged: AcknowledgedJson[] }>(url, 'POST', path);
      for (const { name: called, number, acknowledgedMs } of acknowledged)
        console.log(`${called} (${number}): acknowledged at ${new Date(acknowledgedMs).toISOString()}`);
    });
}

function describeCluster(cluster: ClusterJson): string {
  const waiting = new Map(cluster.outbox.map((one) => [one.peer, one]));
  const rows = cluster.members
    .filter((member) => member.state !== 'removed')
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((member) => {
      const mail = waiting.get(member.number);
      const offset = member.clockOffsetMs ?? null;
      return [
        member.self ? `${member.name} *` : member.name,
        member.address,
        member.skewed ? 'skewed' : member.live ? member.state : 'not live',
        member.shardsToCome ? `${member.shards} (${member.shardsToCome} to come)` : member.shards,
        offset === null ? null : `${offset} ms`,
        mail === undefined ? '-' : `${mail.entries} (${formatBytes(mail.bytes)})`,
        member.why ?? '',
      ];
    });
  const proven = (ms: number | null) =>
    ms === null ? 'nothing yet' : `${new Date(ms).toISOString()} (${formatAgo(ms, cluster.nowMs)})`;
  return [
    formatTable(['member', 'address', 'state', 'shards', 'clock', 'outbox here', ''], rows),
    '',
    ...(cluster.notReady === null ? [] : [`This node is not ready: ${cluster.notReady}`]),
    `All ${cluster.shards} shards, proven equal on all owners:  ${proven(cluster.convergedThroughMs)}`,
    `                      on the live owners:  ${proven(cluster.liveConvergedThroughMs)}`,
    `Bound: what one live owner has, all live owners have within ${spanOf(cluster.bound.boundMs)};`,
    `       where all that a node holds has to be copied first, within ${spanOf(cluster.bound.withCopiesMs)};`,
    `       deletes for whole policies are on all live members within ${spanOf(cluster.bound.deletes.boundMs)}.`,
    ...cluster.losses.map(lossText),
    `Databases: ${cluster.databases.map(({ name }) => name).join(', ') || 'none'}`,
    `(* the node that answered, starling ${cluster.version})`,
  ].join('\n');
}

function lossText(loss: ClusterJson['losses'][number]): string {
  const known = loss.wentOn === true ? '' : `; starling cluster acknowledge-loss ${loss.name} when you know`;
  return `Lost ${formatLoss(loss)}, in ${loss.shards.length} shards (starling shards names them${known})`;
}

function spanOf(ms: number): string {
  return formatDurationMs(Math.ceil(ms / 100) * 100);
}
