/**
 * Records of the log as bytes, and the reading of a segment that may be torn or damaged.
 *
 * Segment: header of 16 bytes: 'STARLOG1', segment number (u64 LE). Then records, one after the other:
 *
 * | offset | bytes | what                                                                        |
 * |      0 |     4 | marker 'REC1', by which reading finds its way again behind damage            |
 * |      4 |     4 | length of the payload, u32 LE                                                |
 * |      8 |     4 | CRC-32 over bytes 4..7, 12..23 and the payload, u32 LE                       |
 * |     12 |     1 | kind: 1 keys (encodeKeys), 2 batch (the frame as it came)                    |
 * |     13 |     1 | 1: when it was appended, all earlier segments were synced; else 0            |
 * |     14 |     2 | zero                                                                        |
 * |     16 |     8 | shard id                                                                    |
 * |     24 |       | payload                                                                     |
 *
 * A crash leaves at most an unfinished tail: no whole record of the segment begins behind it. When more than one segment
 * had something unsynced, each may end so; behind one that was synced whole there is a record that says so. A damaged record in the middle is told
 * from a torn tail by a whole record (marker and CRC) behind it. Worst outcome still possible: the last record before
 * a crash is damaged as well as written; it then looks torn, and the ring brings it from another owner.
 */
import { crc32 } from 'node:zlib';
import { crcWithCarried } from './carried-crc.ts';
import type { ShardId } from './shard-key.ts';

export const SEGMENT_HEADER_BYTES = 16;
export const RECORD_HEADER_BYTES = 24;
export const KEYS_RECORD = 1;
export const BATCH_RECORD = 2;
/** What is shorter is summed in less time than it takes to do without. */
const SUMMED_BYTES_MAX = 1 << 14;
export type RecordKind = typeof KEYS_RECORD | typeof BATCH_RECORD;

/** In the header's word of kind and flags. */
const EARLIER_SYNCED = 1 << 8;
const SEGMENT_MAGIC = Buffer.from('STARLOG1', 'latin1');
const MARKER = Buffer.from('REC1', 'latin1');

export interface RecordToAppend {
  readonly kind: RecordKind;
  readonly shard: ShardId;
  readonly payload: Uint8Array;
  /** Where in the payload the CRC of all its other bytes stands, when it is known to be theirs: they are not summed again. */
  readonly crcAt?: number;
}

export interface LogRecord {
  readonly kind: RecordKind;
  readonly shard: ShardId;
  readonly payload: Uint8Array;
  /** All earlier segments were synced before it was written. */
  readonly earlierSynced: boolean;
  readonly start: number;
  readonly end: number;
}

/** Bytes start..end of a segment that are no whole record. */
export interface BadRange {
  readonly start: number;
  readonly end: number;
  /** True when nothing whole follows: what a crash leaves. */
  readonly tail: boolean;
}

export function segmentHeader(segment: number): Uint8Array {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  SEGMENT_MAGIC.copy(header);
  header.writeBigUInt64LE(BigInt(segment), 8);
  return header;
}

export function isSegmentHeader(bytes: Uint8Array, segment: number): boolean {
  return (
    bytes.byteLength >= SEGMENT_HEADER_BYTES && asBuffer(bytes).compare(segmentHeader(segment), 0, 16, 0, 16) === 0
  );
}

/** Header, payload, header, ... of a group. */
export function chunksOf(records: readonly RecordToAppend[], earlierSynced: boolean): Uint8Array[] {
  const headers = Buffer.alloc(records.length * RECORD_HEADER_BYTES);
  const chunks: Uint8Array[] = [];
  records.forEach((record, index) => {
    const offset = index * RECORD_HEADER_BYTES;
    writeRecordHeader(headers, offset, record, earlierSynced);
    chunks.push(headers.subarray(offset, offset + RECORD_HEADER_BYTES), record.payload);
  });
  return chunks;
}

/** Writes the header of a record into `into` at `offset`. */
function writeRecordHeader(into: Buffer, offset: number, record: RecordToAppend, earlierSynced: boolean): void {
  const { kind, shard, payload, crcAt } = record;
  into.set(MARKER, offset);
  into.write(shard, offset + 16, 8, 'hex');
  const view = new DataView(into.buffer, into.byteOffset + offset, RECORD_HEADER_BYTES);
  view.setUint32(4, payload.byteLength, true);
  view.setUint32(12, kind | (earlierSynced ? EARLIER_SYNCED : 0), true);
  const head = headerCrc(into, offset);
  const isSummed = crcAt === undefined || payload.byteLength <= SUMMED_BYTES_MAX;
  view.setUint32(8, isSummed ? crc32(payload, head) : crcWithCarried(head, payload, crcAt), true);
}

/** What the CRC covers of a header, side by side. */
const summed = new Uint8Array(RECORD_HEADER_BYTES - 8);

function headerCrc(header: Buffer, offset: number): number {
  for (let i = 0; i < 4; i++) summed[i] = header[offset + 4 + i]!;
  for (let i = 12; i < RECORD_HEADER_BYTES; i++) summed[i - 8] = header[offset + i]!;
  return crc32(summed);
}

/** The whole record that begins at `offset`, or null. */
function recordAt(bytes: Buffer, offset: number): LogRecord | null {
  if (offset + RECORD_HEADER_BYTES > bytes.length) return null;
  if (bytes.compare(MARKER, 0, 4, offset, offset + 4) !== 0) return null;
  const end = offset + RECORD_HEADER_BYTES + bytes.readUInt32LE(offset + 4);
  if (end > bytes.length) return null;
  const payload = bytes.subarray(offset + RECORD_HEADER_BYTES, end);
  if (crc32(payload, headerCrc(bytes, offset)) !== bytes.readUInt32LE(offset + 8)) return null;
  const kind = bytes[offset + 12];
  if (kind !== KEYS_RECORD && kind !== BATCH_RECORD) return null;
  const earlierSynced = bytes[offset + 13] === 1;
  return { kind, shard: bytes.toString('hex', offset + 16, offset + 24), payload, earlierSynced, start: offset, end };
}

/** The record at `start` has its full length in the file: it is rather damaged than torn. */
export function isWhole(bytes: Uint8Array, start: number): boolean {
  if (start + RECORD_HEADER_BYTES > bytes.byteLength) return false;
  const length = new DataView(bytes.buffer, bytes.byteOffset + start).getUint32(4, true);
  return start + RECORD_HEADER_BYTES + length <= bytes.byteLength && length > 0;
}

/**
 * Whose record a damaged range was, when it was one record and its head is as it was: the marker is there, and the record ends
 * where the range does. null: that cannot be told.
 */
export function ownerOf(segmentBytes: Uint8Array, { start, end }: Pick<BadRange, 'start' | 'end'>): ShardId | null {
  const bytes = asBuffer(segmentBytes);
  if (start + RECORD_HEADER_BYTES > end || bytes.compare(MARKER, 0, 4, start, start + 4) !== 0) return null;
  const isOne = start + RECORD_HEADER_BYTES + bytes.readUInt32LE(start + 4) === end;
  return isOne ? bytes.toString('hex', start + 16, start + 24) : null;
}

/**
 * Calls `visit` for each whole record in order, and returns what lies between and behind them. `met` hears of the former
 * before the record that follows is visited.
 */
export function scanSegment(
  segmentBytes: Uint8Array,
  visit: (record: LogRecord) => void,
  met: (range: BadRange) => void = () => {},
): BadRange[] {
  const bytes = asBuffer(segmentBytes);
  const bad: BadRange[] = [];
  let offset = SEGMENT_HEADER_BYTES;
  while (offset < bytes.length) {
    const record = recordAt(bytes, offset);
    if (record !== null) {
      visit(record);
      offset = record.end;
      continue;
    }
    const next = nextRecord(bytes, offset + 1);
    const range = { start: offset, end: next ?? bytes.length, tail: next === null };
    bad.push(range);
    if (next === null) break;
    met(range);
    offset = next;
  }
  return bad;
}

function nextRecord(bytes: Buffer, from: number): number | null {
  for (let at = bytes.indexOf(MARKER, from); at >= 0; at = bytes.indexOf(MARKER, at + 1)) {
    if (recordAt(bytes, at) !== null) return at;
  }
  return null;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
