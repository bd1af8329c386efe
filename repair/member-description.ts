/** Members as people see them: who is live, who is not, and why. Plain data for the admin API. */
import type { NodeNumber } from '../shards/version.ts';
import type { Member, MemberState, Removal } from './cluster.ts';
import type { HandoverProgress } from './departures.ts';
import type { Liveness } from './liveness.ts';

export interface MemberDescription {
  readonly number: NodeNumber;
  readonly name: string;
  readonly address: string;
  readonly state: MemberState;
  readonly live: boolean;
  readonly skewed: boolean;
  readonly lastHeardMsAgo: number | null;
  /** Not live here, but heard by another member within its liveness window: the name of that one. */
  readonly heardBy: string | null;
  /** Ahead of the local clock; null when never heard. */
  readonly clockOffsetMs: number | null;
  readonly why: string;
  /** Of a leaving member, once it has said so: what it still has. */
  readonly handover: HandoverProgress | null;
}

const REMOVED: Record<Removal | 'unknown', string> = {
  left: 'left the cluster after it had handed everything over',
  replaced: 'its name was taken by a new node',
  forced: 'given up by an operator, and with it what only it held',
  unknown: 'removed from the cluster',
};

const NOBODY_STAYS =
  'told to leave, as all others were: it goes on as before until a new node has joined, and leaves then';

export function describeMembers(
  members: readonly Member[],
  self: NodeNumber,
  liveness: Liveness,
  handovers: ReadonlyMap<NodeNumber, HandoverProgress>,
  nowMs: number,
): MemberDescription[] {
  const nobodyStays = !members.some(({ state }) => state === 'up');
  const medianMs = liveness.medianOffsetMs(nowMs);
  return members.map((member) => {
    const own = member.number === self;
    const skewed = own ? liveness.isSelfSkewed(nowMs) : liveness.isSkewed(member.number, nowMs);
    const live = member.state !== 'removed' && (own ? !skewed : liveness.isLive(member.number, nowMs));
    const agoMs = own ? 0 : liveness.heardHereMsAgo(member.number, nowMs);
    const hearsay = own || live ? null : liveness.hearsayOf(member.number);
    const isHeard = hearsay !== null && nowMs - hearsay.atMs <= liveness.windowMs;
    const heardBy = isHeard ? (members.find(({ number }) => number === hearsay.by)?.name ?? hearsay.by) : null;
    const offsetMs = own ? 0 : liveness.offsetMs(member.number);
    const offMs = own ? liveness.selfOffsetMs(nowMs) : (offsetMs ?? 0) - medianMs;
    const isRightAgain = own && liveness.agreesWithMedian(nowMs);
    const skew = !skewed ? null : isRightAgain ? liveness.handedOut(nowMs) : skewText(offMs);
    const isLeaving = member.state === 'leaving';
    const handover = isLeaving && !nobodyStays ? (handovers.get(member.number) ?? null) : null;
    const standing = reasonOf(member, own, skew, live, agoMs, handover) + (isHeard ? `, but ${heardBy} hears it` : '');
    return {
      ...member,
      live,
      skewed,
      lastHeardMsAgo: agoMs,
      heardBy,
      clockOffsetMs: offsetMs,
      why: isLeaving && nobodyStays ? `${standing}; ${NOBODY_STAYS}` : standing,
      handover,
    };
  });
}

function reasonOf(
  { state, removal }: Member,
  own: boolean,
  skew: string | null,
  live: boolean,
  agoMs: number | null,
  handover: HandoverProgress | null,
): string {
  if (state === 'removed') return REMOVED[removal ?? 'unknown'];
  if (skew !== null) return skew;
  if (handover !== null && live) return handoverText(handover);
  if (own) return 'this node';
  if (agoMs === null) return 'not heard since this node started';
  const ago = `${(agoMs / 1_000).toFixed(1)} s`;
  return live ? `heard ${ago} ago` : `not heard for ${ago}`;
}

function skewText(offMs: number): string {
  return `its clock is ${(Math.abs(offMs) / 1_000).toFixed(1)} s ${offMs > 0 ? 'ahead of' : 'behind'} the members' median`;
}

function handoverText({ shards, shardsAtFirst, writes, outboxEntries, etaMs }: HandoverProgress): string {
  const parts = [`${shards} of ${shardsAtFirst} shards`];
  if (writes + outboxEntries > 0) parts.push(`${writes + outboxEntries} writes`);
  const eta = shards === 0 || etaMs === null ? '' : `, about ${Math.ceil(etaMs / 1_000)} s`;
  return `handing over: ${parts.join(' and ')} left${eta}`;
}
