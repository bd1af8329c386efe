/** A segment of the log as the worker knows it: what is in it, and who still needs it. */
import { joinPath } from './files.ts';
import type { ShardId } from './shard-key.ts';
import type { LogPosition } from './storage.ts';

export interface Segment {
  readonly number: number;
  bytes: number;
  /** The disk could not read it at the start. It is never removed, but kept under another name when nobody needs it. */
  unreadable?: boolean;
  /** End of the last durable record of each shard, or of the damage by which it may have lost one. */
  readonly lastOf: Map<ShardId, number>;
  /** Ends of records that no sync has covered yet, in order. */
  unsynced: { readonly shard: ShardId; readonly end: number }[];
}

export interface DamagedRange {
  readonly segment: number;
  readonly start: number;
  readonly end: number;
  /** Where the bytes were set aside. */
  readonly path: string;
}

export interface Replayed {
  records: number;
  bytes: number;
  truncatedBytes: number;
  readonly damaged: DamagedRange[];
}

/** Of a segment that is not the newest: what a crash left of it, or damage. */
export interface TornTail {
  readonly segment: Segment;
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Up to where a shard's records are in its file; null for a shard that is gone. */
export type FlushedThrough = (shard: ShardId) => LogPosition | null;

/** A shard needs it. */
export function isPinned(segment: Segment, flushedThrough: FlushedThrough): boolean {
  if (segment.unsynced.length > 0) return true;
  for (const shard of segment.lastOf.keys()) if (isPinnedBy(segment, shard, flushedThrough)) return true;
  return false;
}

/** The shards with synced records that do. */
export function shardsPinning(segment: Segment, flushedThrough: FlushedThrough): ShardId[] {
  return [...segment.lastOf.keys()].filter((shard) => isPinnedBy(segment, shard, flushedThrough));
}

function isPinnedBy(segment: Segment, shard: ShardId, flushedThrough: FlushedThrough): boolean {
  const flushed = flushedThrough(shard);
  if (flushed === null || flushed.segment > segment.number) return false;
  return flushed.segment < segment.number || flushed.offset < segment.lastOf.get(shard)!;
}

export function segmentPath(directory: string, number: number): string {
  return joinPath(directory, `${paddedNumber(number)}.log`);
}

/** Of a segment that could not be read. */
export function unreadablePath(directory: string, number: number): string {
  return joinPath(directory, `${paddedNumber(number)}.damaged`);
}

export function paddedNumber(number: number): string {
  return String(number).padStart(10, '0');
}
