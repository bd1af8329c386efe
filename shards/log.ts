/**
 * The log of one worker: what was accepted and is not yet in the shards' files.
 *
 * Truth: `log/<n>.log`, segments in ascending numbers, records as in log-record.ts. Only the worker that owns the
 * directory writes. A group is one vectored write; one fdatasync makes all groups before it durable. A segment is
 * removed when each shard with records in it has flushed past its last one (`release`); numbers are never used again.
 *
 * What can go wrong, and how it is mended:
 * - Crash: an unfinished tail of the newest segment. `replay` cuts it off and counts it; a tail that ends with a
 *   record of full length but wrong CRC is also kept as a file, since it may be damage and not tearing.
 *   An older segment may end so as well, when the crash came before it was synced: no record of a later one says that
 *   it was, and its tail is cut off, too.
 * - Damage in the middle, or at the end of an older segment that was synced: the bytes are copied to `<n>-<offset>.damaged` (never
 *   removed, never served), later records are read, whoever may have lost a record hears of it, and the ring brings the batches
 *   that are missing.
 * - Full disk or I/O error in a write: the part that was written is cut off again. If even that fails the segment is
 *   closed, and the next group begins a new one; its torn end is set aside at the next start.
 * - Failed fdatasync: the kernel may have thrown the dirty pages away and a second fdatasync would report success
 *   (Rebello et al., "Can Applications Recover from fsync Failures?", 2020). So nothing since the last successful sync
 *   is trusted: it is cut off, refused to its callers (also to those whose group was appended while the sync ran: their
 *   own `sync` fails), and a new segment begins. Worst outcome still possible: the cut fails as well, and a refused
 *   batch is found at the next start; it is then as if its acknowledgement had been lost.
 */
import { diskError, StorageError } from './errors.ts';
import { type AppendFile, type Files, joinPath, syncFile } from './files.ts';
import {
  type BadRange,
  chunksOf,
  isSegmentHeader,
  isWhole,
  type LogRecord,
  ownerOf,
  RECORD_HEADER_BYTES,
  type RecordToAppend,
  SEGMENT_HEADER_BYTES,
  scanSegment,
  segmentHeader,
} from './log-record.ts';
import {
  type FlushedThrough,
  isPinned,
  type Replayed,
  type Segment,
  shardsPinning,
  type TornTail,
} from './log-segment.ts';
import type { ShardId } from './shard-key.ts';
import type { LogPosition } from './storage.ts';
import type { StorageLimits } from './storage-limits.ts';

/** A segment with less in it is not worth the two syncs of a new one. */
const LEAVE_BYTES_MIN = 64 << 10;
/** Of damage to the end of a segment. */
const TAIL_END = Number.MAX_SAFE_INTEGER;
const SEGMENT_NAME = /^(\d{10})\.log$/;

type Done = (error: Error | null) => void;
type Visit = (record: LogRecord, position: LogPosition) => void;
type Lost = (shard: ShardId | null, through: LogPosition) => void;

export class Log {
  readonly #files: Files;
  readonly #directory: string;
  readonly #limits: StorageLimits;
  /** Ascending; the last one is open for appending when `#file` is not null. */
  readonly #segments: Segment[] = [];
  #file: AppendFile | null = null;
  /** Segments that were left before they were synced. */
  #unsynced: AppendFile[] = [];
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

  /**
   * Reads all segments in order. To be called once, before the first append. A record's bytes are `visit`'s until it returns.
   * `lost` hears of damage, which ends at that position and was a record of that shard (null: of whichever), before records
   * behind it are visited.
   */
  replay(visit: Visit, lost: Lost = () => {}): Replayed {
    const replayed: Replayed = { records: 0, bytes: 0, truncatedBytes: 0, damaged: [] };
    const segments = [...this.#segments];
    const room = this.#roomFor(segments);
    const tails: TornTail[] = [];
    let syncedBefore = 0;
    const look = (record: LogRecord, at: LogPosition): void => {
      if (record.earlierSynced && at.segment > syncedBefore) {
        const isNews = ({ segment: { number } }: TornTail) => number >= syncedBefore && number < at.segment;
        for (const tail of tails.filter(isNews)) lost(null, { segment: tail.segment.number, offset: TAIL_END });
        syncedBefore = at.segment;
      }
      visit(record, at);
    };
    for (const segment of segments) this.#replaySegment(segment, room, { visit: look, lost }, tails, replayed);
    for (const { segment, start, bytes } of tails) {
      if (segment.number < syncedBefore) this.#setAside(segment, bytes, start, replayed);
      else {
        replayed.truncatedBytes += bytes.byteLength;
        this.#cutTail(segment, start);
      }
    }
    // What a killed process had written and not synced was read from memory: nobody may be told of it before this.
    for (const { number } of this.#segments) syncFile(this.#files, this.#path(number));
    this.#files.syncDirectory(this.#directory);
    return replayed;
  }

  /** One segment after the other is read into the same memory: new pages for each would cost as much as checking it. */
  #roomFor(segments: readonly Segment[]): Uint8Array {
    return new Uint8Array(segments.reduce((most, { bytes }) => Math.max(most, bytes), 0));
  }

  /** The same records again, without any mending. */
  read(visit: Visit): void {
    const room = this.#roomFor(this.#segments);
    for (const { number } of this.#segments) {
      scanSegment(this.#files.read(this.#path(number), room), (record) =>
        visit(record, { segment: number, offset: record.end }),
      );
    }
  }

  #replaySegment(
    segment: Segment,
    room: Uint8Array,
    { visit, lost }: { visit: Visit; lost: Lost },
    tails: TornTail[],
    replayed: Replayed,
  ): void {
    const bytes = this.#readOrSetAside(segment, room, replayed);
    if (bytes === null) {
      lost(null, { segment: segment.number, offset: TAIL_END });
      return;
    }
    const newest = segment === this.#segments.at(-1);
    replayed.bytes += bytes.byteLength;
    if (bytes.byteLength < SEGMENT_HEADER_BYTES) {
      replayed.truncatedBytes += bytes.byteLength;
      return;
    }
    if (!isSegmentHeader(bytes, segment.number))
      this.#setAside(segment, bytes.subarray(0, SEGMENT_HEADER_BYTES), 0, replayed);
    const gone = (range: BadRange) => lost(ownerOf(bytes, range), { segment: segment.number, offset: range.end });
    const visitOne = (record: LogRecord): void => {
      segment.lastOf.set(record.shard, record.end);
      replayed.records++;
      visit(record, { segment: segment.number, offset: record.end });
    };
    for (const range of scanSegment(bytes, visitOne, gone)) {
      const { start, end, tail } = range;
      const part = bytes.subarray(start, end);
      if (tail && isWhole(bytes, start)) gone(range);
      if (tail && newest) {
        replayed.truncatedBytes += end - start;
        if (isWhole(bytes, start)) this.#setAside(segment, part, start, replayed);
        this.#cutTail(segment, start);
      } else if (tail && !isWhole(bytes, start)) tails.push({ segment, start, bytes: part.slice() });
      else this.#setAside(segment, part, start, replayed);
    }
  }

  /** A segment that the disk cannot read is kept under another name, so that it is never removed as done with. */
  #readOrSetAside(segment: Segment, room: Uint8Array, replayed: Replayed): Uint8Array | null {
    const path = this.#path(segment.number);
    try {
      return this.#files.read(path, room);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      const aside = joinPath(this.#directory, `${pad(segment.number)}.damaged`);
      this.#files.rename(path, aside);
      this.#files.syncDirectory(this.#directory);
      this.#segments.splice(this.#segments.indexOf(segment), 1);
      replayed.damaged.push({ segment: segment.number, start: 0, end: segment.bytes, path: aside });
      return null;
    }
  }

  #cutTail(segment: Segment, size: number): void {
    const file = this.#files.open(this.#path(segment.number));
    try {
      file.truncate(size);
      file.syncNow();
      segment.bytes = size;
    } finally {
      file.close();
    }
  }

  /** `bytes`: of the segment from `start` on. */
  #setAside(segment: Segment, bytes: Uint8Array, start: number, replayed: Replayed): void {
    const path = joinPath(this.#directory, `${pad(segment.number)}-${start}.damaged`);
    if (!this.#files.exists(path)) {
      const file = this.#files.open(path);
      try {
        file.append([bytes]);
        file.syncNow();
      } finally {
        file.close();
      }
      this.#files.syncDirectory(this.#directory);
    }
    replayed.damaged.push({ segment: segment.number, start, end: start + bytes.byteLength, path });
  }

  /** Keeps bytes of a record that is whole but cannot be applied. */
  setAsideRecord(record: LogRecord, position: LogPosition, replayed: Replayed): void {
    const segment = this.#segments.find(({ number }) => number === position.segment)!;
    const bytes = this.#files.read(this.#path(segment.number));
    this.#setAside(segment, bytes.subarray(record.start, record.end), record.start, replayed);
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
      const earlierSynced = this.#segments.every((each) => each === segment || each.unsynced.length === 0);
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
      // The torn end stays; nothing is ever appended behind it. What was written before still needs its sync.
      segment.bytes = file.size;
      this.#unsynced.push(file);
      this.#file = null;
    }
  }

  /**
   * One sync at a time. `done` gets null when everything appended before this call is durable; it runs later, or at
   * once when nothing was ever appended.
   */
  sync(done: Done): void {
    const appends = this.#appends;
    const end = this.#end;
    const files = this.#file === null ? this.#unsynced : [...this.#unsynced, this.#file];
    this.#unsynced = [];
    this.#syncing = true;
    const finish = (error: Error | null): void => {
      this.#syncing = false;
      const failure = error ?? this.#cut;
      if (failure === null) {
        this.#markSynced(end);
        if (appends === this.#appends) this.#leaveFull();
        for (const file of files) if (file !== this.#file && !this.#unsynced.includes(file)) file.close();
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
      if (segment === undefined || segment.number < syncedSegment) continue;
      const size = segment.number === syncedSegment ? syncedOffset : SEGMENT_HEADER_BYTES;
      segment.unsynced = [];
      try {
        file.truncate(size);
      } catch {
        // A refused batch may be met at the next start: see the header.
      }
      segment.bytes = file.size;
      file.close();
    }
    this.#unsynced = [];
    this.#file = null;
  }

  /** Removes segments that no shard needs. */
  release(flushedThrough: FlushedThrough): void {
    this.#leaveFlushed(flushedThrough);
    let removed = false;
    const keep = this.#segments.filter((segment) => {
      const current = segment === this.#segments.at(-1) && this.#file !== null;
      const unsynced = this.#unsynced.some(({ path }) => path === this.#path(segment.number));
      if (current || unsynced || isPinned(segment, flushedThrough)) return true;
      this.#files.remove(this.#path(segment.number));
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
    try {
      this.#newSegment();
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return; // no room for another file: the present one goes on
    }
    file.close();
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
  }

  #path(number: number): string {
    return joinPath(this.#directory, `${pad(number)}.log`);
  }
}

function syncInTurn(files: readonly AppendFile[], index: number, done: Done): void {
  files[index]!.sync((error) => {
    if (error !== null || index === files.length - 1) done(error);
    else syncInTurn(files, index + 1, done);
  });
}

function pad(number: number): string {
  return String(number).padStart(10, '0');
}
