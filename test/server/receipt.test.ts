import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeReceipt, encodeReceipt, RECEIPT_BATCHES_MAX, RECEIPT_CHARACTERS_MAX } from '../../server/receipt.ts';

const names = {
  database: 'größe',
  databaseGeneration: 2,
  retentionPolicy: 'autogen',
  retentionPolicyGeneration: 1,
};
const batchOf = (range: number, number: number, version: bigint) => ({
  shard: { ...names, startNs: BigInt(range - 5) * 1000n, endNs: BigInt(range - 4) * 1000n, number },
  version: version.toString(16).padStart(32, '0'),
});
const batches = fc.array(
  fc
    .tuple(fc.nat(9), fc.nat(254), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }))
    .map(([range, number, version]) => batchOf(range, number, version)),
  { minLength: 1, maxLength: 40 },
);
const text = (all: ReturnType<typeof decodeReceipt>) =>
  all!.map(({ shard, version }) => `${shard.startNs} ${shard.endNs} ${shard.number} ${version}`).sort();

describe('receipts', () => {
  test('name their batches again, for the cluster that gave them alone', () => {
    fc.assert(
      fc.property(batches, (all) => {
        const token = encodeReceipt('cluster', all)!;
        expect(token).toMatch(/^[A-Za-z0-9_-]+$/);
        const back = decodeReceipt('cluster', token);
        expect(text(back)).toEqual(text(all));
        expect(back![0]!.shard).toMatchObject(names);
        expect(decodeReceipt('other', token)).toBeNull();
      }),
      { numRuns: 50 },
    );
  });

  test('are bounded, and what they cannot hold is said', () => {
    const many = Array.from({ length: RECEIPT_BATCHES_MAX + 1 }, (_, i) => batchOf(i, 0, BigInt(i)));
    const token = encodeReceipt('c', many.slice(1))!;
    expect(token.length).toBeLessThan(RECEIPT_CHARACTERS_MAX);
    expect(decodeReceipt('c', token)).toHaveLength(RECEIPT_BATCHES_MAX);
    expect(encodeReceipt('c', many)).toBeNull();
    const long = { ...batchOf(0, 0, 1n), shard: { ...batchOf(0, 0, 1n).shard, database: 'd'.repeat(20_000) } };
    expect(encodeReceipt('c', [long])).toBeNull();
  });

  test('malformed ones are none', () => {
    const token = encodeReceipt('c', [batchOf(1, 3, 7n), batchOf(2, 1, 8n)])!;
    for (const bad of ['', 'x', '%%%', token.slice(1), `${token}A`, token.slice(0, -4), 'A'.repeat(20_000)])
      expect(decodeReceipt('c', bad)).toBeNull();
    const bytes = Buffer.from(token, 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const spoilt = Buffer.from(bytes);
      spoilt[at]! ^= 0x10;
      expect(decodeReceipt('c', spoilt.toString('base64url'))).toBeNull();
    }
  });
});
