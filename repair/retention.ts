/**
 * Retention: what is over leaves this worker, each member by itself: replicas, and what the outbox keeps or owes of them.
 *
 * A shard that has expired by the clock here is at once neither written to, compared nor copied (`isOver`); its bytes go
 * later. Two clocks that are within the allowed drift of the members' median differ by twice that drift at most. So when
 * a shard has been found expired for longer than that, it has expired for every member that is not skewed: nobody mails
 * it, names it in a token or asks for a copy any more, and a replica that was removed is not made anew, nor filled again by
 * one whose clock is behind. A clock that jumps far ahead makes its node skewed as soon as it has heard the others, long
 * before that; a skewed node removes nothing, or one wrong clock would cost a replica of everything. Nor does a member of a
 * cluster of several that hears none of the others: nobody judges its clock. It waits until it hears one, or the others
 * have been removed.
 *
 * What was dropped is told by metadata, which only rise, and goes with the next look.
 *
 * Nothing of it is durable but what has been removed: after a restart the time counts anew. When the disk refuses, the
 * next look tries again.
 */
import { StorageError } from '../shards/errors.ts';
import type { ShardId, ShardKey } from '../shards/shard-key.ts';
import type { Storage } from '../shards/storage.ts';
import { whyOver } from './mail-receiver.ts';
import type { Outbox } from './outbox.ts';
import type { Surroundings } from './surroundings.ts';

/** Of the outbox: each is a record that is written. */
const ENTRIES_PER_LOOK = 2_000;
const LAST_STAMP = 'f'.repeat(16);
/** When more are left. */
const AGAIN_MS = 100;

export class Retention {
  /** Wall clock at which a shard was first found expired, in one go until now. */
  private readonly expiredMs = new Map<ShardId, number>();
  private lookedMs = 0;
  private readonly o: {
    readonly storage: Storage;
    readonly outbox: Outbox;
    readonly around: Surroundings;
    /** What works on the replica gives up. */
    readonly removed: (id: ShardId) => void;
  };

  constructor(options: Retention['o']) {
    this.o = options;
  }

  tick(): void {
    const { around } = this.o;
    if (around.nowMs - this.lookedMs < around.limits.retentionEveryMs || around.snapshot === null) return;
    this.lookedMs = around.nowMs;
    const known = this.known();
    for (const id of this.expiredMs.keys()) if (!known.has(id)) this.expiredMs.delete(id);
    const over = new Set([...known].filter(([id, key]) => this.mayGo(id, key)).map(([id]) => id));
    if (over.size === 0) return;
    if (!this.forget(over, ENTRIES_PER_LOOK)) this.lookedMs += AGAIN_MS - around.limits.retentionEveryMs;
    for (const id of over) this.remove(id);
  }

  private mayGo(id: ShardId, key: ShardKey): boolean {
    const { around } = this.o;
    const why = whyOver(around.snapshot, key, around.wallMs);
    if (why === 'dropped') return true;
    if (why === null || !this.isClockJudged()) {
      this.expiredMs.delete(id);
      return false;
    }
    const sinceMs = this.expiredMs.get(id);
    if (sinceMs === undefined) this.expiredMs.set(id, around.wallMs);
    return sinceMs !== undefined && around.wallMs - sinceMs > 2 * around.limits.clockDriftMsMax;
  }

  /** By another member's clock, where there is one. */
  private isClockJudged(): boolean {
    const { self, snapshot, isLive } = this.o.around;
    if (!isLive(self)) return false;
    const others = snapshot!.members.filter(({ number, state }) => {
      return number !== self && (state === 'up' || state === 'leaving');
    });
    return others.length === 0 || others.some(({ number }) => isLive(number));
  }

  /** Nothing of them is to be sent, or owed, any more. False: `entriesMax` were removed, and more may be left. */
  private forget(over: ReadonlySet<ShardId>, entriesMax: number): boolean {
    const { outbox } = this.o;
    let left = entriesMax;
    // What is removed from a map that is walked through is not met again.
    for (const { id, name } of outbox.entries.values()) {
      if (!over.has(id)) continue;
      if (left-- === 0) return false;
      outbox.remove(name);
    }
    for (const id of over) outbox.settle(id, LAST_STAMP);
    return true;
  }

  private remove(id: ShardId): void {
    const { storage, around, removed } = this.o;
    if (!storage.shards.has(id)) return;
    try {
      storage.drop(id);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      around.count('shards_over_kept');
      return;
    }
    removed(id);
    around.count('shards_over_removed');
    around.heldChanged();
  }

  /** Of which this worker has anything. */
  private known(): Map<ShardId, ShardKey> {
    const { storage, outbox } = this.o;
    const known = new Map<ShardId, ShardKey>();
    for (const [id, { key }] of storage.shards) known.set(id, key);
    for (const { id, key } of outbox.entries.values()) known.set(id, key);
    for (const { id, key } of outbox.debts.values()) if (key !== null) known.set(id, key);
    return known;
  }
}
