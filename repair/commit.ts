/**
 * Group commit: everything that has to get into this worker's log, from clients, mail, outbox and ring alike.
 *
 * One sync is in flight; whatever arrives meanwhile is the next group. A batch of a database with `durability: fsync` is
 * applied to its shard and entered in the ledger only after the sync, so that what is readable, and what is in a root,
 * is durable. Batches of other databases are applied at once (`applied`) and reported as `stored` after the next sync.
 *
 * A version is in the queue once; later arrivals wait for the same result. Keys are judged when a group is formed: all
 * earlier groups have been applied by then, so a series whose key came with an earlier batch is known.
 */
import { attempt, type StorageError } from '../shards/errors.ts';
import { holdFrame, holdFrameOf } from '../shards/held-frame.ts';
import type { GivenKeys } from '../shards/series-keys.ts';
import type { ShardId } from '../shards/shard-key.ts';
import type { LogEntry, LogPosition, Storage } from '../shards/storage.ts';
import type { Version } from '../shards/version.ts';
import { byDurability, CommitEntry, type CommitRequest, type CommitResult, shareOfRepair } from './commit-entry.ts';
import type { Replica, ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

/** Made for one group: their files take milliseconds each, and this thread does nothing else meanwhile. */
const NEW_SHARDS_MAX = 16;

const NOT_MINE: CommitResult = {
  kind: 'refused',
  code: 'not-mine',
  retry: true,
  reason: 'this node neither owns nor holds the shard',
};

export class CommitQueue {
  private readonly queue: CommitEntry[] = [];
  private readonly byVersion = new Map<string, CommitEntry>();
  private bytes = 0;
  private syncing = false;
  private pumping = false;
  /** Applied, and in the log since before no sync that has ended. */
  private unsynced: CommitEntry[] = [];
  /** The part of them that the running sync covers. */
  private beingSynced: CommitEntry[] = [];
  private overloaded: boolean | null = null;
  private lastSyncMs = 0;
  /** Since when the disk owes a sync; infinity: it owes none. */
  private owedSyncMs = Number.POSITIVE_INFINITY;
  private refuses = false;
  private readonly whenSynced: (() => void)[] = [];
  private readonly storage: Storage;
  private readonly sync: Storage['sync'];
  private readonly replicas: ReplicaTable;
  private readonly around: Surroundings;

  /** `sync` is the storage's, with whatever has to surround a callback that comes from outside. */
  constructor(storage: Storage, sync: Storage['sync'], replicas: ReplicaTable, around: Surroundings) {
    this.sync = sync;
    this.storage = storage;
    this.replicas = replicas;
    this.around = around;
  }

  offer(request: CommitRequest): void {
    const name = request.id + request.version;
    const waiting = this.byVersion.get(name);
    if (waiting !== undefined) {
      waiting.waiters.push(request.done);
      return;
    }
    if (this.bytes + request.frame.byteLength > this.around.limits.commitBytesMax || this.isOverloaded()) {
      this.around.count('commit_refused_overloaded');
      this.refuses = true;
      request.done({
        kind: 'refused',
        code: 'overloaded',
        retry: true,
        reason: 'log and memtable are full: try again',
      });
      return;
    }
    const entry = new CommitEntry(name, request);
    this.byVersion.set(name, entry);
    this.queue.push(entry);
    this.bytes += request.frame.byteLength;
  }

  /** Whether a batch is here, or on its way into the log, whose frame is not at hand: answered as `offer` would, or `lacks`. */
  ask(id: ShardId, version: Version, done: (result: CommitResult | { kind: 'lacks' }) => void): void {
    const waiting = this.byVersion.get(id + version);
    if (waiting !== undefined) {
      waiting.waiters.push(done);
      return;
    }
    const replica = this.replicas.get(id);
    if (replica?.ledger.replica === 'filling') done({ kind: 'filling' });
    else if (replica === null) done({ kind: 'lacks' });
    else {
      const known = attempt(() => (replica.ledger.has(version) ? null : { kind: 'lacks' as const }), refusalOf);
      if (known !== null) done(known);
      else
        this.afterSync(() => {
          const holds = this.holds(replica) && replica.ledger.replica !== 'filling';
          done({ kind: holds ? 'stored' : 'filling' });
        });
    }
  }

  /** Versions that are neither in the ledger nor refused yet: from the log they may come back after a crash. */
  pending(id: ShardId): number {
    let count = 0;
    for (const entry of this.byVersion.values()) if (entry.id === id) count++;
    return count;
  }

  /** The store took nothing of what it was given last: no room, a disk that fails, or too much that is not flushed. */
  get isRefusing(): boolean {
    return this.refuses;
  }

  /** For how long syncs that were asked for have not come. */
  get stalledMs(): number {
    return Math.max(0, this.around.nowMs - this.owedSyncMs);
  }

  /** The replica is still the one of its shard. */
  holds({ id, stored }: Replica): boolean {
    return this.replicas.get(id)?.stored === stored;
  }

  /** Runs `then` when everything that is applied now is synced: at once when it is. */
  afterSync(then: () => void): void {
    if (this.unsynced.length === 0 && this.beingSynced.length === 0) then();
    else {
      this.whenSynced.push(then);
      // Within a group being formed its own sync will do; another one beside it would lose the entries of the first.
      if (!this.syncing && !this.pumping) this.startSync([], null);
    }
  }

  tick(): void {
    const due = this.around.nowMs - this.lastSyncMs >= this.around.limits.syncIntervalMs;
    if ((this.unsynced.length > 0 || this.whenSynced.length > 0) && due && !this.syncing) this.startSync([], null);
    this.pump();
  }

  pump(): void {
    this.overloaded = null;
    if (this.pumping) return;
    this.pumping = true;
    // More new shards wait for the next tick, or for the sync.
    while (!this.syncing && this.queue.length > 0) if (this.commitGroup() >= NEW_SHARDS_MAX) break;
    this.pumping = false;
    if (this.whenSynced.length > 0 && !this.syncing) this.startSync([], null);
  }

  /** Asked for each batch, and looked for once until something is appended: it is a sum over all shards. */
  private isOverloaded(): boolean {
    this.overloaded ??= this.storage.pressure().overloaded;
    return this.overloaded;
  }

  /** Returns how many shards were new. */
  private commitGroup(): number {
    const group: CommitEntry[] = [];
    const logged: LogEntry[] = [];
    const keysOfGroup = new Map<ShardId, GivenKeys[]>();
    let bytes = 0;
    let taken = 0;
    let made = 0;
    while (taken < this.queue.length && bytes < this.around.limits.groupBytesMax && made < NEW_SHARDS_MAX) {
      const entry = this.queue[taken++]!;
      const replica = this.replicas.get(entry.id);
      if (replica === null) made++;
      const refusal = this.judge(entry, replica, keysOfGroup);
      if (refusal !== null) this.finish(entry, refusal);
      else {
        group.push(entry);
        logged.push({ shard: entry.id, keys: entry.keys, frame: entry.frame });
        bytes += entry.frame.byteLength;
      }
    }
    this.queue.splice(0, taken);
    if (group.length === 0) return made;
    let position: LogPosition;
    try {
      position = this.storage.append(logged);
    } catch (error) {
      this.refuses = true;
      for (const entry of group) this.finish(entry, refusalOf(error));
      return made;
    }
    this.overloaded = null;
    this.refuses = false;
    this.around.count('log_groups');
    this.around.count('log_batches', group.length);
    const { waiting, unsynced } = byDurability(group);
    this.applyAll(unsynced, position, (entries) => {
      // Before anybody is told: who asks what is unsynced then must find it (rule 13).
      this.unsynced.push(...entries);
      for (const entry of entries) for (const done of entry.waiters) done({ kind: 'applied' });
    });
    if (waiting.length > 0) this.startSync(waiting, position);
    return made;
  }

  /** `known`: the replica, where there is one. null: goes into the log. */
  private judge(
    entry: CommitEntry,
    known: Replica | null,
    keysOfGroup: Map<ShardId, GivenKeys[]>,
  ): CommitResult | null {
    try {
      const replica = known ?? this.make(entry);
      // Let go or over since it was offered: to make it again would bring back what is gone.
      if (replica === null) return NOT_MINE;
      if (replica.ledger.replica === 'filling') return { kind: 'filling' };
      if (replica.ledger.has(entry.version)) {
        if (entry.version.slice(0, 16) <= replica.ledger.floor) this.around.count('frames_at_or_below_floor');
        else this.around.count('frames_known');
        if (!this.isUnsynced(entry)) return { kind: 'stored' };
        entry.stored = replica.stored;
        this.whenSynced.push(() => {
          const result = this.resultOf(entry);
          for (const done of entry.waiters) done(result);
        });
        return { kind: 'applied' };
      }
      const { frame, head, isOwn } = entry;
      const held = head === null ? holdFrame(frame, isOwn) : holdFrameOf(head, frame, isOwn);
      entry.held = held;
      held.isOwn = isOwn;
      if (held.version !== entry.version || held.id !== entry.id) {
        return {
          kind: 'refused',
          code: 'corrupt-batch',
          retry: false,
          reason: `frame of ${held.version} in shard ${held.id} sent as ${entry.version} in ${entry.id}`,
        };
      }
      if (entry.content !== null && held.content !== entry.content) {
        return {
          kind: 'refused',
          code: 'unequal-content',
          retry: false,
          reason: `batch ${entry.version} is not what its ledger says`,
        };
      }
      const earlier = keysOfGroup.get(entry.id) ?? [];
      if (replica.stored.unknownSeries(held, entry.keys, earlier).length > 0) return { kind: 'need-keys' };
      const full = this.storage.admit(entry.id, entry.keys);
      if (full !== null) {
        this.around.count('commit_refused_series_full');
        return refusalOf(full);
      }
      entry.stored = replica.stored;
      if (entry.keys.length > 0) keysOfGroup.set(entry.id, [...earlier, entry.keys]);
      return null;
    } catch (error) {
      return refusalOf(error);
    }
  }

  /** null: whoever pulls has had it, unless it was removed meanwhile. */
  private make({ isRepair, key }: CommitEntry): Replica | null {
    return !isRepair && this.around.owners(key).includes(this.around.self) ? this.replicas.ensure(key) : null;
  }

  private startSync(entries: CommitEntry[], position: LogPosition | null): void {
    this.syncing = true;
    this.beingSynced = this.unsynced;
    this.unsynced = [];
    const waiting = this.whenSynced.splice(0);
    this.owedSyncMs = Math.min(this.owedSyncMs, this.around.nowMs);
    this.sync((error) => {
      this.syncing = false;
      this.lastSyncMs = this.around.nowMs;
      if (error !== null) {
        this.around.count('log_sync_failures');
        this.refuses = true;
        this.unsynced = [...this.beingSynced, ...this.unsynced];
        this.beingSynced = [];
        for (const entry of entries) this.finish(entry, refusalOf(error));
        this.whenSynced.unshift(...waiting);
        if (this.unsynced.length === 0 && this.whenSynced.length === 0) this.owedSyncMs = Number.POSITIVE_INFINITY;
        return;
      }
      this.owedSyncMs = Number.POSITIVE_INFINITY;
      this.around.count('log_syncs');
      const applied = this.beingSynced;
      this.beingSynced = [];
      for (const entry of applied) this.finish(entry, this.resultOf(entry));
      if (position !== null) {
        this.applyAll(entries, position, (stored) => {
          for (const entry of stored) this.finish(entry, { kind: 'stored' });
        });
      }
      for (const then of waiting) then();
      this.pump();
      // Asked for while this sync ran, and not covered by it.
      if (this.whenSynced.length > 0 && !this.syncing) this.startSync([], null);
    });
  }

  /**
   * All entries have the end of their group for their position in the log: a flush between two of one shard would say that
   * the file has both, and the second would not be replayed. So nobody is called before all are applied.
   */
  private applyAll(
    entries: readonly CommitEntry[],
    position: LogPosition,
    then: (applied: readonly CommitEntry[]) => void,
  ): void {
    const applied: CommitEntry[] = [];
    const refused: { readonly entry: CommitEntry; readonly result: CommitResult }[] = [];
    this.around.budget.metered(() => {
      for (const entry of entries) {
        const result = this.apply(entry, position);
        if (result === null) applied.push(entry);
        else refused.push({ entry, result });
      }
    }, shareOfRepair(entries));
    then(applied);
    for (const { entry, result } of refused) this.finish(entry, result);
  }

  /** Why not, when the replica has changed under the batch, or cannot read what it has: then nothing is changed. */
  private apply(entry: CommitEntry, position: LogPosition): CommitResult | null {
    const replica = this.replicas.get(entry.id);
    if (replica === null)
      return { kind: 'refused', code: 'absent', retry: true, reason: 'the shard is gone from this node' };
    if (this.resultOf(entry).kind !== 'stored') return { kind: 'filling' };
    const held = entry.held!;
    const add = attempt(() => replica.ledger.prepare(entry.version), refusalOf);
    if (typeof add !== 'function') return add;
    const lacking = attempt((): CommitResult | null => {
      replica.stored.apply(held, entry.keys, position);
      return null;
    }, needsKeys);
    if (lacking === null) add(held.content, held.rows);
    return lacking;
  }

  /**
   * What its sync means for a batch: nothing when the replica has turned filling since it was judged, or has been
   * replaced by a copy, whose log begins behind the batch (rule 8).
   */
  private resultOf(entry: CommitEntry): CommitResult {
    const replica = this.replicas.get(entry.id);
    const holds = replica !== null && replica.stored === entry.stored && replica.ledger.replica !== 'filling';
    return { kind: holds ? 'stored' : 'filling' };
  }

  private isUnsynced(entry: CommitEntry): boolean {
    const same = (other: CommitEntry) => other.id === entry.id && other.version === entry.version;
    return this.unsynced.some(same) || this.beingSynced.some(same);
  }

  private finish(entry: CommitEntry, result: CommitResult): void {
    if (this.byVersion.delete(entry.name)) this.bytes -= entry.frame.byteLength;
    entry.held?.release();
    for (const done of entry.waiters) done(result);
  }
}

/** A batch of its group was to bring them, and could not be applied; nothing is changed. */
function needsKeys(error: StorageError): CommitResult {
  if (error.code === 'series-full') return refusalOf(error);
  if (error.code !== 'unknown-series') throw error;
  return { kind: 'need-keys' };
}

/** Typed errors of storage and codec carry `code` and `retry`; anything else is our own fault and goes on upwards. */
function refusalOf(error: unknown): CommitResult {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    const retry = 'retry' in error ? error.retry === true : true;
    const final = error.code === 'corrupt-batch';
    return { kind: 'refused', code: error.code, retry: retry || !final, reason: error.message };
  }
  throw error;
}
