/**
 * An order to repair some shards: each is a part that runs at one member, in the worker of its shard (repairs.ts). Every
 * worker that has parts of an order keeps the order with them, so that any member can ask the others how it stands.
 *
 * What parts come to is summed up (`RepairTally`): sums of sums are the order's, and of parts that were forgotten the sums
 * are what is left. Of an order that is over its sums are told to all that have the order: what a member had of it that
 * goes later is not missed.
 */
import type { ShardId } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import type { RepairMode, RepairState, RepairStatus } from './records.ts';

export interface RepairOrder {
  readonly id: string;
  readonly mode: RepairMode;
  /** For people. */
  readonly scope: string;
  readonly startedMs: number;
  /** How many of its shards run at which member. */
  readonly members: readonly { readonly member: NodeNumber; readonly shards: number }[];
  /** Known shards that nobody could start. */
  readonly unreachable: readonly ShardId[];
  /** Names of members that hold some of the shards, should have a part of it (scrub), and were not up. */
  readonly without: readonly string[];
  /** Of an order that was told again, because not all members took what they should, the greater one counts. */
  readonly revision: number;
  /** What it came to, once it was found to be over. */
  readonly ended?: RepairTally;
}

export interface RepairTally {
  readonly shards: number;
  readonly states: Readonly<Record<RepairState, number>>;
  readonly hop: number;
  readonly hops: number;
  /** Sum of percentages. */
  readonly percentages: number;
  readonly batchesMoved: number;
  readonly rowsMoved: number;
  readonly bytesMoved: number;
  /** Of the part that has worked for longest. */
  readonly workedMs: number;
  /** The longest that a part has still to go by its own measure; null: none has measured yet. */
  readonly etaMs: number | null;
  /** Of the part that ended last; 0: none has. */
  readonly finishedMs: number;
  readonly failure: string | null;
  /** Shards with replicas that differ, and with replicas that were not compared. */
  readonly differing: number;
  readonly notCompared: number;
}

export interface OrderStatus {
  readonly order: RepairOrder;
  readonly tally: RepairTally;
  /** Somebody has paused it, and not resumed it: parts of members that are away may be, too. */
  readonly isPaused?: boolean;
  /** When somebody has last steered it here, by the wall clock: who was away then still says what held before. */
  readonly steeredMs?: number;
}

export const NO_STATES: RepairTally['states'] = { queued: 0, running: 0, paused: 0, done: 0, failed: 0, cancelled: 0 };
export const EMPTY_TALLY: RepairTally = {
  shards: 0,
  states: NO_STATES,
  hop: 0,
  hops: 0,
  percentages: 0,
  batchesMoved: 0,
  rowsMoved: 0,
  bytesMoved: 0,
  workedMs: 0,
  etaMs: null,
  finishedMs: 0,
  failure: null,
  differing: 0,
  notCompared: 0,
};

/**
 * Which of two tellings of an order counts. Two nodes on both sides of a cut may each have found an end of their own: that with less that
 * failed counts (it has heard of more), and of two alike one that everybody takes.
 */
export function outranks(a: RepairOrder, b: RepairOrder): boolean {
  if (a.revision !== b.revision) return a.revision > b.revision;
  const failed = ({ ended }: RepairOrder) => ended?.states.failed ?? Number.POSITIVE_INFINITY;
  if (failed(a) !== failed(b)) return failed(a) < failed(b);
  return JSON.stringify(a.ended) < JSON.stringify(b.ended);
}

/** A part is named after its order and its shard. */
export function partId(order: string, shard: ShardId): string {
  return `${order}.${shard}`;
}

export function orderOf({ id }: Pick<RepairStatus, 'id'>): string {
  const at = id.indexOf('.');
  return at < 0 ? id : id.slice(0, at);
}

export function orderOfMend({ id, shard, startedMs }: RepairStatus, member: NodeNumber): RepairOrder {
  const where = { members: [{ member, shards: 1 }], unreachable: [], without: [], revision: 0 };
  return { id, mode: 'mend', scope: `shard ${shard}`, startedMs, ...where };
}

export function isOver(state: RepairState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

export function tallyOf(part: RepairStatus): RepairTally {
  const { state, hop, hops, percentage, batchesMoved, rowsMoved, bytesMoved, workedMs, etaMs, differences } = part;
  const has = (result: string) => Number(differences.some((each) => each.result === result));
  return {
    shards: 1,
    states: { ...NO_STATES, [state]: 1 },
    hop,
    hops,
    percentages: isOver(state) ? 100 : percentage,
    batchesMoved,
    rowsMoved,
    bytesMoved,
    workedMs,
    etaMs: state === 'running' ? etaMs : null,
    finishedMs: part.finishedMs ?? 0,
    failure: state === 'failed' ? part.message : null,
    differing: has('differs'),
    notCompared: has('not-compared'),
  };
}

export function addTally(a: RepairTally, b: RepairTally): RepairTally {
  const states = { ...a.states };
  for (const state of Object.keys(states) as RepairState[]) states[state] += b.states[state];
  return {
    shards: a.shards + b.shards,
    states,
    hop: a.hop + b.hop,
    hops: a.hops + b.hops,
    percentages: a.percentages + b.percentages,
    batchesMoved: a.batchesMoved + b.batchesMoved,
    rowsMoved: a.rowsMoved + b.rowsMoved,
    bytesMoved: a.bytesMoved + b.bytesMoved,
    workedMs: Math.max(a.workedMs, b.workedMs),
    etaMs: a.etaMs === null || b.etaMs === null ? (a.etaMs ?? b.etaMs) : Math.max(a.etaMs, b.etaMs),
    finishedMs: Math.max(a.finishedMs, b.finishedMs),
    failure: a.failure ?? b.failure,
    differing: a.differing + b.differing,
    notCompared: a.notCompared + b.notCompared,
  };
}

/**
 * Workers go on side by side: the slowest decides. Each takes as long for the rest as it did for what it has done, and at
 * least as long as its slowest part says by its own measure. One that has done nothing yet is as fast as all together.
 * null: nothing has been done yet, or nothing runs.
 */
export function etaOf(tallies: readonly RepairTally[]): number | null {
  const all = tallies.reduce(addTally, EMPTY_TALLY);
  if (all.states.running === 0) return null;
  let eta: number | null = null;
  for (const tally of tallies) {
    if (tally.states.running === 0) continue;
    const byShare = etaByShare(tally.percentages > 0 ? tally : { ...all, workedMs: tally.workedMs });
    const longer = byShare === null || tally.etaMs === null ? (byShare ?? tally.etaMs) : Math.max(byShare, tally.etaMs);
    if (longer !== null) eta = Math.max(eta ?? 0, longer);
  }
  return eta;
}

function etaByShare({ percentages, shards, workedMs }: RepairTally): number | null {
  const left = 100 * shards - percentages;
  return percentages === 0 ? null : Math.round((workedMs * left) / percentages);
}
