/** A write request between its arrival and its answer, and the answer that its outcome makes. */
import type { WriteOutcome } from '../repair/replica-host.ts';
import type { LineError } from '../shards/line-protocol-errors.ts';
import type { BarredSeries, Rejected } from '../shards/row-rules.ts';
import type { WriteRequest, WriteResult } from './http/influx-write.ts';
import type { ReceiptBatch } from './receipt.ts';
import type { GroupName } from './schema-cache.ts';

const RETRY_AFTER_SECONDS = 1;

export interface Waiting {
  readonly request: WriteRequest;
  readonly bytes: number;
  readonly startedMs: number;
  readonly answered: (result: WriteResult) => void;
  rounds: number;
  /** null: not parsed yet. */
  read: { readonly rows: number; readonly errors: readonly LineError[]; readonly failed: number } | null;
  rejected: Rejected;
  /** Bits of the stage's shards that it has rows in, or more. */
  touched: number;
  /** Batches that are not settled. */
  outstanding: number;
  /** Which of its series are beyond the limit (series-limit.ts); null: not looked at, as nearly always. */
  barred: BarredSeries | null;
  failure: (WriteOutcome & { ok: false }) | null;
  groups: readonly GroupName[];
  /** For its receipt; null: it asked for none. */
  readonly batches: ReceiptBatch[] | null;
}

/** Those of `all` that have the bit in `touched`. */
export interface Requests {
  readonly all: readonly Waiting[];
  readonly bit: number;
}

export const EVERY_BIT = -1;

export function bitsIn(word: number): number {
  let bits = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) bits++;
  return bits;
}

export function unavailable(error: string): WriteResult {
  return { status: 503, error, retryAfterSeconds: RETRY_AFTER_SECONDS };
}

/** InfluxDB's answer to a request whose every batch is settled. */
export function resultOf(waiting: Waiting): WriteResult {
  if (isPlainlyWritten(waiting)) return WRITTEN;
  const result = answerOf(waiting);
  return waiting.batches === null || waiting.failure !== null ? result : { ...result, batches: waiting.batches };
}

const WRITTEN: WriteResult = { status: 204 };

/** Nearly always. */
function isPlainlyWritten({ read, rejected, failure, batches }: Waiting): boolean {
  return failure === null && batches === null && rejected.dropped === 0 && (read === null || read.errors.length === 0);
}

function answerOf({ read, rejected, failure }: Waiting): WriteResult {
  if (failure !== null) {
    return failure.status === 503 ? unavailable(failure.message) : { status: failure.status, error: failure.message };
  }
  const parseErrors = read === null ? '' : read.errors.map((each) => each.message).join('\n');
  if (read !== null && read.rows === 0)
    return parseErrors === '' ? { status: 204 } : { status: 400, error: parseErrors };
  if (rejected.dropped > 0)
    return { status: 400, error: `partial write: ${rejected.reason} dropped=${rejected.dropped}` };
  if (parseErrors !== '') return { status: 400, error: `partial write: ${parseErrors} dropped=0` };
  return { status: 204 };
}
