/**
 * Keys of series as they are sent and logged (`encodeKeys`), read only where somebody needs them as text:
 * a shard takes them from these bytes, and the log and other owners get the bytes as they are. (As objects a million new
 * keys cost five seconds on their way through a worker.)
 *
 * Format version 2: u8 version, u32 count, u32 bytes of all keys as they are spelled, u32 commas in them, records
 * (packed-keys.ts of the kernels):
 * 16 bytes of hash, u16 + u16 how many bytes of its key are the beginning and the end of the key before, u32 length of what
 * stands between them, that; CRC-32 of all before it. Most new series come many at a time and differ in a tag or two, so most
 * of a key is what it shares. Version 1, in records of 16 bytes of hash, u32 length and the key, is read, and made version 2.
 *
 * Who has keys as a list may give that list instead.
 */
import { crc32 } from 'node:zlib';
import type { SeriesKeyRecord } from './batch.ts';
import { FrameError, FrameReader, FrameWriter } from './frame.ts';
import { BatchError, guarded } from './frame-head.ts';
import { copyInto } from './kernel/copy.ts';
import { KEY_BYTES_MAX } from './line-protocol-errors.ts';
import { SERIES_HASH_BYTES } from './series-key.ts';

const KEYS_FORMAT_VERSION = 2;
const KEYS_HEAD_BYTES = 13;
const COMMA = 44;
const RECORD_HEAD_BYTES = SERIES_HASH_BYTES + 8;
const CRC_BYTES = 4;
/** A key shares at most so much on either side. */
const SHARED_BYTES_MAX = 0xffff;
/**
 * Of all keys of one batch, which are no longer than the largest body that brings them: a few bytes of a faulty peer must not
 * unfold to more than there is memory.
 */
const SPELLED_BYTES_MAX = 2 ** 28;
/** Of one: no client's is longer, with a backslash before each of its bytes. */
const SPELLED_KEY_BYTES_MAX = 2 * (KEY_BYTES_MAX + 1);

export type GivenKeys = SeriesKeys | readonly SeriesKeyRecord[];

export class SeriesKeys {
  /** With head and CRC. */
  readonly encoded: Uint8Array;
  /** The records alone. */
  readonly body: Uint8Array;
  readonly length: number;
  /** Of the keys as they are spelled. */
  readonly spelledBytes: number;
  /** Tags of all keys, at most: there is a comma before each. */
  readonly tagsMost: number;

  private constructor(encoded: Uint8Array, isOwn: boolean) {
    const { buffer, byteOffset, byteLength } = encoded;
    const view = new DataView(buffer, byteOffset, byteLength);
    this.encoded = encoded;
    this.body = encoded.subarray(KEYS_HEAD_BYTES, byteLength - CRC_BYTES);
    this.length = view.getUint32(1, true);
    this.spelledBytes = view.getUint32(5, true);
    // What others say is not relied on.
    this.tagsMost = isOwn ? view.getUint32(9, true) : (this.spelledBytes >>> 1) + this.length;
  }

  /** Checks the bytes. Throws BatchError. */
  static read(encoded: Uint8Array): SeriesKeys {
    return guarded(() => {
      const reader = openKeys(encoded);
      if (encoded[0] === 1) return SeriesKeys.own(encodeKeys(plainRecords(reader)));
      readPacked(reader, () => {});
      return new SeriesKeys(encoded, false);
    });
  }

  /** Bytes that this process has just made (`encodeKeys`, `keysOf`): they are not checked again. */
  static own(encoded: Uint8Array): SeriesKeys {
    return new SeriesKeys(encoded, true);
  }

  static of(keys: GivenKeys): SeriesKeys {
    if (keys instanceof SeriesKeys) return keys;
    return keys.length === 0 ? NONE : SeriesKeys.own(encodeKeys(keys));
  }

  /** Where in `encoded` the CRC of all before it stands. */
  get crcAt(): number {
    return this.encoded.byteLength - CRC_BYTES;
  }

  records(): SeriesKeyRecord[] {
    return decodeKeys(this.encoded);
  }
}

/** Most batches bring no keys. */
export const NO_KEYS_ENCODED: Uint8Array = encodeKeys([]);
const NONE = SeriesKeys.own(NO_KEYS_ENCODED);

export function keyRecords(keys: GivenKeys): readonly SeriesKeyRecord[] {
  return keys instanceof SeriesKeys ? keys.records() : keys;
}

export function encodedKeys(keys: GivenKeys): Uint8Array {
  return keys instanceof SeriesKeys ? keys.encoded : encodeKeys(keys);
}

export function encodeKeys(records: readonly SeriesKeyRecord[]): Uint8Array {
  const writer = new FrameWriter();
  writer.u8(KEYS_FORMAT_VERSION);
  writer.u32(records.length);
  const spelled = writer.reserve(8);
  let spelledBytes = 0;
  let commas = 0;
  let before: Uint8Array = new Uint8Array(0);
  for (const { hash, key } of records) {
    const bytes = Buffer.from(key, 'utf8');
    const first = commonBeginning(before, bytes);
    const last = commonEnd(before, bytes, Math.min(before.length, bytes.length) - first);
    writer.hex(hash);
    writer.u32(first | (last << 16));
    writer.u32(bytes.length - first - last);
    writer.raw(bytes.subarray(first, bytes.length - last));
    spelledBytes += bytes.length;
    for (const byte of bytes) if (byte === COMMA) commas++;
    before = bytes;
  }
  writer.setU32(spelled, spelledBytes);
  writer.setU32(spelled + 4, commas);
  writer.u32(crc32(writer.bytes.subarray(0, writer.length)));
  return writer.finish();
}

function commonBeginning(a: Uint8Array, b: Uint8Array): number {
  const most = Math.min(a.length, b.length, SHARED_BYTES_MAX);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}

function commonEnd(a: Uint8Array, b: Uint8Array, bytesMax: number): number {
  const most = Math.min(bytesMax, SHARED_BYTES_MAX);
  let length = 0;
  while (length < most && a[a.length - 1 - length] === b[b.length - 1 - length]) length++;
  return length;
}

/** As `encodeKeys`, of records that the ingest kernel has written, whose keys are so many bytes with so many commas. */
export function keysOf(
  count: number,
  { spelledBytes, commas }: { spelledBytes: number; commas: number },
  records: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const keys = new Uint8Array(KEYS_HEAD_BYTES + records.length + CRC_BYTES);
  const view = new DataView(keys.buffer);
  view.setUint8(0, KEYS_FORMAT_VERSION);
  view.setUint32(1, count, true);
  view.setUint32(5, spelledBytes, true);
  view.setUint32(9, commas, true);
  copyInto(keys, KEYS_HEAD_BYTES, records);
  const end = KEYS_HEAD_BYTES + records.length;
  view.setUint32(end, crc32(keys.subarray(0, end)), true);
  return keys;
}

/** Behind the version. Throws. */
function openKeys(bytes: Uint8Array): FrameReader {
  const reader = new FrameReader(bytes, 0, bytes.length - CRC_BYTES);
  const format = reader.u8();
  if (format === 0) throw new FrameError('keys of no format');
  if (format > KEYS_FORMAT_VERSION) throw new BatchError('future-batch', `keys of format ${format}`);
  const crc = new FrameReader(bytes, bytes.length - CRC_BYTES, bytes.length).u32();
  if (crc !== crc32(bytes.subarray(0, bytes.length - CRC_BYTES))) throw new FrameError('CRC of keys');
  return reader;
}

function plainRecords(reader: FrameReader): SeriesKeyRecord[] {
  const count = reader.count(SERIES_HASH_BYTES + 4);
  const records: SeriesKeyRecord[] = [];
  for (let i = 0; i < count; i++) {
    const hash = reader.hex(SERIES_HASH_BYTES);
    const at = reader.at;
    records.push({ hash, key: reader.text() });
    expectKey(reader.at - at - 4);
  }
  expectEnd(reader);
  return records;
}

/**
 * Visits the records of format version 2: where the hash stands, and how many bytes of the key it shares and has of its own.
 * Throws FrameError where they do not fit one another, or what the head says.
 */
function readPacked(reader: FrameReader, visit: (at: number, first: number, last: number, own: number) => void): void {
  const count = reader.count(RECORD_HEAD_BYTES);
  const spelledBytes = reader.u32();
  reader.take(4);
  if (spelledBytes > SPELLED_BYTES_MAX) throw new FrameError(`${spelledBytes} bytes of keys`);
  let before = 0;
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const at = reader.take(SERIES_HASH_BYTES);
    const shared = reader.u32();
    const own = reader.u32();
    const first = shared & SHARED_BYTES_MAX;
    const last = shared >>> 16;
    if (first + last > before) throw new FrameError(`${first} and ${last} bytes shared with a key of ${before}`);
    reader.take(own);
    before = first + own + last;
    expectKey(before);
    bytes += before;
    if (bytes > spelledBytes) break;
    visit(at, first, last, own);
  }
  if (bytes !== spelledBytes) throw new FrameError(`${bytes} bytes of keys, not ${spelledBytes}`);
  expectEnd(reader);
}

function expectKey(bytes: number): void {
  if (bytes > SPELLED_KEY_BYTES_MAX) throw new FrameError(`a key of ${bytes} bytes`);
}

function expectEnd(reader: FrameReader): void {
  if (reader.at !== reader.end) throw new FrameError(`${reader.end - reader.at} bytes too many after keys`);
}

/** Throws BatchError. */
export function decodeKeys(encoded: Uint8Array): SeriesKeyRecord[] {
  return guarded(() => {
    const reader = openKeys(encoded);
    if (encoded[0] === 1) return plainRecords(reader);
    const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
    const records: SeriesKeyRecord[] = [];
    let before = Buffer.alloc(0);
    readPacked(reader, (at, first, last, own) => {
      const from = at + RECORD_HEAD_BYTES;
      const end = before.subarray(before.length - last);
      before = Buffer.concat([before.subarray(0, first), bytes.subarray(from, from + own), end]);
      records.push({ hash: bytes.toString('hex', at, at + SERIES_HASH_BYTES), key: before.toString('utf8') });
    });
    return records;
  });
}
