/**
 * Content sums by their definition (shards/checksum.ts), cell by cell: what the kernel's sums
 * (shards/kernel/assembly/memtable/sum.ts) are compared with.
 */
import { createHash } from 'node:crypto';
import type { Batch, WriteBatch } from '../../shards/batch.ts';
import { type Sum128, tombstoneSum } from '../../shards/checksum.ts';
import { BOOLEAN, type Column, FLOAT, STRING } from '../../shards/column.ts';

const TWO32 = 2 ** 32;

/** Of the lower and the upper half of a sum. */
type Halves = [bigint, bigint];

/** The content sum of a batch: of all its cells, or of its tombstone. */
export function contentSum(batch: Batch): Sum128 {
  return batch.kind === 'write' ? writeSum(batch) : tombstoneSum(batch.predicate, batch.version);
}

function writeSum(batch: WriteBatch): Sum128 {
  const sums: Halves = [0n, 0n];
  for (const { rowSeries, times, columns } of batch.groups) {
    const totals = Array.from(times, (): Halves => [0n, 0n]);
    for (const column of columns) addColumn(column, totals);
    totals.forEach((total, row) => {
      const key = rowKey(batch.series[rowSeries[row]!]!, times[row]!, batch.version);
      for (const half of [0, 1] as const) sums[half] += key[half] * total[half];
    });
  }
  return (BigInt.asUintN(64, sums[1]) << 64n) | BigInt.asUintN(64, sums[0]);
}

/** 32 hexadecimal digits as four words. */
function wordsOf(digits: string): number[] {
  return [0, 8, 16, 24].map((at) => Number.parseInt(digits.slice(at, at + 8), 16) | 0);
}

function rowKey(seriesHash: string, time: number, version: string): Halves {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, time);
  let times = BigInt.asUintN(64, bits.getBigUint64(0) * 0x9e3779b97f4a7c15n);
  times = BigInt.asUintN(64, (times ^ (times >> 32n)) * 0xd6e8feb86659fd93n);
  const ofTime = [Number(times & 0xffff_ffffn), Number(times >> 32n)];
  const ofVersion = versionKey(version);
  const words = wordsOf(seriesHash).map((word, i) => (word + ofVersion[i]! + ofTime[i & 1]!) | 0);
  const factor = (low: number, high: number): bigint => {
    const product = BigInt(low >>> 0) * BigInt(high >>> 0);
    return (product ^ (product >> 32n)) | 1n;
  };
  return [factor(words[0]!, words[1]!), factor(words[2]!, words[3]!)];
}

function versionKey(version: string): number[] {
  const salts = [0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65];
  let h = wordsOf(version).map((word, i) => finish((word + salts[i]!) | 0));
  for (const distance of [1, 2]) h = h.map((word, i) => finish((word + h[(i + distance) & 3]!) | 0));
  return h;
}

function joined(low: number, high: number): bigint {
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function addColumn(column: Column, totals: Halves[]): void {
  const { type, field, present, values } = column;
  const key = createHash('sha256').update(`${type}\0${field}`).digest();
  const lows = [key.readUInt32LE(0), key.readUInt32LE(4)];
  const highs = [key.readUInt32LE(8), key.readUInt32LE(12)];
  const marks = [key.readBigUInt64LE(16), key.readBigUInt64LE(24)];
  const halves = type === STRING ? null : halvesOf(column);
  totals.forEach((total, row) => {
    if (present !== null && present[row] === 0) return;
    const text = halves === null ? textHash(key, values[row] as string) : null;
    for (const half of [0, 1] as const) {
      if (text !== null) total[half] += text[half] + marks[half]!;
      else {
        const low = BigInt((halves![row * 2]! + lows[half]!) % TWO32);
        const high = BigInt((halves![row * 2 + 1]! + highs[half]!) % TWO32);
        const product = low * high;
        total[half] += (product ^ (product >> 32n)) + marks[half]!;
      }
    }
  });
}

/** Low and high words of every value. */
function halvesOf({ type, values }: Column): Uint32Array {
  if (type === BOOLEAN) {
    const bytes = values as Uint8Array;
    return Uint32Array.from({ length: bytes.length * 2 }, (_, i) => (i % 2 === 0 ? bytes[i / 2]! : 0));
  }
  const numbers = values as Float64Array;
  const halves = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length * 2).slice();
  if (type === FLOAT) {
    numbers.forEach((value, i) => {
      if (Number.isNaN(value)) halves.set([0, 0x7ff80000], i * 2);
    });
  }
  return halves;
}

function rotate(word: number): number {
  return (word << 13) | (word >>> 19);
}

/** Strings in UTF-8, in words of four bytes, the last one filled up with zeros; their length is mixed in first. */
function textHash(key: Buffer, text: string): Halves {
  const multipliers = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f];
  const salts = [0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65];
  const bytes = Buffer.from(text, 'utf8');
  const padded = Buffer.alloc((bytes.length + 3) & ~3);
  bytes.copy(padded);
  const h = salts.map((salt, i) => Math.imul(key.readInt32LE(i * 4) ^ (bytes.length + salt), multipliers[i]!));
  for (let at = 0; at < padded.length; at += 4) {
    const word = padded.readInt32LE(at);
    for (let i = 0; i < 4; i++) h[i] = Math.imul((rotate(h[i]!) ^ word) + salts[i]!, multipliers[i]!);
  }
  const words = h.map((word, i) => finish(word ^ rotate(h[(i + 3) & 3]!)));
  return [joined(words[0]!, words[1]!), joined(words[2]!, words[3]!)];
}
