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
import type { NodeNumber, Stamp } from '../shards/version.ts';
import type { GoneMember } from './passed-lists.ts';

/** Of one shard; the oldest go first, and then nobody can tell any more what went with those. */
const LOST_FILES_MAX = 64;

/** Whatever the file had was accepted up to `through`. Named by both: a member may lose several. */
export function lostFile(member: NodeNumber, through: Stamp): GoneMember {
  return { number: `${member}@${through}`, removedAt: through, isFile: true };
}

/** Both, each once, by when they were lost. */
export function joinLostFiles(a: readonly GoneMember[], b: readonly GoneMember[]): readonly GoneMember[] {
  const added = b.filter(({ number }) => !a.some((known) => known.number === number));
  if (added.length === 0) return a;
  return [...a, ...added].sort((x, y) => (x.removedAt < y.removedAt ? -1 : 1)).slice(-LOST_FILES_MAX);
}
