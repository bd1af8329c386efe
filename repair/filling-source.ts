/**
 * The source side of filling: snapshots of full replicas, given page by page to members that replace theirs.
 *
 * A page may be asked for any number of times until the next one has been: then the one before it has come. So when a
 * copy has been given to its end, only that end can be asked for again. Its snapshot is closed at once, and only where
 * it ended is remembered: a snapshot takes one of few places and holds compaction up, and the next shard of a lost disk
 * waits for that place.
 */
import { attempt, isDamage, StorageError } from '../shards/errors.ts';
import { pageHash } from '../shards/fill-page.ts';
import { type ShardId, shardId, shardKeyFromJson } from '../shards/shard-key.ts';
import type { FillSource } from '../shards/storage.ts';
import type { NodeNumber } from '../shards/version.ts';
import { isOver } from './mail-receiver.ts';
import type { FloorClaim, MessageOf, PullStatus } from './replica-messages.ts';
import { markDamaged, meetFloor, type Replica, type ReplicaTable } from './replica-table.ts';
import type { Surroundings } from './surroundings.ts';

interface Given {
  readonly id: ShardId;
  readonly to: NodeNumber;
  readonly source: FillSource;
  /** Index behind the last page, once it has been asked for: the source is closed. */
  end: number | null;
  usedMs: number;
}

export class FillingSource {
  private readonly given = new Map<number, Given>();
  private readonly replicas: ReplicaTable;
  private readonly around: Surroundings;

  constructor(replicas: ReplicaTable, around: Surroundings) {
    this.replicas = replicas;
    this.around = around;
  }

  tick(): void {
    const { nowMs, limits } = this.around;
    for (const [number, given] of this.given)
      if (nowMs - given.usedMs >= limits.snapshotIdleMs) this.drop(number, given);
  }

  /** Somebody is being given a copy of the shard. */
  isGiving(id: ShardId): boolean {
    for (const given of this.given.values()) if (given.id === id && given.end === null) return true;
    return false;
  }

  open(from: NodeNumber, m: MessageOf<'fill-open'>): void {
    const { replicas, around } = this;
    const key = shardKeyFromJson(m.key);
    const id = shardId(key);
    const replica = replicas.get(id);
    for (const [number, given] of this.given) if (given.to === from && given.id === id) this.drop(number, given);
    let status = this.fitness(replica, m);
    if (status === 'ok' && this.running() >= around.limits.snapshotsMax) status = 'busy';
    if (status !== 'ok') {
      this.answer(from, m.request, id, key.number, status, 0, 0, null);
      return;
    }
    let source: FillSource;
    try {
      source = replica!.stored.snapshot(around.limits.fillPageBytes);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.answer(from, m.request, id, key.number, isDamage(error) ? 'damaged' : 'busy', 0, 0, null);
      return;
    }
    const number = 1 + Math.floor(around.random() * 2 ** 48);
    const given = { id, to: from, source, end: null, usedMs: around.nowMs };
    this.given.set(number, given);
    this.give(given, m.request, key.number, number, 0);
  }

  private fitness(replica: Replica | null, claim: FloorClaim): PullStatus {
    const { around } = this;
    if (replica === null || isOver(around.snapshot, replica.key, around.wallMs)) return 'absent';
    const { ledger } = replica;
    if (ledger.replica !== 'full') return ledger.replica;
    // A copy of something with a lower floor would take back what has been proven, unless it has all of that (rule 19).
    if (ledger.floor >= claim.floor) return 'ok';
    return attempt(
      () => (meetFloor(ledger, claim, true) === 'level' ? 'ok' : 'floor'),
      () => 'busy',
    );
  }

  page(from: NodeNumber, m: MessageOf<'fill-page'>): void {
    const key = shardKeyFromJson(m.key);
    const given = this.given.get(m.snapshot);
    if (given === undefined || given.to !== from || (given.end !== null && given.end !== m.index))
      this.answer(from, m.request, shardId(key), key.number, 'gone', m.snapshot, m.index, null);
    else if (given.end === null && this.replicas.get(given.id)?.ledger.replica !== 'full') {
      // Found damaged since it was opened: nobody is filled with that.
      this.drop(m.snapshot, given);
      this.answer(from, m.request, given.id, key.number, 'gone', m.snapshot, m.index, null);
    } else this.give(given, m.request, key.number, m.snapshot, m.index, m.kept);
  }

  private give(given: Given, request: number, lane: number, snapshot: number, index: number, kept?: string): void {
    const { around } = this;
    const { id, to, source } = given;
    let page: Uint8Array | null = null;
    try {
      if (given.end === null) page = source.page(index);
    } catch (error) {
      // A damaged block is not copied, and a shard that was dropped or replaced is gone: the other side asks elsewhere.
      if (!(error instanceof StorageError)) throw error;
      const replica = this.replicas.get(id);
      if (isDamage(error) && replica !== null) markDamaged(replica, error.message, around);
      this.drop(snapshot, given);
      this.answer(to, request, id, lane, isDamage(error) ? 'damaged' : 'gone', snapshot, index, null);
      return;
    }
    given.usedMs = around.nowMs;
    if (page === null && given.end === null) {
      given.end = index;
      source.close();
    }
    const same = page !== null && kept !== undefined && pageHash(page) === kept;
    this.answer(to, request, id, lane, 'ok', snapshot, index, page, source.bytesTotal, same);
  }

  private answer(
    to: NodeNumber,
    request: number,
    shard: ShardId,
    lane: number,
    status: PullStatus,
    snapshot: number,
    index: number,
    page: Uint8Array | null,
    bytesTotal = 0,
    same = false,
  ): void {
    const last = page === null;
    const answer = { t: 'fill-answer' as const, request, shard, status, snapshot, index, bytesTotal, last };
    this.around.send(to, lane, same ? { ...answer, same } : answer, page === null || same ? [] : [page]);
  }

  private running(): number {
    let count = 0;
    for (const { end } of this.given.values()) if (end === null) count++;
    return count;
  }

  private drop(number: number, given: Given): void {
    if (given.end === null) given.source.close();
    this.given.delete(number);
  }
}
