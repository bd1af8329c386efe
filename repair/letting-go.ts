/**
 * Letting go (protocol rule 22): a member that holds a shard without owning it removes its replica, once a full pass under
 * its present view has proven that all owners have everything that it holds.
 *
 * The proof is the pass's announcement as this node takes it in: this replica was a participant with the very root that
 * was proven, so what it holds up to the cutoff is synced at every owner that is named, and it holds nothing newer. A pass
 * of another view says nothing about the present owners. Nothing is removed while a token, a commit or a copy still works
 * on the replica: the next pass comes.
 *
 * Durable when it has happened. A crash before that leaves a holder as before, which lets go after the next pass.
 */
import { deleteShardOf, isDeleteShard } from '../shards/delete-shard.ts';
import { StorageError } from '../shards/errors.ts';
import { type ShardId, type ShardKey, shardId } from '../shards/shard-key.ts';
import type { Storage } from '../shards/storage.ts';
import { stampOf } from '../shards/version.ts';
import type { MessageOf } from './replica-messages.ts';
import type { Replica } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

export class LettingGo {
  private readonly o: {
    storage: Storage;
    around: Surroundings;
    /** Something at this node still reads the replica or writes to it; `pass` is over and does not count. */
    isBusy: (id: ShardId, pass: string) => boolean;
  };

  constructor(options: LettingGo['o']) {
    this.o = options;
  }

  /** After a proof with this replica's own root. */
  proven(replica: Replica, m: MessageOf<'proven'>): void {
    const { storage, around, isBusy } = this.o;
    if (!this.mayGo(replica, m) || isBusy(replica.id, m.pass)) return;
    try {
      storage.drop(replica.id);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      around.count('let_go_failed');
      return;
    }
    around.count('shards_let_go');
    around.heldChanged();
  }

  private mayGo({ key, ledger }: Replica, m: MessageOf<'proven'>): boolean {
    const { around } = this.o;
    const owners = around.owners(key);
    if (m.kind !== 'full' || m.view !== around.snapshot?.viewHash) return false;
    if (owners.length === 0 || owners.includes(around.self)) return false;
    if (!owners.every((owner) => m.members.includes(owner))) return false;
    if (isDeleteShard(key) && this.covers(key)) return false;
    return ledger.newest === null || stampOf(ledger.newest) <= m.through;
  }

  /** Shards of the policy that are still here are read with its deletes. */
  private covers(deletes: ShardKey): boolean {
    const id = shardId(deletes);
    const shards = [...this.o.storage.shards.values()];
    return shards.some(({ key }) => !isDeleteShard(key) && shardId(deleteShardOf(key)) === id);
  }
}
