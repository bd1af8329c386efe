/**
 * Files of a shard that members have lost, as its replicas note them: what only such a file had is lost, and a receipt has to say
 * so. A floor that passes the loss is the last that tells: a list of what it passes is kept for each lost file, as for a member that
 * was given up (passed-lists.ts), and in the same words, since for this shard the member went and came back empty.
 *
 * A member that has lost one tells every replica (disowning.ts) before it takes part in a full proof again, and so before any floor
 * moves; an answer means that the note is durable there. So a shard is made anew wherever a file was lost (shards/engine.ts, or
 * `ReplicaTable.makeLost`), owner or not, and an owner that has nothing of it yet makes one to note it in. Copies carry notes along. A replica that goes on when nobody is full
 * (nobody-full.ts) notes the same for itself: all others copy it.
 */
import { makeStamp, type NodeNumber, type Stamp, stampMs } from '../shards/version.ts';
import type { GoneMember } from './passed-lists.ts';
import type { Surroundings } from './surroundings.ts';

/** Of one shard; the oldest go first, and then nobody can tell any more what went with those. */
const LOST_FILES_MAX = 64;

/** Whatever the file had was accepted up to `removedAt`. Named by the member and what it said of that: it may lose several. */
export function lostFile(member: NodeNumber, through: Stamp, removedAt = through): GoneMember {
  return { number: `${member}@${through}`, removedAt, isFile: true };
}

/**
 * Above all that was acknowledged by now, also where the wall clock here is behind: what others have closed is what they may have
 * minted.
 */
export function aboveAll({ snapshot, wallMs, limits }: Surroundings): Stamp {
  const closedMs = snapshot?.statements.map(({ closed }) => stampMs(closed)) ?? [];
  return makeStamp(Math.max(wallMs, ...closedMs) + 2 * limits.clockDriftMsMax, 0);
}

/**
 * As it is noted here: nobody has lost yet what is accepted later, whatever the clock of that member says, or each floor would
 * add to the list; and what the floor here has passed was proven with it.
 */
export function lostFileOf(member: NodeNumber, through: Stamp, floor: Stamp, around: Surroundings): GoneMember {
  const most = aboveAll(around);
  const removedAt = through < most ? through : most;
  return lostFile(member, through, removedAt > floor ? removedAt : floor);
}

/** Both, each once, by when they were lost. */
export function joinLostFiles(a: readonly GoneMember[], b: readonly GoneMember[]): readonly GoneMember[] {
  const added = b.filter(({ number }) => !a.some((known) => known.number === number));
  if (added.length === 0) return a;
  return [...a, ...added].sort((x, y) => (x.removedAt < y.removedAt ? -1 : 1)).slice(-LOST_FILES_MAX);
}
