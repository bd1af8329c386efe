/**
 * A child process of a script: started, watched, its output in a log file, ended by its own id.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export class Child {
  readonly name: string;
  readonly logFile: string | null;
  /** Called when it ends without having been told to by `signal`. */
  onUnexpectedEnd: ((how: string) => void) | null = null;
  readonly #program: string;
  readonly #args: readonly string[];
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  #told = false;

  /** Output goes to `logFile`, or to this process's own when it is null. */
  constructor(name: string, program: string, args: readonly string[], logFile: string | null) {
    this.name = name;
    this.logFile = logFile;
    this.#program = program;
    this.#args = args;
  }

  get running(): boolean {
    return this.#process !== null;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  start(): void {
    const output = this.logFile === null ? 'inherit' : openSync(this.logFile, 'a');
    // A group of its own, so that Ctrl-C on the terminal reaches the parent alone, which then ends its children in order.
    const child = spawn(process.execPath, [this.#program, ...this.#args], {
      stdio: ['ignore', output, output],
      detached: true,
    });
    if (typeof output === 'number') closeSync(output);
    this.#process = child;
    this.#told = false;
    this.#ended = new Promise((done) => {
      child.once('exit', (code, signal) => {
        this.#process = null;
        done();
        if (!this.#told) this.onUnexpectedEnd?.(signal ?? `code ${code}`);
      });
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#told = true;
    this.#process?.kill(signal);
  }

  ended(): Promise<void> {
    return this.#ended;
  }

  commandLine(): string {
    return ['npx starling', ...this.#args].join(' ');
  }

  /** The last line of its log: usually why it ended. */
  lastLine(): string {
    if (this.logFile === null) return '';
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  }
}
