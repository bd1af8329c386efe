/** Keys as they are sent and logged: what comes back, what is refused, and what an older format gives. */
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SeriesKeyRecord } from '../../shards/batch.ts';
import { BatchError } from '../../shards/batch-codec.ts';
import { formatSeriesKey } from '../../shards/series-key.ts';
import { decodeKeys, encodeKeys, SeriesKeys } from '../../shards/series-keys.ts';
import { anyKey, followingSeries, hashOf } from './keys.ts';

const recordsOf = (keys: readonly string[]): SeriesKeyRecord[] => keys.map((key) => ({ hash: hashOf(key), key }));

const CRC_BYTES = 4;
const HEAD_BYTES = 13;
const RECORD_HEAD_BYTES = 24;

function closed(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(crc32(bytes.subarray(0, bytes.length - CRC_BYTES)), bytes.length - CRC_BYTES);
  return bytes;
}

/** Format version 1. */
function encodePlain(records: readonly SeriesKeyRecord[]): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(1);
  head.writeUInt32LE(records.length, 1);
  const body = records.flatMap(({ hash, key }) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(Buffer.byteLength(key));
    return [Buffer.from(hash, 'hex'), length, Buffer.from(key)];
  });
  return closed(Buffer.concat([head, ...body, Buffer.alloc(CRC_BYTES)]));
}

test('keys of any kind come back in their order, of both formats', () => {
  fc.assert(
    fc.property(followingSeries, fc.array(anyKey, { maxLength: 20 }), (series, odd) => {
      const keys = [...series.map(({ measurement, tags }) => formatSeriesKey(measurement, tags)), ...odd];
      const records = recordsOf(keys);
      const encoded = encodeKeys(records);
      expect(decodeKeys(encoded)).toEqual(records);
      const read = SeriesKeys.read(encoded);
      expect([read.records(), read.length]).toEqual([records, records.length]);
      expect(read.spelledBytes).toBe(keys.reduce((sum, key) => sum + Buffer.byteLength(key), 0));
      expect(SeriesKeys.own(encoded).tagsMost).toBe(keys.join('').split(',').length - 1);
      const plain = encodePlain(records);
      expect(decodeKeys(plain)).toEqual(records);
      expect(Buffer.compare(SeriesKeys.read(plain).encoded, encoded)).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test('a key longer than what is shared at most', () => {
  const long = 'x'.repeat(70_000);
  const short = 'x'.repeat(50_000);
  const records = recordsOf([`m,a=${long},b=1,c=${short}`, `m,a=${long},b=2,c=${short}`, `m,a=${long}`]);
  expect(SeriesKeys.read(encodeKeys(records)).records()).toEqual(records);
});

describe('bytes of others', () => {
  const records = recordsOf(['cpu,host=a,os=linux', 'cpu,host=b,os=linux', 'cpu,host=bb,os=linux', 'mem,host=b']);
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(encodeKeys(records));
    change(bytes);
    return closed(bytes);
  };
  const second = HEAD_BYTES + RECORD_HEAD_BYTES + 'cpu,host=a,os=linux'.length;

  test.each([
    ['the first key shares with none', changed((bytes) => bytes.writeUInt16LE(1, HEAD_BYTES + 16))],
    ['more is shared than there is', changed((bytes) => bytes.writeUInt16LE(12, second + 16))],
    ['its own part is longer than the bytes', changed((bytes) => bytes.writeUInt32LE(200, second + 20))],
    ['there are fewer keys', changed((bytes) => bytes.writeUInt32LE(3, 1))],
    ['there are more keys', changed((bytes) => bytes.writeUInt32LE(5, 1))],
    ['all are longer than it says', changed((bytes) => bytes.writeUInt32LE(bytes.readUInt32LE(5) - 1, 5))],
    ['all are shorter than it says', changed((bytes) => bytes.writeUInt32LE(bytes.readUInt32LE(5) + 1, 5))],
  ])('are refused where %s', (_, bytes) => {
    expect(() => SeriesKeys.read(bytes)).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
    expect(() => decodeKeys(bytes)).toThrow(expect.objectContaining({ code: 'corrupt-batch' }));
  });

  test('that unfold to more than there is memory are refused before any key is', () => {
    const key = Buffer.alloc(60_000, 'x');
    const bytes = Buffer.alloc(HEAD_BYTES + 5_000 * RECORD_HEAD_BYTES + key.length + CRC_BYTES);
    bytes.writeUInt8(2);
    bytes.writeUInt32LE(5_000, 1);
    bytes.writeUInt32LE(5_000 * key.length, 5);
    bytes.writeUInt32LE(key.length, HEAD_BYTES + 20);
    key.copy(bytes, HEAD_BYTES + RECORD_HEAD_BYTES);
    for (let i = 1; i < 5_000; i++)
      bytes.writeUInt16LE(key.length, HEAD_BYTES + i * RECORD_HEAD_BYTES + key.length + 16);
    expect(() => SeriesKeys.read(closed(bytes))).toThrow('300000000 bytes of keys');
  });

  test('with a key that is longer than any client can name', () => {
    const bytes = encodeKeys(recordsOf(['m', 'x'.repeat(131_073)]));
    expect(() => SeriesKeys.read(bytes)).toThrow('a key of 131073 bytes');
    expect(() => SeriesKeys.read(encodePlain(recordsOf(['x'.repeat(131_073)])))).toThrow('a key of 131073 bytes');
    expect(SeriesKeys.read(encodeKeys(recordsOf(['m', 'x'.repeat(131_072)]))).length).toBe(2);
  });

  test('what they say of commas is not relied on', () => {
    const bytes = changed((all) => all.writeUInt32LE(0, 9));
    expect(SeriesKeys.read(bytes).tagsMost).toBeGreaterThanOrEqual(7);
  });

  test('of a later format are said to be that', () => {
    const bytes = changed((all) => all.writeUInt8(3));
    expect(() => SeriesKeys.read(bytes)).toThrow(expect.objectContaining({ code: 'future-batch' }));
  });

  test('any changed byte is refused, or gives other keys', () => {
    const encoded = encodeKeys(records);
    for (let at = 0; at < encoded.length - CRC_BYTES; at++) {
      const bytes = changed((all) => all.writeUInt8(all[at]! ^ 0x41, at));
      try {
        expect(SeriesKeys.read(bytes).length).toBe(records.length);
      } catch (error) {
        expect(error).toBeInstanceOf(BatchError);
      }
    }
  });
});
