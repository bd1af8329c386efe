/**
 * Keys of series as they are sent and logged (`encodeKeys`), read only where somebody needs them as text:
 * a shard takes them from these bytes, and the log and other owners get the bytes as they are. (As objects a million new
 * keys cost five seconds on their way through a worker.)
 *
 * Who has keys as a list may give that list instead.
 */
import { crc32 } from 'node:zlib';
import type { SeriesKeyRecord } from './batch.ts';
import { FrameError, FrameReader, FrameWriter } from './frame.ts';
import { BatchError, guarded } from './frame-head.ts';
import { copyInto } from './kernel/copy.ts';
import { SERIES_HASH_BYTES } from './series-key.ts';

const KEYS_FORMAT_VERSION = 1;
const KEYS_HEAD_BYTES = 5;
const CRC_BYTES = 4;

export type GivenKeys = SeriesKeys | readonly SeriesKeyRecord[];

export class SeriesKeys {
  /** With head and CRC. */
  readonly encoded: Uint8Array;
  /** The records alone: 16 bytes of hash, u32 length, key. */
  readonly body: Uint8Array;
  readonly length: number;

  private constructor(encoded: Uint8Array, body: Uint8Array, length: number) {
    this.encoded = encoded;
    this.body = body;
    this.length = length;
  }

  /** Checks the bytes. Throws BatchError. */
  static read(encoded: Uint8Array): SeriesKeys {
    const { body, count } = keyRecordBytes(encoded);
    return new SeriesKeys(encoded, body, count);
  }

  /** Bytes that this process has just made (`encodeKeys`, `keysOf`): they are not checked again. */
  static own(encoded: Uint8Array): SeriesKeys {
    const { buffer, byteOffset, byteLength } = encoded;
    const count = new DataView(buffer, byteOffset, byteLength).getUint32(1, true);
    return new SeriesKeys(encoded, encoded.subarray(KEYS_HEAD_BYTES, byteLength - CRC_BYTES), count);
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

/** Format version u8, count u32, per record 16 bytes of hash and the key (u32 length, UTF-8), CRC-32 of all that. */
export function encodeKeys(records: readonly SeriesKeyRecord[]): Uint8Array {
  const writer = new FrameWriter();
  writer.u8(KEYS_FORMAT_VERSION);
  writer.u32(records.length);
  for (const { hash, key } of records) {
    writer.hex(hash);
    writer.text(key);
  }
  writer.u32(crc32(writer.bytes.subarray(0, writer.length)));
  return writer.finish();
}

/** As `encodeKeys`, of records that the ingest kernel has written. */
export function keysOf(count: number, records: Uint8Array): Uint8Array<ArrayBuffer> {
  const keys = new Uint8Array(KEYS_HEAD_BYTES + records.length + CRC_BYTES);
  const view = new DataView(keys.buffer);
  view.setUint8(0, KEYS_FORMAT_VERSION);
  view.setUint32(1, count, true);
  copyInto(keys, KEYS_HEAD_BYTES, records);
  const end = KEYS_HEAD_BYTES + records.length;
  view.setUint32(end, crc32(keys.subarray(0, end)), true);
  return keys;
}

function openKeys(bytes: Uint8Array): { reader: FrameReader; count: number } {
  const reader = new FrameReader(bytes, 0, bytes.length - 4);
  const format = reader.u8();
  if (format > KEYS_FORMAT_VERSION) throw new BatchError('future-batch', `keys of format ${format}`);
  const crc = new FrameReader(bytes, bytes.length - 4, bytes.length).u32();
  if (crc !== crc32(bytes.subarray(0, bytes.length - 4))) throw new FrameError('CRC of keys');
  return { reader, count: reader.count(SERIES_HASH_BYTES + 4) };
}

/** The records alone of what `encodeKeys` made, each of them within the bytes. Throws BatchError. */
export function keyRecordBytes(bytes: Uint8Array): { body: Uint8Array; count: number } {
  return guarded(() => {
    const { reader, count } = openKeys(bytes);
    const start = reader.at;
    for (let i = 0; i < count; i++) {
      reader.take(SERIES_HASH_BYTES);
      reader.take(reader.u32());
    }
    if (reader.at !== reader.end) throw new FrameError(`${reader.end - reader.at} bytes too many after keys`);
    return { body: bytes.subarray(start, reader.end), count };
  });
}

/** Throws BatchError. */
export function decodeKeys(bytes: Uint8Array): SeriesKeyRecord[] {
  return guarded(() => {
    const { reader, count } = openKeys(bytes);
    const records: SeriesKeyRecord[] = [];
    for (let i = 0; i < count; i++) records.push({ hash: reader.hex(SERIES_HASH_BYTES), key: reader.text() });
    if (reader.at !== reader.end) throw new FrameError(`${reader.end - reader.at} bytes too many after keys`);
    return records;
  });
}
