/**
 * For how long this node has heard nothing of a member. By a clock that nobody sets, and while this node runs: by the wall clock all
 * members are silent for as long as it leaps, until they are heard again.
 */
import type { NodeNumber } from '../shards/version.ts';
import type { MemberStatus } from './http/admin.ts';

const LOOK_MS = 1_000;
/** Whoever is left out for its clock is heard all the same. */
const HEARD_MS = 10_000;

type Seen = Pick<MemberStatus, 'number' | 'live' | 'lastHeardMsAgo' | 'heardBy'>;

export class Silence {
  readonly #since = new Map<NodeNumber, number>();

  look(members: readonly Seen[], nowMs: number): void {
    for (const { number, live, lastHeardMsAgo, heardBy } of members) {
      if (live || heardBy !== null || (lastHeardMsAgo ?? HEARD_MS) < HEARD_MS) this.#since.delete(number);
      else if (!this.#since.has(number)) this.#since.set(number, nowMs);
    }
  }

  /** 0: it was heard when somebody looked last, or nobody has looked since this node began. */
  ofMs(member: NodeNumber, nowMs: number): number {
    return nowMs - (this.#since.get(member) ?? nowMs);
  }
}

/** Looks until it is stopped. */
export function followMembers<Member extends Seen>(
  members: () => Member[],
  stops: (() => void)[],
): { members: () => Member[]; silentMs: (member: NodeNumber) => number } {
  const silence = new Silence();
  const timer = setInterval(() => silence.look(members(), performance.now()), LOOK_MS);
  stops.push(() => clearInterval(timer));
  return { members, silentMs: (member) => silence.ofMs(member, performance.now()) };
}
