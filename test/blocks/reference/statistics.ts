/**
 * Statistics of one column of a block, for its head. They cover every stored fragment, overwritten and deleted ones too:
 * whoever uses them makes sure first that the block's rows are all visible.
 */
import type { BlockColumn } from '../../../shards/block-head.ts';
import type { Column } from '../../../shards/column.ts';

export function statisticsOf(column: Column, rows: number): Pick<BlockColumn, 'min' | 'max' | 'sum'> {
  const { values, present } = column;
  if (values instanceof Float64Array) return floatStatistics(values, present, rows);
  if (values instanceof Uint8Array) {
    let sum = 0;
    for (let i = 0; i < rows; i++) if (present === null || present[i] === 1) sum += values[i]!;
    return { min: null, max: null, sum: BigInt(sum) };
  }
  if (Array.isArray(values)) return { min: null, max: null, sum: null };
  return integerStatistics(values, present, rows);
}

function floatStatistics(values: Float64Array, present: Uint8Array | null, rows: number) {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < rows; i++) {
    if (present !== null && present[i] !== 1) continue;
    const value = values[i]!;
    // NaN compares with nothing: a column that has one gives no range.
    if (!(value <= Number.POSITIVE_INFINITY)) return { min: null, max: null, sum: null };
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return min > max ? { min: null, max: null, sum: null } : { min, max, sum: null };
}

/** By halves, no bigint per value: the sums of the halves stay below 2^50 (rows below 2^18). */
function integerStatistics(values: BigInt64Array | BigUint64Array, present: Uint8Array | null, rows: number) {
  const halves = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  // Flipping the sign bit makes signed halves compare as unsigned ones do.
  const flip = values instanceof BigInt64Array ? 0x80000000 : 0;
  let least = -1;
  let greatest = -1;
  let lowSum = 0;
  let highSum = 0;
  for (let i = 0; i < rows; i++) {
    if (present !== null && present[i] !== 1) continue;
    const high = (halves[2 * i + 1]! ^ flip) >>> 0;
    const low = halves[2 * i]!;
    lowSum += low;
    highSum += high;
    if (least < 0) {
      least = i;
      greatest = i;
      continue;
    }
    const leastHigh = (halves[2 * least + 1]! ^ flip) >>> 0;
    if (high < leastHigh || (high === leastHigh && low < halves[2 * least]!)) least = i;
    const greatestHigh = (halves[2 * greatest + 1]! ^ flip) >>> 0;
    if (high > greatestHigh || (high === greatestHigh && low > halves[2 * greatest]!)) greatest = i;
  }
  if (least < 0) return { min: null, max: null, sum: null };
  let count = 0;
  for (let i = 0; i < rows; i++) if (present === null || present[i] === 1) count++;
  const flipped = flip === 0 ? 0n : BigInt(count) << 63n;
  const sum = (BigInt(highSum) << 32n) + BigInt(lowSum) - flipped;
  return { min: values[least]!, max: values[greatest]!, sum };
}
