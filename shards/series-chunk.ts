/**
 * Series as they stand in the shard's file: chunks of up to 512 in the order of their ids, appended by each flush.
 *
 *   offset
 *      0      format, 2; a higher one is `future-format`
 *      1      hashes, 16 bytes each
 *   1 + 16n   the keys as columns of tag values (kernel/assembly/series/chunk.ts), deflated
 *     -4      CRC-32 over all before it, u32 LE
 *
 * Columns make less of the keys than deflating their text does (of the ten tags of the devops workload 7 bytes against
 * 14, drawn at random), in a quarter of the time, and are read without taking keys apart. Hashes do not shrink.
 */
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { StorageError } from './errors.ts';
import { copyInto } from './kernel/copy.ts';
import { storageBytes, storageKernel } from './kernel/storage-kernel.ts';
import type { SeriesIds } from './series-ids.ts';
import { SERIES_HASH_BYTES } from './series-key.ts';

export const CHUNK_SERIES_MAX = 512;
const FORMAT = 2;
/** What a chunk unfolds to at most: a key comes from one line of a request. */
const CHUNK_BODY_BYTES_MAX = 256 << 20;

/** `count` is at most CHUNK_SERIES_MAX. */
export function encodeSeriesChunk(ids: SeriesIds, first: number, count: number): Buffer {
  const kernel = storageKernel();
  const hashBytes = count * SERIES_HASH_BYTES;
  const hashes = kernel.alloc(hashBytes);
  const length = kernel.seriesChunkWrite(ids.address, first, count, hashes);
  const body = kernel.seriesChunkBody();
  const bytes = storageBytes();
  // The fastest level: what is left to find are common parts of values, the others take three times as long.
  const deflated = deflateRawSync(bytes.subarray(body, body + length), { level: 1 });
  const chunk = Buffer.allocUnsafe(1 + hashBytes + deflated.length + 4);
  chunk[0] = FORMAT;
  copyInto(chunk, 1, bytes.subarray(hashes, hashes + hashBytes));
  chunk.set(deflated, 1 + hashBytes);
  kernel.free(hashes);
  chunk.writeUInt32LE(crc32(chunk.subarray(0, chunk.length - 4)), chunk.length - 4);
  return chunk;
}

/** Adds the series of a chunk. Throws StorageError `damaged-file` or `future-format`, or what the inflater throws. */
export function addSeriesChunk(ids: SeriesIds, chunk: Buffer, count: number): void {
  const bodyStart = 1 + count * SERIES_HASH_BYTES;
  const end = chunk.length - 4;
  if (end < bodyStart || crc32(chunk.subarray(0, end)) !== chunk.readUInt32LE(end)) {
    throw new StorageError('damaged-file', `a chunk of ${count} series keys fails its checksum`);
  }
  if (chunk[0]! > FORMAT) throw new StorageError('future-format', `a chunk of series keys has format ${chunk[0]}`);
  if (chunk[0] !== FORMAT) throw new StorageError('damaged-file', `a chunk of series keys has format ${chunk[0]}`);
  const body = inflateRawSync(chunk.subarray(bodyStart, end), { maxOutputLength: CHUNK_BODY_BYTES_MAX });
  const kernel = storageKernel();
  const hashBytes = bodyStart - 1;
  const at = kernel.alloc(hashBytes + body.length);
  const bytes = storageBytes();
  copyInto(bytes, at, chunk.subarray(1, bodyStart));
  copyInto(bytes, at + hashBytes, body);
  const whole = kernel.seriesChunkAdd(ids.address, at, count, at + hashBytes, body.length);
  kernel.free(at);
  if (whole === 0) throw new StorageError('damaged-file', `a chunk does not hold ${count} series`);
}
