/**
 * A member whose file of a shard was lost has acknowledged batches that it no longer has. Others count on that: their
 * outboxes do not send it these batches again, and a proof may pass over a batch that only such an outbox still has.
 *
 * So the replica that is made anew is damaged until every member has said that it counts on nothing of before (mend.ts
 * asks, this answers), and says from then on since when (`HeldShard.since`): statements of before, which may name it among
 * those that have a batch, do not count for it. A member that cannot be reached holds this up: it may hold such a batch.
 * What was lost is durable in the shard's ledger or, until that is, by the file that was set aside. Records of the log that cannot be
 * read any more are lost in the same way; whose they were is told, or guessed broadly, by shards/engine-recovery.ts at each start, since
 * the log keeps the damage until all of those have it in their ledgers (shards/log-reader.ts).
 */
import { attempt } from '../shards/errors.ts';
import { type ShardKey, shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber, Stamp } from '../shards/version.ts';
import { joinLostFiles, lostFileOf } from './lost-files.ts';
import type { Mail } from './mail.ts';
import { isOver } from './mail-receiver.ts';
import type { OutboxSender } from './outbox-sender.ts';
import type { MessageOf } from './replica-messages.ts';
import { type ReplicaTable, tryFlush } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

export class Disowning {
  private readonly o: { replicas: ReplicaTable; mail: Mail; sender: OutboxSender; around: Surroundings };
  /** Notes that the disk refused. */
  private readonly unsaved = new Set<string>();

  constructor(options: Disowning['o']) {
    this.o = options;
  }

  /** No answer while the disk refuses: it is asked again. */
  asked(from: NodeNumber, { request, key, through }: MessageOf<'disown'>): void {
    const { mail, sender, around } = this.o;
    const shardKey = shardKeyFromJson(key);
    const shard = shardId(shardKey);
    mail.disown(shard, from, 'its file was lost');
    if (!this.note(shardKey, from, through)) return;
    sender.disown(shard, from, () => around.send(from, shardKey.number, { t: 'disowned', request, shard }));
  }

  /** Whether it is durable, where there is something to note it in. */
  private note(key: ShardKey, from: NodeNumber, through: Stamp): boolean {
    const { replicas } = this.o;
    const make = () => replicas.ensure(key);
    const made = this.isNewOwner(key) ? attempt(make, () => null) : undefined;
    if (made === null) return false;
    const shard = shardId(key);
    const replica = replicas.get(shard);
    if (replica === null) return true;
    const { ledger, stored } = replica;
    const lost = lostFileOf(from, through, ledger.floor, this.o.around);
    const name = shard + lost.number;
    const joined = joinLostFiles(ledger.lostFiles, [lost]);
    if (joined !== ledger.lostFiles) this.unsaved.add(name);
    ledger.lostFiles = joined;
    if (this.unsaved.has(name) && tryFlush(stored)) this.unsaved.delete(name);
    return !this.unsaved.has(name);
  }

  /** It has nothing of the shard yet: it will take over from the one that has lost its file, and must not know less. */
  private isNewOwner(key: ShardKey): boolean {
    const { replicas, around } = this.o;
    const { self, snapshot, wallMs } = around;
    if (replicas.get(shardId(key)) !== null || snapshot === null || isOver(snapshot, key, wallMs)) return false;
    return around.owners(key).includes(self);
  }
}
