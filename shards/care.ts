/**
 * What mending needs of a stored shard: to have all of it read again, to compare its settled rows with another owner's,
 * and to have damaged parts replaced; and what explaining a repair needs of it. `shard-care.ts` provides it; repair/scrub.ts and repair/mending.ts use it.
 *
 * Settled rows are compared and copied by *group*: those of one window and measurement whose series hashes begin with the
 * same hexadecimal digit, as they stand at a floor when every delete and overwrite up to it has been applied
 * (row-settle.ts). So a group's sum depends neither on blocks nor on what has been merged or dropped already.
 */
import type { SeriesKeyRecord } from './batch.ts';
import type { Sum128 } from './checksum.ts';
import type { ContestQuestion, Contests } from './contests.ts';
import type { Stamp, Version } from './version.ts';

export const SERIES_GROUPS = 16;

export interface GroupName {
  readonly window: number;
  readonly measurement: string;
  readonly group: number;
}

export interface GroupSum extends GroupName {
  readonly rows: number;
  /** null: a damaged block keeps it from being told. */
  readonly content: Sum128 | null;
}

export interface GroupQuestion {
  /** The floor: rows above it do not count. */
  readonly through: Stamp;
  /** null: all windows. */
  readonly window: number | null;
  /** null: from the start. */
  readonly from: GroupName | null;
  /** Cells that are read for one answer, about; at least one group is told. */
  readonly cellsMax: number;
}

export interface CopyQuestion {
  readonly through: Stamp;
  readonly window: number;
  readonly measurement: string;
  readonly groups: readonly number[];
  /** Offset from the shard's start: earlier rows have been given. */
  readonly fromTime: number;
  readonly cellsMax: number;
}

export interface DamagedPart {
  readonly window: number;
  readonly measurement: string;
  /** Groups that it holds rows of. */
  readonly groups: readonly number[];
  readonly rows: number;
  readonly message: string;
}

/** Everything that is stored, read from the file again: a moment of the shard, whatever comes meanwhile. */
export interface Reading {
  readonly bytesTotal: number;
  readonly bytesRead: number;
  readonly damaged: readonly DamagedPart[];
  /** Content sums of versions above the floor of that moment, without what could not be read. */
  readonly above: ReadonlyMap<Version, Sum128>;
  /** The sum of what was received at or below that floor, as stored rows and what is kept of dropped ones say. */
  readonly through: Sum128;
  /** Reads about so many bytes, at least something; true when more remains. Throws StorageError. */
  step(bytesMax: number): boolean;
  /**
   * At the end, where nothing is damaged: what was received at or below the floor is said to be this. For a shard whose
   * settled rows have been found equal to, or were taken from, another owner's.
   */
  adopt(received: Sum128): void;
  close(): void;
}

/** The replacement of groups of one window and measurement, and of rows of some versions in it. */
export interface Replacement {
  /** Of another shard's `copy`, for the same groups. Throws StorageError `damaged-page`, or BatchError. */
  accept(page: Uint8Array, keys: Uint8Array): void;
  /** True when more remains. Its last step puts everything in place in one transaction. Throws StorageError. */
  step(): boolean;
  abandon(): void;
}

export interface ReplacementRequest {
  /** The floor. */
  readonly through: Stamp;
  readonly window: number;
  readonly measurement: string;
  /** Their settled rows make room for those that are accepted, and damaged blocks with rows of no others go. */
  readonly groups: readonly number[];
  /** Rows of these versions go. */
  readonly purged: ReadonlySet<Version>;
  /** All damaged blocks go: nobody has what they held. */
  readonly lost: boolean;
}

export interface StoredCare {
  /** Blocks that were found damaged and are still here. */
  readonly damaged: readonly DamagedPart[];
  /** `begun`: this is the moment that is read. */
  read(begun: () => void): Reading;
  groups(question: GroupQuestion): { groups: GroupSum[]; next: GroupName | null };
  /** `page`: null when no row is left. `next`: to go on from; null at the end. Throws StorageError `damaged-block`. */
  copy(question: CopyQuestion): {
    page: { frame: Uint8Array; keys: Uint8Array } | null;
    rows: number;
    next: number | null;
  };
  replace(request: ReplacementRequest): Replacement;
  /** Windows and measurements with readable rows of these versions. */
  placesOf(versions: ReadonlySet<Version>): { window: number; measurement: string }[];
  /** Puts batches back, of which no row is stored any more, durably. Throws StorageError. */
  restore(batches: readonly { frame: Uint8Array; keys: readonly SeriesKeyRecord[] }[]): void;
  /** Which values of batches that have just been applied compete with others, and how that is decided. */
  contests(question: ContestQuestion): Contests;
  /** Makes the floor of the companion the one that the file holds. Throws StorageError. */
  settle(): void;
}
