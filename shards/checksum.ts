/**
 * Content checksums: 128-bit sums over cells, independent of order, blocks and encodings.
 *
 * A cell's hash covers series hash, time, field name, type, value bits and version; a tombstone's covers its encoded
 * predicate and version. Hashes are added modulo 2^128, so sums of parts add up to the sum of the whole: however the
 * rows of a batch are spread over row sets, the sums by version over them equal the sum of the batch.
 *
 * A hash is four lanes of 32 bits. Row (series, time, version) and column (field, type) are each hashed to four words
 * once; per cell a lane mixes its two words with both halves of the value, by multiplications that differ from lane to
 * lane, and ends in MurmurHash3's finaliser. Lanes are added up in doubles, exact for 2^21 cells, then carried. Floats
 * count by their bits, so -0 differs from 0; all NaNs are one.
 */
import { createHash } from 'node:crypto';
import type { Batch, DeletePredicate, WriteBatch } from './batch.ts';
import { predicateToJson } from './batch-codec.ts';
import { BOOLEAN, type Column, FLOAT, STRING } from './column.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesHash } from './series-key.ts';
import type { Version } from './version.ts';

/** 0 <= sum < 2^128. One bigint per batch or per comparison, never per cell. */
export type Sum128 = bigint;

const MASK = (1n << 128n) - 1n;
const TWO32 = 2 ** 32;
/** Sums of so many lanes stay below 2^53. */
const CARRY_EVERY = 1 << 20;

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
export function contentSum(batch: Batch): Sum128 {
  return batch.kind === 'write' ? writeSum(batch) : tombstoneSum(batch.predicate, batch.version);
}

export function tombstoneSum(predicate: DeletePredicate, version: Version): Sum128 {
  const text = JSON.stringify(['tombstone', version, predicateToJson(predicate)]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
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

/** Content sums of the rows of a row set, by version. */
export function contentByVersion(rows: RowSet, hashOf: (id: number) => SeriesHash): Map<Version, Sum128> {
  const { series, seriesStart, times, versions, versionTable } = rows;
  const versionWords = new Int32Array(versionTable.length * 4);
  for (let i = 0; i < versionTable.length; i++) putWords(versionWords, i * 4, versionTable[i]!);
  const words = new Int32Array(4);
  const lanes = new Int32Array(times.length * 4);
  for (let i = 0; i < series.length; i++) {
    putWords(words, 0, hashOf(series[i]!));
    for (let row = seriesStart[i]!; row < seriesStart[i + 1]!; row++) {
      rowLanes(lanes, row, words, 0, times[row]!, versionWords, versions[row]! * 4);
    }
  }
  const sums = new Float64Array(versionTable.length * 4);
  for (const column of rows.columns) addColumn(column, lanes, versions, sums);
  const result = new Map<Version, Sum128>();
  const used = new Uint8Array(versionTable.length);
  for (let row = 0; row < versions.length; row++) used[versions[row]!] = 1;
  for (let i = 0; i < versionTable.length; i++) if (used[i] === 1) result.set(versionTable[i]!, sumOf(sums, i * 4));
  return result;
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

/** Strings by their UTF-16 units, length included. */
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
  for (let row = start; row < end; row++) {
    if (present !== null && present[row] === 0) continue;
    const text = values[row]!;
    const at = versions[row]! * 4;
    let a = words[0]! ^ text.length;
    let b = words[1]!;
    let c = words[2]!;
    let d = words[3]!;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      a = Math.imul(rotate(a) ^ unit, 0x9e3779b1);
      b = Math.imul(rotate(b) + unit, 0x85ebca77);
      c = Math.imul(rotate(c) ^ unit, 0xc2b2ae3d) + a;
      d = Math.imul(rotate(d) + unit, 0x27d4eb2f) ^ b;
    }
    sums[at]! += finish(lanes[row * 4]! ^ a) >>> 0;
    sums[at + 1]! += finish(lanes[row * 4 + 1]! ^ b) >>> 0;
    sums[at + 2]! += finish(lanes[row * 4 + 2]! ^ c) >>> 0;
    sums[at + 3]! += finish(lanes[row * 4 + 3]! ^ d) >>> 0;
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
