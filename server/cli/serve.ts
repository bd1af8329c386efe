/**
 * `starling serve`: runs one node until it is told to stop. Its options are those of server/config.ts, nothing is
 * defined here.
 */
import { type Command, Option } from 'commander';
import { ConfigError, loadConfig, SERVE_OPTIONS } from '../config.ts';
import { StartError } from '../node-identity.ts';
import { CliError } from './client.ts';

export function addServeCommand(program: Command): void {
  const command = program
    .command('serve')
    .description('run one node')
    .addHelpText(
      'after',
      `
Every option may also be set in the environment (STARLING_PASS_INTERVAL=5s) or as a key of the YAML file that --config
names (pass-interval: 5s). A flag wins over the environment, the environment over the file.

Examples:
  starling serve --node n1 --listen 127.0.0.1:8086 --data ./data/n1
  starling serve --node n2 --listen 127.0.0.1:8087 --data ./data/n2 --join http://127.0.0.1:8086`,
    )
    .addOption(new Option('--config <file>', 'YAML file with options').env('STARLING_CONFIG'));
  for (const { name, value, about, fallback } of SERVE_OPTIONS) {
    const usual = fallback === '' ? '' : ` (default: ${fallback})`;
    // A switch: the flag alone means on.
    const isSwitch = value.startsWith('[');
    const option = new Option(`--${name} ${isSwitch ? value : `<${value}>`}`, about + usual);
    command.addOption(isSwitch ? option.preset('on') : option);
  }
  command.action(async () => {
    const flags: Record<string, string | undefined> = {};
    for (const option of command.options)
      flags[option.long!.slice(2)] = command.getOptionValue(option.attributeName()) as string | undefined;
    // The other commands start sooner without a node's code.
    const [{ startNode }, { addAlerts }, { addContinuousQueries }] = await Promise.all([
      import('../main.ts'),
      import('../alerts/extension.ts'),
      import('../continuous/extension.ts'),
    ]);
    try {
      await startNode(loadConfig({ flags, environment: process.env }), [addAlerts, addContinuousQueries]);
    } catch (error) {
      if (error instanceof ConfigError) throw new CliError(error.message, 2);
      if (error instanceof StartError) throw new CliError(error.message);
      throw error;
    }
  });
}
