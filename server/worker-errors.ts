/** What goes wrong in a worker thread, as the main thread learns it. */
export interface WorkerErrorReport {
  readonly code: string;
  readonly message: string;
  readonly status: number;
  /** Of a fault of ours: where it was. */
  readonly stack?: string;
}

/** What a read answers that fails for a fault of ours. */
export const READ_FAULT = { code: 'internal-error', status: 500 } as const;

/** A call that a worker answered with an error. */
export class WorkerCallError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(report: WorkerErrorReport) {
    super(report.message);
    this.code = report.code;
    this.status = report.status;
    if (report.stack !== undefined) this.stack = report.stack;
  }
}

/** A worker ended by itself; `expected` when the reason is outside the program (a full disk, say). */
export class WorkerDeathError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** An error that nobody expected, as one line that says what to do; its stack is in the log. */
export function lastWords(error: Error): string {
  const reason = (error.message || error.name).split('\n')[0];
  // As it comes from another thread, an error of WebAssembly is known by its stack alone.
  const isKernel = error.name === 'RuntimeError' || error.stack?.startsWith('RuntimeError') === true;
  const cause = isKernel ? `a kernel failed, mostly for want of memory (${reason})` : reason;
  return `${cause}; start the node again, and if it ends again, report the stack in its log`;
}

export function deathOf(worker: number, error: Error): WorkerDeathError {
  const death = new WorkerDeathError('worker-error', `worker ${worker} ended: ${lastWords(error)}`);
  death.stack = error.stack ?? error.message;
  return death;
}
