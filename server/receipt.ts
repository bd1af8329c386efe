/**
 * Receipts of writes: a token that names the batches which a write became, for any node of the cluster.
 *
 * base64url of: u8 format (1) · u32 CRC-32 of the cluster's id and all that follows · database and retention policy, each
 * u16 length, text, u32 generation · u16 number of time ranges, each i64 start, i64 end, u16 number of batches, each u8
 * shard number and 16 bytes version. All big-endian. It is no secret and no proof: it says what to look for, and whoever
 * makes one up learns where a version is that he has made up.
 */
import { crc32 } from 'node:zlib';
import { SHARD_SPAN_MAX_NS, type ShardKey } from '../shards/shard-key.ts';
import { readVersion, VERSION_BYTES, type Version, writeVersion } from '../shards/version.ts';

export interface ReceiptBatch {
  readonly shard: ShardKey;
  readonly version: Version;
}

/** What fits, with its names, into the request line that node:http reads. */
export const RECEIPT_BATCHES_MAX = 256;
export const RECEIPT_CHARACTERS_MAX = 12_000;

const FORMAT = 1;
const HEAD_BYTES = 5;
const RANGE_BYTES = 18;
const BATCH_BYTES = 1 + VERSION_BYTES;
/** As lanes between nodes are numbered (repair/message-checks.ts). */
const SHARD_NUMBER_MAX = 254;

/** null: more than a token holds. The batches of one write have one database and retention policy; there is one at least. */
export function encodeReceipt(clusterId: string, batches: readonly ReceiptBatch[]): string | null {
  if (batches.length > RECEIPT_BATCHES_MAX) return null;
  const { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration } = batches[0]!.shard;
  const ranges = new Map<string, ReceiptBatch[]>();
  for (const batch of batches) {
    const name = `${batch.shard.startNs} ${batch.shard.endNs}`;
    const list = ranges.get(name);
    if (list === undefined) ranges.set(name, [batch]);
    else list.push(batch);
  }
  const parts = [
    named(database, databaseGeneration),
    named(retentionPolicy, retentionPolicyGeneration),
    u16(ranges.size),
    ...[...ranges.values()].map(rangeOf),
  ];
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = FORMAT;
  head.writeUInt32BE(checkOf(clusterId, body), 1);
  const token = Buffer.concat([head, body]).toString('base64url');
  return token.length > RECEIPT_CHARACTERS_MAX ? null : token;
}

/** null: no receipt of this cluster. */
export function decodeReceipt(clusterId: string, token: string): ReceiptBatch[] | null {
  if (token.length > RECEIPT_CHARACTERS_MAX || !/^[A-Za-z0-9_-]+$/.test(token)) return null;
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) return null;
  const body = bytes.subarray(HEAD_BYTES);
  if (bytes.readUInt32BE(1) !== checkOf(clusterId, body)) return null;
  try {
    return read(body);
  } catch (error) {
    // A reading beyond the end.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function read(body: Buffer): ReceiptBatch[] | null {
  let at = 0;
  const name = (): [string, number] => {
    const length = body.readUInt16BE(at);
    const text = body.toString('utf8', at + 2, at + 2 + length);
    const generation = body.readUInt32BE(at + 2 + length);
    at += 6 + length;
    return [text, generation];
  };
  const [database, databaseGeneration] = name();
  const [retentionPolicy, retentionPolicyGeneration] = name();
  const names = { database, databaseGeneration, retentionPolicy, retentionPolicyGeneration };
  const batches: ReceiptBatch[] = [];
  const ranges = body.readUInt16BE(at);
  at += 2;
  for (let range = 0; range < ranges; range++) {
    const startNs = body.readBigInt64BE(at);
    const endNs = body.readBigInt64BE(at + 8);
    const count = body.readUInt16BE(at + 16);
    if (endNs <= startNs || endNs - startNs > SHARD_SPAN_MAX_NS) return null;
    at += RANGE_BYTES;
    for (let batch = 0; batch < count; batch++) {
      const number = body.readUInt8(at);
      if (number > SHARD_NUMBER_MAX || at + BATCH_BYTES > body.length || batches.length === RECEIPT_BATCHES_MAX)
        return null;
      batches.push({ shard: { ...names, startNs, endNs, number }, version: readVersion(body, at + 1) });
      at += BATCH_BYTES;
    }
  }
  return at === body.length && batches.length > 0 ? batches : null;
}

function rangeOf(batches: readonly ReceiptBatch[]): Buffer {
  const { startNs, endNs } = batches[0]!.shard;
  const bytes = Buffer.alloc(RANGE_BYTES + batches.length * BATCH_BYTES);
  bytes.writeBigInt64BE(startNs, 0);
  bytes.writeBigInt64BE(endNs, 8);
  bytes.writeUInt16BE(batches.length, 16);
  for (const [i, { shard, version }] of batches.entries()) {
    const at = RANGE_BYTES + i * BATCH_BYTES;
    bytes[at] = shard.number;
    writeVersion(version, bytes, at + 1);
  }
  return bytes;
}

function named(name: string, generation: number): Buffer {
  const text = Buffer.from(name);
  const end = Buffer.alloc(4);
  end.writeUInt32BE(generation);
  return Buffer.concat([u16(text.length), text, end]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(Math.min(value, 0xffff));
  return bytes;
}

function checkOf(clusterId: string, body: Buffer): number {
  return crc32(body, crc32(Buffer.from(clusterId)));
}
