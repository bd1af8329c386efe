/**
 * Content checksums: 128-bit sums over cells, independent of order, blocks and encodings.
 *
 * A cell's part covers series hash, time, field name, type, value bits and version; a tombstone's is the hash of its
 * encoded predicate and version. Both 64-bit halves are added modulo 2^64, so sums of parts add up to the sum of the
 * whole: however the rows of a batch are spread over row sets, the sums by version over them equal the sum of the batch.
 *
 * Each half of a write's sum is, modulo 2^64,  sum over rows of  R * (sum over the row's cells of T),  where
 *
 *   T = (p ^ (p >> 32)) + w,  p = (low + a) * (high + b)    low and high: the value's words
 *   R = (q ^ (q >> 32)) | 1,  q = x * y    x and y: words 0 and 1 (2 and 3) of series hash + version's key + time's key
 *
 * Words have 32 bits, are added modulo 2^32 and multiplied to 64. a, b and w come from SHA-256 of the column's name and
 * type, others for each half; the version's key is four words, each mixed of all its bits by MurmurHash3's finaliser; the
 * time's is two.
 *
 * p is NH (Black et al., "UMAC", 1999) for one pair of words, and folding it can be undone. So with a, b, w and R taken as
 * random, two values of one cell have the same T in one half with probability 2^-32 at most, in both with 2^-64; a value
 * and none with 2^-128. R is odd and loses nothing of a row's difference; differences of several rows cancel with about
 * 2^-58 in each half. No key is secret: errors are found, not somebody who looks for two contents with one sum.
 *
 * A string's T is a hash of 128 bits of its UTF-8, four bytes at a time, + w. Floats count by their bits, so -0 differs
 * from 0; all NaNs are one.
 *
 * The kernel (kernel/assembly/memtable/sum.ts) takes 1 to 2 ns a cell; test/support/content-sum.ts is the definition cell by
 * cell.
 */
import { createHash } from 'node:crypto';
import type { DeletePredicate } from './batch.ts';
import { predicateToJson } from './batch-codec.ts';
import { BOOLEAN, type Column, type FieldType, FLOAT, STRING } from './column.ts';
import { copyInto } from './kernel/copy.ts';
import { storageBytes, storageKernel, storageWords } from './kernel/storage-kernel.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesHash } from './series-key.ts';
import { VERSION_BYTES, type Version } from './version.ts';

/** Two halves of 64 bits. One bigint per batch or per comparison, never per cell. */
export type Sum128 = bigint;

export const SUM_BYTES = 16;
export const COLUMN_KEY_BYTES = 32;
/** Rows that are summed at once: bounds the memory, and totals and values stay in the cache. */
const STRETCH_ROWS = 8192;

export function addSums(a: Sum128, b: Sum128): Sum128 {
  return joined((a >> 64n) + (b >> 64n), a + b);
}

export function subtractSums(a: Sum128, b: Sum128): Sum128 {
  return joined((a >> 64n) - (b >> 64n), a - b);
}

/** Of either, the lowest 64 bits. */
function joined(high: bigint, low: bigint): Sum128 {
  return (BigInt.asUintN(64, high) << 64n) | BigInt.asUintN(64, low);
}

export function sumToHex(sum: Sum128): string {
  return sum.toString(16).padStart(32, '0');
}

export function tombstoneSum(predicate: DeletePredicate, version: Version): Sum128 {
  const text = JSON.stringify(['tombstone', version, predicateToJson(predicate)]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
}

/** Two words a, two words b, two w of 64 bits (see above); of a string the first 16 bytes begin its hash. */
export function columnKey(field: string, type: FieldType): Uint8Array {
  return createHash('sha256').update(`${type}\0${field}`).digest();
}

/** The sum at an address of the kernel's memory. */
export function sumAt(address: number): Sum128 {
  const [low, high] = new BigUint64Array(storageBytes().buffer, address, 2);
  return joined(high!, low!);
}

type HashOf = (id: number) => SeriesHash;
/** The versions of rows, by which their sums are told apart. */
type Labels = Pick<RowSet, 'versions' | 'versionTable'>;

/** Content sums of the rows of a row set, by version. */
export function contentByVersion(rows: RowSet, hashOf: HashOf): Map<Version, Sum128> {
  return sumsUnder(rows, [rows], hashOf)[0]!;
}

/** The content of `rows` less that of `left`. Where only versions differ, cells are summed once for both. */
export function contentLess(rows: RowSet, left: RowSet, hashOf: HashOf): Sum128 {
  const isRelabelled = left.columns === rows.columns && left.times === rows.times;
  const [before, after] = isRelabelled
    ? sumsUnder(rows, [rows, left], hashOf)
    : [contentByVersion(rows, hashOf), contentByVersion(left, hashOf)];
  return subtractSums(totalOf(before!), totalOf(after!));
}

function totalOf(sums: ReadonlyMap<Version, Sum128>): Sum128 {
  let total = 0n;
  for (const sum of sums.values()) total = addSums(total, sum);
  return total;
}

/** The sums of the same rows under each of several labels. */
function sumsUnder(rows: RowSet, labels: readonly Labels[], hashOf: HashOf): Map<Version, Sum128>[] {
  const count = rows.times.length;
  if (count === 0) return labels.map(() => new Map());
  const work = new Workspace(Math.min(STRETCH_ROWS, count), rows.series.length);
  try {
    putHex(work.hashes, Array.from(rows.series, hashOf));
    const slots = labels.map(({ versionTable }) => work.slots(versionTable));
    for (let start = 0, at = 0; start < count; start += STRETCH_ROWS) {
      const end = Math.min(start + STRETCH_ROWS, count);
      at = work.open(rows, start, end, at);
      for (const column of rows.columns) work.add(column, start, end);
      for (const [i, { versions }] of labels.entries()) work.close(versions.subarray(start, end), slots[i]!);
    }
    return labels.map((each, i) => sumsOfUsed(each, slots[i]!));
  } finally {
    work.free();
  }
}

function sumsOfUsed({ versions, versionTable }: Labels, { sums }: VersionSlots): Map<Version, Sum128> {
  const used = new Uint8Array(versionTable.length);
  for (let row = 0; row < versions.length; row++) used[versions[row]!] = 1;
  const result = new Map<Version, Sum128>();
  versionTable.forEach((version, i) => {
    if (used[i] === 1) result.set(version, sumAt(sums + i * SUM_BYTES));
  });
  return result;
}

/** Addresses of what each version of a table adds to the words of a row, and of its sum. */
interface VersionSlots {
  readonly keys: number;
  readonly sums: number;
}

/** Bytes of strings that are copied into the kernel's memory at once, about: many rows may share a long one. */
const TEXT_AT_ONCE = 1 << 18;

/** Memory of the kernel for summing stored rows, a stretch at a time. */
class Workspace {
  readonly hashes: number;
  readonly #blocks: number[] = [];
  readonly #series: number;
  readonly #times: number;
  readonly #versions: number;
  readonly #totals: number;
  readonly #values: number;
  readonly #present: number;
  readonly #key: number;

  constructor(rows: number, series: number) {
    this.hashes = this.#take(series * VERSION_BYTES);
    this.#series = this.#take(rows * 4);
    this.#times = this.#take(rows * 8);
    this.#versions = this.#take(rows * 4);
    this.#totals = this.#take(rows * 16);
    this.#values = this.#take(rows * 8);
    this.#present = this.#take(rows);
    this.#key = this.#take(COLUMN_KEY_BYTES);
  }

  #take(bytes: number): number {
    const address = storageKernel().alloc(bytes);
    this.#blocks.push(address);
    return address;
  }

  slots(versionTable: readonly Version[]): VersionSlots {
    const keys = this.#take(versionTable.length * VERSION_BYTES);
    const bytes = versionTable.length * SUM_BYTES;
    const sums = this.#take(bytes);
    putHex(keys, versionTable);
    storageKernel().versionKeys(keys, versionTable.length);
    storageBytes().fill(0, sums, sums + bytes);
    return { keys, sums };
  }

  free(): void {
    for (const address of this.#blocks) storageKernel().free(address);
  }

  /** Takes rows start .. end - 1; `at`: index of a series at or before that of the first. Returns that of the last. */
  open({ seriesStart, times }: RowSet, start: number, end: number, at: number): number {
    const words = storageWords();
    let series = at;
    for (let row = start; row < end; row++) {
      while (seriesStart[series + 1]! <= row) series++;
      words[(this.#series >>> 2) + row - start] = series;
    }
    copyInto(storageBytes(), this.#times, times.subarray(start, end));
    storageBytes().fill(0, this.#totals, this.#totals + (end - start) * SUM_BYTES);
    return series;
  }

  /** Adds the rows to the sums of these versions of theirs. */
  close(versions: Uint32Array, { keys, sums }: VersionSlots): void {
    copyInto(storageBytes(), this.#versions, versions);
    const { hashes } = this;
    const [series, times, totals] = [this.#series, this.#times, this.#totals];
    storageKernel().storedRows(versions.length, series, hashes, times, this.#versions, keys, totals, sums);
  }

  add(column: Column, start: number, end: number): void {
    const kernel = storageKernel();
    const { type, field, values, present } = column;
    storageBytes().set(columnKey(field, type), this.#key);
    if (present !== null) copyInto(storageBytes(), this.#present, present.subarray(start, end));
    const marks = present === null ? 0 : this.#present;
    const rows = end - start;
    if (type === STRING) this.#addStrings(values as string[], present, start, end);
    else {
      if (type === BOOLEAN) {
        const words = storageWords();
        const first = this.#values >>> 2;
        words.fill(0, first, first + rows * 2);
        for (let i = 0; i < rows; i++) words[first + i * 2] = (values as Uint8Array)[start + i]!;
      } else {
        const { buffer, byteOffset } = values as Float64Array;
        copyInto(storageBytes(), this.#values, new Uint8Array(buffer, byteOffset + start * 8, rows * 8));
      }
      const isFloat = type === FLOAT ? 1 : 0;
      kernel.storedCells(rows, isFloat, this.#values, marks, this.#key, this.#totals);
    }
  }

  #addStrings(values: readonly string[], present: Uint8Array | null, start: number, end: number): void {
    const kernel = storageKernel();
    const there = (row: number): string => (present === null || present[row] === 1 ? values[row]! : '');
    for (let from = start; from < end; ) {
      const texts: Buffer[] = [];
      const ends: number[] = [];
      for (let length = 0; from + texts.length < end && length < TEXT_AT_ONCE; ) {
        const text = Buffer.from(there(from + texts.length), 'utf8');
        texts.push(text);
        length += text.length;
        ends.push(length);
      }
      const address = kernel.alloc(Math.max(ends.at(-1)!, 1));
      copyInto(storageBytes(), address, Buffer.concat(texts));
      storageWords().set(ends, this.#values >>> 2);
      const marks = present === null ? 0 : this.#present + from - start;
      const totals = this.#totals + (from - start) * SUM_BYTES;
      kernel.storedTexts(texts.length, address, this.#values, marks, this.#key, totals);
      kernel.free(address);
      from += texts.length;
    }
  }
}

function putHex(address: number, digits: readonly string[]): void {
  storageBytes().set(Buffer.from(digits.join(''), 'hex'), address);
}
