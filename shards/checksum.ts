/**
 * Content checksums: 128-bit sums over cells, independent of order, blocks and encodings.
 *
 * A cell's hash covers series hash, time, field name, type, value bits and version; a tombstone's covers its encoded
 * predicate and version. Hashes are added modulo 2^128, so sums of parts add up to the sum of the whole.
 */
import type { Batch, DeletePredicate } from './batch.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesHash } from './series-key.ts';
import type { Version } from './version.ts';

/** 0 <= sum < 2^128. One bigint per batch or per comparison, never per cell. */
export type Sum128 = bigint;

const MASK = (1n << 128n) - 1n;

export function addSums(a: Sum128, b: Sum128): Sum128 {
  return (a + b) & MASK;
}

export function subtractSums(a: Sum128, b: Sum128): Sum128 {
  return (a - b) & MASK;
}

export function sumToHex(sum: Sum128): string {
  return sum.toString(16).padStart(32, '0');
}

/** The content sum of a batch: of all its cells, or of its tombstone. */
export function contentSum(_batch: Batch): Sum128 {
  throw new Error('in construction');
}

/** Content sums of the rows of a row set, by version. */
export function contentByVersion(_rows: RowSet, _hashOf: (id: number) => SeriesHash): Map<Version, Sum128> {
  throw new Error('in construction');
}

export function tombstoneSum(_predicate: DeletePredicate, _version: Version): Sum128 {
  throw new Error('in construction');
}
