/**
 * What is kept of every repair that moved something, failed or found damage, for people: plain JSON-able data, as records.ts.
 *
 *   `pass`         a pass of the ring
 *   `copy`         a replica was replaced by a copy of a full owner's
 *   `mend`         a damaged replica was mended
 *   `read-repair`  a replica was levelled for a query
 *   `outbox`       a member that missed batches got them from another's outbox (outbox-arrivals.ts)
 *   `conflict`     two replicas had one batch with different content
 *   `scrub`, `preview`  asked for by hand
 *
 * A pass is told in parts: each member that pulled something says at once what it found (`running`), and whoever hears of
 * the end gets the whole of it. `joined` puts the parts together.
 */
import type { Contest, ContestedDelete } from '../shards/contests.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { type Explanation, SAMPLES_MAX } from './explanation.ts';
import type {
  DecidedCounts,
  HopRecord,
  PassKind,
  PassRecord,
  RepairDifference,
  RepairStatus,
  SkippedMember,
} from './records.ts';

export const REPAIR_KINDS = ['pass', 'copy', 'mend', 'read-repair', 'outbox', 'conflict', 'scrub', 'preview'] as const;
export type RepairKind = (typeof REPAIR_KINDS)[number];
/** `overtaken`: a pass, by a newer one that has proven more. `unfinished`: its end has not been heard of. */
export const REPAIR_OUTCOMES = ['running', 'done', 'overtaken', 'failed', 'damage', 'cancelled', 'unfinished'] as const;
export type RepairOutcome = (typeof REPAIR_OUTCOMES)[number];

/** What came from one member to another; the counts that do not apply are 0. */
export interface RepairStep extends HopRecord {
  /** Of settled content that was compared and copied. */
  readonly windows?: number;
  readonly groups?: number;
  readonly differed?: DifferedGroups;
}

/** Settled rows of some series of a window, as they were before they were replaced by those of another member. */
export interface DifferingGroup {
  readonly window: number;
  readonly measurement: string;
  /** First digit of the series' hashes. */
  readonly group: number;
  /** null: not readable. */
  readonly rowsHere: number | null;
  readonly rowsThere: number;
}

/** How groups that were replaced differed, counted, and some of each. */
export interface DifferedGroups {
  readonly unreadable: number;
  readonly fewer: number;
  readonly more: number;
  /** As many rows, other values. */
  readonly changed: number;
  readonly samples: readonly DifferingGroup[];
}

/** Some of the contests that a member found among what it got; all of them are counted in the step. */
export interface RepairSample {
  readonly member: NodeNumber;
  readonly from: NodeNumber | null;
  readonly contests: readonly Contest[];
  readonly deletes: readonly ContestedDelete[];
}

export interface RepairRecord {
  readonly id: string;
  readonly kind: RepairKind;
  readonly shard: ShardId;
  readonly outcome: RepairOutcome;
  /** Why it ran, what it came to, or why it failed; null: nothing more to say. */
  readonly reason: string | null;
  readonly startedMs: number;
  readonly finishedMs: number;
  /** Who took part or was left out. */
  readonly members: readonly NodeNumber[];
  readonly steps: readonly RepairStep[];
  readonly samples: readonly RepairSample[];
  /** Of a pass whose end has been heard. */
  readonly pass: {
    readonly kind: PassKind;
    readonly starter: NodeNumber;
    readonly order: readonly NodeNumber[];
    readonly skipped: readonly SkippedMember[];
    readonly cutoff: string;
    readonly cutoffMs: number;
    readonly batches: number | null;
  } | null;
  /** What nobody has any more. */
  readonly lost: { readonly rows: number; readonly batches: number } | null;
  readonly differences: readonly RepairDifference[];
}

/** Of a ring of 500 members. */
const STEPS_MAX = 1_000;

type Given = Pick<RepairRecord, 'id' | 'kind' | 'shard' | 'outcome' | 'reason' | 'startedMs' | 'finishedMs'>;

/** Members are those of the steps, and `others`. */
export function repairRecord(
  given: Given,
  { steps = [], samples = [], ...more }: Partial<RepairRecord> = {},
  others: readonly NodeNumber[] = [],
): RepairRecord {
  const members = new Set([...others, ...steps.flatMap(({ from, to }) => [from, to])]);
  const reason = given.reason === null ? null : given.reason.slice(0, 1_000);
  const rest = { pass: null, lost: null, differences: [], ...more };
  return { ...given, reason, members: [...members], steps, samples, ...rest };
}

export function stepOf(
  from: NodeNumber,
  to: NodeNumber,
  moved: Partial<Omit<RepairStep, 'from' | 'to' | 'decided'>>,
  decided?: DecidedCounts,
): RepairStep {
  const nothing = { epochsDiffering: 0, batches: 0, rows: 0, bytes: 0, ms: 0 };
  return { from, to, ...nothing, ...moved, ...(decided === undefined ? {} : { decided }) };
}

/** undefined: none did. */
export function differedOf(groups: readonly DifferingGroup[]): DifferedGroups | undefined {
  if (groups.length === 0) return undefined;
  const counts = { unreadable: 0, fewer: 0, more: 0, changed: 0 };
  const samples: DifferingGroup[] = [];
  for (const each of groups) {
    const how = howItDiffers(each);
    if (counts[how]++ < SAMPLES_MAX) samples.push(each);
  }
  return { ...counts, samples };
}

function howItDiffers({ rowsHere, rowsThere }: DifferingGroup): 'unreadable' | 'fewer' | 'more' | 'changed' {
  if (rowsHere === null) return 'unreadable';
  if (rowsHere === rowsThere) return 'changed';
  return rowsHere < rowsThere ? 'fewer' : 'more';
}

/** null: nothing to show. */
export function sampleOf(
  member: NodeNumber,
  from: NodeNumber | null,
  { samples, deletes }: Explanation,
): RepairSample | null {
  return samples.length + deletes.length === 0 ? null : { member, from, contests: samples, deletes };
}

export function recordOfPass(record: PassRecord): RepairRecord {
  const { id, shard, kind, starter, order, skipped, cutoff, cutoffMs, reason, startedMs, finishedMs, root } = record;
  const outcome = record.outcome === 'proven' ? 'done' : record.outcome;
  const pass = { kind, starter, order, skipped, cutoff, cutoffMs, batches: root?.batches ?? null };
  const others = [starter, ...order, ...skipped.map(({ member }) => member)];
  const given = { id, kind: 'pass', shard, outcome, reason, startedMs, finishedMs } as const;
  return repairRecord(given, { steps: record.hops.slice(0, STEPS_MAX), pass }, others);
}

/** Of what was asked for by hand and is no pass, and of mends; a pass has a record of its own. */
export function recordOfOrder(
  { id, mode, shard, state, message, startedMs, finishedMs, differences }: RepairStatus,
  mend: { readonly steps: readonly RepairStep[]; readonly rowsLost: number; readonly batchesLost: number } | null,
  self: NodeNumber,
): RepairRecord {
  const outcome = state === 'cancelled' || state === 'failed' ? state : 'done';
  const given = { id, kind: mode === 'ring' ? 'pass' : mode, shard, outcome, reason: message } as const;
  const times = { startedMs, finishedMs: Math.max(startedMs, finishedMs ?? startedMs) };
  const hasLost = mend !== null && mend.rowsLost + mend.batchesLost > 0;
  const lost = hasLost ? { rows: mend.rowsLost, batches: mend.batchesLost } : null;
  const others = [self, ...differences.map(({ member }) => member)];
  return repairRecord({ ...given, ...times }, { steps: [...(mend?.steps ?? [])], lost, differences }, others);
}

/** Parts of one repair, in any order and any number of times. */
export function joined(a: RepairRecord, b: RepairRecord): RepairRecord {
  const isOpen = ({ outcome }: RepairRecord): boolean => outcome === 'running' || outcome === 'unfinished';
  const [base, other] = isOpen(a) && !isOpen(b) ? [b, a] : [a, b];
  const finishedMs = isOpen(base) ? Math.max(a.finishedMs, b.finishedMs) : base.finishedMs;
  return {
    ...base,
    startedMs: Math.min(a.startedMs, b.startedMs),
    finishedMs,
    members: [...new Set([...base.members, ...other.members])],
    steps: united(base.steps, other.steps, ({ from, to, batches, rows, bytes, ms }) => [
      from,
      to,
      batches,
      rows,
      bytes,
      ms,
    ]),
    samples: united(base.samples, other.samples, (sample) => [JSON.stringify(sample)]),
  };
}

function united<T>(some: readonly T[], more: readonly T[], named: (each: T) => readonly (string | number)[]): T[] {
  const known = new Set(some.map((each) => named(each).join(' ')));
  return [...some, ...more.filter((each) => !known.has(named(each).join(' ')))];
}

/** It moved something, or something is lost. */
export function hasChanged({ steps, lost, kind }: RepairRecord): boolean {
  return kind === 'conflict' || lost !== null || steps.some(({ batches, rows, bytes }) => batches + rows + bytes > 0);
}
