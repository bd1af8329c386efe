/**
 * `starling write`: line protocol from an argument, a file or standard input, in requests of bounded size. A request
 * that the node could not take for the moment (503, or no answer) is repeated: writing the same points twice is harmless.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { type Answer, CliError, call, errorText, withUrl } from './client.ts';

const LINES_PER_REQUEST = 5000;
const BYTES_PER_REQUEST_MAX = 8_000_000;
const ATTEMPTS_MAX = 8;

interface WriteFlags {
  url: string;
  db: string;
  rp?: string;
  precision?: string;
  consistency?: string;
  file?: string;
  receipt?: boolean;
}

export function addWriteCommand(program: Command): void {
  withUrl(program.command('write [lines...]'))
    .description('write points as line protocol (standard input when neither lines nor --file are given)')
    .requiredOption('-d, --db <name>', 'database; it must exist (starling query "CREATE DATABASE name")')
    .option('--rp <name>', 'retention policy')
    .addOption(new Option('-p, --precision <unit>', 'unit of the timestamps').choices(['n', 'u', 'ms', 's', 'm', 'h']))
    .addOption(
      new Option('-c, --consistency <level>', 'replicas that must have it on disk').choices([
        'any',
        'one',
        'quorum',
        'all',
      ]),
    )
    .option('--file <path>', 'file with line protocol')
    .option('--receipt', 'print a receipt for each request; starling receipt TOKEN says where the write is')
    .action(async (lines: string[], flags: WriteFlags) => {
      const parameters = new URLSearchParams();
      for (const name of ['db', 'rp', 'precision', 'consistency'] as const) {
        if (flags[name] !== undefined) parameters.set(name, flags[name]);
      }
      if (flags.receipt) parameters.set('receipt', '1');
      const path = `/write?${parameters}`;
      let written = 0;
      const problems: string[] = [];
      for await (const { body, count } of requestsOf(lines, flags.file)) {
        const answer = await post(flags.url, path, body);
        if (flags.receipt) printReceipt(answer);
        if (answer.status === 204 || answer.status === 200) written += count;
        else if (answer.status === 400 && errorText(answer).startsWith('partial write'))
          problems.push(errorText(answer));
        else throw new CliError(`${errorText(answer)} (${written} lines were written before)`);
      }
      console.error(
        `${written} lines written${problems.length > 0 ? `, ${problems.length} requests only in part` : ''}`,
      );
      if (problems.length > 0) throw new CliError(problems[0]!);
    });
}

/** Also of a write that was taken in part. */
function printReceipt({ status, text }: Answer): void {
  if (status !== 200 && status !== 400) return;
  const { receipt, message } = JSON.parse(text) as { receipt?: string | null; message?: string };
  if (typeof receipt === 'string') console.log(receipt);
  else if (message !== undefined) console.error(`no receipt: ${message}`);
}

async function* requestsOf(
  lines: readonly string[],
  file: string | undefined,
): AsyncGenerator<{ body: string; count: number }> {
  if (lines.length > 0) {
    yield { body: `${lines.join('\n')}\n`, count: lines.length };
    return;
  }
  const input = file === undefined ? process.stdin : createReadStream(file);
  const opened = new Promise<void>((resolve, reject) => {
    input.once('error', (error: Error) => reject(new CliError(`${file}: ${error.message}`)));
    input.once('readable', resolve);
  });
  await opened;
  let body = '';
  let count = 0;
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    body += `${line}\n`;
    count++;
    if (count < LINES_PER_REQUEST && body.length < BYTES_PER_REQUEST_MAX) continue;
    yield { body, count };
    body = '';
    count = 0;
  }
  if (count > 0) yield { body, count };
}

async function post(url: string, path: string, body: string): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const answer = await call(url, 'POST', path, body).catch((error: unknown) => error as Error);
    const isTransient = answer instanceof Error || answer.status === 503;
    if (!isTransient || attempt === ATTEMPTS_MAX) {
      if (answer instanceof Error) throw answer;
      return answer;
    }
    const retryAfter = answer instanceof Error ? null : answer.headers.get('retry-after');
    await wait(retryAfter === null ? 100 * 2 ** attempt : Number(retryAfter) * 1000);
  }
}
