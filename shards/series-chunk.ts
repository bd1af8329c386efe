/**
 * Series as they stand in the shard's file: chunks of up to 512 in the order of their ids, appended by each flush.
 *
 * Chunk: the hashes (16 bytes each), then the deflated keys (each u32 LE length and UTF-8 bytes), then the CRC-32 over
 * all before it, u32 LE. Deflated together keys take some 20 bytes each; hashes do not shrink.
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { StorageError } from './errors.ts';
import type { SeriesIds } from './series-ids.ts';
import { SERIES_HASH_BYTES } from './series-key.ts';

export const CHUNK_SERIES_MAX = 512;

export function encodeSeriesChunk(ids: SeriesIds, first: number, count: number): Buffer {
  const hashes = Buffer.alloc(count * SERIES_HASH_BYTES);
  const keys: Buffer[] = [];
  for (let i = 0; i < count; i++) {
    hashes.write(ids.hashOf(first + i), i * SERIES_HASH_BYTES, 'hex');
    const key = Buffer.from(ids.keyOf(first + i), 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32LE(key.length);
    keys.push(length, key);
  }
  const content = Buffer.concat([hashes, deflateRawSync(Buffer.concat(keys))]);
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32(content));
  return Buffer.concat([content, crc]);
}

/** Throws StorageError `damaged-file`. */
export function decodeSeriesChunk(chunk: Buffer, count: number, add: (hash: string, key: string) => void): void {
  const end = chunk.length - 4;
  if (end < count * SERIES_HASH_BYTES || crc32(chunk.subarray(0, end)) !== chunk.readUInt32LE(end)) {
    throw new StorageError('damaged-file', `a chunk of ${count} series keys fails its checksum`);
  }
  const keys = inflateRawSync(chunk.subarray(count * SERIES_HASH_BYTES, end));
  let at = 0;
  for (let i = 0; i < count; i++) {
    const length = keys.readUInt32LE(at);
    const hash = chunk.toString('hex', i * SERIES_HASH_BYTES, (i + 1) * SERIES_HASH_BYTES);
    add(hash, keys.toString('utf8', at + 4, at + 4 + length));
    at += 4 + length;
  }
}
