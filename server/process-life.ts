/**
 * Signals and last words. SIGTERM and SIGINT stop the node and end the process with 0; an error that nobody expected
 * ends it with 1, after the reason was logged and written as one line to stderr.
 */
import type { Logger } from 'pino';
import { lastWords } from './worker-errors.ts';

/** Returns what takes the handlers off again. */
export function watchProcess(log: Logger, stop: () => Promise<void>, onUncaught: (error: Error) => void): () => void {
  const onSignal = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'stopping');
    stop().then(
      () => process.exit(0),
      (error: Error) => {
        log.fatal({ problem: error.stack }, 'did not stop cleanly');
        process.exit(1);
      },
    );
  };
  const signals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  process.on('uncaughtException', onUncaught);
  process.on('unhandledRejection', onUncaught);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
    process.off('uncaughtException', onUncaught);
    process.off('unhandledRejection', onUncaught);
  };
}

/** Of an error after which the node goes on: the disk, or a limit of the metadata. null: nobody expected it. */
export function diskTrouble(error: unknown): { problem: string; code: string } | null {
  const { code: given, message: problem, status } = error as Error & { code?: unknown; status?: unknown };
  const code = String(given ?? '');
  return /^(E[A-Z]+|SQLITE_[A-Z_]+)$/.test(code) || typeof status === 'number' ? { problem, code } : null;
}

/** The process must not go on: says why, and ends it. */
export function endWithError(error: Error & { code?: unknown }, log: Logger): never {
  const expected = typeof error.code === 'string' && error.code !== 'worker-error';
  log.fatal({ problem: expected ? error.message : (error.stack ?? error.message) }, 'this node stops');
  const words = error.code === undefined ? lastWords(error) : error.message.split('\n')[0];
  process.stderr.write(`starling: ${words}\n`);
  process.exit(1);
}
