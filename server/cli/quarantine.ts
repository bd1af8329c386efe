/**
 * `starling quarantine`: what only a removed member had, found on its disk after `serve --readmit` set that aside. Reads DIR/quarantine
 * and asks the cluster what of it is known; writes nothing but its output.
 */
import type { Command } from 'commander';
import { BatchError, decodeBatch } from '../../shards/batch-codec.ts';
import { shardId } from '../../shards/shard-key.ts';
import { type NodeNumber, stampMs, stampOf } from '../../shards/version.ts';
import { judgeLeftovers, type Verdict } from '../leftover-owners.ts';
import { type Leftover, type Leftovers, openLeftovers } from '../leftovers.ts';
import { commentOf, textOf } from '../line-protocol-text.ts';
import { openNodeDirectory, readNodeFile, StartError } from '../node-identity.ts';
import { NodeCallError } from '../query-rpc.ts';
import { quarantined, quarantinePath } from '../readmission.ts';
import { CliError, callJson, withUrl } from './client.ts';
import { formatTable } from './table.ts';

interface Flags {
  url: string;
  data: string;
  member?: string;
  db?: string;
  rp?: string;
}

interface Found {
  readonly number: NodeNumber;
  readonly name: string;
  readonly leftovers: Leftovers;
  readonly verdicts: ReadonlyMap<Leftover, Verdict>;
}

export function addQuarantineCommand(program: Command): void {
  const command = program
    .command('quarantine')
    .description('what only a removed member had, on the disk that serve --readmit has set aside');
  withData(command.command('list'))
    .description('members whose data was set aside, and how much of it the cluster never had')
    .action(async (flags: Flags) => {
      const rows: (string | number)[][] = [];
      const problems = await eachMember(flags, async ({ number, name, leftovers, verdicts }) => {
        const count = (verdict: Verdict) => [...verdicts.values()].filter((each) => each === verdict).length;
        rows.push([
          number,
          name,
          leftovers.shards,
          verdicts.size,
          count('known'),
          count('over'),
          count('lost'),
          count('unsure'),
        ]);
      });
      console.log(formatTable(['member', 'name', 'shards', 'batches', 'known', 'over', 'lost', 'unsure'], rows));
      report(problems);
    });
  withData(command.command('export'))
    .description(
      'line protocol of the batches that no member has, for influx -import or starling write; deletes are comments, as are batches of which nobody can tell',
    )
    .option('-d, --db <name>', 'of this database only')
    .option('--rp <name>', 'of this retention policy only')
    .action(async (flags: Flags) => {
      await print('# DML');
      report(await eachMember(flags, (found) => exportMember(found, flags)));
    });
}

function withData(command: Command): Command {
  return withUrl(command)
    .option('--data <dir>', 'data directory of the node', './data/node')
    .option('--member <number>', 'what was set aside of this member number only');
}

/** Resolves to what could not be read. */
async function eachMember(flags: Flags, action: (found: Found) => Promise<void>): Promise<string[]> {
  const numbers = quarantined(flags.data).filter((number) => flags.member === undefined || number === flags.member);
  if (numbers.length === 0)
    throw new CliError(
      `nothing${flags.member === undefined ? '' : ` of ${flags.member}`} is set aside in ${flags.data}`,
    );
  const problems: string[] = [];
  try {
    for (const number of numbers) problems.push(...(await withMember(flags, number, action)));
  } catch (error) {
    if (error instanceof NodeCallError)
      throw new CliError(`${error.message}: every member has to answer, or what one has would be taken for lost`);
    if (error instanceof StartError) throw new CliError(error.message);
    throw error;
  }
  return problems;
}

async function withMember(
  { url, data }: Flags,
  number: NodeNumber,
  action: (found: Found) => Promise<void>,
): Promise<readonly string[]> {
  const path = quarantinePath(data, number);
  const directory = openNodeDirectory(path);
  try {
    const node = readNodeFile(path);
    if (node === null || node.clusterId === null) throw new CliError(`${path} is not that of a member: no node.json`);
    const { clusterId, members } = await callJson<ClusterJson>(url, 'GET', '/api/cluster');
    if (clusterId !== node.clusterId) throw new CliError(`${url} belongs to another cluster than member ${number} did`);
    const leftovers = openLeftovers(path, node);
    try {
      const asked = members.filter(({ state }) => state !== 'removed');
      const verdicts = await judgeLeftovers(asked, clusterId, number, leftovers.batches);
      await action({
        number,
        name: node.name,
        leftovers,
        verdicts: new Map(leftovers.batches.map((batch, i) => [batch, verdicts[i]!])),
      });
      return leftovers.problems;
    } finally {
      leftovers.close();
    }
  } finally {
    directory.release();
  }
}

interface ClusterJson {
  readonly clusterId: string | null;
  readonly members: readonly { readonly name: string; readonly address: string; readonly state: string }[];
}

async function exportMember({ number, name, leftovers, verdicts }: Found, { db, rp }: Flags): Promise<void> {
  const wanted = [...verdicts]
    .filter(([, verdict]) => verdict === 'lost' || verdict === 'unsure')
    .map(([batch]) => batch)
    .filter(
      ({ shard }) =>
        (db ?? shard.database) === shard.database && (rp ?? shard.retentionPolicy) === shard.retentionPolicy,
    )
    .sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  const unsure = new Set(wanted.filter((batch) => verdicts.get(batch) === 'unsure').map(nameOf));
  await print(`# what only member "${name}" (${number}) had: ${wanted.length - unsure.size} batches`);
  let [context, unnamed] = ['', 0];
  for (const { frame, keys } of leftovers.read(wanted)) {
    const batch = decodedOrNull(frame);
    if (batch === null) continue;
    const { database, retentionPolicy } = batch.shard;
    const header = `# CONTEXT-DATABASE: ${database}\n# CONTEXT-RETENTION-POLICY: ${retentionPolicy}`;
    if (header !== context) await print(header);
    context = header;
    const text = textOf(batch, keys);
    unnamed += text.unnamed;
    const isUnsure = unsure.has(nameOf(batch));
    const acceptedAt = new Date(stampMs(stampOf(batch.version))).toISOString();
    if (isUnsure) await print(`# accepted ${acceptedAt}; whether a member had it cannot be told:`);
    else if (batch.kind === 'delete') await print(`# a delete, accepted ${acceptedAt}:`);
    for (const line of text.lines) await print(isUnsure && batch.kind === 'write' ? commentOf(line) : line);
  }
  if (unnamed > 0) console.error(`${unnamed} rows of series whose names are lost`);
}

/** Cells lie in one shard, and the later of two values comes later. */
function orderOf({ shard, version }: Leftover): string {
  return JSON.stringify([shard.database, shard.retentionPolicy, shardId(shard), version]);
}

function nameOf({ shard, version }: Pick<Leftover, 'shard' | 'version'>): string {
  return shardId(shard) + version;
}

function decodedOrNull(frame: Uint8Array): ReturnType<typeof decodeBatch> | null {
  try {
    return decodeBatch(frame);
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    console.error(`a batch is damaged: ${error.message}`);
    return null;
  }
}

/** Waits for a reader that is slower. */
async function print(line: string): Promise<void> {
  if (process.stdout.write(`${line}\n`)) return;
  await new Promise((resolve) => process.stdout.once('drain', resolve));
}

function report(problems: readonly string[]): void {
  for (const problem of problems) console.error(`cannot be read: ${problem}`);
}
