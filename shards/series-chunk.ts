/**
 * Series as they stand in the shard's file: chunks of up to 512 in the order of their ids, appended by each flush.
 *
 * Chunk: the hashes (16 bytes each), then the deflated keys (each u32 LE length and UTF-8 bytes), then the CRC-32 over
 * all before it, u32 LE. Deflated together keys take some 20 bytes each; hashes do not shrink. The fastest level is
 * used: the others take three times as long for an eighth fewer bytes.
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { StorageError } from './errors.ts';
import { storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import type { SeriesIds } from './series-ids.ts';
import { SERIES_HASH_BYTES } from './series-key.ts';

export const CHUNK_SERIES_MAX = 512;
/** The keys of a chunk unfold to this much at most: a key comes from one line of a request. */
const CHUNK_KEYS_BYTES_MAX = 256 << 20;

export function encodeSeriesChunk(ids: SeriesIds, first: number, count: number): Buffer {
  const kernel = storageKernel();
  const length = kernel.seriesChunkLength(ids.address, first, count);
  const hashBytes = count * SERIES_HASH_BYTES;
  const at = kernel.alloc(hashBytes + length);
  kernel.seriesChunkWrite(ids.address, first, count, at, at + hashBytes);
  const bytes = storageBytes();
  const keys = deflateRawSync(bytes.subarray(at + hashBytes, at + hashBytes + length), { level: 1 });
  const chunk = Buffer.alloc(hashBytes + keys.length + 4);
  chunk.set(bytes.subarray(at, at + hashBytes));
  chunk.set(keys, hashBytes);
  kernel.free(at);
  chunk.writeUInt32LE(crc32(chunk.subarray(0, chunk.length - 4)), chunk.length - 4);
  return chunk;
}

/** Adds the series of a chunk. Throws StorageError `damaged-file`, or what the inflater throws. */
export function addSeriesChunk(ids: SeriesIds, chunk: Buffer, count: number): void {
  const hashBytes = count * SERIES_HASH_BYTES;
  const end = chunk.length - 4;
  if (end < hashBytes || crc32(chunk.subarray(0, end)) !== chunk.readUInt32LE(end)) {
    throw new StorageError('damaged-file', `a chunk of ${count} series keys fails its checksum`);
  }
  const keys = inflateRawSync(chunk.subarray(hashBytes, end), { maxOutputLength: CHUNK_KEYS_BYTES_MAX });
  const kernel = storageKernel();
  const at = kernel.alloc(hashBytes + keys.length);
  const bytes = storageBytes();
  bytes.set(chunk.subarray(0, hashBytes), at);
  bytes.set(keys, at + hashBytes);
  const whole = kernel.seriesChunkAdd(ids.address, at, count, at + hashBytes, keys.length);
  kernel.free(at);
  if (whole === 0) throw new StorageError('damaged-file', `a chunk does not hold ${count} series`);
}
