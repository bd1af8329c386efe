/** What goes wrong in a worker thread, as the main thread learns it. */
export interface WorkerErrorReport {
  readonly code: string;
  readonly message: string;
  readonly status: number;
}

/** A call that a worker answered with an error. */
export class WorkerCallError extends Error {
  readonly code: string;
  readonly status: number;
  constructor(report: WorkerErrorReport) {
    super(report.message);
    this.code = report.code;
    this.status = report.status;
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
