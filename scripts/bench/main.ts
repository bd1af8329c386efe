/** `npm run bench`: see options.ts for what can be given. */
import { DifferenceError } from './checks.ts';
import { runCurve } from './curve-mode.ts';
import { runDecode } from './decode-mode.ts';
import { runOpen } from './open-mode.ts';
import { type BenchOptions, type Mode, parseOptions, USAGE, UsageError } from './options.ts';
import { runRecover } from './recover-mode.ts';
import { runRepair } from './repair-mode.ts';
import { cleanUpOnSignals } from './system.ts';
import { runTables, showTables } from './table-mode.ts';

const RUN: Readonly<Record<Mode, (options: BenchOptions) => Promise<void>>> = {
  table: runTables,
  curve: runCurve,
  open: runOpen,
  recover: runRecover,
  repair: runRepair,
  decode: runDecode,
  show: async (options) => showTables(options),
};

if (process.argv.includes('--help')) console.log(USAGE);
else {
  try {
    const options = parseOptions(process.argv.slice(2));
    cleanUpOnSignals();
    await RUN[options.mode](options);
  } catch (error) {
    const { code } = error as { code?: string };
    if (error instanceof UsageError || code?.startsWith('ERR_PARSE_ARGS')) {
      console.error(`${(error as Error).message}\n\n${USAGE}`);
      process.exitCode = 2;
    } else {
      console.error(`bench: ${error instanceof DifferenceError ? 'RESULTS DIFFER: ' : ''}${(error as Error).message}`);
      process.exitCode = 1;
    }
  }
}
