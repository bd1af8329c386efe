/**
 * The segment files of an outbox (outbox.ts): appending, syncing, reading, and letting go of those that hold nothing.
 *
 * No failure of the disk ends anything here:
 * - what cannot be appended is refused; where the torn end cannot be cut off either, nothing is appended behind it any more,
 *   and the next record begins a new segment;
 * - after a sync that failed, what it should have covered is written again into a new segment: a later sync that succeeds
 *   says nothing of pages that the kernel has given up; where that takes more than a segment, those that it fills are synced
 *   as all are;
 * - of a file that cannot be read as a whole, what can be read is; it takes no more, and is kept under another name when
 *   nothing in it is waited for; one that cannot be opened at all is left where it is, and its number is not used again;
 * - what cannot be removed is tried again.
 *
 * Old segments go oldest first, only: an acknowledgement or the end of an entry may lie in any segment that is newer than the
 * entry. One that could not be read holds up none: at worst something comes back at the next start, and is offered once more.
 */
import { StorageError } from '../shards/errors.ts';
import { type AppendFile, type Files, joinPath } from '../shards/files.ts';
import type { Segment } from './outbox-entry.ts';

/** What waits for the disk. */
export interface WaitsForSync {
  /** A sync failed: what lies in a suspect segment has to be written once more. False: not yet. */
  writeAgain(): boolean;
  /** All that was appended before is on disk. */
  done(): void;
}

/** What of a file is read at a time when it cannot be read as a whole: what a disk gives up is less. */
const PIECE_BYTES = 4_096;

export class OutboxSegments {
  private readonly segments = new Map<number, Segment>();
  private current: Segment | null = null;
  private newest = 0;
  private waiting: WaitsForSync[] = [];
  private syncing = false;
  /** All has been visited: before that nothing goes. */
  private isOpen = false;
  /** The newest segment whose sync failed: what waits is not on disk, whatever its next sync says. */
  private suspect: Segment | null = null;
  /** What segments up to it said is said anew and synced, should there be some that could not be removed yet. */
  private mayGoThrough = 0;
  /** Before segments go. False: what they said is not said anew (yet). */
  mayGo: () => boolean = () => true;
  private readonly files: Files;
  private readonly directory: string;
  private readonly segmentBytes: number;

  constructor(files: Files, directory: string, segmentBytes: number) {
    this.files = files;
    this.directory = directory;
    this.segmentBytes = segmentBytes;
  }

  /** Visits what each file holds, the oldest first. Returns how many could not be read in part or as a whole. */
  openAll(visit: (segment: Segment, bytes: Uint8Array) => { end: number }): number {
    this.files.makeDirectory(this.directory);
    const names = this.files.list(this.directory).filter((name) => /^[0-9]+\.log$/.test(name));
    let unreadable = 0;
    for (const number of names.map((name) => Number.parseInt(name, 10)).sort((a, b) => a - b)) {
      this.newest = Math.max(this.newest, number);
      let file: AppendFile;
      try {
        file = this.files.open(this.pathOf(number));
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        unreadable++;
        continue;
      }
      const segment = this.add(number, file);
      const bytes = readPieces(segment);
      const { end } = visit(segment, bytes);
      if (segment.isUnreadable) unreadable++;
      // Nothing whole behind it: a torn end, behind which nothing may be appended.
      else if (end < bytes.byteLength) cutBack(segment, end);
    }
    this.isOpen = true;
    return unreadable;
  }

  private add(number: number, file: AppendFile): Segment {
    const segment: Segment = { number, file, live: 0, liveBytes: 0, takesMore: true, isUnreadable: false };
    this.newest = Math.max(this.newest, number);
    this.segments.set(number, segment);
    this.current = segment;
    return segment;
  }

  private pathOf(number: number): string {
    return joinPath(this.directory, `${number}.log`);
  }

  /** Throws StorageError. */
  read(number: number, offset: number, length: number): Uint8Array | null {
    const bytes = this.segments.get(number)?.file.read(offset, length);
    return bytes?.byteLength === length ? bytes : null;
  }

  get fileBytes(): number {
    let bytes = 0;
    for (const { file } of this.segments.values()) bytes += file.size;
    return bytes;
  }

  /** Its entries hold up all segments behind it; null: none does. */
  get oldest(): Segment | null {
    const [oldest] = this.inOrder().filter(({ isUnreadable }) => !isUnreadable);
    return oldest === undefined || oldest === this.current || oldest.live === 0 ? null : oldest;
  }

  /** A sync of it, or of a newer one, has failed. Those behind it were synced when they were full. */
  isSuspect(number: number): boolean {
    return this.suspect !== null && number <= this.suspect.number;
  }

  /** Where the record is, or null when the disk took nothing. */
  append(parts: readonly Uint8Array[]): { segment: Segment; offset: number } | null {
    try {
      const { current } = this;
      if (current === null || !current.takesMore || current.file.size >= this.segmentBytes) this.startSegment();
    } catch (error) {
      return refused(error);
    }
    const segment = this.current!;
    const offset = segment.file.size;
    try {
      segment.file.append(parts);
      return { segment, offset };
    } catch (error) {
      cutBack(segment, offset);
      return refused(error);
    }
  }

  /** Throws StorageError. */
  private startSegment(syncOld = true): void {
    const { current } = this;
    if (syncOld && current !== null && current === this.suspect)
      throw new StorageError('disk-failed', 'the last sync of the outbox failed');
    try {
      if (syncOld) current?.file.syncNow();
    } catch (error) {
      this.suspect = current;
      throw error;
    }
    const number = this.newest + 1;
    const file = this.files.open(this.pathOf(number));
    try {
      this.files.syncDirectory(this.directory);
    } catch (error) {
      file.close();
      throw error;
    }
    this.add(number, file);
    this.dropEmpty();
  }

  whenSynced(waits: WaitsForSync): void {
    this.waiting.push(waits);
    this.sync();
  }

  get isWaiting(): boolean {
    return this.syncing || this.waiting.length > 0;
  }

  private sync(): void {
    const { current } = this;
    if (this.syncing || this.suspect !== null || this.waiting.length === 0 || current === null) return;
    this.syncing = true;
    const waiting = this.waiting;
    this.waiting = [];
    current.file.sync((error) => {
      this.syncing = false;
      // A failure may be told once only, whoever hears it.
      if (error !== null || this.suspect === current) {
        this.waiting.unshift(...waiting);
        // A newer one may have failed meanwhile, when it was full.
        if (!this.isSuspect(current.number)) this.suspect = current;
        return;
      }
      for (const { done } of waiting) done();
      this.sync();
    });
  }

  /** To be called now and then: what a failed sync should have covered is written again, and what is empty goes. */
  retry(): void {
    if (!this.syncing && (this.suspect === null || this.writeAgain())) this.sync();
    this.dropEmpty();
  }

  private writeAgain(): boolean {
    try {
      if (this.current === this.suspect) this.startSegment(false);
    } catch (error) {
      if (error instanceof StorageError) return false;
      throw error;
    }
    const results = this.waiting.map((each) => each.writeAgain());
    if (results.includes(false)) return false;
    this.suspect = null;
    return true;
  }

  keep({ segment, length }: { segment: number; length: number }): void {
    const of = this.segments.get(segment)!;
    of.live++;
    of.liveBytes += length;
  }

  release({ segment, length }: { segment: number; length: number }): void {
    const of = this.segments.get(segment);
    if (of === undefined) return;
    of.live--;
    of.liveBytes -= length;
    this.dropEmpty();
  }

  /** What it holds cannot be read any more, or not all of it. */
  unreadable(segment: Segment): void {
    segment.isUnreadable = true;
    segment.takesMore = false;
  }

  get empty(): Segment[] {
    const all = this.inOrder();
    const holds = (segment: Segment) => segment === this.current || (segment.live > 0 && !segment.isUnreadable);
    const kept = all.findIndex(holds);
    return (kept < 0 ? all : all.slice(0, kept)).filter(({ live }) => live === 0);
  }

  private dropEmpty(): void {
    const { empty } = this;
    if (!this.isOpen || empty.length === 0) return;
    // One that could not be removed holds up those behind it: nothing needs to be said anew before it has gone.
    if (empty[0]!.number <= this.mayGoThrough) this.drop(this.mayGoThrough);
    else if (this.mayGo()) this.drop(empty.at(-1)!.number);
  }

  /** Those that are empty, up to the number, of which nothing has to be kept. */
  drop(through: number): void {
    this.mayGoThrough = Math.max(this.mayGoThrough, through);
    for (const { number, file, isUnreadable } of this.empty) {
      if (number > through) return;
      try {
        if (isUnreadable) this.files.rename(file.path, joinPath(this.directory, `${number}.damaged`));
        else this.files.remove(file.path);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        return;
      }
      file.close();
      this.segments.delete(number);
    }
  }

  private inOrder(): Segment[] {
    return [...this.segments.values()].sort((a, b) => a.number - b.number);
  }

  close(): void {
    for (const { file } of this.segments.values()) file.close();
  }
}

/** Where the disk gives nothing back there are zeros, which are no record. */
function readPieces(segment: Segment): Uint8Array {
  const { file } = segment;
  const { size } = file;
  try {
    return size > 0 ? file.read(0, size) : new Uint8Array(0);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
  segment.isUnreadable = true;
  segment.takesMore = false;
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += PIECE_BYTES) {
    try {
      bytes.set(file.read(at, Math.min(PIECE_BYTES, size - at)), at);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
    }
  }
  return bytes;
}

function cutBack(segment: Segment, size: number): void {
  try {
    segment.file.truncate(size);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
    segment.takesMore = false;
  }
}

function refused(error: unknown): null {
  if (error instanceof StorageError) return null;
  throw error;
}
