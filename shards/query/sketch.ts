/**
 * How many different series there are in many shards, from 16 KiB of each: HyperLogLog with Ertl's estimator ("New cardinality
 * estimation algorithms for HyperLogLog sketches", 2017), whose standard error is 0.8 % here at any number.
 *
 * A series has the same 128-bit hash wherever it is, so a sketch of several shards counts it once, however often it was added.
 */
import type { SeriesHash } from '../series-key.ts';

const INDEX_BITS = 14;
const REGISTERS = 1 << INDEX_BITS;
/** Bits of a hash whose leading zeros are counted. */
const RANK_BITS = 48;

/** Per register the greatest rank that was met. */
export type Sketch = Uint8Array;

export const SKETCH_BYTES = REGISTERS;

export function addToSketch(sketch: Sketch, hash: SeriesHash): void {
  // The first 32 bits say which shard a series belongs to: of one shard they are no random ones.
  const index = Number.parseInt(hash.slice(8, 12), 16) & (REGISTERS - 1);
  const high = Number.parseInt(hash.slice(12, 20), 16);
  // Behind 32 zeros the other 16 bits.
  const zeros = high === 0 ? Math.clz32(Number.parseInt(hash.slice(20, 24), 16)) + 16 : Math.clz32(high);
  if (zeros + 1 > sketch[index]!) sketch[index] = zeros + 1;
}

export function mergeSketch(into: Sketch, from: Sketch): void {
  for (let i = 0; i < REGISTERS; i++) if (from[i]! > into[i]!) into[i] = from[i]!;
}

export function estimateOf(sketch: Sketch): number {
  const counts = new Array<number>(RANK_BITS + 2).fill(0);
  for (const rank of sketch) counts[Math.min(rank, RANK_BITS + 1)]!++;
  let z = REGISTERS * tau(1 - counts[RANK_BITS + 1]! / REGISTERS);
  for (let k = RANK_BITS; k >= 1; k--) z = 0.5 * (z + counts[k]!);
  z += REGISTERS * sigma(counts[0]! / REGISTERS);
  return Math.round((REGISTERS * REGISTERS) / (2 * Math.LN2 * z));
}

/** x + sum of x^(2^k) * 2^(k-1): the part of the registers that nothing was added to. */
function sigma(share: number): number {
  if (share === 1) return Number.POSITIVE_INFINITY;
  let [x, y, z, before] = [share, 1, share, Number.NaN];
  while (z !== before) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

/** The part of the registers that are full. */
function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let [x, y, z, before] = [share, 1, 1 - share, Number.NaN];
  while (z !== before) {
    x = Math.sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}
