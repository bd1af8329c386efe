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
import { storageBytes, storageKernel, storageNumbers, storageWords } from './kernel/storage-kernel.ts';
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

/** Content sums of the rows of a row set, by version. */
export function contentByVersion(rows: RowSet, hashOf: (id: number) => SeriesHash): Map<Version, Sum128> {
  const { series, versions, versionTable } = rows;
  const result = new Map<Version, Sum128>();
  if (versions.length === 0) return result;
  const work = new Workspace(Math.min(STRETCH_ROWS, versions.length), series.length, versionTable.length);
  try {
    putHex(work.hashes, Array.from(series, hashOf));
    putHex(work.versionKeys, versionTable);
    storageKernel().versionKeys(work.versionKeys, versionTable.length);
    for (let start = 0, at = 0; start < versions.length; start += STRETCH_ROWS) {
      const end = Math.min(start + STRETCH_ROWS, versions.length);
      at = work.open(rows, start, end, at);
      for (const column of rows.columns) work.add(column, start, end);
      work.close(end - start);
    }
    const used = new Uint8Array(versionTable.length);
    for (let row = 0; row < versions.length; row++) used[versions[row]!] = 1;
    versionTable.forEach((version, i) => {
      if (used[i] === 1) result.set(version, sumAt(work.sums + i * SUM_BYTES));
    });
    return result;
  } finally {
    work.free();
  }
}

/** Memory of the kernel for summing stored rows, a stretch at a time. */
class Workspace {
  readonly hashes: number;
  readonly versionKeys: number;
  readonly sums: number;
  readonly #blocks: number[] = [];
  readonly #series: number;
  readonly #times: number;
  readonly #versions: number;
  readonly #totals: number;
  readonly #values: number;
  readonly #present: number;
  readonly #key: number;

  constructor(rows: number, series: number, versions: number) {
    const take = (bytes: number): number => {
      const address = storageKernel().alloc(bytes);
      this.#blocks.push(address);
      return address;
    };
    this.hashes = take(series * VERSION_BYTES);
    this.versionKeys = take(versions * VERSION_BYTES);
    this.sums = take(versions * SUM_BYTES);
    this.#series = take(rows * 4);
    this.#times = take(rows * 8);
    this.#versions = take(rows * 4);
    this.#totals = take(rows * 16);
    this.#values = take(rows * 8);
    this.#present = take(rows);
    this.#key = take(COLUMN_KEY_BYTES);
    storageBytes().fill(0, this.sums, this.sums + versions * SUM_BYTES);
  }

  free(): void {
    for (const address of this.#blocks) storageKernel().free(address);
  }

  /** Takes rows start .. end - 1; `at`: index of a series at or before that of the first. Returns that of the last. */
  open({ seriesStart, times, versions }: RowSet, start: number, end: number, at: number): number {
    const words = storageWords();
    let series = at;
    for (let row = start; row < end; row++) {
      while (seriesStart[series + 1]! <= row) series++;
      words[(this.#series >>> 2) + row - start] = series;
    }
    words.set(versions.subarray(start, end), this.#versions >>> 2);
    storageNumbers().set(times.subarray(start, end), this.#times >>> 3);
    storageBytes().fill(0, this.#totals, this.#totals + (end - start) * SUM_BYTES);
    return series;
  }

  /** Adds the rows to the sums of their versions. */
  close(rows: number): void {
    const { hashes, versionKeys, sums } = this;
    storageKernel().storedRows(
      rows,
      this.#series,
      hashes,
      this.#times,
      this.#versions,
      versionKeys,
      this.#totals,
      sums,
    );
  }

  add(column: Column, start: number, end: number): void {
    const kernel = storageKernel();
    const { type, field, values, present } = column;
    storageBytes().set(columnKey(field, type), this.#key);
    if (present !== null) storageBytes().set(present.subarray(start, end), this.#present);
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
        storageBytes().set(new Uint8Array(buffer, byteOffset + start * 8, rows * 8), this.#values);
      }
      const isFloat = type === FLOAT ? 1 : 0;
      kernel.storedCells(rows, isFloat, this.#values, marks, this.#key, this.#totals);
    }
  }

  #addStrings(values: readonly string[], present: Uint8Array | null, start: number, end: number): void {
    const kernel = storageKernel();
    const there = (row: number): string => (present === null || present[row] === 1 ? values[row]! : '');
    const texts = Array.from({ length: end - start }, (_, i) => Buffer.from(there(start + i), 'utf8'));
    const text = Buffer.concat(texts);
    const address = kernel.alloc(Math.max(text.length, 1));
    storageBytes().set(text, address);
    const words = storageWords();
    let length = 0;
    texts.forEach((each, i) => {
      length += each.length;
      words[(this.#values >>> 2) + i] = length;
    });
    const marks = present === null ? 0 : this.#present;
    kernel.storedTexts(texts.length, address, this.#values, marks, this.#key, this.#totals);
    kernel.free(address);
  }
}

function putHex(address: number, digits: readonly string[]): void {
  storageBytes().set(Buffer.from(digits.join(''), 'hex'), address);
}
