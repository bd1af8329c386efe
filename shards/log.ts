/**
 * The log of one worker: what was accepted and is not yet in the shards' files.
 *
 * Truth: `log/<n>.log`, segments in ascending numbers, records as in log-record.ts. Only the worker that owns the
 * directory writes. A group is one vectored write; one fdatasync makes all groups before it durable. A segment is
 * removed when each shard that has records in it, or may have lost some, has flushed past the last one (`release`); numbers are
 * never used again.
 *
 * What can go wrong, and how it is mended:
 * - Crash: an unfinished tail of the newest segment. `replay` cuts it off and counts it; a tail that ends with a
 *   record of full length but wrong CRC is taken for damage.
 *   An older segment may end so as well, when the crash came before it was synced: no record of a later one says that
 *   it was, and its tail is cut off, too.
 * - Damage in the middle, or at the end of an older segment that was synced: the bytes are copied to `<n>-<offset>.damaged` (never
 *   removed, never served), later records are read, whoever may have lost a record hears of it, and the ring brings the batches
 *   that are missing.
 * - Full disk or I/O error in a write: the part that was written is cut off again. If even that fails the segment is
 *   left, and the next group begins a new one; each sync tries to cut it off. Until then no record says that the earlier segments
 *   were synced, and a start takes the torn end for what a crash left.
 * - Failed fdatasync: the kernel may have thrown the dirty pages away and a second fdatasync would report success
 *   (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). So nothing since the last successful sync
 *   is trusted: it is cut off, refused to its callers (also to those whose group was appended while the sync ran: their
 *   own `sync` fails), and a new segment begins. Until the cut is durable, too, which is tried after each sync that succeeds,
 *   a power failure may bring back what was cut off, and no record says that the earlier segments were synced. Worst outcome
 *   still possible: it comes back whole, and a refused batch is found at the next start; it is then as if its
 *   acknowledgement had been lost.
 */
import { diskError, StorageError } from './errors.ts';
import type { AppendFile, Files } from './files.ts';
import { LogReader, type Lost, type Visit } from './log-reader.ts';
import {
  chunksOf,
  type LogRecord,
  RECORD_HEADER_BYTES,
  type RecordToAppend,
  SEGMENT_HEADER_BYTES,
  segmentHeader,
} from './log-record.ts';
import {
  type FlushedThrough,
  isPinned,
  type Replayed,
  type Segment,
  segmentPath,
  shardsPinning,
  unreadablePath,
} from './log-segment.ts';
import type { ShardId } from './shard-key.ts';
import type { LogPosition } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';

/** A segment with less in it is not worth the two syncs of a new one. */
const LEAVE_BYTES_MIN = 64 << 10;
const SEGMENT_NAME = /^(\d{10})\.log$/;

type Done = (error: Error | null) => void;

export class Log {
  readonly #files: Files;
  readonly #directory: string;
  readonly #limits: StorageLimits;
  /** Ascending; the last one is open for appending when `#file` is not null. */
  readonly #segments: Segment[] = [];
  readonly #reader: LogReader;
  #file: AppendFile | null = null;
  /** Segments that were left before they were synced. */
  #unsynced: AppendFile[] = [];
  /** Those of them that end with a part of a group, and where that is to be cut off. */
  readonly #torn = new Map<AppendFile, number>();
  /** By path, those that were given up after a failed sync, and where they end: until that is durable. */
  readonly #givenUp = new Map<string, number>();
  /** The cut of one of them is being synced. */
  #cutting: string | null = null;
  #nextNumber: number;
  /** Everything up to here is durable. */
  #synced: LogPosition;
  #end: LogPosition;
  /** Counts appends, so that a failed sync knows whether groups came after it began. */
  #appends = 0;
  /** A sync runs on the open files: none of them may be closed. */
  #syncing = false;
  /** A failed sync has cut off groups whose callers have not yet asked for their own sync. */
  #cut: Error | null = null;

  /** `numberMin`: segments are numbered from here on at least (positions that shards have noted are never met again). */
  constructor(files: Files, directory: string, limits: StorageLimits, numberMin: number) {
    this.#files = files;
    this.#directory = directory;
    this.#limits = limits;
    this.#reader = new LogReader(files, directory, this.#segments);
    files.makeDirectory(directory);
    let last = numberMin - 1;
    for (const name of files.list(directory)) {
      const match = SEGMENT_NAME.exec(name);
      if (match === null) continue;
      const number = Number(match[1]);
      this.#segments.push({ number, bytes: files.size(this.#path(number)), lastOf: new Map(), unsynced: [] });
      last = Math.max(last, number);
    }
    this.#nextNumber = Math.max(1, last + 1);
    this.#end = { segment: this.#nextNumber - 1, offset: Number.MAX_SAFE_INTEGER };
    this.#synced = this.#end;
  }

  get bytes(): number {
    let total = 0;
    for (const segment of this.#segments) total += segment.bytes;
    return total;
  }

  /** Nothing that is appended from now on has a position at or before this one. */
  get end(): LogPosition {
    return this.#end;
  }

  get synced(): LogPosition {
    return this.#synced;
  }

  /** To be called once, before the first append. See LogReader. */
  replay(visit: Visit, lost: Lost = () => []): Replayed {
    return this.#reader.replay(visit, lost);
  }

  /** The same records again, without any mending. */
  read(visit: Visit): void {
    this.#reader.read(visit);
  }

  /** Keeps bytes of a record that is whole but cannot be applied. */
  setAsideRecord(record: LogRecord, position: LogPosition, replayed: Replayed): void {
    this.#reader.setAsideRecord(record, position, replayed);
  }

  /** Returns the end of the group. Throws StorageError; the log is then as it was. */
  append(records: readonly RecordToAppend[]): LogPosition {
    let length = 0;
    for (const { payload } of records) {
      if (payload.byteLength > this.#limits.recordBytesMax) {
        throw new StorageError(
          'record-too-long',
          `a log record of ${payload.byteLength} bytes is longer than ${this.#limits.recordBytesMax}`,
        );
      }
      length += RECORD_HEADER_BYTES + payload.byteLength;
    }
    const file = this.#fileFor(length);
    const segment = this.#segments.at(-1)!;
    const start = file.size;
    try {
      // A torn end was never acknowledged: nothing may say that it was synced whole.
      const isWhole = this.#torn.size === 0 && this.#givenUp.size === 0;
      const earlierSynced = isWhole && this.#segments.every((each) => each === segment || each.unsynced.length === 0);
      file.append(chunksOf(records, earlierSynced));
    } catch (error) {
      this.#cutBack(file, segment, start);
      throw diskError(error, `append ${length} bytes to ${file.path}`);
    }
    this.#appends++;
    segment.bytes = file.size;
    let end = start;
    for (const { shard, payload } of records) {
      end += RECORD_HEADER_BYTES + payload.byteLength;
      segment.unsynced.push({ shard, end });
    }
    this.#end = { segment: segment.number, offset: file.size };
    return this.#end;
  }

  #fileFor(length: number): AppendFile {
    const file = this.#file;
    if (file !== null && (file.size === SEGMENT_HEADER_BYTES || file.size + length <= this.#limits.segmentBytesMax)) {
      return file;
    }
    const next = this.#newSegment();
    if (file !== null) this.#unsynced.push(file);
    return next;
  }

  #newSegment(): AppendFile {
    const number = this.#nextNumber;
    const file = this.#files.open(this.#path(number));
    try {
      file.append([segmentHeader(number)]);
      this.#files.syncDirectory(this.#directory);
    } catch (error) {
      file.close();
      this.#files.remove(this.#path(number));
      throw diskError(error, `begin log segment ${file.path}`);
    }
    this.#nextNumber++;
    this.#segments.push({ number, bytes: file.size, lastOf: new Map(), unsynced: [] });
    this.#file = file;
    return file;
  }

  #cutBack(file: AppendFile, segment: Segment, size: number): void {
    try {
      file.truncate(size);
    } catch {
      // Nothing is ever appended behind the torn end. What was written before still needs its sync.
      segment.bytes = file.size;
      this.#unsynced.push(file);
      this.#torn.set(file, size);
      this.#file = null;
    }
  }

  /** Returns those whose torn ends have been cut off now: so much is durable when they are synced. */
  #cutTorn(): AppendFile[] {
    const cut: AppendFile[] = [];
    for (const [file, size] of this.#torn) {
      try {
        file.truncate(size);
        cut.push(file);
      } catch {
        // Tried again with the next sync.
      }
    }
    return cut;
  }

  /**
   * One sync at a time. `done` gets null when everything appended before this call is durable; it runs later, or at
   * once when nothing was ever appended.
   */
  sync(done: Done): void {
    const appends = this.#appends;
    const end = this.#end;
    const cut = this.#cutTorn();
    const files = this.#file === null ? this.#unsynced : [...this.#unsynced, this.#file];
    this.#unsynced = [];
    this.#syncing = true;
    const finish = (error: Error | null): void => {
      this.#syncing = false;
      const failure = error ?? this.#cut;
      if (failure === null) {
        this.#markSynced(end);
        for (const file of cut) this.#torn.delete(file);
        for (const file of this.#torn.keys()) if (!this.#unsynced.includes(file)) this.#unsynced.push(file);
        if (appends === this.#appends) this.#leaveFull();
        for (const file of files) if (file !== this.#file && !this.#unsynced.includes(file)) file.close();
        this.#syncCuts();
      } else {
        this.#giveUp(files);
        this.#cut = appends === this.#appends ? null : failure;
      }
      done(failure);
    };
    if (files.length === 0) finish(null);
    else syncInTurn(files, 0, finish);
  }

  /** A segment that takes no more is not kept open: `release` can let it go although nothing is appended any more. */
  #leaveFull(): void {
    if (this.#file !== null && this.#file.size >= this.#limits.segmentBytesMax) this.#file = null;
  }

  #markSynced(end: LogPosition): void {
    this.#synced = end;
    for (const segment of this.#segments) {
      if (segment.number > end.segment || segment.unsynced.length === 0) continue;
      const size = segment.number < end.segment ? Number.POSITIVE_INFINITY : end.offset;
      for (const record of segment.unsynced) if (record.end <= size) segment.lastOf.set(record.shard, record.end);
      segment.unsynced = segment.unsynced.filter((record) => record.end > size);
    }
  }

  /** Cuts everything off that is behind the last successful sync, and leaves its segment. */
  #giveUp(files: readonly AppendFile[]): void {
    const { segment: syncedSegment, offset: syncedOffset } = this.#synced;
    const open = new Set([...files, ...this.#unsynced, ...(this.#file === null ? [] : [this.#file])]);
    for (const file of open) {
      const segment = this.#segments.find(({ number }) => this.#path(number) === file.path);
      const cut = this.#torn.get(file);
      if (segment === undefined || (segment.number < syncedSegment && cut === undefined)) {
        file.close();
        continue;
      }
      const synced = segment.number === syncedSegment ? syncedOffset : SEGMENT_HEADER_BYTES;
      const size = segment.number < syncedSegment ? cut! : synced;
      segment.unsynced = [];
      this.#givenUp.set(file.path, size);
      try {
        file.truncate(size);
      } catch {
        // Tried again after the next sync that succeeds.
      }
      segment.bytes = file.size;
      file.close();
    }
    this.#unsynced = [];
    this.#torn.clear();
    this.#file = null;
  }

  /** One after the other; one that fails is tried again after the next sync. Nobody waits for it. */
  #syncCuts(): void {
    const [next] = this.#givenUp;
    if (next === undefined || this.#cutting !== null) return;
    const [path, size] = next;
    let file: AppendFile;
    try {
      file = this.#files.open(path);
    } catch {
      return;
    }
    try {
      // A cut whose sync failed may be held for written: only a file that changes anew has its length written again.
      file.truncate(size);
      file.append([Uint8Array.of(0)]);
      file.truncate(size);
    } catch {
      file.close();
      return;
    }
    this.#cutting = path;
    file.sync((error) => {
      file.close();
      this.#cutting = null;
      if (error !== null) return;
      this.#givenUp.delete(path);
      this.#syncCuts();
    });
  }

  /** A segment to be written to, where there is none: no write has to wait for it then. Without room the next write tries. */
  prepare(): void {
    if (this.#file === null) this.#beginAhead();
  }

  /** Removes segments that no shard needs. */
  release(flushedThrough: FlushedThrough): void {
    this.#leaveFlushed(flushedThrough);
    let removed = false;
    const keep = this.#segments.filter((segment) => {
      const current = segment === this.#segments.at(-1) && this.#file !== null;
      const path = this.#path(segment.number);
      const unsynced = path === this.#cutting || this.#unsynced.some((file) => file.path === path);
      if (current || unsynced || isPinned(segment, flushedThrough)) return true;
      if (segment.unreadable) this.#files.rename(path, unreadablePath(this.#directory, segment.number));
      else this.#files.remove(path);
      this.#givenUp.delete(path);
      removed = true;
      return false;
    });
    if (!removed) return;
    this.#segments.splice(0, this.#segments.length, ...keep);
    this.#files.syncDirectory(this.#directory);
  }

  /**
   * Begins a new segment when everything in the present one is synced and flushed: a node that is not written to keeps
   * no log. The new one is there before the old one goes, since its number says which numbers have been used.
   */
  #leaveFlushed(flushedThrough: FlushedThrough): void {
    const file = this.#file;
    const segment = this.#segments.at(-1);
    if (file === null || segment === undefined || this.#syncing || file.size < LEAVE_BYTES_MIN) return;
    if (segment.unsynced.length > 0 || isPinned(segment, flushedThrough)) return;
    // Without room for another file the present one goes on.
    if (this.#beginAhead()) file.close();
  }

  /** False when the disk refuses. */
  #beginAhead(): boolean {
    try {
      this.#newSegment();
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return false;
    }
  }

  /** Shards that hold the oldest segment. */
  pinning(flushedThrough: FlushedThrough): ShardId[] {
    const oldest = this.#segments.find((segment) => isPinned(segment, flushedThrough));
    if (oldest === undefined) return [];
    return shardsPinning(oldest, flushedThrough);
  }

  close(): void {
    for (const file of this.#unsynced) file.close();
    this.#file?.close();
    this.#unsynced = [];
    this.#file = null;
    this.#givenUp.clear();
  }

  #path(number: number): string {
    return segmentPath(this.#directory, number);
  }
}

function syncInTurn(files: readonly AppendFile[], index: number, done: Done): void {
  files[index]!.sync((error) => {
    if (error !== null || index === files.length - 1) done(error);
    else syncInTurn(files, index + 1, done);
  });
}
