/**
 * Whether this node's own disk lets it take part in passes. One that cannot sync, or cannot read what others would pull
 * from it, is left out and named; the others go on without it in live passes, and with it as soon as the disk does again.
 * What a disk refuses to store shows when something is to be stored (ring-pull.ts): equal replicas need no room.
 * What cannot be read is batches that others have asked for, or identity lists (ledger-pages.ts), which any step of a pass may need.
 *
 * Who cannot store or sync still has what only it has. Nobody pulls it from there in passes of others, since it is left out
 * of them; so it starts passes of its own, as if it had heard of no other: its successor pulls from it, and it is left out
 * when its token comes back.
 */
import { attempt, type StorageError } from '../shards/errors.ts';
import type { CommitQueue } from './commit.ts';
import { isOver } from './mail-receiver.ts';
import { markDamaged, type Replica, rebuildReadable } from './replica-table.ts';
import { nameOf, type Surroundings } from './surroundings.ts';

/** What an operator has ordered is no fault: passes go on without this node, as live ones. */
export const PAUSED = 'repair is paused there';

/** null: it is not waited for longer than a hop may take. */
export function syncProblem(commit: CommitQueue, { limits }: Surroundings): string | null {
  const { stalledMs } = commit;
  return stalledMs > limits.hopTimeoutMs ? `its disk has not synced for ${Math.floor(stalledMs / 1000)} s` : null;
}

/** Of a source whose next page is none: it would be asked for ever. */
export const NO_PROGRESS = 'the list of the source does not go on';

/** Of what repair reads. */
export function cannotRead(error: StorageError): string {
  return `it cannot read what it has: ${error.code}`;
}

/** null: what is pulled from it can be read, as far as is known. What could not be read is tried again. */
function readProblem(replica: Replica, around: Surroundings): string | null {
  const { notes, ledger, stored } = replica;
  return attempt(() => {
    ledger.readAgain();
    if (notes.unreadable === null) return null;
    const asked = new Set([...notes.unreadable].filter((version) => ledger.lists(version)));
    const { unreadable } = rebuildReadable(stored, asked);
    notes.unreadable = null;
    if (unreadable !== null) markDamaged(replica, unreadable, around);
    return null;
  }, cannotRead);
}

/** null: it can take part in a pass of the replica that others have begun. */
export function diskProblem(replica: Replica, commit: CommitQueue, around: Surroundings): string | null {
  return readProblem(replica, around) ?? syncProblem(commit, around);
}

/** Why no pass of the replica can begin here now, whoever else takes part; null: one can. Others start it then. */
export function startProblem(replica: Replica, around: Surroundings): string | null {
  const { budget, snapshot, wallMs } = around;
  if (budget.rates.paused) return PAUSED;
  const problem = readProblem(replica, around);
  if (problem !== null) {
    noteHeldBackHere(replica, problem, around);
    return problem;
  }
  const { replica: state } = replica.ledger;
  if (state !== 'full') return `the replica here is ${state}`;
  return isOver(snapshot, replica.key, wallMs) ? 'the shard is expired or dropped' : null;
}

/** For people. Another state than full says itself why. */
export function noteHeldBackHere({ ledger, notes }: Replica, reason: string, { snapshot, self }: Surroundings): void {
  if (ledger.replica === 'full') notes.heldBackBy = `${nameOf(snapshot, self)}: ${reason}`;
}
