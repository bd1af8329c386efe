/**
 * Programs of others that tests run against a node: whether one is installed, and children that end with the test.
 *
 * Each child leads a process group of its own, so that what it started ends with it.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

const ANSWER_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;

/** Says so where it does not, once: tests that need it are skipped then. */
export function isInstalled(name: string, command: string, ...parameters: readonly string[]): boolean {
  try {
    execFileSync(command, parameters, { stdio: 'ignore', timeout: ANSWER_MS_MAX });
    return true;
  } catch {
    console.info(`${name} is not installed, its tests are skipped`);
    return false;
  }
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Program {
  readonly #child: ChildProcess;
  /** Code null: by a signal. */
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';

  constructor(command: string, parameters: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    const env = { ...process.env, ...environment };
    const child = spawn(command, parameters, { detached: true, stdio: 'pipe', env });
    this.#child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    // One that ends without reading what it is told.
    child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr }));
    });
  }

  /** All that it is told: nothing follows. */
  tell(input: string): this {
    this.#child.stdin!.end(input);
    return this;
  }

  /** Asks it to end, and after a while no longer asks. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    const timer = setTimeout(() => process.kill(-this.#child.pid!, 'SIGKILL'), STOP_MS_MAX);
    const ended = await this.ended;
    clearTimeout(timer);
    return ended;
  }

  /** Waits until it ends by itself. */
  async toEnd(timeoutMs = ANSWER_MS_MAX): Promise<Ended> {
    const abort = new AbortController();
    const late = wait(timeoutMs, null, { signal: abort.signal }).catch(() => null);
    const ended = await Promise.race([this.ended, late]);
    abort.abort();
    if (ended !== null) return ended;
    const { stdout, stderr } = await this.end('SIGKILL');
    throw new Error(`did not end within ${timeoutMs} ms: ${stdout.slice(-2_000)}${stderr.slice(-2_000)}`);
  }
}

/** For programs that cannot pick one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
