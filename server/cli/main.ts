#!/usr/bin/env node
/**
 * `starling`: one program, a sub-command for each thing a person does. `serve` runs a node; the others talk to one over
 * HTTP (`--url`). Exit codes: 0 done, 1 the node or the request failed, 2 the command line was wrong.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addAlertsCommand } from './alerts.ts';
import { CliError } from './client.ts';
import { addClusterCommand } from './cluster.ts';
import { addQuarantineCommand } from './quarantine.ts';
import { addQueryCommand } from './query.ts';
import { addReceiptCommand } from './receipt.ts';
import { addRepairCommand } from './repair.ts';
import { addScrubCommand } from './scrub.ts';
import { addServeCommand } from './serve.ts';
import { addShardsCommand } from './shards.ts';
import { addWriteCommand } from './write.ts';

const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('starling')
  .description('Time-series store that keeps working on one live node and heals itself within a published bound.')
  .version(version)
  // `--url` belongs to the sub-command behind which it stands.
  .enablePositionalOptions()
  .showHelpAfterError('(add --help for what can be given)')
  .addHelpText(
    'after',
    `
Examples:
  starling serve --node n1 --listen 127.0.0.1:8086 --data ./data/n1
  starling write --db mydb 'cpu,host=a usage=42'
  starling query --db mydb 'SELECT mean(usage) FROM cpu WHERE time > now() - 1h GROUP BY time(1m), host'
  starling cluster                          members, and up to when all replicas are proven equal
  starling repair --all --mode preview      what differs between the replicas, changing nothing`,
  );

addServeCommand(program);
addWriteCommand(program);
addQueryCommand(program);
addClusterCommand(program);
addShardsCommand(program);
addRepairCommand(program);
addScrubCommand(program);
addReceiptCommand(program);
addQuarantineCommand(program);
addAlertsCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CliError)) throw error;
  console.error(`starling: ${error.message}`);
  process.exitCode = error.exitCode;
}
