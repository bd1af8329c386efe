/**
 * The expected failures of storage: one closed list of codes, each with its HTTP status and whether a retry can help.
 *
 * A broken invariant is not in this list: it is our bug, and `assert` stops the process with the values in the message.
 */

interface Kind {
  readonly status: number;
  readonly retry: boolean;
}

const KINDS = {
  /** No room on the disk (ENOSPC, EDQUOT): nothing was changed, a retry may find room. */
  'disk-full': { status: 503, retry: true },
  /** The disk refused (EIO and the like): nothing is acknowledged. */
  'disk-failed': { status: 503, retry: true },
  /** The series of this worker's shards take as much memory as they may. */
  'series-full': { status: 503, retry: true },
  /** Log or memtable are at their maximum. */
  overloaded: { status: 503, retry: true },
  /** Stored bytes fail their CRC; another replica has them. */
  'damaged-block': { status: 503, retry: true },
  /** A shard file that SQLite cannot read, or that lacks what every shard file has. */
  'damaged-file': { status: 503, retry: true },
  /** Written by a later release: refused, left as it is. */
  'future-format': { status: 503, retry: false },
  /** A page of a shard copy that is damaged, out of order, or of another shard. */
  'damaged-page': { status: 502, retry: true },
  /** The shard of a snapshot has been dropped or replaced meanwhile. */
  'snapshot-gone': { status: 410, retry: true },
  /** What is settled cannot be told before all deletes of the policy are known to be here (shard-policy.ts). */
  'deletes-unknown': { status: 503, retry: true },
  /** A batch names a series whose key is not known here. */
  'unknown-series': { status: 409, retry: true },
  /** A record that the log cannot hold. */
  'record-too-long': { status: 413, retry: false },
} as const satisfies Record<string, Kind>;

export type StorageErrorCode = keyof typeof KINDS;

export class StorageError extends Error {
  readonly code: StorageErrorCode;
  readonly status: number;
  readonly retry: boolean;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'StorageError';
    this.code = code;
    this.status = KINDS[code].status;
    this.retry = KINDS[code].retry;
  }
}

export function isDamage(error: StorageError): boolean {
  return error.code.startsWith('damaged');
}

/** Runs `action`; what it comes to when storage refuses is for `refused` to say. */
export function attempt<T, U>(action: () => T, refused: (error: StorageError) => U): T | U {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    return refused(error);
  }
}

/** The code that an operating system's or SQLite's error carries, or '' when it has none. */
export function errorCodeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/**
 * Names a failure of the disk. `what` says what was being done and to which file.
 * Anything that is not a failure of the disk is returned as it is, so that bugs stay bugs.
 */
export function diskError(error: unknown, what: string): Error {
  if (error instanceof StorageError) return error;
  const code = errorCodeOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL') {
    return new StorageError('disk-full', `${what}: no room on the disk (${reason})`, { cause: error });
  }
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') {
    return new StorageError('damaged-file', `${what}: damaged (${reason})`, { cause: error });
  }
  if (/^E[A-Z]+$/.test(code) || /^SQLITE_(IOERR|CANTOPEN|BUSY|LOCKED|READONLY)/.test(code)) {
    return new StorageError('disk-failed', `${what}: the disk refused (${reason})`, { cause: error });
  }
  return error instanceof Error ? error : new Error(`${what}: ${reason}`);
}
