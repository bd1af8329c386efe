/**
 * The outbox: batches that some owner has not acknowledged yet, on disk (hinted handoff).
 *
 * Truth: segment files `<n>.log` (decimal, growing) in the worker's outbox directory; records: outbox-record.ts.
 * Records 2 to 5 are hints that are not synced: losing one means that something is sent once more.
 * A crash may leave a torn record at the end of the newest segment: it is cut off on opening (it was never reported as
 * durable). A damaged record in the middle is counted and passed over: the next whole one behind it is looked for. What the
 * disk refuses otherwise: outbox-segments.ts.
 *
 * An entry is routed by its shard, not by a node (rule 8): it ends when every current owner has acknowledged it.
 * Bounded by `outboxBytesMax`. When full, entries that a full owner has acknowledged become debts, in the order in which they were first
 * acknowledged (one that was disowned and acknowledged anew is a late one): only
 * *that* something is owed is kept, and the ring carries the batch. An entry that nobody acknowledged is never given up;
 * when there is no room for a new one, `put` says so and the write is refused.
 */
import { StorageError } from '../shards/errors.ts';
import type { Files } from '../shards/files.ts';
import {
  type ShardId,
  type ShardKey,
  type ShardKeyJson,
  shardId,
  shardKeyFromJson,
  shardKeyToJson,
} from '../shards/shard-key.ts';
import type { NodeNumber, Stamp, Version } from '../shards/version.ts';
import { OpenVersions } from './open-versions.ts';
import { headerOf, noteDebt, type OutboxDebt, type OutboxTally, replayDebt, tally } from './outbox-debts.ts';
import type { OutboxEntry, Place, Segment, StoredEntry as Stored } from './outbox-entry.ts';
import {
  ACKS,
  DEBT,
  DEBT_END,
  DONE,
  ENTRY,
  formRecord,
  parseRecord,
  payloadOf,
  RECORD_HEAD,
  readRecords,
} from './outbox-record.ts';
import { OutboxSegments } from './outbox-segments.ts';

export type { OutboxEntry } from './outbox-entry.ts';

const NEW = { durable: false, isOfBefore: false, segment: 0, offset: 0, length: 0, older: [], isLost: false };

export class Outbox {
  readonly entries = new Map<string, OutboxEntry>();
  readonly debts = new Map<ShardId, OutboxDebt>();
  /** Of each shard with entries. */
  readonly tallies = new Map<ShardId, OutboxTally>();
  /** Entries that no full owner is known to have: for some clients they are acknowledged all the same. */
  readonly unplaced = new Set<OutboxEntry>();
  /** Of all entries. */
  readonly open = new OpenVersions();
  /** Damaged records met on opening. */
  damaged = 0;
  private readonly stored = this.entries as Map<string, Stored>;
  /** All entries that are not `unplaced`: they may become debts. */
  private readonly placed = new Set<Stored>();
  private readonly segments: OutboxSegments;
  private liveBytes = 0;
  /** Of what is owed, for segments that go: being written, or not yet synced. */
  private restating = false;
  private readonly bytesMax: number;
  private readonly segmentBytes: number;

  constructor(files: Files, directory: string, bytesMax: number, segmentBytes: number) {
    this.bytesMax = bytesMax;
    this.segmentBytes = segmentBytes;
    this.segments = new OutboxSegments(files, directory, segmentBytes);
    this.segments.mayGo = () => this.restateDebts();
    const unreadable = this.segments.openAll((segment, bytes) => {
      const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const read = readRecords(view, (offset, payload) => this.replay(segment, offset, payload));
      // Of one that could not be read, what is missing is counted there.
      if (!segment.isUnreadable) this.damaged += read.damaged;
      return read;
    });
    this.damaged += unreadable;
  }

  get bytes(): number {
    return this.liveBytes;
  }

  /**
   * Takes a batch in. `done` runs when it is durable, or `lost` when the disk gave it up before. False: there is no room
   * (or no disk), and nothing was kept.
   */
  put(
    key: ShardKey,
    version: Version,
    frame: Uint8Array,
    keys: Uint8Array,
    acks: Iterable<NodeNumber>,
    owners: (key: ShardKey) => readonly NodeNumber[],
    done: () => void,
    lost: () => void = () => {},
  ): boolean {
    const id = shardId(key);
    const name = id + version;
    const known = this.stored.get(name);
    if (known !== undefined) {
      for (const member of acks) known.acks.add(member);
      this.place(known);
      if (known.durable) done();
      else this.whenDurable(known, done, lost);
      return true;
    }
    const bytes = frame.byteLength + keys.byteLength;
    if (!this.makeRoom(bytes, owners)) return false;
    const entry: Stored = {
      name,
      id,
      key,
      version,
      bytes,
      acks: new Set(acks),
      ...NEW,
    };
    if (!this.write(entry, frame, keys)) return false;
    this.keep(entry);
    if (entry.acks.size > 0) this.hint(ACKS, { s: id, v: version, m: [...entry.acks] });
    this.whenDurable(entry, done, lost);
    return true;
  }

  /** Frame and encoded keys of an entry; null when none of its records reads as written. Throws StorageError. */
  read(entry: OutboxEntry): { frame: Uint8Array; keys: Uint8Array } | null {
    const stored = entry as Stored;
    let failure: StorageError | null = null;
    for (const place of [stored, ...stored.older.toReversed()]) {
      try {
        const parts = this.readAt(place);
        if (parts !== null) return parts;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        failure ??= error;
      }
    }
    if (failure !== null) throw failure;
    return null;
  }

  private readAt({ segment, offset, length }: Place): { frame: Uint8Array; keys: Uint8Array } | null {
    const bytes = this.segments.read(segment, offset - RECORD_HEAD, length + RECORD_HEAD);
    const payload = bytes === null ? null : payloadOf(bytes);
    const record = payload === null ? null : parseRecord(payload);
    if (record === null || record.kind !== ENTRY) return null;
    const header = record.header as { f: number };
    return { frame: record.rest.subarray(0, header.f), keys: record.rest.subarray(header.f) };
  }

  acknowledge(name: string, member: NodeNumber): void {
    const entry = this.stored.get(name);
    if (entry === undefined || entry.acks.has(member)) return;
    entry.acks.add(member);
    this.place(entry);
    this.hint(ACKS, { s: entry.id, v: entry.version, m: [member] });
  }

  /**
   * `member` no longer has what it acknowledged (rule 31): the entry is written anew without it, from the bytes given.
   * `done` runs when that is durable, or `lost` when the disk gave it up before. False: no disk, and nothing has changed.
   */
  disown(
    name: string,
    member: NodeNumber,
    frame: Uint8Array,
    keys: Uint8Array,
    done: () => void,
    lost: () => void = () => {},
  ): boolean {
    const entry = this.stored.get(name)!;
    const acks = [...entry.acks];
    entry.acks.delete(member);
    if (this.move(entry, frame, keys, done, lost)) {
      this.place(entry);
      entry.durable = false;
      return true;
    }
    for (const each of acks) entry.acks.add(each);
    return false;
  }

  remove(name: string): void {
    const entry = this.stored.get(name);
    if (entry === undefined) return;
    this.forget(entry);
    this.hint(DONE, { s: entry.id, v: entry.version });
    this.segments.release(entry);
  }

  /** Records that `to` are owed a batch that a full owner has acknowledged (rule 10). */
  owe(key: ShardKey, version: Version, to: readonly NodeNumber[]): void {
    const id = shardId(key);
    this.hint(DEBT, { s: id, k: shardKeyToJson(key), v: version, m: to });
    noteDebt(this.debts, id, key, version, to, 1);
  }

  /** A proof covers what is owed of this shard up to `through`. */
  settle(id: ShardId, through: Stamp): void {
    const debt = this.debts.get(id);
    if (debt !== undefined && debt.version.slice(0, 16) <= through) this.endDebt(debt);
  }

  /** Destinations that have left the ring are owed nothing. */
  settleLeft(stays: (member: NodeNumber) => boolean): void {
    for (const debt of this.debts.values()) if (!debt.to.some(stays)) this.endDebt(debt);
  }

  close(): void {
    this.segments.close();
  }

  /**
   * Moves what the oldest segment still holds to the end when the files hold much more than what waits: segments go
   * oldest first, so one waiting batch would pin all that follow. True when something was moved.
   */
  step(owners: (key: ShardKey) => readonly NodeNumber[]): boolean {
    const { oldest } = this.segments;
    if (oldest === null || this.segments.fileBytes <= 4 * this.liveBytes + 2 * this.segmentBytes) return false;
    let moved = false;
    for (const entry of [...this.stored.values()]) {
      if (entry.segment !== oldest.number) continue;
      try {
        const parts = this.read(entry);
        if (parts === null) this.dropDamaged(entry);
        else this.move(entry, parts.frame, parts.keys);
        moved = true;
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        // It holds up no other one any more; what nobody else has stays, and may be read later.
        this.segments.unreadable(oldest);
        if (entry.acks.size > 0) this.toDebt(entry, owners);
      }
    }
    return moved;
  }

  /** Of which `read` gives nothing. */
  dropDamaged(entry: OutboxEntry): void {
    const stored = entry as Stored;
    stored.isLost = true;
    this.damaged++;
    this.forget(stored);
    this.segments.release(stored);
  }

  /** What a full owner has comes to the others by the ring. */
  toDebt({ name, key, version, acks }: OutboxEntry, owners: (key: ShardKey) => readonly NodeNumber[]): void {
    const to = owners(key).filter((owner) => !acks.has(owner));
    this.owe(key, version, to);
    this.remove(name);
  }

  private endDebt(debt: OutboxDebt): void {
    this.debts.delete(debt.id);
    this.hint(DEBT_END, { s: debt.id, v: debt.version });
  }

  private makeRoom(bytes: number, owners: (key: ShardKey) => readonly NodeNumber[]): boolean {
    if (this.liveBytes + bytes <= this.bytesMax) return true;
    for (const entry of this.placed) {
      this.toDebt(entry, owners);
      if (this.liveBytes + bytes <= this.bytesMax) return true;
    }
    return false;
  }

  private write(entry: Stored, frame: Uint8Array, keys: Uint8Array): boolean {
    const header = { k: shardKeyToJson(entry.key), v: entry.version, f: frame.byteLength, r: true };
    const parts = formRecord(ENTRY, header, [frame, keys]);
    const place = this.segments.append(parts);
    if (place === null) return false;
    entry.segment = place.segment.number;
    entry.offset = place.offset + RECORD_HEAD;
    entry.length = parts.reduce((sum, part) => sum + part.byteLength, 0) - RECORD_HEAD;
    this.segments.keep(entry);
    return true;
  }

  private move(
    entry: Stored,
    frame: Uint8Array,
    keys: Uint8Array,
    done: () => void = () => {},
    lost: () => void = () => {},
  ): boolean {
    const { segment, offset, length } = entry;
    const old = { segment, offset, length };
    if (!this.write(entry, frame, keys)) return false;
    entry.older = [...entry.older, old];
    this.hint(ACKS, { s: entry.id, v: entry.version, m: [...entry.acks] });
    // The old record goes only when the new one is durable, or there is none.
    const over = (then: () => void) => () => {
      entry.older = entry.older.filter((place) => place !== old);
      this.segments.release(old);
      then();
    };
    this.whenDurable(entry, over(done), over(lost));
    return true;
  }

  private hint(kind: number, header: object): Segment | null {
    return this.segments.append(formRecord(kind, header, []))?.segment ?? null;
  }

  private whenDurable(entry: Stored, done: () => void, lost: () => void): void {
    this.segments.whenSynced({
      writeAgain: () => this.writeAgain(entry),
      done: () => {
        if (entry.isLost) return lost();
        entry.durable = true;
        done();
      },
    });
  }

  get waitsForSync(): boolean {
    return this.segments.isWaiting;
  }

  /** To be called now and then: what the disk has refused before. */
  retrySync(): void {
    this.segments.retry();
  }

  /** One may wait twice, and be durable for the first; one that was removed or lost meanwhile needs no second copy. */
  private writeAgain(entry: Stored): boolean {
    if (this.stored.get(entry.name) !== entry || !this.segments.isSuspect(entry.segment)) return true;
    if (entry.durable && entry.older.length === 0) return true;
    const old = { ...entry };
    let parts: ReturnType<Outbox['read']>;
    try {
      parts = this.read(entry);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return false;
    }
    if (parts === null) {
      this.dropDamaged(entry);
      return true;
    }
    if (!this.write(entry, parts.frame, parts.keys)) return false;
    this.hint(ACKS, { s: entry.id, v: entry.version, m: [...entry.acks] });
    this.segments.release(old);
    return true;
  }

  /** Segments that go may hold what is owed: they stay until it is written anew and synced. True when they may go. */
  private restateDebts(): boolean {
    if (this.debts.size === 0) return true;
    if (this.restating) return false;
    // More than a segment takes begins another one.
    this.restating = true;
    const through = this.segments.empty.at(-1)!.number;
    /** The segment in which it begins; null: it is not written as a whole. */
    let from: number | null = null;
    const write = (): boolean => {
      if (from !== null && !this.segments.isSuspect(from)) return true;
      from = null;
      let first: number | null = null;
      for (const debt of this.debts.values()) {
        const segment = this.hint(DEBT, headerOf(debt));
        if (segment === null) return false;
        first ??= segment.number;
      }
      from = first;
      return true;
    };
    if (!write()) {
      this.restating = false;
      return false;
    }
    this.segments.whenSynced({
      writeAgain: write,
      done: () => {
        this.restating = false;
        this.segments.drop(through);
      },
    });
    return false;
  }

  private keep(entry: Stored): void {
    this.stored.set(entry.name, entry);
    this.place(entry);
    this.liveBytes += entry.bytes;
    tally(this.tallies, entry.id, 1, entry.bytes);
  }

  private forget(entry: Stored): void {
    this.stored.delete(entry.name);
    this.unplaced.delete(entry);
    this.placed.delete(entry);
    this.open.remove(entry.name);
    this.liveBytes -= entry.bytes;
    tally(this.tallies, entry.id, -1, -entry.bytes);
  }

  /** To be called when its acknowledgements have changed. */
  private place(entry: Stored): void {
    const [into, from] = entry.acks.size === 0 ? [this.unplaced, this.placed] : [this.placed, this.unplaced];
    into.add(entry);
    from.delete(entry);
    this.open.place(entry);
  }

  private replay(segment: Segment, offset: number, payload: Buffer): void {
    const record = parseRecord(payload);
    if (record === null) {
      this.damaged++;
      return;
    }
    if (record.kind === ENTRY) {
      const header = record.header as { k: ShardKeyJson; v: Version; r?: boolean };
      const key = shardKeyFromJson(header.k);
      const id = shardId(key);
      const name = id + header.v;
      const before = this.stored.get(name);
      if (before !== undefined) {
        this.forget(before);
        this.segments.release(before);
      }
      const acks = header.r === true ? new Set<NodeNumber>() : (before?.acks ?? new Set<NodeNumber>());
      const bytes = record.rest.byteLength;
      const place = { segment: segment.number, offset, length: payload.length };
      this.keep({ name, id, key, version: header.v, bytes, acks, ...NEW, durable: true, isOfBefore: true, ...place });
      this.segments.keep(place);
      return;
    }
    const { s, v, m } = record.header as { s: ShardId; v: Version; m?: NodeNumber[] };
    const entry = this.stored.get(s + v);
    if (record.kind === ACKS) {
      for (const member of m ?? []) entry?.acks.add(member);
      if (entry !== undefined) this.place(entry);
    } else if (record.kind === DEBT) replayDebt(this.debts, record.header as { s: ShardId; v: Version });
    else if (record.kind === DEBT_END) this.debts.delete(s);
    else if (record.kind === DONE && entry !== undefined) {
      this.forget(entry);
      this.segments.release(entry);
    }
  }
}
