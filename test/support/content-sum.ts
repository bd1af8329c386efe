/**
 * Content sums by their definition, cell by cell: what the kernel's sums (shards/kernel/assembly/memtable/sum.ts) are
 * compared with.
 */
import { createHash } from 'node:crypto';
import type { Batch, WriteBatch } from '../../shards/batch.ts';
import { type Sum128, tombstoneSum } from '../../shards/checksum.ts';
import { BOOLEAN, type Column, FLOAT, STRING } from '../../shards/column.ts';

const MASK = (1n << 128n) - 1n;
const TWO32 = 2 ** 32;
/** Sums of so many lanes stay below 2^53. */
const CARRY_EVERY = 1 << 20;

/** The content sum of a batch: of all its cells, or of its tombstone. */
export function contentSum(batch: Batch): Sum128 {
  return batch.kind === 'write' ? writeSum(batch) : tombstoneSum(batch.predicate, batch.version);
}

function writeSum(batch: WriteBatch): Sum128 {
  const words = new Int32Array(batch.series.length * 4);
  for (let i = 0; i < batch.series.length; i++) putWords(words, i * 4, batch.series[i]!);
  const versionWords = new Int32Array(4);
  putWords(versionWords, 0, batch.version);
  const sums = new Float64Array(4);
  for (const { rowSeries, times, columns } of batch.groups) {
    const rows = times.length;
    const lanes = new Int32Array(rows * 4);
    for (let row = 0; row < rows; row++) rowLanes(lanes, row, words, rowSeries[row]! * 4, times[row]!, versionWords, 0);
    const versions = new Uint32Array(rows);
    for (const column of columns) addColumn(column, lanes, versions, sums);
  }
  return sumOf(sums, 0);
}

/** 32 hexadecimal digits as four words. */
function putWords(into: Int32Array, at: number, digits: string): void {
  for (let i = 0; i < 4; i++) into[at + i] = Number.parseInt(digits.slice(i * 8, i * 8 + 8), 16);
}

function rowLanes(
  lanes: Int32Array,
  row: number,
  series: Int32Array,
  seriesAt: number,
  time: number,
  version: Int32Array,
  versionAt: number,
): void {
  const high = Math.floor(time / TWO32);
  const low = (time - high * TWO32) | 0;
  for (let i = 0; i < 4; i++) {
    let h = series[seriesAt + i]! ^ Math.imul(low ^ i, 0x9e3779b1);
    h = finish(h ^ (version[versionAt + i]! + 0x165667b1));
    lanes[row * 4 + i] = finish(h ^ Math.imul(high ^ version[versionAt + ((i + 1) & 3)]!, 0x85ebca77));
  }
}

function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

function addColumn(column: Column, lanes: Int32Array, versions: Uint32Array, sums: Float64Array): void {
  const digest = createHash('sha256').update(`${column.type}\0${column.field}`).digest();
  const words = Int32Array.from({ length: 4 }, (_, i) => digest.readInt32LE(i * 4));
  const halves = column.type === STRING ? new Uint32Array(0) : halvesOf(column);
  const rows = versions.length;
  for (let start = 0; start < rows; start += CARRY_EVERY) {
    const end = Math.min(rows, start + CARRY_EVERY);
    if (column.type === STRING) addStrings(column, words, lanes, versions, sums, start, end);
    else addHalves(halves, column.present, words, lanes, versions, sums, start, end);
    carry(sums);
  }
}

/** Low and high words of every value. */
function halvesOf(column: Column): Uint32Array {
  const { type, values } = column;
  if (type === BOOLEAN) {
    const bytes = values as Uint8Array;
    const halves = new Uint32Array(bytes.length * 2);
    for (let i = 0; i < bytes.length; i++) halves[i * 2] = bytes[i]!;
    return halves;
  }
  const numbers = values as Float64Array;
  const halves = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length * 2);
  return type === FLOAT ? withOneNaN(numbers, halves) : halves;
}

function withOneNaN(numbers: Float64Array, halves: Uint32Array): Uint32Array {
  let copy: Uint32Array | null = null;
  for (let i = 0; i < numbers.length; i++) {
    if (!Number.isNaN(numbers[i])) continue;
    copy ??= halves.slice();
    copy[i * 2] = 0;
    copy[i * 2 + 1] = 0x7ff80000;
  }
  return copy ?? halves;
}

function addHalves(
  halves: Uint32Array,
  present: Uint8Array | null,
  words: Int32Array,
  lanes: Int32Array,
  versions: Uint32Array,
  sums: Float64Array,
  start: number,
  end: number,
): void {
  const w0 = words[0]!;
  const w1 = words[1]!;
  const w2 = words[2]!;
  const w3 = words[3]!;
  for (let row = start; row < end; row++) {
    if (present !== null && present[row] === 0) continue;
    const low = halves[row * 2]!;
    const high = halves[row * 2 + 1]!;
    const at = versions[row]! * 4;
    const lane = row * 4;
    const a = Math.imul(low ^ w0, 0x9e3779b1) + Math.imul(high ^ w1, 0x85ebca77);
    const b = Math.imul(low ^ w1, 0xc2b2ae3d) + Math.imul(high ^ w2, 0x27d4eb2f);
    const c = Math.imul(low ^ w2, 0x165667b1) + Math.imul(high ^ w3, 0xcc9e2d51);
    const d = Math.imul(low ^ w3, 0x1b873593) + Math.imul(high ^ w0, 0xe6546b65);
    sums[at]! += finish(lanes[lane]! ^ (a | 0) ^ rotate(d | 0)) >>> 0;
    sums[at + 1]! += finish(lanes[lane + 1]! ^ (b | 0) ^ rotate(a | 0)) >>> 0;
    sums[at + 2]! += finish(lanes[lane + 2]! ^ (c | 0) ^ rotate(b | 0)) >>> 0;
    sums[at + 3]! += finish(lanes[lane + 3]! ^ (d | 0) ^ rotate(c | 0)) >>> 0;
  }
}

function rotate(word: number): number {
  return (word << 13) | (word >>> 19);
}

/** Strings in UTF-8, in words of four bytes, the last one filled up with zeros; their length is mixed in first. */
function addStrings(
  column: Column,
  words: Int32Array,
  lanes: Int32Array,
  versions: Uint32Array,
  sums: Float64Array,
  start: number,
  end: number,
): void {
  const values = column.values as string[];
  const { present } = column;
  const multipliers = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f];
  const salts = [0x165667b1, 0xcc9e2d51, 0x1b873593, 0xe6546b65];
  for (let row = start; row < end; row++) {
    if (present !== null && present[row] === 0) continue;
    const bytes = Buffer.from(values[row]!, 'utf8');
    const padded = Buffer.alloc((bytes.length + 3) & ~3);
    bytes.copy(padded);
    const h = salts.map((salt, i) => Math.imul(words[i]! ^ (bytes.length + salt), multipliers[i]!));
    for (let at = 0; at < padded.length; at += 4) {
      const word = padded.readInt32LE(at);
      for (let i = 0; i < 4; i++) h[i] = Math.imul((rotate(h[i]!) ^ word) + salts[i]!, multipliers[i]!);
    }
    for (let i = 0; i < 4; i++) {
      const hash = finish(lanes[row * 4 + i]! ^ h[i]! ^ rotate(h[(i + 3) & 3]!));
      sums[versions[row]! * 4 + i]! += hash >>> 0;
    }
  }
}

/** Moves what is above 32 bits into the next lane; the last lane wraps. */
function carry(sums: Float64Array): void {
  for (let at = 0; at < sums.length; at += 4) {
    for (let i = 0; i < 4; i++) {
      const over = Math.floor(sums[at + i]! / TWO32);
      sums[at + i]! -= over * TWO32;
      if (i < 3) sums[at + i + 1]! += over;
    }
  }
}

function sumOf(sums: Float64Array, at: number): Sum128 {
  let sum = 0n;
  for (let i = 0; i < 4; i++) sum += BigInt(sums[at + i]!) << BigInt(i * 32);
  return sum & MASK;
}
