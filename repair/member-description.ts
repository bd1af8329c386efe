/** Members as people see them: who is live, who is not, and why. Plain data for the admin API. */
import type { NodeNumber } from '../shards/version.ts';
import type { Member, MemberState } from './cluster.ts';
import type { Liveness } from './liveness.ts';

export interface MemberDescription {
  readonly number: NodeNumber;
  readonly name: string;
  readonly address: string;
  readonly state: MemberState;
  readonly live: boolean;
  readonly skewed: boolean;
  readonly lastHeardMsAgo: number | null;
  /** Ahead of the local clock; null when never heard. */
  readonly clockOffsetMs: number | null;
  readonly why: string;
}

export function describeMembers(
  members: readonly Member[],
  self: NodeNumber,
  liveness: Liveness,
  nowMs: number,
): MemberDescription[] {
  const medianMs = liveness.medianOffsetMs(nowMs);
  return members.map((member) => {
    const own = member.number === self;
    const skewed = own ? liveness.isSelfSkewed(nowMs) : liveness.isSkewed(member.number, nowMs);
    const agoMs = own ? 0 : liveness.lastHeardMsAgo(member.number, nowMs);
    const offsetMs = own ? 0 : liveness.offsetMs(member.number);
    const live = member.state !== 'removed' && (own ? !skewed : liveness.isLive(member.number, nowMs));
    const offMs = own ? liveness.selfOffsetMs(nowMs) : (offsetMs ?? 0) - medianMs;
    return {
      ...member,
      live,
      skewed,
      lastHeardMsAgo: agoMs,
      clockOffsetMs: offsetMs,
      why: reasonOf(member.state, own, skewed, live, agoMs, offMs),
    };
  });
}

function reasonOf(
  state: MemberState,
  own: boolean,
  skewed: boolean,
  live: boolean,
  agoMs: number | null,
  offMs: number,
): string {
  if (state === 'removed') return 'removed from the cluster';
  if (skewed) {
    return `its clock is ${(Math.abs(offMs) / 1_000).toFixed(1)} s ${offMs > 0 ? 'ahead of' : 'behind'} the members' median`;
  }
  if (own) return 'this node';
  if (agoMs === null) return 'not heard since this node started';
  const ago = `${(agoMs / 1_000).toFixed(1)} s`;
  return live ? `heard ${ago} ago` : `not heard for ${ago}`;
}
