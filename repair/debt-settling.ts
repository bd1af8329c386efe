/**
 * What this node owes of shards whose passes it takes no part in (rule 10). Who takes part hears of every proof; to tell
 * everybody else would cost a message for each shard and member. So whoever owes something asks a full holder now and
 * then up to where the shard is proven. Nothing waits for it: a debt holds no cutoff, and what is lost is asked again.
 */
import type { ShardId } from '../shards/shard-key.ts';
import { shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { NodeNumber } from '../shards/version.ts';
import { heldIn, liveFullHolders } from './held-shards.ts';
import type { Outbox } from './outbox.ts';
import type { MessageOf } from './replica-messages.ts';
import type { ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

const ASKED_PER_TICK = 64;

export class DebtSettling {
  private toAsk: ShardId[] = [];
  private askedMs = Number.NEGATIVE_INFINITY;
  private readonly o: { outbox: Outbox; replicas: ReplicaTable; around: Surroundings };

  constructor(options: DebtSettling['o']) {
    this.o = options;
  }

  tick(): void {
    const { outbox, around } = this.o;
    if (this.toAsk.length === 0) {
      if (outbox.debts.size === 0 || around.nowMs - this.askedMs < around.limits.passIntervalMs) return;
      this.askedMs = around.nowMs;
      this.toAsk = [...outbox.debts.keys()];
    }
    for (const id of this.toAsk.splice(0, ASKED_PER_TICK)) this.ask(id);
  }

  /** An owner of the shard, or who holds it. */
  asked(from: NodeNumber, { key }: MessageOf<'converged-ask'>): void {
    const id = shardId(shardKeyFromJson(key));
    const through = this.o.replicas.get(id)?.ledger.converged?.through;
    if (through !== undefined) this.o.around.send(from, key[6], { t: 'converged', key, through });
  }

  private ask(id: ShardId): void {
    const { outbox, replicas, around } = this.o;
    if (!outbox.debts.has(id) || replicas.get(id)?.ledger.replica === 'full') return;
    const holders = liveFullHolders(around, id);
    const holder = holders[Math.floor(around.random() * holders.length)];
    const held = holder === undefined ? undefined : heldIn(around.snapshot?.heldBy[holder], id);
    if (held !== undefined) around.send(holder!, held.key[6], { t: 'converged-ask', key: held.key });
  }
}
