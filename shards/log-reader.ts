/** Reading a worker's log when it starts, and mending what a crash or damage left of it: see log.ts. */
import { StorageError } from './errors.ts';
import { type Files, joinPath, syncFile } from './files.ts';
import {
  type BadRange,
  isSegmentHeader,
  isWhole,
  type LogRecord,
  ownerOf,
  SEGMENT_HEADER_BYTES,
  scanSegment,
} from './log-record.ts';
import {
  paddedNumber,
  type Replayed,
  type Segment,
  segmentPath,
  type TornTail,
  unreadablePath,
} from './log-segment.ts';
import type { ShardId } from './shard-key.ts';
import type { LogPosition } from './storage.ts';

/** Of damage to the end of a segment. */
const TAIL_END = Number.MAX_SAFE_INTEGER;

export type Visit = (record: LogRecord, position: LogPosition) => void;
/** Returns the shards that may have had a record up to there which is not in their files. */
export type Lost = (shard: ShardId | null, through: LogPosition) => readonly ShardId[];

export class LogReader {
  readonly #files: Files;
  readonly #directory: string;
  readonly #segments: readonly Segment[];

  /** `segments`: of the log, as it goes on. */
  constructor(files: Files, directory: string, segments: readonly Segment[]) {
    this.#files = files;
    this.#directory = directory;
    this.#segments = segments;
  }

  /**
   * Reads all segments in order. A record's bytes are `visit`'s until it returns. `lost` hears of damage, which ends at that
   * position and was a record of that shard (null: of whichever), before records behind it are visited, and returns who has lost
   * something by it: those keep the segment, damage and all, until they have flushed past it, or a second start would not know.
   */
  replay(visit: Visit, lost: Lost): Replayed {
    const replayed: Replayed = { records: 0, bytes: 0, truncatedBytes: 0, damaged: [] };
    const room = this.#roomFor();
    const tails: TornTail[] = [];
    let syncedBefore = 0;
    const look = (record: LogRecord, at: LogPosition): void => {
      if (record.earlierSynced && at.segment > syncedBefore) {
        const isNews = ({ segment: { number } }: TornTail) => number >= syncedBefore && number < at.segment;
        for (const tail of tails.filter(isNews)) {
          // They keep this record, too: without it the tail would look torn.
          const { lastOf } = this.#segments.find(({ number }) => number === at.segment)!;
          for (const loser of noteLost(tail.segment, null, TAIL_END, lost)) lastOf.set(loser, at.offset);
        }
        syncedBefore = at.segment;
      }
      visit(record, at);
    };
    for (const segment of this.#segments) this.#replaySegment(segment, room, { visit: look, lost }, tails, replayed);
    for (const { segment, start, bytes } of tails) {
      if (segment.number < syncedBefore) this.#setAside(segment, bytes, start, replayed);
      else {
        replayed.truncatedBytes += bytes.byteLength;
        this.#cutTail(segment, start);
      }
    }
    // What a killed process had written and not synced was read from memory: nobody may be told of it before this.
    for (const { number, unreadable } of this.#segments)
      if (!unreadable) syncFile(this.#files, segmentPath(this.#directory, number));
    this.#files.syncDirectory(this.#directory);
    return replayed;
  }

  /** One segment after the other is read into the same memory: new pages for each would cost as much as checking it. */
  #roomFor(): Uint8Array {
    return new Uint8Array(this.#segments.reduce((most, { bytes }) => Math.max(most, bytes), 0));
  }

  /** The same records again, without any mending. */
  read(visit: Visit): void {
    const room = this.#roomFor();
    for (const { number, unreadable } of this.#segments) {
      if (unreadable) continue;
      scanSegment(this.#files.read(segmentPath(this.#directory, number), room), (record) =>
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
    const bytes = this.#bytesOf(segment, room);
    if (bytes === null) {
      segment.unreadable = true;
      const path = unreadablePath(this.#directory, segment.number);
      replayed.damaged.push({ segment: segment.number, start: 0, end: segment.bytes, path });
      noteLost(segment, null, TAIL_END, lost);
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
    const gone = (range: BadRange) => noteLost(segment, ownerOf(bytes, range), range.end, lost);
    const visitOne = (record: LogRecord): void => {
      segment.lastOf.set(record.shard, record.end);
      replayed.records++;
      visit(record, { segment: segment.number, offset: record.end });
    };
    for (const range of scanSegment(bytes, visitOne, gone)) {
      const { start, end, tail } = range;
      const part = bytes.subarray(start, end);
      const isTorn = tail && !isWhole(bytes, start);
      if (tail && !isTorn) gone(range);
      if (!isTorn) this.#setAside(segment, part, start, replayed);
      else if (newest) {
        replayed.truncatedBytes += end - start;
        this.#cutTail(segment, start);
      } else tails.push({ segment, start, bytes: new Uint8Array(part) });
    }
  }

  /** Null when the disk cannot read it. */
  #bytesOf({ number }: Segment, room: Uint8Array): Uint8Array | null {
    try {
      return this.#files.read(segmentPath(this.#directory, number), room);
    } catch (error) {
      if (error instanceof StorageError) return null;
      throw error;
    }
  }

  #cutTail(segment: Segment, size: number): void {
    const file = this.#files.open(segmentPath(this.#directory, segment.number));
    try {
      file.truncate(size);
      file.syncNow();
      segment.bytes = size;
    } finally {
      file.close();
    }
  }

  /**
   * `bytes`: of the segment from `start` on. A disk that has no room for them does not keep the node from starting: they are
   * in the segment, too, for as long as that is needed.
   */
  #setAside(segment: Segment, bytes: Uint8Array, start: number, replayed: Replayed): void {
    const path = joinPath(this.#directory, `${paddedNumber(segment.number)}-${start}.damaged`);
    const isKept = this.#files.exists(path) || this.#keep(bytes, path);
    const kept = isKept ? path : segmentPath(this.#directory, segment.number);
    replayed.damaged.push({ segment: segment.number, start, end: start + bytes.byteLength, path: kept });
  }

  /** Whole, or not at all: what is there under its name is not looked at again. */
  #keep(bytes: Uint8Array, path: string): boolean {
    const partial = `${path}.partial`;
    try {
      const file = this.#files.open(partial);
      try {
        file.truncate(0);
        file.append([bytes]);
        file.syncNow();
      } finally {
        file.close();
      }
      this.#files.rename(partial, path);
      this.#files.syncDirectory(this.#directory);
      return true;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      return false;
    }
  }

  /** Keeps bytes of a record that is whole but cannot be applied. */
  setAsideRecord(record: LogRecord, position: LogPosition, replayed: Replayed): void {
    const segment = this.#segments.find(({ number }) => number === position.segment)!;
    const bytes = this.#files.read(segmentPath(this.#directory, segment.number));
    this.#setAside(segment, bytes.subarray(record.start, record.end), record.start, replayed);
  }
}

function noteLost(segment: Segment, owner: ShardId | null, end: number, lost: Lost): readonly ShardId[] {
  const losers = lost(owner, { segment: segment.number, offset: end });
  for (const shard of losers) segment.lastOf.set(shard, end);
  return losers;
}
