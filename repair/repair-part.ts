/** A part of an order while it is known here: what is told of it, and what drives it (repairs.ts). */
import { type MendProgress, mendEtaMs } from './mend.ts';
import type { RepairStatus } from './records.ts';

export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface RepairPart {
  status: Mutable<RepairStatus>;
  /** The pass that runs for it, and when something was heard of that last. */
  pass: { readonly id: string; heardMs: number } | null;
  /** Passes whose end was not heard. */
  unheard: number;
  mend: MendProgress | null;
  /** Stops a scrub or a preview that runs. */
  stop: (() => void) | null;
  /** When it was begun, or begun anew; null: not since this process began, or since it was resumed. */
  sinceMs: number | null;
  /** How long it had worked by then, and what moved. */
  before: Pick<RepairStatus, 'workedMs' | 'batchesMoved' | 'rowsMoved' | 'bytesMoved'>;
  /** To be begun as soon as it can be: it ran when the process before this one ended, was resumed, or its pass is lost. */
  isDue: boolean;
  /** Since when that has been tried. */
  dueMs: number | null;
}

export function newPart(status: RepairPart['status'], sinceMs: number | null): RepairPart {
  const none = { pass: null, unheard: 0, mend: null, stop: null, isDue: false, dueMs: null };
  return { status, ...none, sinceMs, before: { ...status } };
}

/** What it has come to stays when it is begun anew. */
export function setAside(part: RepairPart, nowMs: number): void {
  if (part.status.state === 'running') part.before = { ...part.status, workedMs: workedMs(part, nowMs) };
}

export function shown(part: RepairPart, nowMs: number): RepairStatus {
  const { status, mend } = part;
  if (mend !== null && status.finishedMs === null) showMend(status, mend, nowMs);
  return { ...status, workedMs: workedMs(part, nowMs) };
}

export function workedMs({ status, before, sinceMs }: RepairPart, nowMs: number): number {
  if (status.finishedMs !== null) return status.workedMs;
  return before.workedMs + (status.state === 'running' && sinceMs !== null ? nowMs - sinceMs : 0);
}

/** As fast as so far; null: there is nothing to go by. */
export function etaByCount(elapsedMs: number, done: number, total: number): number | null {
  return done === 0 ? null : Math.round((elapsedMs * (total - done)) / done);
}

export function showMend(status: RepairPart['status'], progress: MendProgress, nowMs: number): void {
  const { stage, rows, batches, bytes, bytesRead, bytesTotal } = progress;
  status.rowsMoved = rows;
  status.batchesMoved = batches;
  status.bytesMoved = bytes;
  status.percentage = bytesTotal === 0 ? 0 : Math.min(99, Math.floor((100 * bytesRead) / bytesTotal));
  status.message = stage;
  status.etaMs = mendEtaMs(progress, nowMs);
}
