/**
 * What others would send to find the same differences (docs/convergence.md has the formulas).
 *
 * Flat digest: of each field of each series its key, and 22 bytes for every block of 1,000 points, from each replica that
 * is compared with the first; a block that differs is sent whole. Merkle tree: 2^15 leaves of 32 bytes, likewise; all rows
 * below a leaf that differs are sent.
 */
const BLOCK_POINTS = 1000;
const BLOCK_DIGEST_BYTES = 22;
const LEAVES = 2 ** 15;
const LEAF_BYTES = 32;

export interface DataSet {
  readonly series: number;
  readonly fields: number;
  readonly rowsPerSeries: number;
  /** Of the key of one field of one series. */
  readonly keyBytes: number;
  /** As stored, per value. */
  readonly bytesPerValue: number;
}

/** Rows that are missing at one replica, no two of which share more than they must. */
export interface Missing {
  readonly rows: number;
  /** One stretch of time of all series, or single rows far from each other. */
  readonly isStretch: boolean;
}

export interface DigestCosts {
  readonly digestBytes: number;
  readonly movedBytes: number;
}

export function flatDigest(data: DataSet, missing: Missing): DigestCosts {
  const { series, fields, rowsPerSeries, keyBytes, bytesPerValue } = data;
  const blocks = Math.ceil(rowsPerSeries / BLOCK_POINTS);
  const digestBytes = series * fields * (keyBytes + blocks * BLOCK_DIGEST_BYTES);
  const blocksOfStretch = Math.ceil(missing.rows / series / BLOCK_POINTS) * series * fields;
  const differing = missing.isStretch ? blocksOfStretch : missing.rows * fields;
  const points = Math.min(rowsPerSeries, BLOCK_POINTS);
  return { digestBytes, movedBytes: Math.min(differing, series * fields * blocks) * points * bytesPerValue };
}

/** Leaves cover ranges of rows in the order of their keys. */
export function merkleTree(data: DataSet, missing: Missing): DigestCosts {
  const { series, fields, rowsPerSeries, bytesPerValue } = data;
  const rows = series * rowsPerSeries;
  const rowsOfLeaf = Math.max(1, rows / LEAVES);
  const leavesOfStretch = Math.max(series, Math.ceil(missing.rows / rowsOfLeaf));
  const differing = Math.min(LEAVES, missing.isStretch && missing.rows > 0 ? leavesOfStretch : missing.rows);
  return { digestBytes: LEAVES * LEAF_BYTES, movedBytes: differing * rowsOfLeaf * fields * bytesPerValue };
}
