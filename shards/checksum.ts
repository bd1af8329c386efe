/**
 * Content checksums: 128-bit sums over cells, independent of order, blocks and encodings.
 *
 * A cell's hash covers series hash, time, field name, type, value bits and version; a tombstone's covers its encoded
 * predicate and version. Hashes are added modulo 2^128, so sums of parts add up to the sum of the whole: however the
 * rows of a batch are spread over row sets, the sums by version over them equal the sum of the batch.
 *
 * A hash is four lanes of 32 bits. Row (series, time, version) and column (field, type) are each hashed to four words
 * once; per cell a lane mixes its two words with both halves of the value, by multiplications that differ from lane to
 * lane, and ends in MurmurHash3's finaliser. Strings are taken in UTF-8, four bytes at a time. Floats count by their
 * bits, so -0 differs from 0; all NaNs are one. The four lanes are the lanes of a SIMD vector: the kernel
 * (kernel/assembly/memtable/sum.ts) takes 3 ns a cell; its definition cell by cell is test/support/content-sum.ts.
 */
import { createHash } from 'node:crypto';
import type { DeletePredicate } from './batch.ts';
import { predicateToJson } from './batch-codec.ts';
import { BOOLEAN, type Column, type FieldType, FLOAT, STRING } from './column.ts';
import { storageBytes, storageKernel, storageNumbers, storageWords } from './kernel/storage-kernel.ts';
import type { RowSet } from './row-set.ts';
import type { SeriesHash } from './series-key.ts';
import { VERSION_BYTES, type Version } from './version.ts';

/** 0 <= sum < 2^128. One bigint per batch or per comparison, never per cell. */
export type Sum128 = bigint;

const MASK = (1n << 128n) - 1n;
const SUM_BYTES = 32;
/** Rows that are summed at once: bounds the memory, and lanes and values stay in the cache. */
const STRETCH_ROWS = 8192;

export function addSums(a: Sum128, b: Sum128): Sum128 {
  return (a + b) & MASK;
}

export function subtractSums(a: Sum128, b: Sum128): Sum128 {
  return (a - b) & MASK;
}

export function sumToHex(sum: Sum128): string {
  return sum.toString(16).padStart(32, '0');
}

export function tombstoneSum(predicate: DeletePredicate, version: Version): Sum128 {
  const text = JSON.stringify(['tombstone', version, predicateToJson(predicate)]);
  return BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 32)}`);
}

/** The four words of a column in the hashes of its cells. */
export function columnWords(field: string, type: FieldType): Int32Array {
  const digest = createHash('sha256').update(`${type}\0${field}`).digest();
  return Int32Array.from({ length: 4 }, (_, i) => digest.readInt32LE(i * 4));
}

/** The sum whose four lanes, each added up to 64 bits, are the words `at` .. `at + 7`. */
export function sumOfLanes(words: Uint32Array, at: number): Sum128 {
  let carried = 0;
  for (let i = 0; i < 4; i++) {
    const lane = words[at + i * 2]! + (i === 0 ? 0 : words[at + i * 2 - 1]!) + carried;
    limbs[i] = lane;
    carried = Math.floor(lane / 2 ** 32);
  }
  return (halves[1]! << 64n) | halves[0]!;
}

/** The words of a sum, and the same as two halves. */
const limbs = new Uint32Array(4);
const halves = new BigUint64Array(limbs.buffer);

/** Content sums of the rows of a row set, by version. */
export function contentByVersion(rows: RowSet, hashOf: (id: number) => SeriesHash): Map<Version, Sum128> {
  const { series, versions, versionTable } = rows;
  const result = new Map<Version, Sum128>();
  if (versions.length === 0) return result;
  const work = new Workspace(Math.min(STRETCH_ROWS, versions.length), series.length, versionTable.length);
  try {
    putHex(work.hashes, Array.from(series, hashOf));
    putHex(work.versionTable, versionTable);
    for (let start = 0, at = 0; start < versions.length; start += STRETCH_ROWS) {
      const end = Math.min(start + STRETCH_ROWS, versions.length);
      at = work.open(rows, start, end, at);
      for (const column of rows.columns) work.add(column, start, end);
    }
    const words = storageWords();
    const used = new Uint8Array(versionTable.length);
    for (let row = 0; row < versions.length; row++) used[versions[row]!] = 1;
    versionTable.forEach((version, i) => {
      if (used[i] === 1) result.set(version, sumOfLanes(words, (work.sums + i * SUM_BYTES) >>> 2));
    });
    return result;
  } finally {
    work.free();
  }
}

/** Memory of the kernel for summing stored rows, a stretch at a time. */
class Workspace {
  readonly hashes: number;
  readonly versionTable: number;
  readonly sums: number;
  readonly #blocks: number[] = [];
  readonly #series: number;
  readonly #times: number;
  readonly #versions: number;
  readonly #lanes: number;
  readonly #values: number;
  readonly #present: number;
  readonly #words: number;

  constructor(rows: number, series: number, versions: number) {
    const take = (bytes: number): number => {
      const address = storageKernel().alloc(bytes);
      this.#blocks.push(address);
      return address;
    };
    this.hashes = take(series * VERSION_BYTES);
    this.versionTable = take(versions * VERSION_BYTES);
    this.sums = take(versions * SUM_BYTES);
    this.#series = take(rows * 4);
    this.#times = take(rows * 8);
    this.#versions = take(rows * 4);
    this.#lanes = take(rows * 16);
    this.#values = take(rows * 8);
    this.#present = take(rows);
    this.#words = take(16);
    storageBytes().fill(0, this.sums, this.sums + versions * SUM_BYTES);
  }

  free(): void {
    for (const address of this.#blocks) storageKernel().free(address);
  }

  /** Hashes rows start .. end - 1; `at`: index of a series at or before that of the first. Returns that of the last. */
  open({ seriesStart, times, versions }: RowSet, start: number, end: number, at: number): number {
    const words = storageWords();
    let series = at;
    for (let row = start; row < end; row++) {
      while (seriesStart[series + 1]! <= row) series++;
      words[(this.#series >>> 2) + row - start] = series;
    }
    words.set(versions.subarray(start, end), this.#versions >>> 2);
    storageNumbers().set(times.subarray(start, end), this.#times >>> 3);
    const { hashes, versionTable } = this;
    storageKernel().storedLanes(
      end - start,
      this.#series,
      hashes,
      this.#times,
      this.#versions,
      versionTable,
      this.#lanes,
    );
    return series;
  }

  add(column: Column, start: number, end: number): void {
    const kernel = storageKernel();
    const { type, field, values, present } = column;
    new Int32Array(kernel.memory.buffer).set(columnWords(field, type), this.#words >>> 2);
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
      kernel.storedSum(rows, isFloat, this.#values, marks, this.#versions, this.#words, this.#lanes, this.sums);
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
    const { sums } = this;
    kernel.storedTextSum(texts.length, address, this.#values, marks, this.#versions, this.#words, this.#lanes, sums);
    kernel.free(address);
  }
}

function putHex(address: number, digits: readonly string[]): void {
  storageBytes().set(Buffer.from(digits.join(''), 'hex'), address);
}
