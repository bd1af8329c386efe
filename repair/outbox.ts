/**
 * The outbox: batches that some owner has not acknowledged yet, on disk (hinted handoff).
 *
 * Truth: segment files `<n>.log` (decimal, growing) in the worker's outbox directory; records: outbox-record.ts.
 * Records 2 to 5 are hints that are not synced: losing one means that something is sent once more.
 * A crash may leave a torn record at the end of the newest segment: it is cut off on opening (it was never reported as
 * durable). A damaged record in the middle is counted and passed over: the next whole one behind it is looked for. After
 * a sync that failed, what it should have covered is written again into a new segment: a later sync that succeeds says
 * nothing of pages that the kernel has given up.
 *
 * An entry is routed by its shard, not by a node (rule 8): it ends when every current owner has acknowledged it.
 * Bounded by `outboxBytesMax`. When full, the oldest entries that a full owner has acknowledged become debts: only
 * *that* something is owed is kept, and the ring carries the batch. An entry that nobody acknowledged is never given up;
 * when there is no room for a new one, `put` says so and the write is refused.
 */
import { StorageError } from '../shards/errors.ts';
import { type Files, joinPath } from '../shards/files.ts';
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
import type { OutboxEntry, Segment, StoredEntry as Stored } from './outbox-entry.ts';
import {
  ACKS,
  DEBT,
  DEBT_END,
  DONE,
  ENTRY,
  formRecord,
  parseRecord,
  RECORD_HEAD,
  readRecords,
} from './outbox-record.ts';

export type { OutboxEntry } from './outbox-entry.ts';

const NEW = { durable: false, isOfBefore: false, segment: 0, offset: 0, length: 0 };

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
  private readonly segments = new Map<number, Segment>();
  private current: Segment | null = null;
  private waiting: { entry: Stored; done: () => void }[] = [];
  private syncing = false;
  /** The segment whose sync failed: what waits is not on disk, whatever its next sync says. */
  private suspect: Segment | null = null;
  private liveBytes = 0;
  private restating = false;
  private readonly files: Files;
  private readonly directory: string;
  private readonly bytesMax: number;
  private readonly segmentBytes: number;

  constructor(files: Files, directory: string, bytesMax: number, segmentBytes: number) {
    this.files = files;
    this.directory = directory;
    this.bytesMax = bytesMax;
    this.segmentBytes = segmentBytes;
    files.makeDirectory(directory);
    const numbers = files.list(directory).filter((name) => /^[0-9]+\.log$/.test(name));
    for (const number of numbers.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b))
      this.openSegment(number);
  }

  get bytes(): number {
    return this.liveBytes;
  }

  /**
   * Takes a batch in. `done` runs when it is durable. False: there is no room (or no disk), and nothing was kept.
   */
  put(
    key: ShardKey,
    version: Version,
    frame: Uint8Array,
    keys: Uint8Array,
    acks: Iterable<NodeNumber>,
    owners: (key: ShardKey) => readonly NodeNumber[],
    done: () => void,
  ): boolean {
    const id = shardId(key);
    const name = id + version;
    const known = this.stored.get(name);
    if (known !== undefined) {
      for (const member of acks) known.acks.add(member);
      this.place(known);
      if (known.durable) done();
      else this.waiting.push({ entry: known, done });
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
    this.waiting.push({ entry, done });
    this.sync();
    return true;
  }

  /** Frame and encoded keys of an entry; null when its record no longer reads as written. */
  read(entry: OutboxEntry): { frame: Uint8Array; keys: Uint8Array } | null {
    const { segment, offset, length } = entry as Stored;
    const payload = this.segments.get(segment)?.file.read(offset, length);
    const record = payload === undefined || payload.byteLength !== length ? null : parseRecord(payload);
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
   * `done` runs when that is durable. False: no disk, and nothing has changed.
   */
  disown(name: string, member: NodeNumber, frame: Uint8Array, keys: Uint8Array, done: () => void): boolean {
    const entry = this.stored.get(name)!;
    const acks = [...entry.acks];
    entry.acks.delete(member);
    if (this.move(entry, frame, keys, done)) {
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
    this.release(entry);
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
    for (const segment of this.segments.values()) segment.file.close();
  }

  /**
   * Moves what the oldest segment still holds to the end when the files hold much more than what waits: segments go
   * oldest first, so one waiting batch would pin all that follow. True when something was moved.
   */
  step(): boolean {
    const [oldest] = [...this.segments.values()].sort((a, b) => a.number - b.number);
    if (oldest === undefined || oldest === this.current || oldest.live === 0) return false;
    let fileBytes = 0;
    for (const segment of this.segments.values()) fileBytes += segment.file.size;
    if (fileBytes <= 4 * this.liveBytes + 2 * this.segmentBytes) return false;
    let moved = false;
    for (const entry of [...this.stored.values()]) {
      if (entry.segment !== oldest.number) continue;
      const parts = this.read(entry);
      if (parts === null) {
        this.damaged++;
        this.forget(entry);
        this.release(entry);
      } else this.move(entry, parts.frame, parts.keys);
      moved = true;
    }
    return moved;
  }

  private endDebt(debt: OutboxDebt): void {
    this.debts.delete(debt.id);
    this.hint(DEBT_END, { s: debt.id, v: debt.version });
  }

  private makeRoom(bytes: number, owners: (key: ShardKey) => readonly NodeNumber[]): boolean {
    if (this.liveBytes + bytes <= this.bytesMax) return true;
    for (const entry of this.stored.values()) {
      if (entry.acks.size === 0) continue;
      const to = owners(entry.key).filter((owner) => !entry.acks.has(owner));
      this.owe(entry.key, entry.version, to);
      this.remove(entry.name);
      if (this.liveBytes + bytes <= this.bytesMax) return true;
    }
    return false;
  }

  private write(entry: Stored, frame: Uint8Array, keys: Uint8Array): boolean {
    const header = { k: shardKeyToJson(entry.key), v: entry.version, f: frame.byteLength, r: true };
    const parts = formRecord(ENTRY, header, [frame, keys]);
    const place = this.append(parts);
    if (place === null) return false;
    const segment = this.current!;
    entry.segment = segment.number;
    entry.offset = place + RECORD_HEAD;
    entry.length = parts.reduce((sum, part) => sum + part.byteLength, 0) - RECORD_HEAD;
    segment.live++;
    segment.liveBytes += entry.length;
    return true;
  }

  private move(entry: Stored, frame: Uint8Array, keys: Uint8Array, done: () => void = () => {}): boolean {
    const old = { ...entry };
    if (!this.write(entry, frame, keys)) return false;
    this.hint(ACKS, { s: entry.id, v: entry.version, m: [...entry.acks] });
    // The old record goes only when the new one is durable.
    this.waiting.push({
      entry,
      done: () => {
        this.release(old);
        done();
      },
    });
    this.sync();
    return true;
  }

  private hint(kind: number, header: object): void {
    this.append(formRecord(kind, header, []));
  }

  /** Offset of the record, or null when the disk took nothing. */
  private append(parts: readonly Uint8Array[]): number | null {
    try {
      if (this.current === null || this.current.file.size >= this.segmentBytes) this.startSegment();
    } catch {
      return null;
    }
    const { file } = this.current!;
    const offset = file.size;
    try {
      file.append(parts);
      return offset;
    } catch {
      file.truncate(offset);
      return null;
    }
  }

  private startSegment(syncOld = true): void {
    if (syncOld && this.suspect !== null) throw new StorageError('disk-failed', 'the last sync of the outbox failed');
    if (syncOld) this.current?.file.syncNow();
    const number = Math.max(0, ...this.segments.keys()) + 1;
    const file = this.files.open(joinPath(this.directory, `${number}.log`));
    this.files.syncDirectory(this.directory);
    this.current = { number, file, live: 0, liveBytes: 0 };
    this.segments.set(number, this.current);
    this.dropEmpty();
  }

  private sync(): void {
    if (this.syncing || this.suspect !== null || this.waiting.length === 0 || this.current === null) return;
    this.syncing = true;
    const waiting = this.waiting;
    this.waiting = [];
    this.current.file.sync((error) => {
      this.syncing = false;
      if (error !== null) {
        this.waiting.unshift(...waiting);
        this.suspect = this.current;
        return;
      }
      for (const { entry, done } of waiting) {
        entry.durable = true;
        done();
      }
      this.sync();
    });
  }

  /** To be called now and then: what a failed sync should have covered is written again. */
  retrySync(): void {
    if (this.syncing || (this.suspect !== null && !this.writeAgain())) return;
    this.sync();
  }

  private writeAgain(): boolean {
    try {
      if (this.current === this.suspect) this.startSegment(false);
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
    // One may wait twice; one that was removed meanwhile needs no second copy.
    for (const entry of new Set(this.waiting.map((each) => each.entry))) {
      if (this.stored.get(entry.name) !== entry || entry.segment === this.current!.number) continue;
      const parts = this.read(entry);
      const old = { ...entry };
      if (parts === null || !this.write(entry, parts.frame, parts.keys)) return false;
      this.hint(ACKS, { s: entry.id, v: entry.version, m: [...entry.acks] });
      this.release(old);
    }
    this.suspect = null;
    return true;
  }

  private release(entry: { segment: number; length: number }): void {
    const segment = this.segments.get(entry.segment);
    if (segment === undefined) return;
    segment.live--;
    segment.liveBytes -= entry.length;
    this.dropEmpty();
  }

  /**
   * Old segments without live entries go, oldest first only: a `done` or `acknowledgement` may lie in any segment that
   * is newer than its entry, so the order keeps a removed entry from coming back.
   */
  private dropEmpty(): void {
    if (this.restating) return;
    const all = [...this.segments.values()].sort((a, b) => a.number - b.number);
    const kept = all.findIndex((segment) => segment === this.current || segment.live > 0);
    const empty = kept < 0 ? all : all.slice(0, kept);
    for (const { number } of empty) this.segments.delete(number);
    if (empty.length > 0 && this.current !== null) {
      // More than a segment takes begins another one: what was just written into the first stays.
      this.restating = true;
      for (const debt of this.debts.values()) this.hint(DEBT, headerOf(debt));
      this.restating = false;
    }
    for (const { file } of empty) {
      file.close();
      this.files.remove(file.path);
    }
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
    this.open.remove(entry.name);
    this.liveBytes -= entry.bytes;
    tally(this.tallies, entry.id, -1, -entry.bytes);
  }

  /** To be called when its acknowledgements have changed. */
  private place(entry: Stored): void {
    if (entry.acks.size === 0) this.unplaced.add(entry);
    else this.unplaced.delete(entry);
    this.open.place(entry);
  }

  private openSegment(number: number): void {
    const file = this.files.open(joinPath(this.directory, `${number}.log`));
    const segment: Segment = { number, file, live: 0, liveBytes: 0 };
    this.segments.set(number, segment);
    this.current = segment;
    const bytes = file.size > 0 ? file.read(0, file.size) : new Uint8Array(0);
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { end, damaged } = readRecords(view, (offset, payload) => this.replay(segment, offset, payload));
    this.damaged += damaged;
    // Nothing whole behind it: a torn end, behind which nothing may be appended.
    if (end < view.length) file.truncate(end);
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
        const old = this.segments.get(before.segment)!;
        old.live--;
        old.liveBytes -= before.length;
      }
      const acks = header.r === true ? new Set<NodeNumber>() : (before?.acks ?? new Set<NodeNumber>());
      const bytes = record.rest.byteLength;
      const place = { segment: segment.number, offset, length: payload.length };
      this.keep({ name, id, key, version: header.v, bytes, acks, durable: true, isOfBefore: true, ...place });
      segment.live++;
      segment.liveBytes += payload.length;
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
      const from = this.segments.get(entry.segment)!;
      from.live--;
      from.liveBytes -= entry.length;
    }
  }
}
