/**
 * Frames, keys and log segments of every format version must be read for ever: they lie in logs and outboxes, and members of
 * earlier releases send them. Files are added when a format changes; none is ever changed.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeBatch } from '../../shards/batch-codec.ts';
import { BATCH_RECORD, isSegmentHeader, KEYS_RECORD, type LogRecord, scanSegment } from '../../shards/log-record.ts';
import { decodeKeys } from '../../shards/series-keys.ts';
import { GOLDEN_DELETE, GOLDEN_KEYS, GOLDEN_SHARD, GOLDEN_WRITE } from './golden-batches.ts';

const golden = (name: string) => new Uint8Array(readFileSync(new URL(`../golden/frames/${name}.bin`, import.meta.url)));

test('a write of all types, dense and with gaps', () => {
  expect(decodeBatch(golden('v1-write'))).toEqual(GOLDEN_WRITE);
});

test('a delete', () => {
  expect(decodeBatch(golden('v1-delete'))).toEqual(GOLDEN_DELETE);
});

test.each(['v1', 'v2'])('keys of format %s', (version) => {
  expect(decodeKeys(golden(`${version}-keys`))).toEqual(GOLDEN_KEYS);
});

test.each(['v1', 'v2'])('a segment of the log: keys of format %s, a write and a delete', (version) => {
  const bytes = golden(`${version}-segment`);
  expect(isSegmentHeader(bytes, 7)).toBe(true);
  const records: LogRecord[] = [];
  expect(scanSegment(bytes, (record) => records.push({ ...record, payload: new Uint8Array(record.payload) }))).toEqual(
    [],
  );
  expect(records.map(({ kind, shard, payload }) => ({ kind, shard, payload }))).toEqual([
    { kind: KEYS_RECORD, shard: GOLDEN_SHARD, payload: golden(`${version}-keys`) },
    { kind: BATCH_RECORD, shard: GOLDEN_SHARD, payload: golden('v1-write') },
    { kind: BATCH_RECORD, shard: GOLDEN_SHARD, payload: golden('v1-delete') },
  ]);
});
