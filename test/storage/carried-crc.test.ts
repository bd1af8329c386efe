/** CRCs of log records from those that frames and keys carry. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeBatch } from '../../shards/batch-codec.ts';
import { crcWithCarried } from '../../shards/carried-crc.ts';
import { FRAME_CRC_OFFSET } from '../../shards/frame-head.ts';
import { BATCH_RECORD, chunksOf, KEYS_RECORD, type RecordToAppend } from '../../shards/log-record.ts';
import { encodeKeys, SeriesKeys } from '../../shards/series-keys.ts';
import { hashOf } from '../series/keys.ts';
import { versionAt } from './helpers.ts';
import { randomBatch, randomOf } from './random-batches.ts';

/** The bytes with the CRC of all others put in at an offset. */
function closedAt(bytes: Uint8Array, offset: number): Uint8Array {
  const before = bytes.subarray(0, offset);
  const behind = bytes.subarray(offset);
  const crc = Buffer.alloc(4);
  crc.writeUInt32LE(crc32(behind, crc32(before)));
  return Buffer.concat([before, crc, behind]);
}

test('are those of all bytes, wherever the carried one stands', () => {
  const bytes = fc.uint8Array({ maxLength: 3000 });
  fc.assert(
    fc.property(bytes, bytes, fc.double({ min: 0, max: 1, noNaN: true }), (head, plain, at) => {
      const closed = closedAt(plain, Math.floor(plain.length * at));
      const offset = Math.floor(plain.length * at);
      expect(crcWithCarried(crc32(head), closed, offset)).toBe(crc32(closed, crc32(head)));
    }),
  );
  const long = closedAt(new Uint8Array(3_000_001).fill(7), 12);
  expect(crcWithCarried(5, long, 12)).toBe(crc32(long, 5));
});

test('a record is the same with it', () => {
  const options = { rowsMax: 20_000, series: 50, measurements: 1, fields: 3 };
  const random = randomOf(3);
  const frames = [1, 2, 3].map((n) => encodeBatch(randomBatch(versionAt(n), random, options)));
  const keys = Array.from({ length: 900 }, (_, i) => `m,host=${i},os=linux`);
  const encoded = SeriesKeys.read(encodeKeys(keys.map((key) => ({ hash: hashOf(key), key }))));
  const shard = '0123456789abcdef';
  const records: RecordToAppend[] = [
    { kind: KEYS_RECORD, shard, payload: encoded.encoded, crcAt: encoded.crcAt },
    ...frames.map((payload) => ({ kind: BATCH_RECORD, shard, payload, crcAt: FRAME_CRC_OFFSET }) as const),
  ];
  expect(Math.min(...records.map(({ payload }) => payload.length))).toBeGreaterThan(1 << 14);
  const summed = records.map(({ kind, payload }) => ({ kind, shard, payload }));
  expect(chunksOf(records, true)).toEqual(chunksOf(summed, true));
});
